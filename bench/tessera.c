/*
 * tessera.c - the monitor's command `bench`: what the calls of mm/ cost, in cycles of this CPU.
 *
 * Under `make bench` QEMU counts one cycle an instruction (-icount shift=0), so the figures are
 * exact and the same in every run; on any other machine compare only ratios. docs/records.md:
 * `bench`. `make bench-linux` runs the same workloads on Linux and puts both side by side.
 */
#include <arch/cpu.h>
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/record.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

static u64 now(void)
{
	return cycles();
}

static void *map_frames(struct page **pages, u64 nr)
{
	return vmap(pages, nr, PAGE_KERNEL);
}

#include "workloads.h"

static bool bench_one(const struct workload *w)
{
	u64 per_op;

	if (!measure(w, &per_op)) {
		printk("%-22s not measured: too little memory; MEM=256M is enough\n", w->name);
		return false;
	}
	printk("%-22s %7lu %10lu\n", w->name, nr_of_ops(w), per_op);
	record("bench", rec_str("op", w->name), rec_num("n", nr_of_ops(w)),
	       rec_num("insns_per_op", per_op));
	return true;
}

static bool bench(void)
{
	bool ok = true;

	printk("operation                    n  cycles/op\n");
	for (const struct workload *w = workloads; w < workloads + ARRAY_SIZE(workloads); w++)
		ok &= bench_one(w);
	return !ok;
}

COMMAND(bench, "", "what each call costs, in cycles", failed = bench());
