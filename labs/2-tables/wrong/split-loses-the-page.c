/*
 * loses: pagetable/memory_types_stay pagetable/model_4_levels pagetable/split_keeps_translations
 * hint: split-lost-it
 * thought: a new table is empty; but if a leaf was in its place, 512 pages were mapped there
 */
static pte_t *put_table(pte_t *entry, u64 at, int level, pte_t **stock)
{
	pte_t *table = *stock;

	*stock = (pte_t *)table->v;
	table->v = 0;
	pte_set(entry, pte_make_table(virt_to_phys(table)));
	return &table[level_index(at, level - 1)];
}
