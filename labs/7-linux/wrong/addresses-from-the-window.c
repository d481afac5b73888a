/*
 * loses: ladder/any_order_3_times_leaner ladder/any_order_6_times_leaner
 *   ladder/any_size_10_times_leaner ladder/beside_4000_10_times_leaner
 *   ladder/beside_4000_3_times_leaner ladder/one_page_10_times_leaner
 *   ladder/one_page_3_times_leaner ladder/pages_16_10_times_leaner
 * hint: the-window
 * thought: frames are what costs; addresses are only numbers
 */
/* Lowest first, as ever; in a batch those that are free go back. */
vaddr_t stock_get_area(u64 nr_pages)
{
	return window_get(nr_pages, PAGE_SIZE, VMALLOC_START, VMALLOC_END);
}

static inline __attribute__((always_inline)) void *alloc_fast(u64 bytes, vaddr_t caller)
{
	return alloc_slow(pages_for(bytes), VM_ALLOC, caller);
}
