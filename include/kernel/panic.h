/*
 * panic.h - how the kernel stops, and how a test survives that.
 *
 * A message says what, with which values, why, and on indented lines what to do: "vfree: 0x%lx is
 * not the start of an area\n  pass the pointer that vmalloc returned". mm/ panics on misuse only
 * with no lock held and nothing changed, so that panic_caught() can go on.
 */
#pragma once

#include <kernel/types.h>

/* Print message and backtrace; record; power off, status 1 (word exit), or halt. Any context. */
_Noreturn void panic(const char *fmt, ...) printf_like(1, 2);

bool panicking(void); /* true once a panic begins to print: wait for no lock any more */

/* Run fn(arg). True if it panicked: the message is in msg (cut to bytes), not printed. May nest. */
bool panic_caught(void (*fn)(void *), void *arg, char *msg, size_t bytes);

/* A condition that only a bug of ours can break. Always compiled in: keep it off hot paths. */
#define BUG_ON(cond)                                                                          \
	(unlikely(cond) ?                                                                     \
		 panic("BUG: %s\n  at %s:%d, in %s()", #cond, __FILE__, __LINE__, __func__) : \
		 (void)0)

/* The same for hot paths: costs nothing but in checking builds (make CHECK=1). */
#define ASSERT(cond) (CHECKING ? BUG_ON(!(cond)) : (void)0)
