/*
 * loses: tlb/large_areas_go_to_the_depot
 * hint: full-is-ignored
 * thought: release the batch, then give the depot what is too much; but that is just what came last, and is wanted next
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

		if (list->nr.ready == list->nr.closed)
			continue;
		list->nr.ready = list->nr.closed;
		if (nr_ready(list) > (i < STOCK_SIZES ? BULK : 0))
			move(list, &depot[i], nr_ready(list));
	}
}
