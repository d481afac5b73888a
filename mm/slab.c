/*
 * slab.c - many small objects of one size in one frame, and a few of them at hand for each CPU.
 *
 * A cache takes memory by the frame and cuts each frame, now called a slab, into objects (Bonwick,
 * USENIX Summer 1994). One bit an object says whether it is free. Small objects are many, and their
 * bits take the slab's end. From 128 bytes on there are at most 32, whose bits fit into struct page:
 *
 *	64 bytes    [ object 0 ][ object 1 ] ... [ object 62 ][ 63 bits ]
 *	512 bytes   [ object 0 ][ object 1 ] ... [ object 7 ]		8 bits in struct page
 *
 * Slabs with free objects are in their cache's list. One that becomes empty is freed at once.
 *
 * In front of the slabs, each CPU has a magazine for each cache, as for blocks of frames (page_alloc.c).
 * To the slabs, what lies in a magazine is in use.
 *
 * A free object, in a slab or a magazine, begins with its mark: its address, XOR a number drawn at
 * boot. kfree exchanges the mark in. If it was there already, the object was free: of two CPUs that
 * free it at once, exactly one finds that. (An object in use may hold its mark by chance: one in 2^64.)
 * Where a stale pointer has destroyed the mark, the bit tells when the object goes back to its slab.
 */
#include <kernel/random.h>
#include <mm/mm.h>
#include <mm/slab.h>

#define NR_NUMBERS (KMEM_MAX_CACHES + 1) /* caches' numbers; 0 is nobody's */

/*
 * Does an object begin at this offset of a slab? offset * scale, in 32 bits, is index * 2^19 and less
 * than 2^12 more if so; otherwise it is at least 2^32 / size, more than any index * 2^19. (Cf. Lemire,
 * Kaser and Kurz, "Faster remainder by direct computation", 2019.)
 */
#define SCALE(size) (((1ul << 32) + (1ul << 19) + (size)-1) / (size))
#define AT_SCALE(p, scale) ((u32)((vaddr_t)(p) % PAGE_SIZE) * (scale))

static struct kmem_cache {
	struct spinlock lock;	  /* guards all below, and the struct pages and bits of its slabs */
	struct page_list partial; /* slabs with free objects, and some in use */
	struct kmem_stats now;	  /* name NULL: not in use. in_use: those in magazines, too */
	u32 bits;		  /* where in the frame they begin; 0: they are in struct page */
	struct magazine empty;	  /* what a CPU's is at first */
} caches[NR_NUMBERS] = { [0 ... KMEM_MAX_CACHES] = { .lock = SPINLOCK("kmem_cache", LOCK_SLAB) } };

static u64 cookie, slabs_freed;

static inline u64 mark_of(const void *object)
{
	return cookie ^ (vaddr_t)object;
}

/* The bits of a slab, set where an object is free. */
static u32 *slab_bitmap(const struct kmem_cache *cache, struct page *page)
{
	return cache->bits ? page_address(page) + cache->bits : &page->slab_bits;
}

struct kmem_cache *kmem_cache_create(const char *name, u64 bytes, u64 align)
{
	u64 step = ALIGN_UP(bytes, MAX(align, 8ul)), n = PAGE_SIZE / MAX(step, 8ul);
	u64 bits = n <= 32 ? PAGE_SIZE : PAGE_SIZE - (n + 31) / 32 * sizeof(u32);
	struct kmem_cache *cache = caches + 1;

	if (bytes < 8 || bytes > KMALLOC_MAX_CACHE || align > 2048 || align & (align - 1))
		return NULL;
	cookie = cookie ?: random_next(&(u64){ cycles() });
	while (!__sync_bool_compare_and_swap(&cache->now.name, NULL, name))
		if (++cache == caches + NR_NUMBERS)
			return NULL;
	cache->now.bytes = step; /* one by one: without its name, another CPU could take it */
	cache->now.per_slab = bits / step;
	cache->now.allocs = cache->now.frees = 0;
	cache->bits = bits % PAGE_SIZE;
	cache->empty = (struct magazine){ .most = MIN(MAGAZINE_ITEMS, 16 * KiB / step),
					  .scale = SCALE(step),
					  .limit = cache->now.per_slab << 19 };
	for (u32 cpu = 0; cpu < NR_CPUS; cpu++)
		if (magazines[cpu])
			magazines[cpu][cache - caches] = cache->empty;
	return cache;
}

/* Slabs */

/* A new one, every object free, in no list; NULL: there is no frame. No lock held. */
static struct page *new_slab(struct kmem_cache *cache, gfp_t gfp)
{
	struct page *page = alloc_pages(gfp & ~__GFP_ZERO, 0);
	char *object = page ? page_address(page) : NULL;

	if (!page)
		return NULL;
	for (u32 i = 0; i < cache->now.per_slab; i++, object += cache->now.bytes)
		*(u64 *)object = mark_of(object);
	for (u32 i = 0; i < cache->now.per_slab; i += 32)
		slab_bitmap(cache, page)[i / 32] = ~0u; /* bits past per_slab never come first */
	page->slab_used = 0;
	page->slab_cache = cache - caches;
	page->state = PG_SLAB;
	return page;
}

static void free_slab(struct page *page)
{
	page->flags = 0; /* only frames of slabs name a cache: kfree looks at nothing else */
	page_set_owner(page, PG_ALLOC, address_map.image); /* slab_bits named nobody */
	__free_pages(page, 0);
}

/* Take a free object of a slab, if there is one. The cache's lock held. */
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
	if (++page->slab_used == cache->now.per_slab)
		page_list_remove(&cache->partial, page);
	cache->now.in_use++;
	cache->now.allocs++;
	return (char *)page_address(page) + (word * 32 + bit) * cache->now.bytes;
}

/* Give an object back to its slab. False: it is there already. The cache's lock held. */
static bool give_object(struct kmem_cache *cache, void *object)
{
	struct page *page = virt_to_page(object);
	u32 i = AT_SCALE(object, cache->empty.scale) >> 19;
	u32 *bits = slab_bitmap(cache, page) + i / 32;

	if (*bits & 1u << i % 32)
		return false;
	*bits |= 1u << i % 32;
	cache->now.in_use--;
	cache->now.frees++;
	if (page->slab_used-- == cache->now.per_slab)
		page_list_add(&cache->partial, page, false);
	if (page->slab_used == 0) {
		page_list_remove(&cache->partial, page);
		cache->now.slabs--;
		__atomic_add_fetch(&slabs_freed, 1, __ATOMIC_RELAXED);
		free_slab(page);
	}
	return true;
}

static _Noreturn noinline void bad_free(const struct kmem_cache *cache, const void *p,
					const char *wrong)
{
	panic("kfree: %p %s\n  %s has objects of %lu bytes, %lu in a frame, from its first byte on\n"
	      "  free each object once, by the pointer that its allocation returned",
	      p, wrong, cache->now.name, cache->now.bytes, cache->now.per_slab);
}

/* Magazines */

/* Give objects of this CPU's back to their slabs, until so many are left. */
static void trim(struct kmem_cache *cache, u32 nr)
{
	irqflags_t flags = spin_lock(&cache->lock);
	struct magazine *m = &magazines[cpu_id()][cache - caches];
	void *object = NULL;
	bool ok = true;

	while (ok && m->nr > nr)
		ok = give_object(cache, object = m->item[--m->nr]);
	spin_unlock(&cache->lock, flags);
	if (!ok)
		bad_free(cache, object, "is free already");
}

void *kmem_alloc_slow(u64 number, gfp_t gfp)
{
	struct magazine *m = &magazines[cpu_id()][number];
	struct kmem_cache *cache = &caches[number];
	struct page *fresh = NULL;
	void *object;

	if (CHECKING && mm_injector && mm_injector(true))
		return NULL;
	do {
		irqflags_t flags = spin_lock(&cache->lock);

		if (fresh && !m->nr) { /* none came back meanwhile */
			page_list_add(&cache->partial, fresh, false);
			cache->now.slabs++;
			fresh = NULL;
		}
		for (u32 n = m->nr ? 0 : m->most / 2 + 1; n && (object = take_object(cache)); n--)
			m->item[m->nr++] = object;
		object = kmem_pop(number);
		spin_unlock(&cache->lock, flags);
	} while (!object && (fresh = new_slab(cache, gfp)));
	if (fresh)
		free_slab(fresh);
	return object;
}

void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	void *object = CHECKING && mm_injector ? NULL : kmem_pop(cache - caches);

	if (!object)
		object = kmem_alloc_slow(cache - caches, gfp);
	return object && gfp & __GFP_ZERO ? memset(object, 0, cache->now.bytes) : object;
}

/* Into the magazine. False: no object begins there, or it is full. */
static inline bool free_here(u64 number, void *p)
{
	irqflags_t flags = irq_save();
	struct magazine *m = &magazines[cpu_id()][number];
	bool fits = AT_SCALE(p, m->scale) < m->limit && m->nr < m->most;
	u64 mark = mark_of(p);

	if (likely(fits)) {
		/* Of all who free it, one finds no mark. */
		if (unlikely(__atomic_exchange_n((u64 *)p, mark, __ATOMIC_ACQ_REL) == mark))
			bad_free(virt_to_cache(p), p, "is free already");
		if (CHECKING)
			memset((u64 *)p + 1, JUNK, caches[number].now.bytes - sizeof(mark));
		m->item[m->nr++] = p;
	}
	irq_restore(flags);
	return fits;
}

/* Any pointer, anywhere. */
static noinline void free_slow(void *p)
{
	struct kmem_cache *cache;

	/* Look anew after each trim: if this is a second free, that may have freed the slab. */
	while ((cache = virt_to_cache(p)) && !free_here(cache - caches, p)) {
		if (AT_SCALE(p, cache->empty.scale) >= cache->empty.limit)
			bad_free(cache, p, "is not where an object begins");
		trim(cache, cache->empty.most / 2);
	}
	if (p && !cache)
		kfree_large(p);
}

void kfree(const void *p)
{
	const struct page *page = direct_page(p);

	/* The number is slab_cache: here by one load and one shift, of which the compiler makes more. */
	if (unlikely(!page_is_main(page) ||
		     !free_here(*(const u32 *)&page->state >> 26, (void *)p)))
		free_slow((void *)p);
}

void kmem_cache_free(struct kmem_cache *cache, void *object)
{
	if (virt_to_cache(object) != cache)
		bad_free(cache, object, "is no object of this cache");
	kfree(object);
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

static void empty_here(void *unused)
{
	(void)unused;
	for (u64 i = 1; i < NR_NUMBERS; i++)
		if (magazines[cpu_id()][i].nr)
			trim(&caches[i], 0);
}

u64 kmem_cache_shrink_all(void)
{
	u64 before = slabs_freed;

	on_every_cpu(empty_here, NULL);
	return slabs_freed - before;
}

void kmem_cache_destroy(struct kmem_cache *cache)
{
	kmem_cache_shrink_all();
	if (cache->now.in_use)
		panic("kmem_cache_destroy: %lu objects of cache %s are in use\n  free them first",
		      cache->now.in_use, cache->now.name);
	cache->now.name = NULL;
}

bool kmem_cache_stats(unsigned index, struct kmem_stats *stats)
{
	u64 i = 1;

	while (i < NR_NUMBERS && (!caches[i].now.name || index-- > 0))
		i++;
	if (i == NR_NUMBERS)
		return false;
	*stats = caches[i].now;
	for (u32 cpu = 0; cpu < nr_cpus(); cpu++)
		stats->in_use -= magazines[cpu][i].nr;
	return true;
}

struct recount {
	u64 slabs, partial, in_use;
};

static void audit_slab(struct page *page, struct recount *found)
{
	const struct kmem_cache *cache = &caches[page->slab_cache];
	u32 nr_free = 0, used = page->slab_used;

	for (u32 i = 0; i < cache->now.per_slab; i++)
		nr_free += slab_bitmap(cache, page)[i / 32] >> i % 32 & 1;
	if (nr_free + used != cache->now.per_slab)
		COMPLAIN("slab: frame 0x%lx of %s is unsound: %u objects used, %u free",
			 page_to_pfn(page), cache->now.name, used, nr_free);
	found->slabs++;
	found->in_use += used;
	found->partial += nr_free != 0;
}

void slab_check(void)
{
	struct recount found[NR_NUMBERS] = { 0 };
	struct page *page;

	kmem_cache_shrink_all(); /* panics if an object was in two magazines */
	for (u64 pfn = 0, nr; (page = next_block(&pfn, &nr)); pfn += nr)
		if (page->state == PG_SLAB)
			audit_slab(page, &found[page->slab_cache]);
	for (unsigned i = 1; i < NR_NUMBERS; i++) {
		const struct kmem_stats *now = &caches[i].now;
		struct recount kept = { now->slabs,
					page_list_count(&caches[i].partial, PAGE_IS(PG_SLAB, 0)),
					now->in_use };

		if (memcmp(&kept, &found[i], sizeof(kept)))
			COMPLAIN("slab: %s counts %lu slabs, %lu listed as partly used, %lu "
				 "objects; there are %lu, %lu, %lu",
				 now->name, kept.slabs, kept.partial, kept.in_use, found[i].slabs,
				 found[i].partial, found[i].in_use);
	}
}
