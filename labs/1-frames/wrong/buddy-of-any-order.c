/*
 * loses: *
 * hint: not-on-this-list
 * thought: the buddy is free, so the two can merge; but only a part of it may be one block
 */
static struct page *free_buddy(u64 pfn, unsigned order)
{
	u64 buddy = pfn ^ (1ul << order);

	if (order == MAX_ORDER || !pfn_valid(buddy))
		return NULL;
	return pfn_to_page(buddy)->state == PG_FREE ? pfn_to_page(buddy) : NULL;
}
