/*
 * loses: pagetable/all_or_nothing pagetable/memory_types_stay pagetable/model_4_levels
 *   pagetable/split_keeps_translations
 * hint: not-split
 * thought: the leaf that the address lies in is changed; but only a part of it was asked for
 */
int pt_protect(struct pagetable *pt, vaddr_t va, u64 nr_pages, pgprot_t prot)
{
	u64 end, start = fold_range(pt, va, nr_pages, &end);
	int error, level;
	for (u64 at = start; at < end; at = step(at, level))
		if (!pte_present(pte_get(pt_walk(pt, at, 1, &level))))
			return -ENOENT;
	error = 0;
	for (u64 at = start; at < end; at = step(at, level)) {
		pte_t *entry = pt_walk(pt, at, 1, &level), pte = pte_get(entry), none = { 0 };

		pte_set(entry,
			prot ? pte_make_leaf(pte_paddr(pte, level), level, prot | pte_type(pte)) :
			       none);
	}
	return error;
}
