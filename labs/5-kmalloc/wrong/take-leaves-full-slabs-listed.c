/*
 * loses: kmalloc/classes kmalloc/krealloc_copies_no_more_than_it_had kmalloc/random kmalloc/sizes
 *   slab/double_free_into_a_full_magazine slab/frames_go_back slab/free_of_what_was_never_allocated
 *   slab/frees_by_other_cpus slab/full_slabs_serve_again slab/interrupts slab/magazines
 *   slab/no_frame slab/per_slab slab/random_objects
 * hint: full-slab-listed
 * thought: the object is taken and counted; that the slab has none left, and still hangs in the list, is forgotten
 */
static void *take_object(struct kmem_cache *cache)
{
	struct page *page = pfn_to_page(cache->partial.first);
	u32 *bits = slab_bitmap(cache, page), word = 0, bit;

	if (!cache->partial.first)
		return NULL;
	while (!bits[word])
		word++;
	bit = __builtin_ctz(bits[word]);
	bits[word] &= ~(1u << bit);
	page->slab_used++;
	cache->now.in_use++;
	cache->now.allocs++;
	return (char *)page_address(page) + (word * 32 + bit) * cache->now.bytes;
}
