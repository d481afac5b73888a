/*
 * power.c - the end: off, or again from the start.
 *
 * QEMU's isa-debug-exit comes first, since it alone carries a status; where it is absent the write
 * does nothing. A PC is switched off through ACPI: the sleep type of state S5, with a bit that
 * says "now", is written to the power management control port. The port's number is in the FADT;
 * the type is hidden in byte code (AML) of the DSDT, as a package named _S5_, found by its name.
 * All tables are found from the RSDP, and each is believed only if it can be reached, is long
 * enough, and its bytes add up to 0. They are read at boot, while the first 4 GiB are mapped, and
 * only numbers are kept. ACPI 6.4: 5.2.5 to 5.2.11, 7.4.2, 16.1; 20.2.5.4 for the package.
 */
#include <arch/cpu.h>
#include <asm/x86.h>
#include <kernel/printk.h>
#include <kernel/string.h>

/* Where things are in these tables. */
enum { RSDP_REVISION = 15, RSDP_RSDT = 16, RSDP_BYTES = 20, RSDP_XSDT = 24 };
enum { LENGTH = 4, HEADER_BYTES = 36 };
enum { FADT_DSDT = 40, FADT_PM1_PORTS = 64, FADT_BYTES = 116 };
#define SLP_EN (1u << 13) /* PM1 control: go to sleep now */

static u16 pm1_ports[2], pm1_sleep[2]; /* where to write, 0: nowhere; and what */

static u32 get(const u8 *p, unsigned offset)
{
	u32 value;

	memcpy(&value, p + offset, sizeof(value));
	return value;
}

/* What lies at pa, if its bytes can be reached and add up to 0. */
static const u8 *summed(u64 pa, u32 bytes)
{
	const u8 *p = phys_to_virt(paddr(pa));
	u8 sum = 0;

	if (!pa || pa > 4 * GiB - PAGE_SIZE - bytes) /* the last page is firmware code */
		return NULL;
	for (u32 i = 0; i < bytes; i++)
		sum += p[i];
	return sum == 0 ? p : NULL;
}

/* The table at pa, if it has this signature, at least so many bytes, and all is right with it. */
static const u8 *table_at(u32 pa, const char *signature, u32 bytes)
{
	const u8 *p = phys_to_virt(paddr(pa));

	if (pa > 4 * GiB - HEADER_BYTES || memcmp(p, signature, 4) != 0 || get(p, LENGTH) < bytes ||
	    get(p, LENGTH) > 16 * MiB)
		return NULL;
	return summed(pa, get(p, LENGTH));
}

/* A BIOS has the RSDP on a 16-byte boundary in its ROM; other loaders tell us where it is. */
static const u8 *find_rsdp(u64 told)
{
	const u8 *p = summed(told, RSDP_BYTES);

	for (u32 pa = 0xe0000; !p && pa < 0x100000; pa += 16)
		if (memcmp(phys_to_virt(paddr(pa)), "RSD PTR ", 8) == 0)
			p = summed(pa, RSDP_BYTES);
	return p;
}

/* The RSDT lists 32-bit addresses; the XSDT, from revision 2 on, 64-bit ones: we reach 4 GiB. */
static const u8 *find_fadt(const u8 *rsdp)
{
	bool wide = rsdp[RSDP_REVISION] >= 2 && get(rsdp, RSDP_XSDT) && !get(rsdp, RSDP_XSDT + 4);
	const u8 *list = wide ? table_at(get(rsdp, RSDP_XSDT), "XSDT", HEADER_BYTES) :
				table_at(get(rsdp, RSDP_RSDT), "RSDT", HEADER_BYTES);
	const u8 *found = NULL;
	u32 step = wide ? 8 : 4;

	for (u32 at = HEADER_BYTES; !found && list && at + step <= get(list, LENGTH); at += step)
		if (!wide || !get(list, at + 4))
			found = table_at(get(list, at), "FACP", FADT_BYTES);
	return found;
}

/* Name _S5_, a package: its length, its number of elements, the elements: 0, 1 or byte (0x0a) n. */
static bool find_sleep_types(const u8 *dsdt)
{
	for (u32 at = HEADER_BYTES; at + 16 <= get(dsdt, LENGTH); at++) {
		const u8 *p = dsdt + at + 5;

		if (memcmp(dsdt + at, "_S5_\x12", 5) != 0)
			continue;
		p += (*p >> 6) + 2; /* the length's first byte says how many more it has */
		for (int i = 0; i < 2; i++) {
			p += *p == 0x0a;
			pm1_sleep[i] = SLP_EN | (*p++ & 7) << 10;
		}
		return true;
	}
	return false;
}

void acpi_init(u64 told)
{
	const u8 *rsdp = find_rsdp(told), *fadt = rsdp ? find_fadt(rsdp) : NULL;
	const u8 *dsdt = fadt ? table_at(get(fadt, FADT_DSDT), "DSDT", HEADER_BYTES) : NULL;

	if (!dsdt || !find_sleep_types(dsdt))
		return;
	pm1_ports[0] = get(fadt, FADT_PM1_PORTS);
	pm1_ports[1] = get(fadt, FADT_PM1_PORTS + 4);
}

/* Let the machine do what was written to a port: 100 ms on a PC, where reading one takes 1 us. */
static void give_time(void)
{
	for (int i = 0; i < 100000; i++)
		inb(0x80);
}

void machine_exit(int status)
{
	irq_save();
	serial_drain();
	outb(0xf4, status == 0 ? 0x10 : 0x11); /* isa-debug-exit: QEMU's status is 33 or 35 */
	for (int i = 0; i < 2; i++)
		if (pm1_ports[i])
			asm volatile("outw %0, %1" ::"a"(pm1_sleep[i]), "d"(pm1_ports[i]));
	give_time();
	printk("This machine cannot switch itself off: switch it off now.\n");
	serial_drain();
	machine_halt();
}

/* The ways to reset a PC, the politest first; the last is a fault while there is no IDT. */
void machine_reboot(void)
{
	static const u16 no_idt[5];

	irq_save();
	serial_drain();
	outb(0xcf9, 0x06); /* chipset: a hard reset; mostly what ACPI's reset register is, too */
	give_time();
	outb(0x64, 0xfe); /* keyboard controller: pull the reset line */
	give_time();
	asm volatile("lidt %0; int3" ::"m"(no_idt));
	machine_halt();
}

void machine_halt(void)
{
	for (;;)
		asm volatile("cli; hlt");
}
