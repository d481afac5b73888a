/*
 * loses: page_alloc/bulk page_alloc/misuse page_alloc/orders
 * hint: wrong-head
 * thought: a frame is the head of its block, or no head is known of it
 */
struct page *page_head(u64 pfn)
{
	struct page *page = pfn_valid(pfn) ? pfn_to_page(pfn) : NULL;

	return page && page->state != PG_TAIL ? page : NULL;
}
