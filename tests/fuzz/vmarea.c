/*
 * vmarea.c - the range allocator against one byte a page.
 *
 * The answer is found by trying every page. With an alignment above a page, the allocator may take
 * another gap than the lowest, if that is found sooner: then any is right that fits and begins as low
 * as its gap permits.
 */
#include <string.h>

#include <mm/mm.h>
#include <mm/vmarea.h>

#include "fuzz.h"

#define START 0x7000003000ul /* of no great alignment */
#define PAGES 250ul
#define VA(page) (START + (page)*PAGE_SIZE)

static struct vmwindow w;
static bool taken[PAGES];
static struct live {
	u64 at, nr_pages; /* the guard's page; nr_pages 0: none */
} live[48];
static unsigned nr_live;

static void setup(void)
{
	EXPECT_EQ(vmwindow_init(&w, START, VA(PAGES)), 0);
}

static bool fits(u64 at, u64 nr_pages, u64 align, u64 lo, u64 hi)
{
	if (at < lo || at + nr_pages + 1 > MIN(hi, PAGES - 1) || VA(at + 1) & (align - 1))
		return false;
	return !memchr(&taken[at], true, nr_pages + 1);
}

static u64 first_fit(u64 from, u64 nr_pages, u64 align, u64 lo, u64 hi)
{
	while (from < PAGES && !fits(from, nr_pages, align, lo, hi))
		from++;
	return from;
}

static void alloc(struct bytes *in)
{
	u64 n = byte(in), shape = byte(in), lo = 0, hi = PAGES, at, first, gap;
	u64 align = PAGE_SIZE << (shape % 16 < 8 ? 0 : shape % 8);
	u64 nr_pages = n < 240 ? n % 13 + 1 : (n - 240) * 16;
	vaddr_t va = 77;
	bool struck;
	int error;

	if (shape & 16)
		lo = byte(in) % (PAGES + 4);
	if (shape & 32)
		hi = byte(in) % (PAGES + 4);
	if (shape >> 6 == 3 && n % 8 == 0) /* nonsense */
		align = n & 8 ? 3 * PAGE_SIZE : n & 16 ? 1ul << 63 : PAGE_SIZE / 2;
	inject((struct inject_order){ .nth = shape >> 6 == 1 });
	error = vmarea_alloc(&w, nr_pages, align, VA(lo), VA(hi), &va);
	struck = inject((struct inject_order){ 0 });
	first = align & (align - 1) ? PAGES : first_fit(0, nr_pages, align, lo, hi);
	if (error)
		EXPECT_EQ(va, 77);
	if (!nr_pages || align < PAGE_SIZE || align & (align - 1)) {
		EXPECT_EQ(error, -EINVAL);
	} else if (struck) {
		EXPECT_EQ(error, -ENOMEM);
	} else if (first == PAGES) {
		EXPECT_EQ(error, -ENOSPC);
	} else {
		EXPECT_EQ(error, 0);
		at = (va - START) / PAGE_SIZE - 1;
		EXPECT(fits(at, nr_pages, align, lo, hi));
		for (gap = at; gap && !taken[gap - 1];)
			gap--;
		EXPECT_EQ(at, align == PAGE_SIZE ? first : first_fit(gap, nr_pages, align, lo, hi));
		memset(&taken[at], true, nr_pages + 1);
		live[nr_live++] = (struct live){ at, nr_pages };
	}
}

static void release(unsigned i)
{
	struct live l = live[i];
	u64 left_end = l.at, right_end = l.at + l.nr_pages + 1;
	vaddr_t lo, hi;

	memset(&taken[l.at], false, l.nr_pages + 1);
	while (left_end && !taken[left_end - 1])
		left_end--;
	while (right_end < PAGES - 1 && !taken[right_end])
		right_end++;
	vmarea_free(&w, VA(l.at + 1), l.nr_pages, &lo, &hi);
	EXPECT_EQ(lo, VA(left_end));
	EXPECT_EQ(hi, VA(right_end));
	live[i] = live[--nr_live];
}

static void look(struct bytes *in)
{
	u64 lo = byte(in) % (PAGES - 1), nr = 1 + byte(in) % (PAGES - 1 - lo), run = 0, largest = 0;

	EXPECT_EQ(vmwindow_is_free(&w, VA(lo), VA(lo + nr)), !!memchr(&taken[lo], false, nr));
	for (u64 i = 0; i < PAGES - 1; i++) {
		run = taken[i] ? 0 : run + 1;
		largest = MAX(largest, run);
	}
	EXPECT_EQ(w.free->largest, largest);
}

static void check(void)
{
	mm_audit = (struct mm_audit){ .tell = fuzz_complain };
	vmwindow_check(&w);
	EXPECT_EQ(w.nr_used, nr_live);
}

static void run(struct bytes *in)
{
	while (operation(in)) {
		u8 what = byte(in);

		if (what < 120 && nr_live < ARRAY_SIZE(live))
			alloc(in);
		else if (what < 220 && nr_live)
			release(what % nr_live);
		else if (what < 252)
			look(in);
		else
			check();
	}
	while (nr_live)
		release(nr_live - 1);
	check();
	EXPECT_EQ(w.free->largest, PAGES - 1);
}

FUZZ_TARGET(vmarea, setup, run);
