/*
 * The range allocator against a model of one byte a page, and at its edges.
 */
#include <kernel/printk.h>
#include <kernel/string.h>
#include <mm/mm.h>
#include <mm/page_alloc.h>
#include <mm/slab.h>
#include <mm/vmarea.h>

#include "../test.h"

#define START 0x7000000000ul
#define PAGES 600ul /* of the test's window, its last, ungiven page included */
#define END (START + PAGES * PAGE_SIZE)

static struct vmwindow w;
static char taken[PAGES]; /* the model */

struct live {
	vaddr_t va;
	u64 nr_pages;
};

static unsigned complaints;
static char complaint[160]; /* the first */

static void complain(const char *fmt, ...)
{
	va_list args;

	if (complaints++)
		return;
	va_start(args, fmt);
	vsnprintf(complaint, sizeof(complaint), fmt, args);
	va_end(args);
}

static bool sound(void)
{
	complaints = 0;
	mm_audit = (struct mm_audit){ .tell = complain };
	vmwindow_check(&w);
	return mm_audit.faults == 0 && complaints == 0;
}

#define EXPECT_SOUND()                                                                       \
	do {                                                                                 \
		if (!sound()) {                                                              \
			test_fail(__FILE__, __LINE__, "vmwindow_check():", "%s", complaint); \
			return;                                                              \
		}                                                                            \
	} while (0)

/* With nothing in use. */
static void destroy(void)
{
	BUG_ON(w.nr_used || w.free->left || w.free->right);
	kfree(w.free);
}

/* Not counting those of no pages, between areas that touch. */
static u64 ranges_in(const struct vmrange *tree)
{
	return tree ? ranges_in(tree->left) + (tree->nr_pages != 0) + ranges_in(tree->right) : 0;
}

/* The answer, found by trying every page: the guard's page number in the window, or PAGES. */
static u64 model_first_fit(u64 nr_pages, u64 align)
{
	for (u64 at = 0; at + nr_pages + 1 < PAGES; at++) {
		u64 run = 0;

		if (!IS_ALIGNED(START + (at + 1) * PAGE_SIZE, align))
			continue;
		while (run <= nr_pages && !taken[at + run])
			run++;
		if (run == nr_pages + 1)
			return at;
	}
	return PAGES;
}

static u64 model_index(vaddr_t va)
{
	return (va - START) / PAGE_SIZE;
}

static void free_range(vaddr_t va, u64 nr_pages)
{
	vaddr_t lo, hi;

	vmarea_free(&w, va, nr_pages, &lo, &hi);
}

TEST(vmarea, lowest_fit_as_the_model)
{
	struct live live[64] = { 0 };

	memset(taken, 0, sizeof(taken));
	EXPECT_EQ(vmwindow_init(&w, START, END), 0);
	for (int round = 0; round < 3000; round++) {
		struct live *l = &live[test_random() % ARRAY_SIZE(live)];

		if (l->va) {
			memset(&taken[model_index(l->va) - 1], 0, l->nr_pages + 1);
			free_range(l->va, l->nr_pages);
			l->va = 0;
		} else {
			u64 n = 1 + test_random() % 24, at = model_first_fit(n, PAGE_SIZE);
			int error = vmarea_alloc(&w, n, PAGE_SIZE, START, END, &l->va);

			EXPECT_EQ(error, at == PAGES ? -ENOSPC : 0);
			l->va = error ? 0 : l->va;
			if (error)
				continue;
			EXPECT_EQ(model_index(l->va), at + 1);
			l->nr_pages = n;
			memset(&taken[at], 1, n + 1);
		}
		if (round % 64 == 0)
			EXPECT_SOUND();
	}
	for (unsigned i = 0; i < ARRAY_SIZE(live); i++)
		if (live[i].va)
			free_range(live[i].va, live[i].nr_pages);
	EXPECT_SOUND();
	EXPECT_EQ(ranges_in(w.free), 1);
	EXPECT_EQ(w.free->largest, PAGES - 1);
	destroy();
}

TEST(vmarea, alignment_and_limits)
{
	vaddr_t va, first;

	EXPECT_EQ(vmwindow_init(&w, START, START + 64 * MiB), 0);
	EXPECT_EQ(vmarea_alloc(&w, 3, PAGE_SIZE, START, START + 64 * MiB, &first), 0);
	EXPECT_EQ(first, START + PAGE_SIZE);
	for (u64 align = PAGE_SIZE; align <= 8 * MiB; align *= 2) {
		EXPECT_EQ(vmarea_alloc(&w, 5, align, START, START + 64 * MiB, &va), 0);
		EXPECT_EQ(va % align, 0);
		EXPECT_SOUND();
		free_range(va, 5);
	}
	EXPECT_EQ(vmarea_alloc(&w, 5, PAGE_SIZE, START + 8 * MiB, START + 9 * MiB, &va), 0);
	EXPECT_EQ(va, START + 8 * MiB + PAGE_SIZE);
	free_range(va, 5);
	EXPECT_EQ(vmarea_alloc(&w, 256, PAGE_SIZE, START + 8 * MiB, START + 9 * MiB, &va), -ENOSPC);
	EXPECT_EQ(vmarea_alloc(&w, 255, PAGE_SIZE, START + 8 * MiB, START + 9 * MiB, &va), 0);
	free_range(va, 255);
	free_range(first, 3);
	EXPECT_EQ(ranges_in(w.free), 1);
	destroy();
}

/* Before each area lies a page that belongs to it and is not given out; behind the last one, too. */
TEST(vmarea, guards)
{
	vaddr_t va, other;

	EXPECT_EQ(vmwindow_init(&w, START, START + 8 * PAGE_SIZE), 0);
	EXPECT_EQ(w.pages_free, 7); /* the last is nobody's */
	EXPECT_EQ(vmarea_alloc(&w, 2, PAGE_SIZE, START, END, &va), 0);
	EXPECT_EQ(va, START + PAGE_SIZE);
	EXPECT_EQ(w.pages_free, 4);
	EXPECT_EQ(vmarea_alloc(&w, 4, PAGE_SIZE, START, END, &other), -ENOSPC);
	EXPECT_EQ(vmarea_alloc(&w, 3, PAGE_SIZE, START, END, &other), 0);
	EXPECT_EQ(other, va + 3 * PAGE_SIZE);
	EXPECT_EQ(w.pages_free, 0);
	EXPECT_EQ(w.nr_used, 2);
	EXPECT_SOUND();
	free_range(va, 2);
	EXPECT_EQ(w.pages_free, 3);
	EXPECT_EQ(vmarea_alloc(&w, 3, PAGE_SIZE, START, END, &va), -ENOSPC);
	free_range(other, 3);
	EXPECT_EQ(w.pages_free, 7);
	EXPECT_SOUND();
	destroy();
}

/* The free range around what was freed is told: whose page tables may go hangs on it. */
TEST(vmarea, what_is_free_around)
{
	vaddr_t va[4], lo, hi;

	EXPECT_EQ(vmwindow_init(&w, START, START + 21 * PAGE_SIZE), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(va); i++) /* 5 pages each, with the guard: all 20 */
		EXPECT_EQ(vmarea_alloc(&w, 4, PAGE_SIZE, START, END, &va[i]), 0);
	EXPECT(!vmwindow_is_free(&w, START, END));
	vmarea_free(&w, va[1], 4, &lo, &hi); /* between two that are in use */
	EXPECT_EQ(lo, START + 5 * PAGE_SIZE);
	EXPECT_EQ(hi, START + 10 * PAGE_SIZE);
	EXPECT(vmwindow_is_free(&w, hi - PAGE_SIZE, hi));
	EXPECT(!vmwindow_is_free(&w, hi, END) && !vmwindow_is_free(&w, START, lo));
	vmarea_free(&w, va[3], 4, &lo, &hi); /* the last: up to the page that is nobody's */
	EXPECT_EQ(lo, START + 15 * PAGE_SIZE);
	EXPECT_EQ(hi, START + 20 * PAGE_SIZE);
	EXPECT_EQ(ranges_in(w.free), 2);
	vmarea_free(&w, va[2], 4, &lo, &hi); /* what is free before it and behind it is one now */
	EXPECT_EQ(lo, START + 5 * PAGE_SIZE);
	EXPECT_EQ(hi, START + 20 * PAGE_SIZE);
	EXPECT_EQ(ranges_in(w.free), 1);
	vmarea_free(&w, va[0], 4, &lo, &hi);
	EXPECT_EQ(lo, START);
	EXPECT_EQ(hi, START + 20 * PAGE_SIZE);
	EXPECT_SOUND();
	destroy();
}

/* A gap that fits only because it happens to be aligned must be found, too. */
TEST(vmarea, exact_aligned_gap)
{
	vaddr_t whole, va;

	EXPECT_EQ(vmwindow_init(&w, START, START + 4 * MiB), 0);
	EXPECT_EQ(vmarea_alloc(&w, 512, 2 * MiB, START, START + 4 * MiB, &va), -ENOSPC);
	EXPECT_EQ(vmarea_alloc(&w, 510, 2 * MiB, START, START + 4 * MiB, &whole), 0);
	EXPECT_EQ(whole, START + 2 * MiB);
	free_range(whole, 510);
	destroy();
	EXPECT_EQ(vmwindow_init(&w, START + MiB, START + 4 * MiB),
		  0); /* no room for any alignment */
	EXPECT_EQ(vmarea_alloc(&w, 511, 2 * MiB, START, START + 4 * MiB, &whole), 0);
	EXPECT_EQ(whole, START + 2 * MiB);
	free_range(whole, 511);
	destroy();
}

TEST(vmarea, refuses_nonsense)
{
	vaddr_t va = 1;

	EXPECT_EQ(vmwindow_init(&w, START, END), 0);
	EXPECT_EQ(vmarea_alloc(&w, 0, PAGE_SIZE, START, END, &va), -EINVAL);
	EXPECT_EQ(vmarea_alloc(&w, 1, 0, START, END, &va), -EINVAL);
	EXPECT_EQ(vmarea_alloc(&w, 1, 3 * PAGE_SIZE, START, END, &va), -EINVAL);
	EXPECT_EQ(vmarea_alloc(&w, PAGES - 1, PAGE_SIZE, START, END, &va), -ENOSPC);
	EXPECT_EQ(vmarea_alloc(&w, ~0ul, PAGE_SIZE, START, END, &va), -ENOSPC);
	EXPECT_EQ(vmarea_alloc(&w, ~0ul - 1, PAGE_SIZE, START, END, &va), -ENOSPC);
	EXPECT_EQ(vmarea_alloc(&w, 1, 1ul << 63, START, END, &va), -ENOSPC);
	EXPECT_EQ(vmarea_alloc(&w, 1, PAGE_SIZE, END, START, &va), -ENOSPC);
	EXPECT_EQ(vmarea_alloc(&w, PAGES - 1, 2 * PAGE_SIZE, START, END, &va), -ENOSPC);
	EXPECT_EQ(va, 1);
	EXPECT_EQ(vmarea_alloc(&w, PAGES - 2, PAGE_SIZE, START, END, &va), 0);
	EXPECT_EQ(ranges_in(w.free), 0);
	EXPECT_EQ(w.free->largest, 0);
	free_range(va, PAGES - 2);
	destroy();
}

/* Every second of many areas freed, then the rest: ranges split, then merge to one. */
TEST(vmarea, merges_both_neighbours)
{
	enum { N = 5000 };
	u64 bytes = (2 * N + 1) * PAGE_SIZE;
	vaddr_t va;

	EXPECT_EQ(vmwindow_init(&w, START, START + bytes), 0);
	for (u64 i = 0; i < N; i++) {
		EXPECT_EQ(vmarea_alloc(&w, 1, PAGE_SIZE, START, START + bytes, &va), 0);
		EXPECT_EQ(va, START + (2 * i + 1) * PAGE_SIZE);
	}
	EXPECT_EQ(vmarea_alloc(&w, 1, PAGE_SIZE, START, START + bytes, &va), -ENOSPC);
	for (u64 i = 0; i < N; i += 2)
		free_range(START + (2 * i + 1) * PAGE_SIZE, 1);
	EXPECT_EQ(ranges_in(w.free), N / 2);
	EXPECT_EQ(w.free->largest, 2);
	EXPECT_SOUND();
	for (u64 i = 1; i < N; i += 2)
		free_range(START + (2 * i + 1) * PAGE_SIZE, 1);
	EXPECT_EQ(ranges_in(w.free), 1);
	EXPECT_SOUND();
	destroy();
}

/* The lowest range, of no pages, is lost: what is freed behind it would be nobody's. */
TEST(vmarea, check_finds_a_lost_node)
{
	struct vmrange **lowest = &w.free, *lost;
	vaddr_t va[8];

	EXPECT_EQ(vmwindow_init(&w, START, END), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(va); i++)
		EXPECT_EQ(vmarea_alloc(&w, 1, PAGE_SIZE, START, END, &va[i]), 0);
	EXPECT_SOUND();
	while ((*lowest)->left)
		lowest = &(*lowest)->left;
	lost = *lowest;
	*lowest = lost->right;
	EXPECT(!sound());
	*lowest = lost;
	for (unsigned i = 0; i < ARRAY_SIZE(va); i++)
		free_range(va[i], 1);
	EXPECT_SOUND();
	destroy();
}

/* A node that has a child on this side; NULL: none has. */
static struct vmrange *with_child(struct vmrange *tree, bool right)
{
	struct vmrange *found;

	if (!tree || (right ? tree->right : tree->left))
		return tree;
	found = with_child(tree->left, right);
	return found ?: with_child(tree->right, right);
}

/* More free pages than there are; a tree that is no heap, so that it may grow as deep as a list. */
TEST(vmarea, check_finds_wrong_nodes)
{
	struct vmrange *last, *node, *child;
	vaddr_t va[64];
	u64 was;

	EXPECT_EQ(vmwindow_init(&w, START, END), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(va); i++)
		EXPECT_EQ(vmarea_alloc(&w, 1, PAGE_SIZE, START, END, &va[i]), 0);
	EXPECT_SOUND();
	for (int more = 1; more >= -1;
	     more -= 2) { /* the last one is the largest, and in all sums */
		for (last = w.free; last->right; last = last->right)
			last->largest += more;
		last->largest += more;
		last->nr_pages += more;
		w.pages_free += more;
		EXPECT(sound() == (more < 0));
	}
	for (int right = 0; right < 2; right++) {
		node = with_child(w.free, right);
		EXPECT(node); /* of 65 random priorities, some fall and some rise */
		child = right ? node->right : node->left;
		was = child->priority;
		child->priority = node->priority; /* equals may lie either way */
		EXPECT_SOUND();
		child->priority++;
		EXPECT(!sound());
		child->priority = was;
	}
	EXPECT_SOUND();
	for (unsigned i = 0; i < ARRAY_SIZE(va); i++)
		free_range(va[i], 1);
	destroy();
}

/* No memory for nodes: refused, nothing changed, and what is in use can still be freed. */
TEST(vmarea, out_of_memory)
{
	static vaddr_t va[400];
	unsigned refused = 0;

	if (!CHECKING)
		SKIP("fault injection needs a checking build");
	EXPECT_EQ(vmwindow_init(&w, START, END + GiB), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(va); i++) {
		int error;

		page_alloc_fail_nth(1);
		error = vmarea_alloc(&w, 2, PAGE_SIZE, START, END + GiB, &va[i]);
		page_alloc_fail_nth(0);
		if (error) {
			EXPECT_EQ(error, -ENOMEM);
			refused++;
			EXPECT_EQ(vmarea_alloc(&w, 2, PAGE_SIZE, START, END + GiB, &va[i]), 0);
		}
		EXPECT_EQ(w.nr_used, i + 1);
	}
	EXPECT(refused > 1);
	EXPECT_SOUND();
	for (unsigned i = 0; i < ARRAY_SIZE(va); i++)
		free_range(va[i], 2);
	EXPECT_EQ(ranges_in(w.free), 1);
	destroy();
}
