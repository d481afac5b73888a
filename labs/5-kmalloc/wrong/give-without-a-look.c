/*
 * loses: slab/double_free_of_spoilt_object
 * hint: twice-in-a-slab
 * thought: the mark has told double frees already; but a stale pointer may have destroyed the mark
 */
static bool give_object(struct kmem_cache *cache, void *object)
{
	struct page *page = virt_to_page(object);
	u32 i = AT_SCALE(object, cache->empty.scale) >> 19;
	u32 *bits = slab_bitmap(cache, page) + i / 32;

	*bits |= 1u << i % 32;
	cache->now.in_use--;
	cache->now.frees++;
	if (page->slab_used-- == cache->now.per_slab)
		page_list_add(&cache->partial, page, false);
	if (page->slab_used == 0) {
		page_list_remove(&cache->partial, page);
		cache->now.slabs--;
		__atomic_add_fetch(&slabs_freed, 1, __ATOMIC_RELAXED);
		free_slab(page);
	}
	return true;
}
