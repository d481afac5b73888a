/*
 * loses: *
 * hint: head-of-no-ram
 * thought: every frame number has a struct page to look at; those of holes are not even mapped
 */
struct page *page_head(u64 pfn)
{
	for (unsigned order = 0; order <= MAX_ORDER; order++) {
		u64 head = ALIGN_DOWN(pfn, 1ul << order);
		struct page *page = pfn_to_page(head);

		if (page->state != PG_TAIL && head + (1ul << page->order) > pfn)
			return page;
	}
	return NULL;
}
