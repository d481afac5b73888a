/*
 * loses: shootdown/what_comes_later_waits_longer tlb/a_full_ring_loses_nothing
 *   tlb/a_settled_stock_is_small tlb/closed_batch_waits_for_its_own_flush
 *   tlb/full_batch_flushes_itself tlb/large_areas_go_to_the_depot
 * hint: not-released never-flushed
 * thought: ready is moved, and that is all; but as long as flush has a number no other batch is closed
 */
static void open_batch(struct vm_stock *stock)
{
	if (!stock->flush || !tlb_flushed(stock->flush))
		return;
	stock->batch = MIN((stock->mask + 1) / 2, nr_free_pages() / (4ul * nr_cpus()));
	stock->frames.ready = stock->frames.closed;
	stock->pages.ready = stock->pages.closed;
	for (u64 i = 0; i < STOCK_LISTS; i++) {
		struct area_list *list = &stock->lists[i];

		if (list->nr.ready == list->nr.closed)
			continue;
		if (nr_ready(list) > (i < STOCK_SIZES ? BULK : 0))
			move(list, &depot[i], nr_ready(list));
		list->nr.ready = list->nr.closed;
	}
}
