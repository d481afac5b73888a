/*
 * loses: pagetable/lookup pagetable/map_in_large_leaves pagetable/misuse_changes_nothing
 *   pagetable/model_4_levels pagetable/split_keeps_translations
 * hint: lookup-page
 * thought: where does this address lead; but it was asked where its page begins and leads
 */
bool pt_lookup(const struct pagetable *pt, vaddr_t va, struct mapping *m)
{
	pte_t pte = pte_get(pt_walk(pt, va, 1, &m->level));

	if (!pte_present(pte) || !va_canonical(va, pt->levels))
		return false;
	m->bytes = level_bytes(m->level);
	m->va = va;
	m->pa = paddr(pte_paddr(pte, m->level).v + va % m->bytes);
	m->prot = pte_pgprot(pte);
	return true;
}
