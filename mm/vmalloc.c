/*
 * vmalloc.c - scattered frames, laid side by side in the window.
 *
 * Three parts meet here: vmarea gives addresses, page_alloc gives frames, pagetable joins them. The
 * frames of an area may lie anywhere; its entries, one a page, say where:
 *
 *	window    | guard | page 0 | page 1 | page 2 | guard of the next …
 *	entry     | note  | 0x7d12 | 0x1044 | 0x3c61 | note
 *
 * The page table is the record. A guard page is not mapped, and of an entry that is not present
 * the CPU ignores all but bit 0 (SDM 3A 4.5), so the guard's entry holds the area's descriptor:
 * kind, caller, number of pages (vmalloc.h). There is no other list of areas: whoever can read page
 * tables (vmallocinfo, the fault report, a debugger) can read who asked for what.
 *
 *	vmalloc	take addresses and frames of this CPU's stock (vmstock.c), copy the frames' entries
 *		into the page table, write the descriptor.
 *	vfree	claim the area by one atomic change of its descriptor, so that of two CPUs that free
 *		it only one can go on; copy the entries out of the page table and clear them. Frames
 *		and addresses now wait in this CPU's stock for a flush of all TLBs (tlb.c).
 *
 * Neither step of vfree needs memory. An allocation that fails half-way takes the same road back.
 */
#include <kernel/panic.h>
#include <kernel/string.h>
#include <mm/pagetable.h>
#include <mm/vmstock.h>

bool find_vm_area(vaddr_t va, struct vm_area *area)
{
	vaddr_t at = ALIGN_DOWN(va, PAGE_SIZE);
	bool found = false;
	int level;

	while (!found && is_vmalloc_addr((void *)at)) {
		irqflags_t flags = irq_save(); /* tables that we see stay until we let a flush in */
		pte_t *entry = pt_prev(&kernel_pt, &at, VMALLOC_START, &level);

		found = entry && vm_area_decode(pte_get(entry), at, area);
		irq_restore(flags);
		at = entry ? at - PAGE_SIZE : 0;
	}
	return found && va < vm_area_end(area);
}

bool next_vm_area(vaddr_t va, struct vm_area *area)
{
	vaddr_t at = MAX(va, VMALLOC_START + PAGE_SIZE) - PAGE_SIZE;
	bool found = false;
	int level;

	while (!found && is_vmalloc_addr((void *)at)) {
		irqflags_t flags = irq_save();
		pte_t *entry = pt_next(&kernel_pt, &at, VMALLOC_END, &level);

		found = entry && vm_area_decode(pte_get(entry), at, area);
		irq_restore(flags);
		at = entry ? at + level_bytes(level) : 0;
	}
	return found;
}

/* Pages in and out of the window's tables. Interrupts are masked, but for a moment now and then. */

static void let_interrupts_in(irqflags_t *flags)
{
	irq_restore(*flags);
	*flags = irq_save();
}

/* How many of these pages lie in one table. */
static u64 in_table(vaddr_t va, vaddr_t end)
{
	return MIN((end - va) >> PAGE_SHIFT, PT_ENTRIES - level_index(va, 1));
}

static inline bool in_one_table(const pte_t *entry, u64 nr)
{
	return ((vaddr_t)entry & (PAGE_SIZE - 1)) + nr * sizeof(*entry) <= PAGE_SIZE;
}

/* Map pages from va on; returns where that ended: before end, if it cannot be done. */
typedef vaddr_t (*fill_fn)(vaddr_t va, pte_t *first, vaddr_t end, const void *what,
			   irqflags_t *flags);

/* Frames of this CPU's stock. exact, not NULL: ask page_alloc for no more than is needed. */
static inline vaddr_t map_stock(vaddr_t va, pte_t *entry, vaddr_t end, const void *exact,
				irqflags_t *flags)
{
	struct vm_stock *stock = this_stock();

	for (;; entry = window_entry(va)) {
		u64 ring_end = stock->mask + 1 - (stock->head & stock->mask);
		u64 nr = MIN(in_table(va, end), MIN(stock->ready - stock->head, ring_end));

		stock_get_frames(stock, entry, nr);
		va += nr << PAGE_SHIFT;
		if (va == end)
			return va;
		let_interrupts_in(flags);
		if (stock->head == stock->ready &&
		    !stock_refill(stock, (end - va) >> PAGE_SHIFT, exact))
			return va;
	}
}

static inline void unmap_to_stock(vaddr_t va, pte_t *entry, vaddr_t end, irqflags_t *flags)
{
	struct vm_stock *stock = this_stock();

	for (; va < end; entry = window_entry(va)) {
		u64 ring_end = stock->mask + 1 - (stock->tail & stock->mask);
		u64 nr = MIN(in_table(va, end),
			     MIN(stock->head + stock->mask + 1 - stock->tail, ring_end));

		stock_put_frames(stock, entry, nr);
		va += nr << PAGE_SHIFT;
		if (va == end)
			break;
		let_interrupts_in(flags);
		if (!nr)
			stock_settle(true);
	}
}

static inline void unmap(vaddr_t va, pte_t *entry, vaddr_t end, irqflags_t *flags)
{
	for (u64 nr; va < end; entry = window_entry(va)) {
		nr = in_table(va, end);
		pte_clear(entry, nr);
		va += nr << PAGE_SHIFT;
		if (va == end)
			break;
		let_interrupts_in(flags);
	}
}

/* Areas */

struct request {
	u64 nr_pages;
	enum vm_kind kind;
	vaddr_t caller;
	fill_fn fill;
	const void *what;
};

static inline bool owns_frames(enum vm_kind kind)
{
	return kind == VM_ALLOC || kind == VM_STACK;
}

static inline pte_t descriptor(enum vm_kind kind, u64 nr_pages, vaddr_t caller)
{
	return vm_area_encode(kind, nr_pages, caller - address_map.image);
}

/* The area is complete. */
static inline void publish(struct vm_stock *stock, pte_t *guard, enum vm_kind kind, u64 nr_pages,
			   vaddr_t caller)
{
	pte_set(guard, descriptor(kind, nr_pages, caller));
	stock->areas++;
	stock->used += nr_pages;
}

/* Addresses that this CPU has in stock, or fresh ones; 0: no room. */
static inline vaddr_t get_area(u64 nr_pages, irqflags_t *flags)
{
	vaddr_t va = stock_get_area(this_stock(), nr_pages);

	if (unlikely(!va)) {
		irq_restore(*flags);
		va = window_get(nr_pages, PAGE_SIZE, VMALLOC_START, VMALLOC_END);
		*flags = irq_save();
	}
	return va;
}

/* Its descriptor says VM_FREED; its pages are mapped up to end. */
static inline void put_area(vaddr_t va, pte_t *guard, u64 nr_pages, vaddr_t end, bool own_frames,
			    irqflags_t *flags)
{
	pte_t *first = next_entry(guard, va);

	if (own_frames)
		unmap_to_stock(va, first, end, flags);
	else
		unmap(va, first, end, flags);
	stock_put_area(this_stock(), va, first, nr_pages);
}

static void *try_area(const struct request *rq)
{
	irqflags_t flags = irq_save();
	vaddr_t va = get_area(rq->nr_pages, &flags), end = va + (rq->nr_pages << PAGE_SHIFT),
		mapped;
	pte_t *guard;

	if (va) {
		guard = window_entry(va - PAGE_SIZE); /* stays: tables stay as long as an area */
		mapped = rq->fill(va, next_entry(guard, va), end, rq->what, &flags);
		if (mapped == end) {
			publish(this_stock(), guard, rq->kind, rq->nr_pages, rq->caller);
		} else {
			pte_set(guard, descriptor(VM_FREED, rq->nr_pages, rq->caller));
			put_area(va, guard, rq->nr_pages, mapped, owns_frames(rq->kind), &flags);
			va = 0;
		}
	}
	irq_restore(flags);
	return (void *)va;
}

/* What is missing may be in other stocks, or wait for a flush. */
static noinline void *new_area(struct request rq)
{
	void *p;

	if (rq.nr_pages - 1 >= AREA_MAX_PAGES)
		return NULL;
	p = try_area(&rq);
	if (p)
		return p;
	stock_drain();
	if (rq.fill == map_stock) {
		rq.what = &rq; /* not NULL: exact */
		if (rq.nr_pages > nr_free_pages())
			return NULL;
	}
	return try_area(&rq);
}

static noinline void *alloc_slow(u64 nr_pages, enum vm_kind kind, vaddr_t caller)
{
	return new_area((struct request){ nr_pages, kind, caller, map_stock, NULL });
}

/*
 * What the stock has at hand: addresses, with the entries of guard and pages in one table, whose
 * place this CPU remembers. 0: go the long way. Interrupts masked. The area is still in the stock.
 */
static inline vaddr_t at_hand(struct vm_stock *stock, u64 nr_pages, pte_t **guard)
{
	vaddr_t va = nr_pages < STOCK_SIZES ? stock->lists[nr_pages].ready.first : 0;

	*guard = window_entry_cached(va - PAGE_SIZE);
	return *guard && in_one_table(*guard, nr_pages + 1) ? va : 0;
}

static inline void *new_alloc(u64 bytes, enum vm_kind kind, vaddr_t caller)
{
	u64 nr_pages = (bytes >> PAGE_SHIFT) + !IS_ALIGNED(bytes, PAGE_SIZE);
	irqflags_t flags = irq_save();
	struct vm_stock *stock = this_stock();
	pte_t *guard;
	vaddr_t va = at_hand(stock, nr_pages, &guard);

	if (likely(va && stock_can_get(stock, nr_pages))) {
		stock_pop_area(&stock->lists[nr_pages], guard + 1);
		stock_get_frames(stock, guard + 1, nr_pages);
		publish(stock, guard, kind, nr_pages, caller);
		irq_restore(flags);
		return (void *)va;
	}
	irq_restore(flags);
	return alloc_slow(nr_pages, kind, caller);
}

void *vmalloc(u64 bytes)
{
	void *p = new_alloc(bytes, VM_ALLOC, CALLER());

	return CHECKING && p ? memset(p, JUNK, ALIGN_UP(bytes, PAGE_SIZE)) : p;
}

void *vzalloc(u64 bytes)
{
	void *p = new_alloc(bytes, VM_ALLOC, CALLER());

	return p ? memset(p, 0, bytes) : NULL;
}

/* What vmap must not show: frames that are nobody's, or whose protection it would get round. */
#define HIDDEN_STATES (1u << PG_FREE | 1u << PG_STOCK | 1u << PG_RESERVED | 1u << PG_TABLE)

struct pages {
	struct page **page;
	u64 nr;
	pgprot_t prot;
};

/* Returns how many, from the first on, are mapped now. */
static inline u64 show_pages(pte_t *entry, struct page **page, u64 nr, pgprot_t prot)
{
	u64 leaf = pte_make_leaf(paddr(0), 1, prot).v, first = (vaddr_t)pfn_to_page(0);
	s64 i = -(s64)nr;

	entry += nr, page += nr;
	do {
		if (unlikely(1u << page[i]->state & HIDDEN_STATES))
			break;
		pte_set(&entry[i], (pte_t){ leaf + ((vaddr_t)page[i] - first) *
							   (PAGE_SIZE / sizeof(struct page)) });
	} while (++i);
	return nr + i;
}

static vaddr_t map_pages(vaddr_t va, pte_t *entry, vaddr_t end, const void *what, irqflags_t *flags)
{
	const struct pages *pages = what;
	struct page **page = pages->page;

	for (u64 nr, done; va < end; va += nr << PAGE_SHIFT, page += nr) {
		nr = in_table(va, end);
		done = show_pages(window_entry(va), page, nr, pages->prot);
		if (done < nr)
			return va + (done << PAGE_SHIFT);
		let_interrupts_in(flags);
	}
	(void)entry;
	return end;
}

static noinline void *vmap_slow(struct page **page, u64 nr_pages, pgprot_t prot, vaddr_t caller)
{
	struct pages pages = { page, nr_pages, prot };

	if (prot != PAGE_KERNEL && prot != PAGE_KERNEL_RO)
		return NULL;
	return new_area((struct request){ nr_pages, VM_MAP, caller, map_pages, &pages });
}

void *vmap(struct page **page, u64 nr_pages, pgprot_t prot)
{
	irqflags_t flags = irq_save();
	struct vm_stock *stock = this_stock();
	pte_t *guard;
	vaddr_t va = at_hand(stock, nr_pages, &guard);

	if (unlikely(!va || (prot != PAGE_KERNEL && prot != PAGE_KERNEL_RO))) {
		irq_restore(flags);
		return vmap_slow(page, nr_pages, prot, CALLER());
	}
	stock_pop_area(&stock->lists[nr_pages], guard + 1);
	if (likely(show_pages(guard + 1, page, nr_pages, prot) == nr_pages)) {
		publish(stock, guard, VM_MAP, nr_pages, CALLER());
	} else {
		pte_clear(guard + 1, nr_pages);
		stock_put_area(stock, va, guard + 1, nr_pages);
		va = 0;
	}
	irq_restore(flags);
	return (void *)va;
}

/* Freeing */

/* Say what this is instead of the start of an area that the call could free. */
static _Noreturn void bad_pointer(const char *call, vaddr_t va)
{
	const char *what, *advice;
	struct vm_area area;

	if (!is_vmalloc_addr((void *)va))
		panic("%s: 0x%lx is not in the vmalloc window\n  which is 0x%lx-0x%lx\n"
		      "  pass what vmalloc or vmap returned (kmalloc's pointers go to kfree)",
		      call, va, VMALLOC_START, VMALLOC_END);
	if (!find_vm_area(va, &area))
		panic("%s: 0x%lx lies in no area\n  it was never allocated, or freed and flushed "
		      "since\n  look for a second %s of this pointer",
		      call, va, call);
	if (va != area.start) {
		what = "is not the start of an area";
		advice = va < area.start ? "that is its guard; pass what its allocation returned" :
					   "pass the pointer that its allocation returned";
	} else if (area.kind == VM_FREED) {
		what = "is freed already, and waits for the flush";
		advice = "look for a second free of this pointer";
	} else {
		what = "is an area of another kind";
		advice = area.kind == VM_MAP ? "give it back with vunmap" :
					       "give it back with vfree";
	}
	panic("%s: 0x%lx %s\n  it lies in page %ld of %lu of 0x%lx-0x%lx, %s by %pS\n  %s", call,
	      va, what, (s64)(va - area.start) >> PAGE_SHIFT, area.nr_pages, area.start,
	      vm_area_end(&area), vm_kind_name(area.kind),
	      (void *)(address_map.image + area.caller), advice);
}

/* Of all who try to free an area, one changes its descriptor. */
static inline bool claim(pte_t *guard, pte_t was, enum vm_kind kind)
{
	return (was.v & AREA_KIND_BITS) == AREA_KIND(kind) &&
	       pte_replace(guard, was, (pte_t){ was.v ^ AREA_KIND(kind) ^ AREA_KIND(VM_FREED) });
}

static inline void uncount(struct vm_stock *stock, u64 nr_pages)
{
	stock->areas--;
	stock->used -= nr_pages;
}

static noinline void settle_if_due(void)
{
	if (stock_due(this_stock()) && !in_interrupt())
		stock_settle(false);
}

/* Any pointer, any size. */
static noinline void free_any(const char *call, vaddr_t va, enum vm_kind kind)
{
	irqflags_t flags = irq_save();
	pte_t *guard = IS_ALIGNED(va, PAGE_SIZE) ? window_entry(va - PAGE_SIZE) : NULL;
	pte_t was = guard ? pte_get(guard) : (pte_t){ 0 };
	u64 nr_pages = was.v >> AREA_PAGES_SHIFT;

	if (!guard || !claim(guard, was, kind)) {
		irq_restore(flags);
		bad_pointer(call, va);
	}
	uncount(this_stock(), nr_pages);
	put_area(va, guard, nr_pages, va + (nr_pages << PAGE_SHIFT), owns_frames(kind), &flags);
	irq_restore(flags);
	settle_if_due();
}

static inline __attribute__((always_inline)) void free_area(const char *call, vaddr_t va,
							    enum vm_kind kind)
{
	irqflags_t flags = irq_save();
	struct vm_stock *stock = this_stock();
	pte_t *guard = IS_ALIGNED(va, PAGE_SIZE) ? window_entry_cached(va - PAGE_SIZE) : NULL;
	pte_t was = guard ? pte_get(guard) : (pte_t){ 0 };
	u64 nr_pages = was.v >> AREA_PAGES_SHIFT;

	if (likely(guard && nr_pages < STOCK_SIZES && in_one_table(guard, nr_pages + 1) &&
		   (!owns_frames(kind) || stock_can_put(stock, nr_pages)) &&
		   claim(guard, was, kind))) {
		if (owns_frames(kind))
			stock_put_frames(stock, guard + 1, nr_pages);
		else
			pte_clear(guard + 1, nr_pages);
		stock_put_area(stock, va, guard + 1, nr_pages);
		uncount(stock, nr_pages);
		irq_restore(flags);
		if (unlikely(stock_due(stock)))
			settle_if_due();
		return;
	}
	irq_restore(flags);
	free_any(call, va, kind);
}

void vfree(const void *p)
{
	if (p)
		free_area("vfree", (vaddr_t)p, VM_ALLOC);
}

void vunmap(const void *p)
{
	if (p)
		free_area("vunmap", (vaddr_t)p, VM_MAP);
}

u64 vm_unmap_aliases(void)
{
	return stock_drain();
}

/* Looking */

static noinline struct page *lookup_page(vaddr_t va)
{
	irqflags_t flags = irq_save();
	struct page *page = NULL;
	struct mapping m;

	if (is_vmalloc_addr((void *)va) && pt_lookup(&kernel_pt, va, &m))
		page = pfn_to_page(paddr_to_pfn(m.pa) + ((va - m.va) >> PAGE_SHIFT));
	window_entry(va); /* next time it is remembered */
	irq_restore(flags);
	return page;
}

struct page *vmalloc_to_page(const void *p)
{
	irqflags_t flags = irq_save();
	pte_t *entry = window_entry_cached((vaddr_t)p), pte = { entry ? pte_get(entry).v : 0 };

	irq_restore(flags);
	if (unlikely(!pte_present(pte)))
		return lookup_page((vaddr_t)p);
	return pfn_to_page(paddr_to_pfn(pte_paddr(pte, 1)));
}

void vmalloc_stats(struct vmalloc_stats *stats)
{
	u64 largest = vmwindow_largest(&vmalloc_window);
	struct stock_stats stock;

	stock_stats(&stock);
	*stats = (struct vmalloc_stats){
		.window = (VMALLOC_END - VMALLOC_START + 1) >> PAGE_SHIFT,
		.areas = stock.live,
		.used = stock.used,
		.freed_areas = stock.areas,
		.waiting = stock.waiting,
		.frames = stock.frames,
		.free = vmalloc_window.pages_free,
		.largest = largest ? largest - 1 : 0,
	};
}

void vmalloc_init(void)
{
	if (vmwindow_init(&vmalloc_window, VMALLOC_START, VMALLOC_END + 1) || stock_init(0))
		panic("vmalloc: no memory for the window's first node\n  the machine has too little RAM");
	register_shrinker(stock_drain);
}
