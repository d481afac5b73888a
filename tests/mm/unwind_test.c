/*
 * What goes back when a call ends half-way, and whose page an address is.
 */
#include <mm/pagetable.h>
#include <mm/vmstock.h>

#include "../test.h"

/*
 * vmap of many frames, of which one may not be shown: the first, the first of a table, the last, one
 * in the midst. Nothing of it stays, and the frames are their owner's.
 */
TEST(vmalloc, map_unwinds_from_anywhere)
{
	enum { N = 2 * PT_ENTRIES + 100 };
	static const u64 places[] = { 0, 1, PT_ENTRIES, N / 2, N - 1, 300 };
	static struct page *list[N];
	struct page *page = alloc_pages(GFP_KERNEL, 0), *hidden = alloc_pages(GFP_KERNEL, 0);
	struct vmalloc_stats before, after;

	EXPECT(page && hidden);
	for (u64 i = 0; i < N; i++)
		list[i] = page;
	for (u64 i = 0; i < ARRAY_SIZE(places); i++) {
		u64 queued;
		void *p;

		vm_unmap_aliases();
		vmalloc_stats(&before);
		queued = this_stock()->frames.tail;
		hidden->state = PG_TABLE;
		list[places[i]] = hidden;
		p = vmap(list, N, PAGE_KERNEL);
		list[places[i]] = page;
		hidden->state = PG_ALLOC;
		EXPECT(!p);
		EXPECT_EQ(this_stock()->frames.tail, queued);
		vm_unmap_aliases();
		vmalloc_stats(&after);
		EXPECT_EQ(after.areas, before.areas);
		EXPECT_EQ(after.free, before.free);
		EXPECT_EQ(page->state, PG_ALLOC);
	}
	__free_pages(page, 0);
	__free_pages(hidden, 0);
}

/* Frames that cannot be claimed stay whose they are, and so do those behind them in the list. */
TEST(vmalloc, put_pages_touches_only_its_own)
{
	void *theirs = vmalloc(2 * PAGE_SIZE), *object = kmalloc(64, GFP_KERNEL);
	struct page *list[6];
	u8 state[ARRAY_SIZE(list)];

	EXPECT(theirs && object);
	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, 3, list), 3);
	list[3] = vmalloc_to_page(theirs);
	list[4] = virt_to_page(object);
	list[5] = vmalloc_to_page(theirs + PAGE_SIZE);
	for (u64 i = 0; i < ARRAY_SIZE(list); i++)
		state[i] = list[i]->state;
	EXPECT(!vmap_put_pages(list, ARRAY_SIZE(list)));
	for (u64 i = 0; i < ARRAY_SIZE(list); i++)
		EXPECT_EQ(list[i]->state, state[i]);
	EXPECT(!vmap_put_pages(list + 3, 3));
	for (u64 i = 0; i < ARRAY_SIZE(list); i++)
		EXPECT_EQ(list[i]->state, state[i]);
	free_pages_bulk(3, list);
	vfree(theirs);
	kfree(object);
}

/* Every byte of the window has the frame that the page tables give it, or none; others have none. */
TEST(vmalloc, page_of_any_address)
{
	char *huge = vmalloc_huge(2 * MiB, GFP_KERNEL), *p = vmalloc(2 * PAGE_SIZE);
	char *object = kmalloc(64, GFP_KERNEL);
	struct page *first;

	EXPECT(p && huge && object);
	EXPECT(vmalloc_to_page(p) && vmalloc_to_page(p) != vmalloc_to_page(p + PAGE_SIZE));
	EXPECT_EQ(vmalloc_to_page(p + 5), vmalloc_to_page(p));
	EXPECT_EQ(vmalloc_to_page(p + 2 * PAGE_SIZE - 1), vmalloc_to_page(p + PAGE_SIZE));
	EXPECT(!vmalloc_to_page(p - 1) && !vmalloc_to_page(p + 2 * PAGE_SIZE));
	first = vmalloc_to_page(huge);
	EXPECT(first);
	p[0] = huge[7 * PAGE_SIZE] = 42;
	EXPECT_EQ(*(char *)page_address(vmalloc_to_page(huge + 7 * PAGE_SIZE)), 42);
	EXPECT_EQ(vmalloc_to_pfn(huge + 2 * MiB - 1), page_to_pfn(first) + PT_ENTRIES - 1);
	EXPECT(!vmalloc_to_page(NULL) && !vmalloc_to_page((void *)~0ul));
	EXPECT(!vmalloc_to_page(object) && !vmalloc_to_page(page_address(first)));
	vfree(p);
	EXPECT(!vmalloc_to_page(p) && !vmalloc_to_page(p + PAGE_SIZE));
	vfree(huge);
	EXPECT(!vmalloc_to_page(huge + 7 * PAGE_SIZE));
	kfree(object);
}

/* What vfree takes away is free memory only after the flush, whoever else would like to have it by then. */
TEST(vmalloc, frames_wait_for_the_flush)
{
	enum { N = 8 };
	char *p = vmalloc(N * PAGE_SIZE);
	enum tlb_mode mode = tlb_mode;
	struct page *pages[N];
	u64 free, freed, waiting = 0;

	EXPECT(p);
	for (u64 i = 0; i < N; i++)
		pages[i] = vmalloc_to_page(p + i * PAGE_SIZE);
	tlb_mode = TLB_LAZY;
	free = nr_free_pages();
	vfree(p);
	freed = nr_free_pages();
	for (u64 i = 0; i < N; i++)
		waiting += pages[i]->state == PG_VMALLOC;
	tlb_mode = mode;
	EXPECT_EQ(freed, free);
	EXPECT_EQ(waiting, N);
}

/*
 * What waits for its flush is enough, but only for who fetches it: the first try takes all there is
 * and ends half-way, the second begins anew.
 */
TEST(vmalloc, second_try_begins_anew)
{
	struct vm_stock *stock = this_stock();
	u64 waits = stock->batch / 2, nr_pages;
	void *waiting = vmalloc(waits * PAGE_SIZE), *p = NULL;
	enum tlb_mode mode = tlb_mode;
	struct vmalloc_stats stats;
	struct vm_area area;
	bool enough;

	EXPECT(waiting);
	vmalloc_stats(&stats);
	tlb_mode = TLB_LAZY;
	vfree(waiting);
	nr_pages = nr_free_pages() + stock->frames.ready - stock->frames.head + waits / 2;
	enough = nr_pages / PT_ENTRIES + 8 < waits / 4; /* with the tables */
	if (enough && stats.largest >= nr_pages)
		p = vmalloc(nr_pages * PAGE_SIZE);
	tlb_mode = mode;
	if (!enough || stats.largest < nr_pages)
		SKIP("too little can wait for a flush, or the window is small");
	EXPECT(p);
	EXPECT(find_vm_area((vaddr_t)p, &area) && area.nr_pages == nr_pages);
	for (u64 i = 0; i < nr_pages; i += nr_pages / 16)
		EXPECT(vmalloc_to_page(p + i * PAGE_SIZE));
	vfree(p);
}
