/*
 * loses: page_alloc/bulk page_alloc/ends_of_ram page_alloc/foreign page_alloc/misuse
 *   page_alloc/orders
 * hint: wrong-head
 * thought: the largest block that the frame can be in comes first; but what begins there may end before it
 */
struct page *page_head(u64 pfn)
{
	for (int order = MAX_ORDER; order >= 0; order--) {
		u64 head = ALIGN_DOWN(pfn, 1ul << order);

		if (pfn_valid(head) && pfn_to_page(head)->state != PG_TAIL)
			return pfn_to_page(head);
	}
	return NULL;
}
