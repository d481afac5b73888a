/*
 * vmarea.c - which addresses of a window are free.
 *
 * Every free range is one node of a treap: a search tree by address and at once a heap by a random
 * priority, which keeps it as shallow as a tree built in random order, about 2 log2(n), whatever the
 * callers do. Two operations make all others: split (the tree into what lies before an address and
 * what lies behind) and join (two trees, all of one before all of the other).
 *
 * Each node also knows the largest range in its subtree. To find room, go left while the left has
 * a range that is large enough: that leads to the lowest address that fits, without looking at
 * ranges that do not.
 *
 *	            [40..60) largest 90
 *	           /                  \
 *	   [10..15) largest 5     [70..160) largest 90
 *
 * An area is its pages and one guard page before them, so a request for n pages takes n + 1. The
 * guard of the next area, or free space, ends it; the window's last page is never given away.
 *
 * Freeing must not fail, so it must not need memory. Between ranges in use there is at most one free
 * range, so n of them never need more than n + 1 nodes: each allocation brings one along, each
 * free takes one away, and those that are not in the tree are set aside. Areas come and go in stocks
 * (vmstock.c) far more often than here.
 */
#include <kernel/panic.h>
#include <kernel/random.h>
#include <mm/mm.h>
#include <mm/slab.h>
#include <mm/vmarea.h>

static struct kmem_cache *node_cache;
static u64 priorities; /* state of their random sequence */

struct request {
	u64 nr_pages; /* guard included */
	u64 align;    /* pages; of the page behind the guard */
	u64 lo, hi;   /* page numbers */
};

static u64 end_of(const struct vmrange *range) /* exclusive */
{
	return range->start + range->nr_pages;
}

/* The treap */

static u64 largest_of(const struct vmrange *tree)
{
	return tree ? tree->largest : 0;
}

static u64 largest_in(const struct vmrange *node)
{
	return MAX(node->nr_pages, MAX(largest_of(node->left), largest_of(node->right)));
}

static void update(struct vmrange *node)
{
	node->largest = largest_in(node);
}

static void split(struct vmrange *tree, u64 at, struct vmrange **before, struct vmrange **behind)
{
	if (!tree) {
		*before = *behind = NULL;
	} else if (tree->start < at) {
		split(tree->right, at, &tree->right, behind);
		*before = tree;
		update(tree);
	} else {
		split(tree->left, at, before, &tree->left);
		*behind = tree;
		update(tree);
	}
}

static struct vmrange *join(struct vmrange *before, struct vmrange *behind)
{
	if (!before || !behind)
		return before ? before : behind;
	if (before->priority > behind->priority) {
		before->right = join(before->right, behind);
		update(before);
		return before;
	}
	behind->left = join(before, behind->left);
	update(behind);
	return behind;
}

/* [start, end), if there is anything in it, is free; its node comes from those set aside. */
static void tree_insert(struct vmwindow *w, u64 start, u64 end)
{
	struct vmrange *node = w->spare, *before, *behind;

	if (start == end)
		return;
	w->spare = node->next;
	*node = (struct vmrange){ .start = start, .nr_pages = end - start };
	node->largest = node->nr_pages;
	node->priority = random_next(&priorities);
	split(w->free, start, &before, &behind);
	w->free = join(join(before, node), behind);
}

static void set_aside(struct vmwindow *w, struct vmrange *node)
{
	node->next = w->spare;
	w->spare = node;
}

static void tree_remove(struct vmwindow *w, struct vmrange *node)
{
	struct vmrange *before, *self, *behind;

	split(w->free, node->start, &before, &self);
	split(self, node->start + 1, &self, &behind);
	BUG_ON(self != node);
	w->free = join(before, behind);
	set_aside(w, node);
}

/* The last free range that starts at or before this page. */
static struct vmrange *tree_find(const struct vmwindow *w, u64 at)
{
	struct vmrange *found = NULL;

	for (struct vmrange *node = w->free; node;) {
		if (node->start <= at) {
			found = node;
			node = node->right;
		} else {
			node = node->left;
		}
	}
	return found;
}

/* Can the request lie in this range? Where is then *at, its guard page. */
static bool place(const struct vmrange *range, const struct request *rq, u64 *at)
{
	u64 first = ALIGN_UP(MAX(range->start, rq->lo) + 1, rq->align);

	*at = first - 1;
	return *at + rq->nr_pages <= MIN(end_of(range), rq->hi);
}

/* The first range where it can lie, not looking at those smaller than need. */
static struct vmrange *fit(struct vmrange *tree, const struct request *rq, u64 need, u64 *at)
{
	struct vmrange *found = NULL;

	if (largest_of(tree) < need)
		return NULL;
	if (tree->start > rq->lo)
		found = fit(tree->left, rq, need, at);
	if (!found && place(tree, rq, at))
		found = tree;
	if (!found && end_of(tree) < rq->hi)
		found = fit(tree->right, rq, need, at);
	return found;
}

/* Cut the request out of a free range, what is left before and behind stays free. False: no room. */
static bool carve(struct vmwindow *w, const struct request *rq, u64 *at)
{
	/* One with room for any alignment is found in O(log n). Only else look at those that may fit. */
	struct vmrange *range = fit(w->free, rq, rq->nr_pages + rq->align - 1, at);
	u64 start, end;

	if (!range && rq->align > 1)
		range = fit(w->free, rq, rq->nr_pages, at);
	if (!range)
		return false;
	start = range->start;
	end = end_of(range);
	tree_remove(w, range);
	tree_insert(w, start, *at);
	tree_insert(w, *at + rq->nr_pages, end);
	w->nr_used++;
	w->pages_free -= rq->nr_pages;
	return true;
}

int vmarea_alloc(struct vmwindow *w, u64 nr_pages, u64 align, vaddr_t lo, vaddr_t hi, vaddr_t *va)
{
	struct request rq = { .nr_pages = nr_pages + 1, .align = align >> PAGE_SHIFT };
	struct vmrange *node;
	irqflags_t flags;
	bool found;
	u64 at;

	rq.lo = MAX((lo >> PAGE_SHIFT) + !IS_ALIGNED(lo, PAGE_SIZE), w->start);
	rq.hi = MIN(hi >> PAGE_SHIFT, w->end);
	if (!nr_pages || align < PAGE_SIZE || align & (align - 1))
		return -EINVAL;
	if (rq.lo >= rq.hi || nr_pages >= rq.hi - rq.lo || rq.align > w->end)
		return -ENOSPC;
	node = kmem_cache_alloc(node_cache, __GFP_NORECLAIM);
	if (!node)
		return -ENOMEM;
	flags = spin_lock(&w->lock);
	set_aside(w, node);
	found = carve(w, &rq, &at);
	if (!found)
		w->spare = node->next;
	spin_unlock(&w->lock, flags);
	if (found)
		*va = (at + 1) << PAGE_SHIFT;
	else
		kmem_cache_free(node_cache, node);
	return found ? 0 : -ENOSPC;
}

/* Take the free range that ends or starts at this page, if there is one, into [*start, *end). */
static void absorb(struct vmwindow *w, u64 at, u64 *start, u64 *end)
{
	struct vmrange *range = tree_find(w, at);

	if (!range || (range->start != at && end_of(range) != at))
		return;
	*start = MIN(*start, range->start);
	*end = MAX(*end, end_of(range));
	tree_remove(w, range);
}

void vmarea_free(struct vmwindow *w, vaddr_t va, u64 nr_pages, vaddr_t *lo, vaddr_t *hi)
{
	u64 start = (va >> PAGE_SHIFT) - 1, end = start + 1 + nr_pages;
	struct vmrange *node;
	irqflags_t flags;

	BUG_ON(!w->nr_used);
	flags = spin_lock(&w->lock);
	w->nr_used--;
	w->pages_free += nr_pages + 1;
	absorb(w, start, &start, &end);
	absorb(w, end, &start, &end);
	tree_insert(w, start, end);
	node = w->spare;
	w->spare = node->next;
	spin_unlock(&w->lock, flags);
	*lo = start << PAGE_SHIFT;
	*hi = end << PAGE_SHIFT;
	kmem_cache_free(node_cache, node);
}

int vmwindow_init(struct vmwindow *w, vaddr_t start, vaddr_t end)
{
	if (!node_cache)
		node_cache = kmem_cache_create("vmrange", sizeof(struct vmrange), 0);
	*w = (struct vmwindow){ .lock = SPINLOCK("vmwindow", LOCK_WINDOW),
				.start = start >> PAGE_SHIFT,
				.end = (end >> PAGE_SHIFT) - 1 };
	w->pages_free = w->end - w->start;
	w->spare = node_cache ? kmem_cache_alloc(node_cache, __GFP_ZERO) : NULL;
	if (!w->spare)
		return -ENOMEM;
	tree_insert(w, w->start, w->end);
	return 0;
}

bool vmwindow_is_free(struct vmwindow *w, vaddr_t lo, vaddr_t hi)
{
	irqflags_t flags = spin_lock(&w->lock);
	struct vmrange *range = tree_find(w, (hi >> PAGE_SHIFT) - 1);
	bool reaches_in = range && end_of(range) > lo >> PAGE_SHIFT;

	spin_unlock(&w->lock, flags);
	return reaches_in;
}

u64 vmwindow_largest(struct vmwindow *w)
{
	irqflags_t flags = spin_lock(&w->lock);
	u64 largest = largest_of(w->free);

	spin_unlock(&w->lock, flags);
	return largest;
}

/* Checking */

struct tally {
	u64 ranges, pages, last_end;
};

static void check_node(const struct vmrange *node, const struct vmrange *above, struct tally *tally)
{
	if (!node)
		return;
	check_node(node->left, node, tally);
	if (!node->nr_pages || (tally->ranges && node->start <= tally->last_end))
		COMPLAIN("free range at page 0x%lx, %lu pages: the one before ends at 0x%lx",
			 node->start, node->nr_pages, tally->last_end);
	if (node->largest != largest_in(node))
		COMPLAIN("free range at page 0x%lx: largest below is not %lu", node->start,
			 node->largest);
	if (above && above->priority < node->priority)
		COMPLAIN("free range at page 0x%lx is no heap", node->start);
	tally->ranges++;
	tally->pages += node->nr_pages;
	tally->last_end = end_of(node);
	check_node(node->right, node, tally);
}

void vmwindow_check(struct vmwindow *w)
{
	struct tally tally = { 0 };
	u64 aside = 0;

	check_node(w->free, NULL, &tally);
	for (const struct vmrange *node = w->spare; node && aside <= w->nr_used; node = node->next)
		aside++;
	if (tree_find(w, w->start - 1) || tally.last_end > w->end)
		COMPLAIN("window: a free range reaches out of it");
	check_equal("nodes of the window", tally.ranges + aside, w->nr_used + 1);
	check_equal("free pages of the window", tally.pages, w->pages_free);
}
