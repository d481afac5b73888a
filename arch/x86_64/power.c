/*
 * power.c - what firmware's tables tell: which CPUs there are, and how to switch off. The end.
 *
 * QEMU's isa-debug-exit comes first, since it alone carries a status; elsewhere it does nothing. A
 * PC is switched off through ACPI: the sleep type of state S5, with a bit that says "now", goes to
 * the power management control port. The FADT tells the port; the type is hidden in byte code (AML)
 * of the DSDT, as a package named _S5_. The CPUs are in the MADT. All tables are found from the
 * RSDP, at boot, while the first 4 GiB are mapped; each is believed only if in reach, long enough,
 * and its bytes add up to 0. ACPI 6.4: 5.2.5 to 5.2.9, 5.2.12, 7.4.2, 16.1; 20.2.5.4 for the package.
 */
#include <asm/x86.h>
#include <kernel/printk.h>
#include <kernel/string.h>

enum { LENGTH = 4, RSDP_REVISION = 15, RSDP_RSDT = 16, RSDP_XSDT = 24, RSDP_BYTES = 20 };
enum { HEADER_BYTES = 36, FADT_DSDT = 40, FADT_PM1_PORT = 64, FADT_BYTES = 116 };
enum { MADT_BYTES = 44, MADT_LAPIC = 0, MADT_ENABLED = 1 };

static u16 pm1_port, pm1_sleep; /* where to write, 0: nowhere; and what */
u8 acpi_cpus[NR_CPUS];
u32 nr_acpi_cpus;

static u32 get(const u8 *table, unsigned offset)
{
	u32 word = 0; /* at any address: what AML leaves is not aligned */

	return table ? *(u32 *)memcpy(&word, table + offset, sizeof(word)) : 0;
}

static const u8 *table_at(u64 pa, const char *signature, u32 least)
{
	const u8 *p = phys_to_virt(paddr(pa));
	u32 bytes;
	u8 sum = 0;

	/* The last 16 MiB that we reach are ROM and devices; the RSDP does not say its length. */
	if (!pa || pa > 4 * GiB - 16 * MiB || memcmp(p, signature, strlen(signature)) != 0)
		return NULL;
	bytes = least == RSDP_BYTES ? least : get(p, LENGTH);
	if (bytes < least || bytes > 16 * MiB)
		return NULL;
	while (bytes-- > 0)
		sum += p[bytes];
	return sum == 0 ? p : NULL;
}

static void find_power(const u8 *fadt)
{
	const u8 *dsdt = table_at(get(fadt, FADT_DSDT), "DSDT", HEADER_BYTES), *p;

	/* Name _S5_, a package: its length, how many elements, each as 0, 1, or 0x0a and a byte.
	   11 bytes at least: they may be the last. */
	for (u32 at = HEADER_BYTES; !pm1_port && at + 11 <= get(dsdt, LENGTH); at++)
		if (memcmp(dsdt + at, "_S5_\x12", 5) == 0) {
			p = dsdt + at + 5;
			p += (*p >> 6) + 2; /* the length's first byte says how many more it has */
			pm1_sleep = 1 << 13 | (p[*p == 0x0a] & 7) << 10; /* SLP_EN, SLP_TYP */
			pm1_port = get(fadt, FADT_PM1_PORT);
		}
}

/* Local APICs of CPUs that are there; others may be plugged in some day. */
static void find_cpus(const u8 *madt)
{
	for (u32 at = MADT_BYTES; at + 8 <= get(madt, LENGTH) && madt[at + 1]; at += madt[at + 1])
		if (madt[at] == MADT_LAPIC && (get(madt, at + 4) & MADT_ENABLED) &&
		    nr_acpi_cpus++ < NR_CPUS)
			acpi_cpus[nr_acpi_cpus - 1] = madt[at + 3];
}

void acpi_init(u64 rsdp_pa)
{
	const u8 *rsdp = table_at(rsdp_pa, "RSD PTR ", RSDP_BYTES), *list = NULL;
	u32 bytes; /* of an address in the list of tables */
	u64 pa = 0;

	if (rsdp && rsdp[RSDP_REVISION] >= 2)
		list = table_at(get(rsdp, RSDP_XSDT) | (u64)get(rsdp, RSDP_XSDT + 4) << 32, "XSDT",
				HEADER_BYTES);
	if (!list)
		list = table_at(get(rsdp, RSDP_RSDT), "RSDT", HEADER_BYTES);
	bytes = list && *list == 'X' ? 8 : 4;
	for (u32 at = HEADER_BYTES; at + bytes <= get(list, LENGTH); at += bytes) {
		memcpy(&pa, list + at, bytes);
		find_power(table_at(pa, "FACP", FADT_BYTES));
		if (!nr_acpi_cpus)
			find_cpus(table_at(pa, "APIC", MADT_BYTES));
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
