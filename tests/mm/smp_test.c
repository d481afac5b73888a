/*
 * Many CPUs: calls reach each once and cannot deadlock, work starts and is waited for, locks exclude
 * and have an order, interrupts know that they are. With one CPU all this holds, too; it is little.
 */
#include <arch/machine.h>
#include <kernel/smp.h>
#include <kernel/spinlock.h>
#include <mm/vmalloc.h>

#include "../test.h"

/* Of each CPU: a host with fewer of its own, or that is busy, has to switch between them for every call. */
#define ROUNDS (1200 / nr_cpus())
#define FEWEST 20
#define BUDGET (1ul << 31) /* cycles: then no more than the fewest */

static u64 calls[NR_CPUS],
	outside[NR_CPUS];   /* how often called; and how often not in_interrupt() */
static u64 rounds[NR_CPUS]; /* of its own calls */
static struct spinlock low = SPINLOCK("low", LOCK_TLB), high = SPINLOCK("high", LOCK_PAGES);
static struct spinlock same = SPINLOCK("same", LOCK_TLB);

static void clear(void)
{
	for (u32 cpu = 0; cpu < NR_CPUS; cpu++)
		calls[cpu] = outside[cpu] = rounds[cpu] = 0;
}

/* One more round of this CPU's? */
static bool another(u64 began)
{
	u64 *done = &rounds[cpu_id()];
	bool go_on = *done < FEWEST || (*done < ROUNDS && cycles() - began < BUDGET);

	*done += go_on;
	return go_on;
}

/* Not atomic: each CPU has its own, and runs it once at a time. */
static void count(void *arg)
{
	calls[cpu_id()] += (u64)arg;
	outside[cpu_id()] += !in_interrupt();
}

TEST(smp, call_reaches_each_other_cpu_once)
{
	u64 ipis = nr_ipis();

	clear();
	on_other_cpus(count, (void *)7);
	EXPECT_EQ(nr_ipis(), ipis + nr_cpus() - 1);
	for (u32 cpu = 0; cpu < NR_CPUS; cpu++) {
		EXPECT_EQ(calls[cpu], cpu == cpu_id() || cpu >= nr_cpus() ? 0 : 7);
		EXPECT_EQ(outside[cpu], 0);
	}
}

static void call_often(void *masked)
{
	u64 began = cycles();

	while (another(began)) {
		irqflags_t flags = masked ? irq_save() : 0;

		on_other_cpus(count, (void *)1);
		if (masked)
			irq_restore(flags);
	}
}

static void expect_calls_from_all(void *masked)
{
	u64 all = 0;

	clear();
	run_on_cpus(nr_cpus(), call_often, masked);
	for (u32 cpu = 0; cpu < nr_cpus(); cpu++)
		all += rounds[cpu];
	for (u32 cpu = 0; cpu < nr_cpus(); cpu++) {
		EXPECT(rounds[cpu] >= FEWEST);
		EXPECT_EQ(calls[cpu], all - rounds[cpu]);
		EXPECT_EQ(outside[cpu], 0);
	}
}

TEST(smp, all_call_at_once)
{
	expect_calls_from_all(NULL);
}

TEST(smp, all_call_at_once_with_interrupts_masked)
{
	expect_calls_from_all((void *)1);
}

static bool stop;

static void serve_masked(void *unused)
{
	irqflags_t flags = irq_save();

	(void)unused;
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		cpu_serve();
		cpu_relax();
	}
	irq_restore(flags);
}

/* No interrupt gets through: what is asked is done by asking. */
TEST(smp, cpu_serve_serves)
{
	u32 last = nr_cpus() - 1;
	u64 began = cycles();

	clear();
	stop = last == 0;
	if (last)
		cpu_start(last, serve_masked, NULL);
	while (another(began))
		on_other_cpus(count, (void *)1);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	if (last)
		cpu_join(last);
	EXPECT_EQ(calls[last], last ? rounds[cpu_id()] : 0);
}

static void serve_inside(void *arg)
{
	cpu_serve();
	count(arg);
}

TEST(smp, a_call_that_serves_runs_once)
{
	clear();
	on_other_cpus(serve_inside, (void *)1);
	EXPECT_EQ(calls[nr_cpus() - 1], nr_cpus() > 1);
}

static void call_nothing(void *unused)
{
	(void)unused;
	on_other_cpus(count, NULL);
}

static void expect_refused(void *what)
{
	EXPECT_PANIC(call_nothing, NULL, what);
}

TEST(smp, no_call_from_an_interrupt)
{
	self_interrupt(expect_refused, (void *)"in_interrupt()");
}

TEST(smp, no_call_with_a_lock_held)
{
	irqflags_t flags;

	if (!CHECKING)
		SKIP("a checking build would notice");
	flags = spin_lock(&low);
	expect_refused((void *)"locks_held()");
	spin_unlock(&low, flags);
}

static void note_where(void *arg)
{
	((vaddr_t *)arg)[cpu_id()] = (vaddr_t)__builtin_frame_address(0);
}

/* Each CPU has a stack of its own, and around it guards: all but CPU 0 in the window. */
TEST(smp, work_runs_on_its_cpu_and_stack)
{
	vaddr_t one[NR_CPUS] = { 0 }, all[NR_CPUS] = { 0 };
	struct vm_area area, before = { 0 };

	run_on_cpus(nr_cpus(), note_where, all);
	for (u32 cpu = 0; cpu < NR_CPUS; cpu++) {
		if (cpu < nr_cpus())
			run_on_cpu(cpu, note_where, one);
		EXPECT(!one[cpu] == (cpu >= nr_cpus()) && !all[cpu] == !one[cpu]);
		if (!cpu || !one[cpu])
			continue;
		EXPECT(find_vm_area(one[cpu], &area) && all[cpu] - area.start < STACK_BYTES);
		EXPECT(area.start != before.start && area.nr_pages == STACK_BYTES / PAGE_SIZE);
		before = area;
	}
	run_on_cpus(0, note_where, NULL); /* on none */
}

/* An idle CPU may be just about to fall asleep: if it missed the start, join would hang. */
TEST(smp, no_start_is_missed)
{
	u64 began = cycles();

	clear();
	for (u32 i = 0; another(began); i++)
		for (u32 cpu = 1; cpu < nr_cpus(); cpu++) {
			cpu_start(cpu, count, (void *)1);
			if (i % 2)
				cpu_join(cpu);
			else if (cpu == nr_cpus() - 1)
				for (u32 other = 1; other <= cpu; other++)
					cpu_join(other);
		}
	for (u32 cpu = 1; cpu < nr_cpus(); cpu++) {
		EXPECT_EQ(calls[cpu], rounds[0]);
		EXPECT_EQ(outside[cpu], rounds[0]);
	}
}

static void start(void *cpu)
{
	cpu_start((u64)cpu, count, NULL);
}

TEST(smp, start_only_what_is_idle)
{
	EXPECT_PANIC(start, 0, "!cpu");
	EXPECT_PANIC(start, (u64)nr_cpus(), "cpu >= nr_cpus()");
	if (nr_cpus() == 1)
		return;
	stop = false;
	cpu_start(1, serve_masked, NULL);
	EXPECT_PANIC(start, 1, "work[cpu].fn");
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	cpu_join(1);
}

struct seen {
	bool interrupt, masked;
	u32 cpu;
};

static void see(void *arg)
{
	irqflags_t flags = irq_save();

	/* Bit 9 of RFLAGS. Others say how the last sum came out. */
	*(struct seen *)arg = (struct seen){ in_interrupt(), !(flags & 0x200), cpu_id() };
	irq_restore(flags);
}

static void interrupt_self(void *arg)
{
	self_interrupt(see, arg);
}

TEST(smp, self_interrupt)
{
	for (u32 cpu = 0; cpu < nr_cpus(); cpu++) {
		struct seen seen = { .cpu = NR_CPUS };

		run_on_cpu(cpu, interrupt_self, &seen);
		EXPECT(seen.interrupt && seen.masked);
		EXPECT_EQ(seen.cpu, cpu);
	}
	EXPECT(!in_interrupt());
}

/* Not atomic, and slow at that: only the lock makes it right. */
static volatile u64 counter;
static u32 there;

static void add_locked(void *unused)
{
	(void)unused;
	__atomic_add_fetch(&there, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&there, __ATOMIC_RELAXED) != nr_cpus())
		cpu_relax();
	for (u32 i = 0; i < 40 * ROUNDS; i++) {
		irqflags_t flags = spin_lock(&low);
		u64 was = counter;

		cpu_relax();
		counter = was + 1;
		spin_unlock(&low, flags);
	}
}

TEST(smp, a_lock_excludes_all_others)
{
	counter = there = 0;
	run_on_cpus(nr_cpus(), add_locked, NULL);
	EXPECT_EQ(counter, 40ul * ROUNDS * nr_cpus());
}

static void unlock(void *lock)
{
	spin_unlock(lock, 0);
}

static void unlock_fails(void *ok)
{
	char msg[128];

	*(bool *)ok = panic_caught(unlock, &low, msg, sizeof(msg)) && contains(msg, "'low'");
}

TEST(smp, only_its_owner_unlocks)
{
	irqflags_t flags = spin_lock(&low);
	bool ok = false, mine;

	if (nr_cpus() > 1)
		run_on_cpu(1, unlock_fails, &ok);
	mine = spin_is_mine(&low);
	spin_unlock(&low, flags);
	EXPECT(mine && (ok || nr_cpus() == 1));
}

static void take(void *lock)
{
	spin_unlock(lock, spin_lock(lock));
}

TEST(smp, locks_have_an_order)
{
	irqflags_t flags, inner;

	if (!CHECKING)
		SKIP("a checking build would notice");
	flags = spin_lock(&low);
	EXPECT(locks_held());
	take(&high);
	EXPECT_PANIC(take, &low, "holds 'low' already");
	EXPECT_PANIC(take, &same, "waits for 'same' while it holds 'low'");
	inner = spin_lock(&high);
	EXPECT_PANIC(take, &same, "while it holds 'high'");
	spin_unlock(&low, inner); /* in any order; interrupts stay masked until the last */
	EXPECT_PANIC(take, &low, "waits for 'low' while it holds 'high'");
	EXPECT(spin_trylock(&same, &inner)); /* who does not wait may */
	EXPECT(locks_held());
	spin_unlock(&same, inner);
	spin_unlock(&high, flags);
	EXPECT(!locks_held());
	take(&low);
}
