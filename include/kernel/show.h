/*
 * show.h - the tables on COM1, for eyes and for grep, each with its records on COM2.
 * One row a thing, fixed columns, 80 wide; docs/records.md shows both forms.
 */
#pragma once

#include <arch/mmu.h>

void show_memmap(void); /* who owns which physical range, and the sums */
void show_frames(void); /* frames by state, and the sum */
void show_buddy(void);	/* free blocks by order */
void show_layout(void); /* the address map */
void show_areas(void);	/* vmallocinfo and the window's totals */
void show_slab(void);	/* every kmem_cache */

/*
 * One row for each leaf that maps something in [start, last]: its area or range, and
 * how many frames it lies from the row before. Returns rows.
 */
u64 show_map(vaddr_t start, vaddr_t last);

/* Every virtual address that maps this frame. Returns how many. */
u64 show_alias(paddr_t pa);

/* The range of the address map that holds va, or the "hole". Its end is exclusive, 0 being 2^64. */
struct image_section layout_at(vaddr_t va);
