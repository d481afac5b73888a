/*
 * vmarea.h - which addresses of a window are free: a range allocator.
 *
 * Free ranges hang in a treap (Aragon and Seidel 1989) ordered by address, each node knowing the
 * largest range below it: any size, any alignment, O(log n), lowest address first, neighbours
 * always merged. Freeing cannot fail: each range in use has set aside the node that its freeing
 * may need. Every area has a guard page before it, which belongs to it; the window's last
 * page is never handed out, so that the last area has one behind it too.
 */
#pragma once

#include <kernel/spinlock.h>
#include <kernel/types.h>
#include <mm/tlb.h>

/* A range of pages, free (in the tree) or on its way to be (waiting for a flush). */
struct vmrange {
	u64 start, nr_pages; /* in pages: virtual page numbers; the guard included */
	union {
		struct { /* in the tree */
			struct vmrange *left, *right;
			u64 largest; /* nr_pages, the greatest in this subtree */
			u32 priority;
		};
		struct tlb_deferred deferred; /* waiting */
		struct vmrange *next;	      /* set aside */
	};
};

struct vmwindow {
	struct spinlock lock;  /* guards all below */
	u64 start, end;	       /* virtual page numbers, end exclusive */
	struct vmrange *free;  /* the treap's root */
	struct vmrange *spare; /* nodes set aside, one for each range in use */
	u64 nr_used, nr_free_ranges, pages_free;
};

/* All of [start, end), bytes, page-aligned, is free. -ENOMEM. No one else may use w meanwhile. */
must_check int vmwindow_init(struct vmwindow *w, vaddr_t start, vaddr_t end);

/* Give back the nodes. Only with nothing in use. */
void vmwindow_destroy(struct vmwindow *w);

/*
 * Addresses for nr_pages pages with a guard page before them, the first page aligned to align bytes (a
 * power of two, at least PAGE_SIZE), all inside [lo, hi). On 0, *va is the first page's address.
 * -ENOSPC: no such gap; -ENOMEM: no memory for a node; -EINVAL: nr_pages 0 or absurd, align not
 * a power of two.
 */
must_check int vmarea_alloc(struct vmwindow *w, u64 nr_pages, u64 align, vaddr_t lo, vaddr_t hi,
			    vaddr_t *va);

/*
 * Take the node set aside for an area in use; from now on it stands for the area's range (guard
 * included) until vmarea_free. va and nr_pages as they came from vmarea_alloc. Cannot fail.
 */
struct vmrange *vmarea_retire(struct vmwindow *w, vaddr_t va, u64 nr_pages);

/*
 * The range is free again, merged with its neighbours. The merged free range around it goes to
 * [*lo, *hi), bytes. Cannot fail.
 */
void vmarea_free(struct vmwindow *w, struct vmrange *range, vaddr_t *lo, vaddr_t *hi);

/* Is any page of [lo, hi) free? O(log n). */
bool vmwindow_is_free(struct vmwindow *w, vaddr_t lo, vaddr_t hi);

/* The largest free range, pages, its guard included: the largest area is one page less. O(1). */
u64 vmwindow_largest(struct vmwindow *w);

/* Order, merging, largest, heap order and counters recomputed; complains, returns the number of faults. */
u64 vmwindow_check(struct vmwindow *w, complain_fn complain);
