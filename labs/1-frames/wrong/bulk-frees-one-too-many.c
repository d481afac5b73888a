/*
 * loses: page_alloc/bulk page_alloc/exhaust page_alloc/fail_nth
 * hint: bulk-frees-too-many
 * thought: off by one in the unwinding: the request that failed is freed, too
 */
u64 alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages)
{
	u64 got = 0;

	while (got < nr_pages && nr_pages <= nr_frames && (pages[got] = alloc_pages(gfp, 0)))
		page_set_owner(pages[got++], PG_ALLOC, CALLER());
	if (got == nr_pages)
		return got;
	for (u64 i = 0; i <= got; i++)
		__free_pages(pages[i], 0);
	return 0;
}
