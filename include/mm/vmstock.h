/*
 * vmstock.h - where areas' addresses and frames come from: a stock of each CPU's own, and behind
 * it the window and page_alloc, which all share.
 *
 * Unless said otherwise: this CPU's stock, interrupts masked, any lock held.
 */
#pragma once

#include <mm/vmalloc.h>

/*
 * How many things came and went, counted for ever: [head, ready) may be taken, the next flush ends
 * the wait of [ready, closed), and [closed, tail) came since.
 */
struct queue {
	u64 head, ready, closed, tail;
};

/* Areas' addresses: the entry of each one's first page, which is not present, leads to the next. */
struct area_list {
	struct queue nr;
	pte_t first, *last; /* first leads to the first; the last leads nowhere yet */
} aligned_to(64);

#define STOCK_SIZES 128 /* with fewer pages, areas of each size have their own list */
#define STOCK_LISTS (STOCK_SIZES + 32) /* larger ones share these */

struct vm_stock {
	pte_t *ring; /* of frames, as entries: that of number n is ring[n & mask] */
	u64 mask;
	struct queue frames, pages; /* in the ring; unmapped: head has no meaning */
	u64 batch;		    /* so many pages that wait are worth a flush */
	u64 flush; /* the number of the flush that ends the closed batch; 0: there is none */
	struct area_list lists[STOCK_LISTS];
};
extern struct vm_stock *vm_stocks[NR_CPUS];

static inline struct vm_stock *this_stock(void)
{
	return vm_stocks[cpu_id()];
}

static inline struct area_list *stock_list(struct vm_stock *stock, u64 nr_pages)
{
	return &stock->lists[nr_pages < STOCK_SIZES ? nr_pages : STOCK_SIZES + nr_pages % 32];
}

/* The first area of a list that may be taken; 0: none. */
static inline vaddr_t list_first(const struct area_list *list)
{
	return list->nr.head != list->nr.ready ? list->first.v : 0;
}

/* Take it; entry: of its first page. */
static inline void list_pop(struct area_list *list, const pte_t *entry)
{
	list->first = pte_get(entry);
	list->nr.head++;
}

/* An area that is VM_FREED, with nothing mapped any more, to wait for the flush. */
static inline void stock_put_area(struct vm_stock *stock, vaddr_t va, pte_t *entry, u64 nr_pages)
{
	struct area_list *list = stock_list(stock, nr_pages);

	pte_set(list->nr.head == list->nr.tail ? &list->first : list->last, pte_make_note(va));
	list->last = entry;
	list->nr.tail++;
	stock->pages.tail += nr_pages;
}

/* Addresses for an area, its descriptor VM_FREED or nothing; 0: none. No lock, interrupts on or off. */
vaddr_t stock_get_area(u64 nr_pages);

/* How many frames can be moved at once: up to the ring's end those that there are, or have room. */
static inline u64 stock_can_get(const struct vm_stock *stock)
{
	u64 head = stock->frames.head;

	return MIN(stock->frames.ready - head, stock->mask + 1 - (head & stock->mask));
}

static inline u64 stock_can_put(const struct vm_stock *stock)
{
	u64 at = stock->frames.tail & stock->mask, in = stock->frames.tail - stock->frames.head;

	return stock->mask + 1 - MAX(at, in);
}

/* So many frames into these entries. */
static inline void stock_get_frames(struct vm_stock *stock, pte_t *to, u64 nr)
{
	pte_copy(to, &stock->ring[stock->frames.head & stock->mask], nr);
	stock->frames.head += nr;
}

/* Empty so many entries; the frames that are the area's own wait in the ring. */
static inline void stock_unmap(struct vm_stock *stock, pte_t *entry, u64 nr, bool own)
{
	if (own) {
		pte_copy(&stock->ring[stock->frames.tail & stock->mask], entry, nr);
		stock->frames.tail += nr;
	}
	pte_clear(entry, nr);
}

/* More frames, least of them if memory is short; none if page_alloc has not so many. */
void stock_refill(struct vm_stock *stock, u64 least);

/*
 * An interrupt cannot flush. What it frees and the ring has no room for, or what needs a flush on the
 * way there, waits in this list, linked by its first frame's struct page, for the next free. Atomic.
 */
extern vaddr_t vm_deferred;
void vm_free_deferred(void);

/* Is a flush due? Flush what waits here and keep what is useful. No lock; interrupts on or off. */
static inline bool stock_due(const struct vm_stock *stock)
{
	return stock->pages.tail - stock->pages.ready > stock->batch || tlb_mode == TLB_EAGER ||
	       vm_deferred;
}

void stock_settle(bool full); /* full: the ring has no room, so flush even if it is not due */

/* Fresh addresses with their page tables, not in stock; arguments as vmarea_alloc's. 0: no room. No lock. */
vaddr_t window_get(u64 nr_pages, u64 align, vaddr_t lo, vaddr_t hi);

/*
 * The window's next entry from *va on that is not empty, or the one before: where, what it is now
 * (tables may go any time), and its level. False: none. Interrupts on or off.
 */
bool window_next(vaddr_t *va, bool up, pte_t *pte, int *level);

int stock_init(u32 cpu); /* before that CPU runs; -ENOMEM */

static inline bool owns_frames(enum vm_kind kind)
{
	return kind == VM_ALLOC || kind == VM_STACK;
}

/* What vmalloc.c and vmap.c share. Interrupts masked. */

/*
 * Take what the stock has at hand, if the entries of guard and pages lie in one table. The guard's
 * entry; NULL: go the long way.
 */
static inline pte_t *at_hand(struct vm_stock *stock, u64 nr_pages, vaddr_t *va)
{
	struct area_list *list =
		&stock->lists[nr_pages < STOCK_SIZES ? nr_pages : 0]; /* 0: empty */
	pte_t *guard;

	*va = list_first(list);
	guard = *va ? window_entry(*va - PAGE_SIZE) : NULL;
	if (unlikely(!guard || level_index(*va - PAGE_SIZE, 1) + nr_pages >= PT_ENTRIES))
		return NULL;
	list_pop(list, guard + 1);
	return guard;
}

/*
 * The long way, interrupts on or off. fill maps up to nr pages by these entries of one table,
 * interrupts masked; returns how many, 0: it must end here.
 */
struct vm_request {
	u64 nr_pages;
	enum vm_kind kind;
	pgprot_t prot; /* for fill, and the next two */
	const void *what;
	u64 pfn;
	vaddr_t caller;
	u64 (*fill)(struct vm_request *rq, pte_t *entry, u64 nr);
	u64 align; /* 0: anywhere; otherwise as for window_get, and the next two */
	vaddr_t lo, hi;
	vaddr_t va; /* for fill: where the area begins, */
	u64 done;   /* and how many pages are mapped */
	bool mixed; /* set by fill: AREA_MIXED */
};
void *vm_new_area(struct vm_request *rq);	  /* no lock held */
void vm_free_area(vaddr_t va, enum vm_kind kind); /* any pointer, any size; no lock held */

/* fill: frames of the stock (vmalloc.c); leaves of 2 MiB as far as there are blocks (vmap.c). */
u64 vm_fill_stock(struct vm_request *rq, pte_t *entry, u64 nr);
u64 vm_fill_huge(struct vm_request *rq, pte_t *table, u64 nr);

/* Of the entries of a mixed area, to be freed. No lock held. */
void vm_make_plain(vaddr_t va, vaddr_t end);
