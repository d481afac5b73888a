/*
 * fuzz.h - a byte string is a list of operations, and a model says what each must do.
 *
 * A target takes bytes as long as there are any, makes of them calls of the code under test and the
 * same steps of a model too simple to be wrong, and compares after each. What it must leave as it
 * found it, it compares at the end of an input: the machine stays up from one to the next.
 *
 *	static void run(struct bytes *in)
 *	{
 *		while (operation(in))
 *			switch (byte(in) % 2) { ... EXPECT(vmarea_alloc(...) == model_alloc(...)); }
 *	}
 *	FUZZ_TARGET(vmarea, setup, run);
 *
 * Any string means something: what is missing reads as 0, and numbers are taken modulo what there is.
 */
#pragma once

#include <kernel/panic.h>
#include <kernel/types.h>

#include "../inject.h"

struct bytes {
	const u8 *at, *end;
};

struct fuzz_target {
	const char *name;
	void (*setup)(void); /* once, when the machine is up; NULL: nothing to do */
	void (*run)(struct bytes *in);
};

#define FUZZ_TARGET(name_, setup_, run_)                    \
	static const struct fuzz_target fuzz_target_##name_ \
		__attribute__((used, section("targets"), aligned(8))) = { #name_, setup_, run_ }

extern u64 fuzz_operations; /* done so far, each compared with a model */

static inline u64 left(const struct bytes *in)
{
	return in->end - in->at;
}

static inline u8 byte(struct bytes *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static inline u32 word(struct bytes *in) /* 16 bits */
{
	u32 low = byte(in);

	return low | byte(in) << 8;
}

/* Is there another one? It is counted. */
static inline bool operation(const struct bytes *in)
{
	fuzz_operations += in->at < in->end;
	return in->at < in->end;
}

/* Say what was wrong and die, so that the input is kept. */
_Noreturn void fuzz_fail(const char *file, int line, const char *fmt, ...) printf_like(3, 4);

#define EXPECT(cond) ((cond) ? (void)0 : fuzz_fail(__FILE__, __LINE__, "was false: %s", #cond))
#define EXPECT_EQ(a, b)                                                                        \
	do {                                                                                   \
		u64 a_ = (u64)(a), b_ = (u64)(b);                                              \
		if (a_ != b_)                                                                  \
			fuzz_fail(__FILE__, __LINE__, "%s: 0x%lx and 0x%lx", #a " == " #b, a_, \
				  b_);                                                         \
	} while (0)

/* fn(arg) must panic, with text in its message. */
#define EXPECT_PANIC(fn, arg, text) expect_panic(__FILE__, __LINE__, fn, (void *)(arg), text)
void expect_panic(const char *file, int line, void (*fn)(void *), void *arg, const char *text);

void expect_sound(void); /* mm_check() finds nothing */

/* A complaint of mm's is a failure; or is only counted. */
void fuzz_complain(const char *fmt, ...) printf_like(1, 2);
void fuzz_count_complaint(const char *fmt, ...) printf_like(1, 2);
extern u64 fuzz_complaints;

/* tests/fuzz/size.c: what kernel/printk.h promises of parse_number(), done another way. */
bool model_number(const char *text, unsigned base, u64 *value);

/* arch/sim's machine: RAM as it was when all was at rest. For targets that count frames. */
struct census {
	u64 frames, objects, areas, window_free;
};
void take_census(struct census *census); /* drains all stocks first */
