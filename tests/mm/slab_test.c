/*
 * Caches of objects: against a set of live ones, to the last frame, from many CPUs, and misused.
 */
#include <kernel/printk.h>
#include <kernel/smp.h>
#include <kernel/string.h>
#include <mm/mm.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

#include "../test.h"

#define LIVE 700

static u8 *live[LIVE];

static struct kmem_stats stats_of(const char *name)
{
	struct kmem_stats stats = { .name = "" };

	for (unsigned i = 0; kmem_cache_stats(i, &stats); i++)
		if (!strcmp(stats.name, name))
			return stats;
	return (struct kmem_stats){ .name = NULL };
}

static bool all_bytes(const u8 *p, u64 bytes, u8 value)
{
	for (u64 i = 0; i < bytes; i++)
		if (p[i] != value)
			return false;
	return true;
}

/* Objects bear their number in every byte: two that overlap would spoil each other. */
static void random_objects(u64 bytes, u64 align)
{
	struct kmem_cache *cache = kmem_cache_create("test-random", bytes, align);
	u64 held = 0;

	EXPECT(cache);
	memset(live, 0, sizeof(live));
	for (int n = 0; n < 4000; n++) {
		u64 i = test_random() % LIVE;

		if (live[i]) {
			EXPECT(all_bytes(live[i], bytes, i % 251));
			kmem_cache_free(cache, live[i]);
			live[i] = NULL;
			held--;
		} else {
			live[i] = kmem_cache_alloc(cache, n % 2 ? __GFP_ZERO : GFP_KERNEL);
			EXPECT(live[i]);
			EXPECT(n % 2 == 0 || all_bytes(live[i], bytes, 0));
			EXPECT(IS_ALIGNED((vaddr_t)live[i], MAX(align, 8ul)));
			EXPECT((vaddr_t)live[i] % PAGE_SIZE + bytes <= PAGE_SIZE);
			EXPECT(virt_to_cache(live[i]) == cache);
			memset(live[i], i % 251, bytes);
			held++;
		}
		EXPECT_EQ(stats_of("test-random").in_use, held);
	}
	for (u64 i = 0; i < LIVE; i++) {
		EXPECT(!live[i] || all_bytes(live[i], bytes, i % 251));
		if (live[i])
			kmem_cache_free(cache, live[i]);
	}
	kmem_cache_destroy(cache);
}

TEST(slab, random_objects)
{
	static const u16 shapes[][2] = { { 8, 0 },    { 16, 16 },  { 24, 8 },	 { 96, 32 },
					 { 120, 0 },  { 121, 0 },  { 128, 128 }, { 192, 64 },
					 { 700, 16 }, { 8, 2048 }, { 2041, 0 },	 { 2048, 2048 } };

	for (u64 i = 0; i < ARRAY_SIZE(shapes); i++)
		random_objects(shapes[i][0], shapes[i][1]);
}

/* A slab holds as many objects as fit beside their bits, each at its own place. */
TEST(slab, per_slab)
{
	static const u16 shapes[][3] = { { 8, 0, 504 },	   { 16, 16, 254 }, { 32, 32, 127 },
					 { 64, 64, 63 },   { 96, 32, 42 },  { 120, 0, 34 },
					 { 128, 128, 32 }, { 192, 64, 21 }, { 1024, 0, 4 },
					 { 2048, 2048, 2 } };

	for (u64 i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct kmem_cache *cache =
			kmem_cache_create("test-fit", shapes[i][0], shapes[i][1]);
		u64 n = shapes[i][2];

		EXPECT(cache);
		EXPECT_EQ(stats_of("test-fit").per_slab, n);
		EXPECT_EQ(kmem_cache_size(cache), shapes[i][0]);
		for (u64 k = 0; k < n; k++)
			EXPECT((live[k] = kmem_cache_alloc(cache, GFP_KERNEL)));
		EXPECT_EQ(stats_of("test-fit").slabs, 1);
		EXPECT((live[n] = kmem_cache_alloc(cache, GFP_KERNEL)));
		EXPECT_EQ(stats_of("test-fit").slabs, 2);
		for (u64 k = 0; k <= n; k++)
			kmem_cache_free(cache, live[k]);
		kmem_cache_destroy(cache);
	}
}

/* All objects drained, all frames come back; with magazines full of them, too. */
TEST(slab, frames_go_back)
{
	struct kmem_cache *cache = kmem_cache_create("test-back", 512, 0);
	u64 before, slabs;

	EXPECT(cache);
	kmem_cache_shrink_all();
	before = nr_free_pages();
	for (int i = 0; i < 80; i++)
		EXPECT((live[i] = kmem_cache_alloc(cache, GFP_KERNEL)));
	EXPECT_EQ(nr_free_pages(), before - 10);
	EXPECT_EQ(kmem_cache_shrink_all(), 0);
	for (int i = 0; i < 80; i++)
		kmem_cache_free(cache, live[i]);
	slabs = stats_of("test-back").slabs;
	EXPECT(slabs >= 1 && slabs < 10);
	EXPECT_EQ(stats_of("test-back").in_use, 0);
	EXPECT_EQ(kmem_cache_shrink_all(), slabs);
	EXPECT_EQ(stats_of("test-back").slabs, 0);
	EXPECT_EQ(nr_free_pages(), before);
	EXPECT_EQ(stats_of("test-back").allocs, stats_of("test-back").frees);
	/* Also with a slab that is partly used: it does not hide the empty one. */
	for (int i = 0; i < 24; i++)
		EXPECT((live[i] = kmem_cache_alloc(cache, GFP_KERNEL)));
	kmem_cache_free(cache, live[0]);
	for (int i = 23; i >= 8; i--)
		kmem_cache_free(cache, live[i]);
	EXPECT_EQ(kmem_cache_shrink_all(), 2);
	EXPECT_EQ(stats_of("test-back").slabs, 1);
	for (int i = 7; i > 0; i--)
		kmem_cache_free(cache, live[i]);
	kmem_cache_destroy(cache);
	EXPECT_EQ(nr_free_pages(), before);
}

/* Slabs are asked once for many objects, and by a loop of alloc and free not at all. */
TEST(slab, magazines)
{
	enum { MOST = MAGAZINE_ITEMS, N = 10 * MOST };
	struct kmem_cache *cache = kmem_cache_create("test-magazine", 64, 64);
	struct kmem_stats stats;
	u64 allocs, in_magazine;

	EXPECT(cache);
	EXPECT((live[0] = kmem_cache_alloc(cache, GFP_KERNEL)));
	stats = stats_of("test-magazine");
	EXPECT_EQ(stats.allocs, 1 + MOST / 2);
	EXPECT_EQ(stats.in_use, 1);
	for (int i = 0; i < 1000; i++)
		kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
	EXPECT_EQ(stats_of("test-magazine").allocs, stats.allocs);
	EXPECT_EQ(stats_of("test-magazine").frees, 0);
	for (int i = 1; i < N; i++)
		EXPECT((live[i] = kmem_cache_alloc(cache, GFP_KERNEL)));
	allocs = stats_of("test-magazine").allocs;
	EXPECT(allocs >= N && allocs <= N + MOST / 2);
	for (int i = 0; i < N; i++) {
		EXPECT_EQ(stats_of("test-magazine").in_use, N - i);
		kmem_cache_free(cache, live[i]);
		stats = stats_of("test-magazine");
		EXPECT_EQ(stats.frees % (MOST / 2), 0);
		EXPECT_EQ(stats.allocs, allocs);
		in_magazine = allocs - stats.frees - stats.in_use;
		EXPECT(in_magazine <= MOST);
		EXPECT(in_magazine >= MIN(i + 1ul, MOST / 2 + 1)); /* half of a full one stays */
	}
	kmem_cache_destroy(cache);
}

static void all_at_once(void *cache)
{
	for (u64 i = 0; i < 100; i++)
		live[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	for (u64 i = 0; i < 100; i += 2)
		kmem_cache_free(cache, live[i]);
}

/* An interrupt is served from the same magazine. */
TEST(slab, interrupts)
{
	struct kmem_cache *cache = kmem_cache_create("test-interrupt", 128, 0);
	void *object;

	EXPECT(cache);
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	EXPECT(object);
	self_interrupt(all_at_once, cache);
	EXPECT_EQ(stats_of("test-interrupt").in_use, 51);
	for (u64 i = 1; i < 100; i += 2) {
		EXPECT(live[i] && live[i] != object);
		kmem_cache_free(cache, live[i]);
	}
	kmem_cache_free(cache, object);
	kmem_cache_destroy(cache);
}

TEST(slab, no_frame)
{
	struct kmem_cache *cache = kmem_cache_create("test-none", 256, 0);
	void *object;

	if (!CHECKING)
		SKIP("fault injection needs a checking build");
	EXPECT(cache);
	page_alloc_fail_nth(1);
	EXPECT(!kmem_cache_alloc(cache, GFP_KERNEL));
	EXPECT_EQ(stats_of("test-none").slabs, 0);
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	EXPECT(object);
	memset(object, 0xee, 256);
	kmem_cache_free(cache, object);
	EXPECT(all_bytes((u8 *)object + 8, 248, JUNK)); /* behind the mark */
	kmem_cache_destroy(cache);
}

TEST(slab, create)
{
	struct kmem_cache *caches[KMEM_MAX_CACHES];
	struct kmem_stats stats;
	unsigned n = 0, had = 0;

	while (kmem_cache_stats(had, &stats))
		had++;
	EXPECT(!kmem_cache_create("test-bad", 0, 0));
	EXPECT(!kmem_cache_create("test-bad", 7, 0));
	EXPECT(!kmem_cache_create("test-bad", 2049, 0));
	EXPECT(!kmem_cache_create("test-bad", ~0ul, 8));
	EXPECT(!kmem_cache_create("test-bad", 64, 24));
	EXPECT(!kmem_cache_create("test-bad", 64, 4096));
	while (n < KMEM_MAX_CACHES && (caches[n] = kmem_cache_create("test-many", 64, 64)))
		n++;
	EXPECT_EQ(had + n, KMEM_MAX_CACHES);
	EXPECT(kmem_cache_stats(KMEM_MAX_CACHES - 1, &stats));
	EXPECT(!kmem_cache_stats(KMEM_MAX_CACHES, &stats));
	while (n)
		kmem_cache_destroy(caches[--n]);
	EXPECT(!kmem_cache_stats(had, &stats));
}

static struct kmem_cache *victim;

static void free_to_victim(void *p)
{
	kmem_cache_free(victim, p);
}

static void destroy(void *cache)
{
	kmem_cache_destroy(cache);
}

TEST(slab, misuse)
{
	struct kmem_cache *other = kmem_cache_create("test-other", 64, 0);
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	char *object, *stranger, *area = vmalloc(PAGE_SIZE);
	u64 in_use;

	victim = kmem_cache_create("test-victim", 64, 64);
	EXPECT(victim && other && page && area);
	object = kmem_cache_alloc(victim, GFP_KERNEL);
	stranger = kmem_cache_alloc(other, GFP_KERNEL);
	EXPECT(object && stranger);
	in_use = stats_of("test-victim").in_use;
	EXPECT_PANIC(free_to_victim, object + 8, "is not where an object begins");
	EXPECT_PANIC(free_to_victim, (vaddr_t)object | (PAGE_SIZE - 64), "is not where");
	EXPECT_PANIC(free_to_victim, object + 64, "is free already");
	EXPECT_PANIC(free_to_victim, stranger, "is no object of this cache");
	EXPECT_PANIC(free_to_victim, page_address(page), "is no object of this cache");
	EXPECT_PANIC(free_to_victim, NULL, "is no object of this cache");
	EXPECT_PANIC(free_to_victim, &victim, "is no object of this cache");
	EXPECT_PANIC(free_to_victim, area, "is no object of this cache");
	EXPECT_PANIC(destroy, victim, "in use");
	EXPECT_EQ(stats_of("test-victim").in_use, in_use);
	kmem_cache_free(victim, object);
	EXPECT_PANIC(free_to_victim, object, "is free already");
	kmem_cache_free(other, stranger);
	__free_pages(page, 0);
	vfree(area);
	kmem_cache_destroy(victim);
	kmem_cache_destroy(other);
}

static void *from_victim;

static void alloc_in_victim(void *unused)
{
	(void)unused;
	from_victim = kmem_cache_alloc(victim, GFP_KERNEL);
}

static void drain(void *unused)
{
	(void)unused;
	kmem_cache_shrink_all();
}

static void free_the_rest_of_a_slab(u64 bytes)
{
	char *object, *slab;

	victim = kmem_cache_create("test-never", bytes, 0);
	EXPECT(victim);
	object = kmem_cache_alloc(victim, GFP_KERNEL);
	EXPECT(object);
	slab = (char *)ALIGN_DOWN((vaddr_t)object, PAGE_SIZE);
	for (u64 i = 0; i < PAGE_SIZE / bytes - (bytes < 128);
	     i++) /* bits take the last one's place */
		if (slab + i * bytes != object)
			EXPECT_PANIC(free_to_victim, slab + i * bytes, "is free already");
	kmem_cache_free(victim, object);
	kmem_cache_destroy(victim);
}

/*
 * What was never handed out is as free as what came back: each object of a fresh slab is marked,
 * those that went to the magazine and those that did not.
 */
TEST(slab, free_of_what_was_never_allocated)
{
	free_the_rest_of_a_slab(512);
	free_the_rest_of_a_slab(64);
}

/* Wherever the object has gone to: a magazine, its slab, a slab in an interrupt. */
TEST(slab, double_free)
{
	char *object, *neighbour;

	victim = kmem_cache_create("test-double", 96, 0);
	EXPECT(victim);
	object = kmem_cache_alloc(victim, GFP_KERNEL);
	neighbour = kmem_cache_alloc(victim, GFP_KERNEL); /* the slab stays */
	EXPECT(object && neighbour);
	kmem_cache_free(victim, object);
	EXPECT_EQ(stats_of("test-double").frees, 0);
	EXPECT_PANIC(free_to_victim, object, "is free already");
	kmem_cache_shrink_all();
	EXPECT(stats_of("test-double").frees > 0);
	EXPECT_PANIC(free_to_victim, object, "is free already");
	self_interrupt(alloc_in_victim, NULL);
	self_interrupt(free_to_victim, from_victim);
	EXPECT_PANIC(free_to_victim, from_victim, "is free already");
	EXPECT_EQ(stats_of("test-double").in_use, 1);
	kmem_cache_free(victim, neighbour);
	kmem_cache_destroy(victim);
}

/* With the mark destroyed it comes later, but it comes: a slab gets no object back twice. */
TEST(slab, double_free_of_spoilt_object)
{
	u64 *object;

	victim = kmem_cache_create("test-spoilt", 64, 0);
	EXPECT(victim);
	object = kmem_cache_alloc(victim, GFP_KERNEL);
	EXPECT(object);
	kmem_cache_free(victim, object);
	*object = 1;
	kmem_cache_free(victim, object);
	EXPECT_PANIC(drain, NULL, "is free already");
	kmem_cache_destroy(victim);
}

static unsigned complaints;
static char complaint[200]; /* the first */

static void complain(const char *fmt, ...)
{
	va_list args;

	if (complaints++)
		return;
	va_start(args, fmt);
	vsnprintf(complaint, sizeof(complaint), fmt, args);
	va_end(args);
}

static u64 faults(void)
{
	complaints = 0;
	mm_audit = (struct mm_audit){ .tell = complain };
	slab_check();
	return mm_audit.faults;
}

/* Where slabs are unsound, what is written to their objects may hit anybody: say so before. */
static bool sound(void)
{
	if (faults())
		test_fail(__FILE__, __LINE__,
			  "slab_check() finds nothing:", "the first fault is\n%s", complaint);
	return !test_failed();
}

static u32 reported, at_gate;
static void *prey[64];

/* Each CPU frees each object, all at the same moment. */
static void free_with_others(void *nr)
{
	char msg[160];

	for (u64 i = 0; i < ARRAY_SIZE(prey); i++) {
		__atomic_add_fetch(&at_gate, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&at_gate, __ATOMIC_SEQ_CST) < (i + 1) * (u64)nr)
			cpu_serve();
		if (panic_caught(free_to_victim, prey[i], msg, sizeof(msg)) &&
		    contains(msg, "is free already"))
			__atomic_add_fetch(&reported, 1, __ATOMIC_SEQ_CST);
	}
}

TEST(slab, double_free_by_two_cpus)
{
	if (nr_cpus() < 2)
		SKIP("needs two CPUs");
	victim = kmem_cache_create("test-race", 64, 0);
	EXPECT(victim);
	for (u64 i = 0; i < ARRAY_SIZE(prey); i++)
		EXPECT((prey[i] = kmem_cache_alloc(victim, GFP_KERNEL)));
	reported = at_gate = 0;
	run_on_cpus(2, free_with_others, (void *)2);
	EXPECT_EQ(reported, ARRAY_SIZE(prey));
	EXPECT_EQ(stats_of("test-race").in_use, 0);
	kmem_cache_destroy(victim);
}

#define PLACES 64 /* so many objects wait on a CPU's places: more than a magazine holds */
static void *passed[NR_CPUS][PLACES];
static u32 passing; /* CPUs that do */
static bool wrong;

/* Objects go round: a CPU allocates into its places, frees what was there, and its neighbour's. */
static void pass_on(void)
{
	u32 cpu = cpu_id(), other = (cpu + 1) % nr_cpus();

	for (u64 n = 0; n < (nr_cpus() > 1 ? 150000 : 2000); n++) {
		u64 *p = kmem_cache_alloc(victim, GFP_KERNEL);

		if (p)
			p[0] = p[7] = (u64)p;
		p = __atomic_exchange_n(&passed[cpu][n % PLACES], p, __ATOMIC_SEQ_CST);
		for (u64 i = 0; i < 2; i++) {
			if (p && (p[0] != (u64)p || p[7] != (u64)p))
				wrong = true;
			if (p)
				kmem_cache_free(victim, p);
			p = i ? NULL :
				__atomic_exchange_n(&passed[other][n * 7 % PLACES], NULL,
						    __ATOMIC_SEQ_CST);
		}
	}
}

/* CPU 0 drains the magazines of the others, in the midst of whatever they do. */
static void pass_or_drain(void *unused)
{
	(void)unused;
	if (cpu_id() || nr_cpus() == 1)
		pass_on();
	if (cpu_id())
		__atomic_sub_fetch(&passing, 1, __ATOMIC_SEQ_CST);
	while (!cpu_id() && __atomic_load_n(&passing, __ATOMIC_SEQ_CST))
		kmem_cache_shrink_all();
}

TEST(slab, frees_by_other_cpus)
{
	u64 before, left = 0;

	kmem_cache_shrink_all();
	before = nr_free_pages();
	victim = kmem_cache_create("test-pass", 64, 0);
	EXPECT(victim);
	if (!sound())
		return;
	wrong = false;
	passing = nr_cpus() - 1;
	run_on_cpus(nr_cpus(), pass_or_drain, NULL);
	EXPECT(!wrong);
	for (u64 cpu = 0; cpu < NR_CPUS; cpu++)
		for (u64 i = 0; i < PLACES; i++)
			left += passed[cpu][i] != NULL;
	EXPECT_EQ(stats_of("test-pass").in_use, left);
	for (u64 cpu = 0; cpu < NR_CPUS; cpu++)
		for (u64 i = 0; i < PLACES; i++) {
			kfree(passed[cpu][i]);
			passed[cpu][i] = NULL;
		}
	kmem_cache_destroy(victim);
	EXPECT_EQ(nr_free_pages(), before);
}

/* A check that cannot fail finds nothing: break something, and see it found. */
TEST(slab, check_finds)
{
	struct kmem_cache *cache = kmem_cache_create("test-break", 64, 0);
	u32 *object, *bits;

	EXPECT(cache);
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	EXPECT(object);
	bits = (u32 *)((vaddr_t)object | (PAGE_SIZE - 1)) - 1;
	bits = (u32 *)ALIGN_DOWN((vaddr_t)bits, 8);
	EXPECT_EQ(faults(), 0);
	bits[1] ^= 4; /* what an overrun of the last object would do */
	EXPECT_EQ(faults(), 1);
	EXPECT_EQ(complaints, 1);
	bits[1] ^= 4;
	virt_to_page(object)->slab_used++;
	EXPECT_EQ(faults(), 2); /* the slab, and the cache's sum */
	virt_to_page(object)->slab_used--;
	kmem_cache_free(cache, object);
	kmem_cache_destroy(cache);
}

/* A full slab gets an object back: it is listed again, and the next to give one. */
TEST(slab, full_slabs_serve_again)
{
	struct kmem_cache *cache = kmem_cache_create("test-again", 512, 0); /* 8 in a slab */
	void *back;

	EXPECT(cache);
	for (int i = 0; i < 16; i++)
		EXPECT((live[i] = kmem_cache_alloc(cache, GFP_KERNEL)));
	kmem_cache_shrink_all();
	EXPECT_EQ(stats_of("test-again").slabs, 2);
	back = live[5];
	kmem_cache_free(cache, back);
	EXPECT_EQ(faults(), 0); /* it gives back what is in magazines, too */
	live[5] = kmem_cache_alloc(cache, GFP_KERNEL);
	EXPECT_EQ(stats_of("test-again").slabs, 2);
	EXPECT(live[5] == back);
	for (int i = 0; i < 16; i++)
		kmem_cache_free(cache, live[i]);
	kmem_cache_destroy(cache);
}

static void free_any(void *p)
{
	kfree(p);
}

/* To make room for it half the magazine goes back, and with that, perhaps, the slab it lies in. */
TEST(slab, double_free_into_a_full_magazine)
{
	struct kmem_cache *cache = kmem_cache_create("test-twice", 2048, 0);
	void *object[24];

	EXPECT(cache);
	for (unsigned i = 0; i < ARRAY_SIZE(object); i++) {
		object[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		EXPECT(object[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(object); i++) {
		kfree(object[i]);
		EXPECT_PANIC(free_any, object[i], "is free already");
	}
	kmem_cache_destroy(cache);
}
