/*
 * loses: family/each_kind_is_freed_by_each_road vmalloc/misuse_is_told
 *   vmalloc/nothing_reused_before_the_flush
 * hint: claim
 * thought: it was checked, so it is mine; the descriptor is put_area's affair
 */
void vm_free_area(vaddr_t va, enum vm_kind kind)
{
	irqflags_t flags = irq_save();
	pte_t *guard = IS_ALIGNED(va, PAGE_SIZE) ? window_entry(va - PAGE_SIZE) : NULL;
	bool ours = false;

	if (guard) {
		pte_t was = pte_get(guard);

		ours = (was.v & AREA_KIND(15)) == AREA_KIND(kind);
	}
	irq_restore(flags);
	if (!ours)
		bad_pointer(free_calls[kind], va);
	free_long(va, guard, owns_frames(kind));
}
