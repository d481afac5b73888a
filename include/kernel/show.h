/* show.h - what a person is shown: on COM1, 80 wide, with records on COM2: docs/records.md. */
#pragma once

#include <arch/machine.h>
#include <arch/mmu.h>

/* Tables, a row a thing. */
void show_memmap(void);	     /* who owns which physical range, and the sums */
void show_frames(void);	     /* frames by state, and the sum */
void show_buddy(void);	     /* free blocks by order */
void show_layout(void);	     /* the address map */
void show_areas(void);	     /* the window's areas, and totals */
void show_vmallocinfo(void); /* the same as Linux's /proc/vmallocinfo and meminfo have it */
void show_slab(void);	     /* every kmem_cache */

/*
 * A row for each leaf in [start, last]: area or range, frames from the row before. With a frame only
 * of what maps that. Returns rows.
 */
u64 show_map(vaddr_t start, vaddr_t last, const paddr_t *frame);

/* The range of the address map that holds va, or the "hole". Its end is exclusive, 0 being 2^64. */
struct image_section layout_at(vaddr_t va);

/* The walk towards va, one line a level: index, where the entry lies, its value, what it says. */
void explain_walk(vaddr_t va);

/* A fault: access, walk, range, area, the likely mistake. Takes no lock it could find taken. */
void explain_fault(const struct fault *fault);

/* A word for why: "guard", "freed", "unmapped", "null", "readonly", "noexec", "noncanonical", … */
const char *fault_why(const struct fault *fault);

/*
 * The guided tour: shatter memory, build a vmalloc area from the pieces, show it, a `tour` record a
 * claim, give all back. Returns how many claims did not hold. Nothing else may allocate meanwhile.
 */
unsigned tour(void);
