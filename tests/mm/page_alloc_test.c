/*
 * The buddy allocator of the running machine: what it hands out, that it all comes together again,
 * and that misuse is caught before anything has changed.
 */
#include <kernel/smp.h>
#include <kernel/string.h>
#include <kernel/words.h>
#include <mm/memmap.h>
#include <mm/page_alloc.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

#include "../test.h"

#define LIVE 200
#define BULK 2000

static struct page *pages[BULK];

static bool other_free_blocks(int line, const struct page_stats *before,
			      const struct page_stats *now)
{
	for (int order = MAX_ORDER; order >= 0; order--) {
		if (now->free_blocks[order] == before->free_blocks[order])
			continue;
		test_fail(__FILE__, line, "the free blocks are those of before:",
			  "of order %d there were %lu, now there are %lu", order,
			  before->free_blocks[order], now->free_blocks[order]);
		return true;
	}
	return false;
}

/* What was taken and split is back, and whole. */
#define EXPECT_SAME_BLOCKS(before, now)                       \
	do {                                                  \
		if (other_free_blocks(__LINE__, before, now)) \
			return;                               \
		EXPECT_EQ((before)->free, (now)->free);       \
	} while (0)

/* Checking builds fill what is freed, and a simulated machine does that at 200 MB a second. */
static bool too_much(void)
{
	return CHECKING && nr_free_pages() > GiB / PAGE_SIZE;
}

/* Everything that is left, largest blocks first, into a list. Returns the number of frames. */
static u64 take_all(struct page_list *list)
{
	u64 nr = 0;

	for (int order = MAX_ORDER; order >= 0; order--) {
		struct page *page;

		while ((page = alloc_pages(__GFP_NORECLAIM, order))) {
			page_list_add(list, page, true);
			nr += 1ul << order;
		}
	}
	return nr;
}

static void give_all(struct page_list *list)
{
	while (list->first) {
		struct page *page = pfn_to_page(list->first);

		page_list_remove(list, page);
		__free_pages(page, page->order);
	}
}

/* One word in each frame says whose it is. */
static void sign(struct page *page)
{
	for (u64 i = 0; i < 1ul << page->order; i++)
		*(u64 *)page_address(page + i) = (page_to_pfn(page) << 20) + i;
}

static bool is_signed(struct page *page)
{
	for (u64 i = 0; i < 1ul << page->order; i++)
		if (*(u64 *)page_address(page + i) != (page_to_pfn(page) << 20) + i)
			return false;
	return true;
}

static bool overlaps(struct page *const *live, int nr, const struct page *page)
{
	for (int i = 0; i < nr; i++)
		if (live[i] && live[i] != page && live[i] < page + (1ul << page->order) &&
		    page < live[i] + (1ul << live[i]->order))
			return true;
	return false;
}

/* Against a model: the blocks we hold. None may overlap, be misaligned, or lose what we wrote. */
TEST(page_alloc, random_blocks)
{
	struct page *live[LIVE] = { 0 };
	u64 held = 0, before = nr_free_pages();

	for (int n = 0; n < 5000; n++) {
		struct page **slot = &live[test_random() % LIVE];
		unsigned order = test_random() % 5;

		if (*slot) {
			EXPECT(is_signed(*slot));
			held -= 1ul << (*slot)->order;
			__free_pages(*slot, (*slot)->order);
			*slot = NULL;
		} else if ((*slot = alloc_pages(GFP_KERNEL, order))) {
			held += 1ul << order;
			EXPECT_EQ((*slot)->state, PG_ALLOC);
			EXPECT_EQ((*slot)->order, order);
			EXPECT(IS_ALIGNED(page_to_pfn(*slot), 1ul << order));
			EXPECT(!overlaps(live, LIVE, *slot));
			sign(*slot);
		}
		EXPECT_EQ(nr_free_pages() + held, before);
	}
	for (int i = 0; i < LIVE; i++) {
		EXPECT(!live[i] || is_signed(live[i]));
		if (live[i])
			__free_pages(live[i], live[i]->order);
	}
}

/* Is there a block of that order or a larger one? */
static bool has_block(unsigned order)
{
	struct page_stats stats;
	u64 nr = 0;

	page_stats(&stats);
	while (order <= MAX_ORDER)
		nr += stats.free_blocks[order++];
	return nr;
}

/* As if each frame of a block had been asked for by itself. */
static void split(struct page *block, unsigned order, enum page_state state)
{
	for (u64 i = 0; i < 1ul << order; i++)
		block[i].state_and_order = PAGE_IS(state, 0);
}

/* The first of pages[], in whichever order. */
static void free_shuffled(u64 nr)
{
	for (u64 left = nr; left; left--) {
		u64 i = test_random() % left;

		__free_pages(pages[i], 0);
		pages[i] = pages[left - 1];
	}
}

/*
 * What was split comes together again, in whichever order it is freed. Single frames may have lain
 * in the lists, so that nothing was split for them: therefore one block more.
 */
TEST(page_alloc, coalesce)
{
	struct page_stats before, after;
	struct page *block;

	page_stats(&before);
	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, BULK, pages), BULK);
	free_shuffled(BULK);
	page_stats(&after);
	EXPECT_SAME_BLOCKS(&before, &after);
	block = alloc_pages(GFP_KERNEL, 5);
	EXPECT(block || !has_block(5));
	if (!block)
		return;
	split(block, 5, PG_ALLOC);
	for (int i = 0; i < 32; i++)
		pages[i] = block + i;
	free_shuffled(32);
	page_stats(&after);
	EXPECT_SAME_BLOCKS(&before, &after);
}

static void alloc_one(void *page)
{
	*(struct page **)page = alloc_pages(GFP_KERNEL, 0);
}

TEST(page_alloc, exhaust)
{
	struct page *refused[3] = { NULL, NULL, NULL };
	struct page_stats before, empty, after;
	struct page_list list = { 0, 0 };
	u64 taken;

	if (too_much())
		SKIP("filling this much RAM with junk takes long");
	page_stats(&before);
	taken = take_all(&list);
	page_stats(&empty);
	refused[0] = alloc_pages(__GFP_NORECLAIM, 0);
	alloc_one(&refused[1]);
	self_interrupt(alloc_one, &refused[2]); /* it cannot wait for what others keep */
	EXPECT_EQ(alloc_pages_bulk(__GFP_NORECLAIM, 1, pages), 0);
	EXPECT(!__get_free_pages(__GFP_NORECLAIM, 0));
	give_all(&list);
	EXPECT(!refused[0] && !refused[1] && !refused[2]);
	page_stats(&after);
	EXPECT_EQ(taken, before.free);
	EXPECT_EQ(empty.free, 0);
	EXPECT_EQ(empty.state[PG_ALLOC], before.state[PG_ALLOC] + taken);
	EXPECT_SAME_BLOCKS(&before, &after);
}

/* What nobody may be asked for is here already, in pieces. */
TEST(page_alloc, blocks_merge_out_of_this_cpus_magazine)
{
	struct page *two = alloc_pages(GFP_KERNEL, 1), *granted;
	struct page_list list = { 0, 0 };

	EXPECT(two);
	if (too_much()) {
		__free_pages(two, 1);
		SKIP("filling this much RAM with junk takes long");
	}
	take_all(&list);
	split(two, 1, PG_ALLOC);
	__free_pages(two, 0);
	__free_pages(two + 1, 0);
	granted = alloc_pages(__GFP_NORECLAIM, 1);
	give_all(&list);
	EXPECT_EQ(granted, two);
	__free_pages(granted, 1);
}

/* With no frame left, the slab whose last object is in a magazine is called in, but only if we may. */
TEST(page_alloc, shrinkers)
{
	struct kmem_cache *cache = kmem_cache_create("test-shrink", 512, 0);
	struct page_list list = { 0, 0 };
	struct page *refused, *granted;
	void *object;
	u64 nr;

	EXPECT(cache);
	if (too_much()) {
		kmem_cache_destroy(cache);
		SKIP("filling this much RAM with junk takes long");
	}
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	EXPECT(object);
	take_all(&list);
	kmem_cache_free(cache, object);
	refused = alloc_pages(__GFP_NORECLAIM, 0);
	nr = alloc_pages_bulk(GFP_KERNEL, 1, &granted); /* no frame is free, but one can be had */
	give_all(&list);
	kmem_cache_destroy(cache);
	EXPECT(!refused);
	EXPECT_EQ(nr, 1);
	__free_pages(granted, 0);
}

/* kvmalloc does not wait for a block that vmalloc can do without; for one page there is only kmalloc. */
TEST(page_alloc, shrinkers_for_kvmalloc)
{
	struct kmem_cache *cache = kmem_cache_create("test-shrink", 512, 0);
	struct page_list list = { 0, 0 };
	void *object, *page;

	EXPECT(cache);
	if (too_much()) {
		kmem_cache_destroy(cache);
		SKIP("filling this much RAM with junk takes long");
	}
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	EXPECT(object);
	take_all(&list);
	kmem_cache_free(cache, object);
	page = kvmalloc(PAGE_SIZE, GFP_KERNEL);
	give_all(&list);
	kmem_cache_destroy(cache);
	EXPECT(page);
	kvfree(page);
}

static struct kmem_cache *late;
static void *late_objects[80];
static struct page *last_frame;

/* In the midst of an allocation: the frame that it needs, and objects that it has not seen. */
static u64 free_meanwhile(void)
{
	u64 freed = last_frame != NULL;

	if (!freed)
		return 0;
	__free_pages(last_frame, 0);
	last_frame = NULL;
	for (u64 i = 0; i < ARRAY_SIZE(late_objects); i += 2)
		kmem_cache_free(late, late_objects[i]);
	return freed;
}

/* A slab that nobody needs any more when it comes is freed again. */
TEST(page_alloc, slab_that_comes_too_late)
{
	static bool registered;
	struct page_list list = { 0, 0 };
	void *object;
	u64 before;

	if (too_much())
		SKIP("filling this much RAM with junk takes long");
	if (!registered)
		register_shrinker(free_meanwhile);
	registered = true;
	vm_unmap_aliases();
	kmem_cache_shrink_all();
	before = nr_free_pages();
	late = kmem_cache_create("test-late", 512, 0);
	EXPECT(late);
	for (u64 i = 0; i < ARRAY_SIZE(late_objects); i++)
		EXPECT((late_objects[i] = kmem_cache_alloc(late, GFP_KERNEL)));
	EXPECT((last_frame = alloc_pages(GFP_KERNEL, 0)));
	take_all(&list);
	object = kmem_cache_alloc(late, GFP_KERNEL);
	give_all(&list);
	EXPECT(object && !last_frame);
	kmem_cache_free(late, object);
	for (u64 i = 1; i < ARRAY_SIZE(late_objects); i += 2)
		kmem_cache_free(late, late_objects[i]);
	kmem_cache_destroy(late);
	EXPECT_EQ(nr_free_pages(), before);
}

/*
 * A block that was put together of single frames, which all but its first must have forgotten. Not by
 * chance: it is given to the lists as their first, and taken from there. NULL: there is none.
 */
static struct page *merged_block(unsigned order)
{
	struct page *both = alloc_pages(GFP_KERNEL, order + 1), *block;
	struct magazine *m = block_magazine(order);
	u64 half = 1ul << order;
	u32 most = m->most;

	if (!both)
		return NULL;
	drain_all_pages();
	split(both, order + 1, PG_STOCK);
	for (u64 i = half; i < 2 * half; i++)
		give_blocks(both + i, 0, ~0u);
	m->most = 0; /* or others would be taken, too, and handed out before it */
	block = alloc_pages(GFP_KERNEL, order);
	m->most = most;
	for (u64 i = 0; i < half; i++)
		give_blocks(both + i, 0, ~0u);
	return block;
}

/* Of each frame in it, this block is found. */
static void expect_whole(struct page *page)
{
	for (u64 i = 0; i < 1ul << page->order; i++) {
		EXPECT(page_head(page_to_pfn(page) + i) == page);
		EXPECT(i == 0 || page[i].state == PG_TAIL);
	}
}

TEST(page_alloc, orders)
{
	for (unsigned order = 0; order <= MAX_ORDER; order++) {
		u8 *p = __get_free_pages(__GFP_ZERO, order);
		struct page *page = p ? virt_to_page(p) : NULL;

		if (!p && !has_block(order))
			SKIP("memory is shuffled, and no block of 4 MiB is left whole");
		EXPECT(p);
		EXPECT(IS_ALIGNED(virt_to_phys(p).v, PAGE_SIZE << order));
		EXPECT(page->owner);
		expect_whole(page);
		if (test_failed())
			return;
		for (u64 i = 0; i < PAGE_SIZE << order; i++)
			EXPECT(p[i] == 0);
		memset(p, 0xff, PAGE_SIZE << order); /* for the next round to clear */
		free_pages(p, order);
	}
	for (unsigned order = 1; order < MAX_ORDER; order++) {
		struct page *page = merged_block(order);

		EXPECT(page || !has_block(order + 1));
		if (!page)
			break;
		expect_whole(page);
		if (test_failed())
			return;
		__free_pages(page, order);
	}
	EXPECT(!alloc_pages(GFP_KERNEL, MAX_ORDER + 1));
	EXPECT(!alloc_pages(GFP_KERNEL, 64));
	EXPECT(!alloc_pages(GFP_KERNEL, ~0u));
}

/* More than there is: that can be known before the first frame is taken. */
static void bulk_of_too_many(u64 total)
{
	struct page **room = vzalloc(total * sizeof(*room));
	u64 before = nr_free_pages();

	EXPECT(room);
	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, total + 1, room), 0);
	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, ~0ul, room), 0);
	EXPECT_EQ(nr_free_pages(), before);
	for (u64 i = 0; i < total; i++)
		EXPECT(!room[i]);
	vfree(room);
}

static noinline bool take_bulk(void)
{
	return alloc_pages_bulk(GFP_KERNEL, BULK, pages) == BULK;
}

/* Does a message name who asked for the frames: a place near the beginning of take_bulk()? */
static bool are_ours(void)
{
	u64 begin = code_offset((vaddr_t)take_bulk);

	for (int i = 0; i < BULK; i++)
		if (pages[i]->owner - begin - 1 >= 1024)
			return false;
	return true;
}

TEST(page_alloc, bulk)
{
	struct page_stats stats;
	u64 before;

	page_stats(&stats);
	bulk_of_too_many(stats.total);
	if (test_failed())
		return;
	vm_unmap_aliases();
	before = nr_free_pages();
	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, 0, pages), 0);
	EXPECT_EQ(nr_free_pages(), before);
	EXPECT(take_bulk());
	EXPECT(are_ours());
	EXPECT_EQ(nr_free_pages(), before - BULK);
	for (int i = 0; i < BULK; i++)
		sign(pages[i]);
	for (int i = 0; i < BULK; i++) /* two that are the same would bear one signature */
		EXPECT(pages[i]->state == PG_ALLOC && pages[i]->order == 0 && is_signed(pages[i]));
	free_pages_bulk(BULK, pages);
	EXPECT_EQ(nr_free_pages(), before);
	drain_all_pages();
	for (int i = 0; i < BULK; i++) {
		EXPECT(page_head(page_to_pfn(pages[i])));
		EXPECT_EQ(page_head(page_to_pfn(pages[i]))->state, PG_FREE);
	}
}

/* Fail the n-th frame request, for every n: what was taken before it comes back. */
TEST(page_alloc, fail_nth)
{
	struct page_stats before, after;
	struct page *page;

	if (!CHECKING)
		SKIP("fault injection needs a checking build");
	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, 200, pages), 200);
	free_pages_bulk(200, pages); /* from now on nothing has to be split, and merged again */
	page_stats(&before);
	for (u64 n = 1; n <= 40; n++) {
		EXPECT(!page_alloc_fail_nth(n));
		EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, 40, pages), 0);
		EXPECT(!page_alloc_fail_nth(0)); /* it has struck */
		page_stats(&after);
		EXPECT_SAME_BLOCKS(&before, &after);
	}
	page_alloc_fail_nth(41);
	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, 40, pages), 40);
	EXPECT(!alloc_pages(GFP_KERNEL, 3)); /* the 41st */
	page = alloc_pages(GFP_KERNEL, 3);   /* and only that */
	EXPECT(page);
	EXPECT(!page_alloc_fail_nth(0));
	free_pages_bulk(40, pages);
	__free_pages(page, 3);
	page_alloc_fail_nth(2);
	EXPECT(page_alloc_fail_nth(0)); /* was still waiting */
}

/* What a message says of a frame: its block, and who asked for it, if that is known. */
TEST(page_alloc, text)
{
	struct page *page = alloc_pages(GFP_KERNEL, 1),
		    *none = pfn_to_page(MEMMAP_LIMIT >> PAGE_SHIFT);
	char text[PAGE_TEXT], free[PAGE_TEXT];
	void *object;
	u32 owner;

	EXPECT(page);
	page_text(text, page + 1);
	EXPECT(contains(text, "in alloc block 0x") && contains(text, "of 2^1 frames"));
	EXPECT(contains(text, ", last asked for by "));
	owner = page->owner;
	page->owner = 0;
	page_text(free, page);
	page->owner = owner;
	EXPECT(!contains(free, "last asked"));
	page_text(text, none);
	EXPECT(contains(text, "in no block 0x0 of 2^0 frames") && !contains(text, "last asked"));
	page->state = PG_NR_STATES;
	page_text(text, page);
	page->state = PG_ALLOC;
	EXPECT(contains(text, "in ? block"));
	page->state = PG_TAIL; /* of no block, then */
	page_text(text, page + 1);
	page->state = PG_ALLOC;
	EXPECT(contains(text, "in no block 0x0 of 2^0 frames"));
	__free_pages(page, 1);
	object = kmalloc(64, GFP_KERNEL);
	EXPECT(object);
	page_text(text, virt_to_page(object)); /* where others have the owner, it keeps bits */
	kfree(object);
	EXPECT(contains(text, "in slab block 0x") && !contains(text, "last asked"));
}

static void free_order_0(void *page)
{
	__free_pages(page, 0);
}

static void free_order_2(void *page)
{
	__free_pages(page, 2);
}

/* There is no such order, though the byte that a struct page has for it would be that of order 2. */
static void free_order_258(void *page)
{
	__free_pages(page, 256 + 2);
}

/* As if it had been claimed. */
static void give_unclaimed(void *page)
{
	give_blocks(page, 0, 0);
}

static void free_by_address(void *p)
{
	free_pages(p, 0);
}

static void free_two_in_bulk(void *two)
{
	free_pages_bulk(2, two);
}

TEST(page_alloc, misuse)
{
	struct page *block = merged_block(2), *single = alloc_pages(GFP_KERNEL, 0);
	struct page *twice[2] = { single, single };
	struct page_stats before, after;

	EXPECT(block && single);
	page_stats(&before);
	EXPECT_PANIC(free_order_0, block, "not a block as it was allocated");
	EXPECT_PANIC(free_order_2, block + 1, "not a block as it was allocated");
	EXPECT_PANIC(free_order_0, block + 3, "not a block as it was allocated");
	EXPECT_PANIC(free_order_258, block, "not a block as it was allocated");
	EXPECT_PANIC(give_unclaimed, single, "not a block as it was allocated");
	EXPECT_PANIC(free_order_0, NULL, "not the struct page of a frame");
	EXPECT_PANIC(free_order_0, (char *)single + 8, "not the struct page of a frame");
	EXPECT_PANIC(free_order_0, pfn_to_page(MEMMAP_LIMIT >> PAGE_SHIFT), "not the struct page");
	EXPECT_PANIC(free_by_address, (char *)page_address(single) + 64, "not the struct page");
	EXPECT_PANIC(free_by_address, pages, "not the struct page"); /* in the image */
	page_stats(&after);
	EXPECT_SAME_BLOCKS(&before, &after);
	EXPECT_EQ(after.state[PG_ALLOC], before.state[PG_ALLOC]);
	__free_pages(block, 2);
	EXPECT_PANIC(free_order_2, block, "is free already");
	EXPECT_PANIC(free_order_0, block + 1, "is free already");
	EXPECT_PANIC(free_two_in_bulk, twice, "is free already"); /* the first is freed */
	EXPECT_PANIC(free_order_0, single, "is free already");
}

/* Two CPUs free one frame at once, one past its stock: one of them is told so. */
static struct {
	struct page *page;
	bool over;
	u32 arrived, told; /* atomic */
	u32 wrong;	   /* rounds in which not exactly one was told */
} race;

#define RACE_BUDGET (1ul << 31) /* cycles: on a host that is busy, fewer rounds, but some */

static void meet(u32 *met)
{
	__atomic_add_fetch(&race.arrived, 1, __ATOMIC_ACQ_REL);
	for (*met += 2; __atomic_load_n(&race.arrived, __ATOMIC_ACQUIRE) < *met;)
		cpu_relax();
}

static void free_in_bulk(void *page)
{
	struct page *one = page;

	free_pages_bulk(1, &one);
}

static void race_to_free(void *unused)
{
	u32 met = 0, first = cpu_id() == 0;
	u64 began = cycles();
	char msg[64];

	(void)unused;
	for (int round = 0;; round++) {
		if (first) {
			race.over = round >= 2000 ||
				    (round >= 50 && cycles() - began > RACE_BUDGET);
			race.page = race.over ? NULL : alloc_pages(GFP_KERNEL, 0);
		}
		meet(&met);
		if (race.over)
			return;
		for (int wait = first ? 0 : round % 500; wait; wait--)
			cpu_relax();
		if (panic_caught(first ? free_in_bulk : free_order_0, race.page, msg, sizeof(msg)))
			__atomic_add_fetch(&race.told, 1, __ATOMIC_RELAXED);
		meet(&met);
		if (first) {
			race.wrong += race.told != 1;
			race.told = 0;
		}
	}
}

TEST(page_alloc, freed_by_two_at_once)
{
	if (nr_cpus() == 1)
		SKIP("needs a second CPU");
	race.arrived = race.told = race.wrong = 0;
	run_on_cpus(2, race_to_free, NULL);
	EXPECT_EQ(race.wrong, 0);
}

/* CPU 1 interrupts CPU 0 again and again, which frees a frame there; CPU 0 frees, too. */
static u64 next_page; /* atomic: the first of pages[] that nobody has freed */

static void free_next(void *unused)
{
	u64 i = __atomic_fetch_add(&next_page, 1, __ATOMIC_RELAXED);

	(void)unused;
	if (i < BULK)
		__free_pages(pages[i], 0);
}

static void interrupt_others(void *unused)
{
	(void)unused;
	while (__atomic_load_n(&next_page, __ATOMIC_RELAXED) < BULK)
		on_other_cpus(free_next, NULL);
}

TEST(page_alloc, freed_in_interrupts)
{
	u64 before = nr_free_pages();

	if (nr_cpus() == 1)
		SKIP("needs a second CPU");
	for (int round = 0; round < 20; round++) {
		EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, BULK, pages), BULK);
		next_page = 0;
		cpu_start(1, interrupt_others, NULL);
		while (__atomic_load_n(&next_page, __ATOMIC_RELAXED) < BULK)
			free_next(NULL);
		cpu_join(1);
		EXPECT_EQ(nr_free_pages(), before);
	}
}

/* A list is counted only if each of its links and blocks is as it should be. */
TEST(page_alloc, broken_lists)
{
	struct page *a = alloc_pages(GFP_KERNEL, 0), *b = alloc_pages(GFP_KERNEL, 0);
	struct page_list list = { 0, 0 };

	EXPECT(a && b);
	page_list_add(&list, a, true);
	page_list_add(&list, b, true);
	EXPECT_EQ(page_list_count(&list, PAGE_IS(PG_ALLOC, 0)), 2);
	EXPECT_EQ(page_list_count(&list, PAGE_IS(PG_ALLOC, 1)), ~0ul);
	list.last = page_to_pfn(a);
	EXPECT_EQ(page_list_count(&list, PAGE_IS(PG_ALLOC, 0)), ~0ul);
	list.last = page_to_pfn(b);
	b->prev = 0;
	EXPECT_EQ(page_list_count(&list, PAGE_IS(PG_ALLOC, 0)), ~0ul);
	b->prev = page_to_pfn(a);
	a->next = (u32)((MEMMAP_LIMIT >> PAGE_SHIFT) - 1); /* no RAM */
	EXPECT_EQ(page_list_count(&list, PAGE_IS(PG_ALLOC, 0)), ~0ul);
	__free_pages(a, 0);
	__free_pages(b, 0);
}

/* RAM that was never ours to give, and holes. */
TEST(page_alloc, foreign)
{
	u64 last = 0;

	for (unsigned i = 0; i < memmap.nr; i++) {
		const struct memrange *r = &memmap.range[i];
		u64 pfn = r->start >> PAGE_SHIFT;

		if (r->start != last && last)
			EXPECT_PANIC(free_order_0, pfn_to_page(last >> PAGE_SHIFT),
				     "not the struct page");
		EXPECT_EQ(pfn_valid(pfn), memmap_is_ram(r->type));
		if (!memmap_is_ram(r->type))
			EXPECT_PANIC(free_order_0, pfn_to_page(pfn), "not the struct page");
		else if (r->type != MEM_USABLE)
			EXPECT_PANIC(free_order_0, pfn_to_page(pfn), "was never handed out");
		last = r->end;
	}
	EXPECT(!pfn_valid(0) || memmap.range[0].type != MEM_USABLE);
	EXPECT(!pfn_valid(~0ul));
	EXPECT(!page_head(~0ul));
	EXPECT(!direct_to_page(NULL));
	EXPECT(!direct_to_page((void *)~0ul));
}

/* Two single frames that are each other's buddies, out of many; the others go back. */
static bool two_buddies(struct page *two[2])
{
	two[0] = two[1] = NULL;
	if (alloc_pages_bulk(GFP_KERNEL, BULK, pages) != BULK)
		return false;
	for (int i = 0; i < BULK && !two[1]; i++)
		for (int j = 0; j < BULK && !two[1]; j++)
			if (page_to_pfn(pages[j]) == (page_to_pfn(pages[i]) ^ 1)) {
				two[0] = pages[i];
				two[1] = pages[j];
			}
	for (int i = 0; i < BULK; i++)
		if (pages[i] != two[0] && pages[i] != two[1])
			__free_pages(pages[i], 0);
	return two[1];
}

/* What is no RAM is nobody's buddy, whatever its struct page holds: we make a hole of one frame. */
TEST(page_alloc, no_buddy_in_a_hole)
{
	static struct memmap saved;
	u64 main_saved = main_pages;
	struct page *two[2], *other;
	bool stayed_alone;

	EXPECT(two_buddies(two));
	other = two[1];
	drain_all_pages();
	saved = memmap;
	if (page_is_main(other))
		main_pages = other - main_first;
	memmap_insert(&memmap, page_to_phys(other).v, PAGE_SIZE, MEM_RESERVED);
	other->state = PG_FREE;
	other->next = other->prev = 0;
	__free_pages(two[0], 0);
	drain_all_pages();
	stayed_alone = two[0]->state == PG_FREE && two[0]->order == 0 && other->state == PG_FREE;
	other->state = PG_ALLOC;
	memmap = saved;
	main_pages = main_saved;
	EXPECT(stayed_alone);
	__free_pages(other, 0);
}

/* The first and the last frame of each range of RAM is in a block, too. */
TEST(page_alloc, ends_of_ram)
{
	for (unsigned i = 0; i < memmap.nr; i++) {
		const struct memrange *r = &memmap.range[i];
		u64 first = r->start >> PAGE_SHIFT, last = (r->end >> PAGE_SHIFT) - 1;

		if (!memmap_is_ram(r->type))
			continue;
		EXPECT(page_head(first) && page_head(last));
		EXPECT_EQ(page_head(first)->state == PG_RESERVED, r->type != MEM_USABLE);
		EXPECT_EQ(page_head(last)->state == PG_RESERVED, r->type != MEM_USABLE);
	}
}

static unchecked u64 junk_bytes(const u8 *p, u64 bytes)
{
	u64 nr = 0;

	while (nr < bytes && p[nr] == JUNK)
		nr++;
	return nr;
}

TEST(page_alloc, junk)
{
	u8 *p;

	if (!CHECKING)
		SKIP("junk is left only in checking builds");
	p = __get_free_pages(__GFP_ZERO, 1);
	EXPECT(p);
	free_pages(p, 1);
	EXPECT_EQ(junk_bytes(p, 2 * PAGE_SIZE), 2 * PAGE_SIZE);
}

/* With shuffle=, frames come from all over; without, mostly each right behind the one before. */
TEST(page_alloc, scatter)
{
	u64 up = 0, down = 0;

	drain_all_pages();
	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, BULK, pages), BULK);
	for (int i = 1; i < BULK; i++) {
		up += pages[i] == pages[i - 1] + 1;
		down += pages[i] == pages[i - 1] - 1;
	}
	free_pages_bulk(BULK, pages);
	if (words.mm.shuffle_seed ? up + down >= BULK / 5 : up <= BULK / 2)
		test_fail(__FILE__, __LINE__, "next to the one before",
			  "are %lu frames upwards and %lu downwards, of %d", up, down, BULK);
}

/* Every frame of RAM is in exactly one block. */
TEST(page_alloc, blocks)
{
	u64 ram = 0, blocks = 0, sum = 0, in_blocks = 0, end = 0;
	struct page_stats stats;
	struct page *page;

	for (u64 pfn = 0, nr; (page = next_block(&pfn, &nr)); pfn += nr) {
		EXPECT(page == pfn_to_page(pfn));
		EXPECT(pfn >= end);
		end = pfn + nr;
		in_blocks += nr;
		blocks++;
	}
	for (unsigned type = 0; type < MEM_NR_TYPES; type++)
		ram += memmap_is_ram(type) ? memmap_bytes(&memmap, type) / PAGE_SIZE : 0;
	EXPECT(blocks);
	EXPECT_EQ(in_blocks, ram);
	page_stats(&stats);
	for (int state = 0; state < PG_NR_STATES; state++)
		sum += stats.state[state];
	EXPECT_EQ(sum, ram);
	EXPECT_EQ(stats.total, ram - stats.state[PG_RESERVED]);
	EXPECT_EQ(stats.total, memmap_bytes(&memmap, MEM_USABLE) / PAGE_SIZE);
	EXPECT_EQ(stats.free, nr_free_pages());
}

/* Of the largest blocks, too, none stays in a magazine. Machines of less than 256 MiB keep none of them. */
TEST(page_alloc, largest_blocks_are_drained)
{
	struct magazine *m = block_magazine(MAX_ORDER);
	u32 most = m->most, kept, left;
	struct page *page = alloc_pages(GFP_KERNEL, MAX_ORDER);

	if (!page)
		SKIP("no block of the largest order is free");
	m->most = 1;
	__free_pages(page, MAX_ORDER);
	kept = m->nr;
	drain_all_pages();
	left = m->nr;
	m->most = most;
	EXPECT_EQ(kept, 1);
	EXPECT_EQ(left, 0);
}

/* The quick way to a struct page serves the largest range of RAM, whole. */
TEST(page_alloc, main_range)
{
	const struct memrange *main = memmap_find(&memmap, page_to_phys(main_first));
	u64 most = 0;

	for (const struct memrange *r = memmap.range; r < memmap.range + memmap.nr; r++)
		if (r->type == MEM_USABLE)
			most = MAX(most, (r->end - r->start) >> PAGE_SHIFT);
	EXPECT_EQ(main_pages, most);
	EXPECT(main && main->type == MEM_USABLE);
	EXPECT_EQ(page_to_phys(main_first).v, main->start);
	EXPECT_EQ((main->end - main->start) >> PAGE_SHIFT, most);
}

static bool is_ram(u64 pfn)
{
	const struct memrange *r = memmap_find(&memmap, paddr(pfn << PAGE_SHIFT));

	return r && memmap_is_ram(r->type);
}

/* As if this were the largest range: its first and last frame are in, those beside it as the map says. */
static bool edges_are_sharp(const struct memrange *r)
{
	u64 pfn = r->start >> PAGE_SHIFT, end = r->end >> PAGE_SHIFT;
	struct page *first = main_first;
	u64 nr = main_pages;
	bool sharp;

	main_first = pfn_to_page(pfn);
	main_pages = end - pfn;
	sharp = page_is_main(pfn_to_page(pfn)) && page_is_main(pfn_to_page(end - 1)) &&
		!page_is_main(pfn_to_page(pfn - 1)) && !page_is_main(pfn_to_page(end)) &&
		!page_is_main((struct page *)((vaddr_t)pfn_to_page(pfn) + 8)) && pfn_valid(pfn) &&
		pfn_valid(end - 1) && pfn_valid(pfn - 1) == is_ram(pfn - 1) &&
		pfn_valid(end) == is_ram(end);
	main_first = first;
	main_pages = nr;
	return sharp;
}

TEST(page_alloc, edges_of_ranges)
{
	for (const struct memrange *r = memmap.range; r < memmap.range + memmap.nr; r++)
		EXPECT(r->type != MEM_USABLE || edges_are_sharp(r));
}
