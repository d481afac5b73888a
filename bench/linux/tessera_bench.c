// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * tessera_bench.c - the workloads of bench/workloads.h as a module of Linux.
 *
 * It measures when it is loaded and says on the console, for bench/compare.py to read,
 *
 *	bench on RELEASE
 *	bench OP N CYCLES	a line for each workload
 *	bench done
 *
 * The same clock as Tessera's: under
 * QEMU's -icount shift=0 the time-stamp counter counts instructions, those of the timer's
 * interrupts and of kernel threads that run meanwhile included (they flush what vfree put off).
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/utsname.h>
#include <linux/vmalloc.h>
#include <asm/msr.h>

static u64 now(void)
{
	return rdtsc();
}

static void *map_frames(struct page **pages, u64 nr)
{
	return vmap(pages, nr, VM_MAP, PAGE_KERNEL);
}

#include "workloads.h"

static int __init tessera_bench_init(void)
{
	u64 per_op;

	pr_info("bench on %s\n", init_utsname()->release);
	for (const struct workload *w = workloads; w < workloads + ARRAY_SIZE(workloads); w++)
		if (measure(w, &per_op))
			pr_info("bench %s %llu %llu\n", w->name, nr_of_ops(w), per_op);
		else
			pr_info("bench %s not measured: too little memory\n", w->name);
	pr_info("bench done\n");
	return 0;
}

static void __exit tessera_bench_exit(void)
{
}

module_init(tessera_bench_init);
module_exit(tessera_bench_exit);
MODULE_DESCRIPTION("Tessera's workloads, for comparison");
MODULE_LICENSE("Dual MIT/GPL");
