/*
 * loses: tlb/a_settled_stock_is_small
 * hint: batch-as-ever
 * thought: the batch is as large as ever; but memory may have become short, and what waits cannot be used
 */
static void open_batch(struct vm_stock *stock)
{
	if (!stock->flush || !tlb_flushed(stock->flush))
		return;
	stock->flush = 0;
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
