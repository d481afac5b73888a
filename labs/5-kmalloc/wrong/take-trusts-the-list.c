/*
 * loses: *
 * hint: full-slab-listed
 * thought: kmem_alloc_slow asks until it has something, so there is a slab; but at first there is none
 */
static void *take_object(struct kmem_cache *cache)
{
	struct page *page = pfn_to_page(cache->partial.first);
	u32 *bits = slab_bitmap(cache, page), word = 0, bit;

	while (!bits[word])
		word++;
	bit = __builtin_ctz(bits[word]);
	bits[word] &= ~(1u << bit);
	if (++page->slab_used == cache->now.per_slab)
		page_list_remove(&cache->partial, page);
	cache->now.in_use++;
	cache->now.allocs++;
	return (char *)page_address(page) + (word * 32 + bit) * cache->now.bytes;
}
