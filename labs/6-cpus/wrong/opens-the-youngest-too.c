/*
 * loses: shootdown/what_comes_later_waits_longer
 * hint: younger-too
 * thought: a flush was done, so all that waits is ready; but some of it was freed after the batch was closed
 */
static void open_batch(struct vm_stock *stock)
{
	if (!stock->flush || !tlb_flushed(stock->flush))
		return;
	stock->flush = 0;
	stock->batch = MIN((stock->mask + 1) / 2, nr_free_pages() / (4ul * nr_cpus()));
	stock->frames.ready = stock->frames.tail;
	stock->pages.ready = stock->pages.tail;
	for (u64 i = 0; i < STOCK_LISTS; i++) {
		struct area_list *list = &stock->lists[i];

		if (list->nr.ready == list->nr.closed)
			continue;
		if (nr_ready(list) > (i < STOCK_SIZES ? BULK : 0))
			move(list, &depot[i], nr_ready(list));
		list->nr.ready = list->nr.closed;
	}
}
