/*
 * mm.h - the memory manager as a whole: bringing it up, and asking whether it is sound.
 */
#pragma once

#include <kernel/types.h>
#include <mm/memmap.h>
#include <mm/tlb.h>

struct mm_options {
	u64 vmalloc_bytes; /* size of the window; 0: all that address_map gives */
	u64 mem_bytes;	   /* use no more RAM than this; 0: all */
	u64 shuffle_seed;  /* see page_alloc_init */
	enum tlb_mode tlb;
};

/*
 * From a memory map to a working kmalloc and vmalloc: the final page tables (image by section,
 * direct map, struct pages), then page_alloc, slab, vmalloc. Needs address_map, and a direct map of the
 * first 4 GiB at its final address. map is copied to `memmap`. Panics if there is too little RAM.
 */
void mm_init(const struct memmap *map, const struct mm_options *options);

/*
 * Every invariant of mm/, recomputed: each frame in exactly one state and the sums right; every leaf of the
 * window belongs to one area; no frame of vmalloc mapped twice; guards never present; nothing at 0;
 * W^X, also across aliases of the image in the direct map; counters equal to a recount. Each
 * violation goes to complain(); returns their number. Nothing else may run meanwhile.
 */
u64 mm_check(complain_fn complain);
