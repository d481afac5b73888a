/*
 * loses: page_alloc/fail_nth
 * hint: bulk-tries-again
 * thought: who was refused once may ask once more
 */
u64 alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages)
{
	u64 got = 0;

	if (nr_pages > nr_frames)
		return 0;
	while (got < nr_pages &&
	       ((pages[got] = alloc_pages(gfp, 0)) || (pages[got] = alloc_pages(gfp, 0))))
		page_set_owner(pages[got++], PG_ALLOC, CALLER());
	if (got == nr_pages)
		return got;
	free_pages_bulk(got, pages);
	return 0;
}
