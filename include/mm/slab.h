/*
 * slab.h - small objects, and kmalloc: memory whose frames are neighbours.
 *
 * Slabs after Bonwick 1994, with magazines of each CPU's after Bonwick and Adams 2001, in the direct
 * map; names and meanings are Linux's. Any context. A mark in each free object and a bitmap in each
 * slab tell what is free: a double or foreign free panics, before anything has changed.
 */
#pragma once

#include <kernel/spinlock.h>
#include <mm/page_alloc.h>

#define KMALLOC_MAX_CACHE 2048			  /* above this, whole pages */
#define KMALLOC_MAX_SIZE (PAGE_SIZE << MAX_ORDER) /* above this, NULL */

/*
 * A cache of objects of `bytes` (8 .. 2048), aligned to align (a power of two up to 2048; 0: 8).
 * name is kept, not copied. NULL: out of range or of numbers. Destroy, not in an interrupt, as it
 * asks all CPUs for theirs; panics if objects are in use.
 */
must_check struct kmem_cache *kmem_cache_create(const char *name, u64 bytes, u64 align);
void kmem_cache_destroy(struct kmem_cache *cache);

/* One object, or NULL. Contents undefined unless __GFP_ZERO. */
must_check void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp);
void kmem_cache_free(struct kmem_cache *cache, void *object);

/* Its objects' size, bytes; and whose object p is, NULL if no cache's. */
u64 kmem_cache_size(const struct kmem_cache *cache);
struct kmem_cache *virt_to_cache(const void *p);

/* Empty all CPUs' magazines, free empty slabs: how many. No lock held, not in an interrupt. */
u64 kmem_cache_shrink_all(void);

/* An object that this CPU has at hand; NULL: there is none. */
static inline void *kmem_pop(u64 number)
{
	void *object = magazine_pop(&magazines[cpu_id()][number]);

	if (likely(object))
		*(u64 *)object = CHECKING ? ~0ul / 255 * JUNK : 0; /* no mark: it is in use */
	return object;
}

/* The classes, and the number of the cache for a size. */
#define KMALLOC_CLASSES(x) x(8) x(16) x(32) x(64) x(96) x(128) x(192) x(256) x(512) x(1024) x(2048)
#define KMALLOC_FITS_NOT(bytes) number += size > (bytes);
static inline u64 kmalloc_number(u64 size)
{
	u64 number = 1;

	KMALLOC_CLASSES(KMALLOC_FITS_NOT)
	return number;
}

void *kmem_alloc_slow(u64 number, gfp_t gfp);
void *kmalloc_slow(u64 bytes, gfp_t gfp, vaddr_t owner);
void kfree_large(const void *p);

/*
 * Classes 8 16 32 64 96 128 192 256 512 1024 2048, then blocks of 2^order pages. A size that is a
 * power of two comes aligned to it. NULL: bytes is 0 or above KMALLOC_MAX_SIZE, or no block free.
 */
must_check static inline void *kmalloc(u64 bytes, gfp_t gfp)
{
	void *object = bytes - 1 < KMALLOC_MAX_CACHE ? kmem_pop(kmalloc_number(bytes)) : NULL;

	if (unlikely(!object))
		return kmalloc_slow(bytes, gfp, THIS_CODE());
	return gfp & __GFP_ZERO ? memset(object, 0, bytes) : object;
}

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
	u64 allocs, frees; /* ever, out of and into slabs: magazines serve most without */
};

/* Those of the index-th cache; false past the last. */
bool kmem_cache_stats(unsigned index, struct kmem_stats *stats);

void slab_check(void); /* bitmaps, counters, lists, frames: COMPLAIN, see mm.h */
void slab_init(void);  /* once, after page_alloc_init */
