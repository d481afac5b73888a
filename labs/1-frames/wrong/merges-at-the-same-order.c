/*
 * loses: *
 * hint: order-not-raised
 * thought: the loop goes on with the merged block; but it is of the next order now
 */
static bool put_block(struct page *page, unsigned order)
{
	struct page *buddy;

	if (!page_claim(page, order, PG_STOCK, PG_TAIL))
		return false;
	while ((buddy = free_buddy(page_to_pfn(page), order))) {
		list_remove(buddy, order);
		page = MIN(page, buddy);
	}
	list_add(page, order);
	return true;
}
