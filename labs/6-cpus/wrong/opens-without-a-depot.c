/*
 * loses: tlb/large_areas_go_to_the_depot
 * hint: nothing-for-others
 * thought: what is ready stays here; but what this CPU did not need may be what another one is short of
 */
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

		list->nr.ready = list->nr.closed;
	}
}
