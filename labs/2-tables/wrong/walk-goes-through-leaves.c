/*
 * loses: pagetable/all_or_nothing pagetable/leaf_levels_are_obeyed pagetable/lookup
 *   pagetable/map_in_large_leaves pagetable/memory_types_stay pagetable/misuse_changes_nothing
 *   pagetable/model_4_levels pagetable/split_keeps_translations pagetable/walk
 * hint: through-a-leaf
 * thought: an entry that is present leads to a table; but a large leaf leads to a page
 */
pte_t *pt_walk(const struct pagetable *pt, vaddr_t va, int stop, int *level)
{
	pte_t *table = pt->root;

	for (*level = pt->levels;; --*level) {
		pte_t *entry = &table[level_index(va, *level)];
		pte_t pte = pte_get(entry);

		if (*level == stop || !pte_present(pte))
			return entry;
		table = phys_to_virt(pte_paddr(pte, *level));
	}
}
