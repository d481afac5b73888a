/*
 * loses: *
 * hint: rest-is-lost
 * thought: halve until it fits; the other halves belong to nobody
 */
static struct page *take_block(unsigned order)
{
	unsigned from = order;
	u64 pfn;

	while (from <= MAX_ORDER && !free_lists[from].first)
		from++;
	if (from > MAX_ORDER)
		return NULL;
	pfn = free_lists[from].first;
	list_remove(pfn_to_page(pfn), from);
	pfn_to_page(pfn)->state_and_order = PAGE_IS(PG_STOCK, order);
	return pfn_to_page(pfn);
}
