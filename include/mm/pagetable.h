/*
 * pagetable.h - the page walk, and all that changes page tables.
 *
 * One loop serves 4 and 5 levels and leaves of 4 KiB, 2 MiB and 1 GiB (Intel SDM Vol. 3A, 4.5).
 * Nothing here flushes a TLB (see tlb.h). Calls on the same tables must not overlap in the same
 * 2 MiB; calls that add or remove tables need the caller's lock.
 */
#pragma once

#include <arch/mmu.h>
#include <kernel/panic.h>

/* A supply of zeroed frames for tables. */
struct page_source {
	pte_t *(*get)(void);	   /* NULL: there is none */
	void (*put)(pte_t *table); /* it was never visible to a CPU; NULL: takes none back */
};
extern struct page_source memmap_tables;     /* from memmap, before page_alloc stands */
extern struct page_source page_alloc_tables; /* from then on */

struct pagetable {
	pte_t *root;		    /* in the direct map */
	int levels;		    /* 4 or 5 */
	struct page_source *source; /* where tables come from and go to; NULL: nowhere */
};
extern struct pagetable kernel_pt; /* the kernel's only one; tests make others */

/* One leaf, as the CPU sees it. */
struct mapping {
	vaddr_t va; /* where its page begins */
	paddr_t pa; /* where it leads */
	u64 bytes;  /* 4 KiB, 2 MiB or 1 GiB */
	pgprot_t prot;
	int level;
};

/* Bytes that one entry of a level maps: 4 KiB at level 1, 2 MiB at 2, … */
static inline u64 level_bytes(int level)
{
	return 1ul << (PAGE_SHIFT + 9 * (level - 1));
}

/* Which of a table's 512 entries serves va at this level. */
static inline unsigned level_index(vaddr_t va, int level)
{
	return (va >> (PAGE_SHIFT + 9 * (level - 1))) & (PT_ENTRIES - 1);
}

/* "PT", "PD", "PDPT", "PML4", "PML5". */
static inline const char *level_name(int level)
{
	return (const char *[]){ "?", "PT", "PD", "PDPT", "PML4", "PML5" }[level];
}

/* The part of an address that the walk reads. Without its copies the two halves are neighbours. */
static inline u64 va_fold(vaddr_t va, int levels)
{
	return va & (level_bytes(levels + 1) - 1);
}

/* Back: copy the top bit, 47 or 56, into all above it. */
static inline vaddr_t va_unfold(u64 at, int levels)
{
	u64 top = level_bytes(levels + 1) / 2;

	return (at ^ top) - top;
}

/* True if va is canonical for this number of levels (its upper bits all equal bit 47 or 56). */
static inline bool va_canonical(vaddr_t va, int levels)
{
	return va_unfold(va_fold(va, levels), levels) == va;
}

/* "---", "r--", "rw-", "r-x". */
static inline const char *pgprot_text(pgprot_t prot)
{
	return (const char *[]){ "---", "r--", "rw-", "r-x" }[prot];
}

/* The last entry on the walk to va: at level stop, or a leaf or non-present one before: *level. */
pte_t *pt_walk(const struct pagetable *pt, vaddr_t va, int stop, int *level);

bool pt_lookup(const struct pagetable *pt, vaddr_t va, struct mapping *m); /* false: no leaf */

/*
 * The first entry in [*va, end) that is not all zero, a leaf or a note; sets *level, and *va to
 * where it begins. NULL: none, *va as it was. end 0: no end. Skips absent tables whole.
 * pt_prev: the same backwards, the last entry at or before *va, down to and including start.
 */
pte_t *pt_next(const struct pagetable *pt, vaddr_t *va, vaddr_t end, int *level);
pte_t *pt_prev(const struct pagetable *pt, vaddr_t *va, vaddr_t start, int *level);

/*
 * In these three va and pa are page-aligned, pages 4 KiB. 0, or a failure with nothing changed:
 * -ENOMEM; -EEXIST, pt_map: something is there already; -ENOENT, pt_protect: a page is not mapped.
 */

/* Map the pages to the physical range from pa on, in the largest leaves that fit leaf_levels. */
must_check int pt_map(struct pagetable *pt, vaddr_t va, paddr_t pa, u64 nr_pages, pgprot_t prot);

/* Change what they permit, or unmap: PAGE_NONE. Splits large leaves at the ends. Then flush. */
must_check int pt_protect(struct pagetable *pt, vaddr_t va, u64 nr_pages, pgprot_t prot);

/* Make all tables down to level 1 exist, splitting large leaves: pt_entry() then serves a page. */
must_check int pt_populate(struct pagetable *pt, vaddr_t va, u64 nr_pages);

/* The level-1 entry for va, made by pt_populate. The next ones follow it up to the table's end. */
static inline pte_t *pt_entry(const struct pagetable *pt, vaddr_t va)
{
	int level;
	pte_t *entry = pt_walk(pt, va, 1, &level);

	ASSERT(level == 1);
	return entry;
}

/*
 * Unlink the tables (not the root) on the way to the range that lie wholly in [lo, hi), where no
 * page is mapped and the rest is pruned. gone() frees each after a flush: CPUs may be walking it.
 */
void pt_prune(struct pagetable *pt, vaddr_t va, u64 nr_pages, vaddr_t lo, vaddr_t hi,
	      void (*gone)(pte_t *table));

u64 pt_count_tables(const struct pagetable *pt); /* the root included; for checks */
