/* strips.c - see strips.h. */
#include "strips.h"

static void add(struct strips *strips, u64 start, u64 end, unsigned type)
{
	EXPECT(strips->nr < STRIPS_MAX);
	strips->strip[strips->nr++] = (struct memrange){ start, end, type };
}

void strips_insert(struct strips *strips, u64 start, u64 bytes, unsigned type)
{
	unsigned __int128 end = (unsigned __int128)start + bytes;
	bool usable = type == MEM_USABLE;

	if (end > MEMMAP_LIMIT && bytes) {
		*(end > (unsigned __int128)1 << 64	      ? &strips->wrapping :
		  start >= MEMMAP_LIMIT || end > MEMMAP_LIMIT ? &strips->beyond :
								NULL) += 1;
		end = MAX(start, MEMMAP_LIMIT);
	}
	if (!bytes || start >= MEMMAP_LIMIT)
		return;
	for (; start % PAGE_SIZE; start += usable ? 1 : -1)
		;
	for (; end % PAGE_SIZE; end += usable ? -1 : 1)
		;
	if (start >= end)
		return;
	strips->unknown += type >= MEM_NR_TYPES;
	add(strips, start, end, type < MEM_NR_TYPES ? type : MEM_RESERVED);
	if (usable && !start)
		add(strips, 0, PAGE_SIZE, MEM_RESERVED);
}

int strips_type(const struct strips *strips, u64 pa)
{
	int type = -1;

	for (const struct memrange *s = strips->strip; s < strips->strip + strips->nr; s++)
		if (pa >= s->start && pa < s->end)
			type = MAX(type, (int)s->type);
	return type;
}

/* Does a range begin at pa, and has no strip before the nr-th been asked for it? */
static bool begins(const struct strips *strips, u64 pa, unsigned nr)
{
	int type = strips_type(strips, pa);

	for (const struct memrange *s = strips->strip; s < strips->strip + nr; s++)
		if (pa == s->start || pa == s->end)
			return false;
	return type >= 0 && (!pa || type != strips_type(strips, pa - 1));
}

unsigned strips_ranges(const struct strips *strips)
{
	unsigned ranges = 0;

	for (unsigned i = 0; i < strips->nr; i++)
		ranges += begins(strips, strips->strip[i].start, i) +
			  begins(strips, strips->strip[i].end, i);
	return ranges;
}

void expect_well_formed(const struct memmap *map)
{
	EXPECT(map->nr <= MEMMAP_MAX);
	for (const struct memrange *r = map->range; r < map->range + map->nr; r++) {
		EXPECT(r->start < r->end && r->end <= MEMMAP_LIMIT && r->type < MEM_NR_TYPES);
		EXPECT(IS_ALIGNED(r->start | r->end, PAGE_SIZE));
		if (r > map->range) {
			EXPECT(r[-1].end <= r->start);
			EXPECT(r[-1].end < r->start || r[-1].type != r->type);
		}
		EXPECT(r->start || r->type != MEM_USABLE);
	}
}

static void expect_same_at(const struct memmap *map, const struct strips *strips, u64 pa)
{
	const struct memrange *range = memmap_find(map, paddr(pa));

	EXPECT_EQ(range ? (int)range->type : -1, strips_type(strips, pa));
}

void expect_same(const struct memmap *map, const struct strips *strips)
{
	expect_well_formed(map);
	for (const struct memrange *s = strips->strip; s < strips->strip + strips->nr; s++) {
		expect_same_at(map, strips, s->start);
		expect_same_at(map, strips, s->start - 1);
		expect_same_at(map, strips, s->end);
		expect_same_at(map, strips, s->end - 1);
	}
}
