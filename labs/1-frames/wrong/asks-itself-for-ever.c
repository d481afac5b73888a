/*
 * loses: *
 * hint: recursion
 * thought: where this list is empty, a larger block is asked for, and split; but the order asked for is the same
 */
static struct page *take_block(unsigned order)
{
	struct page *page;

	if (free_lists[order].first) {
		page = pfn_to_page(free_lists[order].first);
		list_remove(page, order);
	} else {
		page = take_block(order);
		if (!page)
			return NULL;
		list_add(page + (1ul << order), order);
	}
	page->state_and_order = PAGE_IS(PG_STOCK, order);
	return page;
}
