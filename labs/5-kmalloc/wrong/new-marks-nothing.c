/*
 * loses: slab/free_of_what_was_never_allocated slab/misuse
 * hint: not-marked
 * thought: marks are for what was freed; but what was never handed out is just as free
 */
static struct page *new_slab(struct kmem_cache *cache, gfp_t gfp)
{
	struct page *page = alloc_pages(gfp & ~__GFP_ZERO, 0);

	if (!page)
		return NULL;
	for (u32 i = 0; i < cache->now.per_slab; i += 32)
		slab_bitmap(cache, page)[i / 32] = ~0u; /* bits past per_slab never come first */
	page->slab_used = 0;
	page->slab_cache = cache - caches;
	page->state = PG_SLAB;
	return page;
}
