/*
 * loses: family/put_pages_change_hands vmalloc/put_pages_touches_only_its_own
 * hint: claims-go-back
 * thought: NULL says that it failed
 */
void *vmap_put_pages(struct page **pages, u64 count)
{
	void *p;
	u64 i;

	for (i = 0; i < count; i++)
		if (!page_claim(pages[i], 0, PG_ALLOC, PG_VMALLOC))
			goto back;
	p = vmap_slow(pages, count, PAGE_KERNEL, VM_ALLOC, CALLER());
	if (p)
		return p;
back:
	return NULL;
}
