/*
 * loses: page_alloc/fail_nth
 * hint: bulk-all-or-nothing
 * thought: half of it is better than nothing; but the callers count on all or nothing
 */
u64 alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages)
{
	u64 got = 0;

	while (got < nr_pages && nr_pages <= nr_frames && (pages[got] = alloc_pages(gfp, 0)))
		page_set_owner(pages[got++], PG_ALLOC, CALLER());
	return got;
}
