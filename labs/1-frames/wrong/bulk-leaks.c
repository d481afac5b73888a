/*
 * loses: page_alloc/fail_nth
 * hint: not-given-back
 * thought: all or nothing: 0 is returned, but what had been taken by then is kept
 */
u64 alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages)
{
	u64 got = 0;

	while (got < nr_pages && nr_pages <= nr_frames && (pages[got] = alloc_pages(gfp, 0)))
		page_set_owner(pages[got++], PG_ALLOC, CALLER());
	return got == nr_pages ? got : 0;
}
