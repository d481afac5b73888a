/*
 * loses: pagetable/walk
 * hint: walk-slot
 * thought: x86_64 has four levels; but this tree has as many as it says, perhaps five
 */
pte_t *pt_walk(const struct pagetable *pt, vaddr_t va, int stop, int *level)
{
	pte_t *table = pt->root;

	for (*level = 4;; --*level) {
		pte_t *entry = &table[level_index(va, *level)];
		pte_t pte = pte_get(entry);

		if (*level == stop || !pte_present(pte) || pte_is_leaf(pte, *level))
			return entry;
		table = phys_to_virt(pte_paddr(pte, *level));
	}
}
