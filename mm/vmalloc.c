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
 * the CPU ignores all but bit 0 (SDM 3A 4.5), so the guard's entry holds the area's descriptor
 * (vmalloc.h). There is no other list of areas: whoever can read page tables (vmallocinfo, the fault
 * report, a debugger) can read who asked for what.
 *
 *	vmalloc	take addresses and frames of this CPU's stock (vmstock.c), copy the frames' entries
 *		into the page table, write the descriptor.
 *	vfree	claim the area by one atomic change of its descriptor, so that of two CPUs that free
 *		it only one can go on; copy the entries out of the page table and clear them. Frames
 *		and addresses now wait in this CPU's stock for a flush of all TLBs (tlb.c).
 *
 * The fast way is both of these for an area in one page table. All else goes the long way: it asks
 * for addresses, fills them, and if that ends half-way takes vfree's road back, which needs no
 * memory. There an area whose entries are not plain (vmap.c) gets plain ones before its frames go
 * to the stock. In an interrupt nobody can wait for a flush: what would need one is deferred.
 */
#include <mm/vmstock.h>

bool window_next(vaddr_t *va, bool up, pte_t *pte, int *level)
{
	irqflags_t flags = irq_save(); /* tables that we see stay until we let a flush in */
	pte_t *entry = up ? pt_next(&kernel_pt, va, VMALLOC_END, level) :
			    pt_prev(&kernel_pt, va, VMALLOC_START, level);

	*pte = entry ? pte_get(entry) : (pte_t){ 0 };
	irq_restore(flags);
	return entry;
}

/* The nearest area whose guard lies at or before, or at or behind, this page. */
static bool search(vaddr_t at, bool up, struct vm_area *area)
{
	pte_t pte;

	for (int level; window_next(&at, up, &pte, &level);
	     at += up ? level_bytes(level) : -PAGE_SIZE)
		if (vm_area_decode(pte, at, area))
			return true;
	return false;
}

bool find_vm_area(vaddr_t va, struct vm_area *area)
{
	return is_vmalloc_addr((void *)va) && search(ALIGN_DOWN(va, PAGE_SIZE), false, area) &&
	       va < vm_area_end(area);
}

bool next_vm_area(vaddr_t va, struct vm_area *area)
{
	return search(ALIGN_DOWN(MAX(va, VMALLOC_START + PAGE_SIZE) - 1, PAGE_SIZE), true, area);
}

/* Areas. Interrupts are masked for the pages of one table at a time. */

u64 vm_fill_stock(struct vm_request *rq, pte_t *entry, u64 nr)
{
	struct vm_stock *stock = this_stock();

	if (!stock_can_get(stock))
		stock_refill(stock, rq->nr_pages - rq->done);
	nr = MIN(nr, stock_can_get(stock));
	stock_get_frames(stock, entry, nr);
	return nr;
}

/* How many of these pages lie in one table. */
static u64 in_table(vaddr_t va, vaddr_t end)
{
	return MIN((end - va) >> PAGE_SHIFT, PT_ENTRIES - level_index(va, 1));
}

/* An area into the stock. note: its descriptor, VM_FREED; nr_mapped: of its pages, the first. */
static void put_area(vaddr_t va, pte_t note, u64 nr_mapped, bool own)
{
	vaddr_t end = va + (nr_mapped << PAGE_SHIFT);
	struct vm_stock *stock = this_stock();
	irqflags_t flags;

	if (note.v & AREA_MIXED)
		vm_make_plain(va, end);
	for (u64 at = va, nr; at < end; at += nr << PAGE_SHIFT) {
		flags = irq_save();
		nr = MIN(in_table(at, end), own ? stock_can_put(stock) : PT_ENTRIES);
		stock_unmap(stock, window_entry(at), nr, own);
		irq_restore(flags);
		if (!nr)
			stock_settle(true);
	}
	flags = irq_save();
	pte_set(window_entry(va - PAGE_SIZE), (pte_t){ note.v & ~AREA_MIXED });
	stock_put_area(stock, va, window_entry(va), note.v >> AREA_PAGES_SHIFT);
	irq_restore(flags);
}

static void *try_area(struct vm_request *rq)
{
	vaddr_t va = rq->align ? window_get(rq->nr_pages, rq->align, rq->lo, rq->hi) :
				 stock_get_area(rq->nr_pages);
	vaddr_t at = va, end = va + (rq->nr_pages << PAGE_SHIFT);
	irqflags_t flags;
	pte_t note;

	if (!va)
		return NULL;
	rq->va = va;
	rq->done = 0;
	for (u64 nr = 1; nr && at < end; at += nr << PAGE_SHIFT, rq->done += nr) {
		flags = irq_save();
		nr = rq->fill(rq, window_entry(at), in_table(at, end));
		irq_restore(flags);
	}
	note = vm_area_encode(at == end ? rq->kind : VM_FREED, rq->nr_pages, rq->caller);
	note.v |= rq->mixed ? AREA_MIXED : 0;
	if (at < end) {
		put_area(va, note, rq->done, owns_frames(rq->kind));
		return NULL;
	}
	pte_set(pt_entry(&kernel_pt, va - PAGE_SIZE), note);
	return (void *)va;
}

/* What is missing may be with other CPUs, or wait for a flush; an interrupt cannot wait. */
void *vm_new_area(struct vm_request *rq)
{
	const struct vm_stock *stock = this_stock();
	bool wants_frames = owns_frames(rq->kind) && !rq->what;
	u64 most = wants_frames ? nr_frames : AREA_MAX_PAGES;
	void *p = NULL;

	if (wants_frames && in_interrupt()) /* were there too little, all would go into the ring */
		most = stock->mask + 1 - (stock->frames.tail - stock->frames.ready);
	if (rq->nr_pages - 1 >= most || (p = try_area(rq)) || in_interrupt())
		return p;
	vm_unmap_aliases();
	drain_all_pages();
	return wants_frames && rq->nr_pages > nr_free_pages() ? NULL : try_area(rq);
}

static u64 pages_for(u64 bytes)
{
	return (bytes >> PAGE_SHIFT) + !IS_ALIGNED(bytes, PAGE_SIZE);
}

static noinline void *alloc_slow(u64 nr_pages, enum vm_kind kind, vaddr_t caller)
{
	return vm_new_area(
		&(struct vm_request){ nr_pages, kind, .caller = caller, .fill = vm_fill_stock });
}

static inline __attribute__((always_inline)) void *alloc_fast(u64 bytes, vaddr_t caller)
{
	u64 nr_pages = pages_for(bytes);
	irqflags_t flags = irq_save();
	struct vm_stock *stock = this_stock();
	vaddr_t va;
	pte_t *guard;

	if (likely(nr_pages <= stock_can_get(stock) && (guard = at_hand(stock, nr_pages, &va)))) {
		stock_get_frames(stock, guard + 1, nr_pages);
		pte_set(guard, vm_area_encode(VM_ALLOC, nr_pages, caller));
		irq_restore(flags);
		return (void *)va;
	}
	irq_restore(flags);
	return alloc_slow(nr_pages, VM_ALLOC, caller);
}

static inline void *filled(void *p, u64 bytes, gfp_t gfp)
{
	if (p && (CHECKING || gfp & __GFP_ZERO))
		memset(p, gfp & __GFP_ZERO ? 0 : JUNK, ALIGN_UP(bytes, PAGE_SIZE));
	return p;
}

void *vmalloc(u64 bytes)
{
	return filled(alloc_fast(bytes, CALLER()), bytes, GFP_KERNEL);
}

void *__vmalloc(u64 bytes, gfp_t gfp)
{
	return filled(alloc_fast(bytes, CALLER()), bytes, gfp);
}

void *__vmalloc_range(u64 bytes, u64 align, vaddr_t lo, vaddr_t hi, gfp_t gfp, pgprot_t prot,
		      unsigned flags)
{
	bool huge = flags & VM_ALLOW_HUGE_VMAP && bytes >= level_bytes(2);
	u64 nr = pages_for(bytes);
	struct vm_request rq = { nr, VM_ALLOC, .caller = CALLER(), .lo = lo, .hi = hi };
	void *p = NULL;

	rq.align = huge ? MAX(align, level_bytes(2)) : align;
	rq.fill = huge ? vm_fill_huge : vm_fill_stock;
	if (align >= PAGE_SIZE && !(align & (align - 1)) && prot > PAGE_NONE &&
	    prot <= PAGE_KERNEL_ROX)
		p = filled(vm_new_area(&rq), bytes, gfp);
	if (p && prot != PAGE_KERNEL &&
	    (set_memory_ro((vaddr_t)p, nr) ||
	     (prot == PAGE_KERNEL_ROX && set_memory_x((vaddr_t)p, nr)))) {
		vm_free_area((vaddr_t)p, VM_ALLOC);
		return NULL;
	}
	return p;
}

void *alloc_kernel_stack(u64 bytes)
{
	return alloc_slow(pages_for(bytes), VM_STACK, CALLER());
}

/* Freeing */

static const char free_calls[][24] = {
	"", "vfree", "vunmap", "free_kernel_stack", "", "iounmap", "nothing: it is broken"
};

/* Say what this is instead of the start of an area that the call could free. */
static _Noreturn void bad_pointer(const char *call, vaddr_t va)
{
	const char *what = "is an area of another kind", *advice = "give it back with ";
	struct vm_area area;

	if (!is_vmalloc_addr((void *)va))
		panic("%s: 0x%lx is not in the vmalloc window\n"
		      "  pass what vmalloc or vmap returned (kmalloc's pointers go to kfree)",
		      call, va);
	if (!find_vm_area(va, &area))
		panic("%s: 0x%lx lies in no area\n"
		      "  it was never allocated, or freed and flushed since: look for a second free",
		      call, va);
	if (va != area.start) {
		what = "is not the start of an area";
		advice = va < area.start ? "that is its guard; pass what was returned for " :
					   "pass the pointer that was returned, for ";
	} else if (area.kind == VM_FREED) {
		what = "is freed already, and waits for the flush";
		advice = "look for a second free of this pointer";
	}
	panic("%s: 0x%lx %s\n  it lies in page %ld of %lu of 0x%lx-0x%lx, %s by %pS\n  %s%s", call,
	      va, what, (s64)(va - area.start) >> PAGE_SHIFT, area.nr_pages, area.start,
	      vm_area_end(&area), vm_kind_name(area.kind), area.caller, advice,
	      free_calls[MIN(area.kind, VM_NR_KINDS)]);
}

vaddr_t vm_deferred;

static vaddr_t *deferred_link(vaddr_t va)
{
	return (vaddr_t *)&vmalloc_to_page((void *)va)->next; /* and prev: both are free for it */
}

void vm_free_deferred(void)
{
	vaddr_t next, va = __atomic_exchange_n(&vm_deferred, 0, __ATOMIC_ACQUIRE);

	for (; va; va = next) {
		pte_t note = pte_get(pt_entry(&kernel_pt, va - PAGE_SIZE));

		next = *deferred_link(va);
		put_area(va, note, note.v >> AREA_PAGES_SHIFT, true);
	}
}

/* Its descriptor says VM_FREED, all is still mapped. */
static noinline void free_long(vaddr_t va, pte_t *guard, bool own_frames)
{
	pte_t note = pte_get(guard);
	u64 nr_pages = note.v >> AREA_PAGES_SHIFT;

	if (in_interrupt() && own_frames &&
	    (note.v & AREA_MIXED || nr_pages > stock_can_put(this_stock()))) {
		vaddr_t *link = deferred_link(va);

		while (!__atomic_compare_exchange_n(&vm_deferred, link, va, false, __ATOMIC_RELEASE,
						    __ATOMIC_RELAXED))
			continue;
	} else {
		put_area(va, note, nr_pages, own_frames);
	}
	if (stock_due(this_stock()))
		stock_settle(false);
}

/* Of all who try to free an area, the one that changes its descriptor goes on. */
inline __attribute__((always_inline)) void vm_free_area(vaddr_t va, enum vm_kind kind)
{
	irqflags_t flags = irq_save();
	struct vm_stock *stock = this_stock();
	pte_t *guard = IS_ALIGNED(va, PAGE_SIZE) ? window_entry(va - PAGE_SIZE) : NULL;
	pte_t was = guard ? pte_get(guard) : (pte_t){ 0 };
	u64 nr_pages = was.v >> AREA_PAGES_SHIFT, swap = AREA_KIND(kind) ^ AREA_KIND(VM_FREED);

	if (unlikely((was.v & AREA_KIND(15)) != AREA_KIND(kind) ||
		     !pte_replace(guard, was, (pte_t){ was.v ^ swap }))) {
		irq_restore(flags);
		bad_pointer(free_calls[kind], va);
	}
	if (unlikely(nr_pages >= STOCK_SIZES ||
		     level_index(va - PAGE_SIZE, 1) + nr_pages >= PT_ENTRIES ||
		     was.v & AREA_MIXED ||
		     (owns_frames(kind) && nr_pages > stock_can_put(stock)))) {
		irq_restore(flags);
		return free_long(va, guard, owns_frames(kind));
	}
	stock_unmap(stock, guard + 1, nr_pages, owns_frames(kind));
	stock_put_area(stock, va, guard + 1, nr_pages);
	irq_restore(flags);
	if (unlikely(stock_due(stock)))
		stock_settle(false);
}

void vfree(const void *p)
{
	if (p)
		vm_free_area((vaddr_t)p, VM_ALLOC);
}

void vunmap(const void *p)
{
	if (p)
		vm_free_area((vaddr_t)p, VM_MAP);
}

void free_kernel_stack(const void *stack)
{
	if (stack)
		vm_free_area((vaddr_t)stack, VM_STACK);
}

void *vrealloc(const void *p, u64 bytes, gfp_t gfp)
{
	struct vm_area area = { 0 }; /* no pages, if p is NULL */
	void *fresh;

	if (p &&
	    (!find_vm_area((vaddr_t)p, &area) || area.start != (vaddr_t)p || area.kind != VM_ALLOC))
		bad_pointer("vrealloc", (vaddr_t)p);
	if (bytes && pages_for(bytes) <= area.nr_pages)
		return (void *)p;
	fresh = filled(alloc_slow(pages_for(bytes), VM_ALLOC, CALLER()), bytes, gfp);
	if (fresh && p)
		memcpy(fresh, p, area.nr_pages << PAGE_SHIFT);
	if (fresh || !bytes)
		vfree(p);
	return fresh;
}

/* Looking */

static noinline struct page *lookup_page(vaddr_t va)
{
	irqflags_t flags = irq_save();
	struct mapping m;
	bool found = is_vmalloc_addr((void *)va) && pt_lookup(&kernel_pt, va, &m);

	window_entry(va); /* next time it is remembered */
	irq_restore(flags);
	return found ? pfn_to_page(paddr_to_pfn(m.pa) + ((va - m.va) >> PAGE_SHIFT)) : NULL;
}

/* An interrupt may forget the walk: so the table first, then whose it is. */
struct page *vmalloc_to_page(const void *p)
{
	u64 span = (vaddr_t)p >> 21;
	const volatile struct walk *walk = &walk_cache[cpu_id()][span & (WALK_CACHE - 1)];
	pte_t *table = walk->table, pte;

	if (likely(walk->span == span)) {
		pte = pte_get(&table[level_index((vaddr_t)p, 1)]);
		if (likely(pte_present(pte)))
			return pfn_to_page(paddr_to_pfn(pte_paddr(pte, 1)));
	}
	return lookup_page((vaddr_t)p);
}

void vmalloc_init(void)
{
	if (vmwindow_init(&vmalloc_window, VMALLOC_START, VMALLOC_END + 1) || stock_init(0))
		panic("vmalloc: no memory for the window's first node\n  the machine has too little RAM");
	register_shrinker(vm_unmap_aliases);
}
