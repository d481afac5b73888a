/*
 * vmstock.c - where areas' addresses and frames come from: stocks in front of what all share.
 *
 * Most of vmalloc's work can be done once and kept (Bonwick, USENIX 2001: magazines). What an area
 * needs is addresses, with page tables behind them, and frames. Each CPU has a stock of both, which
 * it alone touches, with interrupts masked instead of a lock; both are queues of what was freed:
 *
 *	addresses	a list of areas of each size. They keep their tables and their guard's entry;
 *			the entry of the first page, not present, leads to the next in the list.
 *	frames		a ring of entries, ready to be copied into a page table and back out of it.
 *
 *	            vmalloc: copy out                      vfree: copy in
 *	                 ▲                                      │
 *	    ... ┌────────┴──────────────┬───────────────────────▼┐ ...
 *	        │ ready: flushed        │ waiting for the flush  │
 *	    ... └───────────────────────┴────────────────────────┘ ...
 *	        head                    ready                    tail
 *
 * A flush costs nothing here but to move `ready`: all that was queued when the flush began is
 * released at once, however much that is. Another CPU's flush serves this CPU, too: each closes a
 * batch of what waits here, for the next one to end. So a pair of vmalloc and vfree moves each entry
 * three times, and neither takes a lock nor looks at a struct page.
 *
 * Behind the frames is page_alloc. Behind the addresses is the depot: long lists that some CPU did
 * not need from one flush to the next, for any CPU; behind that the window (vmarea.c), where tables are
 * made and unlinked. When anything is short, vm_unmap_aliases() gives all stocks of all CPUs back.
 */
#include <mm/vmstock.h>

#define BULK 64		      /* frames or areas that change hands at a time */
#define DEPOT_MAX (1ul << 16) /* areas in each list of the depot */

struct vm_stock *vm_stocks[NR_CPUS];
struct vmwindow vmalloc_window;

/*
 * Held while tables come and go together with the addresses they serve: addresses that are free
 * for sure may have their tables unlinked, addresses just allocated get theirs.
 */
static struct spinlock tables_lock = SPINLOCK("vmalloc tables", LOCK_TABLES);

static struct spinlock depot_lock = SPINLOCK("vmalloc depot", LOCK_DEPOT);
static struct area_list depot[STOCK_LISTS]; /* depot_lock */
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
	error = in_interrupt() && tlb_tables_waiting();
	for (u64 left = nr_pages + 1, nr; left && !error; left -= nr) { /* with the guard */
		flags = spin_lock(&tables_lock); /* not for long: interrupts are masked */
		nr = MIN(left, 8ul * PT_ENTRIES);
		error = pt_populate(&kernel_pt, va + ((nr_pages - left) << PAGE_SHIFT), nr);
		spin_unlock(&tables_lock, flags);
	}
	if (error)
		window_put(va, nr_pages);
	else if (!in_interrupt())
		tlb_free_tables();
	return error ? 0 : va;
}

/* Lists of areas */

static u64 nr_ready(const struct area_list *list)
{
	return list->nr.ready - list->nr.head;
}

static u64 pages_of(vaddr_t va)
{
	return pte_get(window_entry(va - PAGE_SIZE)).v >> AREA_PAGES_SHIFT;
}

/* Up to nr areas to the front of another list: out of the depot or into it. */
static void move(struct area_list *from, struct area_list *to, u64 nr)
{
	irqflags_t flags;

	if (!nr_ready(from))
		return;
	flags = spin_lock(&depot_lock);
	for (vaddr_t va; nr && (va = list_first(from)); nr--) {
		pte_t *entry = window_entry(va);

		list_pop(from, entry);
		if (to->nr.head-- == to->nr.tail)
			to->last = entry;
		pte_set(entry, to->first);
		to->first = pte_make_note(va);
	}
	spin_unlock(&depot_lock, flags);
}

/* Where larger areas share a list, only the first is looked at. */
vaddr_t stock_get_area(u64 nr_pages)
{
	irqflags_t flags = irq_save();
	struct vm_stock *stock = this_stock();
	struct area_list *list = stock_list(stock, nr_pages);
	vaddr_t va;

	if (!list_first(list))
		move(&depot[list - stock->lists], list, BULK);
	va = list_first(list);
	if (va && pages_of(va) == nr_pages)
		list_pop(list, window_entry(va));
	else
		va = 0;
	irq_restore(flags);
	return va ?: window_get(nr_pages, PAGE_SIZE, VMALLOC_START, VMALLOC_END);
}

/* Give areas back to the window until there are no more than so many in a list. Their pages. */
static u64 trim(struct area_list *list, u64 most)
{
	u64 released = 0;

	while (nr_ready(list) > most) { /* a look without the lock: others may be faster */
		irqflags_t flags = spin_lock(&depot_lock);
		vaddr_t va = list_first(list);
		u64 nr_pages = va ? pages_of(va) : 0;

		if (va) {
			list_pop(list, window_entry(va));
			pte_set(window_entry(va - PAGE_SIZE), (pte_t){ 0 });
			pte_set(window_entry(va), (pte_t){ 0 });
		}
		spin_unlock(&depot_lock, flags);
		if (va)
			window_put(va, nr_pages);
		released += nr_pages;
	}
	return released;
}

/* Frames */

void stock_refill(struct vm_stock *stock, u64 least)
{
	u64 most = MIN(BULK, stock->mask + 1 - (stock->frames.tail - stock->frames.head));
	struct page *pages[BULK];
	u64 nr = alloc_pages_bulk(__GFP_NORECLAIM, most, pages) ?:
			 alloc_pages_bulk(__GFP_NORECLAIM, MIN(most, least), pages);

	while (nr-- > 0) {
		pages[nr]->state = PG_VMALLOC;
		stock->ring[--stock->frames.head & stock->mask] =
			pte_make_leaf(page_to_phys(pages[nr]), 1, PAGE_KERNEL);
	}
}

/* Frames that are ready go back to page_alloc until there are no more than so many. */
static void return_frames(struct vm_stock *stock, u64 most)
{
	struct page *pages[BULK];
	u64 nr;

	do {
		irqflags_t flags = irq_save(); /* not for long */
		u64 ready = stock->frames.ready - stock->frames.head;

		nr = ready > most ? MIN(ready - most, BULK) : 0;
		for (u64 i = 0; i < nr; i++) {
			pte_t entry = stock->ring[stock->frames.head++ & stock->mask];

			pages[i] = pfn_to_page(paddr_to_pfn(pte_paddr(entry, 1)));
			pages[i]->state = PG_ALLOC;
		}
		irq_restore(flags);
		free_pages_bulk(nr, pages);
	} while (nr);
}

/* The flush */

/*
 * All that waits here now is one batch, which the next flush ends. A batch that is closed already keeps
 * its number, as somebody may be waiting for it; closed anew it holds more, and waits for a later one.
 */
static void close_batch(void *anew)
{
	struct vm_stock *stock = this_stock();

	if (stock->flush && !anew)
		return;
	stock->frames.closed = stock->frames.tail;
	stock->pages.closed = stock->pages.tail;
	for (u64 i = 0; i < STOCK_LISTS; i++)
		stock->lists[i].nr.closed = stock->lists[i].nr.tail;
	stock->flush = tlb_next_flush();
}

/* If it has: what was in the batch is ready. Of what was ready before, long lists go to others. */
static void open_batch(struct vm_stock *stock)
{
	if (!stock->flush || !tlb_flushed(stock->flush))
		return;
	stock->flush = 0;
	stock->batch = MIN((stock->mask + 1) / 2, nr_free_pages() / (4ul * nr_cpus()));
	stock->frames.ready = stock->frames.closed;
	stock->pages.ready = stock->pages.closed;
	for (u64 i = 0; i < STOCK_LISTS; i++) {
		struct area_list *list = &stock->lists[i];

		if (list->nr.ready == list->nr.closed)
			continue;
		if (nr_ready(list) > (i < STOCK_SIZES ? BULK : 0))
			move(list, &depot[i], nr_ready(list));
		list->nr.ready = list->nr.closed;
	}
}

void stock_settle(bool full)
{
	struct vm_stock *stock = this_stock();
	irqflags_t flags;
	u64 number;

	if (in_interrupt() && !full)
		return;
	vm_free_deferred();
	flags = irq_save();
	open_batch(stock);
	if (full || stock_due(stock)) {
		close_batch(NULL);
		number = tlb_mode == TLB_EAGER ? tlb_next_flush() : stock->flush;
		irq_restore(flags);
		tlb_flush(number);
		flags = irq_save();
		open_batch(stock);
	}
	irq_restore(flags);
	return_frames(stock, MIN(2 * stock->batch, stock->mask / 4 * 3));
	for (u64 i = tlb_next_flush() % 16; i < STOCK_LISTS; i += 16) /* by turns; large: tables */
		trim(&depot[i], i < STOCK_SIZES ? DEPOT_MAX : BULK);
}

/* Draining */

static void empty_here(void *unused)
{
	struct vm_stock *stock = this_stock();

	(void)unused;
	open_batch(stock);
	for (u64 i = 0; i < STOCK_LISTS; i++)
		move(&stock->lists[i], &depot[i], nr_ready(&stock->lists[i]));
	return_frames(stock, 0);
}

u64 vm_unmap_aliases(void)
{
	u64 released = 0;

	if (in_interrupt()) /* perhaps of a CPU that is draining */
		return 0;
	vm_free_deferred();
	while (__atomic_exchange_n(&draining, true, __ATOMIC_ACQUIRE))
		cpu_serve();
	on_every_cpu(close_batch, &draining); /* anew */
	tlb_flush_all();
	on_every_cpu(empty_here, NULL);
	for (u64 i = 0; i < STOCK_LISTS; i++)
		released += trim(&depot[i], 0);
	__atomic_store_n(&draining, false, __ATOMIC_RELEASE);
	return released + tlb_free_tables();
}

/* Looking */

/* Areas, in one CPU's lists or in the depot. */
static u64 count_areas(const struct area_list *list)
{
	u64 areas = 0;

	for (u64 i = 0; i < STOCK_LISTS; i++, list++)
		areas += list->nr.tail - list->nr.head;
	return areas;
}

void vmalloc_stats(struct vmalloc_stats *stats)
{
	irqflags_t flags = spin_lock(&tables_lock);
	struct vm_area area;

	*stats = (struct vmalloc_stats){
		.window = (VMALLOC_END - VMALLOC_START + 1) >> PAGE_SHIFT,
		.freed_areas = count_areas(depot),
		.free = vmalloc_window.pages_free,
		.largest = MAX(vmalloc_window.free->largest, 1ul) - 1, /* less its guard */
	};
	spin_unlock(&tables_lock, flags);
	for (vaddr_t va = VMALLOC_START; next_vm_area(va, &area); va = vm_area_end(&area)) {
		stats->areas += area.kind != VM_FREED;
		stats->used += area.kind != VM_FREED ? area.nr_pages : 0;
		stats->frames += owns_frames(area.kind) ? area.nr_pages : 0;
	}
	for (u32 cpu = 0; cpu < NR_CPUS && vm_stocks[cpu]; cpu++) {
		const struct vm_stock *stock = vm_stocks[cpu];

		stats->frames += stock->frames.tail - stock->frames.head;
		stats->freed_areas += count_areas(stock->lists);
		stats->waiting += stock->pages.tail - stock->pages.ready;
	}
}

int stock_init(u32 cpu)
{
	struct vm_stock *stock = kmalloc(sizeof(*stock), __GFP_ZERO);
	pte_t *ring;
	unsigned order = 0; /* of the ring */

	while (order < 5 && nr_free_pages() >> (order + 11)) /* frames for 1/4 of memory */
		order++;
	ring = kmalloc(PAGE_SIZE << order, GFP_KERNEL);
	if (!stock || !ring) {
		kfree(stock);
		kfree(ring);
		return -ENOMEM;
	}
	stock->ring = ring;
	stock->mask = (PAGE_SIZE << order) / sizeof(pte_t) - 1;
	stock->batch = stock->mask / 2;
	vm_stocks[cpu] = stock;
	memset(walk_cache[cpu], WALK_NONE, sizeof(walk_cache[cpu]));
	tlb_at_flush = close_batch; /* another CPU's flush serves us, too */
	return 0;
}
