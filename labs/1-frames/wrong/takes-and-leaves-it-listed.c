/*
 * loses: *
 * hint: took-and-left-listed
 * thought: the block is found and marked; but the list still has it, and gives it to the next, too
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
	while (from-- > order)
		list_add(pfn_to_page(pfn + (1ul << from)), from);
	pfn_to_page(pfn)->state_and_order = PAGE_IS(PG_STOCK, order);
	return pfn_to_page(pfn);
}
