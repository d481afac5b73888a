/*
 * page_alloc.h - physical frames: a buddy allocator.
 *
 * Blocks are 2^order frames, aligned to their size (Knowlton 1965; Knuth TAOCP 1, 2.5). Names and
 * meanings are those of Linux's gfp.h. Any context; takes page_lock, calls shrinkers without it.
 */
#pragma once

#include <arch/mmu.h>

#define MAX_ORDER 10 /* the largest block: 4 MiB */

/* Each frame is in exactly one state; all but the first frame of a block are PG_TAIL. */
enum page_state {
	PG_TAIL,     /* inside a block whose first frame says, or no RAM at all */
	PG_FREE,     /* in the buddy's lists */
	PG_RESERVED, /* RAM that was never ours to give: image, modules, struct pages, firmware */
	PG_ALLOC,    /* handed out by alloc_pages, owner says to whom */
	PG_TABLE,    /* a page table */
	PG_SLAB,     /* objects of one kmem_cache */
	PG_KMALLOC,  /* a large kmalloc */
	PG_VMALLOC,  /* belongs to an area of the vmalloc window, mapped or waiting for a flush */
	PG_NR_STATES,
};

/* One for each frame of RAM, at address_map.vmemmap + pfn * 16. All fields: page_lock or owner. */
struct page {
	u32 next, prev; /* pfn links of whichever list the state implies; 0 ends it */
	union {
		u32 owner;     /* PG_ALLOC …: who asked, as offset of the caller in the image */
		u32 slab_bits; /* PG_SLAB: see slab.c */
	};
	u8 state; /* enum page_state */
	u8 order; /* of the block whose first frame this is */
	union {
		u16 flags;
		struct {
			u16 slab_used : 10; /* PG_SLAB: objects in use */
			u16 slab_cache : 6; /* PG_SLAB: which kmem_cache */
		};
	};
};
_Static_assert(sizeof(struct page) == 16, "struct page is at most 16 bytes a frame");

typedef unsigned gfp_t;
#define GFP_KERNEL 0u
#define __GFP_ZERO 1u	   /* fill with zeros */
#define __GFP_NORECLAIM 2u /* do not call shrinkers: the caller holds a lock that they may take */

static inline struct page *pfn_to_page(u64 pfn)
{
	return (struct page *)address_map.vmemmap + pfn;
}

static inline u64 page_to_pfn(const struct page *page)
{
	return page - (const struct page *)address_map.vmemmap;
}

static inline paddr_t page_to_phys(const struct page *page)
{
	return pfn_to_paddr(page_to_pfn(page));
}

/* Where the frame lies in the direct map. */
static inline void *page_address(const struct page *page)
{
	return phys_to_virt(page_to_phys(page));
}

/* The frame behind an address in the direct map or the image. Not for vmalloc addresses. */
static inline struct page *virt_to_page(const void *p)
{
	return pfn_to_page(paddr_to_pfn(virt_to_phys(p)));
}

/* A list of blocks, linked through their first struct pages. */
struct page_list {
	u32 first, last; /* pfn; 0: empty */
};

/* Make two blocks neighbours; 0 stands for the list's end. */
static inline void page_list_join(struct page_list *list, u32 left, u32 right)
{
	*(left ? &pfn_to_page(left)->next : &list->first) = right;
	*(right ? &pfn_to_page(right)->prev : &list->last) = left;
}

static inline void page_list_add(struct page_list *list, struct page *page, bool at_end)
{
	u32 left = at_end ? list->last : 0, right = at_end ? 0 : list->first;

	page_list_join(list, left, page_to_pfn(page));
	page_list_join(list, page_to_pfn(page), right);
}

static inline void page_list_remove(struct page_list *list, struct page *page)
{
	page_list_join(list, page->prev, page->next);
}

/* For checks: do this block's links lead to blocks of RAM, or list ends, that lead back? */
bool page_list_holds(const struct page_list *list, const struct page *page);

bool pfn_valid(u64 pfn); /* is it RAM, so that it has a struct page? O(log ranges) */

/* The frame behind any pointer; NULL if it does not lie in the direct map of RAM. */
static inline struct page *direct_to_page(const void *p)
{
	u64 pfn = ((vaddr_t)p - address_map.direct) >> PAGE_SHIFT;

	return pfn_valid(pfn) ? pfn_to_page(pfn) : NULL;
}

/* The first frame of the block (free or not) that holds this frame; NULL if it is no RAM. */
struct page *page_head(u64 pfn);

/*
 * 2^order contiguous frames, state PG_ALLOC (the caller may set any but PG_TAIL, PG_FREE). NULL if
 * order > MAX_ORDER or no block is left even after the shrinkers ran. They go back with the same
 * order; a double, foreign or misordered free panics and says why.
 */
must_check struct page *alloc_pages(gfp_t gfp, unsigned order);
void __free_pages(struct page *page, unsigned order);

/* nr_pages single frames, from anywhere, into pages[]. Returns nr_pages, or 0 with none taken. */
must_check u64 alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages);
void free_pages_bulk(u64 nr_pages, struct page **pages);

/* As alloc_pages and __free_pages, by address in the direct map. */
must_check static inline void *__get_free_pages(gfp_t gfp, unsigned order)
{
	struct page *page = alloc_pages(gfp, order);

	return page ? page_address(page) : NULL;
}

static inline void free_pages(void *p, unsigned order)
{
	__free_pages(IS_ALIGNED((vaddr_t)p, PAGE_SIZE) ? direct_to_page(p) : NULL, order);
}

/* Allocated frames that leave or enter another part's care. owner: CALLER() of who asked. */
static inline void page_set_owner(struct page *page, enum page_state state, vaddr_t owner)
{
	page->state = state;
	page->owner = owner - address_map.image;
}

/*
 * When memory is short, fn frees what it can without waiting; returns the frames given back. Any
 * allocation may call it: under a lock of mm/, use __GFP_NORECLAIM. At most 4 of them.
 */
void register_shrinker(u64 (*fn)(void));

struct page_stats {
	u64 total;			/* frames the allocator was ever given */
	u64 free;			/* of these, free now */
	u64 free_blocks[MAX_ORDER + 1]; /* as in Linux's /proc/buddyinfo */
	u64 state[PG_NR_STATES]; /* frames by state, recounted now (tails count as their head) */
};
void page_stats(struct page_stats *stats); /* O(blocks): for tables and checks */
u64 nr_free_pages(void);		   /* O(1) */
static inline const char *page_state_name(enum page_state state)
{
	static const char *const names[] = { "tail",  "free", "reserved", "alloc",
					     "table", "slab", "kmalloc",  "vmalloc" };

	return state < PG_NR_STATES ? names[state] : "?";
}

/* Returns out: "frame 0x3c61, in kmalloc block 0x3c60 of 2^1 frames, last asked for by f+0x41". */
#define PAGE_TEXT 160
const char *page_text(char out[PAGE_TEXT], const struct page *page);

#define JUNK 0x6b /* checking builds fill what is freed with it: Linux's POISON_FREE */

/* fn on each block of RAM, rising; reserved frames one by one. Nobody may allocate or free then. */
void for_each_block(void (*fn)(struct page *head, u64 nr_pages, void *arg), void *arg);

u64 page_alloc_check(complain_fn complain); /* free lists, states: returns number of faults */

/*
 * Fault injection, in checking builds: the n-th frame request from now on (1: the next; a bulk's
 * frames count singly) fails, and only it; 0: none. True if the earlier order had not yet struck.
 */
bool page_alloc_fail_nth(u64 n);

/*
 * Once, at boot: take over all usable RAM in map. The struct page array is mapped and zero.
 * shuffle_seed 0: lowest address first; otherwise frames come in a seeded random order.
 */
struct memmap;
void page_alloc_init(const struct memmap *map, u64 shuffle_seed);
