/*
 * kasan_objects.c - slabs and kmalloc: red zones, who and where, and a quarantine.
 *
 * Each object of a cache is made larger by a record of 16 bytes at its end, which is also the red
 * zone: how many bytes were asked for, who asked, who freed. So what mm/slab.c cuts a frame into is
 *
 *	[ bytes asked for | up to a multiple of 8: partly allowed | red zone ... | record ] [ next ...
 *
 * and all of a slab but what is in use may not be touched. An object that is freed first waits in a
 * queue of this CPU's, so that it is not somebody else's at once, and a stale pointer is seen as one.
 * Caches of up to 2048 bytes get their record: allocators/mm/slab.h lets slab.c make objects so large.
 * A large kmalloc has frames of its own; what is more than was asked for is its red zone.
 */
#include <arch/cpu.h>
#include <kernel/panic.h>
#include <mm/pagetable.h>
#include <mm/slab.h>

#include "kasan.h"

#define QUARANTINE 128 /* objects of each CPU's */

struct kmem_cache *__real_kmem_cache_create(const char *name, u64 bytes, u64 align);
struct kmem_cache *__wrap_kmem_cache_create(const char *name, u64 bytes, u64 align);
void __real_kmem_cache_destroy(struct kmem_cache *cache);
void __wrap_kmem_cache_destroy(struct kmem_cache *cache);
void *__real_kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp);
void *__wrap_kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp);
void __real_kmem_cache_free(struct kmem_cache *cache, void *object);
void __wrap_kmem_cache_free(struct kmem_cache *cache, void *object);
u64 __real_kmem_cache_size(const struct kmem_cache *cache);
u64 __wrap_kmem_cache_size(const struct kmem_cache *cache);
u64 __real_kmem_cache_shrink_all(void);
u64 __wrap_kmem_cache_shrink_all(void);
bool __real_kmem_cache_stats(unsigned index, struct kmem_stats *stats);
bool __wrap_kmem_cache_stats(unsigned index, struct kmem_stats *stats);
void __real_kfree(const void *p);
void __wrap_kfree(const void *p);
u64 __real_ksize(const void *p);
u64 __wrap_ksize(const void *p);
void *__real_krealloc(const void *p, u64 bytes, gfp_t gfp);
void *__wrap_krealloc(const void *p, u64 bytes, gfp_t gfp);
void *kasan_kmalloc(u64 bytes, gfp_t gfp);
void *kasan_kzalloc(u64 bytes, gfp_t gfp);

struct record {
	u32 bytes;
	u32 allocated, freed; /* code, from the image's base */
	u32 unused;
};

u64 kasan_most_bytes = KMALLOC_MAX_CACHE; /* what slab.c takes: see allocators/mm/slab.h */

/* What each cache's objects are for those who use it, in no order; cache NULL: none. */
static struct {
	struct kmem_cache *cache;
	const char *name;
	u64 bytes;
} known[KMEM_MAX_CACHES];

static u64 public_bytes(const struct kmem_cache *cache)
{
	for (unsigned i = 0; i < KMEM_MAX_CACHES; i++)
		if (known[i].cache == cache)
			return known[i].bytes;
	return 0;
}

struct kmem_cache *__wrap_kmem_cache_create(const char *name, u64 bytes, u64 align)
{
	struct kmem_cache *cache, *nobody = NULL;
	unsigned i = 0;

	if (bytes < 8 || bytes > KMALLOC_MAX_CACHE)
		return NULL;
	kasan_most_bytes = PAGE_SIZE;
	cache = __real_kmem_cache_create(name, ALIGN_UP(bytes, 8) + sizeof(struct record), align);
	kasan_most_bytes = KMALLOC_MAX_CACHE;
	if (!cache)
		return NULL;
	while (!__atomic_compare_exchange_n(&known[i].cache, &nobody, cache, false,
					    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		nobody = NULL;
		i++;
	}
	known[i].name = name;
	known[i].bytes = ALIGN_UP(bytes, MAX(align, 8ul)); /* as without us */
	return cache;
}

void __wrap_kmem_cache_destroy(struct kmem_cache *cache)
{
	unsigned i = 0;

	kasan_objects_flush(true);
	__real_kmem_cache_destroy(cache);
	while (known[i].cache != cache)
		i++;
	__atomic_store_n(&known[i].cache, NULL, __ATOMIC_RELEASE);
}

/* The object that holds p, if a slab does; NULL otherwise. */
static void *object_at(const void *p, u64 *step)
{
	struct kmem_cache *cache = virt_to_cache(p);
	u64 at = (vaddr_t)p % PAGE_SIZE;

	*step = 1;
	if (!cache)
		return NULL;
	*step = __real_kmem_cache_size(cache);
	if (at / *step == PAGE_SIZE / *step) /* the bits, or nothing */
		return NULL;
	return (char *)p - at % *step;
}

static struct record *record_of(const void *object, u64 step)
{
	return (struct record *)((vaddr_t)object + step) - 1;
}

/* Allocation */

static void *new_object(void *p, u64 bytes, vaddr_t caller)
{
	struct page *page;
	u64 step;

	if (!p)
		return NULL;
	if (object_at(p, &step)) {
		*record_of(p, step) = (struct record){ bytes, code_offset(caller), 0, 0 };
		kasan_allow_of(p, bytes, step, SHADOW_OBJECT);
		return p;
	}
	page = direct_to_page(p);
	page->owner = code_offset(caller);
	kasan_frame_sites[page_to_pfn(page)] = (struct kasan_sites){ page->owner, 0 };
	kasan_allow_of(p, bytes, PAGE_SIZE << page->order, SHADOW_LARGE);
	return p;
}

void *kasan_kmalloc(u64 bytes, gfp_t gfp)
{
	return new_object(kmalloc(bytes, gfp), bytes, CALLER());
}

void *kasan_kzalloc(u64 bytes, gfp_t gfp)
{
	return new_object(kmalloc(bytes, gfp | __GFP_ZERO), bytes, CALLER());
}

void *__wrap_kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	return new_object(__real_kmem_cache_alloc(cache, gfp), public_bytes(cache), CALLER());
}

/* The quarantine */

static struct queue {
	u64 head, tail; /* counted for ever */
	void *object[QUARANTINE];
} queues[NR_CPUS];

/*
 * The oldest goes back to its slab, which writes over the record. It is put back if the object lies
 * in this CPU's magazine: then it is still nobody's, for interrupts are masked.
 */
static void release_oldest(struct queue *queue)
{
	void *p = queue->object[queue->head++ % QUARANTINE];
	u64 step, number = direct_to_page(p)->slab_cache;
	struct record record, *at;
	struct magazine *m;

	p = object_at(p, &step);
	at = record_of(p, step);
	record = *at;
	__real_kfree(p);
	m = &magazines[cpu_id()][number];
	if (m->nr && m->item[m->nr - 1] == p)
		*at = record;
}

static void flush_here(void *unused)
{
	irqflags_t flags = irq_save();
	struct queue *queue = &queues[cpu_id()];

	(void)unused;
	while (queue->head != queue->tail)
		release_oldest(queue);
	irq_restore(flags);
}

void kasan_objects_flush(bool others)
{
	if (others && !in_interrupt())
		on_every_cpu(flush_here, NULL);
	else
		flush_here(NULL);
}

/* True: it was in use, is marked as free and waits; of two that free it at once one finds that. */
static bool to_quarantine(void *p, vaddr_t caller)
{
	struct queue *queue;
	irqflags_t flags;
	u64 step;
	s8 was;

	if (!p || object_at(p, &step) != p || *(u8 *)SHADOW(p) >= SHADOW_OBJECT)
		return false;
	was = __atomic_exchange_n(SHADOW(p), (s8)SHADOW_FREED, __ATOMIC_ACQ_REL);
	if ((u8)was == SHADOW_FREED)
		kasan_double_free(p, "is free already", (void *)caller);
	flags = irq_save();
	record_of(p, step)->freed = code_offset(caller);
	kasan_poison(p, ALIGN_UP(record_of(p, step)->bytes, 8), SHADOW_FREED);
	queue = &queues[cpu_id()];
	if (queue->tail - queue->head == QUARANTINE)
		release_oldest(queue);
	queue->object[queue->tail++ % QUARANTINE] = p;
	irq_restore(flags);
	return true;
}

/* Freeing. What is not in use, or no object, mm/ itself tells. */

static void free_object(void *p, vaddr_t caller)
{
	struct page *page = direct_to_page(p);

	if (to_quarantine(p, caller))
		return;
	if (page && page->state == PG_KMALLOC && IS_ALIGNED((vaddr_t)p, PAGE_SIZE)) {
		kasan_frame_sites[page_to_pfn(page)].freed = code_offset(caller);
		kasan_poison(p, PAGE_SIZE << page->order, SHADOW_FRAME);
	}
	__real_kfree(p);
}

void __wrap_kfree(const void *p)
{
	free_object((void *)p, CALLER());
}

void __wrap_kmem_cache_free(struct kmem_cache *cache, void *object)
{
	if (virt_to_cache(object) == cache)
		free_object(object, CALLER());
	else
		__real_kmem_cache_free(cache, object);
}

/* Sizes: who asks how much there really is may use it. */

u64 __wrap_kmem_cache_size(const struct kmem_cache *cache)
{
	return public_bytes(cache);
}

u64 __wrap_ksize(const void *p)
{
	u64 bytes = __real_ksize(p);

	if (p) {
		kasan_check(p, 1, false, (void *)CALLER());
		kasan_allow(p, bytes);
	}
	return bytes;
}

void *__wrap_krealloc(const void *p, u64 bytes, gfp_t gfp)
{
	if (p)
		kasan_check(p, 1, false, (void *)CALLER());
	return new_object(__real_krealloc(p, bytes, gfp), bytes, CALLER());
}

u64 __wrap_kmem_cache_shrink_all(void)
{
	kasan_objects_flush(true);
	return __real_kmem_cache_shrink_all();
}

bool __wrap_kmem_cache_stats(unsigned index, struct kmem_stats *stats)
{
	kasan_objects_flush(true);
	if (!__real_kmem_cache_stats(index, stats))
		return false;
	for (unsigned i = 0; i < KMEM_MAX_CACHES; i++)
		if (known[i].cache && known[i].name == stats->name)
			stats->bytes = known[i].bytes;
	return true;
}

static bool is_live(const void *object)
{
	return *SHADOW(object) >= 0;
}

/* Of the object that bad lies in and the next, which is in use, the one that bad is nearer to. */
void kasan_describe_object(struct kasan_text *text, vaddr_t bad)
{
	u64 step, to_left, unused;
	char *object = object_at((void *)bad, &step), *next = object + step;
	bool known_here, next_lives;

	if (!object)
		return kasan_describe_frame(text, bad);
	known_here = is_live(object) || *(u8 *)SHADOW(object) == SHADOW_FREED;
	next_lives = object_at(next, &unused) == next && is_live(next) &&
		     *(u8 *)SHADOW(bad) != SHADOW_FREED;
	to_left = bad - (vaddr_t)object - record_of(object, step)->bytes;
	if (next_lives && (!is_live(object) || (vaddr_t)next - bad <= to_left))
		object = next;
	else if (!known_here)
		return kasan_describe_frame(text, bad);
	kasan_say_object(text, bad, (vaddr_t)object, record_of(object, step)->bytes, "cache ");
	for (unsigned i = 0; i < KMEM_MAX_CACHES; i++)
		if (known[i].cache == virt_to_cache(object))
			kasan_say(text, "%s", known[i].name);
	kasan_say_sites(text, record_of(object, step)->allocated, record_of(object, step)->freed);
}
