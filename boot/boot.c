/*
 * boot.c - from the first line of C to kernel_main().
 *
 * Everything that needs the loader's memory is done here, while the first 4 GiB are mapped and
 * nothing has been handed out: what the loader said is copied, the command line parsed, ACPI read.
 * What must not be given away is marked in the memory map: our image, modules, and the page below
 * 1 MiB where the other CPUs will start.
 */
#include <asm/x86.h>
#include <kernel/bootinfo.h>
#include <kernel/printk.h>
#include <kernel/words.h>

struct bootinfo bootinfo;

extern char __image_start[], __image_end[];

void boot_main(u32 magic, u32 info);	       /* called by boot/entry.S */
_Noreturn void enter_la57(void (*then)(void)); /* there, too */

static const void *read_phys(u64 pa, u64 bytes)
{
	if (pa == 0 || bytes > 4 * GiB || pa > 4 * GiB - bytes)
		return NULL;
	return phys_to_virt(paddr(pa));
}

/* A module must lie in free RAM: elsewhere it would turn a hole or a device into RAM. */
static void mark_taken(struct memmap *map)
{
	for (unsigned i = 0; i < bootinfo.nr_modules; i++) {
		u64 start = bootinfo.modules[i].start, bytes = bootinfo.modules[i].bytes;
		const struct memrange *r = memmap_find(map, paddr(start));

		if (r && r->type <= MEM_MODULE && bytes <= r->end - start)
			memmap_insert(map, start, bytes, MEM_MODULE);
		else
			printk_line("boot: no free RAM at 0x%lx for the module there", start);
	}
	memmap_insert(map, (u64)__image_start - IMAGE_BASE, __image_end - __image_start, MEM_IMAGE);
	trampoline_page = memmap_alloc(map, PAGE_SIZE, PAGE_SIZE, MiB, MEM_IMAGE);
}

static void boot_rest(void)
{
	cpu_init(0, NULL); /* again: the change of levels used the tables of boot/entry.S */
	address_map_init();
	acpi_init(bootinfo.rsdp);
	kernel_main();
}

void boot_main(u32 magic, u32 info)
{
	const char *error;

	serial_init();
	cpu_init(0, NULL); /* from here on a fault is reported */
	error = bootinfo_parse(&bootinfo, magic, info, read_phys, printk_line);
	if (error) {
		printk_line("boot: %s: EAX was 0x%x, EBX 0x%x\n"
			    "  start Tessera with GRUB's multiboot2 command, or qemu -kernel",
			    error, magic, info);
		machine_exit(1);
	}
	mark_taken(&bootinfo.map);
	words_parse(bootinfo.cmdline, &words, printk_line);
	if (cpu_has("la57") && !words.la57_off)
		enter_la57(boot_rest);
	boot_rest();
}
