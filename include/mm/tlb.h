/*
 * tlb.h - nothing is reused before it is flushed everywhere.
 *
 * A CPU may use a translation until told otherwise (Intel SDM Vol. 3A, 4.10.4, 4.10.5). So unmapped
 * addresses, frames and tables first wait here, and one flush serves the whole batch: tlb_defer()
 * is to the TLB what call_rcu() is to readers.
 */
#pragma once

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

extern enum tlb_mode tlb_mode;	   /* may be changed at any time */
void tlb_init(enum tlb_mode mode); /* once, at boot */
void tlb_flush_all(void);	   /* every CPU forgets all; back when all have. No lock held. */

/*
 * Release self, which stands for nr_pages unmapped pages, once no CPU can use them: in lazy mode
 * perhaps much later, in eager mode before this returns. Never fails. No lock held.
 */
void tlb_defer(struct tlb_deferred *self, u64 nr_pages);

/* Free a page table that was unlinked (see pt_prune) after the next flush. Any lock may be held. */
void tlb_defer_table(pte_t *table);

u64 tlb_purge(void); /* flush and release all that waits, and what that defers; returns pages */

struct tlb_stats {
	u64 flushes;	    /* each counted once for all CPUs */
	u64 deferred;	    /* pages that ever waited */
	u64 released;	    /* pages released by flushes */
	u64 waiting;	    /* pages waiting now */
	u64 tables_waiting; /* page tables waiting now */
};
void tlb_stats(struct tlb_stats *stats);

extern bool tlb_skip_flush; /* negative control, for tests: flushes are counted but not done */
