/*
 * loses: shootdown/no_address_is_reused_before shootdown/no_frame_is_reused_before
 *   shootdown/pruned_tables_are_forgotten shootdown/range_is_flushed
 *   shootdown/what_comes_later_waits_longer shootdown/who_does_not_answer_holds_up_reuse
 *   tlb/a_full_ring_loses_nothing tlb/a_settled_stock_is_small
 *   tlb/closed_batch_waits_for_its_own_flush tlb/full_batch_flushes_itself
 *   tlb/large_areas_go_to_the_depot tlb/stale_until_flushed
 * hint: half-a-batch
 * thought: what waits is the frames; but their addresses wait in the lists
 */
static void close_batch(void *anew)
{
	struct vm_stock *stock = this_stock();

	if (stock->flush && !anew)
		return;
	stock->frames.closed = stock->frames.tail;
	stock->pages.closed = stock->pages.tail;
	stock->flush = tlb_next_flush();
}
