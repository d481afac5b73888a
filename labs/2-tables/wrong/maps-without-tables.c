/*
 * loses: pagetable/all_or_nothing pagetable/model_4_levels
 * hint: changed-though-it-failed
 * thought: whether there was memory for the tables is the caller's to see; but the leaves were written
 */
int pt_map(struct pagetable *pt, vaddr_t va, paddr_t pa, u64 nr_pages, pgprot_t prot)
{
	u64 end, start = fold_range(pt, va, nr_pages, &end);
	int error, level, max = address_map.leaf_levels;

	BUG_ON(!IS_ALIGNED(pa.v, PAGE_SIZE) || prot == PAGE_NONE);
	if (nr_pages && pt_next(pt, &va, va + (nr_pages << PAGE_SHIFT), &level))
		return -EEXIST;
	while (!IS_ALIGNED(start - pa.v, level_bytes(max)))
		max--;
	error = make_tables(pt, start, end, max);
	for (u64 at = start; at < end; at = step(at, level)) {
		pte_t *entry = pt_walk(pt, at, 1, &level);

		pte_set(entry, pte_make_leaf(paddr(pa.v + at - start), level, prot));
	}
	return error;
}
