/*
 * drill_test.c - before all tests of lab 1: does what is given back come back, and is a block split?
 *
 * Where put_block() lists a frame twice, or loses one, memory is spoiled. What breaks next, and in
 * which test, is chance, and has nothing to do with that test. So the first question is this one, at
 * a place of our own: eight frames come back in an order that leads past neighbours that are no
 * buddies, and past buddies of which only a part is free. Then single frames, more than there are
 * before a larger block is split. Whether all is merged that can be is for tests to say.
 */
#include <mm/page_alloc.h>

#include "../../tests/test.h"

static void come_back(struct page *block)
{
	static const u8 turn[] = { 2, 1, 0, 3, 5, 4, 6, 7 };
	u64 before = nr_free_pages(), listed;

	for (u64 i = 0; i < ARRAY_SIZE(turn); i++)
		block[i].state_and_order = PAGE_IS(PG_STOCK, 0);
	for (u64 i = 0; i < ARRAY_SIZE(turn); i++) {
		give_blocks(block + turn[i], 0, ~0u); /* this one only, and at once */
		listed = nr_free_pages() - before;
		if (listed != i + 1)
			return test_fail(__FILE__, __LINE__,
					 listed > i ? "put_block() listed a frame twice:" :
						      "put_block() lost a frame:",
					 "%lu came back one by one, %lu are free", i + 1, listed);
	}
}

/* A range of RAM has at most two blocks of one frame, and there are few ranges. */
static void are_split(void)
{
	static struct page *single[64];
	u64 nr = 0;

	while (nr < ARRAY_SIZE(single) && (single[nr] = alloc_pages(GFP_KERNEL, 0)))
		nr++;
	if (nr < ARRAY_SIZE(single))
		test_fail(__FILE__, __LINE__, "take_block() splits larger blocks:",
			  "there were %lu single frames, and then no more, though %lu are free", nr,
			  nr_free_pages());
	free_pages_bulk(nr, single);
}

void drill(void)
{
	struct page *block = alloc_pages(GFP_KERNEL, 3);

	if (block)
		come_back(block);
	if (!test_failed())
		are_split();
}
