/*
 * loses: shootdown/who_does_not_answer_holds_up_reuse tlb/a_full_ring_loses_nothing
 *   tlb/a_settled_stock_is_small tlb/full_batch_flushes_itself tlb/large_areas_go_to_the_depot
 * hint: never-flushed full-is-ignored
 * thought: close, then open; but between the two every CPU must flush
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
		(void)number;
		flags = irq_save();
		open_batch(stock);
	}
	irq_restore(flags);
	return_frames(stock, MIN(2 * stock->batch, stock->mask / 4 * 3));
	for (u64 i = tlb_next_flush() % 16; i < STOCK_LISTS; i += 16) /* by turns; large: tables */
		trim(&depot[i], i < STOCK_SIZES ? DEPOT_MAX : BULK);
}
