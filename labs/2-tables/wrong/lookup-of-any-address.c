/*
 * loses: pagetable/lookup pagetable/misuse_changes_nothing
 * hint: lookup-canonical
 * thought: the walk finds a leaf, so it is mapped; but the walk does not read the upper 16 bits
 */
bool pt_lookup(const struct pagetable *pt, vaddr_t va, struct mapping *m)
{
	pte_t pte = pte_get(pt_walk(pt, va, 1, &m->level));

	if (!pte_present(pte))
		return false;
	m->bytes = level_bytes(m->level);
	m->va = ALIGN_DOWN(va, m->bytes);
	m->pa = pte_paddr(pte, m->level);
	m->prot = pte_pgprot(pte);
	return true;
}
