/*
 * loses: pagetable/model_4_levels pagetable/split_keeps_translations
 * hint: split-address
 * thought: 512 entries in place of one, all alike; but each leads to the frame behind the one before
 */
static pte_t *put_table(pte_t *entry, u64 at, int level, pte_t **stock)
{
	pte_t *table = *stock, pte = pte_get(entry);
	paddr_t pa = pte_paddr(pte, level--);

	*stock = (pte_t *)table->v;
	table->v = 0;
	for (int i = 0; pte_present(pte) && i < PT_ENTRIES; i++)
		table[i] = pte_make_leaf(pa, level, pte_pgprot(pte) | pte_type(pte));
	pte_set(entry, pte_make_table(virt_to_phys(table)));
	return &table[level_index(at, level)];
}
