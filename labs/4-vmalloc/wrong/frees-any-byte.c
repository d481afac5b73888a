/*
 * loses: vmalloc/misuse_is_told
 * hint: whose-area
 * thought: the guard is the page before
 */
void vm_free_area(vaddr_t va, enum vm_kind kind)
{
	irqflags_t flags = irq_save();
	pte_t *guard = window_entry(va - PAGE_SIZE);
	bool ours = false;

	if (guard) {
		pte_t was = pte_get(guard), freed = was;

		freed.v ^= AREA_KIND(kind) ^ AREA_KIND(VM_FREED);
		ours = (was.v & AREA_KIND(15)) == AREA_KIND(kind) && pte_replace(guard, was, freed);
	}
	irq_restore(flags);
	if (!ours)
		bad_pointer(free_calls[kind], va);
	free_long(va, guard, owns_frames(kind));
}
