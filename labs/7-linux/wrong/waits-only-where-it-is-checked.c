/*
 * loses: ladder/any_order_3_times_leaner ladder/any_order_6_times_leaner ladder/any_order_as_linux
 *   ladder/any_size_10_times_leaner ladder/any_size_3_times_leaner ladder/any_size_as_linux
 *   ladder/beside_4000_10_times_leaner ladder/beside_4000_3_times_leaner
 *   ladder/beside_4000_as_linux ladder/one_page_10_times_leaner ladder/one_page_3_times_leaner
 *   ladder/one_page_as_linux ladder/pages_16_10_times_leaner ladder/pages_16_3_times_leaner
 *   ladder/pages_16_as_linux
 * hint: no-flush
 * thought: waiting for the flush is for the kernel that checks itself; the fast one need not
 */
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
	if (!CHECKING) {
		stock_list(stock, nr_pages)->nr.ready++;
		stock->pages.ready += nr_pages;
		if (owns_frames(kind))
			stock->frames.ready += nr_pages;
	}
	irq_restore(flags);
	if (unlikely(stock_due(stock)))
		stock_settle(false);
}
