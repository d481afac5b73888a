/*
 * loses: ladder/any_order_6_times_leaner ladder/any_size_10_times_leaner
 *   ladder/any_size_3_times_leaner ladder/any_size_as_linux ladder/beside_4000_10_times_leaner
 *   ladder/one_page_10_times_leaner ladder/pages_16_10_times_leaner ladder/pages_16_3_times_leaner
 *   ladder/pages_256_10_times_leaner ladder/pages_256_3_times_leaner ladder/pages_256_as_linux
 * hint: frames-go-back
 * thought: a stock is for addresses; frames are memory, and all but a few belong to page_alloc
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
	return_frames(stock, 32);
	for (u64 i = tlb_next_flush() % 16; i < STOCK_LISTS; i += 16) /* by turns; large: tables */
		trim(&depot[i], i < STOCK_SIZES ? DEPOT_MAX : BULK);
}
