/*
 * loses: family/vfree_in_an_interrupt
 * hint: in-interrupt
 * thought: a batch is full, whoever fills it
 */
void stock_settle(bool full)
{
	struct vm_stock *stock = this_stock();
	irqflags_t flags;
	u64 number;

	(void)full;
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
	return_frames(stock, MIN(2 * stock->batch, stock->mask / 4 * 3));
	for (u64 i = tlb_next_flush() % 16; i < STOCK_LISTS; i += 16) /* by turns; large: tables */
		trim(&depot[i], i < STOCK_SIZES ? DEPOT_MAX : BULK);
}
