/*
 * power.c - the end: off, or again from the start.
 *
 * QEMU's isa-debug-exit comes first, since it alone carries a status; where it is absent the write
 * does nothing. A PC is switched off through ACPI: the sleep type of state S5, with a bit that says
 * "now", is written to the power management control port. The port's number is in the FADT; the type
 * is hidden in byte code (AML) of the DSDT, as a package named _S5_, found by its name. All tables
 * are found from the RSDP, and each is believed only if it can be reached, is long enough, and its
 * bytes add up to 0. They are read at boot, while the first 4 GiB are mapped; only the numbers
 * are kept. ACPI 6.4: 5.2.5 to 5.2.11, 7.4.2, 16.1; 20.2.5.4 for the package.
 */
#include <arch/cpu.h>
#include <asm/x86.h>
#include <kernel/printk.h>
#include <kernel/string.h>

enum { RSDP_REVISION = 15, RSDP_RSDT = 16, RSDP_BYTES = 20, RSDP_XSDT = 24, RSDP_BYTES_2 = 36 };
enum { TABLE_LENGTH = 4, TABLE_HEADER = 36 };
enum { FADT_DSDT = 40, FADT_SMI_PORT = 48, FADT_ACPI_ENABLE = 52, FADT_PM1A = 64, FADT_PM1B = 68,
       FADT_FLAGS = 112, FADT_RESET_SPACE = 116, FADT_RESET_PORT = 120, FADT_RESET_VALUE = 128 };
#define FLAG_RESET (1u << 10) /* FADT_FLAGS: there is a reset register */
#define SLP_EN (1u << 13)     /* PM1 control: go to sleep now */
#define SCI_EN 1u	      /* PM1 control: ACPI is on */

static u16 pm1_ports[2], pm1_sleep[2]; /* where to write, 0: nowhere; and what */
static u16 smi_port, reset_port;
static u8 acpi_enable, reset_value;

static u32 get(const u8 *p, unsigned offset, unsigned bytes)
{
	u32 value = 0;

	memcpy(&value, p + offset, bytes);
	return value;
}

/* What lies at pa, if its bytes can be reached and add up to 0. */
static const u8 *summed(u32 pa, u32 bytes)
{
	const u8 *p = phys_to_virt(paddr(pa));
	u8 sum = 0;

	if (!pa || (u64)pa + bytes > 4 * GiB)
		return NULL;
	for (u32 i = 0; i < bytes; i++)
		sum += p[i];
	return sum == 0 ? p : NULL;
}

/* The table at pa, if it has this signature, at least so many bytes, and all is right with it. */
static const u8 *table_at(u32 pa, const char *signature, u32 bytes)
{
	const u8 *p = phys_to_virt(paddr(pa));

	if (!pa || pa > 4 * GiB - TABLE_HEADER || memcmp(p, signature, 4) != 0 ||
	    get(p, TABLE_LENGTH, 4) < bytes || get(p, TABLE_LENGTH, 4) > 16 * MiB)
		return NULL;
	return summed(pa, get(p, TABLE_LENGTH, 4));
}

/* A BIOS has the RSDP on a 16-byte boundary in its ROM; other loaders tell us where it is. */
static const u8 *find_rsdp(u64 told)
{
	const u8 *p = told <= 4 * GiB - RSDP_BYTES_2 ? summed(told, RSDP_BYTES) : NULL;

	for (u32 pa = 0xe0000; !p && pa < 0x100000; pa += 16)
		if (memcmp(phys_to_virt(paddr(pa)), "RSD PTR ", 8) == 0)
			p = summed(pa, RSDP_BYTES);
	return p;
}

/* From revision 2 on there is a table of wide addresses; what lies above 4 GiB we cannot reach. */
static const u8 *find_table(const u8 *rsdp, const char *signature, u32 bytes)
{
	bool wide = rsdp[RSDP_REVISION] >= 2 && get(rsdp, RSDP_XSDT, 4) && !get(rsdp, RSDP_XSDT + 4, 4);
	const u8 *root = table_at(get(rsdp, wide ? RSDP_XSDT : RSDP_RSDT, 4), wide ? "XSDT" : "RSDT",
				  TABLE_HEADER);
	const u8 *found = NULL;
	u32 step = wide ? 8 : 4;

	for (u32 at = TABLE_HEADER; !found && root && at + step <= get(root, TABLE_LENGTH, 4); at += step)
		if (!wide || !get(root, at + 4, 4))
			found = table_at(get(root, at, 4), signature, bytes);
	return found;
}

/* Name _S5_, a package: its length, its number of elements, the elements: 0, 1 or byte (0x0a) n. */
static bool find_sleep_types(const u8 *dsdt)
{
	u32 end = get(dsdt, TABLE_LENGTH, 4);

	for (u32 at = TABLE_HEADER; at + 16 <= end; at++) {
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
	const u8 *rsdp = find_rsdp(told), *fadt, *dsdt;

	fadt = rsdp ? find_table(rsdp, "FACP", FADT_FLAGS + 4) : NULL;
	dsdt = fadt ? table_at(get(fadt, FADT_DSDT, 4), "DSDT", TABLE_HEADER) : NULL;
	if (fadt && get(fadt, TABLE_LENGTH, 4) > FADT_RESET_VALUE &&
	    get(fadt, FADT_FLAGS, 4) & FLAG_RESET && get(fadt, FADT_RESET_SPACE, 1) == 1) {
		reset_port = get(fadt, FADT_RESET_PORT, 2);
		reset_value = get(fadt, FADT_RESET_VALUE, 1);
	}
	if (!dsdt || !find_sleep_types(dsdt))
		return;
	pm1_ports[0] = get(fadt, FADT_PM1A, 2);
	pm1_ports[1] = get(fadt, FADT_PM1B, 2);
	smi_port = get(fadt, FADT_SMI_PORT, 2);
	acpi_enable = get(fadt, FADT_ACPI_ENABLE, 1);
}

/* Some polls of the time it takes an I/O port to answer, about a microsecond each on a PC. */
static void io_delay(unsigned polls)
{
	while (polls-- > 0)
		inb(0x80);
}

static void acpi_off(void)
{
	if (pm1_ports[0] && !(inw(pm1_ports[0]) & SCI_EN) && smi_port && acpi_enable) {
		outb(smi_port, acpi_enable); /* firmware has the power buttons: ask for them */
		for (int i = 0; i < 1000 && !(inw(pm1_ports[0]) & SCI_EN); i++)
			io_delay(1000);
	}
	for (int i = 0; i < 2; i++)
		if (pm1_ports[i])
			outw(pm1_ports[i], pm1_sleep[i]);
	io_delay(100000);
}

void machine_exit(int status)
{
	irq_save();
	serial_drain();
	outb(0xf4, status == 0 ? 0x10 : 0x11); /* isa-debug-exit: QEMU's status is 33 or 35 */
	acpi_off();
	printk("This machine cannot switch itself off: switch it off now.\n");
	serial_drain();
	machine_halt();
}

/* The ways to reset a PC, the politest first; the last is a fault while there is no IDT. */
void machine_reboot(void)
{
	static const struct packed {
		u16 limit;
		u64 base;
	} no_idt;

	irq_save();
	serial_drain();
	if (reset_port)
		outb(reset_port, reset_value);
	io_delay(10000);
	outb(0xcf9, 0x06); /* chipset: hard reset */
	io_delay(10000);
	outb(0x64, 0xfe); /* keyboard controller: pull the reset line */
	io_delay(10000);
	asm volatile("lidt %0; int3" ::"m"(no_idt));
	machine_halt();
}

void machine_halt(void)
{
	for (;;)
		asm volatile("cli; hlt");
}
