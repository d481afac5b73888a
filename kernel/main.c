/*
 * main.c - from boot to work.
 *
 * boot/ has left the machine in long mode, the command line parsed, the memory map read. Now come
 * mm/, the other CPUs, and the command line's work: each such word is a command of the monitor that
 * runs by itself. Without `exit` among the words a person goes on at the prompt.
 */
#include <arch/machine.h>
#include <kernel/bootinfo.h>
#include <kernel/monitor.h>
#include <kernel/record.h>
#include <kernel/smp.h>
#include <kernel/words.h>

static void hello(void)
{
	const struct memmap *map = &bootinfo.map;
	u64 ram = 0;

	for (enum memmap_type type = 0; type < MEM_NR_TYPES; type++)
		ram += memmap_is_ram(type) ? memmap_bytes(map, type) : 0;
	printk_line("Tessera: %s of RAM, %u CPU%s, %d-level page tables\nCPU features: %s",
		    SIZE(ram), nr_cpus(), nr_cpus() > 1 ? "s" : "", address_map.levels,
		    cpu_features_text());
	printk("started over %s %s%s\n", bootinfo.protocol,
	       *bootinfo.cmdline ? "with the words: " : "without words", bootinfo.cmdline);
	if (map->wrapping || map->beyond || map->unknown || map->dropped)
		printk("its memory map: %u wrap, %u above 16 TiB, %u of unknown type, %u lost\n",
		       map->wrapping, map->beyond, map->unknown, map->dropped);
	record("boot", rec_num("levels", address_map.levels), rec_num("cpus", nr_cpus()),
	       rec_num("frames", ram >> PAGE_SHIFT), rec_str("cmdline", bootinfo.cmdline));
}

void kernel_main(void)
{
	char *work = words.work, *line;
	bool passed = true;

	mm_init(&bootinfo.map, &words.mm);
	smp_init();
	hello();
	while ((line = next_word(&work, "\n")))
		passed &= monitor_run(line);
	if (!words.exit)
		monitor();
	passed &= !tests_failed;
	rec_run_end(passed ? "pass" : "fail");
	machine_exit(!passed);
}
