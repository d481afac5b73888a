/*
 * x86.h - instructions that C has no words for, and what boot/ and arch/x86_64/ tell each other.
 */
#pragma once

#include <arch/machine.h>
#include <arch/mmu.h>
#include <kernel/types.h>

#define IMAGE_BASE 0xffffffff80000000ul /* as in linker.ld: virtual = physical + this */

#define KERNEL_CS 0x08 /* selectors, as in boot/entry.S */
#define KERNEL_DS 0x10
#define TSS_SELECTOR 0x20 /* after 32-bit code */

#define CR4_PGE (1ul << 7)
#define MSR_GS_BASE 0xc0000101u

enum { VEC_NMI = 2, VEC_DOUBLE_FAULT = 8, VEC_STACK = 12, VEC_PROTECTION, VEC_PAGE_FAULT,
       VEC_MACHINE_CHECK = 18, VEC_IRQ = 32, VEC_COM1 = VEC_IRQ + 4,
       NR_VECTORS = 64 };

/* What traps.S leaves on the stack. */
struct trap_frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error, rip, cs, rflags, rsp, ss;
};

void serial_init(void);
void serial_irq_init(void); /* needs the IDT */
void serial_irq(void);	    /* COM1 has something */
void cpu_init(u32 id);		   /* GS, descriptor tables, protections of this CPU */
bool cpu_has(const char *name); /* "la57", "pdpe1gb", … */
void address_map_init(int levels); /* fills address_map; the tables of boot/entry.S are in use */
void acpi_init(u64 rsdp);	   /* reads what power-off needs; the first 4 GiB must be mapped */
void trap(struct trap_frame *frame);

static inline void outb(u16 port, u8 value)
{
	asm volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline void outw(u16 port, u16 value)
{
	asm volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}

static inline u8 inb(u16 port)
{
	u8 value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u16 inw(u16 port)
{
	u16 value;

	asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

#define READ_CR(n)                                                      \
	({                                                              \
		u64 value_;                                             \
		asm volatile("movq %%cr" #n ", %0" : "=r"(value_)::"memory"); \
		value_;                                                 \
	})
#define WRITE_CR(n, value) asm volatile("movq %0, %%cr" #n ::"r"((u64)(value)) : "memory")

static inline void wrmsr(u32 msr, u64 value)
{
	asm volatile("wrmsr" ::"c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

struct cpuid {
	u32 w[4]; /* eax, ebx, ecx, edx */
};

static inline struct cpuid cpuid(u32 leaf)
{
	struct cpuid r;

	asm volatile("cpuid" : "=a"(r.w[0]), "=b"(r.w[1]), "=c"(r.w[2]), "=d"(r.w[3]) : "a"(leaf), "c"(0));
	return r;
}
