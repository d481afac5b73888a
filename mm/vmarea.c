/*
 * vmarea.c - which addresses of a window are free.
 *
 * Behind every area lies a free range, perhaps of no pages, and one lies at the window's start. So
 * n areas have n + 1 ranges, always: an allocation brings the range behind the new area along, a
 * free takes the one behind the old area away, and freeing, which must not fail, needs no memory.
 *
 *	|........|#|==========|.............|#|====|#|===============|......|
 *	 range 0     an area      range 1    areas, range 2 between   range 3
 *
 * All are nodes of a treap: a search tree by address and at once a heap by a random priority, which
 * keeps it as shallow as a tree built in random order, about 2 log2(n), whatever the callers do.
 * Two operations make all others: split (the tree into what lies before an address and what lies
 * behind) and join (two trees, all of one before all of the other).
 *
 * Each node also knows the largest range in its subtree. To find room, go left while the left has
 * a range that is large enough: that leads to the lowest address that fits, without looking at
 * ranges that do not.
 *
 *	            [40..60) largest 90
 *	           /                  \
 *	   [10..15) largest 5     [70..160) largest 90
 *
 * A request for n pages takes n + 1: the guard before them, too. Areas come and go in stocks
 * (vmstock.c) far more often than here.
 */
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
	u64 at;	      /* the answer: its guard's page number */
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

static struct vmrange *update(struct vmrange *node)
{
	node->largest = largest_in(node);
	return node;
}

static void split(struct vmrange *tree, u64 at, struct vmrange **before, struct vmrange **behind)
{
	if (!tree) {
		*before = *behind = NULL;
	} else if (tree->start < at) {
		split(tree->right, at, &tree->right, behind);
		*before = update(tree);
	} else {
		split(tree->left, at, before, &tree->left);
		*behind = update(tree);
	}
}

static struct vmrange *join(struct vmrange *before, struct vmrange *behind)
{
	if (!before || !behind)
		return before ? before : behind;
	if (before->priority > behind->priority) {
		before->right = join(before->right, behind);
		return update(before);
	}
	behind->left = join(before, behind->left);
	return update(behind);
}

static void insert(struct vmrange **tree, struct vmrange *node)
{
	if (!*tree || (*tree)->priority < node->priority) {
		split(*tree, node->start, &node->left, &node->right);
		*tree = node;
	} else {
		insert((*tree)->start < node->start ? &(*tree)->right : &(*tree)->left, node);
	}
	update(*tree);
}

/* Can the request lie in this range? */
static bool place(const struct vmrange *range, struct request *rq)
{
	rq->at = ALIGN_UP(MAX(range->start, rq->lo) + 1, rq->align) - 1;
	return rq->at + rq->nr_pages <= MIN(end_of(range), rq->hi);
}

/* The first range where it can lie, not looking at those smaller than need. */
static struct vmrange *fit(struct vmrange *tree, struct request *rq, u64 need)
{
	for (struct vmrange *found; tree && tree->largest >= need; tree = tree->right) {
		if (tree->start > rq->lo && (found = fit(tree->left, rq, need)))
			return found;
		if (tree->nr_pages >= need && place(tree, rq))
			return tree;
		if (end_of(tree) >= rq->hi)
			break;
	}
	return NULL;
}

int vmarea_alloc(struct vmwindow *w, u64 nr_pages, u64 align, vaddr_t lo, vaddr_t hi, vaddr_t *va)
{
	struct request rq = { .nr_pages = nr_pages + 1,
			      .align = align >> PAGE_SHIFT,
			      .lo = (lo >> PAGE_SHIFT) + !IS_ALIGNED(lo, PAGE_SIZE),
			      .hi = hi >> PAGE_SHIFT };
	struct vmrange *range, *new;

	if (!nr_pages || align < PAGE_SIZE || align & (align - 1))
		return -EINVAL;
	if (nr_pages > w->end || rq.align > w->end) /* no sum of those wraps */
		return -ENOSPC;
	/* One with room for any alignment is found in O(log n). Only else look at those that may fit. */
	range = fit(w->free, &rq, rq.nr_pages + rq.align - 1);
	if (!range && rq.align > 1)
		range = fit(w->free, &rq, rq.nr_pages);
	if (!range)
		return -ENOSPC;
	new = kmem_cache_alloc(node_cache, __GFP_NORECLAIM);
	if (!new)
		return -ENOMEM;
	*new = (struct vmrange){ rq.at + rq.nr_pages, .priority = random_next(&priorities) };
	new->nr_pages = end_of(range) - new->start;
	range->nr_pages = rq.at - range->start;
	insert(&w->free, new); /* on the way it passes range, and updates */
	w->nr_used++;
	w->pages_free -= rq.nr_pages;
	*va = (rq.at + 1) << PAGE_SHIFT;
	return 0;
}

void vmarea_free(struct vmwindow *w, vaddr_t va, u64 nr_pages, vaddr_t *lo, vaddr_t *hi)
{
	u64 start = (va >> PAGE_SHIFT) - 1, end = start + 1 + nr_pages;
	struct vmrange *before, *range, *gone, *behind;

	split(w->free, end, &before, &behind);
	split(behind, end + 1, &gone, &behind);
	for (range = before; range && range->right;)
		range = range->right;
	BUG_ON(!gone || !range || end_of(range) != start);
	split(before, range->start, &before, &range);
	range->nr_pages = end_of(gone) - range->start;
	w->free = join(join(before, update(range)), behind);
	w->nr_used--;
	w->pages_free += nr_pages + 1;
	*lo = range->start << PAGE_SHIFT;
	*hi = end_of(range) << PAGE_SHIFT;
	kmem_cache_free(node_cache, gone);
}

int vmwindow_init(struct vmwindow *w, vaddr_t start, vaddr_t end)
{
	struct vmrange *all;

	if (!node_cache)
		node_cache = kmem_cache_create("vmrange", sizeof(struct vmrange), 0);
	all = node_cache ? kmem_cache_alloc(node_cache, 0) : NULL;
	if (!all)
		return -ENOMEM;
	*w = (struct vmwindow){ .start = start >> PAGE_SHIFT,
				.end = (end >> PAGE_SHIFT) - 1,
				.free = all };
	w->pages_free = w->end - w->start;
	*all = (struct vmrange){ w->start, w->pages_free, .largest = w->pages_free };
	return 0;
}

bool vmwindow_is_free(const struct vmwindow *w, vaddr_t lo, vaddr_t hi)
{
	struct request any = { 1, 1, lo >> PAGE_SHIFT, hi >> PAGE_SHIFT, 0 };

	return fit(w->free, &any, 1);
}

/* Each range in turn, as the lowest that lies, or ends, behind the one before. */
void vmwindow_check(struct vmwindow *w)
{
	struct request any = { .align = 1, .lo = w->start, .hi = ~0ul };
	u64 ranges = 0, pages = 0;

	for (struct vmrange *node; (node = fit(w->free, &any, 0)); any.lo = end_of(node) + 1) {
		if (node->start < any.lo || end_of(node) > w->end)
			COMPLAIN("free range at page 0x%lx, %lu pages: not in 0x%lx..0x%lx",
				 node->start, node->nr_pages, any.lo, w->end);
		if (node->largest != largest_in(node) ||
		    (node->left && node->left->priority > node->priority) ||
		    (node->right && node->right->priority > node->priority))
			COMPLAIN("free range at page 0x%lx: largest below is not %lu, or no heap",
				 node->start, node->largest);
		ranges++;
		pages += node->nr_pages;
	}
	check_equal("free ranges of the window", ranges, w->nr_used + 1);
	check_equal("free pages of the window", pages, w->pages_free);
}
