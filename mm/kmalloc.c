/*
 * kmalloc.c - memory by the byte, for everyone: a size chooses a cache.
 *
 * kmalloc(100) takes an object of the smallest cache that fits, here 128 bytes; above 2048 bytes,
 * a whole block of 2^order frames. Either way the memory is contiguous in RAM. That tells kmalloc
 * from vmalloc, and a large kmalloc may fail on a machine with plenty of free frames, but no free
 * neighbours. kfree is told no size. The struct page of the frame knows: it belongs to a slab,
 * or is the first of a large block, whose order it keeps.
 */
#include <mm/slab.h>

/* As there are none before them, kmalloc() knows their numbers. Aligned to the lowest bit set. */
#define CREATE(bytes) BUG_ON(!kmem_cache_create("kmalloc-" #bytes, bytes, (bytes) & -(bytes)));

void slab_init(void)
{
	KMALLOC_CLASSES(CREATE)
	register_shrinker(kmem_cache_shrink_all);
}

void *kmalloc_slow(u64 bytes, gfp_t gfp, vaddr_t owner)
{
	unsigned order = 0;
	struct page *page;
	void *p;

	if (bytes == 0 || bytes > KMALLOC_MAX_SIZE)
		return NULL;
	if (bytes <= KMALLOC_MAX_CACHE) {
		p = kmem_alloc_slow(kmalloc_number(bytes), gfp);
		return p && gfp & __GFP_ZERO ? memset(p, 0, bytes) : p;
	}
	while (PAGE_SIZE << order < bytes)
		order++;
	page = alloc_pages(gfp, order);
	if (page)
		page_set_owner(page, PG_KMALLOC, owner);
	return page ? page_address(page) : NULL;
}

/* The large block that begins at p. */
static struct page *large_block(const void *p)
{
	struct page *page = direct_to_page(p);
	char text[PAGE_TEXT] = "it does not lie in the direct map of RAM";

	if (page && page->state == PG_KMALLOC && IS_ALIGNED((vaddr_t)p, PAGE_SIZE))
		return page;
	if ((vaddr_t)p >= address_map.vmalloc_start && (vaddr_t)p <= address_map.vmalloc_end)
		panic("kfree: %p is a vmalloc address\n  use vfree (or vunmap) for it", p);
	panic("kfree: %p did not come from kmalloc, or is free already\n  %s\n"
	      "  pass the pointer that kmalloc returned, once",
	      p, page ? page_text(text, page) : text);
}

void kfree_large(const void *p)
{
	struct page *page;

	do /* of two who free it at once, one changes its state; the other panics here */
		page = large_block(p);
	while (!page_claim(page, page->order, PG_KMALLOC, PG_STOCK));
	page_to_stock(page, page->order);
}

u64 ksize(const void *p)
{
	struct kmem_cache *cache = virt_to_cache(p);

	if (cache)
		return kmem_cache_size(cache);
	return p ? PAGE_SIZE << large_block(p)->order : 0;
}

void *krealloc(const void *p, u64 bytes, gfp_t gfp)
{
	u64 had = ksize(p);
	void *fresh = (void *)p;

	if (p && bytes && bytes <= had)
		return fresh;
	fresh = kmalloc_slow(bytes, gfp, CALLER()); /* 0 bytes: NULL */
	if (fresh && p)
		memcpy(fresh, p, had);
	if (fresh || bytes == 0)
		kfree(p);
	return fresh;
}
