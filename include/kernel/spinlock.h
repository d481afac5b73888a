/*
 * spinlock.h - mutual exclusion between CPUs, and against this CPU's own interrupts.
 *
 * Every lock of ours masks interrupts while held, so any context may take any lock. A lock knows
 * its owner: taking it twice on one CPU, or letting go of another's, panics instead of hanging. In
 * checking builds so does waiting for a lock out of order, which might hang some day.
 */
#pragma once

#include <arch/cpu.h>
#include <kernel/panic.h>

/* A CPU that holds a lock may take only those further down here. */
enum lock_rank {
	LOCK_RECORD,
	LOCK_TABLES, /* free addresses of the window; its page tables come and go with them */
	LOCK_DEPOT,  /* areas in stock for all CPUs */
	LOCK_TLB,    /* what waits for a flush */
	LOCK_SLAB,
	LOCK_PAGES, /* the buddy's lists */
	LOCK_CONSOLE,
};

struct spinlock {
	u32 owner; /* 0: free; otherwise 1 + the holder's CPU number */
	enum lock_rank rank;
	const char *name;
	struct spinlock *below; /* while held, in checking builds: what this CPU took before */
};

#define SPINLOCK(name, rank) ((struct spinlock){ 0, rank, name, NULL })

extern u64 lock_counts[NR_CPUS]; /* taken by each CPU so far */

/* Only in checking builds; kernel/smp.c. Does this CPU hold any? Panic if it may not wait for it. */
bool locks_held(void);
void lock_order(const struct spinlock *lock);
void lock_taken(struct spinlock *lock);
void lock_released(struct spinlock *lock);

static inline bool spin_is_mine(const struct spinlock *lock)
{
	return __atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == cpu_id() + 1;
}

/* Mask interrupts, then take the lock if that needs no waiting. On false nothing has changed. */
static inline bool spin_trylock(struct spinlock *lock, irqflags_t *flags)
{
	u32 nobody = 0, cpu = cpu_id();

	*flags = irq_save();
	if (__atomic_compare_exchange_n(&lock->owner, &nobody, cpu + 1, false, __ATOMIC_ACQUIRE,
					__ATOMIC_RELAXED)) {
		lock_counts[cpu]++;
		if (CHECKING)
			lock_taken(lock);
		return true;
	}
	irq_restore(*flags);
	return false;
}

/* Mask interrupts, wait for the lock. Hand what it returns to spin_unlock. */
static inline must_check irqflags_t spin_lock(struct spinlock *lock)
{
	irqflags_t flags;

	if (CHECKING)
		lock_order(lock);
	while (!spin_trylock(lock, &flags)) {
		if (spin_is_mine(lock))
			panic("spin_lock: CPU %lu holds '%s' already", cpu_id(), lock->name);
		cpu_relax();
	}
	return flags;
}

static inline void spin_unlock(struct spinlock *lock, irqflags_t flags)
{
	if (!spin_is_mine(lock))
		panic("spin_unlock: CPU %lu does not hold '%s'", cpu_id(), lock->name);
	if (CHECKING)
		lock_released(lock);
	__atomic_store_n(&lock->owner, 0, __ATOMIC_RELEASE);
	irq_restore(flags);
}
