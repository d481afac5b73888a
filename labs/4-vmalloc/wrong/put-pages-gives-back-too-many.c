/*
 * loses: vmalloc/put_pages_touches_only_its_own
 * hint: claims-go-back
 * thought: if it fails, all are as before
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
	for (i = 0; i < count; i++)
		pages[i]->state = PG_ALLOC;
	return NULL;
}
