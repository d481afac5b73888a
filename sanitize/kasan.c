/*
 * kasan.c - which bytes may be touched: `make KASAN=1`.
 *
 * For each eight bytes of memory there is one byte elsewhere, their shadow, that says how many of
 * them may be touched, from the first on, or why none may (kasan.h). The shadow of an address is one
 * shift and one addition away, the same for 4 and 5 levels of page tables:
 *
 *	shadow = (address >> 3) + 0xdffffc0000000000
 *
 * The compiler calls __asan_load4() and its kin before each access in C, and __asan_loadN() before
 * it copies a structure. It leaves red zones between the variables of a function, marks them as it
 * enters and leaves, and between global variables, which constructors mark. All other memory is
 * marked by whoever hands it out. No function of mm/ knows of that: the linker (--wrap) and two
 * headers (include/mm) put a function from here between each allocator and its callers.
 *
 *	image		shadow in the image itself, mapped before the first line of C runs
 *	direct map	shadow from the memory map, before page_alloc takes over (kasan_boot.c)
 *	window		shadow from a stock of frames, area by area (kasan_window.c)
 *
 * Not looked at, as there is nothing in it that could be free: the struct page array. The idea is
 * Serebryany, Bruening, Potapenko and Vyukov's ("AddressSanitizer", USENIX ATC 2012).
 */
#include <arch/cpu.h>
#include <arch/machine.h>
#include <kernel/panic.h>
#include <kernel/printk.h>
#include <mm/memmap.h>
#include <mm/vmalloc.h>

#include "kasan.h"
#include "sanitize.h"

#define IMAGE 0xffffffff80000000ul
#define REPORT_TEXT 1000
#define MOST_FILES 256
#define STACK_MAGIC 0x41b58ab3

extern char __image_start[], __image_end[];

bool kasan_ready;
vaddr_t kasan_main;
u64 kasan_main_bytes;
static bool reporting[NR_CPUS];

void kasan_poison(const void *p, u64 bytes, u8 why)
{
	memset(SHADOW(p), why, bytes / 8);
}

void kasan_allow(const void *p, u64 bytes)
{
	memset(SHADOW(p), 0, bytes / 8);
	if (bytes % 8)
		*SHADOW(p + bytes) = bytes % 8;
}

void kasan_allow_of(const void *p, u64 bytes, u64 of, u8 why)
{
	u64 behind = ALIGN_UP(bytes, 8);

	kasan_allow(p, bytes);
	kasan_poison(p + behind, of - behind, why);
}

/* The shadow's byte. False: this memory has no shadow, and we no opinion. */
static inline bool look(vaddr_t p, s8 *shadow)
{
	if (p >= (vaddr_t)__image_start) {
		if (p >= (vaddr_t)__image_end)
			return false;
		*shadow = *SHADOW(p);
		return true;
	}
	if (unlikely(!kasan_ready))
		return false;
	if (p - address_map.direct < MEMMAP_LIMIT)
		return probe_read((vaddr_t)SHADOW(p), (u8 *)shadow);
	if (!is_vmalloc_addr((void *)p))
		return false;
	if (!probe_read((vaddr_t)SHADOW(p), (u8 *)shadow))
		*shadow = (s8)SHADOW_WINDOW; /* there is no area near it */
	return true;
}

/* The first byte that may not be touched; 0: there is none. */
static vaddr_t first_bad(vaddr_t p, vaddr_t end)
{
	s8 shadow;

	while (p < end) {
		vaddr_t eight = ALIGN_DOWN(p, 8);
		u64 last = MIN(end - eight, 8ul) - 1;

		if (!look(p, &shadow)) {
			p = ALIGN_DOWN(p, 8 * PAGE_SIZE) + 8 * PAGE_SIZE;
			continue;
		}
		if (unlikely(shadow && (s64)last >= shadow))
			return shadow > 0 ? MAX(p, eight + shadow) : p;
		p = ALIGN_DOWN(p, 8) + 8;
		/* Long ranges: 64 bytes at a time, as long as the shadow's page is the same. */
		while (IS_ALIGNED(p, 64) && p < end && end - p >= 64 &&
		       !IS_ALIGNED((vaddr_t)SHADOW(p), PAGE_SIZE) && !*(u64 *)SHADOW(p))
			p += 64;
	}
	return 0;
}

u64 kasan_allowed(vaddr_t p, u64 most)
{
	vaddr_t bad = first_bad(p, p + most);

	return bad ? bad - p : most;
}

/* The report */

void kasan_say(struct kasan_text *text, const char *fmt, ...)
{
	va_list args;
	size_t n;

	va_start(args, fmt);
	n = vsnprintf(text->at, text->room, fmt, args);
	va_end(args);
	n = MIN(n, text->room - 1);
	text->at += n;
	text->room -= n;
}

void kasan_say_object(struct kasan_text *text, vaddr_t bad, vaddr_t object, u64 bytes,
		      const char *what)
{
	if (bad < object)
		kasan_say(text, "\n  %lu bytes to the left", object - bad);
	else if (bad >= object + bytes)
		kasan_say(text, "\n  %lu bytes to the right", bad - object - bytes);
	else
		kasan_say(text, "\n  %lu bytes inside", bad - object);
	kasan_say(text, " of the %lu bytes at 0x%lx, %s", bytes, object, what);
}

void kasan_say_sites(struct kasan_text *text, u32 allocated, u32 freed)
{
	if (allocated)
		kasan_say(text, "\n  allocated by %pS", (void *)(IMAGE + allocated));
	if (freed)
		kasan_say(text, "\n  freed by %pS", (void *)(IMAGE + freed));
}

/* Global variables: the compiler's records, of which each file with some has an array. */
static const struct global {
	vaddr_t start;
	u64 bytes, with_red_zone;
	const char *name, *file;
	u64 dynamic;
	const struct {
		const char *file;
		u32 line, column;
	} * location;
	u64 odr;
} * globals[MOST_FILES];
static u64 nr_globals[MOST_FILES], nr_files;

static void describe_global(struct kasan_text *text, vaddr_t bad)
{
	const struct global *best = NULL;
	u64 least = ~0ul;

	for (u64 file = 0; file < nr_files; file++)
		for (const struct global *g = globals[file]; g < globals[file] + nr_globals[file];
		     g++) {
			u64 far = bad < g->start ? g->start - bad : bad - g->start - g->bytes + 1;

			if (far < least) {
				least = far;
				best = g;
			}
		}
	if (!best)
		return;
	kasan_say_object(text, bad, best->start, best->bytes, "global ");
	kasan_say(text, "%s of %s", best->name, best->file);
}

/* The compiler's record at the foot of a frame: a magic number, text, the function. */
static void describe_stack(struct kasan_text *text, vaddr_t bad)
{
	const u64 *frame = (const u64 *)ALIGN_DOWN(bad, 8);
	int n = 0;

	while (n++ < 4096 &&
	       (*(const u8 *)SHADOW(frame) != SHADOW_STACK_LEFT || *frame != STACK_MAGIC))
		frame--;
	if (n < 4096)
		kasan_say(text,
			  "\n  %lu bytes from the foot of the frame of %pS\n"
			  "  its variables (how many; start, bytes, length of name, name:line): %s",
			  bad - (vaddr_t)frame, (void *)frame[2], (const char *)frame[1]);
}

static const struct {
	u8 shadow;
	const char *kind;
	void (*describe)(struct kasan_text *text, vaddr_t bad);
} kinds[] = {
	{ SHADOW_STACK_LEFT, "stack-out-of-bounds", describe_stack },
	{ SHADOW_STACK_MIDDLE, "stack-out-of-bounds", describe_stack },
	{ SHADOW_STACK_RIGHT, "stack-out-of-bounds", describe_stack },
	{ SHADOW_SCOPE, "stack-use-after-scope", describe_stack },
	{ SHADOW_GLOBAL, "global-out-of-bounds", describe_global },
	{ SHADOW_WINDOW, "vmalloc-out-of-bounds", kasan_describe_area },
	{ SHADOW_UNMAPPED, "vmalloc-use-after-free", kasan_describe_area },
	{ SHADOW_FREED, "slab-use-after-free", kasan_describe_object },
	{ SHADOW_OBJECT, "slab-out-of-bounds", kasan_describe_object },
	{ SHADOW_LARGE, "page-out-of-bounds", kasan_describe_frame },
	{ SHADOW_FRAME, "page-use-after-free", kasan_describe_frame },
};

static u8 shadow_at(vaddr_t p)
{
	s8 shadow = 0;

	look(p, &shadow);
	if ((u8)shadow == SHADOW_FRAME && virt_to_cache((void *)p))
		return SHADOW_OBJECT; /* a slab's frame stays so where nothing was handed out yet */
	if ((u8)shadow == SHADOW_WINDOW && kasan_is_freed_area(p))
		return SHADOW_UNMAPPED;
	return shadow > 0 ? shadow_at(p + 8) : (u8)shadow; /* behind a part is what it is part of */
}

static void say_shadow(struct kasan_text *text, vaddr_t bad)
{
	for (vaddr_t row = ALIGN_DOWN(bad, 128) - 128, p; row <= bad + 128; row += 128) {
		kasan_say(text, "\n %s0x%lx:", row == ALIGN_DOWN(bad, 128) ? ">" : " ", row);
		for (p = row; p < row + 128; p += 8) {
			s8 shadow;

			if (look(p, &shadow))
				kasan_say(text, "%s%02x", p == ALIGN_DOWN(bad, 8) ? "*" : " ",
					  (u8)shadow);
			else
				kasan_say(text, " ..");
		}
	}
}

/* kind NULL: what the shadow says. what: the second line. */
static _Noreturn noinline void report(const char *kind, vaddr_t bad, void *code, const char *what)
{
	char out[REPORT_TEXT];
	struct kasan_text text = { out, sizeof(out) };
	u8 shadow = shadow_at(bad);

	reporting[cpu_id()] = true;
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].shadow == shadow) {
			kasan_say(&text, "BUG: KASAN: %s in %pS\n  %s", kind ?: kinds[i].kind, code,
				  what);
			kinds[i].describe(&text, bad);
		}
	if (text.at == out)
		kasan_say(&text, "BUG: KASAN: wild-access in %pS\n  %s", code, what);
	say_shadow(&text, bad);
	reporting[cpu_id()] = false;
	panic("%s", out);
}

/* Most accesses: to the image or to the largest stretch of RAM, at most eight bytes. */
static inline bool is_plainly_right(vaddr_t p, u64 bytes)
{
	if (p - (vaddr_t)__image_start >= (u64)(__image_end - __image_start) &&
	    (!kasan_ready || p - kasan_main >= kasan_main_bytes))
		return p - address_map.vmemmap < MEMMAP_LIMIT / PAGE_SIZE * sizeof(struct page);
	return p % 8 + bytes <= 8 && !*SHADOW(p);
}

void kasan_check(const void *p, u64 bytes, bool write, void *code)
{
	vaddr_t bad = first_bad((vaddr_t)p, (vaddr_t)p + bytes);
	char what[64];

	if (likely(!bad) || reporting[cpu_id()] || panicking())
		return;
	snprintf(what, sizeof(what), "%s of size %lu at %p", write ? "Write" : "Read", bytes, p);
	report(NULL, bad, code, what);
}

void kasan_double_free(const void *p, const char *why, void *code)
{
	char what[64];

	snprintf(what, sizeof(what), "%p %s", p, why);
	report("double-free", (vaddr_t)p, code, what);
}

/* What the compiler calls */

#define ACCESS(kind, write, size)                                                 \
	void __asan_##kind##size##_noabort(const void *p)                         \
	{                                                                         \
		if (unlikely(!is_plainly_right((vaddr_t)p, size)))                \
			kasan_check(p, size, write, __builtin_return_address(0)); \
	}
#define ACCESSES(size)            \
	ACCESS(load, false, size) \
	ACCESS(store, true, size)
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __asan_loadN_noabort(const void *p, size_t bytes)
{
	kasan_check(p, bytes, false, __builtin_return_address(0));
}

void __asan_storeN_noabort(const void *p, size_t bytes)
{
	kasan_check(p, bytes, true, __builtin_return_address(0));
}

/* What an end without return leaves on the stack is wiped where it is caught: kasan_boot.c. */
void __asan_handle_no_return(void)
{
}

void __asan_poison_stack_memory(const void *p, size_t bytes)
{
	kasan_poison(p, ALIGN_UP(bytes, 8), SHADOW_SCOPE);
}

void __asan_unpoison_stack_memory(const void *p, size_t bytes)
{
	kasan_allow(p, bytes);
}

void __asan_register_globals(struct global *all, size_t nr)
{
	BUG_ON(nr_files == MOST_FILES);
	globals[nr_files] = all;
	nr_globals[nr_files++] = nr;
	for (const struct global *g = all; g < all + nr; g++)
		kasan_allow_of((void *)g->start, g->bytes, g->with_red_zone, SHADOW_GLOBAL);
}

void __asan_unregister_globals(struct global *all, size_t nr)
{
	(void)all, (void)nr;
}

/* In place of kernel/string.c's, in files that see checked/kernel/string.h. */

void *kasan_memset(void *dst, int byte, size_t bytes)
{
	kasan_check(dst, bytes, true, __builtin_return_address(0));
	return memset(dst, byte, bytes);
}

void *kasan_memcpy(void *dst, const void *src, size_t bytes)
{
	kasan_check(dst, bytes, true, __builtin_return_address(0));
	kasan_check(src, bytes, false, __builtin_return_address(0));
	return memcpy(dst, src, bytes);
}

void *kasan_memmove(void *dst, const void *src, size_t bytes)
{
	kasan_check(dst, bytes, true, __builtin_return_address(0));
	kasan_check(src, bytes, false, __builtin_return_address(0));
	return memmove(dst, src, bytes);
}
