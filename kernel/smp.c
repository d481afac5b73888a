/*
 * smp.c - work for other CPUs, and the order of locks.
 *
 * Each CPU but 0 has a place for one function, and is idle while that is empty. It looks with
 * interrupts masked, and the instruction that sends it to sleep lets them in only then, so the
 * interrupt that says "look again" cannot come too early.
 *
 * In checking builds each CPU also keeps a chain of the locks it holds, to see them taken in order.
 */
#include <arch/machine.h>
#include <kernel/smp.h>
#include <kernel/spinlock.h>

static struct {
	void (*fn)(void *); /* NULL: idle */
	void *arg;
} aligned_to(64) work[NR_CPUS];

static struct spinlock *held[NR_CPUS];
u64 lock_counts[NR_CPUS];

void cpu_idle(void)
{
	u32 cpu = cpu_id();
	void (*fn)(void *);

	for (;;) {
		irqflags_t flags = irq_save();

		while (!(fn = __atomic_load_n(&work[cpu].fn, __ATOMIC_ACQUIRE)))
			cpu_sleep();
		irq_restore(flags);
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
	while (__atomic_load_n(&work[cpu].fn, __ATOMIC_ACQUIRE))
		cpu_serve();
}

bool locks_held(void)
{
	return held[cpu_id()];
}

void lock_order(const struct spinlock *lock)
{
	for (const struct spinlock *h = held[cpu_id()]; h; h = h->below)
		if (h->rank >= lock->rank && h != lock)
			panic("spin_lock: CPU %lu waits for '%s' while it holds '%s'\n"
			      "  take the other first: enum lock_rank has the order",
			      cpu_id(), lock->name, h->name);
}

void lock_taken(struct spinlock *lock)
{
	lock->below = held[cpu_id()];
	held[cpu_id()] = lock;
}

void lock_released(struct spinlock *lock)
{
	struct spinlock **at = &held[cpu_id()];

	while (*at != lock)
		at = &(*at)->below;
	*at = lock->below;
}
