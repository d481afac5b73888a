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
 * Freeing must not fail, so it must not need memory. Each range in use sets aside one node when it is
 * allocated: its place in the tree when it is freed. Nodes that merging with a neighbour makes
 * superfluous go back to the slab. Areas come and go in stocks (vmstock.c) far more often than here.
 */
#include <kernel/panic.h>
#include <kernel/random.h>
#include <mm/slab.h>
#include <mm/vmarea.h>

static struct kmem_cache *node_cache;
static u64 priorities; /* state of their random sequence */

struct request {
	u64 nr_pages; /* guard included */
	u64 align;    /* pages; of the page behind the guard */
	u64 lo, hi;   /* page numbers */
	u64 need;     /* do not look at ranges smaller than this */
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

static void update(struct vmrange *node)
{
	u64 below = MAX(largest_of(node->left), largest_of(node->right));

	node->largest = MAX(node->nr_pages, below);
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

static void tree_insert(struct vmwindow *w, struct vmrange *node, u64 start, u64 end)
{
	struct vmrange *before, *behind;

	*node = (struct vmrange){ .start = start, .nr_pages = end - start };
	node->largest = node->nr_pages;
	node->priority = random_next(&priorities);
	split(w->free, start, &before, &behind);
	w->free = join(join(before, node), behind);
	w->nr_free_ranges++;
}

static void tree_remove(struct vmwindow *w, struct vmrange *node)
{
	struct vmrange *before, *self, *behind;

	split(w->free, node->start, &before, &self);
	split(self, node->start + 1, &self, &behind);
	BUG_ON(self != node);
	w->free = join(before, behind);
	w->nr_free_ranges--;
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

static struct vmrange *fit(struct vmrange *tree, const struct request *rq, u64 *at)
{
	struct vmrange *found = NULL;

	if (largest_of(tree) < rq->need)
		return NULL;
	if (tree->start > rq->lo)
		found = fit(tree->left, rq, at);
	if (!found && place(tree, rq, at))
		found = tree;
	if (!found && end_of(tree) < rq->hi)
		found = fit(tree->right, rq, at);
	return found;
}

/*
 * A range with room for any alignment is found in O(log n); only when there is none, look at those
 * that are large enough by luck.
 */
static struct vmrange *find_room(const struct vmwindow *w, struct request *rq, u64 *at)
{
	struct vmrange *found;

	rq->need = rq->nr_pages + rq->align - 1;
	found = fit(w->free, rq, at);
	rq->need = rq->nr_pages;
	return found || rq->align == 1 ? found : fit(w->free, rq, at);
}

/* Nodes */

static void put_nodes(struct vmrange *list)
{
	while (list) {
		struct vmrange *node = list;

		list = node->next;
		kmem_cache_free(node_cache, node);
	}
}

static void push(struct vmrange **list, struct vmrange *node)
{
	node->next = *list;
	*list = node;
}

static struct vmrange *pop(struct vmrange **list)
{
	struct vmrange *node = *list;

	BUG_ON(!node);
	*list = node->next;
	return node;
}

/* What an allocation may need: a node for the rest behind it, and one to set aside. */
static struct vmrange *get_nodes(void)
{
	struct vmrange *one = kmem_cache_alloc(node_cache, __GFP_NORECLAIM | __GFP_ZERO);

	if (one)
		one->next = kmem_cache_alloc(node_cache, __GFP_NORECLAIM | __GFP_ZERO);
	if (one && one->next)
		return one;
	put_nodes(one);
	return NULL;
}

/* Cut [at, at + nr_pages) out of a free range; what is left of it, before and behind, stays free. */
static void carve(struct vmwindow *w, struct vmrange *range, u64 at, u64 nr_pages,
		  struct vmrange **nodes)
{
	u64 start = range->start, end = end_of(range);

	tree_remove(w, range);
	push(nodes, range);
	if (start < at)
		tree_insert(w, pop(nodes), start, at);
	if (at + nr_pages < end)
		tree_insert(w, pop(nodes), at + nr_pages, end);
}

/* The allocator */

int vmarea_alloc(struct vmwindow *w, u64 nr_pages, u64 align, vaddr_t lo, vaddr_t hi, vaddr_t *va)
{
	struct request rq = { .nr_pages = nr_pages + 1, .align = align >> PAGE_SHIFT };
	struct vmrange *nodes, *range;
	irqflags_t flags;
	u64 at;

	rq.lo = MAX((lo >> PAGE_SHIFT) + !IS_ALIGNED(lo, PAGE_SIZE), w->start);
	rq.hi = MIN(hi >> PAGE_SHIFT, w->end);
	if (!nr_pages || align < PAGE_SIZE || align & (align - 1))
		return -EINVAL;
	if (rq.lo >= rq.hi || nr_pages >= rq.hi - rq.lo || rq.align > w->end)
		return -ENOSPC;
	nodes = get_nodes();
	if (!nodes)
		return -ENOMEM;
	flags = spin_lock(&w->lock);
	range = find_room(w, &rq, &at);
	if (range) {
		carve(w, range, at, rq.nr_pages, &nodes);
		push(&w->spare, pop(&nodes));
		w->nr_used++;
		w->pages_free -= rq.nr_pages;
		*va = (at + 1) << PAGE_SHIFT;
	}
	spin_unlock(&w->lock, flags);
	put_nodes(nodes);
	return range ? 0 : -ENOSPC;
}

/* Take a neighbour into the range, if there is one: the free range that ends or starts at this page. */
static void absorb(struct vmwindow *w, struct vmrange *range, u64 at, struct vmrange **superfluous)
{
	struct vmrange *other = tree_find(w, at);

	if (!other || (other->start != at && end_of(other) != at))
		return;
	tree_remove(w, other);
	range->start = MIN(range->start, other->start);
	range->nr_pages += other->nr_pages;
	push(superfluous, other);
}

void vmarea_free(struct vmwindow *w, vaddr_t va, u64 nr_pages, vaddr_t *lo, vaddr_t *hi)
{
	struct vmrange *superfluous = NULL, *range;
	irqflags_t flags = spin_lock(&w->lock);

	range = pop(&w->spare);
	range->start = (va >> PAGE_SHIFT) - 1;
	range->nr_pages = nr_pages + 1;
	w->nr_used--;
	w->pages_free += range->nr_pages;
	absorb(w, range, range->start, &superfluous);
	absorb(w, range, end_of(range), &superfluous);
	tree_insert(w, range, range->start, end_of(range));
	*lo = range->start << PAGE_SHIFT;
	*hi = end_of(range) << PAGE_SHIFT;
	spin_unlock(&w->lock, flags);
	put_nodes(superfluous);
}

int vmwindow_init(struct vmwindow *w, vaddr_t start, vaddr_t end)
{
	struct vmrange *all;

	if (!node_cache)
		node_cache = kmem_cache_create("vmrange", sizeof(struct vmrange), 0);
	all = node_cache ? kmem_cache_alloc(node_cache, GFP_KERNEL) : NULL;
	if (!all)
		return -ENOMEM;
	*w = (struct vmwindow){ .lock = SPINLOCK("vmwindow", LOCK_WINDOW),
				.start = start >> PAGE_SHIFT,
				.end = (end >> PAGE_SHIFT) - 1 };
	w->pages_free = w->end - w->start;
	tree_insert(w, all, w->start, w->end);
	return 0;
}

void vmwindow_destroy(struct vmwindow *w)
{
	BUG_ON(w->nr_used);
	kmem_cache_free(node_cache, w->free);
	w->free = NULL;
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
	u64 ranges, pages, last_end, faults;
	complain_fn complain;
};

#define COMPLAIN(tally, ...) ((tally)->faults++, (tally)->complain(__VA_ARGS__))

static void check_node(const struct vmrange *node, const struct vmrange *above, struct tally *tally)
{
	if (!node)
		return;
	check_node(node->left, node, tally);
	if (!node->nr_pages || (tally->ranges && node->start <= tally->last_end))
		COMPLAIN(tally, "free range at page 0x%lx, %lu pages: the one before ends at 0x%lx",
			 node->start, node->nr_pages, tally->last_end);
	if (node->largest !=
	    MAX(node->nr_pages, MAX(largest_of(node->left), largest_of(node->right))))
		COMPLAIN(tally, "free range at page 0x%lx: largest below is not %lu", node->start,
			 node->largest);
	if (above && above->priority < node->priority)
		COMPLAIN(tally, "free range at page 0x%lx is no heap", node->start);
	tally->ranges++;
	tally->pages += node->nr_pages;
	tally->last_end = end_of(node);
	check_node(node->right, node, tally);
}

u64 vmwindow_check(struct vmwindow *w, complain_fn complain)
{
	struct tally tally = { .complain = complain };

	check_node(w->free, NULL, &tally);
	if (tree_find(w, w->start - 1) || tally.last_end > w->end)
		COMPLAIN(&tally, "window: a free range reaches out of it");
	if (tally.ranges != w->nr_free_ranges || tally.pages != w->pages_free)
		COMPLAIN(&tally,
			 "window: %lu free ranges of %lu pages counted, %lu of %lu recorded",
			 tally.ranges, tally.pages, w->nr_free_ranges, w->pages_free);
	return tally.faults;
}
