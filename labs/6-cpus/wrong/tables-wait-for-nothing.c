/*
 * loses: tlb/tables_are_kept_until_it_is_over tlb/tables_wait_for_a_flush
 * hint: no-number
 * thought: the table is in the list; but nobody knows which flush it waits for
 */
void tlb_defer_table(pte_t *table)
{
	struct page *page = virt_to_page(table);
	irqflags_t flags = spin_lock(&tlb_lock);

	page->next = tables;
	tables = page_to_pfn(page);
	__atomic_add_fetch(&counts.tables_waiting, 1, __ATOMIC_RELAXED);
	spin_unlock(&tlb_lock, flags);
}
