/*
 * loses: check/clean_to_begin_with slab/frees_by_other_cpus slab/full_slabs_serve_again
 *   slab/magazines slab/per_slab slab/random_objects
 * hint: bits-missing
 * thought: one word of bits is for every slab; but small objects are more than 32
 */
static struct page *new_slab(struct kmem_cache *cache, gfp_t gfp)
{
	struct page *page = alloc_pages(gfp & ~__GFP_ZERO, 0);
	char *object = page ? page_address(page) : NULL;

	if (!page)
		return NULL;
	for (u32 i = 0; i < cache->now.per_slab; i++, object += cache->now.bytes)
		*(u64 *)object = mark_of(object);
	*slab_bitmap(cache, page) = ~0u;
	page->slab_used = 0;
	page->slab_cache = cache - caches;
	page->state = PG_SLAB;
	return page;
}
