/*
 * loses: *
 * hint: took-as-allocated
 * thought: who takes a block has it allocated; but it is in stock until somebody owns it
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
	pfn_to_page(pfn)->state_and_order = PAGE_IS(PG_ALLOC, order);
	return pfn_to_page(pfn);
}
