/*
 * strips.h - the model of a memory map: strips of paper, all kept, none cut.
 *
 * Who owns an address? Of all strips that cover it, the one of the greatest type.
 */
#pragma once

#include <mm/memmap.h>

#include "fuzz.h"

#define STRIPS_MAX 600

struct strips {
	unsigned nr, wrapping, unknown, beyond;
	struct memrange strip[STRIPS_MAX];
};

/* As memmap_insert's contract has it. */
void strips_insert(struct strips *strips, u64 start, u64 bytes, unsigned type);

int strips_type(const struct strips *strips, u64 pa); /* -1: nobody's */

/* How many ranges a merged list of them has. */
unsigned strips_ranges(const struct strips *strips);

/* A list that is sorted, disjoint, merged, of whole pages and known types, below the limit. */
void expect_well_formed(const struct memmap *map);

/* Both say the same of every address: of all where anything begins or ends, and those before. */
void expect_same(const struct memmap *map, const struct strips *strips);
