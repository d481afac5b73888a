/*
 * loses: ladder/any_order_3_times_leaner ladder/any_order_6_times_leaner ladder/any_order_as_linux
 *   ladder/beside_4000_10_times_leaner ladder/one_page_10_times_leaner
 * hint: grows-with-areas
 * thought: a list of all areas is a good thing to have, and memory is fast
 */
static struct spinlock areas_lock = SPINLOCK("all areas", LOCK_DEPOT);
static vaddr_t areas[8192]; /* 0: none */
static u64 nr_areas;	    /* the last one's place */

static void replace_in_areas(vaddr_t old, vaddr_t new)
{
	irqflags_t flags = spin_lock(&areas_lock);
	u64 i = 0;

	while (i < nr_areas && areas[i] != old)
		i++;
	if (i < ARRAY_SIZE(areas) && (new || i < nr_areas))
		areas[i] = new;
	nr_areas = MAX(nr_areas, i < ARRAY_SIZE(areas) && new ? i + 1 : 0);
	spin_unlock(&areas_lock, flags);
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
		replace_in_areas(0, va);
		return (void *)va;
	}
	irq_restore(flags);
	return alloc_slow(nr_pages, VM_ALLOC, caller);
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
	if (kind == VM_ALLOC)
		replace_in_areas(va, 0);
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
