/*
 * bench.c - what the memory manager's calls cost, in cycles of this CPU.
 *
 * Each operation is an allocation, a touch of its first byte, and the freeing, again and again,
 * after a round that warms up: steady state. Under `make bench` QEMU counts one cycle an
 * instruction (-icount shift=0), so the figures are exact and the same in every run; on any
 * other machine compare only ratios. docs/records.md: `bench`.
 *
 * The operations are those of Linux's lib/test_vmalloc.c and of DESIGN's table, by the same names.
 */
#include <arch/cpu.h>
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/record.h>
#include <mm/slab.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>

static struct page *frames[16]; /* what vmap_16p maps */
static char *area;		/* where vmalloc_to_page looks */

static bool touched(void *p)
{
	if (p)
		*(volatile char *)p = 1;
	return p;
}

static bool vmalloc_pages(u64 nr_pages)
{
	void *p = vmalloc(nr_pages << PAGE_SHIFT);
	bool ok = touched(p);

	vfree(p);
	return ok;
}

static bool frames_of_order(u64 order)
{
	struct page *page = alloc_pages(GFP_KERNEL, order);
	bool ok = page && touched(page_address(page));

	if (ok)
		__free_pages(page, order);
	return ok;
}

static bool kmalloc_bytes(u64 bytes)
{
	void *p = kmalloc(bytes, GFP_KERNEL);
	bool ok = touched(p);

	kfree(p);
	return ok;
}

static bool vmap_frames(u64 nr)
{
	void *p = vmap(frames, nr, PAGE_KERNEL);
	bool ok = touched(p);

	vunmap(p);
	return ok;
}

static bool look_up(u64 page)
{
	return vmalloc_to_page(area + (page << PAGE_SHIFT));
}

static const struct operation {
	const char *name;
	bool (*run)(u64 arg); /* one round; false: no memory */
	u64 arg, rounds;
} operations[] = {
	{ "vmalloc_1p", vmalloc_pages, 1, 2000 },    { "vmalloc_4p", vmalloc_pages, 4, 2000 },
	{ "vmalloc_16p", vmalloc_pages, 16, 2000 },  { "vmalloc_64p", vmalloc_pages, 64, 500 },
	{ "vmalloc_256p", vmalloc_pages, 256, 200 }, { "vmalloc_1024p", vmalloc_pages, 1024, 50 },
	{ "page_o0", frames_of_order, 0, 2000 },     { "page_o4", frames_of_order, 4, 2000 },
	{ "page_o9", frames_of_order, 9, 2000 },     { "kmalloc_64", kmalloc_bytes, 64, 2000 },
	{ "vmap_16p", vmap_frames, 16, 2000 },	     { "vmalloc_to_page", look_up, 3, 2000 },
};

static bool measure(const struct operation *op)
{
	bool ok = true;
	u64 spent = 0;

	for (u64 half = 0; half < 2; half++) { /* the first warms up */
		spent = -cycles();
		for (u64 i = 0; i < op->rounds; i++)
			ok &= op->run(op->arg);
		spent += cycles();
	}
	vm_unmap_aliases();
	if (!ok) {
		printk("%-16s not measured: too little memory\n", op->name);
		return false;
	}
	printk("%-16s %8lu %12lu\n", op->name, op->rounds, spent / op->rounds);
	record("bench", rec_str("op", op->name), rec_num("n", op->rounds),
	       rec_num("insns_per_op", spent / op->rounds));
	return true;
}

static bool bench(void)
{
	bool ok = alloc_pages_bulk(GFP_KERNEL, ARRAY_SIZE(frames), frames);

	area = vmalloc(4 * PAGE_SIZE);
	printk("operation          rounds  cycles/round\n");
	for (const struct operation *op = operations; op < operations + ARRAY_SIZE(operations);
	     op++)
		ok = ok && area && measure(op);
	vfree(area);
	vm_unmap_aliases();
	if (frames[0])
		free_pages_bulk(ARRAY_SIZE(frames), frames);
	frames[0] = NULL;
	return !ok;
}

COMMAND(bench, "", "what each call costs, in cycles", failed = bench());
