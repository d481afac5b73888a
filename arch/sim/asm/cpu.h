/*
 * cpu.h - the simulated CPU: one, whose only interrupts are self_interrupt()'s. See arch/cpu.h.
 */
#pragma once

#include <kernel/types.h>

extern bool sim_irqs_off;  /* what irq_save has set and irq_restore must bring back */
extern u32 sim_interrupts; /* how deep we are in self_interrupt() */

static inline irqflags_t irq_save(void)
{
	irqflags_t flags = sim_irqs_off ? 0 : 0x200; /* RFLAGS.IF */

	sim_irqs_off = true;
	return flags;
}

static inline void irq_restore(irqflags_t flags)
{
	sim_irqs_off = !flags;
}

static inline u64 cpu_id(void)
{
	return 0;
}

static inline u32 interrupt_depth(void)
{
	return sim_interrupts;
}

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

static inline u64 cycles(void)
{
	return __builtin_ia32_rdtsc();
}
