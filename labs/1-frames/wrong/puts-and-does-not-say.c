/*
 * loses: page_alloc/misuse
 * hint: put-refuses-nothing
 * thought: a block that is none is not put anywhere; but whoever asked is told that all is well
 */
static bool put_block(struct page *page, unsigned order)
{
	struct page *buddy;

	if (!page_claim(page, order, PG_STOCK, PG_TAIL))
		return true;
	for (; (buddy = free_buddy(page_to_pfn(page), order)); order++) {
		list_remove(buddy, order);
		page = MIN(page, buddy);
	}
	list_add(page, order);
	return true;
}
