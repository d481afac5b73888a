/*
 * page_alloc.h - physical frames, in blocks of 2^order, aligned to their size. Names and meanings are
 * those of Linux's gfp.h. Any context; may take page_lock, calls shrinkers without it.
 */
#pragma once

#include <arch/cpu.h>
#include <arch/mmu.h>
#include <kernel/string.h>

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
	PG_VMALLOC,  /* vmalloc's: mapped in the window, waiting for a flush, or in stock there */
	PG_STOCK,    /* free, in a CPU's magazine, or on the way there or from there */
	PG_TEXT,     /* vmalloc's, executable: read-only everywhere */
	PG_NR_STATES,
};

/* One for each frame of RAM, at address_map.vmemmap + pfn * 16. All fields: page_lock or owner. */
struct page {
	u32 next, prev; /* pfn links of whichever list the state implies; 0 ends it */
	union {
		u32 owner;     /* PG_ALLOC …: who asked, as offset of the caller in the image */
		u32 slab_bits; /* PG_SLAB: see slab.c */
	};
	union {
		struct {
			u8 state; /* enum page_state */
			u8 order; /* of the block whose first frame this is */
		};
		u16 state_and_order; /* both at once: see PAGE_IS */
	};
	union {
		u16 flags;
		struct {
			u16 slab_used : 10; /* PG_SLAB: objects in use */
			u16 slab_cache : 6; /* PG_SLAB: which kmem_cache */
		};
	};
};
_Static_assert(sizeof(struct page) == 16, "struct page is at most 16 bytes a frame");

#define JUNK 0x6b /* checking builds fill what is freed with it: Linux's POISON_FREE */
#define PAGE_IS(state, order) (u16)((state) | (order) << 8)

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
	return paddr(((vaddr_t)page - address_map.vmemmap) * (PAGE_SIZE / sizeof(*page)));
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

/* For checks: how many blocks are listed? ~0: one is not as it should be (PAGE_IS), or a link. */
u64 page_list_count(const struct page_list *list, u16 state_and_order);

extern struct page *main_first;	  /* of the largest range of RAM, */
extern u64 main_pages, nr_frames; /* its frames; and all that page_alloc was ever given */

/* Is this a struct page of the largest range of RAM? Any pointer: a few instructions. */
static inline bool page_is_main(const struct page *page)
{
	u64 at = (vaddr_t)page - (vaddr_t)main_first;

	/* at is rotated: it must be a multiple of 16, too. */
	return likely((at >> 4 | at << 60) < main_pages);
}

bool pfn_valid(u64 pfn); /* is it RAM, so that it has a struct page? O(log ranges) */

/* The struct page that an address in the direct map would have. */
static inline struct page *direct_page(const void *p)
{
	return pfn_to_page(((vaddr_t)p - address_map.direct) >> PAGE_SHIFT);
}

/* The frame behind any pointer; NULL if it does not lie in the direct map of RAM. */
static inline struct page *direct_to_page(const void *p)
{
	return pfn_valid(page_to_pfn(direct_page(p))) ? direct_page(p) : NULL;
}

/* The first frame of the block (free or not) that holds this frame; NULL if it is no RAM. */
struct page *page_head(u64 pfn);

/*
 * What one CPU has at hand of one kind, free: blocks of an order, or objects of a cache. A stack that
 * only this CPU touches, interrupts masked, so it needs no lock (Bonwick and Adams, USENIX 2001).
 */
#define MAGAZINE_ITEMS 30ul
#define KMEM_MAX_CACHES 63 /* struct page has 6 bits for a cache's number; 0: none */
#define NR_MAGAZINES (KMEM_MAX_CACHES + 1 + MAX_ORDER + 1)
struct magazine {
	u32 nr, most, scale, limit; /* the last two for objects: see slab.c */
	void *item[MAGAZINE_ITEMS];
};
extern struct magazine *magazines[NR_CPUS]; /* of cache n: the n-th; blocks' behind them */

static inline struct magazine *block_magazine(unsigned order)
{
	return &magazines[cpu_id()][KMEM_MAX_CACHES + 1 + order];
}

/* NULL: it is empty. */
static inline void *magazine_pop(struct magazine *m)
{
	irqflags_t flags = irq_save();
	void *item = NULL;

	if (likely(m->nr) && !(item = m->item[--m->nr]))
		__builtin_unreachable(); /* so nr is all that is tested, here and by the caller */
	irq_restore(flags);
	return item;
}

/* Fault injection, in checking builds: is this request, for an object or a frame, to fail? */
extern bool (*mm_injector)(bool object);
struct page *alloc_pages_slow(gfp_t gfp, unsigned order, vaddr_t owner);
void free_pages_slow(struct page *page, unsigned order);
void give_blocks(struct page *page, unsigned order, u32 left);

/* Allocated frames that leave or enter another part's care. owner: CALLER() of who asked. */
static inline void page_set_owner(struct page *page, enum page_state state, vaddr_t owner)
{
	page->state = state;
	page->owner = code_offset(owner);
}

/* Of all who try to free a block, one changes its state. */
static inline bool page_claim(struct page *page, unsigned order, enum page_state from,
			      enum page_state to)
{
	u16 was = PAGE_IS(from, order);

	return __atomic_compare_exchange_n(&page->state_and_order, &was, PAGE_IS(to, order), false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/*
 * 2^order contiguous frames, state PG_ALLOC (the caller may set any but PG_TAIL, PG_FREE). NULL if
 * order > MAX_ORDER or no block is left even after the shrinkers ran. They go back with the same
 * order; a double, foreign or misordered free panics and says why.
 */
must_check static inline struct page *alloc_pages(gfp_t gfp, unsigned order)
{
	struct page *page = NULL;

	if (order <= MAX_ORDER && !(gfp & __GFP_ZERO) && !(CHECKING && mm_injector))
		page = magazine_pop(block_magazine(order));
	if (unlikely(!page))
		return alloc_pages_slow(gfp, order, THIS_CODE());
	page_set_owner(page, PG_ALLOC, THIS_CODE());
	return page;
}

/* A block that was claimed, for this CPU to have at hand; if it has too many, half of them go. */
static inline void page_to_stock(struct page *page, unsigned order)
{
	struct magazine *m = block_magazine(order);
	irqflags_t flags;

	if (CHECKING)
		memset(page_address(page), JUNK, PAGE_SIZE << order);
	flags = irq_save();
	if (likely(m->nr < m->most)) {
		m->item[m->nr++] = page;
		irq_restore(flags);
	} else {
		irq_restore(flags);
		give_blocks(page, order, m->most / 2);
	}
}

static inline void __free_pages(struct page *page, unsigned order)
{
	if (likely(page_is_main(page) && order <= MAX_ORDER &&
		   page_claim(page, order, PG_ALLOC, PG_STOCK)))
		page_to_stock(page, order);
	else
		free_pages_slow(page, order);
}

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

/*
 * When memory is short, fn gives back what it keeps, if need be after a flush. Any allocation may
 * call it, but in an interrupt: under a lock of mm/, use __GFP_NORECLAIM. At most 4 of them.
 */
void register_shrinker(u64 (*fn)(void));

struct page_stats {
	u64 total;			/* frames the allocator was ever given */
	u64 free;			/* of these, free now: in the lists or in magazines */
	u64 free_blocks[MAX_ORDER + 1]; /* as in Linux's /proc/buddyinfo */
	u64 state[PG_NR_STATES]; /* frames by state, recounted now (tails count as their head) */
};
void drain_all_pages(void);		   /* all magazines' back to the lists; no lock held */
void page_stats(struct page_stats *stats); /* O(blocks), drains first; no lock held */
u64 nr_free_pages(void);		   /* O(CPUs) */
static inline const char *page_state_name(enum page_state state)
{
	static const char *const names[] = { "tail", "free",	"reserved", "alloc", "table",
					     "slab", "kmalloc", "vmalloc",  "stock", "text" };

	return state < PG_NR_STATES ? names[state] : "?";
}

/* Returns out: "frame 0x3c61, in kmalloc block 0x3c60 of 2^1 frames, last asked for by f+0x41". */
#define PAGE_TEXT 160
const char *page_text(char out[PAGE_TEXT], const struct page *page);

/*
 * The first block of RAM at or behind *pfn, which then says where; reserved frames one by one.
 * Nobody may allocate or free meanwhile. NULL: there is none.
 */
struct page *next_block(u64 *pfn, u64 *nr_pages);

void page_alloc_check(void); /* free lists, states, sums: COMPLAIN, see mm.h */

/*
 * Once, at boot: take over all usable RAM in `memmap`. The struct page array is mapped and zero.
 * shuffle_seed 0: neighbours come after each other; otherwise in a seeded random order.
 */
void page_alloc_init(u64 shuffle_seed);
int magazines_init(u32 cpu); /* before that CPU runs, which is not 0: -ENOMEM */
