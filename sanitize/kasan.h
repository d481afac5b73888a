/*
 * kasan.h - what KASAN's parts tell each other; see kasan.c for the idea.
 */
#pragma once

#include <arch/mmu.h>
#include <mm/slab.h>

typedef int8_t s8;

/* Where the byte lies that speaks for the eight at p. gcc knows this number, too: sanitize.mk. */
#define KASAN_OFFSET 0xdffffc0000000000ul
#define SHADOW(p) ((s8 *)(((vaddr_t)(p) >> 3) + KASAN_OFFSET))

/* What it says: 0: all eight may be touched; 1..7: as many of them; otherwise why not. */
enum {
	SHADOW_STACK_LEFT = 0xf1, /* these four are the compiler's */
	SHADOW_STACK_MIDDLE,
	SHADOW_STACK_RIGHT,
	SHADOW_SCOPE = 0xf8,
	SHADOW_GLOBAL = 0xf9,
	SHADOW_WINDOW = 0xfa,	/* no area, or behind the bytes that were asked for */
	SHADOW_FREED = 0xfb,	/* an object of a slab */
	SHADOW_OBJECT = 0xfc,	/* its red zone */
	SHADOW_UNMAPPED = 0xfd, /* an area */
	SHADOW_LARGE = 0xfe,	/* behind a large kmalloc */
	SHADOW_FRAME = 0xff,	/* free */
};

void kasan_poison(const void *p, u64 bytes, u8 why); /* p and bytes: multiples of 8 */
void kasan_allow(const void *p, u64 bytes);	     /* p: a multiple of 8 */

/* Allow the first bytes of an area of so many (a multiple of 8); the rest is a red zone. */
void kasan_allow_of(const void *p, u64 bytes, u64 of, u8 why);

/* Is anything wrong with this access? Then a report, and no return, unless this CPU is at one. */
void kasan_check(const void *p, u64 bytes, bool write, void *code);
_Noreturn void kasan_double_free(const void *p, const char *why, void *code);

/* The report: text of a bounded length, one part after another. */
struct kasan_text {
	char *at;
	size_t room;
};
void kasan_say(struct kasan_text *text, const char *fmt, ...) printf_like(2, 3);

/* "  <where> of <what> at 0x..., <bytes> bytes, <of>": bad lies beside or in this object. */
void kasan_say_object(struct kasan_text *text, vaddr_t bad, vaddr_t object, u64 bytes,
		      const char *what);
void kasan_say_sites(struct kasan_text *text, u32 allocated, u32 freed);
u64 kasan_allowed(vaddr_t p, u64 most); /* bytes from p on */

/* What is bad's object, and who made and freed it. Each knows one kind of memory. */
void kasan_describe_object(struct kasan_text *text, vaddr_t bad);
void kasan_describe_frame(struct kasan_text *text, vaddr_t bad);
void kasan_describe_area(struct kasan_text *text, vaddr_t bad);
bool kasan_is_freed_area(vaddr_t p); /* there was one, and now there is none */

/* Who last asked for and who gave back a frame: by frame number; code, from the image's base. */
struct kasan_sites {
	u32 allocated, freed;
};
extern struct kasan_sites *kasan_frame_sites;

void kasan_window_init(void);	       /* once, while memmap still gives memory */
void kasan_objects_flush(bool others); /* end the quarantine: of all CPUs, or of this one */
extern bool kasan_ready;	       /* the direct map has its shadow */
extern vaddr_t kasan_main;	       /* where the largest stretch of RAM begins there */
extern u64 kasan_main_bytes;
