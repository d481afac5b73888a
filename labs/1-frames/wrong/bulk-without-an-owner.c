/*
 * loses: page_alloc/bulk
 * hint: bulk-owner
 * thought: alloc_pages knows who asked; but that is alloc_pages_bulk, not the one who called it
 */
u64 alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages)
{
	u64 got = 0;

	while (got < nr_pages && nr_pages <= nr_frames && (pages[got] = alloc_pages(gfp, 0)))
		got++;
	if (got == nr_pages)
		return got;
	free_pages_bulk(got, pages);
	return 0;
}
