/* x86.h - instructions that C has no words for; what boot/ and arch/x86_64/ tell each other. */
#pragma once

#include <arch/cpu.h>
#include <arch/machine.h>
#include <arch/mmu.h>

#define IMAGE_BASE 0xffffffff80000000ul /* as in linker.ld: virtual = physical + this */
#define CR4_PGE (1ul << 7)
#define CR4_LA57 (1ul << 12)

enum { KERNEL_CS = 0x08, TSS = 0x20 }; /* selectors: see boot/entry.S */
enum { VEC_NMI = 2, VEC_INVALID = 6, VEC_DOUBLE_FAULT = 8, VEC_PROTECTION = 13 };
enum { VEC_PAGE_FAULT = 14, VEC_MACHINE_CHECK = 18, VEC_IRQ = 32, NR_VECTORS = 64 };
enum { VEC_SELF = 48, VEC_CALL, VEC_WAKE, VEC_SPURIOUS = 63 }; /* `int`; from a local APIC */

/* CPU 0's stacks in the image: a page that is never mapped, then what grows down towards it. */
enum { BOOT_STACK, DOUBLE_FAULT_STACK, NMI_STACK, MACHINE_CHECK_STACK };
extern char stacks[CPU_STACKS][PAGE_SIZE + STACK_BYTES];

struct trap_frame { /* what traps.S leaves on the stack */
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error, rip, cs, rflags, rsp, ss;
};
void trap(struct trap_frame *frame);

void serial_init(void);
extern volatile bool serial_irq_came; /* COM1's line reaches this CPU */

/* This CPU's GS, descriptor tables, protections. Stacks: of all CPUs but 0, which has its own. */
void cpu_init(u32 id, void *const stack[CPU_STACKS]);
bool cpu_has(const char *name); /* "la57", "pdpe1gb", "smep", "smap", "umip" or "mce" */
void address_map_init(void);	/* fill in address_map, drop the identity map */

void acpi_init(u64 rsdp); /* read firmware's tables; the first 4 GiB must be mapped */
extern u8 acpi_cpus[];	  /* ids of the local APICs of all CPUs, the first NR_CPUS of them */
extern u32 nr_acpi_cpus;
extern paddr_t trampoline_page;		    /* below 1 MiB, for the start of other CPUs; 0: none */
void interrupt(const struct trap_frame *f); /* what came from outside, or self_interrupt() */

static inline void outb(u16 port, u8 value)
{
	asm volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline u8 inb(u16 port)
{
	u8 value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

#define WRITE_CR(n, value) asm volatile("movq %0, %%cr" #n ::"r"((u64)(value)) : "memory")
#define READ_CR(n)                                                            \
	({                                                                    \
		u64 value_;                                                   \
		asm volatile("movq %%cr" #n ", %0" : "=r"(value_)::"memory"); \
		value_;                                                       \
	})
