/*
 * workloads.h - what is measured: one source for Tessera and for Linux.
 *
 * Both kernels have these calls by the same names, so that the same lines compile in both:
 * tessera.c makes a monitor command of them, linux/tessera_bench.c a Linux module. Each says first
 *
 *	now()				the CPU's time-stamp counter
 *	map_frames(pages, nr)		its vmap: Linux's has flags besides
 *	frames_of_ram()			how many the kernel ever had to give
 *	room_for_areas(nr)		false: so many areas more might be the end of this machine
 *	run_on_cpu(cpu, fn, arg)	fn(arg) on that CPU; back when it is done
 *	run_on_cpus(nr, fn, arg)	the same on CPUs 0 .. nr - 1 at once
 *	nr_cpus(), spin()		how many there are; we are waiting for another
 *
 * A round is an allocation, a touch of its first byte, and the freeing. Rounds run again and again,
 * once to warm up and then in REPETITIONS that are timed, of which the median counts. Both kernels
 * put the flushes of freed addresses off and do many at once; a repetition has rounds enough for
 * several such batches, so that their cost is in the figure, and not only in some repetitions.
 * The loop around the rounds is in it, too; what it costs is the figure of `empty`.
 *
 * First comes what nobody used since the boot; then the workloads of Linux's lib/test_vmalloc.c,
 * written anew; the parts that vmalloc is made of; what fills the window and drains it, in three
 * orders; and what is hard for any allocator: no free memory, another CPU that frees, and more and
 * more live areas. Last, races: several CPUs at once against the clock.
 */
#pragma once

#define REPETITIONS 3
#define NR_SLOTS 16384
#define NR_BUSY 15000
#define MOST_CPUS 4
#define NR_SENT 4096 /* areas allocated on one CPU before another frees them */

enum drain { IN_ORDER, REVERSE, RANDOM };

static struct page *frames[16]; /* what vmap maps */
static struct page *hoard; /* frames held to make memory short: each holds a pointer to the next */
static void **slots;	   /* live areas; NULL: none in this slot */
static u64 nr_slots;
static void (*give_back)(const void *); /* what frees the areas in slots */
static u16 *drain_order;		/* slots' numbers, in the order in which they are drained */
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

/* What is measured: one round of each. */

static bool nothing(u64 arg)
{
	return arg;
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

/* The order is a constant, as in most callers. */
static bool one_frame(u64 arg)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);

	(void)arg;
	if (!page)
		return false;
	*(volatile char *)page_address(page) = 1;
	__free_pages(page, 0);
	return true;
}

static bool frames_of_order(u64 order)
{
	struct page *page = alloc_pages(GFP_KERNEL, order);
	bool ok = page && touched(page_address(page));

	if (ok)
		__free_pages(page, order);
	return ok;
}

static bool one_object(u64 arg)
{
	char *p = kmalloc(64, GFP_KERNEL);

	(void)arg;
	if (!p)
		return false;
	*(volatile char *)p = 1;
	kfree(p);
	return true;
}

static bool vmap_frames(u64 nr)
{
	void *p = map_frames(frames, nr);
	bool ok = touched(p);

	vunmap(p);
	return ok;
}

static bool look_up(u64 nr_pages)
{
	bool ok = true;

	for (u64 i = 0; i < nr_pages; i++)
		ok &= vmalloc_to_page((char *)slots[0] + i * PAGE_SIZE) != NULL;
	return ok;
}

/* Fill the first nr slots with areas of one page. */
static bool fill(u64 nr)
{
	bool ok = true;

	give_back = vfree;
	for (u64 i = 0; ok && i < nr; i++)
		ok = touched(slots[i] = vmalloc(PAGE_SIZE));
	return ok;
}

static void drain(u64 slot)
{
	if (slots[slot])
		give_back(slots[slot]);
	slots[slot] = NULL;
}

static bool fill_and_drain(u64 nr)
{
	bool ok = fill(nr);

	for (u64 i = 0; i < nr; i++)
		drain(drain_order[i]);
	return ok;
}

static void drain_all(void *unused)
{
	(void)unused;
	for (u64 i = 0; i < nr_slots; i++)
		drain(i);
}

static bool fill_here_drain_there(u64 nr)
{
	bool ok = fill(nr);

	run_on_cpu(1, drain_all, NULL);
	return ok;
}

/* What stands before the first round; tidy() takes it away again. False: no memory. */

static bool make_slots(u64 nr)
{
	slots = vmalloc(nr * sizeof(*slots));
	for (nr_slots = 0; slots && nr_slots < nr; nr_slots++)
		slots[nr_slots] = NULL;
	return slots;
}

static bool live(u64 nr)
{
	return make_slots(nr) && fill(nr);
}

static bool every_second_taken(u64 nr)
{
	bool ok = live(nr);

	for (u64 i = 0; i < nr_slots; i += 2)
		drain(i);
	vm_unmap_aliases();
	return ok;
}

static bool one_area(u64 nr_pages)
{
	give_back = vfree;
	return make_slots(1) && touched(slots[0] = vmalloc(nr_pages * PAGE_SIZE));
}

static bool some_frames(u64 nr)
{
	bool ok = true;

	for (u64 i = 0; ok && i < nr; i++)
		ok = (frames[i] = alloc_pages(GFP_KERNEL, 0)) != NULL;
	return ok;
}

/* Areas that all map the same frame: a million of them need little memory. */
static bool live_maps(u64 nr)
{
	bool ok = room_for_areas(nr) && make_slots(nr) && some_frames(1);

	give_back = vunmap;
	for (u64 i = 0; ok && i < nr; i++)
		ok = (slots[i] = map_frames(frames, 1)) != NULL;
	return ok;
}

static bool choose_order(u64 order)
{
	drain_order = vmalloc(NR_SLOTS * sizeof(*drain_order));
	for (u64 i = 0; drain_order && i < NR_SLOTS; i++)
		drain_order[i] = order == REVERSE ? NR_SLOTS - 1 - i : i;
	for (u64 i = NR_SLOTS - 1; drain_order && order == RANDOM && i; i--) {
		u64 j = random_below(i + 1); /* Fisher and Yates */
		u16 last = drain_order[i];

		drain_order[i] = drain_order[j];
		drain_order[j] = last;
	}
	return drain_order && make_slots(NR_SLOTS);
}

static bool memory_short(u64 unused)
{
	u64 least = frames_of_ram() / 25; /* 4 % */
	struct page *page;

	(void)unused;
	do {
		page = alloc_pages(GFP_KERNEL, 0);
		if (!page)
			return false;
		*(struct page **)page_address(page) = hoard;
		hoard = page;
	} while (nr_free_pages() > least);
	return true;
}

/* Everything back as it was, and flushed. */
static void tidy(void)
{
	drain_all(NULL);
	nr_slots = 0;
	vfree(slots);
	vfree(drain_order);
	slots = NULL;
	drain_order = NULL;
	vm_unmap_aliases(); /* only then is no frame mapped any longer */
	for (u64 i = 0; i < ARRAY_SIZE(frames); i++) {
		if (frames[i])
			__free_pages(frames[i], 0);
		frames[i] = NULL;
	}
	while (hoard) {
		struct page *page = hoard;

		hoard = *(struct page **)page_address(page);
		__free_pages(page, 0);
	}
}

#define ROUNDS(name_, rounds_, round_, arg_, ...)                                       \
	{                                                                               \
		.name = (name_), .rounds = (rounds_), .round = (round_), .arg = (arg_), \
		__VA_ARGS__                                                             \
	}

static const struct workload {
	const char *name;
	u64 rounds;
	bool (*round)(u64 arg); /* false: no memory */
	u64 arg;
	bool (*prepare)(u64 with); /* false: no memory; NULL: nothing to prepare */
	u64 with;
	u64 pairs; /* in one round; 0 counts as 1 */
	bool cold; /* the first round is what counts */
	u32 cpus;  /* it needs as many; 0: one */
} workloads[] = {
	ROUNDS("cold_1p", 1, vmalloc_pages, 1, .cold = true),
	ROUNDS("cold_64p", 1, vmalloc_pages, 64, .cold = true),
	ROUNDS("empty", 10000, nothing, 1),
	ROUNDS("vmalloc_1p", 10000, vmalloc_pages, 1),
	ROUNDS("vmalloc_4p", 5000, vmalloc_pages, 4),
	ROUNDS("vmalloc_16p", 2000, vmalloc_pages, 16),
	ROUNDS("vmalloc_64p", 500, vmalloc_pages, 64),
	ROUNDS("vmalloc_256p", 200, vmalloc_pages, 256),
	ROUNDS("vmalloc_1024p", 50, vmalloc_pages, 1024),
	ROUNDS("vmalloc_random_1_100p", 1000, vmalloc_random, 100),
	ROUNDS("vmalloc_long_busy", 500, vmalloc_two, 100, .prepare = live, .with = NR_BUSY),
	ROUNDS("vmalloc_full_fit", 10000, vmalloc_pages, 1, .prepare = every_second_taken,
	       .with = NR_SLOTS),
	ROUNDS("page_o0", 2000, one_frame, 0),
	ROUNDS("page_o4", 2000, frames_of_order, 4),
	ROUNDS("page_o9", 2000, frames_of_order, 9),
	ROUNDS("kmalloc_64", 2000, one_object, 0),
	ROUNDS("vmap_16p", 2000, vmap_frames, 16, .prepare = some_frames, .with = 16),
	ROUNDS("vmalloc_to_page", 500, look_up, 16, .prepare = one_area, .with = 16, .pairs = 16),
	ROUNDS("fill_drain_in_order", 1, fill_and_drain, NR_SLOTS, .prepare = choose_order,
	       .with = IN_ORDER, .pairs = NR_SLOTS),
	ROUNDS("fill_drain_reverse", 1, fill_and_drain, NR_SLOTS, .prepare = choose_order,
	       .with = REVERSE, .pairs = NR_SLOTS),
	ROUNDS("fill_drain_random", 1, fill_and_drain, NR_SLOTS, .prepare = choose_order,
	       .with = RANDOM, .pairs = NR_SLOTS),
	ROUNDS("pressure_1p", 10000, vmalloc_pages, 1, .prepare = memory_short),
	ROUNDS("pressure_16p", 2000, vmalloc_pages, 16, .prepare = memory_short),
	ROUNDS("remote_free_1p", 4, fill_here_drain_there, NR_SENT, .prepare = make_slots,
	       .with = NR_SENT, .pairs = NR_SENT, .cpus = 2),
	ROUNDS("live_1k_1p", 10000, vmalloc_pages, 1, .prepare = live_maps, .with = 1000),
	ROUNDS("live_16k_1p", 10000, vmalloc_pages, 1, .prepare = live_maps, .with = 16000),
	ROUNDS("live_128k_1p", 10000, vmalloc_pages, 1, .prepare = live_maps, .with = 128000),
	ROUNDS("million_live_1p", 10000, vmalloc_pages, 1, .prepare = live_maps, .with = 1000000),
};

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
	u64 spent[REPETITIONS], nr = w->cold ? 1 : REPETITIONS;
	bool ok;

	seed = 1;
	ok = !w->prepare || w->prepare(w->with);
	if (!w->cold)
		repetition(w, &ok); /* warms up */
	for (u64 r = 0; ok && r < nr; r++) {
		u64 now_spent = repetition(w, &ok), place = r;

		for (; place && spent[place - 1] > now_spent; place--)
			spent[place] = spent[place - 1];
		spent[place] = now_spent;
	}
	tidy();
	if (ok)
		*per_op = spent[nr / 2] / nr_of_ops(w);
	return ok;
}

/*
 * Races: CPUs at once, each doing its pairs; the clock runs from the start to the last one's end.
 * Where a batch is given, a CPU allocates so many, and its neighbour frees them.
 */

static const struct race {
	const char *name;
	u32 cpus;
	u64 nr_pages, pairs; /* of each area; of each CPU */
	u64 batch;
} races[] = {
	{ "throughput_1p_1cpu", 1, 1, 51200, 0 },
	{ "throughput_1p_2cpu", 2, 1, 51200, 0 },
	{ "throughput_1p_4cpu", 4, 1, 51200, 0 },
	{ "throughput_64p_1cpu", 1, 64, 5120, 0 },
	{ "throughput_64p_2cpu", 2, 64, 5120, 0 },
	{ "throughput_64p_4cpu", 4, 64, 5120, 0 },
	{ "throughput_remote_2cpu", 2, 1, 51200, 64 },
	{ "throughput_remote_4cpu", 4, 1, 51200, 64 },
};

struct track {
	const struct race *race;
	u32 lanes, arrived, under_way; /* counted by the CPUs */
	u64 ready[MOST_CPUS], end;     /* when each was, and when the last had done its pairs */
	bool short_of_memory;
};

/* Back when all CPUs have come here. */
static void meet(struct track *track)
{
	u32 cpus = track->race->cpus;
	u32 nth = __atomic_add_fetch(&track->arrived, 1, __ATOMIC_ACQ_REL);
	u32 all = (nth + cpus - 1) / cpus * cpus;

	while (__atomic_load_n(&track->arrived, __ATOMIC_ACQUIRE) < all)
		spin();
}

static bool pass_on(struct track *track, u32 lane)
{
	u64 batch = track->race->batch, mine = lane * batch;
	u64 others = (lane + 1) % track->race->cpus * batch;
	bool ok = true;

	for (u64 i = 0; i < batch; i++)
		ok &= touched(slots[mine + i] = vmalloc(track->race->nr_pages * PAGE_SIZE));
	meet(track);
	for (u64 i = 0; i < batch; i++)
		drain(others + i);
	meet(track);
	return ok;
}

static void runner(void *arg)
{
	struct track *track = arg;
	const struct race *race = track->race;
	u32 lane = __atomic_fetch_add(&track->lanes, 1, __ATOMIC_RELAXED);
	bool ok = true;

	track->ready[lane] = now();
	meet(track);
	for (u64 i = 0; i < race->pairs; i += race->batch ? race->batch : 1)
		ok &= race->batch ? pass_on(track, lane) : vmalloc_pages(race->nr_pages);
	if (!ok)
		track->short_of_memory = true;
	if (__atomic_sub_fetch(&track->under_way, 1, __ATOMIC_ACQ_REL) == 0)
		track->end = now();
}

static u64 pairs_of_race(const struct race *race)
{
	return race->cpus * race->pairs;
}

/* Once before the race is run, maybe several times, and then tidy(). False: no memory. */
static bool prepare_race(const struct race *race)
{
	give_back = vfree;
	return make_slots(race->cpus * race->batch + 1);
}

/* Cycles from when the last CPU is ready to the last one's end; 0: too little memory. */
static u64 run_race(const struct race *race)
{
	struct track track = { .race = race, .under_way = race->cpus };
	u64 start = 0;

	run_on_cpus(race->cpus, runner, &track);
	for (u32 lane = 0; lane < race->cpus; lane++)
		start = track.ready[lane] > start ? track.ready[lane] : start;
	return track.short_of_memory ? 0 : track.end - start;
}

/* Is it among what was asked for: does its name contain part? */
static bool chosen(const char *name, const char *part)
{
	size_t length = strlen(part);

	while (*name && strncmp(name, part, length) != 0)
		name++;
	return *name || !length;
}
