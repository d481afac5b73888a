/*
 * kmalloc: sizes, alignment, contiguity, contents, and what must not be given to kfree.
 */
#include <kernel/string.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

#include "../test.h"

#define LIVE 100

/* So large a block lies in the largest range of RAM for sure. There kfree is quick, elsewhere it goes the long way. */
#define IN_MAIN MiB

static bool all_bytes(const u8 *p, u64 bytes, u8 value)
{
	for (u64 i = 0; i < bytes; i++)
		if (p[i] != value)
			return false;
	return true;
}

/* Each class holds its own size, and not a byte more. */
TEST(kmalloc, classes)
{
	static const u64 classes[] = { 8,	 16,	    32,	       64,	  96,
				       128,	 192,	    256,       512,	  1024,
				       2048,	 4096,	    8192,      16384,	  32 * KiB,
				       64 * KiB, 128 * KiB, 256 * KiB, 512 * KiB, IN_MAIN };

	for (u64 i = 0; i + 1 < ARRAY_SIZE(classes); i++) {
		void *p = kmalloc(classes[i], GFP_KERNEL), *q = kmalloc(classes[i] + 1, GFP_KERNEL);

		EXPECT(p && q);
		EXPECT_EQ(ksize(p), classes[i]);
		EXPECT_EQ(ksize(q), classes[i + 1]);
		kfree(p);
		kfree(q);
	}
}

TEST(kmalloc, sizes)
{
	u64 last = 0;

	for (u64 bytes = 1; bytes <= IN_MAIN; bytes += bytes < 5000 ? 1 : bytes) {
		void *p = kmalloc(bytes, GFP_KERNEL);
		u64 got = ksize(p);

		EXPECT(p);
		EXPECT(got >= bytes && got >= last);
		EXPECT(got <= MAX(2 * bytes, 8ul));
		EXPECT(IS_ALIGNED((vaddr_t)p, got & -got)); /* a power of two: to itself */
		EXPECT_EQ((bytes > KMALLOC_MAX_CACHE), !virt_to_cache(p));
		last = got;
		kfree(p);
	}
	EXPECT(!kmalloc(0, GFP_KERNEL));
	EXPECT(!kmalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL));
	EXPECT(!kmalloc(~0ul, GFP_KERNEL));
	EXPECT_EQ(ksize(NULL), 0);
}

TEST(kmalloc, large)
{
	for (u64 bytes = 2 * PAGE_SIZE; bytes <= KMALLOC_MAX_SIZE; bytes *= 2) {
		u8 *p = kmalloc(bytes - 1, GFP_KERNEL);

		if (!p && bytes > MiB)
			SKIP("memory is shuffled, and no such block is left whole");
		EXPECT(p);
		EXPECT_EQ(ksize(p), bytes);
		EXPECT(IS_ALIGNED(virt_to_phys(p).v, bytes));
		EXPECT_EQ(virt_to_phys(p + bytes - 1).v, virt_to_phys(p).v + bytes - 1);
		EXPECT_EQ(virt_to_page(p)->state, PG_KMALLOC);
		memset(p, 0x5a, bytes);
		kfree(p);
	}
}

static noinline void *ask_here(void)
{
	return krealloc(NULL, IN_MAIN, GFP_KERNEL);
}

static noinline void *ask_there(void)
{
	return krealloc(NULL, 5 * PAGE_SIZE, GFP_KERNEL);
}

/* Of every large block it is known who asked: the caller, not kmalloc. (Not by kmalloc(), which a compiler need not inline.) */
TEST(kmalloc, large_names_its_owner)
{
	void *p = ask_here(), *q = ask_there();

	EXPECT(p && q);
	EXPECT(virt_to_page(p)->owner != virt_to_page(q)->owner);
	kfree(p);
	kfree(q);
}

static void give_back(struct page_list *list)
{
	while (list->first) {
		struct page *page = pfn_to_page(list->first);

		page_list_remove(list, page);
		__free_pages(page, 0);
	}
}

/* Half of all frames are free, but no two neighbours: nothing for kmalloc, all that vmalloc needs. */
TEST(kmalloc, no_free_neighbours)
{
	struct page_list held[2] = { { 0, 0 }, { 0, 0 } }; /* frames of even number, and of odd */
	void *block, *area, *object, *later;
	struct page *page;

	if (CHECKING && nr_free_pages() > GiB / PAGE_SIZE)
		SKIP("filling this much RAM with junk takes long");
	while ((page = alloc_pages(GFP_KERNEL, 0)))
		page_list_add(&held[page_to_pfn(page) % 2], page, false);
	give_back(&held[1]);
	block = kmalloc(PAGE_SIZE + 1, GFP_KERNEL);
	area = vmalloc(16 * PAGE_SIZE);
	object = kmalloc(64, GFP_KERNEL);
	give_back(&held[0]);
	later = kmalloc(IN_MAIN, GFP_KERNEL);
	EXPECT(!block);
	EXPECT(area && object && later);
	vfree(area);
	kfree(object);
	kfree(later);
}

TEST(kmalloc, zeroed)
{
	for (u64 bytes = 8; bytes <= 64 * KiB; bytes *= 2) {
		u8 *p = kmalloc(bytes, GFP_KERNEL);

		EXPECT(p);
		memset(p, 0xff, bytes);
		kfree(p);
		p = kzalloc(bytes, GFP_KERNEL);
		EXPECT(p);
		EXPECT(all_bytes(p, bytes, 0));
		kfree(p);
	}
}

/* Against a model: sizes and contents of what we hold. */
TEST(kmalloc, random)
{
	static u8 *live[LIVE];
	static u64 size[LIVE];

	live[0] = kmalloc(IN_MAIN, GFP_KERNEL); /* has room for all that is asked of it */
	for (int n = 0; n < 4000; n++) {
		u64 i = test_random() % LIVE, bytes = 1 + test_random() % 300;

		if (n % 16 == 0)
			bytes *= 40;
		EXPECT(all_bytes(live[i], size[i], i));
		if (test_random() % 2) {
			kfree(live[i]);
			live[i] = kmalloc(bytes, GFP_KERNEL);
		} else {
			live[i] = krealloc(live[i], bytes, GFP_KERNEL);
			EXPECT(all_bytes(live[i], MIN(bytes, size[i]), i));
		}
		EXPECT(live[i]);
		size[i] = bytes;
		memset(live[i], i, bytes);
	}
	for (int i = 0; i < LIVE; i++) {
		EXPECT(all_bytes(live[i], size[i], i));
		kfree(live[i]);
		live[i] = NULL;
		size[i] = 0;
	}
}

TEST(kmalloc, krealloc)
{
	u8 *p = krealloc(NULL, 100, GFP_KERNEL), *q;

	EXPECT(p);
	EXPECT_EQ(ksize(p), 128);
	memset(p, 7, 100);
	EXPECT(krealloc(p, 128, GFP_KERNEL) == p);
	EXPECT(krealloc(p, 10, GFP_KERNEL) == p);
	q = krealloc(p, 20000, GFP_KERNEL);
	EXPECT(q && q != p);
	EXPECT(all_bytes(q, 100, 7));
	EXPECT_EQ(ksize(q), 32 * KiB);
	EXPECT(!krealloc(q, KMALLOC_MAX_SIZE + 1, GFP_KERNEL)); /* q is as it was */
	EXPECT(all_bytes(q, 100, 7));
	page_alloc_fail_nth(1);
	p = krealloc(q, 40000, GFP_KERNEL);
	page_alloc_fail_nth(0);
	EXPECT(CHECKING == !p);
	q = p ?: q;
	EXPECT(!krealloc(q, 0, GFP_KERNEL)); /* freed: the runner would see the leak */
	EXPECT(!krealloc(NULL, 0, GFP_KERNEL));
	q = krealloc(NULL, IN_MAIN, GFP_KERNEL);
	EXPECT(q);
	EXPECT(!krealloc(q, 0, GFP_KERNEL));
}

/* What lies behind the old object is its neighbours'. */
TEST(kmalloc, krealloc_copies_no_more_than_it_had)
{
	u8 *old[16], *p;

	for (u64 i = 0; i < ARRAY_SIZE(old); i++) {
		old[i] = kmalloc(64, GFP_KERNEL);
		EXPECT(old[i]);
		memset(old[i], 0xee, 64);
	}
	for (u64 i = 0; i < ARRAY_SIZE(old); i++) {
		p = krealloc(old[i], 256, __GFP_ZERO);
		EXPECT(p);
		EXPECT(all_bytes(p, 64, 0xee));
		EXPECT(all_bytes(p + 64, 256 - 64, 0));
		kfree(p);
	}
}

/* kzalloc of what was full of other bytes; krealloc and ksize where memory is nobody's yet. */
TEST(kmalloc, zeroed_again)
{
	for (u64 bytes = 1; bytes <= KMALLOC_MAX_CACHE; bytes += 1 + bytes / 8) {
		u8 *p = kmalloc(bytes, GFP_KERNEL);

		EXPECT(p);
		memset(p, 0xff, ksize(p));
		kfree(p);
		p = krealloc(NULL, bytes, __GFP_ZERO);
		EXPECT(p);
		EXPECT(all_bytes(p, bytes, 0));
		kfree(p);
	}
}

static void do_kfree(void *p)
{
	kfree(p);
}

/* The slab is gone, and its frame another's: a second kfree must not take it for an object. */
TEST(kmalloc, double_free_of_what_was_a_slab)
{
	struct page *pages[8];
	char *p;

	kmem_cache_shrink_all();
	p = kmalloc(2048, GFP_KERNEL);
	EXPECT(p);
	kfree(p);
	kmem_cache_shrink_all();
	EXPECT(!virt_to_cache(p));
	for (u64 i = 0; i < ARRAY_SIZE(pages); i++) /* one of them is it, unless we shuffle */
		EXPECT((pages[i] = alloc_pages(__GFP_ZERO, 0)));
	EXPECT_PANIC(do_kfree, p, "did not come from kmalloc");
	for (u64 i = 0; i < ARRAY_SIZE(pages); i++)
		__free_pages(pages[i], 0);
}

TEST(kmalloc, misuse)
{
	char *small = kmalloc(64, GFP_KERNEL), *large = kmalloc(IN_MAIN, GFP_KERNEL);
	char *area = vmalloc(PAGE_SIZE), *frame = __get_free_pages(GFP_KERNEL, 0);
	static char in_image[64];
	u64 before = nr_free_pages();

	EXPECT(small && large && area && frame);
	kfree(NULL);
	EXPECT_PANIC(do_kfree, small + 1, "is not where an object begins");
	EXPECT_PANIC(do_kfree, large + 8, "did not come from kmalloc");
	EXPECT_PANIC(do_kfree, large + PAGE_SIZE, "did not come from kmalloc");
	EXPECT_PANIC(do_kfree, area, "use vfree");
	EXPECT_PANIC(do_kfree, in_image, "did not come from kmalloc");
	EXPECT_PANIC(do_kfree, frame, "did not come from kmalloc");
	EXPECT_PANIC(do_kfree, 8, "did not come from kmalloc");
	EXPECT_PANIC(do_kfree, ~0ul, "did not come from kmalloc");
	EXPECT_EQ(nr_free_pages(), before);
	kfree(small);
	EXPECT_PANIC(do_kfree, small, "free already");
	kfree(large);
	EXPECT_PANIC(do_kfree, large, "free already");
	vfree(area);
	free_pages(frame, 0);
}
