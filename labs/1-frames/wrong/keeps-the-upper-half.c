/*
 * loses: *
 * hint: not-aligned
 * thought: the merged block begins where the freed one did; wrong where the buddy lies below
 */
static bool put_block(struct page *page, unsigned order)
{
	struct page *buddy;

	if (!page_claim(page, order, PG_STOCK, PG_TAIL))
		return false;
	for (; (buddy = free_buddy(page_to_pfn(page), order)); order++)
		list_remove(buddy, order);
	list_add(page, order);
	return true;
}
