/*
 * grade.c - what a grader needs of the kernel: only chosen tests, a limit for each, signed records.
 *
 * tools/labs/machine.py copies the kernel and writes an order into the copy, at the symbol
 * grade_order: a key of this boot, and which tests to run for how long at most. So the order is in no
 * kernel word and in no file that others read. In a kernel without one nothing here is ever used.
 *
 * The limit is kept by QEMU's ib700, a watchdog that counts guest instructions, as all clocks do
 * under -icount: each test starts it anew; where it runs out QEMU stops the machine, and looks at it
 * from outside. So it does not matter what the guest still can.
 *
 * A record is signed with SipHash-2-4. Its key waits in debug registers, where no pointer leads. It
 * tells the runner's word from anybody else's, as long as the others keep to what mm/ may do:
 * docs/teaching.md says what that protects against, and what not.
 *
 * J.-P. Aumasson, D. J. Bernstein: SipHash: a fast short-input PRF, 2012. Intel SDM Vol. 3B, 18.2.
 */
#include <asm/x86.h>
#include <kernel/record.h>
#include <kernel/string.h>

#include "../test.h"

#define ORDERED 0x6564617267ul /* "grade" */
#define WATCHDOG 0x443 /* the ib700's port: 0 starts it at 30 seconds, 1 at 28, ... 14 at 2 */

/* Written by the grader. The magic number is there so that it is no zeros, which have no place in the file. */
volatile struct {
	u64 magic, key[2], nr;
	struct {
		u32 test;  /* which, in the linker's array */
		u32 limit; /* what the watchdog is told */
	} tests[TESTS_MAX];
} grade_order = { .magic = ORDERED };

static u64 begun; /* this many, of the order */

#define GET_DR(n)                                                   \
	({                                                          \
		u64 value_;                                         \
		asm volatile("movq %%dr" #n ", %0" : "=r"(value_)); \
		value_;                                             \
	})

static void sip_rounds(u64 v[4], unsigned nr)
{
#define ROTATE(x, n) ((x) << (n) | (x) >> (64 - (n)))
	while (nr--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = ROTATE(v[1], 13) ^ v[0];
		v[3] = ROTATE(v[3], 16) ^ v[2];
		v[0] = ROTATE(v[0], 32) + v[3];
		v[2] += v[1];
		v[1] = ROTATE(v[1], 17) ^ v[2];
		v[3] = ROTATE(v[3], 21) ^ v[0];
		v[2] = ROTATE(v[2], 32);
	}
}

static u64 sip_hash(const char *text, size_t bytes)
{
	u64 v[4] = { GET_DR(0) ^ 0x736f6d6570736575, GET_DR(1) ^ 0x646f72616e646f6d,
		     GET_DR(0) ^ 0x6c7967656e657261, GET_DR(1) ^ 0x7465646279746573 };
	u64 word = 0;

	for (size_t i = 0; i <= bytes; i++) { /* the last word ends with the length */
		word |= (u64)(u8)(i < bytes ? text[i] : 0) << i % 8 * 8;
		if (i == bytes)
			word |= (u64)bytes << 56;
		if (i % 8 != 7 && i != bytes)
			continue;
		v[3] ^= word;
		sip_rounds(v, 2);
		v[0] ^= word;
		word = 0;
	}
	v[2] ^= 0xff;
	sip_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

unsigned grade_choose(const struct test **chosen)
{
	if (!grade_order.nr)
		return 0;
	asm volatile("movq %0, %%dr0; movq %1, %%dr1" ::"r"(grade_order.key[0]),
		     "r"(grade_order.key[1]));
	grade_order.key[0] = grade_order.key[1] = 0;
	for (u64 i = 0; i < grade_order.nr; i++)
		chosen[i] = &__start_tests[grade_order.tests[i].test];
	return grade_order.nr;
}

void grade_begin(void)
{
	outb(WATCHDOG, grade_order.tests[begun++].limit);
}

/*
 * What JSON cannot carry as it is, the grader sees as a question mark, too. Each signature has the same length: a
 * shorter one would take less time to send, and CPUs would meet elsewhere.
 */
void grade_sign(const char *name, const char *result, const char *why, u64 cycles)
{
	static char text[1024];
	int length =
		snprintf(text, sizeof(text), "%lu %s %s %lu %s", begun, name, result, cycles, why);

	for (char *c = text; *c; c++)
		*c = (u8)*c < 0x7f ? *c : '?';
	rec_num("cycles", cycles);
	rec_put(",\"signed\":\"%016lx\"", sip_hash(text, MIN((size_t)length, sizeof(text) - 1)));
}
