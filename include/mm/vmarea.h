/*
 * vmarea.h - which addresses of a window are free: a range allocator.
 *
 * The free ranges between areas hang in a treap (Aragon and Seidel 1989) by address; each node knows
 * the largest below it, so one is found in O(log n). An area owns the guard page before it; the last
 * one has a guard behind it, too: the window's last page is never given.
 * Calls for one window, and reading it, need the caller's lock.
 */
#pragma once

#include <mm/tlb.h>

struct vmrange {
	u64 start, nr_pages; /* in pages: virtual page numbers; 0 pages: two areas touch there */
	u64 largest;	     /* nr_pages, the greatest in this subtree */
	u64 priority;	     /* random */
	struct vmrange *left, *right;
};

struct vmwindow {
	u64 start, end;	      /* virtual page numbers, end exclusive */
	struct vmrange *free; /* the treap's root; it has nr_used + 1 nodes */
	u64 nr_used, pages_free;
};

/* All of [start, end), page-aligned, is free, or -ENOMEM. */
must_check int vmwindow_init(struct vmwindow *w, vaddr_t start, vaddr_t end);

/*
 * Addresses for nr_pages with a guard page before them, all inside [lo, hi); *va, the first page's,
 * is aligned to align bytes, a power of two >= PAGE_SIZE; above a page perhaps not in the lowest gap,
 * and O(gaps). 0; -ENOSPC: no such gap; -ENOMEM: no memory for a node; -EINVAL: nr_pages or align.
 */
must_check int vmarea_alloc(struct vmwindow *w, u64 nr_pages, u64 align, vaddr_t lo, vaddr_t hi,
			    vaddr_t *va);

/*
 * The addresses of an area (as from vmarea_alloc) are free again, and merged; [*lo, *hi), bytes, is
 * the free range around. Cannot fail.
 */
void vmarea_free(struct vmwindow *w, vaddr_t va, u64 nr_pages, vaddr_t *lo, vaddr_t *hi);

/* Is any page of [lo, hi) free? O(log n). The largest free range is free->largest: with the guard. */
bool vmwindow_is_free(const struct vmwindow *w, vaddr_t lo, vaddr_t hi);

void vmwindow_check(struct vmwindow *w); /* order, merging, largest, heap, sums: COMPLAIN */
