/*
 * The memory map against a model of one byte a page, and fed what no firmware should send.
 */
#include <kernel/string.h>
#include <mm/memmap.h>

#include "../test.h"

#define PAGES 256ul /* the model's line, in pages */
#define HOLE 0xff

static struct memmap map;
static u8 model[PAGES]; /* the type of each page */

static void clear(void)
{
	memset(&map, 0, sizeof(map));
	memset(model, HOLE, sizeof(model));
}

static void model_insert(u64 start, u64 bytes, unsigned type)
{
	u64 end = start + bytes;

	for (u64 i = 0; i < PAGES; i++) {
		u64 page = i * PAGE_SIZE, page_end = page + PAGE_SIZE;
		bool whole = start <= page && end >= page_end,
		     touched = start < page_end && end > page;
		unsigned is = type;

		if (i == 0 && type == MEM_USABLE)
			is = MEM_RESERVED; /* frame 0 is never ours */
		if (type == MEM_USABLE ? whole : touched)
			model[i] = model[i] == HOLE ? is : MAX(model[i], is);
	}
}

/* Sorted, disjoint, merged, in whole pages, and nothing that the model does not say. */
static bool agrees(void)
{
	u64 inside = 0, bytes[MEM_NR_TYPES] = { 0 };

	for (unsigned i = 0; i < map.nr; i++) {
		const struct memrange *r = &map.range[i];

		if (r->start >= r->end || !IS_ALIGNED(r->start | r->end, PAGE_SIZE))
			return false;
		if (i && (r->start < r[-1].end || (r->start == r[-1].end && r->type == r[-1].type)))
			return false;
		inside += (r->end - r->start) / PAGE_SIZE;
	}
	for (u64 i = 0; i < PAGES; i++) {
		const struct memrange *r = memmap_find(&map, paddr(i * PAGE_SIZE + 123));

		if (r ? model[i] != r->type : model[i] != HOLE)
			return false;
		if (r && i * PAGE_SIZE + 123 - r->start >= r->end - r->start)
			return false;
		inside -= r != NULL;
		bytes[r ? r->type : 0] += r ? PAGE_SIZE : 0;
	}
	for (unsigned type = 0; type < MEM_NR_TYPES; type++)
		if (memmap_bytes(&map, type) != bytes[type])
			return false;
	return inside == 0;
}

TEST(memmap, random_overlays)
{
	for (int round = 0; round < 100; round++) {
		clear();
		for (int n = 0; n < 30; n++) {
			u64 start = test_random() % ((PAGES - 16) * PAGE_SIZE);
			u64 bytes = 1 + test_random() % (16 * PAGE_SIZE - 1);
			unsigned type = test_random() % MEM_NR_TYPES;

			if (test_random() % 2) { /* whole pages as well as crooked ones */
				start = ALIGN_DOWN(start, PAGE_SIZE);
				bytes = ALIGN_UP(bytes, PAGE_SIZE);
			}
			EXPECT(memmap_insert(&map, start, bytes, type));
			model_insert(start, bytes, type);
			EXPECT(agrees());
		}
	}
	EXPECT_EQ(map.dropped + map.wrapping + map.beyond + map.unknown, 0);
}

/* The order in which firmware lists its ranges must not matter. */
TEST(memmap, any_order)
{
	static struct memmap first;

	clear();
	memmap_insert(&map, 0x1000, 0x9000, MEM_USABLE);
	memmap_insert(&map, 0x3000, 0x2000, MEM_RESERVED);
	memmap_insert(&map, 0x4000, 0x3000, MEM_IMAGE);
	first = map;
	clear();
	memmap_insert(&map, 0x4000, 0x3000, MEM_IMAGE);
	memmap_insert(&map, 0x3000, 0x2000, MEM_RESERVED);
	memmap_insert(&map, 0x1000, 0x9000, MEM_USABLE);
	EXPECT_EQ(map.nr, 4);
	EXPECT_EQ(map.nr, first.nr);
	EXPECT(!memcmp(map.range, first.range, map.nr * sizeof(map.range[0])));
}

TEST(memmap, hostile)
{
	clear();
	EXPECT(memmap_insert(&map, 0x5000, 0, MEM_USABLE));
	EXPECT(memmap_insert(&map, 0, 0, MEM_RESERVED));
	EXPECT(memmap_insert(&map, ~0ul, 0, MEM_BAD));
	EXPECT(memmap_insert(&map, 0x5001, 0x1ffd, MEM_USABLE)); /* no whole page */
	EXPECT_EQ(map.nr, 0);

	EXPECT(memmap_insert(&map, MEMMAP_LIMIT, PAGE_SIZE, MEM_USABLE));
	EXPECT(memmap_insert(&map, MEMMAP_LIMIT + 5, 1, MEM_RESERVED));
	EXPECT(memmap_insert(&map, -PAGE_SIZE, PAGE_SIZE, MEM_RESERVED)); /* ends at 2^64 */
	EXPECT(memmap_insert(&map, MEMMAP_LIMIT - PAGE_SIZE, 3 * PAGE_SIZE, MEM_USABLE));
	EXPECT_EQ(map.beyond, 4);
	EXPECT_EQ(map.nr, 1);
	EXPECT_EQ(map.range[0].start, MEMMAP_LIMIT - PAGE_SIZE);
	EXPECT_EQ(map.range[0].end, MEMMAP_LIMIT);

	clear();
	EXPECT(memmap_insert(&map, ~0ul, 2, MEM_RESERVED));
	EXPECT(memmap_insert(&map, 0x10800, ~0ul, MEM_RESERVED));
	EXPECT_EQ(map.wrapping, 2);
	EXPECT_EQ(map.nr, 1);
	EXPECT_EQ(map.range[0].start, 0x10000);
	EXPECT_EQ(map.range[0].end, MEMMAP_LIMIT);

	clear();
	EXPECT(memmap_insert(&map, 0x1000, 0x1000, MEM_NR_TYPES));
	EXPECT(memmap_insert(&map, 0x2000, 0x1000, (enum memmap_type) - 1));
	EXPECT_EQ(map.unknown, 2);
	EXPECT_EQ(map.nr, 1);
	EXPECT_EQ(map.range[0].type, MEM_RESERVED);
	EXPECT(!strcmp(memmap_type_name(MEM_NR_TYPES), "?"));
	EXPECT(!strcmp(memmap_type_name(MEM_ACPI), "acpi"));
}

/* What does not fit is dropped whole: nothing that was there before is lost. */
TEST(memmap, full)
{
	static struct memmap before;

	clear();
	for (u64 i = 0; i < MEMMAP_MAX; i++)
		EXPECT(memmap_insert(&map, (2 * i + 1) * PAGE_SIZE, PAGE_SIZE, MEM_USABLE));
	EXPECT_EQ(map.nr, MEMMAP_MAX);
	before = map;
	EXPECT(!memmap_insert(&map, 4096 * PAGE_SIZE, PAGE_SIZE, MEM_RESERVED));
	EXPECT(!memmap_insert(&map, 0, 512 * PAGE_SIZE, MEM_USABLE));
	EXPECT_EQ(map.dropped, 2);
	EXPECT_EQ(map.nr, MEMMAP_MAX);
	EXPECT(!memcmp(map.range, before.range, sizeof(map.range)));
	/* What needs no new entry still goes: a hole between two that then are one. */
	EXPECT(memmap_insert(&map, 2 * PAGE_SIZE, PAGE_SIZE, MEM_USABLE));
	EXPECT_EQ(map.nr, MEMMAP_MAX - 1);
}

/* With no room for one range more nothing is cut in two; what goes whole still does. */
TEST(memmap, full_and_cut)
{
	static struct memmap before;
	u64 bytes = 3 * MEMMAP_MAX * PAGE_SIZE;

	clear();
	for (u64 i = 0; i < MEMMAP_MAX; i++)
		EXPECT(memmap_insert(&map, (4 * i + 1) * PAGE_SIZE, 3 * PAGE_SIZE, MEM_USABLE));
	before = map;
	EXPECT_EQ(memmap_alloc(&map, PAGE_SIZE, PAGE_SIZE, ~0ul, MEM_TABLES).v, 0);
	EXPECT_EQ(map.dropped, MEMMAP_MAX); /* each was tried */
	memmap_limit(&map, bytes - PAGE_SIZE);
	EXPECT_EQ(map.dropped, 2 * MEMMAP_MAX);
	EXPECT_EQ(memmap_bytes(&map, MEM_USABLE), bytes);
	EXPECT(!memcmp(map.range, before.range, sizeof(map.range)));
	memmap_limit(&map, bytes - 3 * PAGE_SIZE);
	EXPECT_EQ(memmap_bytes(&map, MEM_USABLE), bytes - 3 * PAGE_SIZE);
	EXPECT_EQ(memmap_alloc(&map, 3 * PAGE_SIZE, PAGE_SIZE, ~0ul, MEM_TABLES).v,
		  (4 * (MEMMAP_MAX - 2) + 1) * PAGE_SIZE);
}

TEST(memmap, alloc_from_the_top)
{
	clear();
	memmap_insert(&map, 0, 64 * PAGE_SIZE, MEM_USABLE);
	memmap_insert(&map, 100 * PAGE_SIZE, 50 * PAGE_SIZE, MEM_USABLE);
	EXPECT_EQ(memmap_alloc(&map, PAGE_SIZE, PAGE_SIZE, ~0ul, MEM_TABLES).v, 149 * PAGE_SIZE);
	EXPECT_EQ(memmap_alloc(&map, PAGE_SIZE, 16 * PAGE_SIZE, ~0ul, MEM_TABLES).v,
		  144 * PAGE_SIZE);
	EXPECT_EQ(memmap_alloc(&map, PAGE_SIZE, PAGE_SIZE, 120 * PAGE_SIZE + 5, MEM_TABLES).v,
		  119 * PAGE_SIZE);
	EXPECT_EQ(memmap_alloc(&map, 50 * PAGE_SIZE, PAGE_SIZE, ~0ul, MEM_TABLES).v,
		  14 * PAGE_SIZE);
	EXPECT_EQ(memmap_bytes(&map, MEM_TABLES), 53 * PAGE_SIZE);
	EXPECT_EQ(memmap_alloc(&map, 40 * PAGE_SIZE, PAGE_SIZE, ~0ul, MEM_TABLES).v, 0);
	EXPECT_EQ(memmap_alloc(&map, 0, PAGE_SIZE, ~0ul, MEM_TABLES).v, 0);
	EXPECT_EQ(memmap_alloc(&map, -PAGE_SIZE, PAGE_SIZE, ~0ul, MEM_TABLES).v, 0);
	/* To the last frame, which is never frame 0, and each only once. */
	for (u64 left = memmap_bytes(&map, MEM_USABLE) / PAGE_SIZE; left; left--)
		EXPECT(memmap_alloc(&map, PAGE_SIZE, PAGE_SIZE, ~0ul, MEM_TABLES).v);
	EXPECT_EQ(memmap_alloc(&map, PAGE_SIZE, PAGE_SIZE, ~0ul, MEM_TABLES).v, 0);
	EXPECT_EQ(memmap_bytes(&map, MEM_TABLES), 113 * PAGE_SIZE);
}

TEST(memmap, limit)
{
	clear();
	memmap_insert(&map, 1 * PAGE_SIZE, 10 * PAGE_SIZE, MEM_USABLE);
	memmap_insert(&map, 20 * PAGE_SIZE, 10 * PAGE_SIZE, MEM_USABLE);
	memmap_insert(&map, 30 * PAGE_SIZE, 5 * PAGE_SIZE, MEM_RESERVED);
	memmap_insert(&map, 35 * PAGE_SIZE, 10 * PAGE_SIZE, MEM_USABLE);
	memmap_insert(&map, 45 * PAGE_SIZE, 1 * PAGE_SIZE, MEM_IMAGE);
	memmap_limit(&map, 100 * PAGE_SIZE);
	EXPECT_EQ(memmap_bytes(&map, MEM_USABLE), 30 * PAGE_SIZE);
	memmap_limit(&map, 12 * PAGE_SIZE + 17);
	EXPECT_EQ(memmap_bytes(&map, MEM_USABLE), 12 * PAGE_SIZE);
	EXPECT_EQ(memmap_bytes(&map, MEM_IMAGE), PAGE_SIZE);
	EXPECT_EQ(map.nr, 4);
	EXPECT_EQ(map.range[1].end, 22 * PAGE_SIZE);
	EXPECT_EQ(map.range[2].end, 45 * PAGE_SIZE);
	memmap_limit(&map, 0);
	EXPECT_EQ(memmap_bytes(&map, MEM_USABLE), 0);
}

/* The map of the machine we run on. */
TEST(memmap, live)
{
	EXPECT(memmap.nr);
	for (unsigned i = 0; i < memmap.nr; i++) {
		const struct memrange *r = &memmap.range[i];

		EXPECT(r->start < r->end);
		EXPECT(i == 0 || r[-1].end <= r->start);
		EXPECT(memmap_find(&memmap, paddr(r->start)) == r);
		EXPECT(memmap_find(&memmap, paddr(r->end - 1)) == r);
	}
	EXPECT(memmap_bytes(&memmap, MEM_USABLE));
	EXPECT_EQ(memmap_bytes(&memmap, MEM_NR_TYPES), 0);
}
