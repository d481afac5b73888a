/*
 * loses: shootdown/pruned_tables_are_forgotten tlb/a_full_ring_loses_nothing
 *   tlb/a_settled_stock_is_small tlb/full_batch_flushes_itself tlb/tables_are_kept_until_it_is_over
 *   tlb/tables_wait_for_a_flush
 * hint: not-counted
 * thought: one more for each table that waits; but those that were given back do not wait any more
 */
u64 tlb_free_tables(void)
{
	irqflags_t flags = spin_lock(&tlb_lock);
	u64 pfn = tables, flush = unlinked, nr;

	tables = 0;
	spin_unlock(&tlb_lock, flags);
	tlb_flush(flush); /* also if another CPU has taken them, and frees them in a moment */
	for (nr = 0; pfn; nr++) {
		struct page *page = pfn_to_page(pfn);

		pfn = page->next;
		page_alloc_tables.put(page_address(page));
	}
	return nr;
}
