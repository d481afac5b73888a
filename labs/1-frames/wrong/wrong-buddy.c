/*
 * loses: check/clean_to_begin_with page_alloc/bulk page_alloc/coalesce page_alloc/exhaust
 *   page_alloc/fail_nth page_alloc/freed_in_interrupts page_alloc/misuse
 *   page_alloc/no_buddy_in_a_hole page_alloc/orders page_alloc/random_blocks page_alloc/shrinkers
 * perhaps: *
 * hint: not-aligned
 * thought: the buddy is the block that comes next in memory; right for every other block
 */
static struct page *free_buddy(u64 pfn, unsigned order)
{
	u64 buddy = pfn + (1ul << order);
	struct page *page = pfn_to_page(buddy);

	if (order == MAX_ORDER || !pfn_valid(buddy))
		return NULL;
	return page->state == PG_FREE && page->order == order ? page : NULL;
}
