/*
 * test.h - tests that run in the kernel and, from the same file, on the host.
 *
 *	TEST(vmalloc, guard)
 *	{
 *		char *p = vmalloc(PAGE_SIZE);
 *		EXPECT(p);
 *		EXPECT_EQ(find_guard(p), 1);
 *		vfree(p);
 *	}
 *
 * The name is "vmalloc/guard". Before and after each test the runner purges, counts and runs
 * mm_check(): a test that leaks a frame or an area, or leaves mm/ unsound, fails.
 */
#pragma once

#include <kernel/smp.h>
#include <kernel/spinlock.h>

#include "inject.h"

#define TESTS_MAX 512
struct test {
	const char *name;
	void (*run)(void);
};
extern const struct test __start_tests[], __stop_tests[]; /* from the linker */

#define TEST(group, name_)                                                                        \
	static void test_##group##_##name_(void);                                                 \
	static const struct test test_entry_##group##_##name_                                     \
		__attribute__((used, section("tests"), aligned(8))) = { #group "/" #name_,        \
									test_##group##_##name_ }; \
	static void test_##group##_##name_(void)

/* A function that looks, on purpose, at what nobody may touch: KASAN (docs/sanitizers.md) does not. */
#define unchecked noinline __attribute__((no_sanitize("kernel-address")))

/* End the test as failed, with values. */
#define EXPECT(cond)                                                       \
	do {                                                               \
		if (!(cond)) {                                             \
			test_fail(__FILE__, __LINE__, #cond, "was false"); \
			return;                                            \
		}                                                          \
	} while (0)

#define EXPECT_EQ(a, b)                                                                        \
	do {                                                                                   \
		u64 a_ = (u64)(a), b_ = (u64)(b);                                              \
		if (a_ != b_) {                                                                \
			test_fail(__FILE__, __LINE__, #a " == " #b, "was 0x%lx and 0x%lx", a_, \
				  b_);                                                         \
			return;                                                                \
		}                                                                              \
	} while (0)

/* fn(arg) must panic, with text in its message. */
#define EXPECT_PANIC(fn, arg, text)                                            \
	do {                                                                   \
		if (!test_panics(__FILE__, __LINE__, fn, (void *)(arg), text)) \
			return;                                                \
	} while (0)

/* End the test as skipped. */
#define SKIP(why)               \
	do {                    \
		test_skip(why); \
		return;         \
	} while (0)

void test_fail(const char *file, int line, const char *what, const char *fmt, ...)
	printf_like(4, 5);
bool test_panics(const char *file, int line, void (*fn)(void *), void *arg, const char *text);
void test_skip(const char *why);

/*
 * Functions that a student has still to write (labs/support): why there is no mm/, so that each test
 * fails with that, or NULL; how many were called so far.
 */
extern const char *mm_down;
extern u32 stubs_hit;
void drill(void) __attribute__((weak)); /* a lab's: a test without which no other means anything */
void tell_callers(void) __attribute__((weak));	      /* of the last panic that was caught */
bool tests_are_too_early(void) __attribute__((weak)); /* says what is missing for all tests */

/* EXPECT in a helper ends only the helper: has this test failed there? */
bool test_failed(void);

bool contains(const char *text, const char *part);

/* fn(arg) on that CPU, this one included; back when it is done. */
void run_on_cpu(u32 cpu, void (*fn)(void *), void *arg);

/* fn(arg) on CPUs 0 .. nr - 1 at the same time; called on CPU 0; back when all are done. */
void run_on_cpus(u32 nr, void (*fn)(void *), void *arg);

u64 locks_taken(void); /* by all CPUs so far */

/* A random number that the seed of this run determines: the same on every machine. */
u64 test_random(void);

/*
 * Run the tests whose name contains pattern ("" for all; "one,other" for either; "-one,other" for the
 * rest) in an order that seed shuffles (0: as linked). KTAP on COM1 and `test` records. Returns the
 * number of failures.
 */
unsigned run_tests(const char *pattern, u64 seed);

/*
 * A kernel that can be graded has these (tests/grade/grade.c), others have NULL. The tests that were
 * ordered, 0: none; start the next one's clock; add to its record what proves that it is the runner's.
 */
unsigned grade_choose(const struct test **chosen) __attribute__((weak));
void grade_begin(void) __attribute__((weak));
void grade_sign(const char *name, const char *result, const char *why, u64 cycles)
	__attribute__((weak));
