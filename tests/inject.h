/* inject.h - fault injection, in checking builds; the order is kept by inject.c. */
#pragma once

#include <kernel/types.h>

/*
 * Which requests for frames and objects fail from now on. All zero: none. Returns how many failed
 * under the order before.
 */
struct inject_order {
	u64 nth;	  /* this one (1: the next; a bulk's frames count singly) */
	bool and_after;	  /* and all after it */
	u64 one_in, seed; /* or, by a seeded die, one in so many */
	bool frames_only; /* objects do not count */
};
u64 inject(struct inject_order order);

/* The n-th frame, and only it; 0: none. True if the earlier order had not yet struck. */
bool page_alloc_fail_nth(u64 n);
