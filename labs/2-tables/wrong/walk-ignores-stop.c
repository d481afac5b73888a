/*
 * loses: pagetable/misuse_changes_nothing pagetable/model_4_levels pagetable/prune pagetable/walk
 * hint: walk-slot
 * thought: a walk ends at a leaf, or where nothing is; whoever wants a table's own entry gets another
 */
pte_t *pt_walk(const struct pagetable *pt, vaddr_t va, int stop, int *level)
{
	pte_t *table = pt->root;

	(void)stop;
	for (*level = pt->levels;; --*level) {
		pte_t *entry = &table[level_index(va, *level)];
		pte_t pte = pte_get(entry);

		if (!pte_present(pte) || pte_is_leaf(pte, *level))
			return entry;
		table = phys_to_virt(pte_paddr(pte, *level));
	}
}
