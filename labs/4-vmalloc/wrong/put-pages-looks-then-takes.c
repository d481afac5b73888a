/*
 * loses: family/put_pages_change_hands
 * hint: claim-each
 * thought: first look whether all may be taken, then take them
 */
void *vmap_put_pages(struct page **pages, u64 count)
{
	void *p;

	for (u64 i = 0; i < count; i++)
		if (pages[i]->state_and_order != PAGE_IS(PG_ALLOC, 0))
			return NULL;
	p = vmap_slow(pages, count, PAGE_KERNEL, VM_ALLOC, CALLER());
	for (u64 i = 0; p && i < count; i++)
		pages[i]->state = PG_VMALLOC;
	return p;
}
