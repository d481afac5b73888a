/*
 * loses: check/clean_to_begin_with page_alloc/bulk page_alloc/coalesce page_alloc/fail_nth
 *   page_alloc/freed_in_interrupts page_alloc/misuse page_alloc/no_buddy_in_a_hole
 *   page_alloc/orders page_alloc/random_blocks
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
