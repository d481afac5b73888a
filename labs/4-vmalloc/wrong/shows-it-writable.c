/*
 * loses: vmalloc/vmap_shows_the_same_frames
 * hint: prot-lost
 * thought: PAGE_KERNEL is what kernel pages have
 */
static u64 show_pages(pte_t *entry, struct page *const *page, u64 nr, pgprot_t prot)
{
	(void)prot;
	for (u64 i = 0; i < nr; i++) {
		if (1u << page[i]->state & HIDDEN_STATES)
			return i;
		pte_set(&entry[i], pte_make_leaf(page_to_phys(page[i]), 1, PAGE_KERNEL));
	}
	return nr;
}
