/*
 * smp.h - work for other CPUs.
 *
 * There is no scheduler: CPU 0 runs the monitor, each other CPU waits for a function to run, on its
 * own stack and with interrupts on. For what must be done at once see on_other_cpus() in arch/cpu.h.
 */
#pragma once

#include <arch/cpu.h>

/*
 * Bring up all CPUs that firmware names, after mm_init(), each on a stack of its own from vmalloc.
 * One that does not come is reported. Interrupts are on from here. In arch.
 */
void smp_init(void);

_Noreturn void cpu_idle(void); /* all that a CPU but 0 does; arch calls it there */

/* Start fn(arg) on that CPU (not this one), which must be idle; wait until it has returned. */
void cpu_start(u32 cpu, void (*fn)(void *), void *arg);
void cpu_join(u32 cpu);
