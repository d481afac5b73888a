/*
 * loses: slab/double_free_into_a_full_magazine
 * hint: stale-cache
 * thought: make room, then put it in; but making room may free the very slab that it lies in
 */
static noinline void free_slow(void *p)
{
	struct kmem_cache *cache = virt_to_cache(p);

	while (cache && !free_here(cache - caches, p)) {
		if (AT_SCALE(p, cache->empty.scale) >= cache->empty.limit)
			bad_free(cache, p, "is not where an object begins");
		trim(cache, cache->empty.most / 2);
	}
	if (p && !cache)
		kfree_large(p);
}
