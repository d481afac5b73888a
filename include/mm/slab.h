/*
 * slab.h - small objects, and kmalloc: memory whose frames are neighbours.
 *
 * Slabs after Bonwick 1994. Everything here lies in the direct map: the physical address is one
 * subtraction away (virt_to_phys). Names and meanings are Linux's. Any context. What is free is
 * told by a bitmap, so that a double or a foreign free is caught every time and panics with
 * what it found, before anything has changed.
 */
#pragma once

#include <kernel/spinlock.h>
#include <kernel/types.h>
#include <mm/page_alloc.h>

#define KMALLOC_MAX_CACHE 2048			  /* above this, whole pages */
#define KMALLOC_MAX_SIZE (PAGE_SIZE << MAX_ORDER) /* above this, NULL */

#define KMEM_MAX_CACHES 64 /* struct page has 6 bits for the number */
struct kmem_cache;	   /* objects of one size */

/*
 * A cache of objects of `bytes` (8 .. 2048), aligned to align (a power of two up to 2048; 0: 8).
 * name is kept, not copied. NULL if out of range or out of memory.
 */
must_check struct kmem_cache *kmem_cache_create(const char *name, u64 bytes, u64 align);

/* Give it back. Panics if objects are still in use. */
void kmem_cache_destroy(struct kmem_cache *cache);

/* One object, or NULL. Contents undefined unless __GFP_ZERO. */
must_check void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp);
void kmem_cache_free(struct kmem_cache *cache, void *object);

/* Its objects' size, bytes; and whose object p is, NULL if no cache's. */
u64 kmem_cache_size(const struct kmem_cache *cache);
struct kmem_cache *virt_to_cache(const void *p);

/* Give the frames of empty slabs back to page_alloc. Returns how many. Also a shrinker. */
u64 kmem_cache_shrink_all(void);

/*
 * Classes 8 16 32 64 96 128 192 256 512 1024 2048, then blocks of 2^order pages. A size that is a
 * power of two comes aligned to it. NULL if bytes is 0, above KMALLOC_MAX_SIZE, or no block is free.
 */
must_check void *kmalloc(u64 bytes, gfp_t gfp);

must_check static inline void *kzalloc(u64 bytes, gfp_t gfp)
{
	return kmalloc(bytes, gfp | __GFP_ZERO);
}

/* NULL is nothing. */
void kfree(const void *p);

/*
 * Grow or shrink, keeping the contents: p NULL allocates, bytes 0 frees and returns NULL. On NULL
 * otherwise, p is as it was.
 */
must_check void *krealloc(const void *p, u64 bytes, gfp_t gfp);

/* What kmalloc really gave for p, bytes; 0 for NULL. */
u64 ksize(const void *p);

struct kmem_stats {
	const char *name;
	u64 bytes;	   /* of one object */
	u64 per_slab;	   /* objects in a slab of one frame */
	u64 slabs, in_use; /* now */
	u64 allocs, frees; /* ever */
};

/* Statistics of the index-th cache; false past the last. */
bool kmem_cache_stats(unsigned index, struct kmem_stats *stats);

/* Bitmaps against counters against frames; complains, returns the number of faults. */
u64 slab_check(complain_fn complain);

/* Once, after page_alloc_init. */
void slab_init(void);
