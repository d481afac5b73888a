/*
 * memmap.c - who owns which range of physical addresses.
 *
 * Firmware hands over a list of ranges that is not to be trusted: they come unsorted, overlap,
 * are empty, wrap round the end of the address space or have types nobody has heard of. We keep a
 * better list: sorted, disjoint, merged.
 *
 * Think of physical addresses as a line and of each range as a strip of coloured paper on it. To
 * add a strip, cut the line wherever any strip begins or ends. Between two cuts nothing changes, so
 * one question settles each piece: which strips cover it? The safest of their types wins (enum
 * memmap_type rises in safety: better to waste a frame than to write over firmware). Pieces of one
 * type are then glued together again. The list is sorted, so one sweep does it, O(n) a strip.
 *
 *	old      [   usable          ]         [ reserved ]
 *	new             [ image            ]
 *	cuts     |      |            |     |   |          |
 *	result   [usable][ image           ]   [ reserved ]
 */
#include <kernel/string.h>
#include <mm/memmap.h>

#define HOLE (-1) /* the type of an address that nobody owns */

struct memmap memmap;

/* What does this strip say about the piece that begins at `at`? Its type, and where it must end. */
static void look_at(const struct memrange *strip, u64 at, u64 *cut, int *type)
{
	if (at < strip->start) {
		*cut = MIN(*cut, strip->start);
	} else if (at < strip->end) {
		*cut = MIN(*cut, strip->end);
		*type = MAX(*type, (int)strip->type);
	}
}

/* Lay one well-formed strip over the map. If the result has too many ranges, nothing changes. */
static bool overlay(struct memmap *map, u64 start, u64 end, enum memmap_type new_type)
{
	static struct memrange list[2 * MEMMAP_MAX + 1]; /* one CPU, and stacks are small */
	const struct memrange strip = { start, end, new_type }, *old = map->range;
	struct memrange *next = list; /* behind all pieces so far */

	for (u64 at = 0, cut; at < MEMMAP_LIMIT; at = cut) {
		int type = HOLE;

		cut = MEMMAP_LIMIT;
		while (old < map->range + map->nr && old->end <= at)
			old++;
		if (old < map->range + map->nr)
			look_at(old, at, &cut, &type);
		look_at(&strip, at, &cut, &type);
		if (next > list && next[-1].end == at && (int)next[-1].type == type)
			next[-1].end = cut;
		else if (type != HOLE)
			*next++ = (struct memrange){ at, cut, type };
	}
	if (next > list + MEMMAP_MAX) {
		map->dropped++;
		return false;
	}
	map->nr = next - list;
	memcpy(map->range, list, map->nr * sizeof(*list));
	return true;
}

bool memmap_insert(struct memmap *map, u64 start, u64 bytes, enum memmap_type type)
{
	u64 room = start < MEMMAP_LIMIT ? MEMMAP_LIMIT - start : 0, end;
	bool usable = type == MEM_USABLE;

	if (bytes > room) {
		*(bytes - 1 > ~start ? &map->wrapping : &map->beyond) += 1;
		bytes = room;
	}
	/* Part of a page is of no use to us, but it may be of use to those we must not disturb. */
	end = usable ? ALIGN_DOWN(start + bytes, PAGE_SIZE) : ALIGN_UP(start + bytes, PAGE_SIZE);
	start = usable ? ALIGN_UP(start, PAGE_SIZE) : ALIGN_DOWN(start, PAGE_SIZE);
	if (bytes == 0 || start >= end)
		return true;
	map->unknown += type >= MEM_NR_TYPES;
	type = type < MEM_NR_TYPES ? type : MEM_RESERVED;
	/* Frame 0 is never handed out: a link of 0 ends a list. */
	if (usable && start == 0 && !overlay(map, 0, PAGE_SIZE, MEM_RESERVED))
		return false;
	return overlay(map, start, end, type);
}

const struct memrange *memmap_find(const struct memmap *map, paddr_t pa)
{
	unsigned low = 0, high = map->nr;

	while (low < high) { /* all before low end too early, all from high on do not */
		unsigned middle = (low + high) / 2;

		if (map->range[middle].end > pa.v)
			high = middle;
		else
			low = middle + 1;
	}
	return low < map->nr && map->range[low].start <= pa.v ? &map->range[low] : NULL;
}

paddr_t memmap_alloc(struct memmap *map, u64 bytes, u64 align, u64 limit, enum memmap_type type)
{
	for (unsigned i = map->nr; bytes && i-- > 0;) {
		const struct memrange *r = &map->range[i];
		u64 end = MIN(r->end, limit), pa;

		if (r->type != MEM_USABLE || end < bytes)
			continue;
		pa = ALIGN_DOWN(end - bytes, align);
		if (pa >= r->start && overlay(map, pa, pa + bytes, type))
			return paddr(pa);
	}
	return paddr(0);
}

void memmap_limit(struct memmap *map, u64 bytes)
{
	u64 usable = memmap_bytes(map, MEM_USABLE), keep = ALIGN_DOWN(bytes, PAGE_SIZE);

	/* From the top down: gluing changes only the numbers of ranges that we have passed. */
	for (unsigned i = map->nr; usable > keep && i-- > 0;) {
		struct memrange r = map->range[i];
		u64 take = MIN(usable - keep, r.end - r.start);

		if (r.type == MEM_USABLE && overlay(map, r.end - take, r.end, MEM_RESERVED))
			usable -= take;
	}
}

u64 memmap_bytes(const struct memmap *map, enum memmap_type type)
{
	u64 bytes = 0;

	for (const struct memrange *r = map->range; r < map->range + map->nr; r++)
		bytes += r->type == type ? r->end - r->start : 0;
	return bytes;
}
