/*
 * loses: page_alloc/no_buddy_in_a_hole
 * hint: hole
 * thought: every frame number has a struct page; those of holes are not even mapped
 */
static struct page *free_buddy(u64 pfn, unsigned order)
{
	struct page *page = pfn_to_page(pfn ^ (1ul << order));

	if (order == MAX_ORDER)
		return NULL;
	return page->state == PG_FREE && page->order == order ? page : NULL;
}
