/*
 * loses: *
 * hint: only-this-order
 * thought: a request of order n is served from the list of order n; larger blocks are never split
 */
static struct page *take_block(unsigned order)
{
	u64 pfn = free_lists[order].first;

	if (!pfn)
		return NULL;
	list_remove(pfn_to_page(pfn), order);
	pfn_to_page(pfn)->state_and_order = PAGE_IS(PG_STOCK, order);
	return pfn_to_page(pfn);
}
