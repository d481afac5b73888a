/* explain.h - a page fault in words: access, walk, range of the map, area, the likely mistake. */
#pragma once

#include <arch/machine.h>

/* Print it (COM1) and leave a `fault` record. Takes no lock that a fault could find taken. */
void explain_fault(const struct fault *fault);

/* A word for why: "guard", "freed", "unmapped", "null", "readonly", "noexec", "noncanonical", … */
const char *fault_why(const struct fault *fault);

/* The walk towards va, one line a level: index, where the entry lies, its value, what it says. */
void explain_walk(vaddr_t va);
