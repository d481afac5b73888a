/*
 * explain.h - a page fault in words: the access, the walk level by level, which range of the
 * address map, which area and which guard, and the likely mistake.
 */
#pragma once

#include <arch/machine.h>
#include <arch/mmu.h>

/* Print it (COM1) and leave a `fault` record. Takes no lock that a fault could find taken. */
void explain_fault(const struct fault *fault);

/* One word for why: "guard", "freed", "unmapped", "null", "readonly", "noexec", "noncanonical", … */
const char *fault_why(const struct fault *fault);

/* The walk towards va, one line a level: index, where the entry lies, its value, what it says. */
void explain_walk(vaddr_t va);
