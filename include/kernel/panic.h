/*
 * panic.h - how the kernel stops, and how a test survives that.
 *
 * A message says what, with which values, why, and what to do next: "vfree: 0x%lx is not the start
 * of an area\n  pass the pointer that vmalloc returned"; lines after the first are indented.
 *
 * mm/ panics on misuse (a double free, a foreign pointer) only after letting go of every lock, so
 * that panic_caught() can go on afterwards with everything as it was before the call.
 */
#pragma once

#include <kernel/types.h>

/*
 * Print "PANIC ", the message and a backtrace, leave a `panic` record; then power off with status 1
 * (if `exit` is on the command line) or halt. Any context.
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
#define BUG_ON(cond)                                                                          \
	(unlikely(cond) ?                                                                     \
		 panic("BUG: %s\n  at %s:%d, in %s()", #cond, __FILE__, __LINE__, __func__) : \
		 (void)0)

/* The same for hot paths: costs nothing but in checking builds (make CHECK=1). */
#define ASSERT(cond) (CHECKING ? BUG_ON(!(cond)) : (void)0)
