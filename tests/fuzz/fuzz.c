/*
 * fuzz.c - the machine under the targets, and the way into them, which is libFuzzer's: it calls
 * LLVMFuzzerTestOneInput() with string after string and looks which code that reaches. random.c
 * calls the same with what dice give.
 *
 * The first word on the command line names the target. The machine has little RAM, so that it can
 * run out, in several ranges; some of it is reserved.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kernel/words.h>
#include <mm/mm.h>
#include <mm/vmalloc.h>
#include <sim.h>

#include "fuzz.h"

extern const struct fuzz_target __start_targets[], __stop_targets[];
static const struct fuzz_target *target;
static const struct sim_ram ram[] = { { 0, 0x9f000 },
				      { 0x200000, 0x1a00000 },
				      { 0x4001000, 0x4027000 } };

u64 fuzz_operations, fuzz_complaints;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const u8 *data, size_t bytes);

void fuzz_fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(stderr, "\nFAILED %s, operation %lu: %s:%d: ", target->name, fuzz_operations, file,
		line);
	vfprintf(stderr, fmt, args);
	fprintf(stderr, "\n");
	va_end(args);
	abort();
}

void fuzz_complain(const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fuzz_fail("mm", 0, "%s", text);
}

void fuzz_count_complaint(const char *fmt, ...)
{
	fuzz_complaints += *fmt != '\0';
}

void expect_panic(const char *file, int line, void (*fn)(void *), void *arg, const char *text)
{
	char msg[512] = "it did not panic";

	if (!panic_caught(fn, arg, msg, sizeof(msg)) || !strstr(msg, text))
		fuzz_fail(file, line, "a panic that says '%s' was expected, but: %s", text, msg);
}

void expect_sound(void)
{
	mm_check(fuzz_complain);
}

void take_census(struct census *census)
{
	struct vmalloc_stats window;
	struct page_stats pages;
	struct kmem_stats cache;

	vm_unmap_aliases();
	kmem_cache_shrink_all();
	page_stats(&pages);
	vmalloc_stats(&window);
	*census = (struct census){
		.frames = pages.total - pages.free - pages.state[PG_SLAB] - pages.state[PG_TABLE],
		.areas = window.areas,
		.window_free = window.free,
	};
	for (unsigned i = 0; kmem_cache_stats(i, &cache); i++)
		census->objects += cache.in_use;
}

/* The machine, and target's name cut out of the command line; children that libFuzzer starts inherit it. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *name = *argc > 1 && (*argv)[1][0] != '-' ? (*argv)[1] : getenv("FUZZ_TARGET");
	struct memmap map = { 0 };

	for (target = __start_targets; name && target < __stop_targets; target++)
		if (!strcmp(target->name, name))
			break;
	if (!name || target == __stop_targets) {
		fprintf(stderr, "fuzz: name a target:");
		for (target = __start_targets; target < __stop_targets; target++)
			fprintf(stderr, " %s", target->name);
		fprintf(stderr, "\n");
		exit(2);
	}
	if (*argc > 1 && name == (*argv)[1]) {
		setenv("FUZZ_TARGET", name, 1);
		(*argv)[1] = (*argv)[0];
		++*argv, --*argc;
	}
	sim_init(ram, ARRAY_SIZE(ram), 4);
	for (unsigned i = 0; i < ARRAY_SIZE(ram); i++)
		memmap_insert(&map, ram[i].start, ram[i].end - ram[i].start, MEM_USABLE);
	memmap_insert(&map, 0x400000, 0x123000, MEM_IMAGE);
	memmap_insert(&map, 0x9000, 0x1800, MEM_MODULE);
	words.records = RECORDS_OFF;
	mm_init(&map, &(struct mm_options){ 0 });
	if (target->setup)
		target->setup();
	return 0;
}

static void run(void *in)
{
	target->run(in);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t bytes)
{
	struct bytes in = { data, data + bytes };
	char msg[512];

	if (panic_caught(run, &in, msg, sizeof(msg)))
		fuzz_fail("kernel", 0, "PANIC %s", msg);
	return 0;
}

/* libFuzzer counts inputs. */
__attribute__((destructor)) static void count(void)
{
	if (fuzz_operations)
		fprintf(stderr, "operations: %lu\n", fuzz_operations);
}
