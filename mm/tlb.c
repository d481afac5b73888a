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
 * So what was unmapped waits, and a flush is due only when enough has gathered:
 *
 *	vfree: clear entries ──► wait (vmstock.c) ──► flush every CPU ──► reuse
 *	                                              (once a batch)
 *
 * Linux defers the addresses in this way and hands the frames back at once; here the frames wait too,
 * so that a stale pointer reads old data but never another owner's. The price is memory that is free
 * and cannot be used yet: the batch is therefore bounded, and smaller when free memory is short.
 * Page tables that were unlinked wait here: a CPU may be walking them.
 *
 * Flushes are numbered, so that whoever unmaps knows which one to wait for: the next to begin. It is
 * done when every CPU has flushed, and then serves all who wait for it or for an earlier number: CPUs
 * that want to flush at the same time do it once. While a CPU waits for others it holds no lock and
 * serves what they ask of it, interrupts masked or not: two that wait for each other both get on.
 */
#include <kernel/spinlock.h>
#include <mm/tlb.h>

u32 tlb_skip_cpu;
void (*tlb_at_flush)(void *);
enum tlb_mode tlb_mode;
struct walk walk_cache[NR_CPUS][WALK_CACHE];

static struct spinlock tlb_lock = SPINLOCK("tlb", LOCK_TLB);
static u32 tables;		/* tlb_lock; pfn of the first that waits, linked by page->next */
static u64 unlinked;		/* tlb_lock; the flush that the last of them needs */
static u64 begun, done;		/* the last flush that did; one at a time; atomic */
static struct tlb_stats counts; /* atomic */

/* Flushes */

struct range {
	vaddr_t va;
	u64 nr_pages; /* 0: everything */
};

static void flush_this_cpu(void *arg)
{
	const struct range *range = arg;

	if (tlb_skip_cpu == cpu_id() + 1)
		return;
	memset(walk_cache[cpu_id()], WALK_NONE, sizeof(walk_cache[0]));
	if (range->nr_pages) {
		mmu_flush_range(range->va, range->nr_pages);
	} else {
		mmu_flush_all();
		if (tlb_at_flush)
			tlb_at_flush(NULL);
	}
}

static void flush_every_cpu(struct range range)
{
	on_every_cpu(flush_this_cpu, &range);
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
	for (u64 last; (last = __atomic_load_n(&done, __ATOMIC_ACQUIRE)) < number;) {
		irqflags_t flags = irq_save();

		/* If the last that was done is the last that has begun, nobody else is at it. */
		if (__atomic_compare_exchange_n(&begun, &last, last + 1, false, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED)) {
			flush_every_cpu((struct range){ 0 });
			__atomic_store_n(&done, last + 1, __ATOMIC_RELEASE);
		} else {
			cpu_serve();
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
	if (!in_interrupt()) /* it may have come between two looks at this one: vmalloc_to_page() */
		*walk = (struct walk){ va >> 21, entry - level_index(va, 1) };
	return entry;
}

/* Page tables */

void tlb_defer_table(pte_t *table)
{
	struct page *page = virt_to_page(table);
	irqflags_t flags = spin_lock(&tlb_lock);

	page->next = tables;
	tables = page_to_pfn(page);
	__atomic_add_fetch(&counts.tables_waiting, 1, __ATOMIC_RELAXED);
	unlinked = tlb_next_flush();
	spin_unlock(&tlb_lock, flags);
}

bool tlb_tables_waiting(void)
{
	return !tlb_flushed(__atomic_load_n(&unlinked, __ATOMIC_ACQUIRE));
}

u64 tlb_free_tables(void)
{
	irqflags_t flags = spin_lock(&tlb_lock);
	u64 pfn = tables, flush = unlinked, nr;

	tables = 0;
	spin_unlock(&tlb_lock, flags);
	tlb_flush(flush); /* also if another CPU has taken them, and frees them in a moment */
	for (nr = 0; pfn; nr++) {
		struct page *page = pfn_to_page(pfn);

		pfn = page->next;
		page_alloc_tables.put(page_address(page));
	}
	__atomic_sub_fetch(&counts.tables_waiting, nr, __ATOMIC_RELAXED);
	return nr;
}

void tlb_stats(struct tlb_stats *stats)
{
	*stats = counts;
	stats->flushes = done;
}
