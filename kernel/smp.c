/*
 * smp.c - work for other CPUs, and the order of locks.
 *
 * Each CPU but 0 has a place for one function. It is idle while that is empty: it looks with
 * interrupts masked, and sleeps by an instruction that lets them in as it begins to, so the
 * interrupt that says "look again" cannot come too early. CPU 0 waits by asking, and serves calls.
 *
 * Two CPUs that take two locks in opposite order wait for each other for ever, one day. So locks
 * have ranks (kernel/spinlock.h), and in checking builds each CPU remembers which it holds.
 */
#include <arch/machine.h>
#include <kernel/printk.h>
#include <kernel/smp.h>
#include <kernel/spinlock.h>
#include <mm/mm.h>
#include <mm/vmalloc.h>

static struct aligned_to(64)
{
	void (*fn)(void *); /* NULL: idle */
	void *arg;
}
work[NR_CPUS];

static struct aligned_to(64)
{
	unsigned nr;
	const struct spinlock *lock[LOCK_NR_RANKS];
}
held[NR_CPUS];

/* Start number n of the machine's CPUs as our next; or what is in the way. */
static const char *bring_up(u32 n)
{
	void *stack[CPU_STACKS];
	bool memory = true;

	for (unsigned i = 0; i < CPU_STACKS; i++)
		memory &= (stack[i] = vmalloc(STACK_BYTES)) != NULL;
	if (memory && !mm_cpu_init(nr_cpus()))
		return machine_start_cpu(n, stack) ? NULL : "it did not come";
	for (unsigned i = 0; i < CPU_STACKS; i++)
		vfree(stack[i]);
	return "there is no memory for its stacks";
}

void smp_init(void)
{
	u32 nr = machine_cpus();
	const char *why;

	if (nr > NR_CPUS)
		printk_line("of %u CPUs the first %u are enough for us", nr, NR_CPUS);
	for (u32 n = 1; n < MIN(nr, NR_CPUS); n++)
		if ((why = bring_up(n)))
			printk_line("The machine's CPU %u is left out: %s.", n, why);
}

void cpu_idle(void)
{
	u32 cpu = cpu_id();

	for (;;) {
		irqflags_t flags = irq_save();
		void (*fn)(void *) = __atomic_load_n(&work[cpu].fn, __ATOMIC_ACQUIRE);

		if (!fn)
			cpu_sleep();
		irq_restore(flags);
		if (!fn)
			continue;
		fn(work[cpu].arg);
		__atomic_store_n(&work[cpu].fn, NULL, __ATOMIC_RELEASE);
	}
}

void cpu_start(u32 cpu, void (*fn)(void *), void *arg)
{
	BUG_ON(!cpu || cpu >= nr_cpus() || cpu == cpu_id());
	BUG_ON(__atomic_load_n(&work[cpu].fn, __ATOMIC_ACQUIRE)); /* not idle */
	work[cpu].arg = arg;
	__atomic_store_n(&work[cpu].fn, fn, __ATOMIC_RELEASE);
	cpu_wake(cpu);
}

void cpu_join(u32 cpu)
{
	while (__atomic_load_n(&work[cpu].fn, __ATOMIC_ACQUIRE)) {
		cpu_serve();
		cpu_relax();
	}
}

void run_on_cpu(u32 cpu, void (*fn)(void *), void *arg)
{
	if (cpu == cpu_id()) {
		fn(arg);
	} else {
		cpu_start(cpu, fn, arg);
		cpu_join(cpu);
	}
}

void run_on_cpus(u32 nr, void (*fn)(void *), void *arg)
{
	BUG_ON(cpu_id() != 0 || nr > nr_cpus());
	for (u32 cpu = 1; cpu < nr; cpu++)
		cpu_start(cpu, fn, arg);
	if (nr)
		fn(arg);
	for (u32 cpu = 1; cpu < nr; cpu++)
		cpu_join(cpu);
}

unsigned locks_held(void)
{
	return held[cpu_id()].nr;
}

void lock_order(const struct spinlock *lock)
{
	u32 cpu = cpu_id();

	for (unsigned i = 0; i < held[cpu].nr; i++)
		if (held[cpu].lock[i]->rank >= lock->rank && held[cpu].lock[i] != lock)
			panic("spin_lock: CPU %u waits for '%s' while it holds '%s'\n"
			      "  enum lock_rank (kernel/spinlock.h) has the order: the other first",
			      cpu, lock->name, held[cpu].lock[i]->name);
}

void lock_taken(const struct spinlock *lock)
{
	u32 cpu = cpu_id();

	BUG_ON(held[cpu].nr == ARRAY_SIZE(held[cpu].lock));
	held[cpu].lock[held[cpu].nr++] = lock;
}

void lock_released(const struct spinlock *lock)
{
	u32 cpu = cpu_id();
	unsigned i = 0;

	while (held[cpu].lock[i] != lock)
		i++;
	held[cpu].lock[i] = held[cpu].lock[--held[cpu].nr];
}
