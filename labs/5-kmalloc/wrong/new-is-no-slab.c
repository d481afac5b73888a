/*
 * loses: check/clean_to_begin_with kmalloc/classes kmalloc/krealloc
 *   kmalloc/krealloc_copies_no_more_than_it_had kmalloc/misuse kmalloc/no_free_neighbours
 *   kmalloc/random kmalloc/sizes slab/double_free slab/double_free_into_a_full_magazine
 *   slab/double_free_of_spoilt_object slab/frames_go_back slab/free_of_what_was_never_allocated
 *   slab/frees_by_other_cpus slab/full_slabs_serve_again slab/interrupts slab/magazines slab/misuse
 *   slab/no_frame slab/per_slab slab/random_objects
 * hint: not-a-slab
 * thought: the frame is cut and marked; but its struct page does not say that it is a slab
 */
static struct page *new_slab(struct kmem_cache *cache, gfp_t gfp)
{
	struct page *page = alloc_pages(gfp & ~__GFP_ZERO, 0);
	char *object = page ? page_address(page) : NULL;

	if (!page)
		return NULL;
	for (u32 i = 0; i < cache->now.per_slab; i++, object += cache->now.bytes)
		*(u64 *)object = mark_of(object);
	for (u32 i = 0; i < cache->now.per_slab; i += 32)
		slab_bitmap(cache, page)[i / 32] = ~0u; /* bits past per_slab never come first */
	page->slab_used = 0;
	page->slab_cache = cache - caches;
	return page;
}
