/* hold.h - what the two files of labs/support share: a stub that stops a call, not the machine. */
#pragma once

#include <kernel/printk.h>
#include <kernel/smp.h>
#include <kernel/spinlock.h>

#include "../../tests/test.h"
#include "lab.h"

/* Run fn(arg), on CPU 0, as far as a stub: was there one? Then it is stub_hit. May nest. */
bool stub_stops(void (*fn)(void *), void *arg);
extern const struct lab_stub *stub_hit;

/* Who called the last panic that was caught on CPU 0; innermost first. */
#define TRACE_MOST 16
struct lab_trace {
	vaddr_t pcs[TRACE_MOST];
	unsigned nr;
};
extern struct lab_trace lab_trace;

bool at_prompt(void); /* in a command, and not in a test of it */

/* Returns out: what a stub says. */
#define STUB_TEXT 200
const char *stub_text(char out[STUB_TEXT], const struct lab_stub *stub);

/* Where things are to be found, not written: make the machine, once, and say what there is. See labs/0-walk. */
__attribute__((weak)) void lab_tell(void);
