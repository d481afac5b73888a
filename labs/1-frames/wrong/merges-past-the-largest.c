/*
 * loses: check/clean_to_begin_with page_alloc/exhaust page_alloc/shrinkers
 * hint: order-11
 * thought: a block merges for as long as its buddy is free; there is no list for order 11
 */
static struct page *free_buddy(u64 pfn, unsigned order)
{
	u64 buddy = pfn ^ (1ul << order);
	struct page *page = pfn_to_page(buddy);

	if (!pfn_valid(buddy))
		return NULL;
	return page->state == PG_FREE && page->order == order ? page : NULL;
}
