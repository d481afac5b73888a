/*
 * commands.c - what can be typed at the prompt.
 *
 * Wrong input changes nothing and says what is wrong with it. What only mm/ can judge, such as
 * whether an address is the start of an area, is left to mm/: it panics before it changes anything,
 * and here that panic is caught and its message shown. Addresses are touched by probe_*(), which
 * survive a fault; then the fault is explained.
 */
#include <kernel/monitor.h>
#include <kernel/record.h>
#include <kernel/show.h>
#include <kernel/words.h>
#include <mm/vmalloc.h>

static void help(void)
{
	for (const struct command *c = __start_commands; c < __stop_commands; c++)
		printk("%-8s %-12s %s\n", c->name, c->args, c->help);
	printk("A SIZE is 4096, 0x1000, 64K, 2M or 1G; the other capitals are hexadecimal.\n");
}

/* The window; the area or page at n[0]; or from n[0] to n[1]. */
static u64 map(unsigned nr, const u64 *n)
{
	vaddr_t start = nr ? n[0] : VMALLOC_START, last = nr ? n[nr - 1] : VMALLOC_END;
	struct vm_area area;

	if (nr == 1 && find_vm_area(start, &area)) {
		start = area.start;
		last = vm_area_end(&area) - 1;
	}
	return show_map(start, last, NULL);
}

static void new_area(const void *p)
{
	struct vmalloc_stats stats;
	struct vm_area area;

	vmalloc_stats(&stats);
	if (p && find_vm_area((vaddr_t)p, &area)) {
		printk("0x%lx-0x%lx, %lu pages\n", area.start, vm_area_end(&area) - 1,
		       area.nr_pages);
		record("area", rec_hex("va", area.start), rec_num("pages", area.nr_pages),
		       rec_str("kind", vm_kind_name(area.kind)), rec_code("caller", area.caller));
	} else {
		printk("refused: %lu frames are free, and %lu pages in one piece of the window\n",
		       nr_free_pages(), stats.largest);
	}
}

static void new_alias(unsigned nr, const u64 *pa)
{
	struct page *pages[ARGS_MAX], *head;

	for (unsigned i = 0; i < nr; i++) {
		head = page_head(pa[i] >> PAGE_SHIFT);
		if (!head || head->state == PG_FREE || head->state == PG_RESERVED ||
		    head->state == PG_TABLE) {
			printk("refused: the frame at 0x%lx is %s; take one that `map` shows\n",
			       pa[i], head ? page_state_name(head->state) : "no RAM");
			return;
		}
		pages[i] = pfn_to_page(pa[i] >> PAGE_SHIFT);
	}
	new_area(vmap(pages, nr, PAGE_KERNEL));
}

static void new_block(const void *p)
{
	if (p)
		printk("0x%lx, physical 0x%lx, %lu bytes\n", (vaddr_t)p, virt_to_phys(p).v,
		       ksize(p));
	else
		printk("refused: at most 4M, and the largest block that `buddy` shows\n");
}

static void free_area(void *p)
{
	struct vm_area area = { 0 };

	if (find_vm_area((vaddr_t)p, &area) && area.kind == VM_IOREMAP)
		iounmap(p);
	else
		(area.kind == VM_MAP ? vunmap : vfree)(p);
}

static void free_block(void *p)
{
	kfree(p);
}

static void give_back(void (*free)(void *), vaddr_t va)
{
	char msg[512];

	if (panic_caught(free, (void *)va, msg, sizeof(msg)))
		printk("%s\n", msg);
}

static void peek(vaddr_t va, u64 bytes)
{
	u64 i, end = MIN(bytes, PAGE_SIZE);
	u8 byte;

	for (i = 0; i < end && probe_read(va + i, &byte); i++) {
		if (i % 16 == 0)
			printk("%s0x%016lx ", i ? "\n" : "", va + i);
		printk(" %02x", byte);
	}
	printk("\n");
	if (i < end)
		explain_fault(last_probe_fault());
}

static void poke(vaddr_t va, u64 value)
{
	u8 before;
	bool known = probe_read(va, &before); /* if not, the write faults, and is told as one */

	if (value > 0xff)
		printk("0x%lx is more than a byte\n", value);
	else if (probe_write(va, value) && known)
		printk("0x%lx: was %02x, is %02lx\n", va, before, value);
	else
		explain_fault(last_probe_fault());
}

static void fault(const char *access, vaddr_t va)
{
	struct mapping m;
	u8 byte = 0;
	bool done = probe_read(va, &byte);

	if (strcmp(access, "w") == 0)
		done = probe_write(va, byte);
	if (strcmp(access, "x") == 0) /* but never jump into the middle of code */
		done = (pt_lookup(&kernel_pt, va, &m) && m.prot == PAGE_KERNEL_ROX) ||
		       probe_fetch(va);
	if (access[1] || !strchr("rwx", access[0]))
		printk("'%s' is none of r (read), w (write) and x (execute)\n", access);
	else if (done)
		printk("no fault: the mapping permits it, see `walk`\n");
	else
		explain_fault(last_probe_fault());
}

COMMAND(help, "", "this list", help());
COMMAND(tour, "", "the guided tour", failed = tour());
COMMAND(mem, "", "who owns which physical range", show_memmap());
COMMAND(frames, "", "frames by state", show_frames());
COMMAND(buddy, "", "free blocks of frames by order", show_buddy());
COMMAND(slab, "", "caches of small objects", show_slab());
COMMAND(layout, "", "the address map", show_layout());
COMMAND(areas, "", "areas of the vmalloc window", show_areas());
COMMAND(vmallocinfo, "", "the same as in Linux: with phys and huge", show_vmallocinfo());
COMMAND(map, "[VA] [LAST]", "what is mapped: in the window, in VA's area, from VA to LAST",
	printk("%lu mappings\n", map(nr, n)));
COMMAND(walk, "VA", "the page walk to an address", explain_walk(n[0]));
COMMAND(alias, "PA", "a frame's addresses",
	printk("%lu mappings\n", show_map(0, ~0ul, &(paddr_t){ n[0] })));
COMMAND(vmalloc, "SIZE", "a new area, of frames from anywhere",
	n[0] ? new_area(vmalloc(n[0])) : printk("refused: 0 bytes are no area\n"));
COMMAND(huge, "SIZE", "the same, in 2 MiB pages where they fit",
	new_area(vmalloc_huge(n[0], GFP_KERNEL)));
COMMAND(ioremap, "PA SIZE", "a device's registers, which are no RAM",
	new_area(ioremap(paddr(n[0]), n[1])));
COMMAND(vmap, "PA...", "a new area, of these frames that are in use", new_alias(nr, n));
COMMAND(vfree, "VA", "give back an area", give_back(free_area, n[0]));
COMMAND(purge, "", "flush what was freed", printk("%lu pages released\n", vm_unmap_aliases()));
COMMAND(kmalloc, "SIZE", "memory whose frames are neighbours",
	n[0] ? new_block(kmalloc(n[0], GFP_KERNEL)) : printk("refused: 0 bytes are no block\n"));
COMMAND(kfree, "VA", "give it back", give_back(free_block, n[0]));
COMMAND(peek, "VA [SIZE]", "the bytes there, at most 4K of them", peek(n[0], nr > 1 ? n[1] : 64));
COMMAND(poke, "VA BYTE", "write one there", poke(n[0], n[1]));
COMMAND(fault, "r|w|x VA", "read, write or execute there, and see", fault(text[0], n[1]));
COMMAND(check, "", "is mm/ sound?", failed = mm_check(printk_line);
	failed ? printk("%lu faults\n", failed) : printk("sound: nothing wrong found\n"));
COMMAND(reboot, "", "reset the machine; make run then ends", rec_run_end("reboot");
	machine_reboot());
COMMAND(exit, "", "power off", words.exit = true);
