/*
 * loses: page_alloc/foreign
 * hint: head-without-reach
 * thought: the first head on the way up is the block's; but it may end before the frame
 */
struct page *page_head(u64 pfn)
{
	for (unsigned order = 0; order <= MAX_ORDER; order++) {
		u64 head = ALIGN_DOWN(pfn, 1ul << order);

		if (pfn_valid(head) && pfn_to_page(head)->state != PG_TAIL)
			return pfn_to_page(head);
	}
	return NULL;
}
