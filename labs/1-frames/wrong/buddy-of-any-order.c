/*
 * loses: check/clean_to_begin_with page_alloc/bulk page_alloc/coalesce page_alloc/exhaust
 *   page_alloc/fail_nth page_alloc/freed_in_interrupts page_alloc/misuse
 *   page_alloc/no_buddy_in_a_hole page_alloc/orders page_alloc/random_blocks page_alloc/shrinkers
 * perhaps: *
 * hint: not-on-this-list
 * thought: the buddy is free, so the two can merge; but only a part of it may be one block
 */
static struct page *free_buddy(u64 pfn, unsigned order)
{
	u64 buddy = pfn ^ (1ul << order);

	if (order == MAX_ORDER || !pfn_valid(buddy))
		return NULL;
	return pfn_to_page(buddy)->state == PG_FREE ? pfn_to_page(buddy) : NULL;
}
