/*
 * loses: shootdown/what_comes_later_waits_longer tlb/full_batch_flushes_itself
 * hint: half-a-batch not-opened
 * thought: frames and lists are ready, and pages is only a count; but by it one sees whether a flush is due
 */
static void open_batch(struct vm_stock *stock)
{
	if (!stock->flush || !tlb_flushed(stock->flush))
		return;
	stock->flush = 0;
	stock->batch = MIN((stock->mask + 1) / 2, nr_free_pages() / (4ul * nr_cpus()));
	stock->frames.ready = stock->frames.closed;
	for (u64 i = 0; i < STOCK_LISTS; i++) {
		struct area_list *list = &stock->lists[i];

		if (list->nr.ready == list->nr.closed)
			continue;
		if (nr_ready(list) > (i < STOCK_SIZES ? BULK : 0))
			move(list, &depot[i], nr_ready(list));
		list->nr.ready = list->nr.closed;
	}
}
