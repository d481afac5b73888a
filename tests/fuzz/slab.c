/*
 * slab.c - small objects, and kmalloc, against a set: who has which bytes.
 *
 * Every byte of an object is its owner's: filled when it comes, looked at when it goes. No object may
 * touch another. Caches come and go, too.
 */
#include <stdio.h>
#include <string.h>

#include <mm/mm.h>
#include <mm/slab.h>

#include "fuzz.h"

static struct cache {
	struct kmem_cache *cache; /* NULL: there is none */
	u64 bytes, step, align;	  /* as asked for; and from object to object */
	u64 nr;			  /* objects in use */
} caches[5];
static const char *const names[] = { "fuzz-0", "fuzz-1", "fuzz-2", "fuzz-3", "fuzz-4" };

static struct object {
	u8 *p;
	u64 bytes;
	u8 fill;
	struct cache *cache; /* NULL: kmalloc's */
} live[150];
static unsigned nr_live;
static struct object freed; /* the last that was */
static u8 next_fill;
static struct census at_first;

static void setup(void)
{
	take_census(&at_first);
}

/* All bytes, or where there are very many the first and the last. */
static void fill(struct object *o)
{
	o->fill = ++next_fill;
	memset(o->p, o->fill, MIN(o->bytes, 4096ul));
	o->p[o->bytes - 1] = o->fill;
}

static bool is_filled(const struct object *o, u64 bytes)
{
	u64 near = MIN(bytes, 4096ul);

	return *o->p == o->fill && !memcmp(o->p, o->p + 1, near - 1) &&
	       (bytes < o->bytes || o->p[bytes - 1] == o->fill);
}

static void took(void *p, u64 bytes, struct cache *cache)
{
	for (const struct object *o = live; o < live + nr_live; o++)
		EXPECT((u8 *)p + bytes <= o->p || o->p + o->bytes <= (u8 *)p);
	live[nr_live] = (struct object){ .p = p, .bytes = bytes, .cache = cache };
	fill(&live[nr_live++]);
}

static void expect_zeros(const u8 *p, u64 bytes)
{
	EXPECT(!*p && !memcmp(p, p + 1, bytes - 1));
}

/* What the cache says of itself. */
static void compare_counts(const struct cache *c)
{
	struct kmem_stats stats = { 0 };
	unsigned i = 0;

	while (kmem_cache_stats(i, &stats) && stats.name != names[c - caches])
		i++;
	EXPECT_EQ(stats.in_use, c->nr);
	EXPECT_EQ(stats.bytes, c->step);
	EXPECT(stats.slabs * stats.per_slab >= c->nr);
}

static void create(struct cache *c, struct bytes *in)
{
	u8 shape = byte(in);
	u64 bytes = word(in) % 2060, align = shape % 16 == 15 ? 24 :
					     shape & 8	      ? 1ul << shape % 8 << 5 :
								0;
	bool good = bytes >= 8 && bytes <= 2048 && align <= 2048 && !(align & (align - 1));

	c->cache = kmem_cache_create(names[c - caches], bytes, align);
	EXPECT_EQ(!!c->cache, good);
	c->bytes = bytes;
	c->align = MAX(align, 8ul);
	c->step = (bytes + c->align - 1) / c->align * c->align;
	c->nr = 0;
	if (good)
		EXPECT_EQ(kmem_cache_size(c->cache), c->step);
}

static void do_destroy(void *cache)
{
	kmem_cache_destroy(cache);
}

static void destroy(struct cache *c)
{
	if (c->nr) {
		EXPECT_PANIC(do_destroy, c->cache, "objects of cache");
		return;
	}
	kmem_cache_destroy(c->cache);
	c->cache = NULL;
}

static void alloc_object(struct cache *c, u8 how)
{
	void *p;
	bool struck;

	inject((struct inject_order){ .nth = how >> 4 == 15, .frames_only = how & 8 });
	p = kmem_cache_alloc(c->cache, how & 1 ? __GFP_ZERO : 0);
	struck = inject((struct inject_order){ 0 });
	EXPECT(p || struck);
	if (!p)
		return;
	EXPECT(IS_ALIGNED((vaddr_t)p, c->align) && virt_to_cache(p) == c->cache);
	if (how & 1)
		expect_zeros(p, c->bytes);
	c->nr++;
	took(p, c->bytes, c);
}

/* Mostly small, at times large, or just what a class ends with. */
static u64 some_bytes(struct bytes *in)
{
	u32 n = word(in);
	u8 shape = byte(in);

	return shape < 160  ? n % 300 :
	       shape < 220  ? n % 2100 :
	       shape < 240  ? (u64)n % 9 << 9 :
	       shape < 254  ? (u64)n << 1 :
	       shape == 254 ? KMALLOC_MAX_SIZE - 4 + n % 8 :
			      ~(u64)n;
}

/* What a request for so many bytes really gets; 0: nothing. */
static u64 class_of(u64 bytes)
{
	static const u64 classes[] = { 8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048 };
	u64 block = PAGE_SIZE;

	for (unsigned i = 0; i < ARRAY_SIZE(classes); i++)
		if (bytes && bytes <= classes[i])
			return classes[i];
	while (bytes <= KMALLOC_MAX_SIZE && block < bytes)
		block *= 2;
	return bytes && bytes <= KMALLOC_MAX_SIZE ? block : 0;
}

/* May a request be refused? Only if there is no such block, even with all given back. */
static void expect_none(u64 bytes)
{
	unsigned order = 0;

	while (PAGE_SIZE << order < bytes)
		order++;
	kmem_cache_shrink_all();
	EXPECT(!alloc_pages(GFP_KERNEL, order));
}

static void alloc_bytes(struct bytes *in)
{
	u64 bytes = some_bytes(in), class = class_of(bytes);
	u8 how = byte(in);
	bool struck;
	void *p;

	inject((struct inject_order){ .nth = how >> 4 == 15, .frames_only = how & 8 });
	p = how & 1 ? kzalloc(bytes, GFP_KERNEL) : kmalloc(bytes, GFP_KERNEL);
	struck = inject((struct inject_order){ 0 });
	if (!class)
		EXPECT(!p);
	if (!p && class && !struck)
		expect_none(class);
	if (!p)
		return;
	EXPECT_EQ(ksize(p), class);
	EXPECT(IS_ALIGNED((vaddr_t)p, MIN(class & -class, PAGE_SIZE)));
	if (how & 1)
		expect_zeros(p, bytes);
	took(p, bytes, NULL);
}

static void forget(unsigned i)
{
	if (live[i].cache)
		live[i].cache->nr--;
	freed = live[i];
	live[i] = live[--nr_live];
}

static void do_kfree(void *p)
{
	kfree(p);
}

static void release(unsigned i, u8 how)
{
	struct object o = live[i];

	EXPECT(is_filled(&o, o.bytes));
	forget(i);
	if (o.cache && how & 1)
		kmem_cache_free(o.cache->cache, o.p);
	else if (how & 2)
		self_interrupt(do_kfree, o.p);
	else
		kfree(o.p);
}

static void resize(unsigned i, struct bytes *in)
{
	struct object o = live[i];
	u64 bytes = some_bytes(in), had = ksize(o.p);
	bool fail = byte(in) >> 4 == 15, struck;
	u8 *p;

	EXPECT(is_filled(&o, o.bytes));
	inject((struct inject_order){ .nth = fail });
	p = krealloc(o.p, bytes, GFP_KERNEL);
	struck = inject((struct inject_order){ 0 });
	if (!p && bytes) { /* as it was */
		if (!struck && class_of(bytes))
			expect_none(class_of(bytes));
		EXPECT(bytes > had && is_filled(&live[i], o.bytes));
		return;
	}
	EXPECT(p != o.p || bytes <= had);
	EXPECT(p == o.p || !bytes || bytes > had);
	if (p == o.p) {
		EXPECT(is_filled(&o, MIN(o.bytes, bytes)));
		live[i].bytes = bytes;
		fill(&live[i]);
		return;
	}
	forget(i);
	if (!p)
		return;
	o.p = p;
	EXPECT(is_filled(&o, MIN(o.bytes, bytes)));
	took(p, bytes, NULL);
}

static struct kmem_cache *wrong_cache;

static void do_cache_free(void *p)
{
	kmem_cache_free(wrong_cache, p);
}

/* Frees that must be refused, with nothing changed. */
static void wrong(struct bytes *in)
{
	u8 how = byte(in);
	struct object o = nr_live ? live[byte(in) % nr_live] : freed;
	u8 *p = o.p;

	if (!p || !freed.p)
		return;
	if (how % 8 == 0)
		p = freed.p;
	else if (how % 8 == 1)
		p += 1 + how % 7;
	else if (how % 8 == 2)
		p = (u8 *)address_map.vmalloc_start + PAGE_SIZE * how;
	else if (how % 8 == 3)
		p = (u8 *)ALIGN_DOWN((vaddr_t)p, PAGE_SIZE) + PAGE_SIZE - 8 + how % 7 + 1;
	else if (how % 8 == 4)
		p = (u8 *)(u64)how;
	for (const struct object *l = live; l < live + nr_live; l++)
		if (l->p == p && how % 8 < 5)
			return; /* right after all */
	if (how % 8 < 5) {
		EXPECT_PANIC(do_kfree, p, "kfree: ");
		return;
	}
	wrong_cache = caches[how / 8 % ARRAY_SIZE(caches)].cache;
	if (wrong_cache && wrong_cache != virt_to_cache(p))
		EXPECT_PANIC(do_cache_free, p, "kfree: ");
}

static void check(void)
{
	mm_audit = (struct mm_audit){ .tell = fuzz_complain };
	slab_check();
}

static void run(struct bytes *in)
{
	while (operation(in)) {
		u8 what = byte(in);
		struct cache *c = &caches[what % ARRAY_SIZE(caches)];

		if (what < 80 && nr_live < ARRAY_SIZE(live) && c->cache)
			alloc_object(c, byte(in));
		else if (what < 80 && !c->cache)
			create(c, in);
		else if (what < 120 && nr_live < ARRAY_SIZE(live))
			alloc_bytes(in);
		else if (what < 200 && nr_live)
			release(byte(in) % nr_live, what);
		else if (what < 220 && nr_live && !live[what % nr_live].cache)
			resize(what % nr_live, in);
		else if (what < 240)
			wrong(in);
		else if (what < 248)
			kmem_cache_shrink_all();
		else if (what < 254 && c->cache)
			destroy(c);
		else if (what == 255)
			check();
		if (c->cache)
			compare_counts(c);
	}
	while (nr_live)
		release(nr_live - 1, nr_live);
	for (struct cache *c = caches; c < caches + ARRAY_SIZE(caches); c++)
		if (c->cache)
			destroy(c);
	if (fuzz_operations % 16 == 0) {
		struct census now;

		take_census(&now);
		EXPECT_EQ(now.frames, at_first.frames);
		EXPECT_EQ(now.objects, at_first.objects);
		expect_sound();
	}
	freed.p = NULL;
}

FUZZ_TARGET(slab, setup, run);
