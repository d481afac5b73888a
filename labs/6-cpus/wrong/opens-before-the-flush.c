/*
 * loses: tlb/closed_batch_waits_for_its_own_flush
 * hint: opened-early
 * thought: a batch is closed, so it can be opened; but its flush is still to come
 */
static void open_batch(struct vm_stock *stock)
{
	if (!stock->flush)
		return;
	stock->flush = 0;
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
