/*
 * loses: family/vrealloc_keeps_what_was_there
 * hint: vrealloc-copies
 * thought: so many bytes were asked for
 */
void *vrealloc(const void *p, u64 bytes, gfp_t gfp)
{
	struct vm_area area;
	void *fresh;

	if (!p)
		return __vmalloc(bytes, gfp);
	if (!find_vm_area((vaddr_t)p, &area) || area.start != (vaddr_t)p || area.kind != VM_ALLOC)
		bad_pointer("vrealloc", (vaddr_t)p);
	if (!bytes) {
		vfree(p);
		return NULL;
	}
	if (pages_for(bytes) <= area.nr_pages)
		return (void *)p;
	fresh = __vmalloc(bytes, gfp);
	if (fresh) {
		memcpy(fresh, p, bytes);
		vfree(p);
	}
	return fresh;
}
