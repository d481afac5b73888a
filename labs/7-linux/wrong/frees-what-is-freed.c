/*
 * loses: family/each_kind_is_freed_by_each_road family/vfree_in_an_interrupt
 *   shootdown/vfree_by_two_at_once
 * hint: claim
 * thought: the descriptor is changed in one atomic step, so only one can do it
 */
/* Of all who try to free an area, the one that changes its descriptor goes on. */
inline __attribute__((always_inline)) void vm_free_area(vaddr_t va, enum vm_kind kind)
{
	irqflags_t flags = irq_save();
	struct vm_stock *stock = this_stock();
	pte_t *guard = IS_ALIGNED(va, PAGE_SIZE) ? window_entry(va - PAGE_SIZE) : NULL;
	pte_t was = guard ? pte_get(guard) : (pte_t){ 0 };
	u64 nr_pages = was.v >> AREA_PAGES_SHIFT, swap = AREA_KIND(kind) ^ AREA_KIND(VM_FREED);

	if (unlikely(!guard || !pte_replace(guard, was, (pte_t){ was.v ^ swap }))) {
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
