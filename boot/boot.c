/*
 * boot.c - from the first line of C to kernel_main().
 *
 * Everything that needs the loader's memory is done here, while the first 4 GiB are mapped and
 * nothing has been handed out: what the loader said is copied, the command line parsed, ACPI read.
 * What must not be given away is marked in the memory map: the page at 0, our image, modules.
 */
#include <asm/x86.h>
#include <kernel/bootinfo.h>
#include <kernel/main.h>
#include <kernel/panic.h>
#include <kernel/printk.h>
#include <kernel/words.h>

struct bootinfo bootinfo;

extern char __image_start[], __image_end[];

void boot_main(u32 magic, u32 info);
_Noreturn void enter_la57(void (*then)(void)); /* boot/entry.S */

static const void *read_phys(u64 pa, u64 bytes)
{
	if (pa == 0 || bytes > 4 * GiB || pa > 4 * GiB - bytes)
		return NULL;
	return phys_to_virt(paddr(pa));
}

/* True if all of it is RAM that no one else claims: where a module may lie. */
static bool is_free(u64 at, u64 end)
{
	const struct memrange *r;

	for (; at < end; at = r->end) {
		r = memmap_find(&bootinfo.map, paddr(at));
		if (!r || (r->type != MEM_USABLE && r->type != MEM_MODULE))
			return false;
	}
	return true;
}

static void mark_taken(void)
{
	unsigned overlapping = bootinfo.map.overlapping; /* which is not the loader's fault */

	memmap_insert(&bootinfo.map, 0, PAGE_SIZE, MEM_RESERVED);
	if (bootinfo.rsdp)
		memmap_insert(&bootinfo.map, bootinfo.rsdp, 36, MEM_ACPI);
	for (unsigned i = 0; i < bootinfo.nr_modules; i++)
		if (is_free(bootinfo.modules[i].start, bootinfo.modules[i].start + bootinfo.modules[i].bytes))
			memmap_insert(&bootinfo.map, bootinfo.modules[i].start, bootinfo.modules[i].bytes,
				      MEM_MODULE);
		else
			printk("boot: module %u is said to lie at 0x%lx, where there is no RAM\n", i,
			       bootinfo.modules[i].start);
	memmap_insert(&bootinfo.map, virt_to_phys(__image_start).v, __image_end - __image_start, MEM_IMAGE);
	bootinfo.map.overlapping = overlapping;
}

static bool want_la57(void)
{
	return cpu_has("la57") && !words.la57_off;
}

static void boot_rest(void)
{
	address_map_init(want_la57() ? 5 : 4);
	cpu_init(0);
	serial_irq_init();
	acpi_init(bootinfo.rsdp);
	kernel_main();
}

void boot_main(u32 magic, u32 info)
{
	const char *error = "the loader speaks neither Multiboot2 nor PVH";

	serial_init();
	cpu_init(0); /* from here on a fault is reported */
	if (magic == MULTIBOOT2_MAGIC)
		error = bootinfo_multiboot2(&bootinfo, info, read_phys, printk);
	else if (magic == PVH_MAGIC)
		error = bootinfo_pvh(&bootinfo, info, read_phys, printk);
	if (error) {
		printk("boot: %s\n  EAX was 0x%x, EBX 0x%x; start Tessera with GRUB's multiboot2 command, or"
		       " qemu -kernel\n", error, magic, info);
		machine_exit(1);
	}
	mark_taken();
	words_parse(bootinfo.cmdline, &words, printk);
	if (want_la57())
		enter_la57(boot_rest);
	boot_rest();
}
