/*
 * power.c - the end: off, or again from the start.
 *
 * QEMU's isa-debug-exit comes first, since it alone carries a status; elsewhere it does nothing. A
 * PC is switched off through ACPI: the sleep type of state S5, with a bit that says "now", goes to
 * the power management control port. The FADT tells the port; the type is hidden in byte code (AML)
 * of the DSDT, as a package named _S5_. ACPI 6.4: 5.2.9, 7.4.2, 16.1; 20.2.5.4 for the package.
 */
#include <asm/x86.h>
#include <kernel/printk.h>
#include <kernel/string.h>

enum { LENGTH = 4, HEADER_BYTES = 36, FADT_DSDT = 40, FADT_PM1_PORT = 64, FADT_BYTES = 116 };

static u16 pm1_port, pm1_sleep; /* where to write, 0: nowhere; and what */

void power_init(void)
{
	const u8 *fadt = acpi_table("FACP", FADT_BYTES), *p;
	const u8 *dsdt = acpi_find(acpi_get(fadt, FADT_DSDT), "DSDT", HEADER_BYTES);

	/* Name _S5_, a package: its length, how many elements, each as 0, 1, or 0x0a and a byte. */
	for (u32 at = HEADER_BYTES; !pm1_port && at + 16 <= acpi_get(dsdt, LENGTH); at++)
		if (memcmp(dsdt + at, "_S5_\x12", 5) == 0) {
			p = dsdt + at + 5;
			p += (*p >> 6) + 2; /* the length's first byte says how many more it has */
			pm1_sleep = 1 << 13 | (p[*p == 0x0a] & 7) << 10; /* SLP_EN, SLP_TYP */
			pm1_port = acpi_get(fadt, FADT_PM1_PORT);
		}
}

void machine_exit(int status)
{
	serial_drain();
	outb(0xf4, status == 0 ? 0x10 : 0x11); /* isa-debug-exit: QEMU's status is 33 or 35 */
	if (pm1_port)
		asm volatile("outw %0, %1" ::"a"(pm1_sleep), "d"(pm1_port));
	else
		printk("This machine cannot switch itself off: switch it off now.\n");
	serial_drain();
	machine_halt();
}

/* The chipset's reset register; where it has none, a fault while there is no IDT. */
void machine_reboot(void)
{
	static const u16 no_idt[5];

	serial_drain();
	outb(0xcf9, 0x06);
	asm volatile("lidt %0; int3" ::"m"(no_idt));
	machine_halt();
}

void machine_halt(void)
{
	for (;;)
		asm volatile("cli; hlt");
}
