/*
 * loses: page_alloc/bulk page_alloc/orders
 * hint: wrong-head
 * thought: MAX_ORDER orders, so the loop ends before it; but it is the last one, not their number
 */
struct page *page_head(u64 pfn)
{
	for (unsigned order = 0; order < MAX_ORDER; order++) {
		u64 head = ALIGN_DOWN(pfn, 1ul << order);
		struct page *page = pfn_valid(head) ? pfn_to_page(head) : NULL;

		if (page && page->state != PG_TAIL && head + (1ul << page->order) > pfn)
			return page;
	}
	return NULL;
}
