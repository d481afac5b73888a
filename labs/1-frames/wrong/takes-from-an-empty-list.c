/*
 * loses: page_alloc/exhaust page_alloc/shrinkers
 * hint: list-was-empty
 * thought: memory is never used up: the list that has something is found sooner or later
 */
static struct page *take_block(unsigned order)
{
	unsigned from = order;
	u64 pfn;

	while (from < MAX_ORDER && !free_lists[from].first)
		from++;
	pfn = free_lists[from].first;
	list_remove(pfn_to_page(pfn), from);
	while (from-- > order)
		list_add(pfn_to_page(pfn + (1ul << from)), from);
	pfn_to_page(pfn)->state_and_order = PAGE_IS(PG_STOCK, order);
	return pfn_to_page(pfn);
}
