/* arch/machine.h - what kernel/ (not mm/) asks of the machine: serial ports, exits, faults. */
#pragma once

#include <kernel/types.h>

/* 16550 ports: COM1 for people, COM2 for records. */
enum serial_port { COM1, COM2, NR_COM };
bool serial_write(enum serial_port port, const char *text, size_t bytes); /* false: absent */
u8 serial_read(void);	 /* from COM1; waits, asleep if it can, until a byte has come */
void serial_drain(void); /* back when all output has left */

/* Drain output; isa-debug-exit, ACPI S5, or a message and a halt. 0: passed, 1: failed or panic. */
_Noreturn void machine_exit(int status);
_Noreturn void machine_reboot(void);
_Noreturn void machine_halt(void); /* interrupts off, for ever */

/* A CPU's stacks: for all work; for double faults, NMIs and machine checks, whatever rsp holds. */
#define CPU_STACKS 4
#define STACK_BYTES (16 * KiB)

void cpu_wake(u32 cpu); /* end its cpu_sleep() */
void cpu_sleep(void);	/* interrupts on, sleep until one came, off again. With interrupts off. */
void nmi_other_cpus(void); /* even where they mask interrupts: see panic_elsewhere() */

/* A memory access that the CPU refused. Intel SDM Vol. 3A, 6.15 "Page-Fault Exception". */
enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };
struct fault {
	vaddr_t va; /* CR2; for a non-canonical address, that address */
	vaddr_t pc;
	enum access access;
	bool page_fault; /* false: general protection, stack or another exception */
	bool reserved_bit;
};

/* The fault that made the last probe_read/probe_write/probe_fetch on this CPU return false. */
const struct fault *last_probe_fault(void);

/* Try to execute at va: true if that returned (va held a RET), false if the fetch faulted. */
must_check bool probe_fetch(vaddr_t va);

void report_trap(void); /* registers and explanation, if this CPU is in an exception; once */

/* Return addresses of the callers, innermost first, from frame pointer fp (0: ours). How many. */
unsigned backtrace(vaddr_t *pcs, unsigned max, vaddr_t fp);

const char *cpu_features_text(void); /* features in use: "la57 nx pdpe1gb smep smap umip" */
