/*
 * loses: vmalloc/map_unwinds_from_anywhere
 * hint: half-a-map
 * thought: one of them must not be shown, so none was
 */
static u64 show_pages(pte_t *entry, struct page *const *page, u64 nr, pgprot_t prot)
{
	for (u64 i = 0; i < nr; i++) {
		if (1u << page[i]->state & HIDDEN_STATES)
			return 0;
		pte_set(&entry[i], pte_make_leaf(page_to_phys(page[i]), 1, prot));
	}
	return nr;
}
