/*
 * slab.h - small objects, and kmalloc: memory whose frames are neighbours.
 *
 * Slabs after Bonwick 1994, in the direct map; names and meanings are Linux's. Any context. A
 * bitmap tells what is free, so that every double or foreign free panics with what it found, before
 * anything has changed.
 */
#pragma once

#include <kernel/spinlock.h>
#include <mm/page_alloc.h>

#define KMALLOC_MAX_CACHE 2048			  /* above this, whole pages */
#define KMALLOC_MAX_SIZE (PAGE_SIZE << MAX_ORDER) /* above this, NULL */
#define KMEM_MAX_CACHES 64			  /* struct page has 6 bits for the number */

/*
 * A cache of objects of `bytes` (8 .. 2048), aligned to align (a power of two up to 2048; 0: 8).
 * name is kept, not copied. NULL: out of range or memory. Destroy panics if objects are in use.
 */
must_check struct kmem_cache *kmem_cache_create(const char *name, u64 bytes, u64 align);
void kmem_cache_destroy(struct kmem_cache *cache);

/* One object, or NULL. Contents undefined unless __GFP_ZERO. */
must_check void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp);
void kmem_cache_free(struct kmem_cache *cache, void *object);

/* Its objects' size, bytes; and whose object p is, NULL if no cache's. */
u64 kmem_cache_size(const struct kmem_cache *cache);
struct kmem_cache *virt_to_cache(const void *p);

u64 kmem_cache_shrink_all(void); /* frees empty slabs; returns their frames. Also a shrinker. */

/*
 * Classes 8 16 32 64 96 128 192 256 512 1024 2048, then blocks of 2^order pages. A size that is a
 * power of two comes aligned to it. NULL: bytes is 0 or above KMALLOC_MAX_SIZE, or no block free.
 */
must_check void *kmalloc(u64 bytes, gfp_t gfp);
must_check static inline void *kzalloc(u64 bytes, gfp_t gfp)
{
	return kmalloc(bytes, gfp | __GFP_ZERO);
}

void kfree(const void *p); /* NULL is nothing */
u64 ksize(const void *p);  /* what kmalloc really gave, bytes; 0 for NULL */

/* Resize, keeping contents; p NULL: kmalloc; bytes 0: kfree, NULL. NULL else: p is as it was. */
must_check void *krealloc(const void *p, u64 bytes, gfp_t gfp);

struct kmem_stats {
	const char *name;
	u64 bytes;	   /* of one object */
	u64 per_slab;	   /* objects in a slab of one frame */
	u64 slabs, in_use; /* now */
	u64 allocs, frees; /* ever */
};

/* Those of the index-th cache; false past the last. */
bool kmem_cache_stats(unsigned index, struct kmem_stats *stats);

u64 slab_check(complain_fn complain); /* bitmaps, counters, frames: returns number of faults */
void slab_init(void);		      /* once, after page_alloc_init */
