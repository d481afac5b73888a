/*
 * loses: page_alloc/bulk
 * hint: bulk-too-many
 * thought: whether there is enough shows when it runs out; by then pages[] may be overrun
 */
u64 alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages)
{
	u64 got = 0;

	while (got < nr_pages && (pages[got] = alloc_pages(gfp, 0)))
		page_set_owner(pages[got++], PG_ALLOC, CALLER());
	if (got == nr_pages)
		return got;
	free_pages_bulk(got, pages);
	return 0;
}
