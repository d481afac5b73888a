/* mm.h - the memory manager as a whole: bringing it up, and asking whether it is sound. */
#pragma once

#include <mm/memmap.h>
#include <mm/tlb.h>

struct mm_options {
	u64 vmalloc_bytes; /* size of the window; 0: all that address_map gives */
	u64 mem_bytes;	   /* use no more RAM than this; 0: all */
	u64 shuffle_seed;  /* see page_alloc_init */
	enum tlb_mode tlb;
};

/*
 * From a memory map to kmalloc and vmalloc: copy map to `memmap`, build the final tables, start
 * page_alloc, slab, vmalloc. Needs address_map, and the first 4 GiB of the direct map at its final
 * address. Panics if there is too little RAM.
 */
void mm_init(const struct memmap *map, const struct mm_options *options);

/* What mm/ keeps for each CPU; before that CPU is started, once or again. -ENOMEM: leave it out. */
must_check int mm_cpu_init(u32 cpu);

/*
 * Recompute every invariant of mm/ (check.c lists them) and complain() of each violation; returns
 * their number. Nothing else may run meanwhile.
 */
u64 mm_check(complain_fn complain);

/* The audits it is made of use these: tell and count what is wrong. One audit at a time. */
extern struct mm_audit {
	complain_fn tell;
	u64 faults;
} mm_audit;
#define COMPLAIN(...) (mm_audit.faults++, mm_audit.tell(__VA_ARGS__))
void check_equal(const char *what, u64 counted, u64 recorded);
