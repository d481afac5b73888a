/*
 * ubsan_test.c - each kind of undefined behaviour, planted, and what ubsan.c says of it.
 *
 * The values come from memory that the compiler must read (volatile), or it would decide while it
 * compiles. A message must name this file and the line of the plant, and the values.
 */
#include <kernel/printk.h>
#include <kernel/string.h>

#include "../tests/test.h"

static volatile int minimum = -2147483647 - 1, one = 1, minus_one = -1, zero, big = 33;
static volatile long where = 0x1001;
static volatile u64 sink;
static char *volatile pointer = (char *)0x1001;

/* Each plant notes the line on which it stands. */
static int line;
#define HERE (line = __LINE__)

/* fn must be reported as this kind, in its line, with these values. */
#define EXPECT_UB(fn, kind, values)                                                                \
	do {                                                                                       \
		char msg_[512] = "nothing was reported", at_[64];                                  \
		bool caught_ = panic_caught(fn, NULL, msg_, sizeof(msg_));                         \
                                                                                                   \
		snprintf(at_, sizeof(at_), "BUG: UBSan: %s at %s:%d:", kind, __FILE__, line);      \
		if (!caught_ || strncmp(msg_, at_, strlen(at_)) || !contains(msg_, values)) {      \
			test_fail(__FILE__, __LINE__, #fn, "should say '%s', '%s', said\n%s", at_, \
				  values, msg_);                                                   \
			return;                                                                    \
		}                                                                                  \
	} while (0)

static void plus(void *unused)
{
	(void)unused;
	HERE, sink = minimum + minus_one;
}

static void minus(void *unused)
{
	(void)unused;
	HERE, sink = minimum - one;
}

static void times(void *unused)
{
	(void)unused;
	HERE, sink = minimum * minus_one;
}

static void negative(void *unused)
{
	(void)unused;
	HERE, sink = -minimum;
}

static void divided(void *unused)
{
	(void)unused;
	HERE, sink = one / zero;
}

static void divided_least(void *unused)
{
	(void)unused;
	HERE, sink = minimum / minus_one;
}

TEST(ubsan, arithmetic)
{
	EXPECT_UB(plus, "signed-integer-overflow", "-2147483648 + -1 cannot be represented");
	EXPECT_UB(minus, "signed-integer-overflow", "-2147483648 - 1 cannot be represented");
	EXPECT_UB(times, "signed-integer-overflow", "-2147483648 * -1 cannot be represented");
	EXPECT_UB(negative, "negate-overflow", "-2147483648 cannot be represented in type 'int'");
	EXPECT_UB(divided, "divrem-overflow", "1 / 0");
	EXPECT_UB(divided_least, "divrem-overflow", "-2147483648 / -1");
}

static void too_far(void *unused)
{
	(void)unused;
	HERE, sink = one << big;
}

static void back(void *unused)
{
	(void)unused;
	HERE, sink = one >> minus_one;
}

static void of_negative(void *unused)
{
	(void)unused;
	HERE, sink = minus_one << one;
}

TEST(ubsan, shift)
{
	EXPECT_UB(too_far, "shift-out-of-bounds", "1 of type 'int' is shifted by 33: too far");
	EXPECT_UB(back, "shift-out-of-bounds", "1 of type 'int' is shifted by -1: a negative");
	EXPECT_UB(of_negative, "shift-out-of-bounds", "is shifted by 1: a negative value");
}

static int numbers[8];

static void behind_array(void *unused)
{
	(void)unused;
	HERE, sink = numbers[big];
}

static void before_array(void *unused)
{
	(void)unused;
	HERE, numbers[minus_one] = 1;
}

static void below_zero(void *unused)
{
	(void)unused;
	HERE, pointer += 2 * where * minus_one;
}

static void no_array(void *unused)
{
	(void)unused;
	/* clang-format off */
	_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wvla\"")
	HERE; char none[minus_one]; none[0] = 1, sink = none[0];
	_Pragma("GCC diagnostic pop")
	/* clang-format on */
}

TEST(ubsan, bounds)
{
	EXPECT_UB(behind_array, "array-index-out-of-bounds", "index 33 is out of range for type");
	EXPECT_UB(before_array, "array-index-out-of-bounds", "index -1 is out of range for type");
	EXPECT_UB(below_zero, "pointer-overflow", "the pointer 0x1001 became 0xffffffffffffefff");
	EXPECT_UB(no_array, "vla-bound-not-positive", "an array of -1 elements");
}

static void misaligned(void *unused)
{
	(void)unused;
	HERE, sink = *(u32 *)where;
}

static void null_store(void *unused)
{
	(void)unused;
	HERE, *(u64 *)(u64)zero = 1;
}

struct pair {
	u64 first, second;
};

static void null_member(void *unused)
{
	(void)unused;
	HERE, sink = ((struct pair *)(u64)zero)->second;
}

static void too_small(void *unused)
{
	_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Warray-bounds\"")
		_Pragma("GCC diagnostic ignored \"-Wuninitialized\"") u64 word = one,
									  *volatile p = &word;

	(void)unused, (void)p;
	HERE, sink = ((struct pair *)&word)->second;
	_Pragma("GCC diagnostic pop")
}

static void assumed(void *unused)
{
	(void)unused;
	HERE, sink = (u64)__builtin_assume_aligned((void *)where, 64);
}

TEST(ubsan, pointers)
{
	EXPECT_UB(misaligned, "misaligned-access", "load of 0x1001 of type");
	EXPECT_UB(null_store, "null-ptr-deref", "store to a null pointer");
	EXPECT_UB(null_member, "null-ptr-deref", "member access within a null pointer");
	EXPECT_UB(too_small, "object-size-mismatch", "too little room for type");
	if (contains(__VERSION__, "Clang")) /* gcc 12 believes it */
		EXPECT_UB(assumed, "alignment-assumption", "was said to be aligned to 64 bytes");
}

static u8 two = 2;

static void no_bool(void *unused)
{
	(void)unused;
	HERE, sink = *(volatile bool *)&two;
}

static noinline __attribute__((nonnull)) u64 takes(const void *p)
{
	return (u64)p;
}

static noinline __attribute__((returns_nonnull)) void *returns(u64 p)
{
	return HERE, (void *)p;
}

static void null_given(void *unused)
{
	(void)unused;
	HERE, sink = takes((void *)(u64)zero);
}

static void null_returned(void *unused)
{
	(void)unused;
	sink = (u64)returns(zero);
}

static void no_zeros(void *unused)
{
	(void)unused;
	HERE, sink = __builtin_ctz(zero);
}

static void no_ones(void *unused)
{
	(void)unused;
	HERE, sink = __builtin_clz(zero);
}

static void impossible(void *unused)
{
	(void)unused;
	if (one)
		HERE, __builtin_unreachable();
}

TEST(ubsan, promises)
{
	EXPECT_UB(no_bool, "invalid-load", "2 is no value of type");
	EXPECT_UB(null_given, "nonnull-argument", "argument 1 was promised");
	EXPECT_UB(null_returned, "nonnull-return", "NULL is returned");
	EXPECT_UB(no_zeros, "invalid-builtin", "ctz() of 0");
	EXPECT_UB(no_ones, "invalid-builtin", "clz() of 0");
	EXPECT_UB(impossible, "unreachable-code", "promised not to be");
}
