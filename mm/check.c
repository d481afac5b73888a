/*
 * check.c - is the memory manager sound? Every invariant, recomputed from what the machine sees.
 *
 * The counters that mm/ keeps are claims; here they are audited against the structures
 * themselves: the page tables that the CPU walks, the state of each frame, the tree of free
 * addresses. A check that used the same counters would only show that they agree with themselves.
 *
 *	- each frame is in exactly one state, and the sums are right (page_alloc_check, slab_check)
 *	- no leaf is writable and executable or open to user mode; nothing is mapped below the
 *	  direct map, page 0 included; code is not writable through the direct map either
 *	- in the window every entry belongs to exactly one area: leaves to a live one, the memory of
 *	  frames to a freed one; guards are not present; no frame of vmalloc is mapped twice
 *	- addresses in use and free together are the whole window; page tables counted twice agree
 *
 * It stops nothing: whoever calls it sees to it that nothing else runs.
 */
#include <mm/mm.h>
#include <mm/vmstock.h>

#define TOP ALIGN_DOWN(~0ul, PAGE_SIZE) /* the end of what is looked at, so that none wraps */

struct mm_audit mm_audit;

static struct census {
	struct vm_area area; /* the one we are in; nr_pages 0: none yet */
	u64 found;	     /* its pages that we met */
	u64 areas, freed, frames, pages_taken;
	u64 huge; /* leaves of 2 MiB: each keeps its page table for vfree */
} c;

void check_equal(const char *what, u64 counted, u64 recorded)
{
	if (counted != recorded)
		COMPLAIN("%s: %lu counted, %lu recorded", what, counted, recorded);
}

static void see_mapping(vaddr_t va, pte_t entry, int level)
{
	paddr_t pa = pte_paddr(entry, level);
	struct mapping alias;

	if (va < address_map.direct)
		COMPLAIN("0x%lx is mapped: the kernel has nothing below the direct map", va);
	if (va < VMALLOC_START && pa.v != va - address_map.direct)
		COMPLAIN("0x%lx in the direct map leads to 0x%lx", va, pa.v);
	if (pte_forbidden(entry))
		COMPLAIN("0x%lx: entry 0x%lx is writable and executable, or user's", va, entry.v);
	if (pte_pgprot(entry) == PAGE_KERNEL_ROX && pfn_valid(paddr_to_pfn(pa)) &&
	    pt_lookup(&kernel_pt, (vaddr_t)phys_to_virt(pa), &alias) && alias.prot == PAGE_KERNEL)
		COMPLAIN("0x%lx is executable, and writable as 0x%lx", va, alias.va);
}

static void end_area(void)
{
	if (c.area.kind != VM_FREED && c.found != c.area.nr_pages)
		COMPLAIN("area 0x%lx: %lu of its %lu pages are mapped", c.area.start, c.found,
			 c.area.nr_pages);
}

static void begin_area(const struct vm_area *area)
{
	end_area();
	if (area->start - PAGE_SIZE < vm_area_end(&c.area))
		COMPLAIN("guard of 0x%lx lies inside area 0x%lx", area->start, c.area.start);
	if (area->kind == VM_NONE || area->kind >= VM_NR_KINDS || !area->nr_pages)
		COMPLAIN("guard of 0x%lx: kind %u, %lu pages", area->start, area->kind,
			 area->nr_pages);
	if (vmwindow_is_free(&vmalloc_window, area->start - PAGE_SIZE, vm_area_end(area)))
		COMPLAIN("addresses of area 0x%lx are free, too", area->start);
	c.area = *area;
	c.found = 0;
	c.pages_taken += area->nr_pages + 1;
	c.areas++;
	c.freed += area->kind == VM_FREED;
}

/* May vmap show it? Not the image, whose protection it would get round; nor what is free. */
static bool may_be_shown(pte_t entry, enum vm_kind kind)
{
	const struct page *head = page_head(paddr_to_pfn(pte_paddr(entry, 1)));

	if (!head || kind == VM_IOREMAP) /* no RAM: a device's */
		return !head;
	return (head->state != PG_TEXT || pte_pgprot(entry) != PAGE_KERNEL) &&
	       head->state != PG_RESERVED && head->state != PG_TABLE && head->state != PG_FREE;
}

static bool is_vmallocs(const struct page *page)
{
	return page->state == PG_VMALLOC || page->state == PG_TEXT;
}

/* A frame of the window's own, mapped at va or, NULL, in stock. Mark it as seen. */
static void see_frame(pte_t entry, void *va)
{
	u64 pfn = paddr_to_pfn(pte_paddr(entry, 1));

	if (!va && entry.v != pte_make_leaf(paddr(pfn << PAGE_SHIFT), 1, PAGE_KERNEL).v)
		COMPLAIN("stock: entry 0x%lx is not plain", entry.v);
	if (!pfn_valid(pfn) || !is_vmallocs(pfn_to_page(pfn)))
		COMPLAIN("%p: the frame of entry 0x%lx is not vmalloc's", va, entry.v);
	else if (pfn_to_page(pfn)->flags++)
		COMPLAIN("%p: frame 0x%lx is mapped, or in stock, a second time", va, pfn);
	c.frames++;
}

static void see_page(vaddr_t va, pte_t entry)
{
	enum vm_kind kind = c.area.kind;

	if (va >= vm_area_end(&c.area))
		COMPLAIN("0x%lx: entry 0x%lx belongs to no area", va, entry.v);
	if (kind == VM_FREED && va == c.area.start && !pte_present(entry))
		return; /* it leads to the next area in stock */
	if (!pte_present(entry) || kind == VM_FREED)
		COMPLAIN("0x%lx: entry 0x%lx in an area of kind %s", va, entry.v,
			 vm_kind_name(kind));
	c.found++;
	if (kind != VM_MAP && kind != VM_IOREMAP)
		see_frame(entry, (void *)va);
	else if (!may_be_shown(entry, kind))
		COMPLAIN("0x%lx: %s of a frame that is free or mm's own, entry 0x%lx", va,
			 vm_kind_name(kind), entry.v);
}

/* An entry of the window: a descriptor, a page, or as many as a large leaf has. */
static void see_window(vaddr_t va, pte_t entry, int level)
{
	u64 pa = pte_paddr(entry, level).v;
	struct vm_area area;

	c.huge += level > 1;
	if (vm_area_decode(entry, va, &area))
		begin_area(&area);
	else if (level == 1)
		see_page(va, entry);
	else
		for (u64 at = 0; at < level_bytes(level); at += PAGE_SIZE)
			see_page(va + at, pte_make_leaf(paddr(pa + at), 1, pte_pgprot(entry)));
}

/* All that is in the page tables, entry by entry. */
static void check_entries(void)
{
	vaddr_t va = 0;
	pte_t *entry;
	int level;

	for (; (entry = pt_next(&kernel_pt, &va, TOP, &level)); va += level_bytes(level)) {
		if (pte_present(pte_get(entry)))
			see_mapping(va, pte_get(entry), level);
		if (va >= VMALLOC_START && va <= VMALLOC_END)
			see_window(va, pte_get(entry), level);
	}
	end_area();
}

static void check_sums(void)
{
	u64 early = memmap_bytes(&memmap, MEM_TABLES) >> PAGE_SHIFT;
	struct vmalloc_stats stats;
	struct page_stats frames;
	struct tlb_stats tlb;

	vmalloc_stats(&stats);
	page_stats(&frames);
	tlb_stats(&tlb);
	check_equal("areas freed and in stock", c.freed, stats.freed_areas);
	check_equal("areas with addresses", c.areas, vmalloc_window.nr_used);
	check_equal("frames of the window, and in states vmalloc and text", c.frames,
		    frames.state[PG_VMALLOC] + frames.state[PG_TEXT]);
	check_equal("pages of the window", c.pages_taken + stats.free + 1, stats.window);
	/* Page tables made at boot are reserved frames; later ones are linked, or waiting. */
	check_equal("page tables", pt_count_tables(&kernel_pt) + tlb.tables_waiting + c.huge,
		    frames.state[PG_TABLE] + early);
}

u64 mm_check(complain_fn complain)
{
	const struct vm_stock *stock;
	struct page *page;

	vm_free_deferred();
	mm_audit = (struct mm_audit){ .tell = complain };
	c = (struct census){ .area.kind = VM_FREED };
	page_alloc_check();
	slab_check();
	vmwindow_check(&vmalloc_window);
	for (u64 pfn = 0, nr; (page = next_block(&pfn, &nr)); pfn += nr)
		if (is_vmallocs(page))
			page->flags = 0; /* the mark of the last check */
	check_entries();
	for (u32 cpu = 0; cpu < NR_CPUS && (stock = vm_stocks[cpu]); cpu++)
		for (u64 i = stock->frames.head; i != stock->frames.tail; i++)
			see_frame(stock->ring[i & stock->mask], NULL);
	check_sums();
	return mm_audit.faults;
}
