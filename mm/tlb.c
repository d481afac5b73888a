/*
 * tlb.c - nothing is reused before it is flushed everywhere.
 *
 * A CPU keeps translations it has read in its TLB, and tables it has passed in its
 * paging-structure caches, and it is not told when memory changes under them. After vfree a stale
 * pointer can therefore still reach the old frame, for as long as this CPU pleases. If that frame,
 * or the address, or the page table between them, had a new owner by then, one bug would become
 * two. Flushing at every free is the cure that costs most: INVLPG for every page, an interrupt to
 * every other CPU.
 *
 * So what was unmapped waits here, and a flush is due only when enough has gathered:
 *
 *	vfree: clear entries ──► tlb_defer ──► … ──► flush every CPU ──► release: reuse
 *	                         (waiting)           (once a batch)
 *
 * Linux defers the addresses in this way and hands the frames back at once; here the frames wait too,
 * so that a stale pointer reads old data but never another owner's. The price is memory that is free
 * and cannot be used yet: the batch is therefore bounded, and smaller when free memory is short. A
 * release may defer something in turn (a page table that became empty); the next batch takes it.
 *
 * The list is taken off before the flush: what is deferred while the flush runs may have been
 * unmapped too late for it.
 */
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <kernel/panic.h>
#include <kernel/spinlock.h>
#include <mm/page_alloc.h>
#include <mm/pagetable.h>
#include <mm/tlb.h>

#define BATCH_MAX_PAGES 8192 /* 32 MiB, as Linux's lazy_max_pages() on one CPU */

struct batch {
	struct tlb_deferred *first;
	u32 tables; /* pfn of the first page table, linked by page->next; 0: none */
	u64 nr_pages, nr_tables;
};

bool tlb_skip_flush;
enum tlb_mode tlb_mode;

static struct spinlock tlb_lock = SPINLOCK("tlb", LOCK_TLB);
static struct batch waiting;	/* tlb_lock */
static struct tlb_stats counts; /* tlb_lock; flushes: atomic */

static void flush_this_cpu(void *unused)
{
	(void)unused;
	if (!tlb_skip_flush)
		mmu_flush_all();
}

void tlb_flush_all(void)
{
	__atomic_add_fetch(&counts.flushes, 1, __ATOMIC_RELAXED);
	flush_this_cpu(NULL);
	on_other_cpus(flush_this_cpu, NULL);
}

/* What waits now, and account it as released. */
static struct batch take_batch(void)
{
	irqflags_t flags = spin_lock(&tlb_lock);
	struct batch batch = waiting;

	waiting = (struct batch){ 0 };
	counts.released += batch.nr_pages;
	spin_unlock(&tlb_lock, flags);
	return batch;
}

static void release_batch(struct batch batch)
{
	while (batch.first) {
		struct tlb_deferred *item = batch.first;

		batch.first = item->next; /* release() may free the item */
		item->release(item);
	}
	while (batch.tables) {
		struct page *page = pfn_to_page(batch.tables);

		batch.tables = page->next;
		page->state = PG_ALLOC;
		__free_pages(page, 0);
	}
}

u64 tlb_purge(void)
{
	u64 released = 0;
	struct batch batch;

	while (batch = take_batch(), batch.first || batch.tables) {
		tlb_flush_all();
		release_batch(batch);
		released += batch.nr_pages + batch.nr_tables;
	}
	return released;
}

void tlb_defer(struct tlb_deferred *self, u64 nr_pages)
{
	irqflags_t flags = spin_lock(&tlb_lock);
	bool due;

	self->next = waiting.first;
	waiting.first = self;
	waiting.nr_pages += nr_pages;
	counts.deferred += nr_pages;
	due = tlb_mode == TLB_EAGER || waiting.nr_pages > BATCH_MAX_PAGES ||
	      waiting.nr_pages > nr_free_pages() / 8; /* memory is short */
	spin_unlock(&tlb_lock, flags);
	if (due)
		tlb_purge();
}

void tlb_defer_table(pte_t *table)
{
	struct page *page = virt_to_page(table);
	irqflags_t flags = spin_lock(&tlb_lock);

	page->next = waiting.tables;
	waiting.tables = page_to_pfn(page);
	waiting.nr_tables++;
	spin_unlock(&tlb_lock, flags);
}

void tlb_stats(struct tlb_stats *stats)
{
	irqflags_t flags = spin_lock(&tlb_lock);

	*stats = counts;
	stats->waiting = waiting.nr_pages;
	stats->tables_waiting = waiting.nr_tables;
	spin_unlock(&tlb_lock, flags);
}

void tlb_init(enum tlb_mode mode)
{
	tlb_mode = mode;
	register_shrinker(tlb_purge);
}
