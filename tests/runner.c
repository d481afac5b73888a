/*
 * runner.c - runs the tests that TEST() left in the image, on the host and in the kernel alike.
 *
 * EXPECT and its kin end a test early and leave a verdict. What the runner adds is that mm/ must be
 * left as it was found: before and after each test all that waits is flushed and given back, then
 * free frames and areas are counted, and mm_check() looks at every structure. A leak is a failure
 * with numbers and lands on the test that made it. So does a panic; only when mm/ is unsound
 * afterwards is there no point in going on.
 *
 * Order and random numbers follow from one seed, the latter from the test's name too: a test that
 * is run alone sees the numbers that it saw among all others.
 */
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/random.h>
#include <kernel/record.h>
#include <kernel/string.h>
#include <kernel/words.h>
#include <mm/mm.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

#include "test.h"

#define BOOKS_OPEN "\n  the boot stopped half-way before it, and left books open"
#define AFTER_DRILL "\n  so it is before all tests: mend that first, or none of them means anything"
#define FREE_PAGES_NEEDED (12 * MiB / PAGE_SIZE)

static enum { PASS, FAIL, SKIPPED } verdict;
static char why[512]; /* the first thing that was wrong */
static u64 random_state;
static u64 body_cycles; /* what the test itself took */

/* Of labs/support: functions that a student has still to write. */
const char *mm_down;
u32 stubs_hit;
static u64 unsound;	    /* faults in mm/ before any test: then none is to blame for them */
static char complaint[256]; /* one of those that only count */

/* What is held. Frames of slabs and tables may differ with what was held before; mm_check() has them. */
struct stock {
	u64 frames, objects;
	struct vmalloc_stats window;
};

static void printf_like(1, 0) vfail(const char *fmt, va_list args)
{
	char text[sizeof(why)], *line = text, *end;

	vsnprintf(text, sizeof(text), fmt, args);
	if (verdict != FAIL)
		strlcpy(why, text, sizeof(why));
	verdict = FAIL;
	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		printk("# %s\n", line);
	}
	printk("# %s\n", line);
}

static void printf_like(1, 2) fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfail(fmt, args);
	va_end(args);
}

void test_fail(const char *file, int line, const char *what, const char *fmt, ...)
{
	char values[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(values, sizeof(values), fmt, args);
	va_end(args);
	fail("%s:%d: %s %s", file, line, what, values);
}

void test_skip(const char *reason)
{
	strlcpy(why, reason, sizeof(why));
	verdict = SKIPPED;
}

bool test_failed(void)
{
	return verdict == FAIL;
}

bool contains(const char *text, const char *part)
{
	size_t length = strlen(part);

	for (; strncmp(text, part, length) != 0; text++)
		if (!*text)
			return false;
	return true;
}

bool test_panics(const char *file, int line, void (*fn)(void *), void *arg, const char *text)
{
	char msg[512] = "it did not panic";

	if (panic_caught(fn, arg, msg, sizeof(msg)) && contains(msg, text))
		return true;
	fail("%s:%d: a panic that says '%s' was expected, but:\n%s", file, line, text, msg);
	return false;
}

u64 test_random(void)
{
	return random_next(&random_state);
}

void run_on_cpu(u32 cpu, void (*fn)(void *), void *arg)
{
	if (cpu == cpu_id())
		return fn(arg);
	cpu_start(cpu, fn, arg);
	cpu_join(cpu);
}

void run_on_cpus(u32 nr, void (*fn)(void *), void *arg)
{
	BUG_ON(cpu_id() != 0 || nr > nr_cpus());
	for (u32 cpu = 1; cpu < nr; cpu++)
		cpu_start(cpu, fn, arg);
	if (nr)
		fn(arg);
	for (u32 cpu = 1; cpu < nr; cpu++)
		cpu_join(cpu);
}

u64 locks_taken(void)
{
	u64 count = 0;

	for (u32 cpu = 0; cpu < NR_CPUS; cpu++)
		count += __atomic_load_n(&lock_counts[cpu], __ATOMIC_RELAXED);
	return count;
}

static void run_body(void *test)
{
	((const struct test *)test)->run();
}

static void take_stock(void *arg)
{
	struct stock *stock = arg;
	struct page_stats pages;
	struct kmem_stats cache;

	vm_unmap_aliases();
	kmem_cache_shrink_all();
	page_stats(&pages);
	stock->frames = pages.total - pages.free - pages.state[PG_SLAB] - pages.state[PG_TABLE];
	stock->objects = 0;
	for (unsigned i = 0; kmem_cache_stats(i, &cache); i++)
		stock->objects += cache.in_use;
	vmalloc_stats(&stock->window);
}

static void printf_like(1, 2) count(const char *fmt, ...)
{
	va_list args;

	if (*complaint)
		return;
	va_start(args, fmt);
	vsnprintf(complaint, sizeof(complaint), fmt, args);
	va_end(args);
}

/* One mistake may spoil a thousand blocks: a few say it. */
#define FAULTS_TOLD 8
static u64 faults_seen;

static void printf_like(1, 2) fail_a_few_times(const char *fmt, ...)
{
	va_list args;

	if (faults_seen++ >= FAULTS_TOLD)
		return;
	va_start(args, fmt);
	vfail(fmt, args);
	va_end(args);
}

static void check_mm(void *faults)
{
	faults_seen = 0;
	*(u64 *)faults = unsound ? 0 : mm_check(fail_a_few_times);
	if (faults_seen > FAULTS_TOLD)
		printk("# and %lu more faults\n", faults_seen - FAULTS_TOLD);
}

static void check_before(void *unused)
{
	(void)unused;
	unsound = mm_check(count);
}

static bool survives(void (*fn)(void *), void *arg)
{
	char msg[sizeof(why) - 8];
	bool panicked = panic_caught(fn, arg, msg, sizeof(msg));

	if (!panicked || (stubs_hit && verdict == FAIL && contains(why, msg))) /* is it news? */
		return !panicked;
	fail("PANIC %s", msg);
	if (tell_callers && !contains(msg, "is yours to write"))
		tell_callers();
	return false;
}

/* What was under way when a function was missing, the boot mostly, left books open: nobody is to blame. */
static void look_at_open_books(void)
{
	static char msg[sizeof(why)];

	if (panic_caught(check_before, NULL, msg, sizeof(msg)) || !unsound)
		return;
	printk("# the boot, or a command, stopped half-way at a function that is yet to be written,\n"
	       "# and left books open, in %lu places; the first:\n#   %s\n"
	       "# That is no mistake of any test, and none is blamed for it.\n",
	       unsound, complaint);
}

static void call_drill(void *unused)
{
	(void)unused;
	drill();
}

/* If a lab has a drill, and it is not passed, each test fails with what it says. */
static void run_drill(void)
{
	static char text[sizeof(why) + sizeof(AFTER_DRILL)];

	verdict = PASS;
	if (!drill || nr_free_pages() < FREE_PAGES_NEEDED)
		return;
	if ((survives(call_drill, NULL) && verdict == PASS) || stubs_hit)
		return;
	snprintf(text, sizeof(text), "%s" AFTER_DRILL, why);
	mm_down = text;
}

static bool sound_before(void)
{
	bool survived;

	if (!stubs_hit)
		run_drill();
	if (mm_down)
		return false;
	if (stubs_hit) {
		look_at_open_books();
		return true;
	}
	survived = survives(check_before, NULL);

	if (unsound)
		printk("# mm/ is unsound before any test, in %lu places; the first:\n# %s\n",
		       unsound, complaint);
	return survived && !unsound;
}

/* Has every irq_save had its irq_restore? Without a local APIC they are never on. */
static void check_interrupts(irqflags_t before)
{
	irqflags_t flags = irq_save();

	irq_restore(before);
	if (before & ~flags & 0x200) /* RFLAGS.IF */
		fail("interrupts are masked: an irq_restore is missing");
}

/* False if mm/ is unsound now, and not for want of a function that is still to be written. */
static noinline bool run_test(const struct test *test, u64 seed) /* backtraces name it */
{
	struct stock a, b;
	u64 faults = 0;
	u32 hit = stubs_hit;
	irqflags_t flags;

	verdict = PASS;
	if (mm_down) {
		fail("%s", mm_down);
		return true;
	}
	random_state = seed;
	for (const char *c = test->name; *c; c++)
		random_state = random_state * 31 + *c;
	if (!survives(take_stock, &a))
		return stubs_hit != hit;
	if (nr_free_pages() < FREE_PAGES_NEEDED) {
		test_skip("needs 12 MiB of free memory");
		return true;
	}
	flags = irq_save();
	irq_restore(flags);
	body_cycles = -cycles();
	survives(run_body, (void *)test);
	body_cycles += cycles();
	if (verdict == FAIL && hit && unsound)
		strlcpy(why + strlen(why), BOOKS_OPEN, sizeof(why) - strlen(why));
	check_interrupts(flags);
	inject((struct inject_order){ 0 }); /* what a test has ordered ends with it */
	if (!survives(take_stock, &b) || !survives(check_mm, &faults))
		return stubs_hit != hit;
	if (stubs_hit != hit)
		unsound = MAX(unsound, faults);
	if (a.frames != b.frames || a.objects != b.objects)
		fail("leak: %lu frames and %lu objects held before, %lu and %lu after", a.frames,
		     a.objects, b.frames, b.objects);
	if (a.window.areas != b.window.areas || a.window.free != b.window.free)
		fail("leak: %lu areas and %lu free pages in the window before, %lu and %lu after",
		     a.window.areas, a.window.free, b.window.areas, b.window.free);
	return !faults || stubs_hit != hit;
}

static void report(const struct test *test, unsigned number, bool graded)
{
	static const char *const results[] = { "pass", "fail", "skip" };

	printk("%s %u %s%s%s\n", verdict == FAIL ? "not ok" : "ok", number, test->name,
	       verdict == SKIPPED ? " # SKIP " : "", verdict == SKIPPED ? why : "");
	rec_begin("test");
	rec_str("name", test->name);
	rec_str("result", results[verdict]);
	if (verdict != PASS)
		rec_str("why", why);
	if (graded)
		grade_sign(test->name, results[verdict], verdict != PASS ? why : "", body_cycles);
	rec_end();
	tests_run++;
	tests_failed += verdict == FAIL;
}

/* Does it contain one of the parts, which commas separate? After a '-': none of them. */
static bool matches(const char *name, const char *pattern)
{
	char parts[sizeof(words.work)], *rest = parts, *part;
	bool wanted = *pattern != '-';

	strlcpy(parts, pattern + !wanted, sizeof(parts));
	while ((part = next_word(&rest, ",")))
		if (contains(name, part))
			return wanted;
	return !wanted || !*pattern;
}

/* The tests that match, shuffled as Fisher and Yates do: Knuth TAOCP 2, 3.4.2, algorithm P. */
static unsigned choose(const struct test **chosen, const char *pattern, u64 seed)
{
	unsigned nr = 0;
	u64 state = seed;

	for (const struct test *test = __start_tests; test < __stop_tests; test++) {
		if (!matches(test->name, pattern))
			continue;
		BUG_ON(nr == TESTS_MAX);
		chosen[nr++] = test;
	}
	for (unsigned left = nr; seed && left > 1; left--) {
		unsigned i = random_next(&state) % left;
		const struct test *last = chosen[left - 1];

		chosen[left - 1] = chosen[i];
		chosen[i] = last;
	}
	return nr;
}

unsigned run_tests(const char *pattern, u64 seed)
{
	static const struct test *chosen[TESTS_MAX];
	unsigned ordered = grade_choose ? grade_choose(chosen) : 0, before = tests_failed;
	unsigned nr = ordered ? ordered : choose(chosen, pattern, seed);
	bool sound_first,
		sound = true,
		spoiled = false; /* what a failed test broke shall cost no other one points */

	printk_line("KTAP version 1\n1..%u", nr);
	sound_first = !nr || mm_down || sound_before();
	for (unsigned i = 0; i < nr && sound && !spoiled; i++) {
		if (ordered)
			grade_begin();
		sound = run_test(chosen[i], seed);
		report(chosen[i], i + 1, ordered);
		spoiled = ordered && verdict == FAIL && !mm_down;
	}
	tests_failed += !sound_first && tests_failed == before; /* no more than there are */
	if (!sound)
		printk("Bail out! mm/ is unsound\n");
	if (!nr) {
		printk("# no test's name contains '%s'; `test` alone runs all\n", pattern);
		tests_failed++;
	}
	printk("# seed %lu: make run APPEND=\"test%s%s seed=%lu exit\"\n", seed,
	       *pattern ? "=" : "", pattern, seed);
	return tests_failed - before;
}

COMMAND(test, "[part]", "the tests whose name contains this (-part: does not), or all",
	failed = !nr && tests_are_too_early && tests_are_too_early() ?
			 1 :
			 run_tests(nr ? text[0] : "", words.seed));
