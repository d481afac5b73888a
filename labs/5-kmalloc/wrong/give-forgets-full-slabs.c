/*
 * loses: slab/full_slabs_serve_again
 * hint: full-slab-not-relisted
 * thought: a slab that was full is in no list; its first object comes back, and still nobody finds it
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
	page->slab_used--;
	if (page->slab_used == 0) {
		page_list_remove(&cache->partial, page);
		cache->now.slabs--;
		__atomic_add_fetch(&slabs_freed, 1, __ATOMIC_RELAXED);
		free_slab(page);
	}
	return true;
}
