/*
 * loses: slab/frames_go_back slab/free_of_what_was_never_allocated slab/frees_by_other_cpus
 *   slab/per_slab slab/random_objects
 * hint: empty-kept
 * thought: an empty slab will be of use again; but nobody else ever gets its frame
 */
static bool give_object(struct kmem_cache *cache, void *object)
{
	struct page *page = virt_to_page(object);
	u32 i = AT_SCALE(object, cache->empty.scale) >> 19;
	u32 *bits = slab_bitmap(cache, page) + i / 32;

	if (*bits & 1u << i % 32)
		return false;
	*bits |= 1u << i % 32;
	cache->now.in_use--;
	cache->now.frees++;
	if (page->slab_used-- == cache->now.per_slab)
		page_list_add(&cache->partial, page, false);
	return true;
}
