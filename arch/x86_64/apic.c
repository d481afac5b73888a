/*
 * apic.c - the local APIC, by which CPUs interrupt each other. Intel SDM Vol. 3A, 11.4 to 11.8.
 *
 * Each CPU has its own, and all see it at the same address. What the old PICs deliver comes through
 * CPU 0's, as firmware set it up or should have.
 */
#include <arch/cpu.h>
#include <asm/x86.h>
#include <mm/pagetable.h>

enum { ID = 0x20, PRIORITY = 0x80, END = 0xb0, SPURIOUS = 0xf0, COMMAND = 0x300, TARGET = 0x310 };
enum { TIMER = 0x320, LINT0 = 0x350, LINT1 = 0x360 }; /* registers */
enum { BUSY = 1 << 12, ON = 1 << 8, MASKED = 1 << 16 };

static volatile u32 *lapic; /* NULL: there is none that we can use */

bool lapic_init(void)
{
	bool first = cpu_id() == 0;
	u32 low, high;
	u64 base;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0x1b)); /* IA32_APIC_BASE */
	base = ((u64)high << 32 | low) & PTE_ADDRESS;
	if ((low & 0xc00) != 0x800) /* on, and in memory: not among the registers, as x2APIC */
		return false;
	/* PAGE_KERNEL is cached, but firmware's MTRRs say otherwise here, and they win. */
	if (first && pt_map(&kernel_pt, address_map.direct + base, paddr(base), 1, PAGE_KERNEL))
		return false;
	lapic = phys_to_virt(paddr(base));
	lapic[PRIORITY / 4] = 0;
	lapic[TIMER / 4] = MASKED;
	lapic[LINT0 / 4] = first ? LAPIC_PIC : MASKED;
	lapic[LINT1 / 4] = first ? LAPIC_NMI : MASKED;
	lapic[SPURIOUS / 4] = ON | VEC_SPURIOUS;
	return true;
}

u32 lapic_id(void)
{
	return lapic[ID / 4] >> 24;
}

void lapic_send(u32 id, u32 command)
{
	irqflags_t flags = irq_save();

	while (lapic[COMMAND / 4] & BUSY)
		cpu_relax();
	lapic[TARGET / 4] = id << 24;
	lapic[COMMAND / 4] = command;
	irq_restore(flags);
}

void lapic_end(void)
{
	lapic[END / 4] = 0;
}
