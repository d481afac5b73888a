/*
 * buddy.c - physical frames against a bitmap: one bool a frame, is it free?
 *
 * From these alone follows what the lists must hold once all stocks are given back: as merging is
 * complete, each free frame lies in the largest aligned block around it that is free as a whole. And
 * a request may fail only if there is no such block.
 */
#include <string.h>

#include <mm/mm.h>
#include <mm/page_alloc.h>
#include <mm/slab.h>

#include "fuzz.h"

#define FRAMES 0x4027u
#define STAMP(pfn, order) (0x5eed000000000000ul + ((u64)(pfn) << 8) + (order))

static bool is_free[FRAMES];
static u64 nr_free, total, held_at_first, free_at_first;
static struct live {
	u64 pfn;
	unsigned order;
} live[300], freed; /* freed: the last that was */
static unsigned nr_live;

static void setup(void)
{
	struct page_stats stats;

	kmem_cache_shrink_all();
	page_stats(&stats);
	for (u64 pfn = 0; pfn < FRAMES; pfn++) {
		struct page *head = page_head(pfn);

		is_free[pfn] = head && head->state == PG_FREE;
		nr_free += is_free[pfn];
	}
	total = stats.total;
	free_at_first = nr_free;
	held_at_first = stats.state[PG_ALLOC];
	EXPECT_EQ(stats.free, nr_free);
}

/* Is this aligned block free as a whole? */
static bool block_is_free(u64 pfn, unsigned order)
{
	return pfn + (1ul << order) <= FRAMES && IS_ALIGNED(pfn, 1ul << order) &&
	       !memchr(&is_free[pfn], false, 1ul << order);
}

static bool any_block(unsigned order)
{
	for (u64 pfn = 0; order <= MAX_ORDER && pfn < FRAMES; pfn += 1ul << order)
		if (block_is_free(pfn, order))
			return true;
	return false;
}

static void set_free(u64 pfn, unsigned order, bool to)
{
	memset(&is_free[pfn], to, 1ul << order);
	nr_free += to ? 1ul << order : -(1ul << order);
}

static void took(struct page *page, unsigned order)
{
	u64 pfn = page_to_pfn(page), *p = page_address(page);

	EXPECT(block_is_free(pfn, order));
	EXPECT(page->state == PG_ALLOC && page->order == order);
	set_free(pfn, order, false);
	live[nr_live++] = (struct live){ pfn, order };
	p[0] = p[(PAGE_SIZE << order) / 8 - 1] = STAMP(pfn, order);
}

static struct page *gives(unsigned i)
{
	struct live l = freed = live[i];
	struct page *page = pfn_to_page(l.pfn);
	u64 *p = page_address(page);

	EXPECT_EQ(p[0], STAMP(l.pfn, l.order));
	EXPECT_EQ(p[(PAGE_SIZE << l.order) / 8 - 1], STAMP(l.pfn, l.order));
	set_free(l.pfn, l.order, true);
	live[i] = live[--nr_live];
	return page;
}

struct call {
	gfp_t gfp;
	unsigned order;
	struct page *page;
};

static void do_alloc(void *call)
{
	struct call *c = call;

	c->page = alloc_pages(c->gfp, c->order);
}

static void do_free(void *call)
{
	struct call *c = call;

	__free_pages(c->page, c->order);
}

static void alloc(struct bytes *in)
{
	static const u8 orders[] = { 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
	u8 how = byte(in), size = byte(in);
	struct call c = { .order = orders[size % (size < 24 ? 17 : 10)] };
	bool fail = how >> 4 == 15, struck;

	c.gfp = (how & 1 ? __GFP_ZERO : 0) | (how & 2 ? __GFP_NORECLAIM : 0);
	inject((struct inject_order){ .nth = fail });
	if (how & 4)
		self_interrupt(do_alloc, &c);
	else
		do_alloc(&c);
	struck = inject((struct inject_order){ 0 });
	if (!c.page) {
		EXPECT(struck || !any_block(c.order));
		return;
	}
	if (c.gfp & __GFP_ZERO)
		for (const u64 *p = page_address(c.page), *end = p + PAGE_SIZE / 8; p < end; p++)
			EXPECT(!p[0] && !p[((PAGE_SIZE << c.order) - PAGE_SIZE) / 8]);
	took(c.page, c.order);
}

static void release(unsigned i, bool in_interrupt)
{
	struct call c = { .order = live[i].order, .page = gives(i) };

	if (in_interrupt)
		self_interrupt(do_free, &c);
	else
		do_free(&c);
}

static void bulk(struct bytes *in)
{
	static struct page *pages[100];
	u64 nr = 1 + byte(in) % ARRAY_SIZE(pages), n = byte(in), struck;
	bool got;

	inject((struct inject_order){ .nth = n >> 4 == 15 ? n % 16 + 1 : 0 });
	got = alloc_pages_bulk(n & 1 ? __GFP_NORECLAIM : 0, nr, pages);
	struck = inject((struct inject_order){ 0 });
	EXPECT(got || struck || nr > nr_free);
	for (u64 i = 0; got && i < nr; i++)
		took(pages[i], 0);
}

static void bulk_free(struct bytes *in)
{
	static struct page *pages[100];
	u64 most = 1 + byte(in) % ARRAY_SIZE(pages), nr = 0;

	for (unsigned i = nr_live; i-- > 0 && nr < most;)
		if (!live[i].order)
			pages[nr++] = gives(i);
	free_pages_bulk(nr, pages);
}

/* Frees that must be refused, with nothing changed. */
static void wrong(struct bytes *in)
{
	u8 how = byte(in), which = byte(in);
	u64 pfn;
	struct live l = nr_live ? live[which % nr_live] : freed;
	struct call c = { .order = l.order, .page = pfn_to_page(l.pfn) };

	switch (how % 8) {
	case 0:
		c = (struct call){ .order = freed.order, .page = pfn_to_page(freed.pfn) };
		break;
	case 1:
		c.order += 1 + which % 2;
		break;
	case 2:
		c.order = c.order ? c.order - 1 : 3;
		break;
	case 3:
		c.page += 1;
		break;
	case 4:
		c.page = (void *)c.page + 1 + which % 15;
		break;
	case 5:
		c.page = pfn_to_page(0x400 + which);
		break;
	case 6:
		c.page = pfn_to_page(which & 1 ? 0x1a00u + which : FRAMES + which);
		break;
	default:
		c.page = which & 1 ? NULL : (void *)~7ul;
	}
	pfn = IS_ALIGNED((vaddr_t)c.page, sizeof(*c.page)) ? page_to_pfn(c.page) : FRAMES;
	if (pfn < FRAMES && pfn_valid(pfn) && !is_free[pfn] && c.page->state == PG_ALLOC &&
	    c.page->order == c.order)
		return; /* right after all, or mm's own */
	EXPECT_PANIC(do_free, &c, "__free_pages: ");
}

static void compare_lists(void)
{
	u64 blocks[MAX_ORDER + 1] = { 0 };
	struct page_stats stats;

	for (bool *at = is_free; (at = memchr(at, true, is_free + FRAMES - at));) {
		unsigned order = MAX_ORDER;

		while (!block_is_free(at - is_free, order))
			order--;
		blocks[order]++;
		at += 1ul << order;
	}
	page_stats(&stats);
	EXPECT(!memcmp(blocks, stats.free_blocks, sizeof(blocks)));
	EXPECT(stats.total == total && stats.free == nr_free);
	EXPECT_EQ(stats.state[PG_ALLOC], held_at_first + free_at_first - nr_free);
}

static void look(struct bytes *in)
{
	u64 pfn = word(in) % (FRAMES + 100);
	struct page *head = page_head(pfn);

	if (pfn < FRAMES && is_free[pfn])
		EXPECT(head && (head->state == PG_FREE || head->state == PG_STOCK));
	for (unsigned i = 0; i < nr_live; i++)
		if (pfn - live[i].pfn < 1ul << live[i].order)
			EXPECT_EQ(page_to_pfn(head), live[i].pfn);
	EXPECT_EQ(pfn_valid(pfn), (pfn && pfn < 0x9f) || (pfn >= 0x200 && pfn < 0x1a00) ||
					  (pfn >= 0x4001 && pfn < 0x4027));
}

static void check(void)
{
	mm_audit = (struct mm_audit){ .tell = fuzz_complain };
	page_alloc_check();
}

static void run(struct bytes *in)
{
	while (operation(in)) {
		u8 what = byte(in);

		if (what < 100 && nr_live < ARRAY_SIZE(live))
			alloc(in);
		else if (what < 190 && nr_live)
			release(byte(in) % nr_live, what & 1);
		else if (what < 200 && nr_live + 100 < ARRAY_SIZE(live))
			bulk(in);
		else if (what < 210)
			bulk_free(in);
		else if (what < 230)
			wrong(in);
		else if (what < 250)
			look(in);
		else if (what < 253)
			drain_all_pages();
		else
			compare_lists();
		EXPECT_EQ(nr_free_pages(), nr_free);
	}
	if (fuzz_operations % 16 == 0)
		check();
	while (nr_live)
		release(nr_live - 1, false);
	compare_lists();
}

FUZZ_TARGET(buddy, setup, run);
