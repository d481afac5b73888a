/*
 * loses: pagetable/memory_types_stay
 * hint: memory-type
 * thought: what a leaf permits is all that its parts must keep; but a device's pages must not be cached
 */
static pte_t *put_table(pte_t *entry, u64 at, int level, pte_t **stock)
{
	pte_t *table = *stock, pte = pte_get(entry);
	u64 pa = pte_paddr(pte, level--).v;

	*stock = (pte_t *)table->v;
	table->v = 0;
	for (int i = 0; pte_present(pte) && i < PT_ENTRIES; i++, pa += level_bytes(level))
		table[i] = pte_make_leaf(paddr(pa), level, pte_pgprot(pte));
	pte_set(entry, pte_make_table(virt_to_phys(table)));
	return &table[level_index(at, level)];
}
