/*
 * vmstock.h - where areas' addresses and frames come from: a stock of each CPU's own, and behind
 * it the window and page_alloc, which all share.
 *
 * Unless said otherwise: this CPU's stock, interrupts masked, any lock held.
 */
#pragma once

#include <mm/vmalloc.h>

/* Areas' addresses, linked through the entries of their first pages. 0: the end. */
struct area_list {
	vaddr_t first, last;
	u64 nr;
};

#define STOCK_SIZES 128 /* with fewer pages, areas of each size have their own list */
#define STOCK_LISTS (STOCK_SIZES + 32) /* larger ones share these */

struct vm_stock {
	/* A ring of frames as entries. [head, ready) may be taken, [ready, tail) wait for a flush. */
	pte_t *ring;
	u64 mask, head, ready, tail; /* counted for ever; where in the ring: & mask */
	u64 waiting;		     /* pages unmapped and not yet flushed */
	u64 batch;		     /* of which so many are worth a flush */
	u64 closed, closing; /* the batch that is being flushed: [ready, closed), its pages */
	u64 flush;	     /* the number of its flush; 0: there is no such batch */
	s64 areas, used;     /* live areas and their pages: made here less freed here */
	struct stock_list {
		struct area_list ready, fresh, closed; /* closed: what waits in the batch */
	} lists[STOCK_LISTS];
};
extern struct vm_stock *vm_stocks[NR_CPUS];

static inline struct vm_stock *this_stock(void)
{
	return vm_stocks[cpu_id()];
}

static inline struct stock_list *stock_list(struct vm_stock *stock, u64 nr_pages)
{
	return &stock->lists[nr_pages < STOCK_SIZES ? nr_pages : STOCK_SIZES + nr_pages % 32];
}

/* Addresses of an area of this size, its descriptor VM_FREED; 0: none in stock. */
vaddr_t stock_get_area(struct vm_stock *stock, u64 nr_pages);

/* An area that is VM_FREED, with nothing mapped any more, to wait for the flush. first: of va. */
static inline void stock_put_area(struct vm_stock *stock, vaddr_t va, pte_t *first, u64 nr_pages)
{
	struct stock_list *list = stock_list(stock, nr_pages);

	pte_set(first, pte_make_note(list->fresh.first));
	if (!list->fresh.first)
		list->fresh.last = va;
	list->fresh.first = va;
	list->fresh.nr++;
	stock->waiting += nr_pages;
}

static inline u64 stock_room(const struct vm_stock *stock)
{
	return stock->head + stock->mask + 1 - stock->tail;
}

/* Can nr frames be moved at once? That is a question of how many there are, and of the ring's end. */
static inline bool stock_can_get(const struct vm_stock *stock, u64 nr)
{
	return nr <= stock->ready - stock->head && (stock->head & stock->mask) + nr <= stock->mask;
}

static inline bool stock_can_put(const struct vm_stock *stock, u64 nr)
{
	return stock->tail + nr <= stock->head + stock->mask &&
	       (stock->tail & stock->mask) + nr <= stock->mask;
}

/* So many frames into these entries; out of them, which are empty then. */
static inline void stock_get_frames(struct vm_stock *stock, pte_t *to, u64 nr)
{
	pte_copy(to, &stock->ring[stock->head & stock->mask], nr);
	stock->head += nr;
}

static inline void stock_put_frames(struct vm_stock *stock, pte_t *from, u64 nr)
{
	pte_copy(&stock->ring[stock->tail & stock->mask], from, nr);
	pte_clear(from, nr);
	stock->tail += nr;
}

/* More frames, for want of nr; exact: not more than nr. False: page_alloc has no more. */
bool stock_refill(struct vm_stock *stock, u64 nr, bool exact);

/* Is a flush due? Flush what waits here and keep what is useful. No lock; interrupts on or off. */
static inline bool stock_due(const struct vm_stock *stock)
{
	return stock->waiting > stock->batch || tlb_mode == TLB_EAGER;
}

void stock_settle(bool full); /* full: the ring has no room, so flush even if it is not due */

/* Flush and give back what all CPUs have in stock. Pages. No lock, interrupts on or off. */
u64 stock_drain(void);

/* Fresh addresses with their page tables, not in stock; arguments as vmarea_alloc's. 0: no room. No lock. */
vaddr_t window_get(u64 nr_pages, u64 align, vaddr_t lo, vaddr_t hi);

/* For stats and checks: all CPUs' and the depot's. */
struct stock_stats {
	u64 areas;	/* that are VM_FREED */
	u64 waiting;	/* pages that are not flushed */
	u64 frames;	/* that page_alloc gave: in rings, or mapped by areas */
	s64 live, used; /* areas that are not VM_FREED, and their pages */
};
void stock_stats(struct stock_stats *stats);
void for_each_stock_frame(void (*fn)(pte_t entry, void *arg), void *arg);

int stock_init(u32 cpu); /* before that CPU runs; -ENOMEM */

/* What vmalloc.c and vmap.c share. Interrupts masked. */

static inline bool in_one_table(const pte_t *entry, u64 nr)
{
	return ((vaddr_t)entry & (PAGE_SIZE - 1)) + nr * sizeof(*entry) <= PAGE_SIZE;
}

/* How many of these pages lie in one table. */
static inline u64 in_table(vaddr_t va, vaddr_t end)
{
	return MIN((end - va) >> PAGE_SHIFT, PT_ENTRIES - level_index(va, 1));
}

/*
 * Take what the stock has at hand: addresses, with the entries of guard and pages in one table, whose
 * place this CPU remembers. 0: go the long way.
 */
static inline vaddr_t at_hand(struct vm_stock *stock, u64 nr_pages, pte_t **guard)
{
	vaddr_t va = nr_pages < STOCK_SIZES ? stock->lists[nr_pages].ready.first : 0;

	*guard = window_entry_cached(va - PAGE_SIZE);
	if (unlikely(!*guard || !in_one_table(*guard, nr_pages + 1)))
		return 0;
	stock->lists[nr_pages].ready.first = pte_get(*guard + 1).v;
	stock->lists[nr_pages].ready.nr--;
	return va;
}

/* The area is complete. */
static inline void publish(struct vm_stock *stock, pte_t *guard, pte_t note, u64 nr_pages)
{
	pte_set(guard, note);
	stock->areas++;
	stock->used += nr_pages;
}

/*
 * The long way, interrupts on or off. fill maps pages from va on; returns where that ended: before
 * end, if it must.
 */
struct vm_request {
	u64 nr_pages;
	enum vm_kind kind;
	pgprot_t prot; /* for fill, and the next two */
	const void *what;
	u64 pfn;
	vaddr_t caller;
	vaddr_t (*fill)(struct vm_request *rq, vaddr_t va, vaddr_t end);
	u64 align; /* 0: anywhere; otherwise as for window_get, and the next two */
	vaddr_t lo, hi;
	bool exact; /* memory is short: take no more than is needed */
	bool mixed; /* set by fill: AREA_MIXED */
};
void *vm_new_area(struct vm_request *rq);	  /* no lock held */
void vm_free_area(vaddr_t va, enum vm_kind kind); /* any pointer, any size; no lock held */

/* fill: frames of the stock (vmalloc.c); leaves of 2 MiB as far as there are blocks (vmap.c). */
vaddr_t vm_map_stock(struct vm_request *rq, vaddr_t va, vaddr_t end);
vaddr_t vm_map_huge(struct vm_request *rq, vaddr_t va, vaddr_t end);

/* Of the entries of a mixed area, to be freed. No lock held. */
void vm_make_plain(vaddr_t va, vaddr_t end);
extern u64 ring_frames; /* that page_alloc or others gave to the window; atomic */
