/*
 * loses: pagetable/model_4_levels pagetable/prune
 * hint: prune-not-all
 * thought: tables of 4 KiB entries go; those above them stay for ever, though they are empty
 */
void pt_prune(struct pagetable *pt, vaddr_t va, u64 nr_pages, vaddr_t lo, vaddr_t hi,
	      void (*gone)(pte_t *table))
{
	u64 end, start = fold_range(pt, va, nr_pages, &end);

	for (int level = 2, found; level == 2; level++)
		for (u64 at = start; at < end; at = step(at, found)) {
			pte_t *entry = pt_walk(pt, at, level, &found), pte = pte_get(entry);
			u64 first = ALIGN_DOWN(at, level_bytes(level));

			if (!pte_present(pte) || first < va_fold(lo, pt->levels) ||
			    step(at, level) - 1 > va_fold(hi - 1, pt->levels))
				continue;
			BUG_ON(pte_is_leaf(pte, found));
			pte_set(entry, (pte_t){ 0 });
			gone(phys_to_virt(pte_paddr(pte, level)));
		}
}
