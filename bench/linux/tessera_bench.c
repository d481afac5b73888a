// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * tessera_bench.c - the workloads of bench/workloads.h as a module of Linux.
 *
 * It measures when it is loaded, the workloads whose names contain the parameter part, and says on
 * the console, for bench/machines.py to read,
 *
 *	bench on RELEASE, KHZ kHz
 *	bench OP N CYCLES			a line for each workload: cycles an operation
 *	throughput OP CPUS N CYCLES		a line for each repetition of a race: cycles in all
 *	bench done
 *
 * The same clock as Tessera's: under QEMU's -icount shift=0 the time-stamp counter counts
 * instructions, those of the timer's interrupts and of kernel threads that run meanwhile included
 * (they flush what vfree put off). KHZ is how fast Linux found it to be; races need it.
 */
#include <linux/completion.h>
#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/utsname.h>
#include <linux/vmalloc.h>
#include <asm/msr.h>
#include <asm/tsc.h>

#define AREA_BYTES 256 /* at most what an area beside costs: vm_struct, vmap_area, entries, slot */

static u64 now(void)
{
	return rdtsc();
}

static void *map_frames(struct page **pages, u64 nr)
{
	return vmap(pages, nr, VM_MAP, PAGE_KERNEL);
}

static u64 frames_of_ram(void)
{
	return totalram_pages();
}

/* Too little memory would be the end: there is no process to kill. */
static bool room_for_areas(u64 nr)
{
	return nr_free_pages() > totalram_pages() / 16 + nr * AREA_BYTES / PAGE_SIZE;
}

static u32 nr_cpus(void)
{
	return num_online_cpus();
}

static void spin(void)
{
	cpu_relax();
}

struct errand {
	void (*fn)(void *arg);
	void *arg;
	struct completion done;
};

static int do_errand(void *p)
{
	struct errand *errand = p;

	errand->fn(errand->arg);
	complete(&errand->done);
	return 0;
}

static void start_on_cpu(u32 cpu, struct errand *errand)
{
	struct task_struct *task;

	init_completion(&errand->done);
	task = kthread_create_on_cpu(do_errand, errand, cpu, "bench/%u");
	BUG_ON(IS_ERR(task));
	wake_up_process(task);
}

static void run_on_cpu(u32 cpu, void (*fn)(void *arg), void *arg)
{
	struct errand errand = { fn, arg };

	start_on_cpu(cpu, &errand);
	wait_for_completion(&errand.done);
}

static void run_on_cpus(u32 nr, void (*fn)(void *arg), void *arg)
{
	struct errand errands[4];

	BUG_ON(nr > ARRAY_SIZE(errands));
	for (u32 cpu = 1; cpu < nr; cpu++) {
		errands[cpu] = (struct errand){ fn, arg };
		start_on_cpu(cpu, &errands[cpu]);
	}
	fn(arg); /* init.c has put us on CPU 0 */
	for (u32 cpu = 1; cpu < nr; cpu++)
		wait_for_completion(&errands[cpu].done);
}

#include "workloads.h"

static char *part = "";
module_param(part, charp, 0);

static void bench_one(const struct workload *w)
{
	u64 per_op;

	if (nr_cpus() < w->cpus)
		return;
	if (measure(w, &per_op))
		pr_info("bench %s %llu %llu\n", w->name, nr_of_ops(w), per_op);
	else
		pr_info("bench %s not measured: too little memory\n", w->name);
}

static void bench_race(const struct race *race)
{
	if (nr_cpus() < race->cpus)
		return;
	if (prepare_race(race))
		run_race(race); /* warms up */
	for (u32 r = 0; slots && r < REPETITIONS; r++)
		pr_info("throughput %s %u %llu %llu\n", race->name, race->cpus, pairs_of_race(race),
			run_race(race));
	tidy();
}

static int __init tessera_bench_init(void)
{
	pr_info("bench on %s, %u kHz\n", init_utsname()->release, tsc_khz);
	for (const struct workload *w = workloads; w < workloads + ARRAY_SIZE(workloads); w++)
		if (chosen(w->name, part))
			bench_one(w);
	for (const struct race *race = races; *part && race < races + ARRAY_SIZE(races); race++)
		if (chosen(race->name, part))
			bench_race(race);
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
