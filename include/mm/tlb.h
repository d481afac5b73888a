/*
 * tlb.h - nothing is reused before it is flushed everywhere.
 *
 * A CPU may use a translation it once read until told otherwise (Intel SDM Vol. 3A, 4.10.4, 4.10.5).
 * So what was unmapped, addresses, frames and page tables alike, first waits here: tlb_defer() is
 * to the TLB what call_rcu() is to readers. When enough waits, one flush serves the whole batch.
 */
#pragma once

#include <kernel/types.h>
#include <mm/page_alloc.h>

/* Put one of these into what has to wait. release() is called once, with no lock held. */
struct tlb_deferred {
	struct tlb_deferred *next;
	void (*release)(struct tlb_deferred *self);
};

enum tlb_mode {
	TLB_LAZY,  /* flush when a batch is full, or memory or addresses are short */
	TLB_EAGER, /* flush at once: a use after free faults at once */
};

extern enum tlb_mode tlb_mode; /* may be changed at any time */

void tlb_init(enum tlb_mode mode); /* once, at boot */

/* Make every CPU forget all translations; back when all have. No lock held. */
void tlb_flush_all(void);

/*
 * self stands for nr_pages unmapped pages; release it once no CPU can use them any more. Never fails,
 * needs no memory. In lazy mode perhaps much later, in eager mode before this returns. No lock held.
 */
void tlb_defer(struct tlb_deferred *self, u64 nr_pages);

/* A page table that was unlinked (see pt_prune): freed after the next flush. Any lock may be held. */
void tlb_defer_table(pte_t *table);

/* Flush and release all that waits, and what those releases defer in turn. Returns pages released. */
u64 tlb_purge(void);

struct tlb_stats {
	u64 flushes;	    /* each counted once for all CPUs */
	u64 deferred;	    /* pages that ever waited */
	u64 released;	    /* pages released by flushes */
	u64 waiting;	    /* pages waiting now */
	u64 tables_waiting; /* page tables waiting now */
};
void tlb_stats(struct tlb_stats *stats);

/* Negative control, for tests only: while set, flushes are counted but not done. */
extern bool tlb_skip_flush;
