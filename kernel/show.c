/*
 * show.c - what memory looks like, in tables.
 *
 * Every table comes twice from the same values: rows of fixed columns on COM1, for eyes and for
 * grep, and records on COM2, for scripts. Nothing here keeps books: a table is read off what the
 * machine works with at this moment. Mappings, and what they permit, come from the page tables
 * that the CPU walks; areas from the guard entries in them; frames from the struct pages.
 *
 * Page tables are sparse: 256 TiB of addresses hang in a few dozen of them. pt_next() jumps over
 * what is absent, so looking at everything costs what is mapped, not what could be. Ranges of
 * addresses include their last byte: the topmost ends at 2^64 - 1, which has no successor.
 */
#include <kernel/printk.h>
#include <kernel/record.h>
#include <kernel/show.h>
#include <kernel/symbols.h>
#include <mm/memmap.h>
#include <mm/pagetable.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

static void range_row(const char *type, const char *name, u64 start, u64 end, const char *prot)
{
	char size[SIZE_TEXT];

	printk("0x%016lx  0x%016lx  %9s  %3s  %s\n", start, end, size_text(size, end - start + 1),
	       prot, name);
	rec_begin(type);
	rec_str("name", name);
	rec_hex("start", start);
	rec_hex("end", end);
	rec_hex("bytes", end - start + 1);
	rec_str("prot", prot);
	rec_end();
}

void show_memmap(void)
{
	char size[SIZE_TEXT];

	printk("%-18s  %-18s  %9s  %3s  owner\n", "first byte", "last byte", "size", "is");
	for (unsigned i = 0; i < memmap.nr; i++) {
		const struct memrange *r = &memmap.range[i];

		range_row("memmap", memmap_type_name(r->type), r->start, r->end - 1,
			  memmap_is_ram(r->type) ? "ram" : "---");
	}
	for (enum memmap_type type = 0; type < MEM_NR_TYPES; type++)
		if (memmap_bytes(&memmap, type))
			printk("%38s  %9s  sum  %s\n", "",
			       size_text(size, memmap_bytes(&memmap, type)),
			       memmap_type_name(type));
}

void show_frames(void)
{
	char size[SIZE_TEXT];
	struct page_stats stats;
	u64 sum = 0;

	page_stats(&stats);
	printk("%-10s %11s  %9s\n", "state", "frames", "size");
	for (enum page_state s = 0; s <= PG_NR_STATES; s++) {
		const char *name = s < PG_NR_STATES ? page_state_name(s) : "sum";
		u64 frames = s < PG_NR_STATES ? stats.state[s] : sum;

		if (!frames)
			continue;
		sum += frames;
		printk("%-10s %11lu  %9s\n", name, frames, size_text(size, frames << PAGE_SHIFT));
		rec_begin("frames");
		rec_str("state", name);
		rec_num("frames", frames);
		rec_end();
	}
}

void show_buddy(void)
{
	struct page_stats stats;
	char size[SIZE_TEXT];

	page_stats(&stats);
	printk("order  %9s  %11s  %11s\n", "block", "free blocks", "free frames");
	for (unsigned order = 0; order <= MAX_ORDER; order++) {
		printk("%5u  %9s  %11lu  %11lu\n", order, size_text(size, PAGE_SIZE << order),
		       stats.free_blocks[order], stats.free_blocks[order] << order);
		rec_begin("buddy");
		rec_num("order", order);
		rec_num("free", stats.free_blocks[order]);
		rec_end();
	}
}

void show_slab(void)
{
	struct kmem_stats s;

	printk("%-16s %7s %8s %7s %9s %12s %12s\n", "cache", "object", "per slab", "slabs",
	       "in use", "allocs", "frees");
	for (unsigned i = 0; kmem_cache_stats(i, &s); i++) {
		printk("%-16.16s %7lu %8lu %7lu %9lu %12lu %12lu\n", s.name, s.bytes, s.per_slab,
		       s.slabs, s.in_use, s.allocs, s.frees);
		rec_begin("slab");
		rec_str("name", s.name);
		rec_num("bytes", s.bytes);
		rec_num("slabs", s.slabs);
		rec_num("in_use", s.in_use);
		rec_end();
	}
}

void show_areas(void)
{
	char text[SYMBOL_TEXT], size[SIZE_TEXT];
	vaddr_t va = VMALLOC_START, end;
	struct vmalloc_stats s;
	struct vm_area area;

	printk("%-18s %-18s %8s %-7s %s\n", "first byte", "last byte", "pages", "kind", "caller");
	for (; next_vm_area(va, &area); va = end) {
		end = area.start + (area.nr_pages << PAGE_SHIFT);
		printk("0x%016lx 0x%016lx %8lu %-7s %.25s\n", area.start, end - 1, area.nr_pages,
		       vm_kind_name(area.kind), symbol_text(text, address_map.image + area.caller));
		rec_begin("area");
		rec_hex("va", area.start);
		rec_num("pages", area.nr_pages);
		rec_str("kind", vm_kind_name(area.kind));
		rec_code("caller", address_map.image + area.caller);
		rec_end();
	}
	vmalloc_stats(&s);
	printk("areas: %lu with %lu pages; freed, not yet flushed: %lu; frames held: %lu\n"
	       "addresses left: %s in the largest range\n",
	       s.areas, s.used, s.freed_areas, s.frames, size_text(size, s.largest << PAGE_SHIFT));
}

/* A table of leaves: what it shows, and what its last row was. */
struct view {
	const char *type;     /* of the records: "map" or "alias" */
	const paddr_t *frame; /* "alias": only this one */
	u64 rows;
	paddr_t last;
	struct vm_area area;
};

static void leaf_row(struct view *view, const struct mapping *m)
{
	struct vm_area *area = &view->area;
	char text[SIZE_TEXT];

	printk("0x%016lx 0x%011lx %s %s ", m->va, m->pa.v, size_text(text, m->bytes),
	       pgprot_text(m->prot));
	snprintf(text, sizeof(text), "%+ld", (s64)(m->pa.v - view->last.v) >> PAGE_SHIFT);
	printk("%8s ", view->rows++ ? text : "-");
	view->last = m->pa;
	/* find_vm_area() looks at the pages before m, so not again for each page of an area */
	if (m->va - area->start < area->nr_pages << PAGE_SHIFT || find_vm_area(m->va, area))
		printk("0x%016lx +%lu\n", area->start, (m->va - area->start) >> PAGE_SHIFT);
	else
		printk("%s\n", layout_name(m->va));
	rec_begin(view->type);
	rec_hex("va", m->va);
	rec_hex("pa", m->pa.v);
	rec_num("bytes", m->bytes);
	rec_str("prot", pgprot_text(m->prot));
	rec_end();
}

static u64 show_leaves(struct view *view, vaddr_t va, vaddr_t end)
{
	struct mapping m;
	int level;

	printk("%-18s %-13s %5s may %8s area +page, or range\n", "virtual", "physical", "page",
	       "distance");
	for (; pt_next(&kernel_pt, &va, end | (PAGE_SIZE - 1), &level); va += level_bytes(level)) {
		if (pt_lookup(&kernel_pt, va, &m)) { /* else it is a guard's descriptor */
			u64 offset = view->frame ? view->frame->v - m.pa.v : 0;

			m.va += offset;
			m.pa.v += offset;
			if (offset < m.bytes) /* it is huge if the frame lies below the leaf */
				leaf_row(view, &m);
		}
		if (va + level_bytes(level) < va)
			break; /* that was the topmost page */
	}
	return view->rows;
}

u64 show_map(vaddr_t start, vaddr_t end)
{
	return show_leaves(&(struct view){ .type = "map" }, start, end);
}

u64 show_alias(paddr_t pa)
{
	return show_leaves(&(struct view){ .type = "alias", .frame = &pa }, 0, ~0ul);
}

/* The range of the address map that holds va, or the hole; its end is exclusive, 0 being 2^64. */
static struct image_section range_at(vaddr_t va)
{
	vaddr_t half = level_bytes(address_map.levels + 1) / 2;
	struct image_section hole = { .name = "hole" };
	u64 ram = 0; /* where it ends */

	for (unsigned i = 0; i < memmap.nr; i++)
		ram = memmap_is_ram(memmap.range[i].type) ? memmap.range[i].end : ram;
	const struct image_section fixed[] = {
		{ "null", 0, PAGE_SIZE, PAGE_NONE },
		{ "noncanonical", half, -half, PAGE_NONE },
		{ "direct", address_map.direct, address_map.direct + ram, PAGE_KERNEL },
		{ "vmalloc", VMALLOC_START, VMALLOC_END + 1, PAGE_KERNEL },
		{ "vmemmap", (vaddr_t)pfn_to_page(0), (vaddr_t)pfn_to_page(ram >> PAGE_SHIFT),
		  PAGE_KERNEL },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(fixed) + address_map.nr_sections; i++) {
		const struct image_section *r =
			i < ARRAY_SIZE(fixed) ? &fixed[i] :
						&address_map.sections[i - ARRAY_SIZE(fixed)];

		if (va >= r->start && va < r->end)
			return *r;
		if (va < r->start)
			hole.end = MIN(hole.end - 1, r->start - 1) + 1;
		else
			hole.start = MAX(hole.start, r->end);
	}
	return hole;
}

const char *layout_name(vaddr_t va)
{
	return range_at(va).name;
}

/* What a range permits is asked of the first leaf in it: of the tables, not of the plan. */
void show_layout(void)
{
	struct image_section r;
	vaddr_t next = 0, va;
	struct mapping m;
	int level;

	printk("%-18s  %-18s  %9s  may  range\n", "first byte", "last byte", "size");
	do {
		r = range_at(next);
		m.prot = PAGE_NONE;
		for (va = next; pt_next(&kernel_pt, &va, r.end - 1, &level);
		     va += level_bytes(level))
			if (pt_lookup(&kernel_pt, va, &m))
				break;
		range_row("layout", r.name, r.start, r.end - 1, pgprot_text(m.prot));
		next = r.end;
	} while (next);
}
