/*
 * tour.c - what a person sees first: one lesson, done before your eyes.
 *
 * kmalloc needs frames that are neighbours. vmalloc takes any, and lays them side by side in its
 * window. To see the difference one needs memory in pieces: the tour takes every frame there is,
 * gives back every second one, and asks both for the same 64 KiB. Nothing printed is known before:
 * each claim is a comparison made on this machine, now, printed and left as a `tour` record.
 */
#include <kernel/record.h>
#include <kernel/show.h>
#include <mm/vmalloc.h>

#define AREA_BYTES (64 * KiB)
#define AREA_PAGES (AREA_BYTES / PAGE_SIZE)
#define PATTERN 0x5a

static unsigned broken;		  /* claims that did not hold */
static char *area;		  /* the 64 KiB from vmalloc, while they exist */
static u64 free_before;		  /* frames */
static struct page_list taken[2]; /* the frames that we hold: even ones, odd ones */

static void claim(bool holds, const char *name, const char *text)
{
	printk("  %s %s\n", holds ? "[true] " : "[FALSE]", text);
	broken += !holds;
	record("tour", rec_str("claim", name), rec_str("ok", holds ? "true" : "false"));
}

static void give_back(struct page_list *list)
{
	for (struct page *page; list->first; __free_pages(page, 0)) {
		page = pfn_to_page(list->first);
		page_list_remove(list, page);
	}
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
	show_layout();
	printk("\n  VMALLOC_START  0x%016lx\n  VMALLOC_END    0x%016lx, its last byte\n"
	       "  size           %s\n",
	       VMALLOC_START, VMALLOC_END, SIZE(VMALLOC_END - VMALLOC_START + 1));
}

static noinline void tour_scatter(void)
{
	struct page_stats stats;
	struct page *page;
	void *p;

	free_before = free_when_settled();
	while ((page = alloc_pages(GFP_KERNEL, 0)))
		page_list_add(&taken[page_to_pfn(page) % 2], page, false);
	give_back(&taken[1]);
	page_stats(&stats);
	printk("  took all %lu frames, gave back the odd ones: %lu\n\n", free_before, stats.free);
	show_buddy();
	claim(stats.free_blocks[0] == stats.free, "shattered", "the largest free block has 4 KiB");
	p = kmalloc(AREA_BYTES, GFP_KERNEL);
	claim(!p, "kmalloc_64k_fails", "kmalloc(64 KiB) fails: it needs 16 frames in a row");
	kfree(p);
	area = vmalloc(AREA_BYTES);
	claim(area, "vmalloc_64k_works", "vmalloc(64 KiB) works: any 16 frames will do\n");
	show_areas();
}

static void tour_pages(void)
{
	u64 adjacent = 0;

	show_map((vaddr_t)area, (vaddr_t)area + AREA_BYTES - 1, NULL);
	for (const char *p = area + PAGE_SIZE; p < area + AREA_BYTES; p += PAGE_SIZE)
		adjacent += vmalloc_to_pfn(p) == vmalloc_to_pfn(p - PAGE_SIZE) + 1;
	printk("\n  of 15 neighbouring pairs %lu lie in neighbouring frames (distance +1)\n",
	       adjacent);
	claim(!adjacent, "frames_scattered", "one range of addresses, frames that do not touch");
}

static void tour_walks(void)
{
	vaddr_t a = (vaddr_t)area, b;
	bool same = true;
	int reached;

	a += level_index(a, 1) == PT_ENTRIES - 1 ? PAGE_SIZE : 0; /* so that one table has both */
	b = a + PAGE_SIZE;
	printk("  Nine bits of the address, [..], choose an entry at each level. Its middle\n"
	       "  digits are a frame's address, the others say what is allowed.\n\n"
	       "  table  0x%016lx        0x%016lx\n",
	       a, b);
	for (int level = kernel_pt.levels; level > 0; level--) {
		const pte_t *left = pt_walk(&kernel_pt, a, level, &reached);
		const pte_t *right = pt_walk(&kernel_pt, b, level, &reached);

		printk("  %-5s  [%3u] 0x%016lx  [%3u] 0x%016lx  %s\n", level_name(level),
		       level_index(a, level), pte_get(left).v, level_index(b, level),
		       pte_get(right).v, left == right ? "the same" : "different");
		same &= (left == right) == (level > 1);
	}
	claim(same, "walks_part_last", "the same tables; only the last entries differ");
}

static void tour_memset(void)
{
	u64 seen = 0;

	memset(area, PATTERN, AREA_BYTES);
	printk("  The direct map shows all RAM at one fixed distance, frame after frame.\n"
	       "  After memset(0x%lx, 0x%x, 65536) it holds that byte at\n\n",
	       (vaddr_t)area, PATTERN);
	for (u64 i = 0, n; i < AREA_PAGES; i++, seen += n) {
		const u8 *frame = page_address(vmalloc_to_page(area + i * PAGE_SIZE));

		for (n = 0; n < PAGE_SIZE && frame[n] == PATTERN;)
			n++;
		printk("  0x%016lx: %4lu bytes%s", (vaddr_t)frame, n, i % 2 ? "\n" : "  ");
	}
	claim(seen == AREA_BYTES, "memset_seen", "all 65536 bytes are found, frame by frame");
}

static bool guarded(bool done)
{
	return !done && strcmp(fault_why(last_probe_fault()), "guard") == 0;
}

static void tour_guards(void)
{
	bool behind = guarded(probe_write((vaddr_t)area + AREA_BYTES, PATTERN));
	u8 byte;

	printk("  one byte too far: area[65536] = 0x%x\n\n", PATTERN);
	if (behind)
		explain_fault(last_probe_fault());
	claim(behind, "guard_behind", "behind the last byte is a guard page");
	printk("  The guard before it is not mapped either, but its entry is no zero: the CPU\n"
	       "  ignores it, and we keep there who asked for the area, and how large it is.\n\n");
	explain_walk((vaddr_t)area - PAGE_SIZE);
	claim(guarded(probe_read((vaddr_t)area - 1, &byte)), "guard_before",
	      "before the first byte is another guard; and we are still running");
}

static void tour_addresses(void)
{
	bool linear = true;
	struct mapping m;
	char *p;

	give_back(&taken[0]);
	p = kmalloc(AREA_BYTES, GFP_KERNEL);
	claim(p, "kmalloc_64k_works", "gave back the other frames: now kmalloc(64 KiB) works\n");
	printk("  page  kmalloc: virt_to_phys, a subtraction  vmalloc: vmalloc_to_page, a walk\n");
	for (u64 i = 0; p && i < AREA_PAGES; i++) {
		char *k = p + i * PAGE_SIZE, *v = area + i * PAGE_SIZE;
		u64 pa = virt_to_phys(k).v;

		linear &= pt_lookup(&kernel_pt, (vaddr_t)k, &m) && pa - m.pa.v == (vaddr_t)k - m.va;
		if (i % 5 == 0)
			printk("  %4lu  0x%lx -> 0x%-9lx   0x%lx -> 0x%lx\n", i, (vaddr_t)k, pa,
			       (vaddr_t)v, vmalloc_to_pfn(v) << PAGE_SHIFT);
	}
	claim(linear, "kmalloc_contiguous", "kmalloc: 16 frames in a row, by the page tables");
	kfree(p);
	vfree(area);
	area = NULL;
	claim(free_when_settled() == free_before, "all_given_back", "all is free that was before");
}

static void tour_cost(void)
{
	struct mapping m;

	printk("      cycles to allocate and free           TLB entries needed (0: no room)\n"
	       "    size      kmalloc      vmalloc  vmalloc/kmalloc       kmalloc     vmalloc\n");
	for (u64 bytes = 64; bytes <= 4 * MiB; bytes *= 4) {
		u64 best[2] = { ~0ul, ~0ul }, tlb[2] = { 0 };

		for (int i = 0; i < 32; i++) { /* the fastest of 16 rounds each */
			u64 v = i % 2, spent = -cycles();
			void *p = v ? vmalloc(bytes) : kmalloc(bytes, GFP_KERNEL);

			spent += cycles();
			tlb[v] = 0;
			if (pt_lookup(&kernel_pt, (vaddr_t)p, &m))
				tlb[v] = (bytes + m.bytes - 1) / m.bytes;
			spent -= cycles();
			v ? vfree(p) : kfree(p);
			best[v] = MIN(best[v], spent + cycles());
		}
		printk("%8s %12lu %12lu  %10lu.%lu  %15lu  %10lu\n", SIZE(bytes), best[0], best[1],
		       best[1] / best[0], best[1] * 10 / best[0] % 10, tlb[0], tlb[1]);
	}
}

static void tour_limits(void)
{
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
	       "  tried   %8s is the largest that works\n",
	       SIZE(free << PAGE_SHIFT), SIZE(s.largest << PAGE_SHIFT), SIZE(works << PAGE_SHIFT));
	claim(works >= MIN(free / 20 * 19, s.largest),
	      free < s.largest ? "limit_is_ram" : "limit_is_window",
	      free < s.largest ? "RAM ends first. Now make run APPEND=\"tour vmalloc=16M\"" :
				 "the window ends first, not RAM as it does without vmalloc=");
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
	give_back(&taken[0]);
	give_back(&taken[1]);
	printk("\n==== %s\n\n",
	       broken ? "A claim does not hold: the rest builds on it" :
			"Try it: vmalloc 64K, then areas, map, walk VA, peek VA, check; help");
	return broken;
}
