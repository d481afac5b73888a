/*
 * loses: check/clean_to_begin_with page_alloc/coalesce
 * hint: not-merged
 * thought: freeing puts a block on its list; what was split stays in pieces for ever
 */
static bool put_block(struct page *page, unsigned order)
{
	if (!page_claim(page, order, PG_STOCK, PG_TAIL))
		return false;
	list_add(page, order);
	return true;
}
