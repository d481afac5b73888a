/*
 * pagetable.h - the page walk, and all that changes page tables.
 *
 * One loop over levels serves 4 and 5 levels and leaves of 4 KiB, 2 MiB and 1 GiB. Intel SDM Vol.
 * 3A, 4.5. The kernel has one set of tables, kernel_pt; tests make others. Nothing here flushes a
 * TLB (see tlb.h). Calls on the same tables must not overlap in the same 2 MiB; calls that add or
 * remove tables need the caller's lock.
 */
#pragma once

#include <arch/mmu.h>
#include <kernel/panic.h>
#include <kernel/types.h>

struct pagetable {
	pte_t *root; /* in the direct map */
	int levels;  /* 4 or 5 */
	/* Where frames for tables come from and go to; kernel_pt's follow page_alloc. NULL: none. */
	struct page_source *source;
};

/* A supply of zeroed frames for tables. */
struct page_source {
	pte_t *(*get)(void);	   /* NULL: there is none */
	void (*put)(pte_t *table); /* at once: it was never visible to a CPU */
};
extern struct page_source memmap_tables;     /* from memmap, before page_alloc stands */
extern struct page_source page_alloc_tables; /* from then on */

extern struct pagetable kernel_pt;

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

/*
 * Walk from the root towards va, down to level stop, ending early at a leaf or at a
 * non-present entry. Returns that last entry; *level says whose it is. Never fails.
 */
pte_t *pt_walk(const struct pagetable *pt, vaddr_t va, int stop, int *level);

/* The leaf that maps va; false if none does. */
bool pt_lookup(const struct pagetable *pt, vaddr_t va, struct mapping *m);

/*
 * Find the first entry in [*va, end) that is not all zero: a present leaf or a note. Sets *va to
 * where it begins, *level, and returns it; NULL if there is none, *va is then as it was. end 0 is
 * the end of all addresses. Skips absent tables whole.
 */
pte_t *pt_next(const struct pagetable *pt, vaddr_t *va, vaddr_t end, int *level);

/* The same backwards: the last entry at or before *va, down to and including start. */
pte_t *pt_prev(const struct pagetable *pt, vaddr_t *va, vaddr_t start, int *level);

/*
 * Map nr_pages 4 KiB pages from va on to the physical range from pa on, in the largest leaves that
 * alignment and leaf_levels allow. 0; -ENOMEM or -EEXIST (something is there already): then nothing
 * has changed. va and pa page-aligned.
 */
must_check int pt_map(struct pagetable *pt, vaddr_t va, paddr_t pa, u64 nr_pages, pgprot_t prot);

/* Clear every leaf in the range (which must begin and end at leaves' ends). Flush afterwards. */
void pt_unmap(struct pagetable *pt, vaddr_t va, u64 nr_pages);

/*
 * Give all leaves in the range another protection (PAGE_NONE: clear them), splitting large leaves
 * at its ends. 0; -ENOMEM, then nothing has changed; -ENOENT if part of it is not mapped, likewise.
 * Flush afterwards.
 */
must_check int pt_protect(struct pagetable *pt, vaddr_t va, u64 nr_pages, pgprot_t prot);

/*
 * Make all tables down to level 1 exist for the range, splitting large leaves, so that pt_entry()
 * may be used on every page of it. 0; -ENOMEM, then nothing has changed.
 */
must_check int pt_populate(struct pagetable *pt, vaddr_t va, u64 nr_pages);

/* The level-1 entry for va, which pt_populate has made. The next ones follow it up to a table's end. */
static inline pte_t *pt_entry(const struct pagetable *pt, vaddr_t va)
{
	int level;
	pte_t *entry = pt_walk(pt, va, 1, &level);

	ASSERT(level == 1);
	return entry;
}

/*
 * Unlink the tables in the way to [va, va + nr_pages) that lie wholly in [lo, hi), where the caller
 * knows nothing to be mapped, and the rest of which it has pruned before. Each is handed to gone(),
 * to be freed after a flush: a CPU may still be walking it. The root stays.
 */
void pt_prune(struct pagetable *pt, vaddr_t va, u64 nr_pages, vaddr_t lo, vaddr_t hi,
	      void (*gone)(pte_t *table));

/* Number of tables, the root included. For checks and for counting what was given back. */
u64 pt_count_tables(const struct pagetable *pt);
