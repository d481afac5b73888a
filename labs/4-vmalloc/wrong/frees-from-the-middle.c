/*
 * loses: vmalloc/misuse_is_told
 * hint: whose-area
 * thought: whatever lies in an area says which one it is
 */
void vm_free_area(vaddr_t va, enum vm_kind kind)
{
	struct vm_area area;
	pte_t *guard, was;

	if (!find_vm_area(va, &area) || area.kind != kind)
		bad_pointer(free_calls[kind], va);
	guard = pt_entry(&kernel_pt, area.start - PAGE_SIZE);
	was = pte_get(guard);
	if (!pte_replace(guard, was,
			 (pte_t){ was.v ^ AREA_KIND(kind) ^ AREA_KIND(VM_FREED) }))
		bad_pointer(free_calls[kind], va);
	free_long(area.start, guard, owns_frames(kind));
}
