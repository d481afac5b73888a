/*
 * loses: ladder/any_order_6_times_leaner ladder/beside_4000_10_times_leaner
 *   ladder/one_page_10_times_leaner
 * hint: the-long-way
 * thought: there are stocks now, and the long way asks them, too
 */
/* The stocks have it at hand. */
static inline __attribute__((always_inline)) void *alloc_fast(u64 bytes, vaddr_t caller)
{
	return alloc_slow(pages_for(bytes), VM_ALLOC, caller);
}
