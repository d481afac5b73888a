/* areas.c - see areas.h. */
#include <arch/machine.h>
#include <kernel/string.h>
#include <mm/pagetable.h>
#include <sim.h>

#include "areas.h"

struct area areas[AREAS_MAX], last_freed;
unsigned nr_areas;
struct frame frames[FRAMES];
static u64 next_stamp = 0xabcd000000000001;

static u64 *words_of(const struct area *area, u64 i)
{
	return (u64 *)(area->p + i * PAGE_SIZE);
}

#define LAST (PAGE_SIZE / 8 - 1)

struct area *area_at(vaddr_t va)
{
	for (struct area *a = areas; a < areas + nr_areas; a++)
		if (va - (vaddr_t)a->p + PAGE_SIZE < (a->nr_pages + 1) * PAGE_SIZE)
			return a;
	return NULL;
}

bool fits_anywhere(u64 nr_pages, u64 align, u64 lo, u64 hi)
{
	for (u64 at = ALIGN_UP(lo + PAGE_SIZE, align); at + nr_pages * PAGE_SIZE <= hi;
	     at += align) {
		u64 i = 0;

		while (i <= nr_pages && !area_at(at - PAGE_SIZE + i * PAGE_SIZE))
			i++;
		if (i > nr_pages)
			return true;
	}
	return false;
}

static struct sim_leaf walk(vaddr_t va)
{
	return sim_walk(mmu_root().v, address_map.levels, va);
}

/* What the frame's page in the direct map permits: code may not be written there. */
static void expect_direct(u64 pfn, pgprot_t prot)
{
	struct sim_leaf leaf = walk((vaddr_t)phys_to_virt(paddr(pfn << PAGE_SHIFT)));

	EXPECT(leaf.present && !leaf.exec && leaf.writable == (prot != PAGE_KERNEL_ROX));
}

void expect_page(const struct area *area, u64 i)
{
	vaddr_t va = (vaddr_t)area->p + i * PAGE_SIZE;
	struct sim_leaf leaf = walk(va);
	struct page *page = vmalloc_to_page((void *)(va + 8));
	pgprot_t prot = area->prot[i];

	EXPECT(leaf.present && leaf.reserved == !has_frames(area));
	EXPECT_EQ(leaf.pa + (va & (leaf.bytes - 1)), area->pfn[i] << PAGE_SHIFT);
	EXPECT(leaf.writable == (prot == PAGE_KERNEL) && leaf.exec == (prot == PAGE_KERNEL_ROX));
	EXPECT_EQ(page_to_pfn(page), area->pfn[i]);
	if (!has_frames(area))
		return;
	if (area->kind != VM_MAP)
		expect_direct(area->pfn[i], prot);
	EXPECT_EQ(words_of(area, i)[0], frames[area->pfn[i]].first);
	EXPECT_EQ(words_of(area, i)[LAST], frames[area->pfn[i]].last);
}

void expect_area(const struct area *area)
{
	struct vm_area found;

	for (u64 i = 0; i < area->nr_pages; i++)
		expect_page(area, i);
	EXPECT(find_vm_area((vaddr_t)area->p - 1, &found) && found.start == (vaddr_t)area->p);
	EXPECT(found.kind == area->kind && found.nr_pages == area->nr_pages);
	EXPECT(!walk((vaddr_t)area->p - 1).present && !walk(vm_area_end(&found)).present);
}

void stamp(struct area *area, u64 i)
{
	struct frame *frame = &frames[area->pfn[i]];

	words_of(area, i)[0] = frame->first = next_stamp;
	words_of(area, i)[LAST] = frame->last = ~next_stamp;
	next_stamp += 3;
}

static void page_came(struct area *area, u64 i, pgprot_t prot, bool zero)
{
	struct page *page = vmalloc_to_page(area->p + i * PAGE_SIZE);
	struct frame *frame;

	EXPECT(page);
	area->pfn[i] = page_to_pfn(page);
	area->prot[i] = prot;
	if (!has_frames(area))
		return;
	frame = &frames[area->pfn[i]];
	if (area->kind == VM_MAP) {
		EXPECT(frame->owner != NOT_OURS);
		frame->shown++;
		frame->writable += prot == PAGE_KERNEL;
		return;
	}
	EXPECT(frame->owner == NOT_OURS && !frame->shown);
	frame->owner = AREAS;
	for (u64 w = 0; zero && w <= LAST; w++)
		EXPECT_EQ(words_of(area, i)[w], 0);
	frame->first = words_of(area, i)[0];
	frame->last = words_of(area, i)[LAST];
	if (prot == PAGE_KERNEL)
		stamp(area, i);
}

void area_came(void *p, u64 nr_pages, enum vm_kind kind, pgprot_t prot, bool zero)
{
	struct area *area = &areas[nr_areas];

	EXPECT(nr_areas < AREAS_MAX && nr_pages <= AREA_PAGES);
	area->p = (u8 *)ALIGN_DOWN((vaddr_t)p, PAGE_SIZE);
	area->offset = (vaddr_t)p % PAGE_SIZE;
	area->nr_pages = nr_pages;
	area->kind = kind;
	EXPECT((vaddr_t)area->p > VMALLOC_START);
	EXPECT((vaddr_t)area->p + nr_pages * PAGE_SIZE <= VMALLOC_END);
	for (u64 i = 0; i <= nr_pages; i++) /* its guard, too */
		EXPECT(!area_at((vaddr_t)area->p - PAGE_SIZE + i * PAGE_SIZE));
	for (u64 i = 0; i < nr_pages; i++)
		page_came(area, i, prot, zero);
	nr_areas++;
	expect_area(area);
}

void area_goes(unsigned i)
{
	struct area *area = &areas[i];

	expect_area(area);
	for (u64 page = 0; has_frames(area) && page < area->nr_pages; page++) {
		struct frame *frame = &frames[area->pfn[page]];

		if (area->kind == VM_MAP) {
			frame->shown--;
			frame->writable -= area->prot[page] == PAGE_KERNEL;
		} else {
			frame->owner = NOT_OURS;
		}
	}
	last_freed = *area;
	areas[i] = areas[--nr_areas];
}

void expect_gone(bool eager)
{
	const struct area *area = &last_freed;

	for (u64 i = 0; i < area->nr_pages; i++) {
		vaddr_t va = (vaddr_t)area->p + i * PAGE_SIZE;

		if (area_at(va))
			continue;
		EXPECT(!walk(va).present);
		if (eager)
			EXPECT(!sim_tlb_holds(va));
		else if (has_frames(area) && sim_tlb_holds(va))
			EXPECT_EQ(*(u64 *)va, frames[area->pfn[i]].first);
	}
}
