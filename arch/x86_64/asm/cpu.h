/* cpu.h - this CPU: its number, its interrupt flag, its clock. See arch/cpu.h. */
#pragma once

#include <kernel/types.h>

static inline irqflags_t irq_save(void)
{
	irqflags_t flags;

	asm volatile("pushfq; popq %0; cli" : "=rm"(flags)::"memory");
	return flags;
}

static inline void irq_restore(irqflags_t flags)
{
	if (likely(flags & 0x200)) /* RFLAGS.IF */
		asm volatile("sti" ::: "memory");
}

static inline u64 cpu_id(void) /* 64 bits, as it is an index most of all */
{
	u64 id;

	asm("movl %%gs:0, %k0" : "=r"(id)); /* what GS points to: see cpu.c */
	return id;
}

static inline u32 interrupt_depth(void)
{
	u32 depth;

	asm volatile("movl %%gs:4, %0" : "=r"(depth)); /* behind the number */
	return depth;
}

static inline void interrupt_nest(int by)
{
	asm volatile("addl %0, %%gs:4" ::"ir"(by) : "memory");
}

static inline void cpu_relax(void)
{
	asm volatile("pause" ::: "memory");
}

static inline u64 cycles(void)
{
	return __builtin_ia32_rdtsc();
}
