/*
 * loses: vmalloc/map_unwinds_from_anywhere vmalloc/vmap_shows_the_same_frames
 * hint: hidden
 * thought: the caller knows what he maps
 */
static u64 show_pages(pte_t *entry, struct page *const *page, u64 nr, pgprot_t prot)
{
	for (u64 i = 0; i < nr; i++) {
		pte_set(&entry[i], pte_make_leaf(page_to_phys(page[i]), 1, prot));
	}
	return nr;
}
