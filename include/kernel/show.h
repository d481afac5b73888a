/* show.h - tables on COM1, a row a thing, 80 wide, each with records on COM2: docs/records.md. */
#pragma once

#include <arch/mmu.h>

void show_memmap(void);	     /* who owns which physical range, and the sums */
void show_frames(void);	     /* frames by state, and the sum */
void show_buddy(void);	     /* free blocks by order */
void show_layout(void);	     /* the address map */
void show_areas(void);	     /* the window's areas, and totals */
void show_vmallocinfo(void); /* the same as Linux's /proc/vmallocinfo and meminfo have it */
void show_slab(void);	     /* every kmem_cache */

/* A row for each leaf in [start, last]: area or range, frames from the row before. Returns rows. */
u64 show_map(vaddr_t start, vaddr_t last);

u64 show_alias(paddr_t pa); /* every virtual address that maps this frame; returns how many */

/* The range of the address map that holds va, or the "hole". Its end is exclusive, 0 being 2^64. */
struct image_section layout_at(vaddr_t va);
