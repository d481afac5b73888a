/*
 * loses: page_alloc/shrinkers
 * hint: bulk-shrinks
 * thought: more than is free cannot be had; but alloc_pages asks the caches to give some back
 */
u64 alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages)
{
	u64 got = 0;

	while (got < nr_pages && nr_pages <= nr_free_pages() && (pages[got] = alloc_pages(gfp, 0)))
		page_set_owner(pages[got++], PG_ALLOC, CALLER());
	if (got == nr_pages)
		return got;
	free_pages_bulk(got, pages);
	return 0;
}
