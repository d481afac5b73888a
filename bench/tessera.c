/*
 * tessera.c - the monitor's command `bench`: what the calls of mm/ cost, in cycles of this CPU.
 *
 * Under `make bench` QEMU counts one cycle an instruction (-icount shift=0), so the figures are
 * exact and the same in every run; on any other machine compare only ratios. docs/records.md:
 * `bench`, `throughput`. docs/bench.md: what is measured and how to read it.
 */
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/record.h>
#include <kernel/smp.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

#include "../tests/test.h"

static u64 now(void)
{
	return cycles();
}

static void *map_frames(struct page **pages, u64 nr)
{
	return vmap(pages, nr, PAGE_KERNEL);
}

static u64 frames_of_ram(void)
{
	struct page_stats stats;

	page_stats(&stats);
	return stats.total;
}

static bool room_for_areas(u64 nr)
{
	(void)nr;
	return true; /* too little memory is no end here: vmap() answers NULL */
}

static void spin(void)
{
	cpu_serve();
	cpu_relax();
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

/* What happened on all CPUs so far, to be counted by its difference. */
struct events {
	u64 flushes, shootdowns, ipis, locks;
};

static struct events events(void)
{
	struct tlb_stats tlb;

	tlb_stats(&tlb);
	return (struct events){ tlb.flushes, tlb.shootdowns, nr_ipis(), locks_taken() };
}

static bool run_once(const struct race *race)
{
	struct events before = events(), after;
	u64 n = pairs_of_race(race), spent = run_race(race);

	after = events();
	if (!spent || !n)
		return false;
	printk("%-22s %7lu %10lu\n", race->name, n, spent / n);
	record("throughput", rec_str("op", race->name), rec_num("cpus", race->cpus),
	       rec_num("n", n), rec_num("cycles", spent),
	       rec_num("flushes", after.flushes - before.flushes),
	       rec_num("shootdowns", after.shootdowns - before.shootdowns),
	       rec_num("ipis", after.ipis - before.ipis),
	       rec_num("locks", after.locks - before.locks));
	return true;
}

static bool bench_race(const struct race *race)
{
	bool ok = prepare_race(race) && run_race(race); /* warms up */

	for (unsigned r = 0; ok && r < REPETITIONS; r++)
		ok = run_once(race);
	tidy();
	if (!ok)
		printk("%-22s not measured: too little memory; MEM=256M is enough\n", race->name);
	return ok;
}

/* All workloads whose names contain part; of races those that are asked for. */
static bool bench(const char *part)
{
	unsigned nr = 0;
	bool ok = true;

	printk("operation                    n  cycles/op\n");
	for (const struct workload *w = workloads; w < workloads + ARRAY_SIZE(workloads); w++)
		if (chosen(w->name, part) && nr_cpus() >= w->cpus && ++nr)
			ok &= bench_one(w);
	for (const struct race *race = races; *part && race < races + ARRAY_SIZE(races); race++)
		if (chosen(race->name, part) && nr_cpus() >= race->cpus && ++nr)
			ok &= bench_race(race);
	if (!nr)
		printk("no workload has '%s' in its name, or it needs more CPUs than %u\n", part,
		       nr_cpus());
	return nr && ok;
}

COMMAND(bench, "[part]", "what each call costs, in cycles", failed = !bench(nr ? text[0] : ""));
