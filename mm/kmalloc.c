/*
 * kmalloc.c - memory by the byte, for everyone: a size chooses a cache.
 *
 * kmalloc(100) takes an object of the smallest cache that fits, here 128 bytes; above 2048 bytes,
 * a whole block of 2^order frames. Either way the memory is contiguous in RAM. That tells kmalloc
 * from vmalloc, and a large kmalloc may fail on a machine with plenty of free frames, but no free
 * neighbours. kfree is told no size. The struct page of the frame knows: it belongs to a slab,
 * or is the first of a large block, whose order it keeps.
 */
#include <kernel/panic.h>
#include <kernel/string.h>
#include <mm/slab.h>

#define CLASS(bytes)                     \
	{                                \
		"kmalloc-" #bytes, bytes \
	}
static const struct {
	const char *name;
	u64 bytes;
} classes[] = { CLASS(8),   CLASS(16),	CLASS(32),  CLASS(64),	 CLASS(96),  CLASS(128),
		CLASS(192), CLASS(256), CLASS(512), CLASS(1024), CLASS(2048) };

/* The cache for each size, in steps of 8 bytes: 1..8, 9..16, … */
static struct kmem_cache *cache_for[KMALLOC_MAX_CACHE / 8];

void slab_init(void)
{
	for (u64 i = 0, size = 0; i < ARRAY_SIZE(classes); i++) {
		u64 bytes = classes[i].bytes, align = bytes & -bytes; /* the lowest bit set */
		struct kmem_cache *cache = kmem_cache_create(classes[i].name, bytes, align);

		BUG_ON(!cache);
		for (; size < bytes; size += 8)
			cache_for[size / 8] = cache;
	}
	register_shrinker(kmem_cache_shrink_all);
}

static void *allocate(u64 bytes, gfp_t gfp, vaddr_t owner)
{
	unsigned order = 0;
	struct page *page;

	if (bytes == 0 || bytes > KMALLOC_MAX_SIZE)
		return NULL;
	if (bytes <= KMALLOC_MAX_CACHE)
		return kmem_cache_alloc(cache_for[(bytes - 1) / 8], gfp);
	while (PAGE_SIZE << order < bytes)
		order++;
	page = alloc_pages(gfp, order);
	if (page)
		page_set_owner(page, PG_KMALLOC, owner);
	return page ? page_address(page) : NULL;
}

void *kmalloc(u64 bytes, gfp_t gfp)
{
	return allocate(bytes, gfp, CALLER());
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

void kfree(const void *p)
{
	struct kmem_cache *cache = virt_to_cache(p);
	struct page *page = cache || !p ? NULL : large_block(p);
	unsigned order;
	u16 was;

	if (cache)
		kmem_cache_free(cache, (void *)p);
	if (!page)
		return;
	order = page->order;
	was = PAGE_IS(PG_KMALLOC, order);
	/* Of two who free it at once, one changes its state. */
	if (!__atomic_compare_exchange_n(&page->state_and_order, &was, PAGE_IS(PG_ALLOC, order),
					 false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		large_block(p); /* panics */
	__free_pages(page, order);
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
	fresh = allocate(bytes, gfp, CALLER()); /* 0 bytes: NULL */
	if (fresh && p)
		memcpy(fresh, p, had);
	if (fresh || bytes == 0)
		kfree(p);
	return fresh;
}
