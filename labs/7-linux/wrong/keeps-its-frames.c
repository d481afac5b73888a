/*
 * loses: family/each_kind_is_freed_by_each_road family/vfree_in_an_interrupt
 *   ladder/any_order_3_times_leaner ladder/any_order_6_times_leaner ladder/any_order_as_linux
 *   ladder/any_size_10_times_leaner ladder/any_size_3_times_leaner ladder/any_size_as_linux
 *   ladder/beside_4000_10_times_leaner ladder/beside_4000_3_times_leaner
 *   ladder/beside_4000_as_linux ladder/nothing_is_used_again_before_its_flush
 *   ladder/one_page_10_times_leaner ladder/one_page_3_times_leaner ladder/one_page_as_linux
 *   ladder/pages_16_10_times_leaner ladder/pages_16_3_times_leaner ladder/pages_16_as_linux
 *   ladder/pages_256_10_times_leaner ladder/pages_256_3_times_leaner ladder/pages_256_as_linux
 *   ladder/what_other_cpus_keep_is_given_back shootdown/vfree_by_two_at_once
 *   vmalloc/empty_tables_go_back vmalloc/every_failure_unwinds vmalloc/many_areas_any_order
 *   vmalloc/nearly_all_of_memory
 * hint: kept
 * thought: they will be needed again in a moment
 */
static void empty_here(void *unused)
{
	struct vm_stock *stock = this_stock();

	(void)unused;
	open_batch(stock);
	for (u64 i = 0; i < STOCK_LISTS; i++)
		move(&stock->lists[i], &depot[i], nr_ready(&stock->lists[i]));
}
