/*
 * arch/cpu.h - which CPU this is, and its interrupts. Part of the line between mm/ and arch/.
 *
 * <asm/cpu.h> gives, inline, for the machine at hand:
 *	irqflags_t irq_save(void);	mask this CPU's interrupts; returns what to restore
 *	void irq_restore(irqflags_t);	undo the irq_save that returned it
 *	u32 cpu_id(void);		this CPU's number, 0 .. nr_cpus() - 1
 *	void cpu_relax(void);		we are spinning (PAUSE)
 *	u64 cycles(void);		the time-stamp counter
 */
#pragma once

#include <kernel/types.h>

#define NR_CPUS 64 /* the most we ever run on */
typedef unsigned long irqflags_t;
#include <asm/cpu.h>

u32 nr_cpus(void);	 /* how many are running, 1 .. NR_CPUS: numbers 0 .. nr_cpus() - 1 */
bool in_interrupt(void); /* is this CPU serving an interrupt or another CPU's call? */

/*
 * Run fn(arg) on every CPU but this one, in interrupt context there; back when all are done. No
 * lock held, interrupts on or off: a CPU that waits serves what others ask of it meanwhile.
 */
void on_other_cpus(void (*fn)(void *), void *arg);
void cpu_serve(void); /* do now what another CPU asks of this one: for loops that wait for one */
