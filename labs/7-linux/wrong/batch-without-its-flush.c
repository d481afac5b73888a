/*
 * loses: ladder/nothing_is_used_again_before_its_flush vmalloc/many_areas_any_order
 * hint: no-flush
 * thought: the batch is full, so it is closed, and opened; the number of its flush says when
 *   that was
 */
/* If it has: what was in the batch is ready. Of what was ready before, long lists go to others. */
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

void stock_settle(bool full)
{
	struct vm_stock *stock = this_stock();
	irqflags_t flags;

	if (in_interrupt() && !full)
		return;
	vm_free_deferred();
	flags = irq_save();
	open_batch(stock);
	if (full || stock_due(stock)) {
		close_batch(NULL);
		irq_restore(flags);
		flags = irq_save();
		open_batch(stock);
	}
	irq_restore(flags);
	return_frames(stock, MIN(2 * stock->batch, stock->mask / 4 * 3));
	for (u64 i = tlb_next_flush() % 16; i < STOCK_LISTS; i += 16) /* by turns; large: tables */
		trim(&depot[i], i < STOCK_SIZES ? DEPOT_MAX : BULK);
}
