/*
 * workloads.h - what is measured: one source for Tessera and for Linux.
 *
 * Both kernels have these calls by the same names, so that the same lines compile in both:
 * tessera.c makes a monitor command of them, linux/tessera_bench.c a Linux module. Each says first
 *
 *	now()			the CPU's time-stamp counter
 *	map_frames(pages, nr)	its vmap: Linux's has flags besides
 *
 * A round is an allocation, a touch of its first byte, and the freeing. Rounds run again and again,
 * once to warm up and then in REPETITIONS that are timed, of which the median counts. Both kernels
 * put the flushes of freed addresses off and do many at once; a repetition has rounds enough for
 * several such batches, so that their cost is in the figure, and not only in some repetitions.
 *
 * The first workloads are those of Linux's lib/test_vmalloc.c, written anew; then come the parts
 * that vmalloc is made of; last, what fills the window and then drains it, in three orders.
 */
#pragma once

#define REPETITIONS 3
#define NR_SLOTS 16384
#define NR_BUSY 15000

enum drain { IN_ORDER, REVERSE, RANDOM };

static struct page *frames[16]; /* what vmap_16p maps */
static void **slots;		/* live areas; NULL: none in this slot */
static u16 *drain_order;	/* slots' numbers, in the order in which they are drained */
static u32 seed;

/* Numerical Recipes' generator: the same numbers in both kernels. Below limit. */
static u64 random_below(u64 limit)
{
	seed = seed * 1664525 + 1013904223;
	return (u64)seed * limit >> 32;
}

static bool touched(void *p)
{
	if (p)
		*(volatile char *)p = 1;
	return p;
}

static bool vmalloc_pages(u64 nr_pages)
{
	void *p = vmalloc(nr_pages * PAGE_SIZE);
	bool ok = touched(p);

	vfree(p);
	return ok;
}

static bool vmalloc_random(u64 most)
{
	return vmalloc_pages(1 + random_below(most));
}

static bool vmalloc_two(u64 nr_pages)
{
	void *large = vmalloc(nr_pages * PAGE_SIZE), *small = vmalloc(PAGE_SIZE);
	bool ok = touched(large) && touched(small);

	vfree(large);
	vfree(small);
	return ok;
}

static bool frames_of_order(u64 order)
{
	struct page *page = alloc_pages(GFP_KERNEL, order);
	bool ok = page && touched(page_address(page));

	if (ok)
		__free_pages(page, order);
	return ok;
}

static bool kmalloc_bytes(u64 bytes)
{
	void *p = kmalloc(bytes, GFP_KERNEL);
	bool ok = touched(p);

	kfree(p);
	return ok;
}

static bool vmap_frames(u64 nr)
{
	void *p = map_frames(frames, nr);
	bool ok = touched(p);

	vunmap(p);
	return ok;
}

static bool look_up(u64 page)
{
	return vmalloc_to_page((char *)slots[0] + page * PAGE_SIZE);
}

/* Fill the first nr slots with areas of one page. */
static bool fill(u64 nr)
{
	bool ok = true;

	for (u64 i = 0; ok && i < nr; i++)
		ok = touched(slots[i] = vmalloc(PAGE_SIZE));
	return ok;
}

static void drain(u64 slot)
{
	vfree(slots[slot]);
	slots[slot] = NULL;
}

static bool fill_and_drain(u64 order)
{
	bool ok = fill(NR_SLOTS);

	(void)order; /* choose_order() has made drain_order of it */
	for (u64 i = 0; i < NR_SLOTS; i++)
		drain(drain_order[i]);
	return ok;
}

/* What stands before the first round of a workload; tidy() takes it away again. */

static bool four_pages(u64 arg)
{
	(void)arg;
	return touched(slots[0] = vmalloc(4 * PAGE_SIZE));
}

static bool sixteen_frames(u64 nr)
{
	bool ok = true;

	for (u64 i = 0; ok && i < nr; i++)
		ok = (frames[i] = alloc_pages(GFP_KERNEL, 0)) != NULL;
	return ok;
}

static bool many_live(u64 arg)
{
	(void)arg;
	return fill(NR_BUSY);
}

static bool every_second_taken(u64 arg)
{
	bool ok = fill(NR_SLOTS);

	(void)arg;
	for (u64 i = 0; i < NR_SLOTS; i += 2)
		drain(i);
	vm_unmap_aliases();
	return ok;
}

static bool choose_order(u64 order)
{
	for (u64 i = 0; i < NR_SLOTS; i++)
		drain_order[i] = order == REVERSE ? NR_SLOTS - 1 - i : i;
	for (u64 i = NR_SLOTS - 1; order == RANDOM && i; i--) { /* Fisher and Yates */
		u64 j = random_below(i + 1);
		u16 last = drain_order[i];

		drain_order[i] = drain_order[j];
		drain_order[j] = last;
	}
	return true;
}

static const struct workload {
	const char *name;
	bool (*round)(u64 arg); /* false: no memory */
	u64 arg, rounds;
	bool (*prepare)(u64 arg); /* false: no memory; NULL: nothing to prepare */
	u64 pairs;		  /* in one round; 0 counts as 1 */
} workloads[] = {
	{ "vmalloc_1p", vmalloc_pages, 1, 10000, NULL, 0 },
	{ "vmalloc_4p", vmalloc_pages, 4, 5000, NULL, 0 },
	{ "vmalloc_16p", vmalloc_pages, 16, 2000, NULL, 0 },
	{ "vmalloc_64p", vmalloc_pages, 64, 500, NULL, 0 },
	{ "vmalloc_256p", vmalloc_pages, 256, 200, NULL, 0 },
	{ "vmalloc_1024p", vmalloc_pages, 1024, 50, NULL, 0 },
	{ "vmalloc_random_1_100p", vmalloc_random, 100, 1000, NULL, 0 },
	{ "vmalloc_long_busy", vmalloc_two, 100, 500, many_live, 0 },
	{ "vmalloc_full_fit", vmalloc_pages, 1, 10000, every_second_taken, 0 },
	{ "page_o0", frames_of_order, 0, 2000, NULL, 0 },
	{ "page_o4", frames_of_order, 4, 2000, NULL, 0 },
	{ "page_o9", frames_of_order, 9, 2000, NULL, 0 },
	{ "kmalloc_64", kmalloc_bytes, 64, 2000, NULL, 0 },
	{ "vmap_16p", vmap_frames, 16, 2000, sixteen_frames, 0 },
	{ "vmalloc_to_page", look_up, 3, 2000, four_pages, 0 },
	{ "fill_drain_in_order", fill_and_drain, IN_ORDER, 1, choose_order, NR_SLOTS },
	{ "fill_drain_reverse", fill_and_drain, REVERSE, 1, choose_order, NR_SLOTS },
	{ "fill_drain_random", fill_and_drain, RANDOM, 1, choose_order, NR_SLOTS },
};

/* Everything back as it was, and flushed. */
static void tidy(void)
{
	for (u64 i = 0; slots && i < NR_SLOTS; i++)
		drain(i);
	vfree(slots);
	vfree(drain_order);
	vm_unmap_aliases(); /* only then is no frame mapped any longer */
	for (u64 i = 0; i < ARRAY_SIZE(frames); i++) {
		if (frames[i])
			__free_pages(frames[i], 0);
		frames[i] = NULL;
	}
}

static bool prepare(const struct workload *w)
{
	seed = 1;
	slots = vmalloc(NR_SLOTS * sizeof(*slots));
	drain_order = vmalloc(NR_SLOTS * sizeof(*drain_order));
	for (u64 i = 0; slots && i < NR_SLOTS; i++)
		slots[i] = NULL;
	return slots && drain_order && (!w->prepare || w->prepare(w->arg));
}

static u64 repetition(const struct workload *w, bool *ok)
{
	u64 start = now();

	for (u64 i = 0; *ok && i < w->rounds; i++)
		*ok = w->round(w->arg);
	return now() - start;
}

/* How many times the workload's operation ran in a repetition. */
static u64 nr_of_ops(const struct workload *w)
{
	return w->rounds * (w->pairs ? w->pairs : 1);
}

/* Cycles that one operation took, the median of the repetitions. False: too little memory. */
static bool measure(const struct workload *w, u64 *per_op)
{
	u64 spent[REPETITIONS];
	bool ok = prepare(w);

	if (ok)
		repetition(w, &ok); /* warms up */
	for (u64 r = 0; ok && r < REPETITIONS; r++) {
		u64 now_spent = repetition(w, &ok), place = r;

		for (; place && spent[place - 1] > now_spent; place--)
			spent[place] = spent[place - 1];
		spent[place] = now_spent;
	}
	tidy();
	if (ok)
		*per_op = spent[REPETITIONS / 2] / nr_of_ops(w);
	return ok;
}
