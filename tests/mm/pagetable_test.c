/*
 * Page tables against a dictionary: what is mapped where, in leaves of which size, and which tables
 * there must be. The tables are our own and never loaded, so that any address will do: both halves
 * and their very ends, with 4 and with 5 levels.
 */
#include <kernel/string.h>
#include <mm/memmap.h>
#include <mm/page_alloc.h>
#include <mm/pagetable.h>

#include "../test.h"

#define ARENA (4 * GiB)
#define LEAVES_ORDER 5
#define LEAVES_MAX ((PAGE_SIZE << LEAVES_ORDER) / sizeof(struct leaf))
#define TABLES_MAX 512

static struct pagetable pt;
static u64 live, fail_at; /* tables handed out; the get that is to fail, 0: none */

static pte_t *counting_get(void)
{
	pte_t *table = fail_at && --fail_at == 0 ? NULL : page_alloc_tables.get();

	live += table != NULL;
	return table;
}

static void counting_put(pte_t *table)
{
	live--;
	page_alloc_tables.put(table);
}

static struct page_source counting = { counting_get, counting_put };

/* The dictionary. Addresses are folded, so that their order is that of the walk. */
struct leaf {
	u64 at, pa;
	u32 level, prot;
};

static struct {
	struct leaf *leaf; /* rising */
	u64 nr;
	struct {
		u64 at;
		int level;
	} table[TABLES_MAX]; /* all but the root, in any order */
	u64 nr_tables;
} model;

static vaddr_t unfold(u64 at)
{
	return va_unfold(at, pt.levels);
}

static u64 leaf_end(const struct leaf *leaf)
{
	return leaf->at + level_bytes(leaf->level);
}

/* The first leaf that ends behind at; model.nr if none does. */
static u64 find_leaf(u64 at)
{
	u64 lo = 0, hi = model.nr;

	while (lo < hi) {
		u64 mid = (lo + hi) / 2;

		if (leaf_end(&model.leaf[mid]) > at)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static bool model_overlaps(u64 at, u64 end)
{
	u64 i = find_leaf(at);

	return i < model.nr && model.leaf[i].at < end;
}

/* Put nr new leaves in place of those from the i-th on. */
static struct leaf *replace(u64 i, u64 nr_old, u64 nr_new)
{
	BUG_ON(model.nr - nr_old + nr_new > LEAVES_MAX);
	memmove(model.leaf + i + nr_new, model.leaf + i + nr_old,
		(model.nr - i - nr_old) * sizeof(struct leaf));
	model.nr += nr_new - nr_old;
	return model.leaf + i;
}

static bool has_table(u64 at, int level)
{
	for (u64 i = 0; i < model.nr_tables; i++)
		if (model.table[i].level == level &&
		    model.table[i].at == ALIGN_DOWN(at, level_bytes(level + 1)))
			return true;
	return false;
}

/* The tables on the way down to the one of this level. */
static void add_tables(u64 at, int level)
{
	for (; level < pt.levels; level++) {
		if (has_table(at, level))
			continue;
		BUG_ON(model.nr_tables == TABLES_MAX);
		model.table[model.nr_tables].at = ALIGN_DOWN(at, level_bytes(level + 1));
		model.table[model.nr_tables++].level = level;
	}
}

static void model_map(u64 at, u64 end, u64 pa, pgprot_t prot)
{
	for (int level; at < end; at += level_bytes(level), pa += level_bytes(level)) {
		for (level = 3; level > 1; level--)
			if (IS_ALIGNED(at | pa, level_bytes(level)) &&
			    end - at >= level_bytes(level) && !has_table(at, level - 1))
				break;
		*replace(find_leaf(at), 0, 1) = (struct leaf){ at, pa, level, prot };
		add_tables(at, level);
	}
}

static void model_split(u64 at)
{
	for (u64 i; i = find_leaf(at), i < model.nr && model.leaf[i].at < at;) {
		struct leaf whole = model.leaf[i], *part = replace(i, 1, PT_ENTRIES);

		whole.level--;
		add_tables(whole.at, whole.level);
		for (int j = 0; j < PT_ENTRIES; j++, whole.at += level_bytes(whole.level)) {
			part[j] = whole;
			whole.pa += level_bytes(whole.level);
		}
	}
}

/* PAGE_NONE: unmap. */
static void model_protect(u64 at, u64 end, pgprot_t prot)
{
	u64 first, last;

	model_split(at);
	model_split(end);
	first = find_leaf(at);
	last = find_leaf(end);
	for (u64 i = first; i < last; i++)
		model.leaf[i].prot = prot;
	if (prot == PAGE_NONE)
		replace(first, last - first, 0);
}

static int leaf_levels; /* of this machine */

/* Leaves of all sizes, whatever this CPU has: no CPU will walk these tables. */
static void begin(int levels)
{
	struct page *root = alloc_pages(__GFP_ZERO, 0);

	leaf_levels = address_map.leaf_levels;
	address_map.leaf_levels = 3;
	model.leaf = __get_free_pages(GFP_KERNEL, LEAVES_ORDER);
	model.nr = model.nr_tables = live = fail_at = 0;
	BUG_ON(!root || !model.leaf);
	pt = (struct pagetable){ page_address(root), levels, &counting };
}

static void free_tables(pte_t *table, int level)
{
	for (int i = 0; level > 1 && i < PT_ENTRIES; i++)
		if (pte_present(table[i]) && !pte_is_leaf(table[i], level)) {
			free_tables(phys_to_virt(pte_paddr(table[i], level)), level - 1);
			counting.put(phys_to_virt(pte_paddr(table[i], level)));
		}
}

/* Returns the number of tables that had been lost. */
static u64 end(void)
{
	free_tables(pt.root, pt.levels);
	free_pages(pt.root, 0);
	free_pages(model.leaf, LEAVES_ORDER);
	address_map.leaf_levels = leaf_levels;
	return live;
}

/* All that the tables say is what the dictionary says, and nothing more. */
static bool agrees(void)
{
	vaddr_t va = 0;
	struct mapping m;
	int level;
	u64 i;

	for (i = 0; pt_next(&pt, &va, 0, &level); i++, va += level_bytes(level)) {
		const struct leaf *leaf = &model.leaf[i];

		if (i == model.nr) {
			test_fail(__FILE__, __LINE__, "leaf",
				  "of level %d at 0x%lx: nothing should be there", level, va);
			return false;
		}
		if (va != unfold(leaf->at) || level != (int)leaf->level) {
			test_fail(__FILE__, __LINE__, "leaf",
				  "of level %d at 0x%lx: the next should be of level %u at 0x%lx",
				  level, va, leaf->level, unfold(leaf->at));
			return false;
		}
		if (!pt_lookup(&pt, va + test_random() % level_bytes(level), &m) || m.va != va ||
		    m.pa.v != leaf->pa || m.level != level || m.bytes != level_bytes(level) ||
		    m.prot != leaf->prot) {
			test_fail(__FILE__, __LINE__, "leaf",
				  "at 0x%lx: 0x%lx %s, expected 0x%lx %s", va, m.pa.v,
				  pgprot_text(m.prot), leaf->pa, pgprot_text(leaf->prot));
			return false;
		}
		if (va + level_bytes(level) == 0) { /* that was the last page of all */
			i++;
			break;
		}
	}
	if (i != model.nr || live != model.nr_tables || pt_count_tables(&pt) != live + 1) {
		test_fail(__FILE__, __LINE__, "counts",
			  "%lu leaves, expected %lu; %lu tables, expected %lu; %lu were taken", i,
			  model.nr, pt_count_tables(&pt) - 1, model.nr_tables, live);
		return false;
	}
	return true;
}

/* From any address, the nearest leaf backwards and forwards. */
static bool neighbours_agree(u64 at)
{
	vaddr_t next = unfold(at), prev = next;
	u64 i = find_leaf(at);
	bool hit = i < model.nr && model.leaf[i].at <= at, found;
	int level;

	found = pt_next(&pt, &next, 0, &level);
	if (found != (i < model.nr) || (found && next != unfold(model.leaf[i].at)))
		return false;
	i -= !hit; /* wraps if there is none */
	found = pt_prev(&pt, &prev, 0, &level);
	if (found != (i < model.nr) || (found && prev != unfold(model.leaf[i].at)))
		return false;
	if (!found)
		return true;
	/* The last byte of that leaf is far enough to go, the next one is not. */
	prev = unfold(at);
	if (!pt_prev(&pt, &prev, unfold(MIN(at, leaf_end(&model.leaf[i]) - 1)), &level))
		return false;
	prev = unfold(at);
	return hit || !pt_prev(&pt, &prev, unfold(leaf_end(&model.leaf[i])), &level);
}

/* A place in one of five arenas: the ends of both halves, and somewhere. */
static u64 random_place(u64 align, u64 *arena_end)
{
	u64 half = level_bytes(pt.levels + 1) / 2;
	const u64 arenas[] = { 0, half - ARENA, half, 2 * half - ARENA, half + 0x42c0000000 };
	u64 arena = arenas[test_random() % ARRAY_SIZE(arenas)];

	*arena_end = arena + ARENA;
	return arena + ALIGN_DOWN(test_random() % ARENA, align);
}

/* Something to map: of few leaves, but of every mixture of sizes. */
static void random_range(u64 *at, u64 *stop, u64 *pa)
{
	static const u64 aligns[] = { 4 * KiB, 2 * MiB, 2 * MiB, GiB };
	static const u64 pages[] = { 1, 4, 512, 514, 3 * 512, 512 * 512, 513 * 512 };
	u64 bytes = pages[test_random() % ARRAY_SIZE(pages)] * PAGE_SIZE, arena_end, skew;

	*at = random_place(aligns[test_random() % ARRAY_SIZE(aligns)], &arena_end);
	*stop = MIN(*at + bytes, arena_end);
	skew = bytes <= 6 * MiB && test_random() % 2 ? 4 * KiB : 2 * MiB;
	*pa = (test_random() % 64 + 1) * GiB + *at % GiB;
	if (test_random() % 2)
		*pa += skew * (test_random() % 512);
}

static pgprot_t random_prot(void)
{
	return PAGE_KERNEL_RO + test_random() % 3;
}

static bool broken; /* a step has failed: the model no longer knows what is there */

#define STEP_EQ(a, b)                                                                          \
	do {                                                                                   \
		u64 a_ = (u64)(a), b_ = (u64)(b);                                              \
		if (a_ != b_) {                                                                \
			broken = true;                                                         \
			test_fail(__FILE__, __LINE__, #a " == " #b, "was 0x%lx and 0x%lx", a_, \
				  b_);                                                         \
			return;                                                                \
		}                                                                              \
	} while (0)

#define STEP(cond, what, ...)                                             \
	do {                                                              \
		if (!(cond)) {                                            \
			broken = true;                                    \
			test_fail(__FILE__, __LINE__, what, __VA_ARGS__); \
			return;                                           \
		}                                                         \
	} while (0)

/*
 * Let call fail at its first table, at its second, and so on until it does not: each time nothing
 * may have changed. As many tables are asked for as are made.
 */
#define STEP_UNWINDS(call)                                                                         \
	do {                                                                                       \
		u64 n_, before_ = live;                                                            \
		int error_;                                                                        \
		for (n_ = 0;; n_++) {                                                              \
			fail_at = n_ + 1;                                                          \
			error_ = (call);                                                           \
			if (error_ != -ENOMEM)                                                     \
				break;                                                             \
			STEP(fail_at == 0, #call, "was -ENOMEM, but it got all it asked for");     \
			STEP(live == before_, #call,                                               \
			     "failed at table %lu: %lu tables were taken before, now %lu", n_ + 1, \
			     before_, live);                                                       \
			STEP_EQ(n_ != 1 || agrees(), true);                                        \
		}                                                                                  \
		fail_at = 0;                                                                       \
		STEP(error_ == 0, #call, "was %d, expected 0, after %lu times -ENOMEM", error_,    \
		     n_);                                                                          \
		STEP(n_ == live - before_, #call, "made %lu tables, but asked for %lu",            \
		     live - before_, n_);                                                          \
	} while (0)

/* Tables of 4 KiB entries in the range: there the leaves will be small. */
static u64 empty_tables(u64 at, u64 stop)
{
	u64 nr = 0;

	for (u64 i = 0; i < model.nr_tables; i++)
		nr += model.table[i].level == 1 && model.table[i].at < stop &&
		      model.table[i].at + 2 * MiB > at;
	return nr;
}

static void random_map(void)
{
	u64 at, stop, pa;
	pgprot_t prot = random_prot();

	random_range(&at, &stop, &pa);
	if (model_overlaps(at, stop)) {
		STEP_EQ(pt_map(&pt, unfold(at), paddr(pa), (stop - at) / PAGE_SIZE, prot), -EEXIST);
		return;
	}
	if (empty_tables(at, stop) > 3)
		return; /* more leaves than the dictionary has room for */
	STEP_UNWINDS(pt_map(&pt, unfold(at), paddr(pa), (stop - at) / PAGE_SIZE, prot));
	model_map(at, stop, pa, prot);
}

static void random_populate(void)
{
	u64 at, stop, pa;

	random_range(&at, &stop, &pa);
	stop = MIN(stop, at + 16 * MiB);
	if (model_overlaps(at, stop))
		return;
	STEP_UNWINDS(pt_populate(&pt, unfold(at), (stop - at) / PAGE_SIZE));
	for (u64 page = at; page < stop; page += PAGE_SIZE)
		if (page == at || IS_ALIGNED(page, 2 * MiB))
			add_tables(page, 1);
	STEP_EQ(pte_get(pt_entry(&pt, unfold(stop - PAGE_SIZE))).v, 0);
}

/* From the i-th leaf on up to some other, in the same half. */
static void random_leaves(u64 i, u64 most, u64 *at, u64 *stop)
{
	u64 half = level_bytes(pt.levels + 1) / 2, j = i + test_random() % most;

	*at = model.leaf[i].at;
	*stop = leaf_end(&model.leaf[MIN(j, model.nr - 1)]);
	if (*at < half)
		*stop = MIN(*stop, half);
}

/* Leaf by leaf, as there may be holes between them. */
static void random_unmap(void)
{
	u64 at, stop;

	if (!model.nr)
		return;
	random_leaves(test_random() % model.nr, 600, &at, &stop);
	for (u64 i = find_leaf(at); i < model.nr && model.leaf[i].at < stop; i++)
		STEP_EQ(pt_protect(&pt, unfold(model.leaf[i].at),
				   level_bytes(model.leaf[i].level) / PAGE_SIZE, PAGE_NONE),
			0);
	model_protect(at, stop, PAGE_NONE);
}

static bool model_covers(u64 at, u64 stop)
{
	for (u64 i = find_leaf(at); at < stop; at = leaf_end(&model.leaf[i++]))
		if (i == model.nr || model.leaf[i].at > at)
			return false;
	return true;
}

/* Or unmap. Beginning and ending at leaves, or inside: in two leaves, or both in one. */
static void random_protect(void)
{
	pgprot_t prot = test_random() % 4;
	u64 at, stop, i;

	if (!model.nr)
		return;
	i = test_random() % model.nr;
	random_leaves(i, 3, &at, &stop);
	if (test_random() % 2)
		at += ALIGN_DOWN(test_random() % level_bytes(model.leaf[i].level), PAGE_SIZE);
	if (test_random() % 2)
		stop = at + ALIGN_UP(test_random() % (stop - at) + 1, PAGE_SIZE);
	else if (test_random() % 4 == 0 && stop % ARENA)
		stop += PAGE_SIZE;
	if (!model_covers(at, stop)) {
		STEP_EQ(pt_protect(&pt, unfold(at), (stop - at) / PAGE_SIZE, prot), -ENOENT);
		return;
	}
	STEP_UNWINDS(pt_protect(&pt, unfold(at), (stop - at) / PAGE_SIZE, prot));
	model_protect(at, stop, prot);
}

static u64 gone_empty, gone_full;

static void gone(pte_t *table)
{
	bool empty = true;

	for (int i = 0; i < PT_ENTRIES; i++)
		empty &= pte_none(table[i]);
	gone_empty += empty;
	gone_full += !empty;
	counting.put(table);
}

static bool table_within(u64 i, u64 lo, u64 hi)
{
	return model.table[i].at >= lo &&
	       model.table[i].at + level_bytes(model.table[i].level + 1) <= hi;
}

/* Do all tables that serve only [lo, hi) serve part of [at, stop) too? */
static bool in_the_way(u64 lo, u64 hi, u64 at, u64 stop)
{
	for (u64 i = 0; i < model.nr_tables; i++)
		if (table_within(i, lo, hi) &&
		    (table_within(i, lo, at) || table_within(i, stop, hi)))
			return false;
	return true;
}

/* Part of a gap between leaves was freed: exactly the tables go that serve nothing but the gap. */
static void random_prune(void)
{
	u64 half = level_bytes(pt.levels + 1) / 2, at, stop, arena_end, lo, hi, i, expected = 0;

	at = random_place(PAGE_SIZE, &arena_end);
	i = find_leaf(at);
	if (i < model.nr && model.leaf[i].at <= at)
		return;
	lo = MAX(i ? leaf_end(&model.leaf[i - 1]) : 0, at < half ? 0 : half);
	hi = MIN(i < model.nr ? model.leaf[i].at : 2 * half, at < half ? half : 2 * half);
	at = test_random() % 2 ? at : lo;
	stop = ALIGN_DOWN(at + test_random() % ARENA + PAGE_SIZE, PAGE_SIZE);
	stop = test_random() % 2 ? MIN(stop, hi) : hi;
	if (!in_the_way(lo, hi, at, stop))
		return;
	for (i = model.nr_tables; i-- > 0;) {
		if (!table_within(i, lo, hi))
			continue;
		expected++;
		model.table[i] = model.table[--model.nr_tables];
	}
	gone_empty = gone_full = 0;
	pt_prune(&pt, unfold(at), (stop - at) / PAGE_SIZE, unfold(lo), unfold(hi), gone);
	STEP_EQ(gone_empty, expected);
	STEP_EQ(gone_full, 0);
}

static void (*const steps[])(void) = { random_map,   random_map,     random_populate, random_unmap,
				       random_prune, random_protect, random_prune };

static void compare_with_model(int levels)
{
	u64 arena_end;

	begin(levels);
	broken = false;
	for (int i = 0; i < 100 && !broken; i++) {
		while (model.nr > LEAVES_MAX / 2)
			random_unmap();
		steps[test_random() % ARRAY_SIZE(steps)]();
		broken |= broken || !agrees();
		for (int j = 0; j < 8; j++)
			if (!neighbours_agree(random_place(PAGE_SIZE, &arena_end)))
				test_fail(__FILE__, __LINE__, "pt_next and pt_prev", "disagree");
	}
	EXPECT_EQ(end(), 0);
}

TEST(pagetable, model_4_levels)
{
	compare_with_model(4);
}

TEST(pagetable, model_5_levels)
{
	compare_with_model(5);
}

/* Tables laid by hand, down to this level: what is met there does not hang on pt_map(). The slot. */
static pte_t *by_hand(vaddr_t va, int level, pte_t pte)
{
	pte_t *table = pt.root, *entry, *next;

	for (int at = pt.levels;; at--) {
		entry = &table[level_index(va, at)];
		if (at == level)
			break;
		if (pte_none(*entry)) {
			next = counting.get();
			BUG_ON(!next);
			pte_set(entry, pte_make_table(virt_to_phys(next)));
		}
		table = phys_to_virt(pte_paddr(*entry, at));
	}
	if (!pte_none(pte))
		pte_set(entry, pte);
	return entry;
}

static const pte_t nothing;

#define EXPECT_WALK(va, stop, slot, level)                         \
	do {                                                       \
		int reached = 0;                                   \
		EXPECT_EQ(pt_walk(&pt, va, stop, &reached), slot); \
		EXPECT_EQ(reached, level);                         \
	} while (0)

static void walk_by_hand(int levels, vaddr_t va)
{
	begin(levels);
	by_hand(va, 1, pte_make_leaf(paddr(0x1234000), 1, PAGE_KERNEL));
	for (int stop = 1; stop <= levels; stop++)
		EXPECT_WALK(va + 0xabc, stop, by_hand(va, stop, nothing), stop);
	for (int level = 1; level <= levels; level++) { /* the slot beside ours is empty */
		vaddr_t beside = va ^ level_bytes(level);

		EXPECT_WALK(beside, 1, by_hand(beside, level, nothing), level);
	}
	for (int level = 2; level <= 3; level++) {
		vaddr_t large = va ^ level_bytes(level);
		pte_t *slot = by_hand(large, level, pte_make_leaf(paddr(0), level, PAGE_KERNEL));

		EXPECT_WALK(large, 1, slot, level);
		EXPECT_WALK(large, level, slot, level);
		EXPECT_WALK(large, level + 1, by_hand(large, level + 1, nothing), level + 1);
	}
	EXPECT_EQ(live, levels - 1);
	EXPECT_EQ(end(), 0);
}

/* Boot's own tables reach no more than 4 GiB of RAM: from there the first ones of mm/ must come. */
TEST(pagetable, first_tables_lie_below_4_gib)
{
	static struct memmap was;
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	pte_t *table;

	EXPECT(page);
	was = memmap;
	memmap = (struct memmap){ 0 };
	memmap_insert(&memmap, page_to_phys(page).v, PAGE_SIZE, MEM_USABLE);
	memmap_insert(&memmap, 4 * GiB, GiB, MEM_USABLE);
	table = memmap_tables.get();
	memmap = was;
	EXPECT_EQ((u64)table, (u64)page_address(page));
	__free_pages(page, 0);
}

/* Bit 12 of a large leaf is a part of its memory type, and what is between it and the page's size is reserved. */
TEST(pagetable, a_large_leaf_begins_at_its_size)
{
	for (int level = 2; level <= 3; level++) {
		paddr_t pa = paddr(5 * level_bytes(level));
		pte_t leaf = pte_make_leaf(pa, level, PAGE_KERNEL);

		leaf.v |= 1ul << PAGE_SHIFT;
		EXPECT_EQ(pte_paddr(leaf, level).v, pa.v);
	}
}

TEST(pagetable, walk)
{
	walk_by_hand(4, 0xffff923456789000);
	if (!test_failed())
		walk_by_hand(5, 0xff23456789abc000);
}

#define EXPECT_LEAF(at, level_, pa_, prot_)                                      \
	do {                                                                     \
		struct mapping m;                                                \
		EXPECT(pt_lookup(&pt, at, &m));                                  \
		EXPECT_EQ(m.level, level_);                                      \
		EXPECT_EQ(m.bytes, level_bytes(level_));                         \
		EXPECT_EQ(m.va, ALIGN_DOWN((vaddr_t)(at), level_bytes(level_))); \
		EXPECT_EQ(m.pa.v, pa_);                                          \
		EXPECT_EQ(m.prot, prot_);                                        \
	} while (0)

static bool is_mapped(vaddr_t va)
{
	struct mapping m;

	return pt_lookup(&pt, va, &m);
}

TEST(pagetable, lookup)
{
	const vaddr_t va = 0xffff923456789000;

	begin(4);
	EXPECT(!is_mapped(va));
	by_hand(va, 1, pte_make_leaf(paddr(0x1234000), 1, PAGE_KERNEL_RO));
	by_hand(va ^ 2 * MiB, 2, pte_make_leaf(paddr(6 * MiB), 2, PAGE_KERNEL_ROX));
	by_hand(va ^ GiB, 3, pte_make_leaf(paddr(3 * GiB), 3, PAGE_KERNEL));
	by_hand(va ^ 2 * PAGE_SIZE, 1, pte_make_note(0x5678));
	EXPECT_LEAF(va, 1, 0x1234000, PAGE_KERNEL_RO);
	EXPECT_LEAF(va + 0xfff, 1, 0x1234000, PAGE_KERNEL_RO);
	EXPECT_LEAF(va ^ 2 * MiB, 2, 6 * MiB, PAGE_KERNEL_ROX);
	EXPECT_LEAF(va ^ GiB, 3, 3 * GiB, PAGE_KERNEL);
	EXPECT(!is_mapped(va ^ PAGE_SIZE));	/* nothing is there */
	EXPECT(!is_mapped(va ^ 2 * PAGE_SIZE)); /* a note */
	EXPECT(!is_mapped(va ^ 1ul << 48));	/* not canonical: no CPU translates it */
	EXPECT_EQ(end(), 0);
}

TEST(pagetable, map_one_page)
{
	const vaddr_t va = 0xffff900000400000;

	begin(4);
	EXPECT_EQ(pt_map(&pt, va, paddr(0x5000), 1, PAGE_KERNEL), 0);
	EXPECT_EQ(live, 3);
	EXPECT_LEAF(va, 1, 0x5000, PAGE_KERNEL);
	EXPECT(!is_mapped(va - PAGE_SIZE) && !is_mapped(va + PAGE_SIZE));
	EXPECT_EQ(pt_map(&pt, va + PAGE_SIZE, paddr(0x9000), 1, PAGE_KERNEL_ROX), 0);
	EXPECT_EQ(live, 3); /* its tables are there */
	EXPECT_LEAF(va + PAGE_SIZE, 1, 0x9000, PAGE_KERNEL_ROX);
	EXPECT_LEAF(va, 1, 0x5000, PAGE_KERNEL);
	EXPECT_EQ(pt_map(&pt, va - PAGE_SIZE, paddr(0x20000), 2, PAGE_KERNEL), -EEXIST);
	EXPECT(!is_mapped(va - PAGE_SIZE));
	EXPECT_LEAF(va, 1, 0x5000, PAGE_KERNEL);
	EXPECT_EQ(live, 3);
	EXPECT_EQ(end(), 0);
}

TEST(pagetable, map_in_large_leaves)
{
	begin(4);
	/* A page before and one behind two large ones: two more tables, for those. */
	EXPECT_EQ(pt_map(&pt, 2 * MiB - PAGE_SIZE, paddr(GiB + 2 * MiB - PAGE_SIZE), 1026,
			 PAGE_KERNEL),
		  0);
	EXPECT_LEAF(2 * MiB - PAGE_SIZE, 1, GiB + 2 * MiB - PAGE_SIZE, PAGE_KERNEL);
	EXPECT_LEAF(2 * MiB, 2, GiB + 2 * MiB, PAGE_KERNEL);
	EXPECT_LEAF(4 * MiB, 2, GiB + 4 * MiB, PAGE_KERNEL);
	EXPECT_LEAF(6 * MiB, 1, GiB + 6 * MiB, PAGE_KERNEL);
	EXPECT(!is_mapped(6 * MiB + PAGE_SIZE));
	EXPECT_EQ(live, 4);
	/* Large enough, but its frames begin in the middle of a large frame. */
	EXPECT_EQ(pt_map(&pt, 16 * MiB, paddr(PAGE_SIZE), 512, PAGE_KERNEL), 0);
	EXPECT_LEAF(16 * MiB, 1, PAGE_SIZE, PAGE_KERNEL);
	EXPECT_LEAF(18 * MiB - 1, 1, 2 * MiB, PAGE_KERNEL);
	EXPECT_EQ(live, 5);
	/* Two that fit just so. */
	EXPECT_EQ(pt_map(&pt, 20 * MiB, paddr(40 * MiB), 1024, PAGE_KERNEL), 0);
	EXPECT_LEAF(20 * MiB, 2, 40 * MiB, PAGE_KERNEL);
	EXPECT_LEAF(24 * MiB - 1, 2, 42 * MiB, PAGE_KERNEL);
	EXPECT(!is_mapped(24 * MiB));
	EXPECT_EQ(live, 5);
	/* 1 GiB in one entry, and one page more. */
	EXPECT_EQ(pt_map(&pt, 2 * GiB, paddr(4 * GiB), 512 * 512 + 1, PAGE_KERNEL_RO), 0);
	EXPECT_LEAF(2 * GiB, 3, 4 * GiB, PAGE_KERNEL_RO);
	EXPECT_LEAF(3 * GiB, 1, 5 * GiB, PAGE_KERNEL_RO);
	EXPECT(!is_mapped(3 * GiB + PAGE_SIZE));
	EXPECT_EQ(live, 7);
	EXPECT_EQ(end(), 0);
}

/* The n-th request for a table fails, for every n: then nothing is as if it had been tried. */
TEST(pagetable, all_or_nothing)
{
	const vaddr_t va = 4 * GiB - 2 * PAGE_SIZE;

	begin(4);
	for (u64 n = 1; n <= 5; n++) { /* PDPT; PD and PT before 4 GiB; PD and PT behind it */
		fail_at = n;
		EXPECT_EQ(pt_map(&pt, va, paddr(0x10000), 3, PAGE_KERNEL), -ENOMEM);
		EXPECT_EQ(fail_at, 0);
		EXPECT_EQ(live, 0); /* those that were to be had are given back */
		EXPECT_EQ(pt_count_tables(&pt), 1);
	}
	EXPECT_EQ(pt_map(&pt, va, paddr(0x10000), 3, PAGE_KERNEL), 0);
	EXPECT_EQ(live, 5);
	EXPECT_EQ(pt_map(&pt, 8 * GiB, paddr(8 * GiB), GiB / PAGE_SIZE, PAGE_KERNEL), 0);
	for (u64 n = 1; n <= 2; n++) { /* to split it takes a PD and a PT */
		fail_at = n;
		EXPECT_EQ(pt_protect(&pt, 8 * GiB, 1, PAGE_KERNEL_RO), -ENOMEM);
		EXPECT_EQ(live, 5);
		EXPECT_LEAF(8 * GiB, 3, 8 * GiB, PAGE_KERNEL);
	}
	EXPECT_EQ(pt_protect(&pt, 8 * GiB, 1, PAGE_KERNEL_RO), 0);
	EXPECT_EQ(live, 7);
	EXPECT_EQ(end(), 0);
}

TEST(pagetable, protect_and_unmap)
{
	const vaddr_t va = 0xffff900000400000;

	begin(4);
	EXPECT_EQ(pt_map(&pt, va, paddr(0x10000), 4, PAGE_KERNEL), 0);
	EXPECT_EQ(pt_protect(&pt, va + PAGE_SIZE, 2, PAGE_KERNEL_RO), 0);
	for (u64 i = 0; i < 4; i++)
		EXPECT_LEAF(va + i * PAGE_SIZE, 1, 0x10000 + i * PAGE_SIZE,
			    i == 1 || i == 2 ? PAGE_KERNEL_RO : PAGE_KERNEL);
	EXPECT_EQ(pt_protect(&pt, va + 2 * PAGE_SIZE, 1, PAGE_NONE), 0);
	EXPECT(is_mapped(va + PAGE_SIZE) && is_mapped(va + 3 * PAGE_SIZE));
	EXPECT(!is_mapped(va + 2 * PAGE_SIZE));
	EXPECT_EQ(pte_get(by_hand(va + 2 * PAGE_SIZE, 1, nothing)).v, 0);
	EXPECT_EQ(live, 3); /* unmapping gives no table back */
	/* A hole in the range: an error, and the pages before the hole are as they were. */
	EXPECT_EQ(pt_protect(&pt, va, 4, PAGE_KERNEL_ROX), -ENOENT);
	EXPECT_EQ(pt_protect(&pt, va, 4, PAGE_NONE), -ENOENT);
	EXPECT_LEAF(va, 1, 0x10000, PAGE_KERNEL);
	EXPECT_LEAF(va + 3 * PAGE_SIZE, 1, 0x13000, PAGE_KERNEL);
	EXPECT_EQ(end(), 0);
}

/* As when areas are freed. Two tables of 4 KiB entries, side by side under one PD. */
TEST(pagetable, prune)
{
	const vaddr_t a = GiB, b = GiB + 2 * MiB;

	begin(4);
	gone_empty = gone_full = 0;
	EXPECT_EQ(pt_map(&pt, a, paddr(0x10000), 1, PAGE_KERNEL), 0);
	EXPECT_EQ(pt_map(&pt, b, paddr(0x20000), 1, PAGE_KERNEL), 0);
	EXPECT_EQ(live, 4);
	EXPECT_EQ(pt_protect(&pt, a, 1, PAGE_NONE), 0);
	pt_prune(&pt, a, 1, 0, b - PAGE_SIZE, gone); /* its table's last entry may be in use */
	EXPECT_EQ(gone_empty + gone_full, 0);
	pt_prune(&pt, a + PAGE_SIZE, 1, a + PAGE_SIZE, b, gone); /* or its first */
	EXPECT_EQ(gone_empty + gone_full, 0);
	pt_prune(&pt, a, 1, 0, b, gone); /* the table goes; the PD leads to b, too */
	EXPECT_EQ(gone_empty + gone_full, 1);
	EXPECT_EQ(pte_get(by_hand(a, 2, nothing)).v, 0);
	EXPECT_LEAF(b, 1, 0x20000, PAGE_KERNEL);
	EXPECT_EQ(pt_protect(&pt, b, 1, PAGE_NONE), 0);
	pt_prune(&pt, b, 1, 0, 512 * GiB, gone); /* PT, PD, PDPT, each empty when it goes */
	EXPECT_EQ(gone_full, 0);
	EXPECT_EQ(gone_empty, 4);
	EXPECT_EQ(pt_count_tables(&pt), 1);
	EXPECT_EQ(end(), 0);
}

/* One leaf of 1 GiB, split inside: the translations stay, and the tables are as many as needed. */
TEST(pagetable, split_keeps_translations)
{
	const vaddr_t va = 0xffff900000000000;
	struct mapping m;

	begin(4);
	EXPECT_EQ(pt_map(&pt, va, paddr(8 * GiB), GiB / PAGE_SIZE, PAGE_KERNEL), 0);
	EXPECT_EQ(live, 1);
	EXPECT_EQ(pt_protect(&pt, va + 6 * MiB + 5 * PAGE_SIZE, 1, PAGE_KERNEL_RO), 0);
	EXPECT_EQ(live, 3);
	for (u64 at = 0; at < GiB; at += m.bytes) {
		bool inside = at >= 6 * MiB && at < 8 * MiB;

		EXPECT(pt_lookup(&pt, va + at, &m));
		EXPECT_EQ(m.pa.v, 8 * GiB + at);
		EXPECT_EQ(m.level, inside ? 1 : 2);
		EXPECT_EQ(m.prot, at == 6 * MiB + 5 * PAGE_SIZE ? PAGE_KERNEL_RO : PAGE_KERNEL);
	}
	EXPECT_EQ(pt_populate(&pt, va + 16 * MiB, 1), 0);
	EXPECT_EQ(live, 4);
	EXPECT(pt_lookup(&pt, va + 16 * MiB + 12345, &m));
	EXPECT_EQ(m.pa.v, 8 * GiB + 16 * MiB + 3 * PAGE_SIZE);
	EXPECT_EQ(end(), 0);
}

/* A device's large leaf, split by a change of one page: none of it may be cached from then on. */
TEST(pagetable, memory_types_stay)
{
	begin(4);
	EXPECT_EQ(pt_map(&pt, 2 * MiB, paddr(2 * MiB), 512, PAGE_KERNEL | PAGE_WC), 0);
	EXPECT_EQ(live, 2);
	EXPECT_EQ(pt_protect(&pt, 2 * MiB + PAGE_SIZE, 1, PAGE_KERNEL_RO), 0);
	EXPECT_EQ(live, 3);
	for (u64 i = 0; i < PT_ENTRIES; i++)
		EXPECT_EQ(pte_type(pte_get(pt_entry(&pt, 2 * MiB + i * PAGE_SIZE))), PAGE_WC);
	EXPECT_EQ(end(), 0);
}

TEST(pagetable, leaf_levels_are_obeyed)
{
	struct mapping m;

	begin(5);
	address_map.leaf_levels = 2;
	EXPECT_EQ(pt_map(&pt, GiB, paddr(GiB), GiB / PAGE_SIZE, PAGE_KERNEL_ROX), 0);
	EXPECT(pt_lookup(&pt, 2 * GiB - 1, &m));
	EXPECT_EQ(m.bytes, 2 * MiB);
	EXPECT_EQ(end(), 0);
}

/* A note is an entry in use: found, not mapped over, and not for pt_protect to clear. */
TEST(pagetable, notes_stay)
{
	vaddr_t va = 0;
	int level;

	begin(4);
	EXPECT_EQ(pt_populate(&pt, 16 * PAGE_SIZE, 2), 0);
	pte_set(pt_entry(&pt, 17 * PAGE_SIZE), pte_make_note(0x1234568));
	EXPECT(pt_next(&pt, &va, GiB, &level));
	EXPECT_EQ(va, 17 * PAGE_SIZE);
	EXPECT_EQ(pt_map(&pt, 16 * PAGE_SIZE, paddr(0), 2, PAGE_KERNEL), -EEXIST);
	EXPECT_EQ(pt_map(&pt, 16 * PAGE_SIZE, paddr(0), 1, PAGE_KERNEL), 0);
	EXPECT_EQ(pt_protect(&pt, 16 * PAGE_SIZE, 2, PAGE_NONE), -ENOENT);
	EXPECT_EQ(pt_protect(&pt, 16 * PAGE_SIZE, 1, PAGE_NONE), 0);
	EXPECT_EQ(pte_get(pt_entry(&pt, 17 * PAGE_SIZE)).v, 0x1234568);
	EXPECT_EQ(end(), 0);
}

/* No pages are nothing, wherever they begin. */
TEST(pagetable, nothing_to_map)
{
	begin(4);
	EXPECT_EQ(pt_map(&pt, 2 * MiB, paddr(0), 0, PAGE_KERNEL), 0);
	EXPECT_EQ(live, 0);
	EXPECT_EQ(pt_map(&pt, 2 * MiB, paddr(0), 1, PAGE_KERNEL), 0);
	EXPECT_EQ(pt_map(&pt, 2 * MiB, paddr(0), 0, PAGE_KERNEL), 0);
	EXPECT_EQ(pt_map(&pt, 0, paddr(0), 0, PAGE_KERNEL), 0);
	EXPECT_EQ(live, 3);
	EXPECT_EQ(end(), 0);
}

/* As at boot: a supply that takes no table back. What it gave before it failed is not used. */
static pte_t *given[4];

static pte_t *one_way_get(void)
{
	pte_t *table = counting_get();

	if (table)
		given[live % ARRAY_SIZE(given)] = table;
	return table;
}

TEST(pagetable, a_source_that_takes_nothing_back)
{
	static struct page_source one_way = { one_way_get, NULL };

	begin(4);
	pt.source = &one_way;
	fail_at = 3;
	EXPECT_EQ(pt_map(&pt, 2 * MiB, paddr(0), 1, PAGE_KERNEL), -ENOMEM);
	EXPECT_EQ(live, 2);
	EXPECT_EQ(pt_count_tables(&pt), 1);
	pt.source = &counting;
	counting_put(given[1]);
	counting_put(given[2]);
	EXPECT_EQ(end(), 0);
}

static void unaligned(void *arg)
{
	(void)!pt_map(&pt, (vaddr_t)arg, paddr(0), 1, PAGE_KERNEL);
}

static void nothing_permitted(void *arg)
{
	(void)!pt_map(&pt, (vaddr_t)arg, paddr(0), 1, PAGE_NONE);
}

TEST(pagetable, misuse_changes_nothing)
{
	struct mapping m;

	begin(4);
	EXPECT_EQ(pt_map(&pt, 2 * MiB, paddr(0), 512, PAGE_KERNEL), 0);
	model_map(2 * MiB, 4 * MiB, 0, PAGE_KERNEL);
	EXPECT_PANIC(unaligned, 0x1001, "BUG");
	EXPECT_PANIC(unaligned, 0x0000800000000000, "BUG");
	EXPECT_PANIC(nothing_permitted, 0x1000, "BUG");
	EXPECT(pt_lookup(&pt, 2 * MiB, &m) && !pt_lookup(&pt, 2 * MiB + (1ul << 48), &m));
	EXPECT(agrees());
	EXPECT_EQ(end(), 0);
}

TEST(pagetable, canonical_addresses)
{
	EXPECT(va_canonical(0x00007fffffffffff, 4) && !va_canonical(0x0000800000000000, 4));
	EXPECT(va_canonical(0xffff800000000000, 4) && !va_canonical(0xffff7fffffffffff, 4));
	EXPECT(va_canonical(0x00ffffffffffffff, 5) && !va_canonical(0x0100000000000000, 5));
	EXPECT(va_canonical(0xff00000000000000, 5) && !va_canonical(0xfeffffffffffffff, 5));
	EXPECT(va_canonical(0, 4) && va_canonical(~0ul, 4) && va_canonical(~0ul, 5));
}
