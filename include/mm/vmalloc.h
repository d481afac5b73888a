/*
 * vmalloc.h - memory contiguous in virtual addresses, from frames that lie anywhere.
 *
 * Names and meanings are those of Linux's vmalloc.h. Any context, no lock held; in an interrupt
 * there may sooner be no room, as it cannot wait for a flush. Freeing what is not the start of a
 * live area of the right kind panics and says what it is; nothing has changed then.
 */
#pragma once

#include <mm/slab.h>
#include <mm/vmarea.h>

#define VMALLOC_START (address_map.vmalloc_start)
#define VMALLOC_END (address_map.vmalloc_end) /* the last byte, included */

/* What an area is; in its descriptor. */
enum vm_kind {
	VM_NONE,
	VM_ALLOC,   /* vmalloc: the frames are its own */
	VM_MAP,	    /* vmap, vmap_pfn: the frames are somebody's */
	VM_STACK,   /* a kernel stack: as VM_ALLOC */
	VM_FREED,   /* unmapped; its addresses wait for the flush, or for the next of its size */
	VM_IOREMAP, /* ioremap: a device's registers or memory */
	VM_NR_KINDS,
};

/* One area, as read from its guard entry. */
struct vm_area {
	vaddr_t start; /* the first page; its guard is the page before */
	u64 nr_pages;
	enum vm_kind kind;
	void *caller; /* who asked: code */
};

/* Rounded up to pages; NULL: 0 bytes, overflow, or no room in RAM or window. Contents undefined. */
must_check void *vmalloc(u64 bytes);
must_check void *__vmalloc(u64 bytes, gfp_t gfp);
#define vzalloc(bytes) __vmalloc(bytes, __GFP_ZERO) /* all zeros */

/* The same, in leaves of 2 MiB as far as aligned blocks are to be had; then it is aligned so, too. */
#define vmalloc_huge(bytes, gfp)                                                        \
	__vmalloc_range(bytes, PAGE_SIZE, VMALLOC_START, VMALLOC_END, gfp, PAGE_KERNEL, \
			VM_ALLOW_HUGE_VMAP)

/*
 * The same, all of it and its guard inside [lo, hi), aligned to align (a power of two >= PAGE_SIZE),
 * mapped with prot; VM_ALLOW_HUGE_VMAP: as vmalloc_huge. Linux: __vmalloc_node_range.
 */
#define VM_ALLOW_HUGE_VMAP 1u
must_check void *__vmalloc_range(u64 bytes, u64 align, vaddr_t lo, vaddr_t hi, gfp_t gfp,
				 pgprot_t prot, unsigned flags);

/* Free what these gave; NULL is nothing. Needs no memory. The frames follow after the flush. */
void vfree(const void *p);

/* Resize as krealloc does; less stays where it is. With __GFP_ZERO, whole pages that come are 0. */
must_check void *vrealloc(const void *p, u64 bytes, gfp_t gfp);

/* kmalloc if that has a block at hand, else, above a page, vmalloc; kvfree frees either. */
must_check static inline void *kvmalloc(u64 bytes, gfp_t gfp)
{
	void *p = kmalloc(bytes, bytes > PAGE_SIZE ? gfp | __GFP_NORECLAIM : gfp);

	return p || bytes <= PAGE_SIZE ? p : __vmalloc(bytes, gfp);
}

#define kvzalloc(bytes, gfp) kvmalloc(bytes, (gfp) | __GFP_ZERO)

/* n objects of so many bytes; NULL also if the product overflows. c: all zeros. */
static inline u64 array_bytes(u64 n, u64 bytes)
{
	u64 product;

	return __builtin_mul_overflow(n, bytes, &product) ? 0 : product;
}

#define vmalloc_array(n, bytes) vmalloc(array_bytes(n, bytes))
#define vcalloc(n, bytes) vzalloc(array_bytes(n, bytes))
#define kvmalloc_array(n, bytes, gfp) kvmalloc(array_bytes(n, bytes), gfp)
#define kvcalloc(n, bytes, gfp) kvzalloc(array_bytes(n, bytes), gfp)

/*
 * Map count frames side by side, PAGE_KERNEL or PAGE_KERNEL_RO. They stay the caller's, who may not
 * free them before vunmap and the flush (vm_unmap_aliases). NULL: count is 0, a frame is free,
 * reserved, a page table or code, prot is another (ROX: the direct map could write it), or no room.
 */
must_check void *vmap(struct page **pages, u64 count, pgprot_t prot);
void vunmap(const void *p);

/*
 * The same, PAGE_KERNEL, and vfree frees the frames (Linux: VM_MAP_PUT_PAGES). They must be single
 * ones from alloc_pages, each once. NULL, also if not: they are the caller's, as before.
 */
must_check void *vmap_put_pages(struct page **pages, u64 count);

/* Frames of no RAM, by number; prot also with PAGE_WC or PAGE_UC. vunmap. NULL as for vmap. */
must_check void *vmap_pfn(const u64 *pfns, u64 count, pgprot_t prot);

/* As vmap and vunmap, PAGE_KERNEL, for short: our stocks make the fast way the only one. */
#define vm_map_ram(pages, count) vmap(pages, count, PAGE_KERNEL)
#define vm_unmap_ram(p, count) vunmap(p)

/*
 * A device's registers, uncached (UC), or its memory, write-combining (WC; SDM 3A, 12.3 and 12.12),
 * from any address: the offset in the page stays. NULL: 0 bytes, RAM, too high, or no room.
 */
must_check void *ioremap_prot(paddr_t pa, u64 bytes, pgprot_t prot);
#define ioremap(pa, bytes) ioremap_prot(pa, bytes, PAGE_KERNEL | PAGE_UC)
#define ioremap_wc(pa, bytes) ioremap_prot(pa, bytes, PAGE_KERNEL | PAGE_WC)
void iounmap(const volatile void *p); /* any address in its first page */

/*
 * Change what whole pages of one vmalloc area permit; flushed when it returns. Nothing is ever
 * writable and executable: rw wants nx before, x wants ro before, and what is executable is
 * read-only in the direct map. 0, or with nothing changed -EACCES: that rule (for x also: a vmap can
 * write there); -ENOMEM; -EINVAL: not pages of one vmalloc area, or in an interrupt.
 */
must_check int set_memory(vaddr_t va, u64 nr_pages, pgprot_t from, pgprot_t to);
#define set_memory_ro(va, nr_pages) set_memory(va, nr_pages, PAGE_KERNEL, PAGE_KERNEL_RO)
#define set_memory_rw(va, nr_pages) set_memory(va, nr_pages, PAGE_KERNEL_RO, PAGE_KERNEL)
#define set_memory_x(va, nr_pages) set_memory(va, nr_pages, PAGE_KERNEL_RO, PAGE_KERNEL_ROX)
#define set_memory_nx(va, nr_pages) set_memory(va, nr_pages, PAGE_KERNEL_ROX, PAGE_KERNEL_RO)

/*
 * Copy from the window whatever is there now: zeros for what is not mapped, or no RAM; a free
 * meanwhile does no harm. bytes, or 0 if nothing was there at all.
 */
u64 vread(void *buf, const void *p, u64 bytes);

/* A stack between guards; its lowest address. NULL: no room. */
must_check void *alloc_kernel_stack(u64 bytes);
void free_kernel_stack(const void *stack);

/* Flush, and give back, everything freed so far and all stocks. Returns how many pages. No lock. */
u64 vm_unmap_aliases(void);

static inline bool is_vmalloc_addr(const void *p)
{
	return (vaddr_t)p >= VMALLOC_START && (vaddr_t)p <= VMALLOC_END;
}

static inline void kvfree(const void *p)
{
	(is_vmalloc_addr(p) ? vfree : kfree)(p);
}

/* The frame behind an address of the window; NULL, or pfn 0: none. A device's has only a number. */
struct page *vmalloc_to_page(const void *p);
static inline u64 vmalloc_to_pfn(const void *p)
{
	struct page *page = vmalloc_to_page(p);

	return page ? page_to_pfn(page) : 0;
}

/* Its end, exclusive: the next page, a guard or free. Even of a broken one it is behind the start. */
static inline vaddr_t vm_area_end(const struct vm_area *area)
{
	return area->start + (MAX(area->nr_pages, 1ul) << PAGE_SHIFT);
}

/*
 * The descriptor, in the entry of the guard page: bit 2 tells it from other entries that are not
 * present (in a mapping it would be U, which the kernel never sets). AREA_MIXED: not all entries
 * are those of plain PAGE_KERNEL pages.
 *
 *	 63                31 30         7 6    3   2     1     0
 *	|      nr_pages      |   caller   | kind | 1 | mixed | 0 |
 */
#define AREA_MIXED (1ul << 1)
#define AREA_TAG (1ul << 2)
#define AREA_KIND(kind) (AREA_TAG | (u64)(kind) << 3)
#define AREA_CALLER_SHIFT 7
#define AREA_PAGES_SHIFT 31
#define AREA_MAX_PAGES ((1ul << 33) - 1)
_Static_assert(VM_NR_KINDS <= 16, "a kind has 4 bits");

static inline pte_t vm_area_encode(enum vm_kind kind, u64 nr_pages, vaddr_t caller)
{
	return pte_make_note(AREA_KIND(kind) | nr_pages << AREA_PAGES_SHIFT |
			     (u64)(code_offset(caller) & 0xffffff) << AREA_CALLER_SHIFT);
}

/* The area of the guard page at this address, by its entry. False: that is no descriptor. */
static inline bool vm_area_decode(pte_t entry, vaddr_t guard, struct vm_area *area)
{
	area->start = guard + PAGE_SIZE;
	area->kind = entry.v >> 3 & 15;
	area->caller = (void *)(address_map.image + (entry.v >> AREA_CALLER_SHIFT & 0xffffff));
	area->nr_pages = entry.v >> AREA_PAGES_SHIFT;
	return !pte_present(entry) && entry.v & AREA_TAG;
}

/*
 * False if there is none. The area that holds va, guard and freed ones included; the next to start
 * at or after va, O(tables skipped).
 */
bool find_vm_area(vaddr_t va, struct vm_area *area);
bool next_vm_area(vaddr_t va, struct vm_area *area);

static inline const char *vm_kind_name(enum vm_kind kind)
{
	static const char names[][8] = { "none", "vmalloc", "vmap", "stack", "freed", "ioremap" };

	return kind < VM_NR_KINDS ? names[kind] : "?";
}

/* As /proc/meminfo's Vmalloc lines, and more. Pages; areas without VM_FREED unless named so. O(areas). */
struct vmalloc_stats {
	u64 window;	 /* whole window */
	u64 areas, used; /* live areas and their pages, guards not counted */
	u64 freed_areas; /* waiting for the flush, or in stock */
	u64 waiting;	 /* pages unmapped and not yet flushed */
	u64 frames; /* frames of the window: mapped by VM_ALLOC/VM_STACK, waiting, or in stock */
	u64 free, largest; /* addresses: all that is free, and the largest vmalloc that would fit */
};
void vmalloc_stats(struct vmalloc_stats *stats);

extern struct vmwindow vmalloc_window; /* the free addresses, for tables and checks */

void vmalloc_init(void); /* once, after page_alloc, kernel_pt and slab stand */
