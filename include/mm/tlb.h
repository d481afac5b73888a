/*
 * tlb.h - nothing is reused before it is flushed everywhere.
 *
 * A CPU may use a translation until told otherwise: Intel SDM Vol. 3A, 4.10.4, 4.10.5; and tlb.c.
 */
#pragma once

#include <mm/page_alloc.h>
#include <mm/pagetable.h>

enum tlb_mode {
	TLB_LAZY,  /* flush when a batch is full, or memory or addresses are short */
	TLB_EAGER, /* flush at once: a use after free faults at once */
};

extern enum tlb_mode tlb_mode; /* may be changed at any time */

/*
 * Flushes of all CPUs are numbered. Ask for the next number after unmapping: once that flush is
 * done, which every CPU has acknowledged, no CPU can use what was unmapped. tlb_flush: no lock held,
 * not in an interrupt, though they may be masked, as it serves other CPUs while it waits.
 */
u64 tlb_next_flush(void);
bool tlb_flushed(u64 number);
void tlb_flush(u64 number); /* see to it that it is done: by us, or by whoever was faster */
static inline void tlb_flush_all(void)
{
	tlb_flush(tlb_next_flush());
}

void tlb_flush_range(vaddr_t va, u64 nr_pages); /* these pages only, on every CPU. No lock held. */

/* Free a page table that was unlinked (see pt_prune) after the next flush. Any lock may be held. */
void tlb_defer_table(pte_t *table);

bool tlb_tables_waiting(void); /* is one not flushed yet? */

/* Flush if need be, and free them; from here on no CPU walks one. How many. No lock held. */
u64 tlb_free_tables(void);

/*
 * The tables that this CPU's last walks in the window, but in interrupts, ended in, kept as the MMU's
 * paging-structure caches keep them, and under their rule: forgotten at every flush (SDM 3A, 4.10.3).
 */
#define WALK_CACHE 64
#define WALK_NONE 0xff /* in every byte: no address has this span */
struct walk {
	u64 span; /* va >> 21 of what the table maps */
	pte_t *table;
};
extern struct walk walk_cache[NR_CPUS][WALK_CACHE];
pte_t *window_walk(vaddr_t va); /* in full */

/* The window's level-1 entry for va; NULL: there is no table, or no such address. Interrupts off. */
static inline pte_t *window_entry(vaddr_t va)
{
	const struct walk *walk = &walk_cache[cpu_id()][va >> 21 & (WALK_CACHE - 1)];

	if (likely(walk->span == va >> 21))
		return &walk->table[level_index(va, 1)];
	return window_walk(va);
}

struct tlb_stats {
	u64 flushes;	    /* of all CPUs, each counted once */
	u64 shootdowns;	    /* of these, and of ranges: those that had to interrupt other CPUs */
	u64 range_flushes;  /* tlb_flush_range */
	u64 tables_waiting; /* page tables waiting now */
};
void tlb_stats(struct tlb_stats *stats);

extern void (*tlb_at_flush)(void *); /* called with NULL on each CPU that has flushed everything */
extern u32 tlb_skip_cpu; /* negative control, for tests: 1 + the CPU that does not flush; 0: all do */
