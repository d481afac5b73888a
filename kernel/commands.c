/*
 * commands.c - what can be typed at the prompt.
 *
 * Wrong input changes nothing and says what is wrong with it. The monitor has counted and read the
 * arguments. What only mm/ can judge, such as whether an address is the start of an area, is
 * left to mm/: it panics before it changes anything, and here that panic is caught and its message
 * shown. Addresses are touched by probe_*(), which survive a fault; then the fault is explained.
 */
#include <arch/machine.h>
#include <kernel/bootinfo.h>
#include <kernel/explain.h>
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/record.h>
#include <kernel/show.h>
#include <kernel/string.h>
#include <kernel/tour.h>
#include <kernel/words.h>
#include <mm/mm.h>
#include <mm/pagetable.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

/* The first command after this name in the alphabet. */
static const struct command *next_command(const char *name)
{
	const struct command *next = NULL;

	for (const struct command *c = __start_commands; c < __stop_commands; c++)
		if (strcmp(c->name, name) > 0 && (!next || strcmp(c->name, next->name) < 0))
			next = c;
	return next;
}

static int help(void)
{
	for (const struct command *c = next_command(""); c; c = next_command(c->name))
		printk("%-8s %-12s %s\n", c->name, c->args, c->help);
	printk("A SIZE is 4096, 0x1000, 64K, 2M or 1G; the other capitals are hexadecimal.\n");
	return 0;
}

static int check(void)
{
	u64 faults = mm_check(printk_line);

	printk("%lu faults\n", faults);
	return faults != 0;
}

/* The window; the area or page at n[0]; or from n[0] to n[1]. */
static int map(unsigned nr, const u64 *n)
{
	vaddr_t start = nr ? n[0] : VMALLOC_START, last = nr ? n[nr - 1] : VMALLOC_END;
	struct vm_area area;

	if (nr == 1 && find_vm_area(start, &area)) {
		start = area.start;
		last = start + (area.nr_pages << PAGE_SHIFT) - 1;
	}
	if (last < start) {
		printk("refused: 0x%lx lies below 0x%lx\n", last, start);
		return 1;
	}
	printk("%lu mappings\n", show_map(start, last));
	return 0;
}

static int new_area(const void *p)
{
	struct vmalloc_stats stats;
	struct vm_area area;

	if (!p || !find_vm_area((vaddr_t)p, &area)) {
		vmalloc_stats(&stats);
		printk("refused: %lu frames are free, and %lu pages in one piece of the window\n",
		       nr_free_pages(), stats.largest);
		return 1;
	}
	printk("0x%lx-0x%lx, %lu pages\n", area.start,
	       area.start + (area.nr_pages << PAGE_SHIFT) - 1, area.nr_pages);
	rec_begin("area");
	rec_hex("va", area.start);
	rec_num("pages", area.nr_pages);
	rec_str("kind", vm_kind_name(area.kind));
	rec_code("caller", address_map.image + area.caller);
	rec_end();
	return 0;
}

static int new_alias(unsigned nr, const u64 *pa)
{
	struct page *pages[16];

	for (unsigned i = 0; i < nr; i++) {
		struct page *head = page_head(pa[i] >> PAGE_SHIFT);

		if (!head || head->state == PG_FREE || head->state == PG_RESERVED) {
			printk("refused: the frame at 0x%lx is %s; take one in use, as `map` shows\n",
			       pa[i], head ? page_state_name(head->state) : "no RAM");
			return 1;
		}
		pages[i] = pfn_to_page(pa[i] >> PAGE_SHIFT);
	}
	return new_area(vmap(pages, nr, PAGE_KERNEL));
}

static int new_block(const void *p)
{
	if (p)
		printk("0x%lx, physical 0x%lx, %lu bytes\n", (vaddr_t)p, virt_to_phys(p).v,
		       ksize(p));
	else
		printk("refused: at most 4M, and no more than the largest block that `buddy` shows\n");
	return !p;
}

static void free_area(void *p)
{
	struct vm_area area;

	if (find_vm_area((vaddr_t)p, &area) && area.kind == VM_MAP)
		vunmap(p);
	else
		vfree(p);
}

static void free_block(void *p)
{
	kfree(p);
}

static int give_back(void (*free)(void *), vaddr_t va)
{
	char msg[512];
	bool refused = panic_caught(free, (void *)va, msg, sizeof(msg));

	if (refused)
		printk("%s\n", msg);
	return refused;
}

static int peek(vaddr_t va, u64 bytes)
{
	u8 byte;

	if (bytes > PAGE_SIZE) {
		printk("%lu bytes are too many to look at: at most %lu\n", bytes, PAGE_SIZE);
		return 1;
	}
	for (u64 i = 0; i < bytes; i++) {
		if (i % 16 == 0)
			printk("%s0x%016lx ", i ? "\n" : "", va + i);
		if (!probe_read(va + i, &byte)) {
			printk(" ??\n");
			explain_fault(last_probe_fault());
			return 1;
		}
		printk(" %02x", byte);
	}
	printk("\n");
	return 0;
}

static int poke(vaddr_t va, u64 value)
{
	u8 before;

	if (value > 0xff) {
		printk("0x%lx is more than a byte\n", value);
		return 1;
	}
	if (!probe_read(va, &before) || !probe_write(va, value)) {
		explain_fault(last_probe_fault());
		return 1;
	}
	printk("0x%lx: was %02x, is %02lx\n", va, before, value);
	return 0;
}

static int fault(const char *access, vaddr_t va)
{
	struct mapping m = { 0 };
	u8 byte = 0;
	bool done = probe_read(va, &byte);

	if (strcmp(access, "w") == 0) {
		done = probe_write(va, byte);
	} else if (strcmp(access, "x") == 0) { /* but never jump into the middle of code */
		done = pt_lookup(&kernel_pt, va, &m) && m.prot == PAGE_KERNEL_ROX;
		done = done || probe_fetch(va);
	} else if (strcmp(access, "r") != 0) {
		printk("'%s' is none of r (read), w (write) and x (execute)\n", access);
		return 1;
	}
	if (done)
		printk("no fault: the mapping permits it, see `walk`\n");
	else
		explain_fault(last_probe_fault());
	return 0;
}

static int reboot(void)
{
	rec_run_end("reboot");
	machine_reboot();
}

COMMAND(help, "", "this list", help());
COMMAND(tour, "", "the guided tour", tour() != 0);
COMMAND(mem, "", "who owns which physical range", (show_memmap(), 0));
COMMAND(frames, "", "frames by state", (show_frames(), 0));
COMMAND(buddy, "", "free blocks of frames by order", (show_buddy(), 0));
COMMAND(slab, "", "caches of small objects", (show_slab(), 0));
COMMAND(layout, "", "the address map", (show_layout(), 0));
COMMAND(areas, "", "areas of the vmalloc window", (show_areas(), 0));
COMMAND(map, "[VA] [LAST]", "what is mapped: in the window, in VA's area, or from VA to LAST",
	map(nr, n));
COMMAND(walk, "VA", "the page walk to an address", (explain_walk(n[0]), 0));
COMMAND(alias, "PA", "every virtual address of a frame",
	(printk("%lu mappings\n", show_alias(paddr(n[0]))), 0));
COMMAND(vmalloc, "SIZE", "a new area, of frames from anywhere", new_area(vmalloc(n[0])));
COMMAND(vmap, "PA...", "a new area, of these frames that are in use", new_alias(nr, n));
COMMAND(vfree, "VA", "give back an area of vmalloc or vmap", give_back(free_area, n[0]));
COMMAND(purge, "", "flush and release what was freed",
	(printk("%lu pages released\n", vm_unmap_aliases()), 0));
COMMAND(kmalloc, "SIZE", "memory whose frames are neighbours",
	new_block(kmalloc(n[0], GFP_KERNEL)));
COMMAND(kfree, "VA", "give it back", give_back(free_block, n[0]));
COMMAND(peek, "VA [SIZE]", "the bytes there", peek(n[0], nr > 1 ? n[1] : 64));
COMMAND(poke, "VA BYTE", "write one there", poke(n[0], n[1]));
COMMAND(fault, "r|w|x VA", "read, write or execute there; the fault is explained",
	fault(text[0], n[1]));
COMMAND(check, "", "is mm/ sound? every invariant, recounted", check());
COMMAND(words, "", "the kernel's command line", (printk("%s\n", bootinfo.cmdline), 0));
COMMAND(reboot, "", "start the machine anew", reboot());
COMMAND(exit, "", "power off", (words.exit = true, 0));
