/*
 * loses: family/each_kind_is_freed_by_each_road ladder/any_order_3_times_leaner
 *   ladder/any_order_6_times_leaner ladder/any_order_as_linux ladder/any_size_10_times_leaner
 *   ladder/any_size_3_times_leaner ladder/any_size_as_linux ladder/beside_4000_10_times_leaner
 *   ladder/beside_4000_3_times_leaner ladder/beside_4000_as_linux
 *   ladder/nothing_is_used_again_before_its_flush ladder/one_page_10_times_leaner
 *   ladder/one_page_3_times_leaner ladder/one_page_as_linux ladder/pages_16_10_times_leaner
 *   ladder/pages_16_3_times_leaner ladder/pages_16_as_linux shootdown/vfree_by_two_at_once
 *   vmalloc/many_areas_any_order
 * hint: no-descriptor
 * thought: addresses and frames are there; the rest is for people to read
 */
static inline __attribute__((always_inline)) void *alloc_fast(u64 bytes, vaddr_t caller)
{
	u64 nr_pages = pages_for(bytes);
	irqflags_t flags = irq_save();
	struct vm_stock *stock = this_stock();
	vaddr_t va;
	pte_t *guard;

	if (likely(nr_pages <= stock_can_get(stock) && (guard = at_hand(stock, nr_pages, &va)))) {
		stock_get_frames(stock, guard + 1, nr_pages);
		(void)caller;
		irq_restore(flags);
		return (void *)va;
	}
	irq_restore(flags);
	return alloc_slow(nr_pages, VM_ALLOC, caller);
}
