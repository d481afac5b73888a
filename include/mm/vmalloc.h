/*
 * vmalloc.h - memory contiguous in virtual addresses, from frames that lie anywhere.
 *
 * Names and meanings are those of Linux's vmalloc.h. There is no list of areas: the non-present
 * entry of the guard page before each is its descriptor. Any context, no lock of mm/ held. Freeing
 * what is not the start of a live area panics and says what it is; nothing has changed then.
 */
#pragma once

#include <mm/vmarea.h>

#define VMALLOC_START (address_map.vmalloc_start)
#define VMALLOC_END (address_map.vmalloc_end) /* the last byte, included */

/* What an area is; in its descriptor. */
enum vm_kind {
	VM_NONE,
	VM_ALLOC, /* vmalloc: the frames are its own */
	VM_MAP,	  /* vmap: the frames are somebody's */
	VM_STACK, /* a kernel stack */
	VM_FREED, /* unmapped, waiting for the flush; its frames are still its own */
	VM_NR_KINDS,
};

/* One area, as read from its guard entry. */
struct vm_area {
	vaddr_t start; /* the first page; its guard is the page before */
	u64 nr_pages;
	enum vm_kind kind;
	u32 caller; /* who asked: offset of the code in the image */
};

/* Rounded up to pages; NULL: 0 bytes, overflow, or no room in RAM or window. Contents undefined. */
must_check void *vmalloc(u64 bytes);
must_check void *vzalloc(u64 bytes); /* all zeros */
must_check static inline void *vmalloc_array(u64 n, u64 bytes)
{
	u64 product;

	return __builtin_mul_overflow(n, bytes, &product) ? NULL : vmalloc(product);
}

/* Free what vmalloc gave; NULL is nothing. Needs no memory. The frames follow after the flush. */
void vfree(const void *p);

/*
 * Map count frames side by side, PAGE_KERNEL or PAGE_KERNEL_RO. They stay the caller's, who may not
 * free them before vunmap and the flush (vm_unmap_aliases). NULL: count is 0, a frame is free,
 * reserved or a page table, prot is another (ROX: the direct map could write it), or no room.
 */
must_check void *vmap(struct page **pages, u64 count, pgprot_t prot);
void vunmap(const void *p);

/* Flush and release everything freed so far. Returns the number of pages released. */
static inline u64 vm_unmap_aliases(void)
{
	return tlb_purge();
}

static inline bool is_vmalloc_addr(const void *p)
{
	return (vaddr_t)p >= VMALLOC_START && (vaddr_t)p <= VMALLOC_END;
}

/* The frame behind an address of the window; NULL, or pfn 0, if nothing is mapped there. */
struct page *vmalloc_to_page(const void *p);
static inline u64 vmalloc_to_pfn(const void *p)
{
	struct page *page = vmalloc_to_page(p);

	return page ? page_to_pfn(page) : 0;
}

/* Its end, exclusive: the next page, which is a guard or free. */
static inline vaddr_t vm_area_end(const struct vm_area *area)
{
	return area->start + (area->nr_pages << PAGE_SHIFT);
}

/*
 * False if there is none. The area of the guard page at this address, by its entry; the one that
 * holds va, guard and unflushed ones included; the next to start at or after va, O(tables skipped).
 */
bool vm_area_decode(pte_t entry, vaddr_t guard, struct vm_area *area);
bool find_vm_area(vaddr_t va, struct vm_area *area);
bool next_vm_area(vaddr_t va, struct vm_area *area);

static inline const char *vm_kind_name(enum vm_kind kind)
{
	return kind < VM_NR_KINDS ?
		       (const char *[]){ "none", "vmalloc", "vmap", "stack", "freed" }[kind] :
		       "?";
}

/* As /proc/meminfo's Vmalloc lines, and more. Pages; areas without VM_FREED unless named so. */
struct vmalloc_stats {
	u64 window;	 /* whole window */
	u64 areas, used; /* live areas and their pages, guards not counted */
	u64 freed_areas; /* waiting for the flush */
	u64 frames; /* frames that belong to the window: mapped by VM_ALLOC/VM_STACK, or waiting */
	u64 free, largest; /* addresses: all that is free, and the largest vmalloc that would fit */
};
void vmalloc_stats(struct vmalloc_stats *stats);

extern struct vmwindow vmalloc_window; /* the free addresses, for tables and checks */

void vmalloc_init(void); /* once, after page_alloc, kernel_pt and slab stand */
