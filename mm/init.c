/*
 * init.c - from a list of physical ranges to a working memory manager.
 *
 * Until page_alloc stands there is only the memory map and a coarse mapping of the first 4 GiB
 * that boot left. From the map we take, in this order:
 *
 *	1. frames for the final page tables: the kernel's image section by section, then the direct
 *	   map, all RAM in the largest pages the CPU has. Where the direct map shows the image's code
 *	   and constants it is read-only, so that no frame is writable by one name and executable by
 *	   another. The new tables have no identity map, and nothing at address 0.
 *	2. frames for the struct page array, mapped at its own place in 2 MiB pieces. Only the parts
 *	   that describe RAM exist: a hole of a terabyte costs nothing.
 *
 * What is usable then goes to page_alloc, and the rest of mm/ comes up on top of it.
 */
#include <mm/mm.h>
#include <mm/vmstock.h>

static _Noreturn void too_little(const char *what)
{
	panic("mm_init: no memory for %s\n  %lu KiB of usable RAM are left\n"
	      "  give the machine more (make run MEM=64M), or take mem= off the command line",
	      what, memmap_bytes(&memmap, MEM_USABLE) / KiB);
}

/* The next stretch of RAM, of whatever types, that ends behind from. False: there is none. */
static bool next_ram(u64 from, u64 *start, u64 *end)
{
	const struct memrange *r = memmap.range, *stop = r + memmap.nr;

	while (r < stop && (!memmap_is_ram(r->type) || r->end <= from))
		r++;
	*start = *end = r < stop ? MAX(r->start, from) : 0;
	for (; r < stop && memmap_is_ram(r->type) && r->start <= *end; r++)
		*end = r->end;
	return *end;
}

static void map_range(vaddr_t va, u64 pa, u64 bytes, pgprot_t prot, const char *what)
{
	int error = pt_map(&kernel_pt, va, paddr(pa), bytes >> PAGE_SHIFT, prot);

	if (error == -ENOMEM)
		too_little(what);
	if (error)
		panic("mm_init: cannot map %s at 0x%lx\n  something is mapped there already: "
		      "two ranges of the address map overlap",
		      what, va);
}

/* Each section, and what the direct map shows of it: not writable where the image is not. */
static void map_image(void)
{
	for (unsigned i = 0; i < address_map.nr_sections; i++) {
		const struct image_section *s = &address_map.sections[i];
		u64 pa = virt_to_phys((void *)s->start).v, bytes = s->end - s->start;

		map_range(s->start, pa, bytes, s->prot, s->name);
		if (s->prot != PAGE_KERNEL && pt_protect(&kernel_pt, address_map.direct + pa,
							 bytes >> PAGE_SHIFT, PAGE_KERNEL_RO))
			too_little("the image in the direct map (is it RAM at all?)");
	}
}

/* The struct pages of each stretch of RAM, in parts that do not cross 2 MiB. */
static void map_vmemmap(void)
{
	vaddr_t va = address_map.vmemmap, stop;
	u64 start, end, bytes;
	paddr_t pa;

	for (u64 from = 0; next_ram(from, &start, &end); from = end) {
		va = MAX(va, ALIGN_DOWN((vaddr_t)pfn_to_page(start >> PAGE_SHIFT), PAGE_SIZE));
		stop = ALIGN_UP((vaddr_t)pfn_to_page(end >> PAGE_SHIFT), PAGE_SIZE);
		for (; va < stop; va += bytes) {
			bytes = MIN(stop, ALIGN_DOWN(va, 2 * MiB) + 2 * MiB) - va;
			pa = memmap_alloc(&memmap, bytes, MIN(bytes & -bytes, 2 * MiB),
					  MEMMAP_LIMIT, MEM_VMEMMAP);
			if (!pa.v)
				too_little("the struct page array");
			memset(phys_to_virt(pa), 0, bytes);
			map_range(va, pa.v, bytes, PAGE_KERNEL, "the struct page array");
		}
	}
}

void mm_init(const struct memmap *map, const struct mm_options *options)
{
	u64 window = ALIGN_DOWN(options->vmalloc_bytes, PAGE_SIZE);

	memmap = *map;
	if (options->mem_bytes)
		memmap_limit(&memmap, options->mem_bytes);
	if (window && window <= address_map.vmalloc_end - address_map.vmalloc_start)
		address_map.vmalloc_end = address_map.vmalloc_start + window - 1;
	kernel_pt.levels = address_map.levels;
	kernel_pt.root = memmap_tables.get();
	if (!kernel_pt.root)
		too_little("page tables");
	for (u64 from = 0, start, end; next_ram(from, &start, &end); from = end)
		map_range(address_map.direct + start, start, end - start, PAGE_KERNEL,
			  "the direct map");
	map_image();
	mmu_set_root(virt_to_phys(kernel_pt.root));
	map_vmemmap();
	page_alloc_init(options->shuffle_seed);
	kernel_pt.source = &page_alloc_tables;
	slab_init();
	tlb_mode = options->tlb;
	vmalloc_init();
}

int mm_cpu_init(u32 cpu)
{
	return (magazines[cpu] ? 0 : magazines_init(cpu)) ?: (vm_stocks[cpu] ? 0 : stock_init(cpu));
}
