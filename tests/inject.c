/*
 * inject.c - fault injection: which requests for memory fail.
 *
 * In a checking build mm/ asks mm_injector, if there is one, before it hands out frames (tables are
 * frames, too) or an object of a slab. Requests are counted from the moment an order is given: the
 * n-th fails; or the n-th and all after it, as where memory has run out; or some, drawn at random.
 */
#include <kernel/random.h>
#include <mm/page_alloc.h>

#include "inject.h"

static struct inject_order order;
static u64 seen, struck, die;

static bool fails(void)
{
	seen++;
	if (order.one_in)
		return (random_next(&die) >> 33) % order.one_in == 0;
	return seen == order.nth || (order.and_after && seen > order.nth);
}

static bool injector(bool object)
{
	bool failed = !(object && order.frames_only) && fails();

	struck += failed;
	return failed;
}

u64 inject(struct inject_order next)
{
	u64 before = struck;

	order = next;
	die = next.seed;
	seen = struck = 0;
	mm_injector = CHECKING && (next.nth || next.one_in) ? injector : NULL;
	return before;
}

bool page_alloc_fail_nth(u64 n)
{
	bool waiting = mm_injector && !struck;

	inject((struct inject_order){ .nth = n, .frames_only = true });
	return waiting;
}
