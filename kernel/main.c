/*
 * main.c - from boot to work.
 *
 * boot/ has left the machine in long mode, the command line parsed, the memory map read. Now mm/
 * comes up, then the other CPUs, and the command line's work is done: each word of work is a command of the monitor that
 * runs by itself. Without `exit` among the words a person goes on at the prompt.
 */
#include <arch/cpu.h>
#include <arch/machine.h>
#include <kernel/bootinfo.h>
#include <kernel/main.h>
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/record.h>
#include <kernel/smp.h>
#include <kernel/words.h>

static u64 ram_bytes(const struct memmap *map)
{
	u64 bytes = 0;

	for (enum memmap_type type = 0; type < MEM_NR_TYPES; type++)
		bytes += memmap_is_ram(type) ? memmap_bytes(map, type) : 0;
	return bytes;
}

static void hello(const struct memmap *map)
{
	printk_line("Tessera: %s of RAM, %d-level page tables\nCPU features: %s",
		    SIZE(ram_bytes(map)), address_map.levels, cpu_features_text());
	printk("started over %s %s%s\n", bootinfo.protocol,
	       *bootinfo.cmdline ? "with the words: " : "without words", bootinfo.cmdline);
	if (map->wrapping || map->beyond || map->unknown || map->dropped)
		printk("its memory map: %u wrap, %u above 16 TiB, %u of unknown type, %u lost\n",
		       map->wrapping, map->beyond, map->unknown, map->dropped);
}

/* Once all CPUs are there that will come. */
static void ready(const struct memmap *map)
{
	printk_line("%u CPU%s", nr_cpus(), nr_cpus() > 1 ? "s" : "");
	record("boot", rec_num("levels", address_map.levels), rec_num("cpus", nr_cpus()),
	       rec_num("frames", ram_bytes(map) >> PAGE_SHIFT),
	       rec_str("cmdline", bootinfo.cmdline));
}

void kernel_main(void)
{
	char *work = words.work, *line;
	bool passed = true;

	hello(&bootinfo.map);
	mm_init(&bootinfo.map, &words.mm);
	smp_init();
	ready(&bootinfo.map);
	while ((line = next_word(&work, "\n")))
		passed &= monitor_run(line);
	if (!words.exit)
		monitor();
	passed &= !tests_failed;
	rec_run_end(passed ? "pass" : "fail");
	machine_exit(!passed);
}
