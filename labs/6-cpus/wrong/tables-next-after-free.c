/*
 * loses: tlb/tables_are_kept_until_it_is_over
 * hint: next-after-free
 * thought: free it, then go to the next; but its link belongs to page_alloc by then
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

		page_alloc_tables.put(page_address(page));
		pfn = page->next;
	}
	__atomic_sub_fetch(&counts.tables_waiting, nr, __ATOMIC_RELAXED);
	return nr;
}
