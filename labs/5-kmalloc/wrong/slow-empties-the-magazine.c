/*
 * loses: slab/magazines
 * hint: half-stays
 * thought: the magazine is full, so all of it goes back; then the next allocation has to fetch it again
 */
static noinline void free_slow(void *p)
{
	struct kmem_cache *cache;

	/* Look anew after each trim: if this is a second free, that may have freed the slab. */
	while ((cache = virt_to_cache(p)) && !free_here(cache - caches, p)) {
		if (AT_SCALE(p, cache->empty.scale) >= cache->empty.limit)
			bad_free(cache, p, "is not where an object begins");
		trim(cache, 0);
	}
	if (p && !cache)
		kfree_large(p);
}
