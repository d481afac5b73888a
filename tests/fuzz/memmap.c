/*
 * memmap.c - who owns which range of physical addresses, against strips of paper (strips.h).
 */
#include <string.h>

#include "strips.h"

static struct memmap map;
static struct strips strips;

/* Often near each other, sometimes where numbers end. */
static u64 place(struct bytes *in)
{
	u64 shape = byte(in), near = word(in);

	switch (shape % 8) {
	case 0:
		return near << 7;
	case 1:
		return MEMMAP_LIMIT - (near << 7);
	case 2:
		return -(near << 7);
	case 3:
		return near << (shape >> 3);
	default:
		return near << PAGE_SHIFT;
	}
}

static void insert(struct bytes *in)
{
	static struct strips tried;
	u64 start = place(in), bytes = place(in);
	unsigned type = byte(in) % (MEM_NR_TYPES + 2), nr = map.nr, dropped = map.dropped;

	if (memmap_insert(&map, start, bytes, type)) {
		strips_insert(&strips, start, bytes, type);
	} else { /* no room; all that may have changed are the counters, and page 0, which went first */
		tried = strips;
		strips_insert(&tried, start, bytes, type);
		EXPECT(strips_ranges(&tried) > MEMMAP_MAX ||
		       (nr == MEMMAP_MAX && strips_type(&strips, 0) != strips_type(&tried, 0)));
		dropped++;
		if (type == MEM_USABLE && memmap_find(&map, paddr(0)))
			strips_insert(&strips, 0, map.range[0].end, map.range[0].type);
		strips.wrapping = tried.wrapping;
		strips.beyond = tried.beyond;
		strips.unknown = tried.unknown;
	}
	EXPECT_EQ(map.dropped, dropped);
	EXPECT_EQ(map.wrapping, strips.wrapping);
	EXPECT_EQ(map.beyond, strips.beyond);
	EXPECT_EQ(map.unknown, strips.unknown);
}

/* What a piece of type that is cut from usable RAM does at one of its ends: leave a rest, or join. */
static int ranges_more(u64 beside, enum memmap_type type)
{
	int there = strips_type(&strips, beside);

	return (there == MEM_USABLE) - (there == (int)type);
}

/*
 * The highest place in usable RAM below the limit, found page by page from a limit near it. Of each
 * run of usable RAM only the highest is tried, and passed over if the array has no room for it.
 */
static void alloc(struct bytes *in)
{
	u64 bytes = (1 + byte(in) % 9) << PAGE_SHIFT, align = PAGE_SIZE << byte(in) % 6;
	u64 limit = (u64)word(in) % 600 << PAGE_SHIFT, want = 0, run = 0;
	enum memmap_type type = 1 + byte(in) % (MEM_NR_TYPES - 1);
	unsigned dropped = map.dropped;

	for (u64 at = limit; at > 0 && !want;) {
		at -= PAGE_SIZE;
		run = strips_type(&strips, at) == MEM_USABLE ? run + PAGE_SIZE : 0;
		if (run < bytes || !IS_ALIGNED(at, align))
			continue;
		if ((int)map.nr + ranges_more(at - 1, type) + ranges_more(at + bytes, type) <=
		    MEMMAP_MAX) {
			want = at;
			continue;
		}
		dropped++;
		for (run = 0; strips_type(&strips, at) == MEM_USABLE; at -= PAGE_SIZE)
			; /* frame 0 is never usable */
	}
	EXPECT_EQ(memmap_alloc(&map, bytes, align, limit, type).v, want);
	EXPECT_EQ(map.dropped, dropped);
	if (want)
		strips_insert(&strips, want, bytes, type);
}

static void count(unsigned type)
{
	u64 bytes = 0;

	for (const struct memrange *r = map.range; r < map.range + map.nr; r++)
		bytes += r->type == type ? r->end - r->start : 0;
	EXPECT_EQ(memmap_bytes(&map, type), bytes);
}

/* Usable RAM is cut from the top: below the cut nothing changes, above it nothing usable is left. */
static void limit(struct bytes *in)
{
	u64 had = memmap_bytes(&map, MEM_USABLE), bytes = place(in), cut = MEMMAP_LIMIT, over;
	struct memmap before = map;

	memmap_limit(&map, bytes);
	over = had > ALIGN_DOWN(bytes, PAGE_SIZE) ? had - ALIGN_DOWN(bytes, PAGE_SIZE) : 0;
	if (map.dropped > before.dropped || before.nr > MEMMAP_MAX - 2) {
		strips.nr = 0; /* there was no room: go on from what came of it */
		for (unsigned i = 0; i < map.nr; i++)
			strips_insert(&strips, map.range[i].start,
				      map.range[i].end - map.range[i].start, map.range[i].type);
		return;
	}
	EXPECT_EQ(memmap_bytes(&map, MEM_USABLE), had - over);
	for (unsigned i = before.nr; over && i-- > 0;) {
		const struct memrange *r = &before.range[i];
		u64 take = MIN(over, r->end - r->start);

		if (r->type != MEM_USABLE)
			continue;
		cut = r->end - take;
		strips_insert(&strips, cut, take, MEM_RESERVED);
		over -= take;
	}
}

static void run(struct bytes *in)
{
	memset(&map, 0, sizeof(map));
	strips.nr = strips.wrapping = strips.unknown = strips.beyond = 0;
	while (strips.nr < STRIPS_MAX - MEMMAP_MAX - 4 && operation(in)) {
		u8 what = byte(in);

		if (what < 176)
			insert(in);
		else if (what < 230)
			alloc(in);
		else if (what < 250)
			count(what % MEM_NR_TYPES);
		else
			limit(in);
		expect_well_formed(&map);
		if (strips.nr)
			EXPECT_EQ(memmap_find(&map, paddr(strips.strip[strips.nr - 1].start)) !=
					  NULL,
				  true);
	}
	expect_same(&map, &strips);
	EXPECT_EQ(map.nr, strips_ranges(&strips));
}

FUZZ_TARGET(memmap, NULL, run);
