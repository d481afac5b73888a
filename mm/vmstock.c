/*
 * vmstock.c - where areas' addresses and frames come from: stocks in front of what all share.
 *
 * Most of vmalloc's work can be done once and kept (Bonwick, USENIX 2001: magazines). What an area
 * needs is addresses, with page tables behind them, and frames. Each CPU has a stock of both, which
 * it alone touches, with interrupts masked instead of a lock:
 *
 *	addresses	a list of freed areas for each size. They keep their tables and their guard's
 *			entry; the entry of the first page, not present, leads to the next in the list.
 *	frames		a ring of entries, ready to be copied into a page table and back out of it.
 *
 *	            vmalloc: copy out                      vfree: copy in
 *	                 ▲                                      │
 *	    ... ┌────────┴──────────────┬───────────────────────▼┐ ...
 *	        │ ready: flushed        │ waiting for the flush  │
 *	    ... └───────────────────────┴────────────────────────┘ ...
 *	        head                    ready                    tail
 *
 * A flush costs nothing here but to move `ready`: all that was in the ring when the flush began is
 * released at once, however many frames that are. The lists wait in the same way: what was pushed
 * before the flush began becomes ready. Another CPU's flush serves this CPU, too: each closes a batch
 * of what waits here, for the next one to end. So a pair of vmalloc and vfree moves each entry
 * three times, and neither takes a lock nor looks at a struct page.
 *
 * Behind the frames is page_alloc. Behind the addresses is the depot: long lists that some CPU did
 * not need from one flush to the next, for any CPU; behind that the window (vmarea.c), where tables are
 * made and unlinked. When anything is short, stock_drain() gives all stocks of all CPUs back.
 */
#include <kernel/panic.h>
#include <mm/pagetable.h>
#include <mm/vmstock.h>

#define BULK 64		      /* frames or areas that change hands at a time */
#define DEPOT_MAX (1ul << 16) /* areas in the depot */

struct vm_stock *vm_stocks[NR_CPUS];
struct vmwindow vmalloc_window;
u64 ring_frames;

/*
 * Held while tables come and go together with the addresses they serve: addresses that are free
 * for sure may have their tables unlinked, addresses just allocated get theirs.
 */
static struct spinlock tables_lock = SPINLOCK("vmalloc tables", LOCK_TABLES);

static struct spinlock depot_lock = SPINLOCK("vmalloc depot", LOCK_DEPOT);
static struct area_list depot[STOCK_LISTS]; /* depot_lock */
static volatile u64 depot_areas;	    /* depot_lock to change it */
static bool draining;			    /* one CPU at a time; atomic */

/* The window */

static void window_put(vaddr_t va, u64 nr_pages)
{
	irqflags_t flags = spin_lock(&tables_lock);
	vaddr_t lo, hi;

	vmarea_free(&vmalloc_window, va, nr_pages, &lo, &hi);
	if (hi + PAGE_SIZE > VMALLOC_END) /* only the last page, which is never used, lies behind */
		hi = ALIGN_UP(hi, level_bytes(address_map.levels));
	pt_prune(&kernel_pt, va - PAGE_SIZE, nr_pages + 1, lo, hi, tlb_defer_table);
	spin_unlock(&tables_lock, flags);
}

/* Tables for the range, a few at a time, as interrupts are masked. The addresses must be taken. */
static bool make_tables(vaddr_t va, u64 nr_pages)
{
	for (u64 nr; nr_pages; nr_pages -= nr, va += nr << PAGE_SHIFT) {
		irqflags_t flags = spin_lock(&tables_lock);
		int error;

		nr = MIN(nr_pages, 8ul * PT_ENTRIES);
		error = pt_populate(&kernel_pt, va, nr);
		spin_unlock(&tables_lock, flags);
		if (error)
			return false;
	}
	return true;
}

vaddr_t window_get(u64 nr_pages, u64 align, vaddr_t lo, vaddr_t hi)
{
	irqflags_t flags = spin_lock(&tables_lock);
	vaddr_t va;
	int error = vmarea_alloc(&vmalloc_window, nr_pages, align, lo, hi, &va);

	spin_unlock(&tables_lock, flags);
	if (error)
		return 0;
	/*
	 * A CPU may still remember a table that was here before: flush. As no interrupt can, it makes
	 * no table either, which would only wait for the flush, too.
	 */
	if ((in_interrupt() && tlb_tables_waiting()) ||
	    !make_tables(va - PAGE_SIZE, nr_pages + 1)) {
		window_put(va, nr_pages);
		return 0;
	}
	if (!in_interrupt())
		tlb_free_tables();
	return va;
}

/* Lists of areas */

static void push(struct area_list *list, vaddr_t va)
{
	pte_set(window_entry(va), pte_make_note(list->first));
	if (!list->first)
		list->last = va;
	list->first = va;
	list->nr++;
}

static vaddr_t pop(struct area_list *list)
{
	vaddr_t va = list->first;

	list->first = pte_get(window_entry(va)).v;
	list->nr--;
	return va;
}

/* Move all of one list in front of another. */
static void splice(struct area_list *from, struct area_list *to)
{
	if (!from->first)
		return;
	if (to->first)
		pte_set(window_entry(from->last), pte_make_note(to->first));
	else
		to->last = from->last;
	to->first = from->first;
	to->nr += from->nr;
	*from = (struct area_list){ 0 };
}

static u64 pages_of(vaddr_t va)
{
	return pte_get(window_entry(va - PAGE_SIZE)).v >> AREA_PAGES_SHIFT;
}

/* Areas of one list into the depot, or up to BULK of them out of it. */
static void depot_put(u64 list, struct area_list *areas)
{
	irqflags_t flags = spin_lock(&depot_lock);

	depot_areas += areas->nr;
	splice(areas, &depot[list]);
	spin_unlock(&depot_lock, flags);
}

static void depot_get(u64 list, struct area_list *areas)
{
	irqflags_t flags = spin_lock(&depot_lock);

	for (u64 nr = MIN(BULK, depot[list].nr); nr--; depot_areas--)
		push(areas, pop(&depot[list]));
	spin_unlock(&depot_lock, flags);
}

/* Where larger areas share a list, only the first is looked at. */
vaddr_t stock_get_area(struct vm_stock *stock, u64 nr_pages)
{
	struct stock_list *list = stock_list(stock, nr_pages);

	if (!list->ready.first && depot[list - stock->lists].nr)
		depot_get(list - stock->lists, &list->ready);
	if (!list->ready.first || pages_of(list->ready.first) != nr_pages)
		return 0;
	return pop(&list->ready);
}

/* Give areas back to the window until no more than so many are in the depot. Their pages. */
static u64 trim_depot(u64 most)
{
	u64 released = 0, i = 0;

	while (depot_areas > most && i < STOCK_LISTS) {
		irqflags_t flags = spin_lock(&depot_lock);
		vaddr_t va = depot[i].nr ? pop(&depot[i]) : 0;
		u64 nr_pages = va ? pages_of(va) : 0;

		if (va) {
			depot_areas--;
			pte_set(window_entry(va - PAGE_SIZE), (pte_t){ 0 });
			pte_set(window_entry(va), (pte_t){ 0 });
		}
		spin_unlock(&depot_lock, flags);
		if (va)
			window_put(va, nr_pages);
		else
			i++;
		released += nr_pages;
	}
	return released;
}

/* Frames */

bool stock_refill(struct vm_stock *stock, u64 nr, bool exact)
{
	u64 room = stock->mask + 1 - (stock->tail - stock->head);
	struct page *pages[BULK];

	nr = MIN(room, exact ? MIN(nr, BULK) : BULK);
	if (!nr || !alloc_pages_bulk(__GFP_NORECLAIM, nr, pages))
		return false;
	__atomic_add_fetch(&ring_frames, nr, __ATOMIC_RELAXED);
	for (u64 i = nr; i-- > 0;) {
		pages[i]->state = PG_VMALLOC;
		stock->ring[--stock->head & stock->mask] =
			pte_make_leaf(page_to_phys(pages[i]), 1, PAGE_KERNEL);
	}
	return true;
}

/* Give up to BULK frames that are ready back to page_alloc. How many. */
static u64 return_frames(struct vm_stock *stock, u64 keep)
{
	u64 ready = stock->ready - stock->head, nr = ready > keep ? MIN(ready - keep, BULK) : 0;
	struct page *pages[BULK];

	for (u64 i = 0; i < nr; i++) {
		pte_t entry = stock->ring[stock->head++ & stock->mask];

		pages[i] = pfn_to_page(paddr_to_pfn(pte_paddr(entry, 1)));
		pages[i]->state = PG_ALLOC;
	}
	if (nr)
		free_pages_bulk(nr, pages);
	__atomic_sub_fetch(&ring_frames, nr, __ATOMIC_RELAXED);
	return nr;
}

/* The flush */

/* All that waits now is one batch, which the next flush ends. That flush's number. */
static u64 close_batch(struct vm_stock *stock)
{
	stock->closed = stock->tail;
	stock->closing = stock->waiting;
	for (u64 i = 0; i < STOCK_LISTS; i++)
		splice(&stock->lists[i].fresh, &stock->lists[i].closed);
	return stock->flush = tlb_next_flush();
}

/* If it has: what was in the batch is ready. Of what was ready before, long lists go to others. */
static void open_batch(struct vm_stock *stock)
{
	if (!stock->flush || !tlb_flushed(stock->flush))
		return;
	stock->flush = 0;
	stock->ready = stock->closed;
	stock->waiting -= stock->closing;
	stock->batch = MIN((stock->mask + 1) / 2, nr_free_pages() / (4ul * nr_cpus()));
	tlb_count_released(stock->closing);
	for (u64 i = 0; i < STOCK_LISTS; i++) {
		struct stock_list *list = &stock->lists[i];

		if (!list->closed.first)
			continue;
		if (list->ready.nr > (i < STOCK_SIZES ? BULK : 0))
			depot_put(i, &list->ready);
		splice(&list->closed, &list->ready);
	}
}

/* Another CPU's flush serves us, too: close now what its next one is to end. */
static void at_flush(void)
{
	if (!this_stock()->flush)
		close_batch(this_stock());
}

void stock_settle(bool full)
{
	irqflags_t flags = irq_save();
	struct vm_stock *stock = this_stock();

	open_batch(stock);
	if (full || stock_due(stock)) {
		u64 number = close_batch(stock);

		irq_restore(flags);
		tlb_flush(number);
		flags = irq_save();
		open_batch(stock);
	}
	while (return_frames(stock, MIN(2 * stock->batch, stock->mask / 4 * 3))) {
		irq_restore(flags);
		flags = irq_save();
	}
	irq_restore(flags);
	trim_depot(DEPOT_MAX);
}

/* Draining */

static void on_every_cpu(void (*fn)(void *))
{
	irqflags_t flags = irq_save();

	fn(NULL);
	on_other_cpus(fn, NULL);
	irq_restore(flags);
}

static void close_here(void *unused)
{
	(void)unused;
	close_batch(this_stock());
}

static void empty_here(void *unused)
{
	struct vm_stock *stock = this_stock();

	(void)unused;
	open_batch(stock);
	for (u64 i = 0; i < STOCK_LISTS; i++)
		if (stock->lists[i].ready.nr)
			depot_put(i, &stock->lists[i].ready);
	while (return_frames(stock, 0))
		continue;
}

u64 stock_drain(void)
{
	u64 released;

	if (in_interrupt()) /* perhaps of a CPU that is draining */
		return 0;
	while (__atomic_exchange_n(&draining, true, __ATOMIC_ACQUIRE))
		cpu_serve();
	on_every_cpu(close_here);
	tlb_flush_all();
	on_every_cpu(empty_here);
	released = trim_depot(0);
	__atomic_store_n(&draining, false, __ATOMIC_RELEASE);
	return released + tlb_free_tables();
}

/* Looking */

void stock_stats(struct stock_stats *stats)
{
	*stats = (struct stock_stats){ .areas = depot_areas,
				       .frames = __atomic_load_n(&ring_frames, __ATOMIC_RELAXED) };
	for (u32 cpu = 0; cpu < NR_CPUS; cpu++) {
		const struct vm_stock *stock = vm_stocks[cpu];

		for (u64 i = 0; stock && i < STOCK_LISTS; i++)
			stats->areas += stock->lists[i].ready.nr + stock->lists[i].fresh.nr +
					stock->lists[i].closed.nr;
		stats->waiting += stock ? stock->waiting : 0;
		stats->live += stock ? stock->areas : 0;
		stats->used += stock ? stock->used : 0;
	}
}

void for_each_stock_frame(void (*fn)(pte_t entry, void *arg), void *arg)
{
	for (u32 cpu = 0; cpu < NR_CPUS; cpu++) {
		const struct vm_stock *stock = vm_stocks[cpu];

		for (u64 i = stock ? stock->head : 0; stock && i != stock->tail; i++)
			fn(stock->ring[i & stock->mask], arg);
	}
}

int stock_init(u32 cpu)
{
	struct vm_stock *stock = __get_free_pages(__GFP_ZERO, 2);
	unsigned order = 0; /* of the ring */

	_Static_assert(sizeof(*stock) <= PAGE_SIZE << 2, "that is enough");
	while (order < 5 && nr_free_pages() >> (order + 11)) /* frames for 1/4 of memory */
		order++;
	if (stock)
		stock->ring = __get_free_pages(GFP_KERNEL, order);
	if (!stock || !stock->ring) {
		if (stock)
			free_pages(stock, 2);
		return -ENOMEM;
	}
	stock->mask = (PAGE_SIZE << order) / sizeof(pte_t) - 1;
	stock->batch = stock->mask / 2;
	vm_stocks[cpu] = stock;
	tlb_at_flush = at_flush;
	return 0;
}
