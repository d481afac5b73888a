/*
 * Caches of objects: against a set of live ones, to the last frame, and misused.
 */
#include <kernel/string.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

#include "../test.h"

#define LIVE 700

static u8 *live[LIVE];

static struct kmem_stats stats_of(const char *name)
{
	struct kmem_stats stats = { .name = "" };

	for (unsigned i = 0; kmem_cache_stats(i, &stats); i++)
		if (!strcmp(stats.name, name))
			return stats;
	return (struct kmem_stats){ .name = NULL };
}

static bool all_bytes(const u8 *p, u64 bytes, u8 value)
{
	for (u64 i = 0; i < bytes; i++)
		if (p[i] != value)
			return false;
	return true;
}

/* Objects bear their number in every byte: two that overlap would spoil each other. */
static void random_objects(u64 bytes, u64 align)
{
	struct kmem_cache *cache = kmem_cache_create("test-random", bytes, align);
	u64 held = 0;

	EXPECT(cache);
	memset(live, 0, sizeof(live));
	for (int n = 0; n < 4000; n++) {
		u64 i = test_random() % LIVE;

		if (live[i]) {
			EXPECT(all_bytes(live[i], bytes, i % 251));
			kmem_cache_free(cache, live[i]);
			live[i] = NULL;
			held--;
		} else {
			live[i] = kmem_cache_alloc(cache, n % 2 ? __GFP_ZERO : GFP_KERNEL);
			EXPECT(live[i]);
			EXPECT(n % 2 == 0 || all_bytes(live[i], bytes, 0));
			EXPECT(IS_ALIGNED((vaddr_t)live[i], MAX(align, 8ul)));
			EXPECT((vaddr_t)live[i] % PAGE_SIZE + bytes <= PAGE_SIZE);
			EXPECT(virt_to_cache(live[i]) == cache);
			memset(live[i], i % 251, bytes);
			held++;
		}
		EXPECT_EQ(stats_of("test-random").in_use, held);
	}
	for (u64 i = 0; i < LIVE; i++) {
		EXPECT(!live[i] || all_bytes(live[i], bytes, i % 251));
		if (live[i])
			kmem_cache_free(cache, live[i]);
	}
	kmem_cache_destroy(cache);
}

TEST(slab, random_objects)
{
	static const u16 shapes[][2] = { { 8, 0 },    { 16, 16 },  { 24, 8 },	 { 96, 32 },
					 { 120, 0 },  { 121, 0 },  { 128, 128 }, { 192, 64 },
					 { 700, 16 }, { 8, 2048 }, { 2041, 0 },	 { 2048, 2048 } };

	for (u64 i = 0; i < ARRAY_SIZE(shapes); i++)
		random_objects(shapes[i][0], shapes[i][1]);
}

/* A slab holds as many objects as fit beside their bits, each at its own place. */
TEST(slab, per_slab)
{
	static const u16 shapes[][3] = { { 8, 0, 504 },	   { 16, 16, 254 }, { 32, 32, 127 },
					 { 64, 64, 63 },   { 96, 32, 42 },  { 120, 0, 34 },
					 { 128, 128, 32 }, { 192, 64, 21 }, { 1024, 0, 4 },
					 { 2048, 2048, 2 } };

	for (u64 i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct kmem_cache *cache =
			kmem_cache_create("test-fit", shapes[i][0], shapes[i][1]);
		u64 n = shapes[i][2];

		EXPECT(cache);
		EXPECT_EQ(stats_of("test-fit").per_slab, n);
		EXPECT_EQ(kmem_cache_size(cache), shapes[i][0]);
		for (u64 k = 0; k < n; k++)
			EXPECT((live[k] = kmem_cache_alloc(cache, GFP_KERNEL)));
		EXPECT_EQ(stats_of("test-fit").slabs, 1);
		EXPECT((live[n] = kmem_cache_alloc(cache, GFP_KERNEL)));
		EXPECT_EQ(stats_of("test-fit").slabs, 2);
		for (u64 k = 0; k <= n; k++)
			kmem_cache_free(cache, live[k]);
		kmem_cache_destroy(cache);
	}
}

/* Empty slabs go back, but for one: a loop at the boundary asks for no frame. */
TEST(slab, frames_go_back)
{
	struct kmem_cache *cache = kmem_cache_create("test-back", 512, 0);
	u64 before = nr_free_pages();

	EXPECT(cache);
	for (int i = 0; i < 80; i++)
		EXPECT((live[i] = kmem_cache_alloc(cache, GFP_KERNEL)));
	EXPECT_EQ(nr_free_pages(), before - 10);
	for (int i = 0; i < 80; i++)
		kmem_cache_free(cache, live[i]);
	EXPECT_EQ(nr_free_pages(), before - 1);
	EXPECT_EQ(stats_of("test-back").slabs, 1);
	for (int i = 0; i < 10; i++) {
		kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
		EXPECT_EQ(nr_free_pages(), before - 1);
	}
	EXPECT_EQ(kmem_cache_shrink_all(), 1);
	EXPECT_EQ(nr_free_pages(), before);
	EXPECT_EQ(stats_of("test-back").allocs, 90);
	EXPECT_EQ(stats_of("test-back").frees, 90);
	/* Also with a slab that is partly used: it does not hide the empty one. */
	for (int i = 0; i < 24; i++)
		EXPECT((live[i] = kmem_cache_alloc(cache, GFP_KERNEL)));
	kmem_cache_free(cache, live[0]);
	for (int i = 23; i >= 8; i--)
		kmem_cache_free(cache, live[i]);
	EXPECT_EQ(stats_of("test-back").slabs, 2);
	for (int i = 7; i > 0; i--)
		kmem_cache_free(cache, live[i]);
	EXPECT_EQ(stats_of("test-back").slabs, 1);
	kmem_cache_destroy(cache);
}

TEST(slab, no_frame)
{
	struct kmem_cache *cache = kmem_cache_create("test-none", 256, 0);
	void *object;

	if (!CHECKING)
		SKIP("fault injection needs a checking build");
	EXPECT(cache);
	page_alloc_fail_nth(1);
	EXPECT(!kmem_cache_alloc(cache, GFP_KERNEL));
	EXPECT_EQ(stats_of("test-none").slabs, 0);
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	EXPECT(object);
	kmem_cache_free(cache, object);
	EXPECT(all_bytes(object, 256, JUNK));
	kmem_cache_destroy(cache);
}

TEST(slab, create)
{
	struct kmem_cache *caches[KMEM_MAX_CACHES];
	struct kmem_stats stats;
	unsigned n = 0, had = 0;

	while (kmem_cache_stats(had, &stats))
		had++;
	EXPECT(!kmem_cache_create("test-bad", 0, 0));
	EXPECT(!kmem_cache_create("test-bad", 7, 0));
	EXPECT(!kmem_cache_create("test-bad", 2049, 0));
	EXPECT(!kmem_cache_create("test-bad", ~0ul, 8));
	EXPECT(!kmem_cache_create("test-bad", 64, 24));
	EXPECT(!kmem_cache_create("test-bad", 64, 4096));
	while (n < KMEM_MAX_CACHES && (caches[n] = kmem_cache_create("test-many", 64, 64)))
		n++;
	EXPECT_EQ(had + n, KMEM_MAX_CACHES);
	EXPECT(kmem_cache_stats(KMEM_MAX_CACHES - 1, &stats));
	EXPECT(!kmem_cache_stats(KMEM_MAX_CACHES, &stats));
	while (n)
		kmem_cache_destroy(caches[--n]);
	EXPECT(!kmem_cache_stats(had, &stats));
}

static struct kmem_cache *victim;

static void free_to_victim(void *p)
{
	kmem_cache_free(victim, p);
}

static void destroy(void *cache)
{
	kmem_cache_destroy(cache);
}

TEST(slab, misuse)
{
	struct kmem_cache *other = kmem_cache_create("test-other", 64, 0);
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	char *object, *stranger, *area = vmalloc(PAGE_SIZE);
	u64 in_use;

	victim = kmem_cache_create("test-victim", 64, 64);
	EXPECT(victim && other && page && area);
	object = kmem_cache_alloc(victim, GFP_KERNEL);
	stranger = kmem_cache_alloc(other, GFP_KERNEL);
	EXPECT(object && stranger);
	in_use = stats_of("test-victim").in_use;
	EXPECT_PANIC(free_to_victim, object + 8, "is not where an object begins");
	EXPECT_PANIC(free_to_victim, ALIGN_DOWN((vaddr_t)object, PAGE_SIZE), "is not where");
	EXPECT_PANIC(free_to_victim, object + 64, "is free already");
	EXPECT_PANIC(free_to_victim, stranger, "is no object of this cache");
	EXPECT_PANIC(free_to_victim, page_address(page), "is no object of this cache");
	EXPECT_PANIC(free_to_victim, NULL, "is no object of this cache");
	EXPECT_PANIC(free_to_victim, &victim, "is no object of this cache");
	EXPECT_PANIC(free_to_victim, area, "is no object of this cache");
	EXPECT_PANIC(destroy, victim, "in use");
	EXPECT_EQ(stats_of("test-victim").in_use, in_use);
	kmem_cache_free(victim, object);
	EXPECT_PANIC(free_to_victim, object, "is free already");
	kmem_cache_free(other, stranger);
	__free_pages(page, 0);
	vfree(area);
	kmem_cache_destroy(victim);
	kmem_cache_destroy(other);
}

static unsigned complaints;

static void complain(const char *fmt, ...)
{
	(void)fmt;
	complaints++;
}

/* A check that cannot fail finds nothing: break something, and see it found. */
TEST(slab, check_finds)
{
	struct kmem_cache *cache = kmem_cache_create("test-break", 64, 0);
	u32 *object, *bits;

	EXPECT(cache);
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	EXPECT(object);
	bits = (u32 *)ALIGN_DOWN((vaddr_t)object, PAGE_SIZE);
	EXPECT_EQ(slab_check(complain), 0);
	bits[1] ^= 4; /* what an underrun of the first object would do */
	complaints = 0;
	EXPECT_EQ(slab_check(complain), 1);
	EXPECT_EQ(complaints, 1);
	bits[1] ^= 4;
	virt_to_page(object)->slab_used++;
	EXPECT_EQ(slab_check(complain), 2); /* the slab, and the cache's sum */
	virt_to_page(object)->slab_used--;
	kmem_cache_free(cache, object);
	kmem_cache_destroy(cache);
}
