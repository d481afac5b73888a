/*
 * arch/mmu.h - the line between mm/ and the machine: all that the memory manager may ask of it.
 *
 * Kept by arch/x86_64 (the CPU) and arch/sim (a process: RAM is a memfd, SIGSEGV walks our tables
 * as hardware would, munmap is INVLPG); mm/pagetable.c walks on both. Levels: 1 PT (4 KiB), 2 PD
 * (2 MiB leaves), 3 PDPT (1 GiB leaves), 4 PML4, 5 PML5. Intel SDM Vol. 3A, 4.5.
 */
#pragma once

#include <kernel/types.h>

/*
 * What a mapping permits. There is no word for writable and executable: W^X by construction. With
 * | PAGE_WC or PAGE_UC it is not cached, as devices want it: write-combining, or not at all.
 */
typedef enum pgprot {
	PAGE_NONE,	 /* not mapped at all */
	PAGE_KERNEL_RO,	 /* r-- */
	PAGE_KERNEL,	 /* rw- */
	PAGE_KERNEL_ROX, /* r-x */
	PAGE_WC = 4,
	PAGE_UC = 12,
} pgprot_t;

/*
 * <asm/pte.h> gives, inline, what an entry says:
 *	pte_make_table, _leaf, _note	one that leads to a table, maps a page, keeps 63 bits of ours
 *	pte_none, pte_present		all 64 bits zero; the CPU goes on from here
 *	pte_is_leaf, pte_paddr		of a present entry: does it map a page; where that or the table is
 *	pte_pgprot, _type, _forbidden	of a present leaf: may, 0 or PAGE_WC/UC, W and X or user: never right
 *	pte_get, _set, _copy, _clear	each entry read or written whole, never torn
 *	pte_replace			atomic between CPUs: changed if it still is what it was
 */
#include <asm/pte.h>
#define PT_ENTRIES 512

/* Pages of the kernel's image: [start, end) of a section. Gaps between sections are guards. */
struct image_section {
	const char *name;
	vaddr_t start, end;
	pgprot_t prot;
};

/* Where everything lies; set by arch before mm_init(). Documentation: docs/address-map.md. */
struct address_map {
	int levels;	       /* of the page tables: 4 or 5 */
	int leaf_levels;       /* the largest leaf's level: 2 (2 MiB) or 3 (1 GiB) */
	vaddr_t direct;	       /* all of RAM, at this offset */
	vaddr_t vmemmap;       /* struct page of frame 0 */
	vaddr_t vmalloc_start; /* first byte of the window */
	vaddr_t vmalloc_end;   /* its last byte, as in Linux */
	vaddr_t image;	       /* base of the kernel's image: callers are kept as offsets to it */
	const struct image_section *sections;
	unsigned nr_sections;
};
extern struct address_map address_map;

/*
 * The direct map, one addition away. pa must be RAM; p must lie in the direct map or the image.
 * <asm/direct.h> gives: void *phys_to_virt(paddr_t pa); and u32 code_offset(vaddr_t code), where in
 * the image code lies, in bytes from address_map.image.
 */
#include <asm/direct.h>
paddr_t virt_to_phys(const void *p);

/* Use this root table (CR3); everything is flushed on this CPU. */
void mmu_set_root(paddr_t root);

/* Forget translations on this CPU, global and paging-structure ones included. SDM 3A, 4.10.4. */
void mmu_flush_range(vaddr_t va, u64 nr_pages);
void mmu_flush_all(void);

/* Touch one byte; false, and nothing done, where that faults. Any address, any context. */
must_check bool probe_read(vaddr_t va, u8 *byte);
must_check bool probe_write(vaddr_t va, u8 byte);
