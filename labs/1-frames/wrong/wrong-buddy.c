/*
 * loses: *
 * hint: not-aligned
 * thought: the buddy is the block that comes next in memory; right for every other block
 */
static struct page *free_buddy(u64 pfn, unsigned order)
{
	u64 buddy = pfn + (1ul << order);
	struct page *page = pfn_to_page(buddy);

	if (order == MAX_ORDER || !pfn_valid(buddy))
		return NULL;
	return page->state == PG_FREE && page->order == order ? page : NULL;
}
