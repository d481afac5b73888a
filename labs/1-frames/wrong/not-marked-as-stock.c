/*
 * loses: *
 * hint: not-stock
 * thought: the block is off the list, so it is done; but its struct page still says what it was
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
	while (from-- > order)
		list_add(pfn_to_page(pfn + (1ul << from)), from);
	return pfn_to_page(pfn);
}
