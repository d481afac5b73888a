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
#include <kernel/panic.h>
#include <mm/mm.h>
#include <mm/page_alloc.h>
#include <mm/pagetable.h>
#include <mm/slab.h>
#include <mm/vmstock.h>

#define TOP ALIGN_DOWN(~0ul, PAGE_SIZE) /* the end of what is looked at, so that none wraps */

static complain_fn tell;
static u64 faults, huge; /* leaves of 2 MiB in the window */

#define COMPLAIN(...) (faults++, tell(__VA_ARGS__))

static void expect_equal(const char *what, u64 counted, u64 recorded)
{
	if (counted != recorded)
		COMPLAIN("%s: %lu counted, %lu recorded", what, counted, recorded);
}

/* For each entry from va on that is not empty: see(where, entry, its level, arg). */
static void for_each_entry(vaddr_t va, vaddr_t end, void (*see)(vaddr_t, pte_t, int, void *),
			   void *arg)
{
	pte_t *entry;
	int level;

	for (; (entry = pt_next(&kernel_pt, &va, end, &level)); va += level_bytes(level))
		see(va, pte_get(entry), level, arg);
}

static void see_mapping(vaddr_t va, pte_t entry, int level, void *arg)
{
	const struct memrange *range;
	struct mapping alias;

	(void)arg;
	if (!pte_present(entry))
		return;
	if (va < address_map.direct)
		COMPLAIN("0x%lx is mapped: the kernel has nothing below the direct map", va);
	if (va < VMALLOC_START && pte_paddr(entry, level).v != va - address_map.direct)
		COMPLAIN("0x%lx in the direct map leads to 0x%lx", va, pte_paddr(entry, level).v);
	if (pte_forbidden(entry))
		COMPLAIN("0x%lx: entry 0x%lx is writable and executable, or user's", va, entry.v);
	if (pte_pgprot(entry) != PAGE_KERNEL_ROX)
		return;
	range = memmap_find(&memmap, pte_paddr(entry, level));
	if (range && memmap_is_ram(range->type) &&
	    pt_lookup(&kernel_pt, (vaddr_t)phys_to_virt(pte_paddr(entry, level)), &alias) &&
	    alias.prot == PAGE_KERNEL)
		COMPLAIN("0x%lx is executable, and writable as 0x%lx", va, alias.va);
}

struct census {
	struct vm_area area; /* the one we are in; nr_pages 0: none yet */
	u64 found;	     /* its pages that we met */
	u64 areas, freed, used, frames, pages_taken;
};

static void end_area(struct census *c)
{
	if (c->area.kind != VM_FREED && c->found != c->area.nr_pages)
		COMPLAIN("area 0x%lx: %lu of its %lu pages are mapped", c->area.start, c->found,
			 c->area.nr_pages);
}

static void begin_area(struct census *c, const struct vm_area *area)
{
	bool freed = area->kind == VM_FREED;

	if (area->start - PAGE_SIZE < vm_area_end(&c->area))
		COMPLAIN("guard of 0x%lx lies inside area 0x%lx", area->start, c->area.start);
	if (area->kind == VM_NONE || area->kind >= VM_NR_KINDS || !area->nr_pages)
		COMPLAIN("guard of 0x%lx: kind %u, %lu pages", area->start, area->kind,
			 area->nr_pages);
	if (vmwindow_is_free(&vmalloc_window, area->start - PAGE_SIZE, vm_area_end(area)))
		COMPLAIN("addresses of area 0x%lx are free, too", area->start);
	end_area(c);
	c->area = *area;
	c->found = 0;
	c->pages_taken += area->nr_pages + 1;
	c->freed += freed;
	c->areas += !freed;
	c->used += freed ? 0 : area->nr_pages;
}

/* The frame of an entry, if it is the window's own. */
static struct page *own_frame(pte_t entry)
{
	u64 pfn = paddr_to_pfn(pte_paddr(entry, 1));
	struct page *page = pfn_valid(pfn) ? pfn_to_page(pfn) : NULL;

	return page && (page->state == PG_VMALLOC || page->state == PG_TEXT) ? page : NULL;
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

static void see_page(struct census *c, vaddr_t va, pte_t entry, struct page *page)
{
	if (va >= vm_area_end(&c->area))
		COMPLAIN("0x%lx: entry 0x%lx belongs to no area", va, entry.v);
	if (c->area.kind == VM_FREED && va == c->area.start && !pte_present(entry))
		return; /* it leads to the next area in stock */
	if (!pte_present(entry) || c->area.kind == VM_FREED)
		COMPLAIN("0x%lx: entry 0x%lx in an area of kind %s", va, entry.v,
			 vm_kind_name(c->area.kind));
	c->found++;
	if (c->area.kind == VM_MAP || c->area.kind == VM_IOREMAP) {
		if (!may_be_shown(entry, c->area.kind))
			COMPLAIN("0x%lx: %s of a frame that is free or mm's own, entry 0x%lx", va,
				 vm_kind_name(c->area.kind), entry.v);
		return;
	}
	if (!page)
		COMPLAIN("0x%lx: the frame of entry 0x%lx is not vmalloc's", va, entry.v);
	else if (page->flags++)
		COMPLAIN("0x%lx: frame 0x%lx is mapped a second time", va, page_to_pfn(page));
	c->frames++;
}

/* With arg NULL, only wipe the mark that tells a frame seen before. */
static void see_window(vaddr_t va, pte_t entry, int level, void *arg)
{
	struct census *c = arg;
	struct page *page = own_frame(entry);
	struct vm_area area;

	if (level == 2 && pte_present(entry)) {
		huge += c != NULL;
		for (u64 at = 0; at < level_bytes(2); at += PAGE_SIZE)
			see_window(va + at,
				   pte_make_leaf(paddr(pte_paddr(entry, 2).v + at), 1,
						 pte_pgprot(entry)),
				   1, c);
		return;
	}
	if (!c && page)
		page->flags = 0;
	else if (c && vm_area_decode(entry, va, &area))
		begin_area(c, &area);
	else if (c)
		see_page(c, va, entry, page);
}

static void see_stock(pte_t entry, void *arg)
{
	struct census *c = arg;
	struct page *page = own_frame(entry);

	if (!page || entry.v != pte_make_leaf(page_to_phys(page), 1, PAGE_KERNEL).v)
		COMPLAIN("stock: entry 0x%lx is not plain, or its frame not vmalloc's", entry.v);
	else if (!c)
		page->flags = 0;
	else if (page->flags++)
		COMPLAIN("stock: frame 0x%lx is mapped, or there twice", page_to_pfn(page));
	if (c)
		c->frames++;
}

static void check_window(void)
{
	struct census c = { .area.kind = VM_FREED };
	struct vmalloc_stats stats;
	struct page_stats frames;

	for_each_entry(VMALLOC_START, VMALLOC_END, see_window, NULL);
	for_each_stock_frame(see_stock, NULL);
	for_each_entry(VMALLOC_START, VMALLOC_END, see_window, &c);
	for_each_stock_frame(see_stock, &c);
	end_area(&c);
	faults += vmwindow_check(&vmalloc_window, tell);
	vmalloc_stats(&stats);
	page_stats(&frames);
	expect_equal("areas", c.areas, stats.areas);
	expect_equal("areas freed and in stock", c.freed, stats.freed_areas);
	expect_equal("areas with addresses", c.areas + c.freed, vmalloc_window.nr_used);
	expect_equal("pages in areas", c.used, stats.used);
	expect_equal("frames of the window", c.frames, stats.frames);
	expect_equal("frames in states vmalloc and text",
		     frames.state[PG_VMALLOC] + frames.state[PG_TEXT], stats.frames);
	expect_equal("pages of the window", c.pages_taken + stats.free + 1, stats.window);
}

/* Page tables made at boot are reserved frames; later ones are PG_TABLE, linked or waiting. */
static void check_table_count(void)
{
	u64 early = memmap_bytes(&memmap, MEM_TABLES) >> PAGE_SHIFT;
	struct page_stats frames;
	struct tlb_stats tlb;

	page_stats(&frames);
	tlb_stats(&tlb);
	expect_equal("page tables", pt_count_tables(&kernel_pt) + tlb.tables_waiting + huge,
		     frames.state[PG_TABLE] + early);
}

u64 mm_check(complain_fn complain)
{
	tell = complain;
	faults = page_alloc_check(complain) + slab_check(complain);
	huge = 0;
	check_window();
	for_each_entry(0, TOP, see_mapping, NULL);
	check_table_count();
	return faults;
}
