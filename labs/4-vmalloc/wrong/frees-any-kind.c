/*
 * loses: vmalloc/misuse_is_told
 * hint: whose-area
 * thought: whoever frees knows what he has
 */
void vm_free_area(vaddr_t va, enum vm_kind kind)
{
	irqflags_t flags = irq_save();
	pte_t *guard = IS_ALIGNED(va, PAGE_SIZE) ? window_entry(va - PAGE_SIZE) : NULL;
	bool ours = false;

	if (guard) {
		pte_t was = pte_get(guard), freed = was;

		freed.v = (was.v & ~AREA_KIND(15)) | AREA_KIND(VM_FREED);
		ours = !pte_present(was) && was.v & AREA_TAG &&
		       (was.v & AREA_KIND(15)) != AREA_KIND(VM_FREED) && pte_replace(guard, was, freed);
	}
	irq_restore(flags);
	if (!ours)
		bad_pointer(free_calls[kind], va);
	free_long(va, guard, owns_frames(kind));
}
