/*
 * cpu.h - this CPU: its number, its interrupt flag, its clock. See arch/cpu.h.
 */
#pragma once

#include <kernel/types.h>

/* What each CPU keeps for itself; GS points to its own. */
struct cpu {
	u32 id;
};

static inline irqflags_t irq_save(void)
{
	irqflags_t flags;

	asm volatile("pushfq; popq %0; cli" : "=rm"(flags)::"memory");
	return flags;
}

static inline void irq_restore(irqflags_t flags)
{
	if (flags & 0x200) /* RFLAGS.IF */
		asm volatile("sti" ::: "memory");
}

static inline u32 cpu_id(void)
{
	u32 id;

	asm("movl %%gs:%c1, %0" : "=r"(id) : "i"(offsetof(struct cpu, id)));
	return id;
}

static inline void cpu_relax(void)
{
	asm volatile("pause" ::: "memory");
}

static inline u64 cycles(void)
{
	u32 low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
	return (u64)high << 32 | low;
}
