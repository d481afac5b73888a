/*
 * loses: page_alloc/misuse
 * hint: put-refuses-nothing
 * thought: who calls me knows what they do; but two may free one block at the same time
 */
static bool put_block(struct page *page, unsigned order)
{
	struct page *buddy;

	page->state = PG_TAIL;
	for (; (buddy = free_buddy(page_to_pfn(page), order)); order++) {
		list_remove(buddy, order);
		page = MIN(page, buddy);
	}
	list_add(page, order);
	return true;
}
