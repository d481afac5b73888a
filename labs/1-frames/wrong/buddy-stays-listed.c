/*
 * loses: *
 * hint: counted-twice
 * thought: merging makes one block of two; but its buddy still hangs in the smaller list
 */
static bool put_block(struct page *page, unsigned order)
{
	struct page *buddy;

	if (!page_claim(page, order, PG_STOCK, PG_TAIL))
		return false;
	for (; (buddy = free_buddy(page_to_pfn(page), order)); order++) {
		buddy->state = PG_TAIL;
		page = MIN(page, buddy);
	}
	list_add(page, order);
	return true;
}
