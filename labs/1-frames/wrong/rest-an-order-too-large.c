/*
 * loses: *
 * hint: not-aligned
 * thought: off by one: the half of a block of order n is put on the list of order n
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
	for (; from > order; from--)
		list_add(pfn_to_page(pfn + (1ul << (from - 1))), from);
	pfn_to_page(pfn)->state_and_order = PAGE_IS(PG_STOCK, order);
	return pfn_to_page(pfn);
}
