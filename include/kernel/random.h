/* random.h - numbers that a seed determines: the same on every machine. */
#pragma once

#include <kernel/types.h>

/* The next number of the sequence *state. splitmix64: Steele, Lea, Flood, OOPSLA 2014. */
static inline u64 random_next(u64 *state)
{
	u64 x = __atomic_add_fetch(state, 0x9e3779b97f4a7c15ul, __ATOMIC_RELAXED);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ul;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebul;
	return x ^ (x >> 31);
}
