/*
 * loses: pagetable/notes_stay pagetable/protect_and_unmap
 * hint: hole
 * thought: the error is returned where the hole is met; but by then the pages before it are changed
 */
int pt_protect(struct pagetable *pt, vaddr_t va, u64 nr_pages, pgprot_t prot)
{
	u64 end, start = fold_range(pt, va, nr_pages, &end);
	int error, level;
	error = make_tables(pt, start, end, pt->levels);
	for (u64 at = start; !error && at < end; at = step(at, level)) {
		pte_t *entry = pt_walk(pt, at, 1, &level), pte = pte_get(entry), none = { 0 };

		if (!pte_present(pte))
			return -ENOENT;
		pte_set(entry,
			prot ? pte_make_leaf(pte_paddr(pte, level), level, prot | pte_type(pte)) :
			       none);
	}
	return error;
}
