/*
 * loses: check/clean_to_begin_with page_alloc/misuse page_alloc/orders
 * hint: inside-not-tail wrong-head not-merged
 * thought: what comes back is free; but the upper half of a merged block is no block any more
 */
static bool put_block(struct page *page, unsigned order)
{
	struct page *buddy;

	if (!page_claim(page, order, PG_STOCK, PG_FREE))
		return false;
	for (; (buddy = free_buddy(page_to_pfn(page), order)); order++) {
		list_remove(buddy, order);
		page = MIN(page, buddy);
	}
	list_add(page, order);
	return true;
}
