/*
 * loses: page_alloc/exhaust page_alloc/fail_nth
 * hint: bulk-tries-again endless
 * thought: who was refused asks until there is a frame; but there may never be one
 */
u64 alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages)
{
	u64 got = 0;

	if (nr_pages > nr_frames)
		return 0;
	while (got < nr_pages) {
		struct page *page = alloc_pages(gfp, 0);

		if (!page)
			continue;
		page_set_owner(page, PG_ALLOC, CALLER());
		pages[got++] = page;
	}
	return got;
}
