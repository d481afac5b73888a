/*
 * panic.h - how the kernel stops, and how a test survives that.
 *
 * A message says what, with which values, why, and what to do next; lines after the first are
 * indented by two blanks:
 *
 *	panic("vfree: 0x%lx is not the start of an area\n"
 *	      "  it lies in page 1 of 8 of ...\n"
 *	      "  pass the pointer that vmalloc returned", va);
 *
 * mm/ panics on misuse (a double free, a foreign pointer) only after letting go of every lock, so
 * that panic_caught() can go on afterwards with everything as it was before the call.
 */
#pragma once

#include <kernel/types.h>

/* Checking builds (make CHECK=1) define CHECKING as 1, all others as 0: use it in an if. */

/*
 * Print "PANIC " and the message, who called, a backtrace and a `panic` record; then power off
 * with status 1 (with `exit` on the command line) or halt. Any context. Does not return.
 */
_Noreturn void panic(const char *fmt, ...) printf_like(1, 2);

/* True from the moment a panic begins to print: nobody should wait for a lock any more. */
bool panicking(void);

/*
 * Run fn(arg). True if it panicked: the message is then in msg (at most bytes, NUL-terminated)
 * and nothing was printed. For tests and the monitor; may be nested: the innermost catches.
 */
bool panic_caught(void (*fn)(void *), void *arg, char *msg, size_t bytes);

/* A condition that only a bug of ours can break. Always compiled in: keep it off hot paths. */
#define BUG_ON(cond)                                                                     \
	do {                                                                             \
		if (unlikely(cond))                                                      \
			panic("BUG: %s\n  at %s:%d, in %s()", #cond, __FILE__, __LINE__, \
			      __func__);                                                 \
	} while (0)

/* The same for hot paths: costs nothing unless CHECKING. */
#define ASSERT(cond)                     \
	do {                             \
		if (CHECKING)            \
			BUG_ON(!(cond)); \
	} while (0)
