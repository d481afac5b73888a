/*
 * loses: kmalloc/classes
 * hint: order-too-large
 * thought: off by one: a size that just fills a block gets the next larger one
 */
void *kmalloc_slow(u64 bytes, gfp_t gfp, vaddr_t owner)
{
	unsigned order = 0;
	struct page *page;
	void *p;

	if (bytes == 0 || bytes > KMALLOC_MAX_SIZE)
		return NULL;
	if (bytes <= KMALLOC_MAX_CACHE) {
		p = kmem_alloc_slow(kmalloc_number(bytes), gfp);
		return p && gfp & __GFP_ZERO ? memset(p, 0, bytes) : p;
	}
	while (PAGE_SIZE << order <= bytes)
		order++;
	page = alloc_pages(gfp, order);
	if (page)
		page_set_owner(page, PG_KMALLOC, owner);
	return page ? page_address(page) : NULL;
}
