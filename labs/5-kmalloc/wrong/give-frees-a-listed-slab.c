/*
 * loses: kmalloc/classes kmalloc/krealloc kmalloc/krealloc_copies_no_more_than_it_had
 *   kmalloc/misuse kmalloc/no_free_neighbours kmalloc/random kmalloc/sizes slab/double_free
 *   slab/double_free_into_a_full_magazine slab/double_free_of_spoilt_object slab/frames_go_back
 *   slab/free_of_what_was_never_allocated slab/frees_by_other_cpus slab/full_slabs_serve_again
 *   slab/interrupts slab/magazines slab/misuse slab/no_frame slab/per_slab slab/random_objects
 * hint: freed-but-listed
 * thought: the frame goes back; but the cache's list still leads to it
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
	if (page->slab_used == 0) {
		cache->now.slabs--;
		__atomic_add_fetch(&slabs_freed, 1, __ATOMIC_RELAXED);
		free_slab(page);
	}
	return true;
}
