/*
 * tour.c - what a person sees first: one lesson, done before your eyes.
 *
 * kmalloc needs frames that are neighbours. vmalloc takes any, and lays them side by side where
 * only addresses have to be neighbours: in its window. To see the difference one needs memory in
 * pieces, so the tour breaks it: it takes every frame there is, gives back every second one, and
 * asks both for the same 64 KiB. Then it looks at what came of it, entry by entry.
 *
 * Nothing printed here is known beforehand. Each claim is a comparison made on this machine, now;
 * it is printed with its outcome and left as a `tour` record. One that fails fails the run.
 */
#include <kernel/explain.h>
#include <kernel/printk.h>
#include <kernel/record.h>
#include <kernel/show.h>
#include <kernel/string.h>
#include <kernel/tour.h>
#include <mm/pagetable.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

#define AREA_BYTES (64 * KiB)
#define AREA_PAGES (AREA_BYTES / PAGE_SIZE)
#define PATTERN 0x5a
#define ROUNDS 16 /* of each measurement; the fastest counts */

static unsigned broken; /* claims that did not hold */
static char *area;	/* the 64 KiB from vmalloc, while they exist */
static u64 free_before; /* frames */

/* The frames that we hold, even and odd ones: the first one's number; page->next leads on. */
static u32 taken[2];

static void claim(bool holds, const char *name, const char *text)
{
	printk("  %s %s\n", holds ? "[true] " : "[FALSE]", text);
	broken += !holds;
	rec_begin("tour");
	rec_str("claim", name);
	rec_str("ok", holds ? "true" : "false");
	rec_end();
}

/* The frame of page i of p: in the window by a walk, in the direct map by a subtraction. */
static u64 frame_of(const char *p, u64 i)
{
	p += i * PAGE_SIZE;
	return is_vmalloc_addr(p) ? vmalloc_to_pfn(p) : paddr_to_pfn(virt_to_phys(p));
}

/* How many of the pages of p lie in the frame right behind that of the page before. */
static u64 count_adjacent(const char *p)
{
	u64 adjacent = 0;

	for (u64 i = 1; i < AREA_PAGES; i++)
		adjacent += frame_of(p, i) == frame_of(p, i - 1) + 1;
	return adjacent;
}

static u64 give_back(unsigned odd)
{
	u64 given = 0;

	for (; taken[odd]; given++) {
		struct page *page = pfn_to_page(taken[odd]);

		taken[odd] = page->next;
		__free_pages(page, 0);
	}
	return given;
}

/* Frames that are free when all is given back that waits for a flush or is kept in stock. */
static u64 free_when_settled(void)
{
	vm_unmap_aliases();
	kmem_cache_shrink_all();
	return nr_free_pages();
}

static void tour_window(void)
{
	u64 bytes = VMALLOC_END - VMALLOC_START + 1;
	char size[SIZE_TEXT];

	show_layout();
	printk("\n  %d levels of page tables. The vmalloc window:\n"
	       "  VMALLOC_START  0x%016lx\n  VMALLOC_END    0x%016lx, its last byte\n"
	       "  size           0x%016lx, %s: %lu times the free RAM\n",
	       address_map.levels, VMALLOC_START, VMALLOC_END, bytes, size_text(size, bytes),
	       (bytes >> PAGE_SHIFT) / MAX(nr_free_pages(), 1));
}

static noinline void tour_scatter(void)
{
	unsigned order = MAX_ORDER;
	struct page_stats stats;
	struct page *page;
	char size[SIZE_TEXT];
	void *p;

	vfree(vmalloc(1)); /* the first leaves page tables behind, for all that come after it */
	free_before = free_when_settled();
	while ((page = alloc_pages(GFP_KERNEL, 0))) {
		u64 pfn = page_to_pfn(page);

		page->next = taken[pfn & 1];
		taken[pfn & 1] = pfn;
	}
	printk("  took all of %lu frames: %lu are free\n", free_before, nr_free_pages());
	printk("  gave back every second one, those with odd numbers: %lu\n\n", give_back(1));
	show_buddy();
	page_stats(&stats);
	while (order && !stats.free_blocks[order])
		order--;
	printk("\n  %s are free; the largest block has %lu KiB\n",
	       size_text(size, stats.free << PAGE_SHIFT), (PAGE_SIZE / KiB) << order);
	claim(order == 0, "shattered", "no two free frames are neighbours");
	p = kmalloc(AREA_BYTES, GFP_KERNEL);
	claim(!p, "kmalloc_64k_fails", "kmalloc(64 KiB) fails: it needs 16 frames in a row");
	kfree(p);
	area = vmalloc(AREA_BYTES);
	claim(area, "vmalloc_64k_works", "vmalloc(64 KiB) works: any 16 frames will do\n");
	show_areas();
}

static void tour_pages(void)
{
	u64 adjacent = count_adjacent(area);

	show_map((vaddr_t)area, (vaddr_t)area + AREA_BYTES - 1);
	printk("\n  neighbouring pages: %lu pairs; of these in neighbouring frames (+1): %lu\n",
	       AREA_PAGES - 1, adjacent);
	claim(!adjacent, "frames_scattered", "one range of addresses, frames that do not touch");
}

static void tour_walks(void)
{
	vaddr_t a = (vaddr_t)area, b;
	bool same = true;
	int reached;

	a += level_index(a, 1) == PT_ENTRIES - 1 ? PAGE_SIZE : 0; /* so that one table has both */
	b = a + PAGE_SIZE;
	printk("  table  0x%016lx        0x%016lx\n", a, b);
	for (int level = kernel_pt.levels; level > 0; level--) {
		const pte_t *left = pt_walk(&kernel_pt, a, level, &reached);
		const pte_t *right = pt_walk(&kernel_pt, b, level, &reached);

		printk("  %-5s  [%3u] 0x%016lx  [%3u] 0x%016lx  %s\n", level_name(level),
		       level_index(a, level), pte_get(left).v, level_index(b, level),
		       pte_get(right).v, left == right ? "the same" : "different");
		same &= (left == right) == (level > 1);
	}
	claim(same, "walks_part_last",
	      "both walks use the same tables; only the last entries differ");
}

static void tour_memset(void)
{
	u64 seen = 0;

	memset(area, PATTERN, AREA_BYTES);
	printk("  memset(0x%lx, 0x%x, 65536); in the direct map:\n", (vaddr_t)area, PATTERN);
	for (u64 i = 0; i < AREA_PAGES; i++) {
		const u8 *frame = phys_to_virt(pfn_to_paddr(frame_of(area, i)));
		u64 n = 0;

		while (n < PAGE_SIZE && frame[n] == PATTERN)
			n++;
		seen += n;
		printk("  0x%016lx: %4lu bytes%s", (vaddr_t)frame, n, i % 2 ? "\n" : "  ");
	}
	claim(seen == AREA_BYTES, "memset_seen", "all 65536 bytes are found, frame by frame");
}

static void tour_guards(void)
{
	bool caught = !probe_write((vaddr_t)area + AREA_BYTES, PATTERN);
	u8 byte;

	printk("  one byte too far: area[65536] = 0x%x\n\n", PATTERN);
	if (caught)
		explain_fault(last_probe_fault());
	printk("\n");
	claim(caught && !strcmp(fault_why(last_probe_fault()), "guard"), "guard_behind",
	      "behind the last byte is a guard page");
	caught = !probe_read((vaddr_t)area - 1, &byte);
	claim(caught && !strcmp(fault_why(last_probe_fault()), "guard"), "guard_before",
	      "before the first byte is another; and we are still running");
}

static void tour_addresses(void)
{
	char *p;

	give_back(0);
	p = kmalloc(AREA_BYTES, GFP_KERNEL);
	claim(p, "kmalloc_64k_works", "gave back the other frames: now kmalloc(64 KiB) works\n");
	printk("  page  kmalloc: virt_to_phys, a subtraction  vmalloc: a walk for each page\n");
	for (u64 i = 0; p && i < AREA_PAGES; i++)
		printk("  %4lu  0x%lx -> 0x%-9lx   0x%lx -> 0x%lx\n", i, (vaddr_t)p + i * PAGE_SIZE,
		       frame_of(p, i) << PAGE_SHIFT, (vaddr_t)area + i * PAGE_SIZE,
		       frame_of(area, i) << PAGE_SHIFT);
	claim(p && virt_to_phys(p).v == (vaddr_t)p - address_map.direct, "kmalloc_linear",
	      "kmalloc: physical = virtual - start of the direct map");
	claim(p && count_adjacent(p) == AREA_PAGES - 1, "kmalloc_contiguous",
	      "kmalloc: 16 frames in a row, as a device's DMA wants them");
	kfree(p);
	vfree(area);
	area = NULL;
	claim(free_when_settled() == free_before, "all_given_back",
	      "kfree, vfree: as many frames are free as before");
}

/* Cycles of the fastest of some allocate and free pairs; 0: no room. *tlb: TLB entries to reach it. */
static u64 measure(u64 bytes, bool contiguous, u64 *tlb)
{
	u64 best = ~0ul, start, middle, end;
	struct mapping m;

	for (int i = 0; i < ROUNDS; i++) {
		start = cycles();
		void *p = contiguous ? kmalloc(bytes, GFP_KERNEL) : vmalloc(bytes);

		middle = cycles();
		if (!p || !pt_lookup(&kernel_pt, (vaddr_t)p, &m))
			return 0;
		end = cycles();
		contiguous ? kfree(p) : vfree(p);
		best = MIN(best, cycles() - end + middle - start);
		*tlb = (bytes + m.bytes - 1) / m.bytes;
	}
	return best;
}

static void tour_cost(void)
{
	u64 k_tlb = 0, v_tlb = 0;
	char size[SIZE_TEXT];

	printk("          cycles to allocate and free (0: no room)    TLB entries to reach it\n"
	       "    size      kmalloc      vmalloc         ratio          kmalloc     vmalloc\n");
	for (u64 bytes = 64; bytes <= 4 * MiB; bytes *= 4) {
		u64 k = measure(bytes, true, &k_tlb), v = measure(bytes, false, &v_tlb);

		printk("%8s %12lu %12lu  %10lu.%lu  %15lu  %10lu\n", size_text(size, bytes), k, v,
		       v / MAX(k, 1), v * 10 / MAX(k, 1) % 10, k_tlb, v_tlb);
	}
}

static void tour_limits(void)
{
	char ram[SIZE_TEXT], window[SIZE_TEXT], most[SIZE_TEXT];
	u64 free = free_when_settled(), works, step;
	struct vmalloc_stats s;
	void *p;

	vmalloc_stats(&s);
	works = MIN(free, s.largest);
	step = works / 512 + 1; /* one page table serves 512 pages: what they take, about */
	while (!(p = vmalloc(works << PAGE_SHIFT)) && works > step)
		works -= step;
	vfree(p);
	printk("  RAM     %8s are free\n  window  %8s of addresses are free in one range\n"
	       "  tried   %8s is the largest that works: %lu pages, in steps of %lu\n",
	       size_text(ram, free << PAGE_SHIFT), size_text(window, s.largest << PAGE_SHIFT),
	       size_text(most, works << PAGE_SHIFT), works, step);
	if (free < s.largest)
		claim(works >= free / 20 * 19, "limit_is_ram",
		      "RAM ends first (page tables took a little)\n"
		      "          to meet the window's end: make run APPEND=\"tour vmalloc=16M\"");
	else
		claim(works == s.largest, "limit_is_window",
		      "the window ends first\n"
		      "          to meet the end of RAM: make run APPEND=tour, without vmalloc=");
}

static const struct {
	const char *title;
	void (*show)(void);
} chapters[] = {
	{ "Physical memory: who owns which range", show_memmap },
	{ "What its frames are used for", show_frames },
	{ "Virtual memory: the address map, and the vmalloc window", tour_window },
	{ "Shatter memory: take every frame, give back every second one", tour_scatter },
	{ "The mapping, page by page", tour_pages },
	{ "How the CPU finds two neighbouring pages", tour_walks },
	{ "One memset through the window, read back frame by frame", tour_memset },
	{ "The guard pages", tour_guards },
	{ "Where is it physically? kmalloc against vmalloc", tour_addresses },
	{ "What it costs", tour_cost },
	{ "The limits of one vmalloc", tour_limits },
};

unsigned tour(void)
{
	broken = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(chapters) && !broken; i++) {
		printk("\n==== %u. %s\n\n", i + 1, chapters[i].title);
		chapters[i].show();
	}
	vfree(area); /* if a claim was broken on the way */
	area = NULL;
	give_back(0);
	give_back(1);
	if (broken)
		printk("\n==== %u claims do not hold: it ends here, the rest builds on them\n\n",
		       broken);
	else
		printk("\n==== What you saw\n\n"
		       "  Scattered frames became one range of addresses: one entry a page.\n"
		       "  kmalloc is cheaper, its physical address is a subtraction away, but it\n"
		       "  needs frames in a row. vmalloc does not: it pays in entries, TLB, walks.\n\n"
		       "  At the prompt: vmalloc 64K, then areas, map, walk VA, fault w VA at a guard;\n"
		       "  buddy and frames before and after; check; help.\n\n");
	return broken;
}
