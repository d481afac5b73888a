/*
 * loses: tlb/tables_are_kept_until_it_is_over
 * hint: table-freed-early
 * thought: free them, flush, done; but meanwhile another CPU walks a table that is somebody's frame
 */
u64 tlb_free_tables(void)
{
	irqflags_t flags = spin_lock(&tlb_lock);
	u64 pfn = tables, flush = unlinked, nr;

	tables = 0;
	spin_unlock(&tlb_lock, flags);
	for (nr = 0; pfn; nr++) {
		struct page *page = pfn_to_page(pfn);

		pfn = page->next;
		page_alloc_tables.put(page_address(page));
	}
	tlb_flush(flush);
	__atomic_sub_fetch(&counts.tables_waiting, nr, __ATOMIC_RELAXED);
	return nr;
}
