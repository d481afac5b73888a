/*
 * pagetable.c - page tables of 4 and 5 levels against a dictionary: where each page leads.
 *
 * The dictionary is an array for each of five places where something ends: at 1 GiB, where the two
 * halves of the address space meet, at the very end, and, in units of 2 MiB, at 512 GiB. Tables may
 * run out at any moment; then nothing may have changed, and it must be true that one more was needed.
 * Each table that was ever given out hangs in the tree or went back. What the tables say is asked of
 * pt_lookup() and of the simulated MMU.
 */
#include <mm/page_alloc.h>
#include <mm/pagetable.h>
#include <sim.h>

#include "fuzz.h"

#define UNITS 1100u

struct unit {
	u64 pa, note;
	pgprot_t prot; /* PAGE_NONE: not mapped */
};

static struct place {
	u64 start; /* folded */
	int shift; /* of a unit */
	struct unit unit[UNITS];
} places[5];

static u64 given, budget; /* tables */
static struct page_source source;
static struct pagetable trees[2], *pt;

static pte_t *get_table(void)
{
	pte_t *table = budget ? page_alloc_tables.get() : NULL;

	budget -= table != NULL;
	given += table != NULL;
	return table;
}

static void put_back(pte_t *table)
{
	given--;
	page_alloc_tables.put(table);
}

static void setup(void)
{
	source = (struct page_source){ get_table, put_back };
	for (int i = 0; i < 2; i++)
		trees[i] = (struct pagetable){ page_alloc_tables.get(), 4 + i, &source };
}

static void choose_tree(bool five)
{
	u64 half = level_bytes(5 + five) / 2, length = UNITS * PAGE_SIZE;

	pt = &trees[five];
	places[0].start = GiB - 300 * PAGE_SIZE;
	places[1].start = 512 * GiB - 600 * 2 * MiB;
	places[2].start = half - length;
	places[3].start = half;
	places[4].start = 2 * half - length;
	for (int i = 0; i < 5; i++)
		places[i].shift = i == 1 ? 21 : PAGE_SHIFT;
}

static vaddr_t va_of(const struct place *p, u64 i)
{
	return va_unfold(p->start + (i << p->shift), pt->levels);
}

static struct unit *unit_at(u64 folded)
{
	for (struct place *p = places; p < places + ARRAY_SIZE(places); p++)
		if (folded - p->start < (u64)UNITS << p->shift)
			return &p->unit[(folded - p->start) >> p->shift];
	return NULL;
}

/* The leaf says of its first and its last page what the dictionary does. */
static void compare_leaf(const struct mapping *m)
{
	u64 first = va_fold(m->va, pt->levels), last = first + m->bytes - PAGE_SIZE;

	for (u64 at = first; at <= last; at += MAX(last - first, 1ul)) {
		const struct unit *u = unit_at(at);
		const struct place *p = places;

		while (at - p->start >= (u64)UNITS << p->shift)
			p++;
		EXPECT(u && u->prot);
		EXPECT_EQ(m->pa.v + at - first,
			  u->pa + ((at - p->start) & ((1ul << p->shift) - 1)));
		EXPECT_EQ(m->prot, u->prot & 3);
	}
}

static void compare(const struct place *p, u64 i)
{
	vaddr_t va = va_of(p, i);
	struct sim_leaf leaf = sim_walk(virt_to_phys(pt->root).v, pt->levels, va);
	const struct unit *u = &p->unit[i];
	struct mapping m;
	bool mapped = pt_lookup(pt, va + 8, &m);

	EXPECT_EQ(mapped, u->prot != PAGE_NONE);
	EXPECT_EQ(leaf.present, mapped);
	if (!mapped)
		return;
	compare_leaf(&m);
	EXPECT(leaf.pa == m.pa.v && leaf.bytes == m.bytes);
	EXPECT(leaf.writable == (m.prot == PAGE_KERNEL) &&
	       leaf.exec == (m.prot == PAGE_KERNEL_ROX));
	EXPECT_EQ(pte_type((pte_t){ leaf.entry }), u->prot & PAGE_UC);
}

/* The ends of a range, its middle, and its neighbours. */
static void compare_around(const struct place *p, u64 from, u64 nr)
{
	compare(p, from);
	compare(p, from + nr / 2);
	compare(p, from + nr - 1);
	if (from)
		compare(p, from - 1);
	if (from + nr < UNITS)
		compare(p, from + nr);
}

struct change {
	enum { MAP, PROTECT, POPULATE } what;
	struct place *p;
	u64 from, nr, pa;
	pgprot_t prot;
};

static int apply(const struct change *c)
{
	u64 nr_pages = c->nr << (c->p->shift - PAGE_SHIFT);
	vaddr_t va = va_of(c->p, c->from);

	if (c->what == MAP)
		return pt_map(pt, va, paddr(c->pa), nr_pages, c->prot);
	return c->what == PROTECT ? pt_protect(pt, va, nr_pages, c->prot) :
				    pt_populate(pt, va, nr_pages);
}

static int expected(const struct change *c)
{
	for (const struct unit *u = c->p->unit + c->from; u < c->p->unit + c->from + c->nr; u++) {
		if (c->what == MAP && (u->prot || u->note))
			return -EEXIST;
		if (c->what == PROTECT && !u->prot)
			return -ENOENT;
	}
	return 0;
}

static void note_down(const struct change *c)
{
	for (u64 i = 0; i < c->nr; i++) {
		struct unit *u = &c->p->unit[c->from + i];

		if (c->what == MAP)
			*u = (struct unit){ c->pa + (i << c->p->shift), 0, c->prot };
		if (c->what == PROTECT)
			u->prot = c->prot ? c->prot | (u->prot & PAGE_UC) : PAGE_NONE;
	}
}

/* With so many tables; if these do not suffice, once more with all there are. */
static void change(const struct change *c, u64 tables)
{
	u64 had = given;
	int error, want = expected(c);

	budget = tables;
	error = apply(c);
	if (error == -ENOMEM && !want) {
		EXPECT_EQ(given, had);
		compare_around(c->p, c->from, c->nr);
		budget = ~0ul;
		error = apply(c);
		EXPECT(given - had > tables);
	}
	EXPECT_EQ(error, want);
	if (!error)
		note_down(c);
	else
		EXPECT_EQ(given, had);
	compare_around(c->p, c->from, c->nr);
}

static void choose(struct bytes *in, struct change *c)
{
	static const pgprot_t prots[] = { PAGE_KERNEL, PAGE_KERNEL_RO, PAGE_KERNEL_ROX,
					  PAGE_KERNEL | PAGE_UC, PAGE_KERNEL_RO | PAGE_WC };
	u8 how = byte(in), size = byte(in);

	c->p = &places[how % ARRAY_SIZE(places)];
	c->from = word(in) % UNITS;
	c->nr = 1 + (size < 128 ? size % 9 : size < 240 ? size * 2 : UNITS);
	c->nr = MIN(c->nr, UNITS - c->from);
	c->prot = c->what == PROTECT ? how / 5 % 4 : prots[how / 5 % ARRAY_SIZE(prots)];
	c->pa = (c->p->start + (c->from << c->p->shift)) % (64 * GiB) + (how >= 225 ? 2 * MiB : 0);
	if (c->p->shift > PAGE_SHIFT && (c->what == POPULATE || how % 16 == 15))
		c->nr = MIN(c->nr, 12ul);
	if (how % 16 == 15)
		c->pa += 5 * PAGE_SIZE;
}

/* A note where a page would be, or none again. */
static void set_note(struct bytes *in)
{
	struct place *p = &places[byte(in) % ARRAY_SIZE(places)];
	u64 i = word(in) % UNITS;
	int level;
	pte_t *entry = pt_walk(pt, va_of(p, i), 1, &level);

	if (level > 1 || p->unit[i].prot || p->shift != PAGE_SHIFT)
		return;
	EXPECT_EQ(pte_get(entry).v, p->unit[i].note);
	p->unit[i].note = (u64)byte(in) << 1;
	pte_set(entry, pte_make_note(p->unit[i].note));
}

static bool is_empty(const struct unit *u)
{
	return !u->prot && !u->note;
}

/* All tables between what is used here: at both ends of the address space as far as that goes. */
static void prune(struct bytes *in)
{
	struct place *p = &places[byte(in) % ARRAY_SIZE(places)];
	u64 from = word(in) % UNITS, to = from;
	vaddr_t lo, hi;

	while (from && is_empty(&p->unit[from - 1]))
		from--;
	while (to < UNITS && is_empty(&p->unit[to]))
		to++;
	if (from >= to)
		return;
	lo = from || p != places ? va_of(p, from) : 0;
	hi = to < UNITS || p != places + 4 ? va_of(p, to) : 0;
	if (p == places + 2 && to == UNITS)
		hi = p->start + (UNITS << p->shift); /* folded: behind it is the other half */
	pt_prune(pt, va_of(p, from), (to - from) << (p->shift - PAGE_SHIFT), lo, hi, put_back);
	compare_around(p, from, to - from);
}

/* The first unit that is not empty, looking from folded address at in one direction; NULL: none. */
static bool nearest(u64 at, bool up, u64 *found)
{
	bool any = false;

	for (const struct place *p = places; p < places + ARRAY_SIZE(places); p++)
		for (u64 i = 0; i < UNITS; i++) {
			u64 first = p->start + (i << p->shift),
			    last = first + (1ul << p->shift) - 1;

			if (is_empty(&p->unit[i]) || (up ? last < at : first > at))
				continue;
			first = MAX(first, up ? at : 0);
			last = MIN(last, up ? ~0ul : at);
			if (!any || (up ? first < *found : last > *found))
				*found = up ? first : last;
			any = true;
		}
	return any;
}

static void search(struct bytes *in)
{
	u8 how = byte(in);
	struct place *p = &places[how % ARRAY_SIZE(places)];
	u64 at = p->start + ((u64)(word(in) % UNITS) << p->shift), found;
	vaddr_t va = va_unfold(at, pt->levels), was = va;
	bool up = how & 128, any = nearest(at, up, &found);
	int level;
	pte_t *entry = up ? pt_next(pt, &va, 0, &level) : pt_prev(pt, &va, 0, &level);

	EXPECT_EQ(!!entry, any);
	if (!any)
		EXPECT_EQ(va, was);
	else
		EXPECT(found - va_fold(va, pt->levels) < level_bytes(level));
}

static void clear_all(void)
{
	for (struct place *p = places; p < places + ARRAY_SIZE(places); p++)
		for (u64 i = 0, end; i < UNITS; i = end) {
			for (end = i; end < UNITS && p->unit[end].prot; end++)
				continue;
			if (end > i)
				change(&(struct change){ PROTECT, p, i, end - i, 0, PAGE_NONE },
				       ~0ul);
			else if (p->unit[end++].note)
				pte_set(pt_entry(pt, va_of(p, i)), (pte_t){ p->unit[i].note = 0 });
		}
	pt_prune(pt, 0, 1ul << (9 * pt->levels), 0, 0, put_back);
	EXPECT_EQ(given, 0);
}

static void run(struct bytes *in)
{
	struct change c;

	choose_tree(byte(in) & 1);
	while (operation(in)) {
		u8 what = byte(in);

		if (what < 200) {
			c.what = what < 100 ? MAP : what < 180 ? PROTECT : POPULATE;
			choose(in, &c);
			change(&c, byte(in) & 128 ? ~0ul : what % 8);
		} else if (what < 215) {
			set_note(in);
		} else if (what < 230) {
			prune(in);
		} else if (what < 250) {
			search(in);
		} else {
			EXPECT_EQ(pt_count_tables(pt), given + 1);
		}
	}
	EXPECT_EQ(pt_count_tables(pt), given + 1);
	clear_all();
}

FUZZ_TARGET(pagetable, setup, run);
