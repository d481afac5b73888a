/*
 * loses: check/clean_to_begin_with page_alloc/coalesce page_alloc/exhaust
 * hint: not-merged
 * thought: merge with the buddy; but the larger block may have a free buddy, too
 */
static bool put_block(struct page *page, unsigned order)
{
	struct page *buddy;

	if (!page_claim(page, order, PG_STOCK, PG_TAIL))
		return false;
	buddy = free_buddy(page_to_pfn(page), order);
	if (buddy) {
		list_remove(buddy, order);
		page = MIN(page, buddy);
		order++;
	}
	list_add(page, order);
	return true;
}
