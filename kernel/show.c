/*
 * show.c - what memory looks like, in tables: rows on COM1 for eyes and grep, and the same values
 * in records on COM2. Nothing here keeps books: a table is read off what the machine works with at
 * this moment: mappings from the page tables that the CPU walks, areas from the guard entries in
 * them, frames from the struct pages.
 *
 * Page tables are sparse: pt_next() jumps over what is absent, so looking at everything costs what
 * is mapped, not what could be. Ranges include their last byte: 2^64 - 1 has no successor.
 */
#include <kernel/record.h>
#include <kernel/show.h>
#include <mm/memmap.h>
#include <mm/vmalloc.h>

static void range_row(const char *type, const char *name, u64 start, u64 last, const char *prot)
{
	u64 bytes = last - start + 1;

	printk("0x%016lx  0x%016lx  %9s  %3s  %s\n", start, last, SIZE(bytes), prot, name);
	record(type, rec_str("name", name), rec_hex("start", start), rec_hex("end", last),
	       rec_hex("bytes", bytes), rec_str("prot", prot));
}

void show_memmap(void)
{
	printk("first byte          last byte                size   is  owner\n");
	for (const struct memrange *r = memmap.range; r < memmap.range + memmap.nr; r++)
		range_row("memmap", memmap_type_name(r->type), r->start, r->end - 1,
			  memmap_is_ram(r->type) ? "ram" : "---");
	for (enum memmap_type type = 0; type < MEM_NR_TYPES; type++)
		if (memmap_bytes(&memmap, type))
			printk("%49s  sum  %s\n", SIZE(memmap_bytes(&memmap, type)),
			       memmap_type_name(type));
}

static void frames_row(const char *state, u64 frames)
{
	printk("%-10s %11lu  %9s\n", state, frames, SIZE(frames << PAGE_SHIFT));
	record("frames", rec_str("state", state), rec_num("frames", frames));
}

void show_frames(void)
{
	struct page_stats stats;
	u64 sum = 0;

	page_stats(&stats);
	printk("state           frames       size\n");
	for (enum page_state s = 0; s < PG_NR_STATES; sum += stats.state[s++])
		if (stats.state[s])
			frames_row(page_state_name(s), stats.state[s]);
	frames_row("sum", sum);
}

void show_buddy(void)
{
	struct page_stats stats;

	page_stats(&stats);
	printk("order      block  free blocks  free frames\n");
	for (u64 order = 0, n; order <= MAX_ORDER; order++) {
		n = stats.free_blocks[order];
		printk("%5lu  %9s  %11lu  %11lu\n", order, SIZE(PAGE_SIZE << order), n, n << order);
		record("buddy", rec_num("order", order), rec_num("free", n));
	}
}

void show_slab(void)
{
	struct kmem_stats s;

	printk("cache             object per slab   slabs    in use       allocs        frees\n");
	for (unsigned i = 0; kmem_cache_stats(i, &s); i++) {
		printk("%-16.16s %7lu %8lu %7lu %9lu %12lu %12lu\n", s.name, s.bytes, s.per_slab,
		       s.slabs, s.in_use, s.allocs, s.frees);
		record("slab", rec_str("name", s.name), rec_num("bytes", s.bytes),
		       rec_num("slabs", s.slabs), rec_num("in_use", s.in_use));
	}
}

void show_areas(void)
{
	struct vm_area area;
	struct vmalloc_stats s;
	char text[SYMBOL_TEXT];

	printk("first byte         last byte             pages kind    caller\n");
	for (vaddr_t va = VMALLOC_START; next_vm_area(va, &area); va = vm_area_end(&area)) {
		printk("0x%016lx 0x%016lx %8lu %-7s %.25s\n", area.start, vm_area_end(&area) - 1,
		       area.nr_pages, vm_kind_name(area.kind), symbol_text(text, area.caller));
		record("area", rec_hex("va", area.start), rec_num("pages", area.nr_pages),
		       rec_str("kind", vm_kind_name(area.kind)), rec_code("caller", area.caller));
	}
	vmalloc_stats(&s);
	printk("areas: %lu with %lu pages; freed, not yet flushed: %lu; frames held: %lu\n"
	       "addresses left: %s in the largest range\n",
	       s.areas, s.used, s.freed_areas, s.frames, SIZE(s.largest << PAGE_SHIFT));
}

void show_vmallocinfo(void)
{
	struct vmalloc_stats s;
	struct vm_area a;

	for (vaddr_t va = VMALLOC_START; next_vm_area(va, &a); va = vm_area_end(&a)) {
		const char *kind = a.kind == VM_FREED ? "unpurged" : vm_kind_name(a.kind);
		vaddr_t end = vm_area_end(&a);
		bool device = a.kind == VM_IOREMAP;
		u64 phys = vmalloc_to_pfn((void *)a.start) << PAGE_SHIFT, huge = 0;
		char more[48] = "";
		struct mapping m;

		for (va = a.start; va < end; va += level_bytes(2))
			huge += pt_lookup(&kernel_pt, va, &m) && m.level == 2;
		if (device || huge)
			snprintf(more, sizeof(more), device ? " phys=0x%lx" : " huge=%lu",
				 device ? phys : huge);
		printk("0x%lx-0x%lx %10lu %pS pages=%lu%s %s\n", a.start, end - 1, end - a.start,
		       a.caller, a.nr_pages, more, kind);
		record("vmallocinfo", rec_hex("va", a.start), rec_hex("bytes", end - a.start),
		       rec_code("caller", a.caller), rec_num("pages", a.nr_pages),
		       device ? rec_hex("phys", phys) : (void)0, rec_num("huge", huge),
		       rec_str("kind", kind));
	}
	vmalloc_stats(&s);
	printk("VmallocTotal: %14lu kB\nVmallocUsed:  %14lu kB\nVmallocChunk: %14lu kB\n",
	       s.window * 4, s.used * 4, s.largest * 4);
}

/* Go on to the first leaf behind m, up to last. Entries not present are areas' descriptors. */
static bool next_leaf(struct mapping *m, vaddr_t last)
{
	vaddr_t va = m->va + m->bytes;
	int level;

	for (; va >= m->va && pt_next(&kernel_pt, &va, last + 1, &level); va += level_bytes(level))
		if (pt_lookup(&kernel_pt, va, m))
			return m->va <= last;
	return false;
}

struct image_section layout_at(vaddr_t va)
{
	const struct address_map *map = &address_map;
	vaddr_t half = level_bytes(map->levels + 1) / 2;
	struct image_section hole = { .name = "hole" };
	u64 ram = 0; /* frames up to its end */

	for (unsigned i = 0; i < memmap.nr; i++)
		if (memmap_is_ram(memmap.range[i].type))
			ram = memmap.range[i].end >> PAGE_SHIFT;
	const struct image_section fixed[] = {
		{ .name = "null", 0, PAGE_SIZE },
		{ .name = "noncanonical", half, -half },
		{ .name = "direct", map->direct, map->direct + (ram << PAGE_SHIFT) },
		{ .name = "vmalloc", VMALLOC_START, VMALLOC_END + 1 },
		{ .name = "vmemmap", map->vmemmap, ALIGN_UP((vaddr_t)pfn_to_page(ram), PAGE_SIZE) },
	};

	/* These rise, and the image's sections lie above them. */
	for (unsigned i = 0, n = ARRAY_SIZE(fixed); i < n + map->nr_sections; i++) {
		const struct image_section *r = i < n ? &fixed[i] : &map->sections[i - n];

		if (va < r->end) {
			hole.name = i > n ? "guard" : "hole";
			hole.end = r->start;
			return va < r->start ? hole : *r;
		}
		hole.start = r->end;
	}
	return hole;
}

/* What a range permits is asked of the first leaf in it: of the tables, not of the plan. */
void show_layout(void)
{
	vaddr_t va = 0;

	printk("first byte          last byte                size  may  range\n");
	do {
		struct image_section r = layout_at(va);
		struct mapping m = { .va = va };

		range_row("layout", r.name, va, r.end - 1,
			  pgprot_text(next_leaf(&m, r.end - 1) ? m.prot : PAGE_NONE));
		va = r.end;
	} while (va);
}

u64 show_map(vaddr_t start, vaddr_t last, const paddr_t *frame)
{
	struct mapping m = { .va = start };
	struct vm_area area = { 0 };
	u64 rows = 0, pa = 0;
	char gap[24] = "-";
	int level;

	if (!va_canonical(start, kernel_pt.levels)) /* between the halves a walk would go astray */
		m.va = layout_at(start).end;
	printk("virtual            physical       page may distance area +page, or range\n");
	while (next_leaf(&m, last)) {
		u64 offset = frame ? frame->v - m.pa.v : 0, va = m.va + offset;

		if (offset >= m.bytes) /* huge, if the frame lies below the leaf */
			continue;
		if (rows++)
			snprintf(gap, sizeof(gap), "%+ld",
				 (s64)(m.pa.v + offset - pa) >> PAGE_SHIFT);
		pa = m.pa.v + offset;
		printk("0x%016lx 0x%011lx %s %s %8s ", va, pa, SIZE(m.bytes), pgprot_text(m.prot),
		       gap);
		/* find_vm_area() looks at the pages before: not again for each page of an area */
		if (va - area.start < area.nr_pages << PAGE_SHIFT || find_vm_area(va, &area))
			printk("0x%016lx +%lu%s\n", area.start, (va - area.start) >> PAGE_SHIFT,
			       pte_type_text(pte_get(pt_walk(&kernel_pt, va, 1, &level))));
		else
			printk("%s\n", layout_at(va).name);
		record(frame ? "alias" : "map", rec_hex("va", va), rec_hex("pa", pa),
		       rec_num("bytes", m.bytes), rec_str("prot", pgprot_text(m.prot)));
	}
	return rows;
}
