/*
 * loses: pagetable/model_4_levels pagetable/protect_and_unmap pagetable/prune
 * hint: unmapped-is-present
 * thought: a leaf that permits nothing; but the CPU sees one that is present, and may be read
 */
int pt_protect(struct pagetable *pt, vaddr_t va, u64 nr_pages, pgprot_t prot)
{
	u64 end, start = fold_range(pt, va, nr_pages, &end);
	int error, level;
	for (u64 at = start; at < end; at = step(at, level))
		if (!pte_present(pte_get(pt_walk(pt, at, 1, &level))))
			return -ENOENT;
	error = make_tables(pt, start, end, pt->levels);
	for (u64 at = start; !error && at < end; at = step(at, level)) {
		pte_t *entry = pt_walk(pt, at, 1, &level), pte = pte_get(entry);

		pte_set(entry, pte_make_leaf(pte_paddr(pte, level), level, prot | pte_type(pte)));
	}
	return error;
}
