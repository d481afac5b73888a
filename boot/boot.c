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
#include <kernel/printk.h>
#include <kernel/words.h>

struct bootinfo bootinfo;
static int levels = 4;

extern char __image_start[], __image_end[];

void boot_main(u32 magic, u32 info);	       /* called by boot/entry.S */
_Noreturn void enter_la57(void (*then)(void)); /* there, too */

static const void *read_phys(u64 pa, u64 bytes)
{
	if (pa == 0 || bytes > 4 * GiB || pa > 4 * GiB - bytes)
		return NULL;
	return phys_to_virt(paddr(pa));
}

static void printf_like(1, 2) complain(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printk("boot: ");
	vprintk(fmt, args);
	printk("\n");
	va_end(args);
}

/* Take it out of free RAM; false if it does not lie there. */
static bool take(u64 start, u64 bytes, enum memmap_type type)
{
	const struct memrange *r = memmap_find(&bootinfo.map, paddr(start));

	return r && (r->type == MEM_USABLE || r->type == MEM_MODULE) && bytes <= r->end - start &&
	       memmap_insert(&bootinfo.map, start, bytes, type);
}

static void mark_taken(void)
{
	for (unsigned i = 0; i < bootinfo.nr_modules; i++)
		if (!take(bootinfo.modules[i].start, bootinfo.modules[i].bytes, MEM_MODULE))
			complain("a module is said to lie at 0x%lx, where no RAM is free",
				 bootinfo.modules[i].start);
	take(bootinfo.rsdp, 36, MEM_ACPI); /* mostly firmware has reserved it already */
	memmap_insert(&bootinfo.map, 0, PAGE_SIZE, MEM_RESERVED);
	memmap_insert(&bootinfo.map, (u64)__image_start - IMAGE_BASE, __image_end - __image_start,
		      MEM_IMAGE);
}

static void boot_rest(void)
{
	cpu_init(0); /* again: the change of levels used the tables of boot/entry.S */
	address_map_init(levels);
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
		error = bootinfo_multiboot2(&bootinfo, info, read_phys, complain);
	else if (magic == PVH_MAGIC)
		error = bootinfo_pvh(&bootinfo, info, read_phys, complain);
	if (error) {
		complain("%s: EAX was 0x%x, EBX 0x%x\n"
			 "  start Tessera with GRUB's multiboot2 command, or qemu -kernel",
			 error, magic, info);
		machine_exit(1);
	}
	mark_taken();
	words_parse(bootinfo.cmdline, &words, complain);
	if (cpu_has("la57") && !words.la57_off) {
		levels = 5;
		enter_la57(boot_rest);
	}
	boot_rest();
}
