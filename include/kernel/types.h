/*
 * types.h - the words every file speaks.
 *
 * paddr_t and pte_t are one-field structs, as in Linux: mixing them up does not compile. Names say
 * the unit: nr_pages, bytes, order, pfn (page frame number: physical address >> 12).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

typedef u64 vaddr_t; /* a virtual address, as a number */
typedef struct {
	u64 v;
} paddr_t; /* a physical address */
typedef struct {
	u64 v;
} pte_t; /* a page-table entry, at whichever level */

#define PAGE_SHIFT 12
#define PAGE_SIZE (1ul << PAGE_SHIFT)
#define KiB (1ul << 10)
#define MiB (1ul << 20)
#define GiB (1ul << 30)
#define TiB (1ul << 40)

#define must_check __attribute__((warn_unused_result))
#define noinline __attribute__((noinline))
#define packed __attribute__((packed))
#define aligned_to(n) __attribute__((aligned(n)))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Who is told what is wrong: one complaint a call, without a newline. */
typedef void (*complain_fn)(const char *fmt, ...) printf_like(1, 2);

/* n is a power of two in these three. */
#define ALIGN_DOWN(x, n) ((x) & ~((u64)(n)-1))
#define ALIGN_UP(x, n) ALIGN_DOWN((x) + (u64)(n)-1, n)
#define IS_ALIGNED(x, n) (((x) & ((u64)(n)-1)) == 0)
#define CALLER() ((vaddr_t)__builtin_return_address(0)) /* the code that called us: who asked */

/* The code that says this: its address is the nearest there is inside an inline function. */
#define THIS_CODE()                 \
	({                          \
		__label__ here_;    \
	here_:                      \
		(vaddr_t) && here_; \
	})

/* What can fail returns 0 or one of these, negated, as in Linux. */
enum { ENOENT = 2, ENOMEM = 12, EACCES = 13, EEXIST = 17, EINVAL = 22, ENOSPC = 28 };

static inline paddr_t paddr(u64 v)
{
	return (paddr_t){ v };
}

static inline u64 paddr_to_pfn(paddr_t pa)
{
	return pa.v >> PAGE_SHIFT;
}
