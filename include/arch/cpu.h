/*
 * arch/cpu.h - which CPU this is, and its interrupts. Part of the line between mm/ and arch/.
 *
 * <asm/cpu.h> gives, inline, for the machine at hand:
 *	irqflags_t irq_save(void);	mask this CPU's interrupts; returns what to restore
 *	void irq_restore(irqflags_t);	undo the irq_save that returned it
 *	u64 cpu_id(void);		this CPU's number, 0 .. nr_cpus() - 1
 *	u32 interrupt_depth(void);	how many interrupts this CPU is serving, nested
 *	void cpu_relax(void);		we are spinning (PAUSE)
 *	u64 cycles(void);		the time-stamp counter
 */
#pragma once

#include <kernel/types.h>

#define NR_CPUS 64 /* the most we ever run on */
typedef unsigned long irqflags_t;
#include <asm/cpu.h>

u32 nr_cpus(void); /* how many are running, 1 .. NR_CPUS: numbers 0 .. nr_cpus() - 1 */
u64 nr_ipis(void); /* interrupts sent so far, each counted once for every CPU it goes to */

/* Is this CPU serving an interrupt, or another CPU's call (by cpu_serve(), too)? */
#define in_interrupt() (interrupt_depth() != 0)

/*
 * Run fn(arg) on every CPU but this one, in interrupt context there; back when all are done. No
 * lock held, not in an interrupt, interrupts on or off: a CPU that waits for its turn to call
 * serves what others ask of it meanwhile.
 */
void on_other_cpus(void (*fn)(void *), void *arg);

/* On this one, too, interrupts masked. */
static inline void on_every_cpu(void (*fn)(void *), void *arg)
{
	irqflags_t flags = irq_save();

	fn(arg);
	on_other_cpus(fn, arg);
	irq_restore(flags);
}

/* Do what another CPU asks, or PAUSE: for loops that wait for one. No lock held. */
void cpu_serve(void);

/* Interrupt this CPU, masked or not; fn(arg) is the handler. Back when it is done. */
void self_interrupt(void (*fn)(void *), void *arg);
