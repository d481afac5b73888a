/*
 * Flushes: a stale translation is really stale, a flush really ends it, and deferred work waits.
 */
#include <mm/pagetable.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>

#include "../test.h"

/* Change an entry under the TLB's feet: old data until the flush, new data after. */
TEST(tlb, stale_until_flushed)
{
	volatile u8 *p = vmalloc(PAGE_SIZE);
	struct page *other = alloc_pages(GFP_KERNEL, 0);
	pte_t *entry, was;
	u8 before, after;

	EXPECT(p && other);
	p[7] = 1;
	((u8 *)page_address(other))[7] = 2;
	entry = pt_entry(&kernel_pt, (vaddr_t)p);
	was = pte_exchange(entry, pte_make_leaf(page_to_phys(other), 1, PAGE_KERNEL));
	before = p[7];
	tlb_flush_all();
	after = p[7];
	pte_set(entry, was);
	tlb_flush_all();
	vfree((void *)p);
	__free_pages(other, 0);
	EXPECT_EQ(before, 1);
	EXPECT_EQ(after, 2);
}

static u64 released;

static void release(struct tlb_deferred *self)
{
	(void)self;
	released++;
}

TEST(tlb, deferred_until_purged)
{
	static struct tlb_deferred items[3] = { [0 ... 2] = { .release = release } };
	struct tlb_stats before, after;
	enum tlb_mode mode = tlb_mode;

	released = 0;
	tlb_mode = TLB_LAZY;
	tlb_stats(&before);
	for (int i = 0; i < 3; i++)
		tlb_defer(&items[i], 10);
	EXPECT_EQ(released, 0);
	tlb_mode = mode;
	EXPECT_EQ(tlb_purge(), 30);
	tlb_stats(&after);
	EXPECT_EQ(released, 3);
	EXPECT_EQ(after.flushes, before.flushes + 1);
	EXPECT_EQ(after.released, before.released + 30);
	EXPECT_EQ(tlb_purge(), 0);
}

TEST(tlb, full_batch_flushes_itself)
{
	static struct tlb_deferred items[2] = { [0 ... 1] = { .release = release } };

	enum tlb_mode mode = tlb_mode;
	u64 first;

	released = 0;
	tlb_mode = TLB_LAZY;
	tlb_defer(&items[0], 1);
	first = released;
	tlb_defer(&items[1], 1ul << 30);
	tlb_mode = mode;
	EXPECT_EQ(first, 0);
	EXPECT_EQ(released, 2);
}

static struct tlb_deferred second = { .release = release };

static void release_and_defer(struct tlb_deferred *self)
{
	release(self);
	tlb_defer(&second, 1);
}

TEST(tlb, release_may_defer)
{
	static struct tlb_deferred first = { .release = release_and_defer };

	enum tlb_mode mode = tlb_mode;
	u64 purged;

	released = 0;
	tlb_mode = TLB_LAZY;
	tlb_defer(&first, 1);
	purged = tlb_purge();
	tlb_mode = mode;
	EXPECT_EQ(purged, 2);
	EXPECT_EQ(released, 2);
}
