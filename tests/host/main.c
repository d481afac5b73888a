/*
 * main.c - the tests of mm/ as an ordinary program, on the simulated machine.
 *
 *	build/host-tests [pattern] [seed=N] [shuffle=N] [levels=4|5] [tlb=lazy|eager]
 *			 [mem=SIZE] [records=FILE]
 *
 * Numbers as the kernel's command line takes them. Exit status: 0 all passed, 1 something failed,
 * 2 wrong usage or no machine.
 */
#include <stdio.h>
#include <string.h>

#include <arch/machine.h>
#include <kernel/printk.h>
#include <kernel/record.h>
#include <kernel/words.h>
#include <mm/mm.h>

#include "../test.h"
#include <sim.h>

#define USAGE                                                              \
	"host-tests: cannot use '%s'\n"                                    \
	"  usage: host-tests [pattern] [seed=N] [shuffle=N] [levels=4|5] " \
	"[tlb=lazy|eager] [mem=SIZE] [records=FILE]\n"

/* RAM with holes, some of them small, which neither begins nor ends where large pages or buddy blocks would. */
static const struct sim_ram ram[] = {
	{ 0x0, 0x9f000 },	   { 0x100000, 0x2bc3000 },    { 0x3001000, 0x3207000 },
	{ 0x8100000, 0x1013d000 }, { 0x10140000, 0x10185000 },
};

static const char *pattern = "";
static u64 seed, levels = 4;
static struct mm_options options;

/* The map as firmware might tell it: unsorted, overlapping, with unknown types and empty ranges. */
static void fill_memmap(struct memmap *map)
{
	memmap_insert(map, 0x10140000, 0x45000, MEM_USABLE);
	memmap_insert(map, 0x8100000, 0x803d000, MEM_USABLE);
	memmap_insert(map, 0xfffc0000, 0x40000, MEM_RESERVED);
	memmap_insert(map, 0x100000, 0x2ac3000, MEM_USABLE);
	memmap_insert(map, 0x0, 0x9fc00, MEM_USABLE);
	memmap_insert(map, 0x9f000, 0x61000, MEM_RESERVED);
	memmap_insert(map, 0x3001000, 0x206000, MEM_USABLE);
	memmap_insert(map, 0x1000000, 0x123000, MEM_IMAGE);
	memmap_insert(map, 0x9000800, 0x1800, MEM_MODULE);
	memmap_insert(map, 0x31ff000, 0x8000, MEM_ACPI);
	memmap_insert(map, 0x3207000, 0x1000, MEM_NR_TYPES + 7);
	memmap_insert(map, 0x5000000, 0, MEM_USABLE);
}

/* One argument; false if it is none of ours. */
static bool parse_word(const char *word)
{
	const char *value = strchr(word, '=');

	if (!value) {
		pattern = word;
		return true;
	}
	value++;
	if (!strncmp(word, "seed=", 5))
		return parse_number(value, 10, &seed);
	if (!strncmp(word, "shuffle=", 8))
		return parse_number(value, 10, &options.shuffle_seed);
	if (!strncmp(word, "levels=", 7))
		return parse_number(value, 10, &levels) && (levels == 4 || levels == 5);
	if (!strcmp(word, "tlb=lazy") || !strcmp(word, "tlb=eager")) {
		options.tlb = *value == 'e' ? TLB_EAGER : TLB_LAZY;
		return true;
	}
	if (!strncmp(word, "mem=", 4))
		return parse_number(value, 10, &options.mem_bytes);
	if (!strncmp(word, "records=", 8)) {
		words.records = RECORDS_COM2;
		return sim_records_to(value);
	}
	return false;
}

int main(int argc, char **argv)
{
	struct memmap map = { 0 };
	unsigned failed;

	words.records = RECORDS_OFF;
	words.exit = true;
	for (int i = 1; i < argc; i++) {
		if (!parse_word(argv[i])) {
			fprintf(stderr, USAGE, argv[i]);
			return 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* whoever reads along sees each result at once */
	sim_init(ram, sizeof(ram) / sizeof(ram[0]), levels);
	fill_memmap(&map);
	words.mm = options;
	mm_init(&map, &options);
	failed = run_tests(pattern, seed);
	rec_run_end(failed ? "fail" : "pass");
	printk("%u passed, %u failed\n", tests_run - MIN(failed, tests_run), failed);
	serial_drain();
	return failed || !tests_run;
}
