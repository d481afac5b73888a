/*
 * loses: tlb/a_full_ring_loses_nothing tlb/a_settled_stock_is_small
 * hint: keeps-frames
 * thought: the batch is ready, that was it; but more frames than two batches are of no use here
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
	if (full || stock_due(stock)) {
		close_batch(NULL);
		number = tlb_mode == TLB_EAGER ? tlb_next_flush() : stock->flush;
		irq_restore(flags);
		tlb_flush(number);
		flags = irq_save();
		open_batch(stock);
	}
	irq_restore(flags);
	for (u64 i = tlb_next_flush() % 16; i < STOCK_LISTS; i += 16) /* by turns; large: tables */
		trim(&depot[i], i < STOCK_SIZES ? DEPOT_MAX : BULK);
}
