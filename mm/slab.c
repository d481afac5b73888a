/*
 * slab.c - many small objects of one size in one frame (Bonwick, USENIX Summer 1994).
 *
 * A cache takes memory by the frame and cuts each frame, now called a slab, into objects. One bit
 * an object says whether it is free. Small objects are many, and their bits lie in the slab itself.
 * From 128 bytes on there are at most 32, whose bits fit into the struct page:
 *
 *	64 bytes    [ 63 bits ][ object 0 ][ object 1 ] ... [ object 62 ]
 *	512 bytes   [ object 0 ][ object 1 ] ... [ object 7 ]		8 bits in struct page
 *
 * The struct page of a pointer's frame says whose object it is: kfree needs no size, and a double
 * or foreign free is caught, as its bit is set or no object begins there. Slabs with free objects
 * are in their cache's list. At most one is empty, and last: a loop of alloc and free takes none.
 */
#include <kernel/panic.h>
#include <kernel/string.h>
#include <mm/slab.h>

static struct kmem_cache {
	struct spinlock lock;	  /* guards all below, and the struct pages and bits of its slabs */
	struct page_list partial; /* slabs with free objects; an empty one comes last */
	struct kmem_stats now;	  /* name NULL: this entry is not in use */
	u32 first;		  /* where in the frame the first object begins */
} caches[KMEM_MAX_CACHES] = { [0 ... KMEM_MAX_CACHES -
			       1] = { .lock = SPINLOCK("kmem_cache", LOCK_SLAB) } };

/* The bits of a slab, set where an object is free. */
static u32 *slab_bitmap(const struct kmem_cache *cache, struct page *page)
{
	return cache->first ? page_address(page) : &page->slab_bits;
}

struct kmem_cache *kmem_cache_create(const char *name, u64 bytes, u64 align)
{
	u64 step = ALIGN_UP(bytes, MAX(align, 8ul)), n = PAGE_SIZE / MAX(step, 8ul);
	u64 bitmap = n <= 32 ? 0 : ALIGN_UP((n + 31) / 32 * sizeof(u32), MAX(align, 8ul));

	if (bytes < 8 || bytes > 2048 || align > 2048 || (align & (align - 1) && align))
		return NULL;
	for (struct kmem_cache *cache = caches; cache < caches + KMEM_MAX_CACHES; cache++) {
		irqflags_t flags = spin_lock(&cache->lock);
		bool found = !cache->now.name;

		if (found) {
			cache->first = bitmap;
			cache->now = (struct kmem_stats){ .name = name, .bytes = step };
			cache->now.per_slab = (PAGE_SIZE - bitmap) / step;
		}
		spin_unlock(&cache->lock, flags);
		if (found)
			return cache;
	}
	return NULL;
}

/* A frame with every object free. No lock held. */
static struct page *new_slab(struct kmem_cache *cache, gfp_t gfp)
{
	struct page *page = alloc_pages(gfp & ~__GFP_ZERO, 0);

	if (!page)
		return NULL;
	page->state = PG_SLAB;
	page->slab_cache = cache - caches;
	page->slab_used = 0;
	for (u32 i = 0; i < cache->now.per_slab; i += 32)
		slab_bitmap(cache, page)[i / 32] = ~0u; /* bits past per_slab never come first */
	return page;
}

/* Take the cache's empty slab away, if it has one. The cache's lock held. */
static struct page *pop_empty(struct kmem_cache *cache)
{
	struct page *page = pfn_to_page(cache->partial.last);

	if (!cache->partial.last || page->slab_used)
		return NULL;
	page_list_remove(&cache->partial, page);
	cache->now.slabs--;
	page_set_owner(page, PG_ALLOC, address_map.image); /* slab_bits named nobody */
	return page;
}

/* Take a free object of a slab that has one. The cache's lock held. */
static void *take_object(struct kmem_cache *cache, struct page *page)
{
	u32 *bits = slab_bitmap(cache, page), word = 0, bit;

	while (!bits[word])
		word++;
	bit = __builtin_ctz(bits[word]);
	bits[word] &= ~(1u << bit);
	if (++page->slab_used == cache->now.per_slab)
		page_list_remove(&cache->partial, page);
	cache->now.in_use++;
	cache->now.allocs++;
	return (char *)page_address(page) + cache->first + (word * 32 + bit) * cache->now.bytes;
}

void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	irqflags_t flags = spin_lock(&cache->lock);
	struct page *page;
	void *object;

	if (!cache->partial.first) {
		spin_unlock(&cache->lock, flags);
		page = new_slab(cache, gfp);
		if (!page)
			return NULL;
		flags = spin_lock(&cache->lock);
		page_list_add(&cache->partial, page, false);
		cache->now.slabs++;
	}
	object = take_object(cache, pfn_to_page(cache->partial.first));
	spin_unlock(&cache->lock, flags);
	return gfp & __GFP_ZERO ? memset(object, 0, cache->now.bytes) : object;
}

/* Free an object, or say why not. *empty: a slab to be freed. The cache's lock held. */
static const char *give_object(struct kmem_cache *cache, void *p, struct page **empty)
{
	struct page *page = direct_to_page(p);
	u32 offset = (vaddr_t)p % PAGE_SIZE - cache->first, i = offset / cache->now.bytes, *bits;

	if (!page || page->state != PG_SLAB || &caches[page->slab_cache] != cache)
		return "is no object of this cache";
	if (i >= cache->now.per_slab || offset % cache->now.bytes)
		return "is not where an object begins";
	bits = slab_bitmap(cache, page) + i / 32;
	if (*bits & 1u << i % 32)
		return "is free already";
	*bits |= 1u << i % 32;
	cache->now.in_use--;
	cache->now.frees++;
	if (CHECKING)
		memset(p, JUNK, cache->now.bytes);
	if (page->slab_used-- == cache->now.per_slab)
		page_list_add(&cache->partial, page, false);
	if (page->slab_used == 0 && cache->partial.last != page_to_pfn(page)) {
		page_list_remove(&cache->partial, page);
		*empty = pop_empty(cache);
		page_list_add(&cache->partial, page, true);
	}
	return NULL;
}

void kmem_cache_free(struct kmem_cache *cache, void *object)
{
	irqflags_t flags = spin_lock(&cache->lock);
	struct page *empty = NULL;
	const char *wrong = give_object(cache, object, &empty);

	spin_unlock(&cache->lock, flags);
	if (wrong)
		panic("kfree: %p %s\n  %s has objects of %lu bytes, from byte %u of a frame on\n"
		      "  free each object once, by the pointer that its allocation returned",
		      object, wrong, cache->now.name, cache->now.bytes, cache->first);
	if (empty)
		__free_pages(empty, 0);
}

struct kmem_cache *virt_to_cache(const void *p)
{
	struct page *page = direct_to_page(p);

	return page && page->state == PG_SLAB ? &caches[page->slab_cache] : NULL;
}

u64 kmem_cache_size(const struct kmem_cache *cache)
{
	return cache->now.bytes;
}

u64 kmem_cache_shrink_all(void)
{
	u64 nr_pages = 0;

	for (struct kmem_cache *cache = caches; cache < caches + KMEM_MAX_CACHES; cache++) {
		struct page *page;
		irqflags_t flags;

		if (!spin_trylock(&cache->lock, &flags))
			continue;
		page = pop_empty(cache);
		spin_unlock(&cache->lock, flags);
		if (page && ++nr_pages)
			__free_pages(page, 0);
	}
	return nr_pages;
}

void kmem_cache_destroy(struct kmem_cache *cache)
{
	if (cache->now.in_use)
		panic("kmem_cache_destroy: %lu objects of cache %s are in use\n  free them first",
		      cache->now.in_use, cache->now.name);
	while (cache->now.slabs) /* an empty one; another CPU may hold the lock for a moment */
		kmem_cache_shrink_all();
	cache->now.name = NULL;
}

bool kmem_cache_stats(unsigned index, struct kmem_stats *stats)
{
	const struct kmem_cache *cache = caches, *end = caches + KMEM_MAX_CACHES;

	while (cache < end && (!cache->now.name || index-- > 0))
		cache++;
	if (cache < end)
		*stats = cache->now;
	return cache < end;
}

struct audit {
	complain_fn complain;
	u64 faults;
	u64 slabs[KMEM_MAX_CACHES], objects[KMEM_MAX_CACHES], partial[KMEM_MAX_CACHES];
};

static void audit_slab(struct page *page, u64 nr, void *arg)
{
	struct audit *audit = arg;
	const struct kmem_cache *cache = &caches[page->slab_cache];
	u32 nr_free = 0, used = page->slab_used, sound;

	if (page->state != PG_SLAB)
		return;
	for (u32 i = 0; i < cache->now.per_slab; i++)
		nr_free += slab_bitmap(cache, page)[i / 32] >> i % 32 & 1;
	sound = nr_free + used == cache->now.per_slab;
	sound &= !nr_free || page_list_holds(&cache->partial, page);
	if (!sound && ++audit->faults)
		audit->complain("slab: frame 0x%lx of %s is unsound: %u objects used, %u free",
				page_to_pfn(page), cache->now.name, used, nr_free);
	audit->slabs[page->slab_cache] += nr;
	audit->objects[page->slab_cache] += used;
	audit->partial[page->slab_cache] += nr_free != 0;
}

u64 slab_check(complain_fn complain)
{
	struct audit audit = { .complain = complain };

	for_each_block(audit_slab, &audit);
	for (unsigned i = 0; i < KMEM_MAX_CACHES; i++) {
		const struct kmem_stats *now = &caches[i].now;
		u64 slabs = audit.slabs[i], objects = audit.objects[i], listed = 0;

		for (u32 pfn = caches[i].partial.first; pfn && listed <= slabs; listed++)
			pfn = pfn_to_page(pfn)->next;
		if ((slabs != now->slabs || objects != now->in_use || listed != audit.partial[i]) &&
		    ++audit.faults)
			complain(
				"slab: %s counts %lu slabs, %lu listed as partly used, %lu objects; "
				"there are %lu, %lu, %lu",
				now->name, now->slabs, listed, now->in_use, slabs, audit.partial[i],
				objects);
	}
	return audit.faults;
}
