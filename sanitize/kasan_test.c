/*
 * kasan_test.c - each class of wrong access, planted, and what KASAN says of it.
 *
 * A report must name the kind, the function, the access with its address and size, the object with
 * its size and where in or beside it, and the functions that made and freed it.
 */
#include <kernel/printk.h>
#include <kernel/string.h>
#include <mm/vmalloc.h>

#include "../tests/test.h"
#include "kasan.h"

static volatile u64 sink;
static char said[1024];

/* What made and freed an object; NULL: not asked. */
static const char *maker, *breaker;

/* Neither inlined nor cloned under another name. */
#define apart __attribute__((noipa))

/* Keeps a call from being the last thing of a function: then it would be its caller's. */
#define NOT_LAST() asm volatile("" ::: "memory")

static bool has_site(const char *how, const char *function)
{
	char site[80];

	snprintf(site, sizeof(site), "\n  %s by %s+0x", how, function ?: "");
	return !function || contains(said, site);
}

static bool said_all(const char *kind, const char *where, const char *lines)
{
	char first[120];

	snprintf(first, sizeof(first), "BUG: KASAN: %s in %s+0x", kind, where);
	return strncmp(said, first, strlen(first)) == 0 && contains(said, lines) &&
	       has_site("allocated", maker) && has_site("freed", breaker);
}

/* fn(arg) must be reported as this kind, in fn, with these lines (a format) and the sites. */
#define EXPECT_BUG(fn, arg, kind, ...)                                                      \
	do {                                                                                \
		static char lines_[256];                                                    \
                                                                                            \
		strlcpy(said, "nothing was reported", sizeof(said));                        \
		snprintf(lines_, sizeof(lines_), __VA_ARGS__);                              \
		if (!panic_caught(fn, (void *)(arg), said, sizeof(said)) ||                 \
		    !said_all(kind, #fn, lines_)) {                                         \
			test_fail(__FILE__, __LINE__, kind, "in " #fn " by '%s', '%s': %s", \
				  maker ?: "", breaker ?: "", lines_);                      \
			printk("%s\n", said);                                               \
			return;                                                             \
		}                                                                           \
	} while (0)

/* Wrong accesses, each to what it is given */

static apart void write_byte(void *p)
{
	*(volatile u8 *)p = 1;
}

static apart void read_word(void *p)
{
	sink = *(volatile u64 *)p;
}

static apart void set_20(void *p)
{
	memset(p, 0, 20);
	NOT_LAST();
}

static u8 bytes_20[20];

static apart void copy_20_from(void *p)
{
	memcpy(bytes_20, p, 20);
	NOT_LAST();
}

static apart void move_20_to(void *p)
{
	memmove(p, bytes_20, 20);
	NOT_LAST();
}

struct five {
	u64 word[5];
};
static struct five five;

static apart void assign(void *p)
{
	*(struct five *)p = five;
	NOT_LAST();
}

/* Objects */

static apart u8 *make_object(u64 bytes)
{
	u8 *p = kmalloc(bytes, GFP_KERNEL);

	NOT_LAST();
	return p;
}

static apart void drop_object(void *p)
{
	kfree(p);
	NOT_LAST();
}

TEST(kasan, kmalloc_right)
{
	u8 *p = make_object(13);

	maker = "make_object", breaker = NULL;
	EXPECT(p);
	p[12] = 1;
	EXPECT_BUG(write_byte, p + 13, "slab-out-of-bounds",
		   "\n  Write of size 1 at 0x%lx\n"
		   "  0 bytes to the right of the 13 bytes at 0x%lx, cache kmalloc-16\n",
		   (u64)p + 13, (u64)p);
	EXPECT_BUG(read_word, p + 8, "slab-out-of-bounds",
		   "\n  Read of size 8 at 0x%lx\n  0 bytes to the right of the 13 bytes at 0x%lx",
		   (u64)p + 8, (u64)p);
	drop_object(p);
}

/* Sizes from the first to the last of a class, and all classes: the next byte is never allowed. */
TEST(kasan, kmalloc_every_size)
{
	maker = "make_object", breaker = NULL;
	for (u64 bytes = 1; bytes <= 2 * PAGE_SIZE + 1; bytes += bytes < 300 ? 1 : 97) {
		u8 *p = make_object(bytes);

		EXPECT(p);
		p[0] = p[bytes - 1] = 1;
		if (bytes % PAGE_SIZE) /* a large one has no frame to spare */
			EXPECT_BUG(write_byte, p + bytes,
				   bytes > KMALLOC_MAX_CACHE ? "page-out-of-bounds" :
							       "slab-out-of-bounds",
				   "\n  0 bytes to the right of the %lu bytes at 0x%lx, ", bytes,
				   (u64)p);
		drop_object(p);
	}
}

TEST(kasan, kmalloc_left)
{
	u8 *p = make_object(64), *first = NULL;

	maker = "make_object", breaker = NULL;
	if (IS_ALIGNED((vaddr_t)p, PAGE_SIZE)) { /* left of it is somebody else's frame */
		first = p;
		p = make_object(64);
	}
	EXPECT(p);
	EXPECT_BUG(write_byte, p - 1, "slab-out-of-bounds",
		   "\n  Write of size 1 at 0x%lx\n"
		   "  1 bytes to the left of the 64 bytes at 0x%lx, cache kmalloc-64\n",
		   (u64)p - 1, (u64)p);
	EXPECT_BUG(set_20, p - 8, "slab-out-of-bounds",
		   "\n  Write of size 20 at 0x%lx\n  8 bytes to the left of the 64 bytes",
		   (u64)p - 8);
	drop_object(p);
	drop_object(first);
}

TEST(kasan, kmalloc_use_after_free)
{
	u8 *p = make_object(100), *next[20];

	maker = "make_object", breaker = "drop_object";
	EXPECT(p);
	drop_object(p);
	EXPECT_BUG(read_word, p + 16, "slab-use-after-free",
		   "\n  Read of size 8 at 0x%lx\n"
		   "  16 bytes inside of the 100 bytes at 0x%lx, cache kmalloc-128\n",
		   (u64)p + 16, (u64)p);
	/* It is not somebody else's soon, and still known when it lies in a magazine. */
	for (unsigned i = 0; i < ARRAY_SIZE(next); i++) {
		EXPECT((next[i] = make_object(100)));
		EXPECT(next[i] != p);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(next); i++)
		drop_object(next[i]);
	for (unsigned i = 0; i < 200; i++)
		drop_object(make_object(8));
	EXPECT_BUG(write_byte, p + 99, "slab-use-after-free",
		   "\n  Write of size 1 at 0x%lx\n  99 bytes inside of the 100 bytes at 0x%lx",
		   (u64)p + 99, (u64)p);
}

TEST(kasan, kmalloc_double_free)
{
	u8 *p = make_object(40);

	maker = "make_object", breaker = "drop_object";
	EXPECT(p);
	drop_object(p);
	EXPECT_BUG(drop_object, p, "double-free",
		   "\n  0x%lx is free already\n"
		   "  0 bytes inside of the 40 bytes at 0x%lx, cache kmalloc-64\n",
		   (u64)p, (u64)p);
}

TEST(kasan, large_kmalloc)
{
	u8 *p = make_object(5000);

	maker = "make_object", breaker = NULL;
	EXPECT(p);
	EXPECT_BUG(write_byte, p + 5001, "page-out-of-bounds",
		   "\n  Write of size 1 at 0x%lx\n"
		   "  1 bytes to the right of the 5000 bytes at 0x%lx, a large kmalloc\n",
		   (u64)p + 5001, (u64)p);
	drop_object(p);
	breaker = "drop_object";
	EXPECT_BUG(read_word, p, "page-use-after-free", "\n  Read of size 8 at 0x%lx\n", (u64)p);
}

TEST(kasan, ranges)
{
	u8 *p = make_object(13), *q = make_object(32);

	maker = "make_object", breaker = NULL;
	EXPECT(p && q);
	EXPECT_BUG(set_20, p, "slab-out-of-bounds",
		   "\n  Write of size 20 at 0x%lx\n  0 bytes to the right of the 13 bytes", (u64)p);
	EXPECT_BUG(copy_20_from, p, "slab-out-of-bounds",
		   "\n  Read of size 20 at 0x%lx\n  0 bytes to the right of the 13 bytes", (u64)p);
	EXPECT_BUG(move_20_to, p, "slab-out-of-bounds",
		   "\n  Write of size 20 at 0x%lx\n  0 bytes to the right of the 13 bytes", (u64)p);
	EXPECT_BUG(assign, q, "slab-out-of-bounds",
		   "\n  Write of size 40 at 0x%lx\n  0 bytes to the right of the 32 bytes", (u64)q);
	drop_object(p);
	drop_object(q);
	breaker = "drop_object";
	EXPECT_BUG(set_20, q, "slab-use-after-free", "\n  0 bytes inside of the 32 bytes at 0x%lx",
		   (u64)q);
}

static struct kmem_cache *cache;

static apart u8 *take_object(void)
{
	u8 *p = kmem_cache_alloc(cache, GFP_KERNEL);

	NOT_LAST();
	return p;
}

static apart void put_object(void *p)
{
	kmem_cache_free(cache, p);
	NOT_LAST();
}

TEST(kasan, caches)
{
	u8 *p;

	cache = kmem_cache_create("test-kasan", 2048, 8); /* the largest */
	EXPECT(cache && (p = take_object()));
	maker = "take_object", breaker = NULL;
	EXPECT_BUG(write_byte, p + 2048, "slab-out-of-bounds",
		   "\n  0 bytes to the right of the 2048 bytes at 0x%lx, cache test-kasan\n",
		   (u64)p);
	put_object(p);
	breaker = "put_object";
	EXPECT_BUG(read_word, p, "slab-use-after-free",
		   "\n  0 bytes inside of the 2048 bytes at 0x%lx, cache test-kasan\n", (u64)p);
	EXPECT_BUG(put_object, p, "double-free", "\n  0x%lx is free already\n", (u64)p);
	kmem_cache_destroy(cache);
}

static apart u8 *shrink_object(u8 *p, u64 bytes)
{
	p = krealloc(p, bytes, GFP_KERNEL);
	NOT_LAST();
	return p;
}

TEST(kasan, krealloc)
{
	u8 *p = shrink_object(make_object(100), 50);

	maker = "shrink_object", breaker = NULL;
	EXPECT(p);
	p[49] = 1;
	EXPECT_BUG(write_byte, p + 50, "slab-out-of-bounds",
		   "\n  0 bytes to the right of the 50 bytes at 0x%lx, cache kmalloc-128\n",
		   (u64)p);
	drop_object(p);
}

/* Frames */

static apart u8 *make_frames(unsigned order)
{
	u8 *p = __get_free_pages(GFP_KERNEL, order);

	NOT_LAST();
	return p;
}

static apart void drop_frames(void *p)
{
	free_pages(p, 1);
	NOT_LAST();
}

TEST(kasan, frames)
{
	u8 *p = make_frames(1);

	maker = "make_frames", breaker = "drop_frames";
	EXPECT(p);
	p[2 * PAGE_SIZE - 1] = 1;
	drop_frames(p);
	EXPECT_BUG(
		write_byte, p + PAGE_SIZE + 5, "page-use-after-free",
		"\n  Write of size 1 at 0x%lx\n  5 bytes inside of the 4096 bytes at 0x%lx, a frame",
		(u64)p + PAGE_SIZE + 5, (u64)p + PAGE_SIZE);
	drain_all_pages();
	EXPECT_BUG(read_word, p, "page-use-after-free", "\n  Read of size 8 at 0x%lx\n", (u64)p);
}

/* Areas */

static apart u8 *make_area(u64 bytes)
{
	u8 *p = vmalloc(bytes);

	NOT_LAST();
	return p;
}

static apart void drop_area(void *p)
{
	vfree(p);
	NOT_LAST();
}

TEST(kasan, vmalloc_right)
{
	u8 *p = make_area(5000), *q = make_area(3 * PAGE_SIZE);

	maker = "make_area", breaker = NULL;
	EXPECT(p && q);
	p[4999] = q[3 * PAGE_SIZE - 1] = 1;
	EXPECT_BUG(write_byte, p + 5000, "vmalloc-out-of-bounds",
		   "\n  Write of size 1 at 0x%lx\n"
		   "  0 bytes to the right of the 5000 bytes at 0x%lx, a vmalloc area\n",
		   (u64)p + 5000, (u64)p);
	EXPECT_BUG(
		set_20, q + 3 * PAGE_SIZE - 10, "vmalloc-out-of-bounds",
		"\n  Write of size 20 at 0x%lx\n  0 bytes to the right of the 12288 bytes at 0x%lx",
		(u64)q + 3 * PAGE_SIZE - 10, (u64)q);
	drop_area(p);
	drop_area(q);
}

TEST(kasan, vmalloc_left)
{
	u8 *p = make_area(PAGE_SIZE);

	maker = "make_area", breaker = NULL;
	EXPECT(p);
	EXPECT_BUG(write_byte, p - 1, "vmalloc-out-of-bounds",
		   "\n  Write of size 1 at 0x%lx\n"
		   "  1 bytes to the left of the 4096 bytes at 0x%lx, a vmalloc area\n",
		   (u64)p - 1, (u64)p);
	drop_area(p);
}

TEST(kasan, vmalloc_use_after_free)
{
	u8 *p = make_area(5000);

	maker = "make_area", breaker = "drop_area";
	EXPECT(p);
	drop_area(p);
	EXPECT_BUG(read_word, p + 4096, "vmalloc-use-after-free",
		   "\n  Read of size 8 at 0x%lx\n"
		   "  4096 bytes inside of the 5000 bytes at 0x%lx, a freed area\n",
		   (u64)p + 4096, (u64)p);
	EXPECT_BUG(copy_20_from, p, "vmalloc-use-after-free", "\n  Read of size 20 at 0x%lx\n",
		   (u64)p);
	vm_unmap_aliases(); /* the addresses are free, and the shadow may be gone */
	EXPECT_BUG(write_byte, p, "vmalloc-use-after-free",
		   "\n  0 bytes inside of the 5000 bytes at 0x%lx, a freed area\n", (u64)p);
}

TEST(kasan, vmalloc_double_free)
{
	u8 *p = make_area(5000);

	maker = "make_area", breaker = "drop_area";
	EXPECT(p);
	drop_area(p);
	EXPECT_BUG(
		drop_area, p, "double-free",
		"\n  0x%lx is freed already, and waits for the flush\n  0 bytes inside of the 5000 bytes at 0x%lx",
		(u64)p, (u64)p);
}

static apart void drop_map(void *p)
{
	vunmap(p);
	NOT_LAST();
}

/* The frame stays somebody's, but not by this name. */
TEST(kasan, vmap)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	u8 *p = page ? vmap(&page, 1, PAGE_KERNEL) : NULL;

	maker = "test_kasan_vmap", breaker = NULL;
	EXPECT(p);
	p[PAGE_SIZE - 1] = *(u8 *)page_address(page) = 1;
	EXPECT_BUG(write_byte, p + PAGE_SIZE, "vmalloc-out-of-bounds",
		   "\n  0 bytes to the right of the 4096 bytes at 0x%lx, a vmap area\n", (u64)p);
	drop_map(p);
	breaker = "drop_map";
	EXPECT_BUG(read_word, p, "vmalloc-use-after-free", "\n  Read of size 8 at 0x%lx\n", (u64)p);
	*(u8 *)page_address(page) = 1;
	vm_unmap_aliases();
	__free_pages(page, 0);
}

/* Shadow of an area comes with it, and goes when its addresses are free again. */
TEST(kasan, shadow_comes_and_goes)
{
	u8 *p = make_area(64 * PAGE_SIZE), byte;

	EXPECT(p && probe_read((vaddr_t)SHADOW(p + 32 * PAGE_SIZE), &byte) && byte == 0);
	drop_area(p);
	EXPECT(probe_read((vaddr_t)SHADOW(p + 32 * PAGE_SIZE), &byte) && byte == SHADOW_UNMAPPED);
	vm_unmap_aliases();
	EXPECT(!probe_read((vaddr_t)SHADOW(p + 32 * PAGE_SIZE), &byte));
}

/* Stacks and globals: the compiler's red zones */

static volatile s64 index;

static apart void stack_access(void *unused)
{
	u8 before[24], array[10], after[24];

	(void)unused;
	asm volatile("" ::"r"(before), "r"(array), "r"(after) : "memory"); /* all three exist */
	*(volatile u8 *)(array + index) = 1;
}

TEST(kasan, stack)
{
	maker = breaker = NULL;
	index = 9;
	stack_access(NULL);
	index = 10;
	EXPECT_BUG(stack_access, NULL, "stack-out-of-bounds", "of the frame of stack_access+0x0\n");
	EXPECT(contains(said, "Write of size 1 at 0x") && contains(said, " 10 ") &&
	       contains(said, " array:"));
	index = -1;
	EXPECT_BUG(stack_access, NULL, "stack-out-of-bounds", "of the frame of stack_access+0x0\n");
}

static apart void scope_access(void *unused)
{
	u64 *volatile p;

	(void)unused;
	{
		u64 inner[4];

		asm volatile("" ::"r"(inner) : "memory");
		p = inner;
	}
	sink = *p;
}

TEST(kasan, stack_use_after_scope)
{
	maker = breaker = NULL;
	EXPECT_BUG(scope_access, NULL, "stack-use-after-scope", "\n  Read of size 8 at 0x");
	EXPECT(contains(said, " 32 ") && contains(said, " inner:") &&
	       contains(said, "scope_access+0x0"));
}

static u8 global_array[10];
static const u8 constant_array[3] = { 1, 2, 3 };

TEST(kasan, globals)
{
	u8 *volatile p = global_array, *volatile q = (u8 *)constant_array;

	maker = breaker = NULL;
	EXPECT_BUG(write_byte, p + 10, "global-out-of-bounds",
		   "\n  Write of size 1 at 0x%lx\n"
		   "  0 bytes to the right of the 10 bytes at 0x%lx, global global_array of ",
		   (u64)p + 10, (u64)p);
	EXPECT_BUG(read_word, q, "global-out-of-bounds",
		   "\n  Read of size 8 at 0x%lx\n"
		   "  0 bytes to the right of the 3 bytes at 0x%lx, global constant_array of ",
		   (u64)q, (u64)q);
	EXPECT_BUG(write_byte, p - 1, "global-out-of-bounds",
		   "\n  Write of size 1 at 0x%lx\n"
		   "  1 bytes to the left of the 10 bytes at 0x%lx, global global_array of ",
		   (u64)p - 1, (u64)p);
}
