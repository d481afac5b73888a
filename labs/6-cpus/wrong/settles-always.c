/*
 * loses: *
 * hint: flushes-at-every-free
 * thought: what was freed is to be flushed, so flush; but that costs an interrupt of each CPU for every vfree
 */
void stock_settle(bool full)
{
	struct vm_stock *stock = this_stock();
	irqflags_t flags;
	u64 number;

	if (in_interrupt() && !full)
		return;
	vm_free_deferred();
	flags = irq_save();
	open_batch(stock);
	if (true) {
		close_batch(NULL);
		number = stock->flush;
		irq_restore(flags);
		tlb_flush(number);
		flags = irq_save();
		open_batch(stock);
	}
	irq_restore(flags);
	return_frames(stock, MIN(2 * stock->batch, stock->mask / 4 * 3));
	trim(&depot[tlb_next_flush() % STOCK_LISTS], DEPOT_MAX); /* one after the other */
}
