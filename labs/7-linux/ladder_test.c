/*
 * The ladder of lab 7: how many instructions a pair of vmalloc and vfree takes here, and in Linux.
 *
 * A row is a workload; on each there are three rungs: as few instructions as a lean Linux, a third of
 * them, a tenth (a sixth where stocks alone cannot do it). Linux's figures, and those of Tessera as it is, are those of `make bench-linux`
 * (docs/bench.md), which counts the same way, with one CPU and more memory.
 *
 * They are instructions because QEMU counts them under -icount: its time-stamp counter goes on by as
 * much for each. The grader runs it so, and the same figures come out every time. On a machine that
 * does not count there is nothing to climb, and the rungs are skipped.
 *
 * An allocator that is wrong is not fast: before each rung, a pair is looked at closely.
 */
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/string.h>
#include <mm/pagetable.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>

#include "../../tests/test.h"

#define MANY 4096 /* areas that are all filled, then drained */
#define LIVE 4000 /* areas beside which one more comes and goes */

static void *slots[MANY];
static u16 order[MANY]; /* in which they are drained */
static struct page *shown;
static u32 seed;

/* Workloads: one round of each, and what stands before it */

static bool pair(u64 nr_pages)
{
	volatile char *p = vmalloc(nr_pages * PAGE_SIZE);

	if (p)
		*p = 1;
	vfree((void *)p);
	return p;
}

/* As bench/workloads.h has it: the same numbers in each run, and in Linux. Below limit. */
static u64 random_below(u64 limit)
{
	seed = seed * 1664525 + 1013904223;
	return (u64)seed * limit >> 32;
}

static bool any_pair(u64 most)
{
	return pair(1 + random_below(most));
}

static bool fill_and_drain(u64 nr)
{
	bool ok = true;

	for (u64 i = 0; i < nr; i++)
		ok &= (slots[i] = vmalloc(PAGE_SIZE)) != NULL;
	for (u64 i = 0; i < nr; i++)
		vfree(slots[order[i]]);
	return ok;
}

static bool shuffle(void)
{
	for (u64 i = 0; i < MANY; i++)
		order[i] = i;
	for (u64 left = MANY; left > 1; left--) {
		u64 i = random_below(left);
		u16 last = order[left - 1];

		order[left - 1] = order[i];
		order[i] = last;
	}
	return true;
}

static bool live(void)
{
	bool ok = (shown = alloc_pages(GFP_KERNEL, 0));

	for (u64 i = 0; ok && i < LIVE; i++)
		ok = (slots[i] = vmap(&shown, 1, PAGE_KERNEL));
	return ok;
}

static void no_longer_live(void)
{
	for (u64 i = 0; i < LIVE; i++)
		vunmap(slots[i]);
	vm_unmap_aliases(); /* only then is it mapped nowhere */
	if (shown)
		__free_pages(shown, 0);
}

static const struct row {
	const char *name;
	u64 rounds, pairs; /* pairs in a round */
	bool (*round)(u64 arg);
	u64 arg;
	bool (*prepare)(void);
	void (*tidy)(void);
	u64 most_pages;		     /* of an area */
	u64 tessera, linux_, debian; /* instructions a pair: docs/bench.md */
} rows[] = {
	{ "one_page", 2000, 1, pair, 1, NULL, NULL, 1, 231, 2626, 3729 },
	{ "pages_16", 400, 1, pair, 16, NULL, NULL, 16, 304, 7209, 10521 },
	{ "pages_256", 40, 1, pair, 256, NULL, NULL, 256, 1632, 83883, 122875 },
	{ "any_size", 200, 1, any_pair, 100, NULL, NULL, 100, 550, 18024, 26426 },
	{ "any_order", 1, MANY, fill_and_drain, MANY, shuffle, NULL, 1, 352, 3751, 5302 },
	{ "beside_4000", 2000, 1, pair, 1, live, no_longer_live, 1, 233, 2832, 3854 },
};

/* Counting */

/*
 * Steps of the time-stamp counter for an instruction; 0: this machine does not count. One that does
 * needs so many for each word, whatever was before, and few for the call.
 */
static u64 steps_of_one(void)
{
	enum { WORDS = 2048, CALL = 40 };
	static u64 words[WORDS]; /* memset writes one an instruction */
	u64 steps = 0;

	for (int i = 0; i < 8; i++) {
		u64 took = -cycles();

		memset(words, i, sizeof(words));
		took += cycles();
		if (!i)
			steps = took / WORDS;
		if (took < WORDS * steps || took > (WORDS + CALL) * steps)
			return 0;
	}
	return steps;
}

/* What it took, in hundredths a pair, so that a flush of each hundredth is seen. */
struct count {
	u64 instructions, flushes, locks, interrupts;
};

static struct count counted(void)
{
	struct tlb_stats tlb;

	tlb_stats(&tlb);
	return (struct count){ cycles(), tlb.flushes, locks_taken(), nr_ipis() };
}

#define PATIENCE 40000000 /* instructions: what is very slow is told from fewer rounds */

/* How many pairs were made; 0: no memory. */
static u64 repeat(const struct row *row, u64 steps)
{
	u64 end = cycles() + PATIENCE * steps, nr = 0;

	for (bool ok = true; ok && nr < row->rounds && (nr % 16 || cycles() < end); nr += ok)
		ok = row->round(row->arg);
	return nr * row->pairs;
}

/* False: no memory. */
static bool count(const struct row *row, struct count *per)
{
	u64 steps = steps_of_one(), pairs = 0;
	struct count a, b;
	bool ok;

	seed = 1;
	ok = !row->prepare || row->prepare();
	checks_off = true;
	ok = ok && repeat(row, steps); /* the first time fills what is kept */
	a = counted();
	if (ok)
		pairs = repeat(row, steps);
	b = counted();
	checks_off = false;
	if (row->tidy)
		row->tidy();
	if (!pairs)
		return false;
	per->instructions = (b.instructions - a.instructions) / MAX(steps, 1ul) / pairs;
	per->flushes = (b.flushes - a.flushes) * 100 / pairs;
	per->locks = (b.locks - a.locks) * 100 / pairs;
	per->interrupts = (b.interrupts - a.interrupts) * 100 / pairs;
	return true;
}

/* One line of the table: the grader collects those that begin so. */
#define TABLE "# | "

static void tell_titles(void)
{
	printk(TABLE "%-14s %8s %8s %11s %15s\n", "instructions", "yours", "Tessera", "lean Linux",
	       "Debian's Linux");
}

static void tell(const struct row *row, u64 instructions)
{
	printk(TABLE "%-14s %8lu %8lu %11lu %15lu\n", row->name, instructions, row->tessera,
	       row->linux_, row->debian);
}

/* Correct first */

static bool readable(vaddr_t va)
{
	u8 byte;

	return probe_read(va, &byte);
}

/*
 * A pair, and the next ones of its size: neither its addresses nor its first frame may be in use again
 * unless all CPUs were flushed in between.
 */
static void look_closely(u64 nr_pages)
{
	enum { NEXT = 4 };
	char *p, *next[NEXT];
	bool again = false;
	struct vm_area area;
	u64 pfn, flush;

	vm_unmap_aliases(); /* then nothing else of its size waits, and would come first */
	p = vmalloc(nr_pages * PAGE_SIZE);
	pfn = vmalloc_to_pfn(p);
	flush = tlb_next_flush();
	EXPECT(p);
	EXPECT(probe_write((vaddr_t)p, 1) && probe_write((vaddr_t)p + nr_pages * PAGE_SIZE - 1, 1));
	EXPECT(!readable((vaddr_t)p - 1) && !readable((vaddr_t)p + nr_pages * PAGE_SIZE));
	EXPECT(find_vm_area((vaddr_t)p, &area) && area.kind == VM_ALLOC);
	EXPECT_EQ(area.nr_pages, nr_pages);
	vfree(p);
	EXPECT(!find_vm_area((vaddr_t)p, &area) || area.kind == VM_FREED);
	EXPECT(!vmalloc_to_page(p));
	for (int i = 0; i < NEXT; i++) {
		next[i] = vmalloc(nr_pages * PAGE_SIZE);
		again |= next[i] == p;
		for (u64 j = 0; next[i] && j < nr_pages; j++)
			again |= vmalloc_to_pfn(next[i] + j * PAGE_SIZE) == pfn;
	}
	again = again && !tlb_flushed(flush);
	for (int i = 0; i < NEXT; i++)
		vfree(next[i]);
	if (again)
		test_fail(__FILE__, __LINE__, "what was freed", "is in use again before a flush");
}

/* The same over many pairs, until the addresses come again: what is put off must still be done. */
static void wait_for_it(u64 nr_pages)
{
	void *p = vmalloc(nr_pages * PAGE_SIZE), *q = NULL;
	u64 flush = tlb_next_flush();

	EXPECT(p);
	vfree(p);
	for (u64 i = 0; i < 20000 / nr_pages && q != p; i++) {
		q = vmalloc(nr_pages * PAGE_SIZE);
		vfree(q);
	}
	if (q == p && !tlb_flushed(flush))
		test_fail(__FILE__, __LINE__, "what was freed", "is in use again before a flush");
}

TEST(ladder, nothing_is_used_again_before_its_flush)
{
	for (u64 nr_pages = 1; nr_pages <= 300 && !test_failed(); nr_pages = nr_pages * 3 + 1)
		look_closely(nr_pages);
	for (u64 nr_pages = 1; nr_pages <= 100 && !test_failed(); nr_pages *= 10)
		wait_for_it(nr_pages);
}

static void come_and_go(void *unused)
{
	void *p[8];

	(void)unused;
	for (u64 i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = vmalloc(256 * PAGE_SIZE);
	for (u64 i = 0; i < ARRAY_SIZE(p); i++)
		vfree(p[i]);
}

/* Whatever a CPU keeps for its next vmalloc is memory that another may need. */
TEST(ladder, what_other_cpus_keep_is_given_back)
{
	u64 most = nr_free_pages() / 100 * 95;
	void *p;

	run_on_cpus(nr_cpus(), come_and_go, NULL);
	p = vmalloc(most * PAGE_SIZE);
	EXPECT(p);
	vfree(p);
}

/* Rungs */

/* The same words for each rung of a row, so that they are told once. */
#define MISSED                                                                                      \
	"takes %lu instructions a pair; lean Linux takes %lu; 3, 6, 10 times leaner are %lu, %lu, " \
	"%lu\n  in 100 pairs: %lu flushes, %lu locks, %lu interrupts to other CPUs"

static void climb(const char *name, u64 times)
{
	const struct row *row = rows;
	struct count per;

	while (strcmp(row->name, name) != 0)
		row++;
	for (int off = 0; off < 2 && !test_failed(); off++) {
		checks_off = off; /* as when it is counted, too */
		look_closely(row->most_pages);
	}
	checks_off = false;
	if (test_failed())
		return;
	if (!steps_of_one())
		SKIP("instructions are counted only under -icount, as `make grade` runs it");
	if (!count(row, &per)) {
		test_fail(__FILE__, __LINE__, row->name, "was given no memory");
		return;
	}
	tell_titles();
	tell(row, per.instructions);
	if (per.instructions * times <= row->linux_)
		return;
	test_fail(__FILE__, __LINE__, row->name, MISSED, per.instructions, row->linux_,
		  row->linux_ / 3, row->linux_ / 6, row->linux_ / 10, per.flushes, per.locks,
		  per.interrupts);
}

#define RUNGS(row, most)                          \
	TEST(ladder, row##_as_linux)              \
	{                                         \
		climb(#row, 1);                   \
	}                                         \
	TEST(ladder, row##_3_times_leaner)        \
	{                                         \
		climb(#row, 3);                   \
	}                                         \
	TEST(ladder, row##_##most##_times_leaner) \
	{                                         \
		climb(#row, most);                \
	}

RUNGS(one_page, 10)
RUNGS(pages_16, 10)
RUNGS(pages_256, 10)
RUNGS(any_size, 10)
RUNGS(any_order, 6) /* no stock holds them all */
RUNGS(beside_4000, 10)

static void ladder(void)
{
	struct count per;

	if (!steps_of_one())
		printk("This machine does not count: make run QEMUFLAGS=\"-icount shift=0,sleep=off\"\n");
	else
		tell_titles();
	for (const struct row *row = rows; steps_of_one() && row < rows + ARRAY_SIZE(rows); row++)
		if (count(row, &per))
			tell(row, per.instructions);
}

COMMAND(ladder, "", "instructions a pair of vmalloc and vfree takes, here and in Linux", ladder());
