/*
 * panic.h - how the kernel stops, and how a test survives that.
 *
 * A message says what, with which values, why, and on indented lines what to do: "vfree: 0x%lx is
 * not the start of an area\n  pass the pointer that vmalloc returned". mm/ panics on misuse only
 * with no lock held and nothing changed, so that panic_caught() can go on.
 */
#pragma once

#include <kernel/types.h>

/*
 * Stop the other CPUs; print message, backtrace and where the others were; record; power off,
 * status 1 (word exit), or halt. Any context. If another CPU is at it, its report has our message.
 */
_Noreturn void panic(const char *fmt, ...) printf_like(1, 2);

bool panicking(void); /* is this CPU reporting a panic? All others stand: wait for no lock */

/* For an NMI that came at frame (as for backtrace): false, unless it is another CPU's panic. Stops. */
bool panic_elsewhere(vaddr_t frame);

/*
 * Run fn(arg). True if it panicked: the message is in msg (cut to bytes), not printed. May nest. A
 * panic in an interrupt that came meanwhile is not caught.
 */
bool panic_caught(void (*fn)(void *), void *arg, char *msg, size_t bytes);

/* A condition that only a bug of ours can break. Always compiled in: keep it off hot paths. */
#define BUG_ON(cond)                                                                          \
	(unlikely(cond) ?                                                                     \
		 panic("BUG: %s\n  at %s:%d, in %s()", #cond, __FILE__, __LINE__, __func__) : \
		 (void)0)

/* The same for hot paths: costs nothing but in checking builds (make CHECK=1). */
#define ASSERT(cond) (CHECKING ? BUG_ON(!(cond)) : (void)0)
