/*
 * loses: *
 * hint: stock-refused
 * thought: what comes back was allocated, so it is PG_ALLOC; __free_pages has made it PG_STOCK by then
 */
static bool put_block(struct page *page, unsigned order)
{
	struct page *buddy;

	if (!page_claim(page, order, PG_ALLOC, PG_TAIL))
		return false;
	for (; (buddy = free_buddy(page_to_pfn(page), order)); order++) {
		list_remove(buddy, order);
		page = MIN(page, buddy);
	}
	list_add(page, order);
	return true;
}
