/*
 * loses: shootdown/no_address_is_reused_before shootdown/no_frame_is_reused_before
 *   shootdown/pruned_tables_are_forgotten shootdown/range_is_flushed
 *   shootdown/what_comes_later_waits_longer shootdown/who_does_not_answer_holds_up_reuse
 *   tlb/a_full_ring_loses_nothing tlb/a_settled_stock_is_small
 *   tlb/closed_batch_waits_for_its_own_flush tlb/full_batch_flushes_itself
 *   tlb/large_areas_go_to_the_depot tlb/stale_until_flushed
 * hint: not-released
 * thought: all that waits is the batch, as often as somebody flushes; but then its flush is always the next one
 */
static void close_batch(void *anew)
{
	struct vm_stock *stock = this_stock();

	(void)anew;
	stock->frames.closed = stock->frames.tail;
	stock->pages.closed = stock->pages.tail;
	for (u64 i = 0; i < STOCK_LISTS; i++)
		stock->lists[i].nr.closed = stock->lists[i].nr.tail;
	stock->flush = tlb_next_flush();
}
