/*
 * loses: family/each_kind_is_freed_by_each_road family/vrealloc_keeps_what_was_there
 *   vmalloc/misuse_is_told vmalloc/vmap_shows_the_same_frames
 * hint: not-its-frames
 * thought: what was mapped goes back
 */
void vm_free_area(vaddr_t va, enum vm_kind kind)
{
	irqflags_t flags = irq_save();
	pte_t *guard = IS_ALIGNED(va, PAGE_SIZE) ? window_entry(va - PAGE_SIZE) : NULL;
	bool ours = false;

	if (guard) {
		pte_t was = pte_get(guard), freed = was;

		freed.v ^= AREA_KIND(kind) ^ AREA_KIND(VM_FREED);
		ours = (was.v & AREA_KIND(15)) == AREA_KIND(kind) && pte_replace(guard, was, freed);
	}
	irq_restore(flags);
	if (!ours)
		bad_pointer(free_calls[kind], va);
	free_long(va, guard, true);
}
