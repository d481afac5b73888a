/*
 * acpi.c - the tables in which firmware describes the machine.
 *
 * From the RSDP to a list of all others: the RSDT, or, with addresses of 64 bits, the XSDT. They are
 * read at boot, while the first 4 GiB are mapped; each is believed only if in reach, long enough,
 * and its bytes add up to 0. ACPI 6.4: 5.2.5 to 5.2.8.
 */
#include <asm/x86.h>
#include <kernel/string.h>

enum { LENGTH = 4, RSDP_REVISION = 15, RSDP_RSDT = 16, RSDP_XSDT = 24 }; /* offsets */
enum { RSDP_BYTES = 20, HEADER_BYTES = 36 };

static const u8 *list;
static u32 address_bytes; /* in the list */

u32 acpi_get(const u8 *table, unsigned offset)
{
	return table ? *(const u32 *)(table + offset) : 0;
}

const u8 *acpi_find(u64 pa, const char *signature, u32 least)
{
	const u8 *p = phys_to_virt(paddr(pa));
	u32 bytes;
	u8 sum = 0;

	/* The last 16 MiB that we reach are ROM and devices; the RSDP does not say its length. */
	if (!pa || pa > 4 * GiB - 16 * MiB || memcmp(p, signature, strlen(signature)) != 0)
		return NULL;
	bytes = least == RSDP_BYTES ? least : acpi_get(p, LENGTH);
	if (bytes < least || bytes > 16 * MiB)
		return NULL;
	while (bytes-- > 0)
		sum += p[bytes];
	return sum == 0 ? p : NULL;
}

static u64 get_address(const u8 *table, unsigned offset, u32 bytes)
{
	return acpi_get(table, offset) | (bytes == 8 ? (u64)acpi_get(table, offset + 4) << 32 : 0);
}

const u8 *acpi_table(const char *signature, u32 least)
{
	const u8 *table = NULL;
	u32 end = acpi_get(list, LENGTH);

	for (u32 at = HEADER_BYTES; !table && at + address_bytes <= end; at += address_bytes)
		table = acpi_find(get_address(list, at, address_bytes), signature, least);
	return table;
}

void acpi_init(u64 rsdp_pa)
{
	const u8 *rsdp = acpi_find(rsdp_pa, "RSD PTR ", RSDP_BYTES);

	address_bytes = 8;
	if (rsdp && rsdp[RSDP_REVISION] >= 2)
		list = acpi_find(get_address(rsdp, RSDP_XSDT, 8), "XSDT", HEADER_BYTES);
	if (!list) {
		address_bytes = 4;
		list = acpi_find(acpi_get(rsdp, RSDP_RSDT), "RSDT", HEADER_BYTES);
	}
	power_init();
	smp_find();
}
