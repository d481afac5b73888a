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
 * Flushes are numbered, so that whoever unmaps knows which one to wait for: the next to begin. It is
 * done when every CPU has flushed, and then serves all who wait for it or for an earlier number: CPUs
 * that want to flush at the same time do it once. While a CPU waits for others it holds no lock, masks
 * interrupts and serves what they ask of it: two that wait for each other both get on.
 */
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <kernel/panic.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>
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
struct walk walk_cache[NR_CPUS][WALK_CACHE];

static struct spinlock tlb_lock = SPINLOCK("tlb", LOCK_TLB);
static struct batch waiting;	/* tlb_lock */
static struct tlb_stats counts; /* atomic */
static u64 begun, done;		/* numbers of flushes; atomic */
static u64 unlinked;		/* the flush that the last table unlinked waits for; tlb_lock */
static bool flushing;		/* one CPU at a time; atomic */
static u32 releasing[NR_CPUS];	/* how deep each CPU is in tlb_purge() */

/* Flushes */

struct range {
	vaddr_t va;
	u64 nr_pages; /* 0: everything */
};

static void flush_this_cpu(void *arg)
{
	const struct range *range = arg;

	memset(walk_cache[cpu_id()], 0, sizeof(walk_cache[0]));
	if (tlb_skip_flush)
		return;
	if (range->nr_pages)
		mmu_flush_range(range->va, range->nr_pages);
	else
		mmu_flush_all();
}

static void flush_every_cpu(struct range range)
{
	irqflags_t flags = irq_save();

	flush_this_cpu(&range);
	on_other_cpus(flush_this_cpu, &range);
	irq_restore(flags);
	__atomic_add_fetch(&counts.shootdowns, nr_cpus() > 1, __ATOMIC_RELAXED);
}

u64 tlb_next_flush(void)
{
	/* Entries cleared before must be seen cleared by a flush that begins after this look. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&begun, __ATOMIC_RELAXED) + 1;
}

bool tlb_flushed(u64 number)
{
	return __atomic_load_n(&done, __ATOMIC_ACQUIRE) >= number;
}

void tlb_flush(u64 number)
{
	while (!tlb_flushed(number)) {
		irqflags_t flags = irq_save();

		if (__atomic_exchange_n(&flushing, true, __ATOMIC_ACQUIRE)) {
			cpu_serve();
		} else {
			if (!tlb_flushed(number)) {
				u64 ours = __atomic_add_fetch(&begun, 1, __ATOMIC_SEQ_CST);

				flush_every_cpu((struct range){ 0 });
				__atomic_add_fetch(&counts.flushes, 1, __ATOMIC_RELAXED);
				__atomic_store_n(&done, ours, __ATOMIC_RELEASE);
			}
			__atomic_store_n(&flushing, false, __ATOMIC_RELEASE);
		}
		irq_restore(flags);
	}
}

void tlb_flush_range(vaddr_t va, u64 nr_pages)
{
	flush_every_cpu((struct range){ va, nr_pages });
	__atomic_add_fetch(&counts.range_flushes, 1, __ATOMIC_RELAXED);
}

pte_t *window_walk(vaddr_t va)
{
	struct walk *walk = &walk_cache[cpu_id()][va >> 21 & (WALK_CACHE - 1)];
	pte_t *entry;
	int level;

	if (va < address_map.vmalloc_start || va > address_map.vmalloc_end)
		return NULL;
	entry = pt_walk(&kernel_pt, va, 1, &level);
	if (level != 1)
		return NULL;
	*walk = (struct walk){ va >> 21, entry - level_index(va, 1) };
	return entry;
}

/* What waits */

static struct batch take_batch(void)
{
	irqflags_t flags = spin_lock(&tlb_lock);
	struct batch batch = waiting;

	waiting = (struct batch){ 0 };
	spin_unlock(&tlb_lock, flags);
	return batch;
}

static void release_batch(struct batch batch)
{
	tlb_count_released(batch.nr_pages);
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

/* Who finds nothing to do must still wait for other CPUs' batches: then it is a barrier. */
u64 tlb_purge(void)
{
	u32 *depth = &releasing[cpu_id()];
	u64 released = 0;
	struct batch batch;

	__atomic_store_n(depth, *depth + 1, __ATOMIC_SEQ_CST);
	while (batch = take_batch(), batch.first || batch.tables) {
		tlb_flush_all();
		release_batch(batch);
		released += batch.nr_pages + batch.nr_tables;
	}
	__atomic_store_n(depth, *depth - 1, __ATOMIC_RELEASE);
	for (u32 cpu = 0; *depth == 0 && cpu < nr_cpus(); cpu++)
		while (__atomic_load_n(&releasing[cpu], __ATOMIC_ACQUIRE))
			cpu_serve();
	return released;
}

void tlb_defer(struct tlb_deferred *self, u64 nr_pages)
{
	irqflags_t flags = spin_lock(&tlb_lock);
	bool due;

	self->next = waiting.first;
	waiting.first = self;
	waiting.nr_pages += nr_pages;
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
	unlinked = tlb_next_flush();
	spin_unlock(&tlb_lock, flags);
}

void tlb_flush_tables(void)
{
	tlb_flush(__atomic_load_n(&unlinked, __ATOMIC_RELAXED));
}

void tlb_count_released(u64 nr_pages)
{
	__atomic_add_fetch(&counts.released, nr_pages, __ATOMIC_RELAXED);
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
}
