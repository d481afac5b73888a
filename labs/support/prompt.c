/*
 * prompt.c - the monitor of a kernel with holes: it says what is missing, and lives on.
 *
 * Where the boot came to its end, a stub ends only the command that met it; a panic stops the machine
 * as ever. Where a stub stopped the boot no command is sure to find what it needs, so there panics
 * are caught, too, and told. See lab.c for how.
 */
#include <arch/machine.h>
#include <kernel/bootinfo.h>
#include <kernel/monitor.h>
#include <kernel/record.h>
#include <kernel/words.h>
#include <mm/mm.h>

#include "hold.h"
#include "this_lab.h"

extern const struct lab_stub __start_lab_stubs[], __stop_lab_stubs[]; /* from the linker */

void __real_kernel_main(void);
void __wrap_kernel_main(void);
bool __real_monitor_run(char *line);
bool __wrap_monitor_run(char *line);
u64 __real_mm_check(complain_fn complain);
u64 __wrap_mm_check(complain_fn complain);
void __real_monitor(void);
void __wrap_monitor(void);

static const struct lab_stub *boot_stopped; /* by this one; NULL: it was not */
static bool typed;			    /* are commands typed by now? */

static int compare(const struct lab_stub *a, const struct lab_stub *b)
{
	int files = strcmp(a->file, b->file);

	return files ? files : a->line < b->line ? -1 : a->line > b->line;
}

/* The next by file and line; compilers leave them in any order, and one in a header there is often. */
static const struct lab_stub *stub_after(const struct lab_stub *last)
{
	const struct lab_stub *next = NULL;

	for (const struct lab_stub *s = __start_lab_stubs; s < __stop_lab_stubs; s++)
		if ((!last || compare(s, last) > 0) && (!next || compare(s, next) < 0))
			next = s;
	return next;
}

static void list_stubs(void)
{
	const struct lab_stub *stub = stub_after(NULL);

	if (lab_tell) {
		lab_tell();
		return;
	}
	printk("Lab %u, %s. ", LAB, LAB_NAME);
	printk(stub ? "Yours to write:\n" : "All is written; `make grade` says how well.\n");
	for (; stub; stub = stub_after(stub)) {
		printk("  %-20s %s:%u", stub->function, stub->file, stub->line);
		printk(boot_stopped && !compare(stub, boot_stopped) ?
			       "  <- here the boot stopped\n" :
			       "\n");
	}
	if (boot_stopped)
		printk("LAB.md is the handout. What needs more than is there by now will say so.\n");
}

COMMAND(lab, "", "what is still yours to write", list_stubs());

/* Of the last panic that was caught, as far as to who caught it. The first place is in panic() itself. */
static void tell_trace(const char *begin)
{
	char name[80];

	for (unsigned i = 1; i < lab_trace.nr; i++) {
		snprintf(name, sizeof(name), "%pS", (void *)(lab_trace.pcs[i] - 1));
		if (contains(name, "panic_caught+"))
			break;
		printk("%s%s", i > 1 ? " < " : begin, name);
	}
	printk("\n");
}

void tell_callers(void)
{
	tell_trace("# called from ");
}

/* A panic that was caught: for want of a function, or a mistake as any other. */
static void tell_panic(const char *text, bool by_stub)
{
	printk_line("%s:\n  %s", by_stub ? "That needs what is not there yet" : "That panicked",
		    text);
	if (!by_stub)
		tell_trace("  called from ");
}

/* Run fn(arg) and tell what stopped it; false if something did. */
static bool holds(void (*fn)(void *), void *arg)
{
	static char text[512]; /* stacks are small */
	u32 hit = stubs_hit;

	if (boot_stopped && panic_caught(fn, arg, text, sizeof(text)))
		tell_panic(text, stubs_hit != hit);
	else if (!boot_stopped && stub_stops(fn, arg))
		printk_line("Stopped: %s", stub_text(text, stub_hit));
	else
		return true;
	return false;
}

struct run {
	char *line;
	bool passed;
};

static void run(void *arg)
{
	struct run *run = arg;

	run->passed = __real_monitor_run(run->line);
}

bool __wrap_monitor_run(char *line)
{
	struct run this = { line, false };

	return holds(run, &this) && this.passed;
}

/*
 * All tests at once would mostly say what is missing, hundreds of times. Not so where the grader
 * starts the kernel with the word `test`: it has chosen, and counts each that passes.
 */
bool tests_are_too_early(void)
{
	const struct lab_stub *stub = stub_after(NULL);

	if (!stub || !typed)
		return false;
	printk_line("`test` runs all tests, and these functions are still to be written:");
	for (; stub; stub = stub_after(stub))
		printk("  %s", stub->function);
	printk("\n  `test NAME` runs those whose name contains NAME.\n");
	return true;
}

/* One mistake may spoil thousands of blocks: a few of them say it. */
#define FAULTS_TOLD 10
static u64 faults_told;

static void printf_like(1, 2) tell_a_few(const char *fmt, ...)
{
	char line[256];
	va_list args;

	if (faults_told++ >= FAULTS_TOLD)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	printk_line("%s", line);
}

/* The command `check` may find much, and what is only unfinished. */
u64 __wrap_mm_check(complain_fn complain)
{
	u64 faults;

	faults_told = 0;
	faults = __real_mm_check(complain == printk_line ? tell_a_few : complain);
	if (faults_told > FAULTS_TOLD)
		printk_line("... and %lu more", faults_told - FAULTS_TOLD);
	if (faults && boot_stopped && at_prompt())
		printk_line(
			"The boot stopped half-way, and what it had in hand is in no book: areas and "
			"addresses\nthat are missing or left over need not be a mistake of yours.");
	return faults;
}

static void prompt(void *unused)
{
	(void)unused;
	__real_monitor();
}

void __wrap_monitor(void)
{
	printk("\n");
	list_stubs();
	typed = true;
	while (!words.exit)
		holds(prompt, NULL);
}

static void boot(void *unused)
{
	(void)unused;
	__real_kernel_main();
}

/* As kernel_main(), from where it was stopped. */
void __wrap_kernel_main(void)
{
	char *work = words.work, *line, text[STUB_TEXT];

	if (!stub_stops(boot, NULL))
		return;
	boot_stopped = stub_hit;
	record("boot", rec_num("levels", address_map.levels), rec_num("cpus", nr_cpus()),
	       rec_num("frames", 0), rec_str("cmdline", bootinfo.cmdline));
	printk_line("The boot stopped: %s", stub_text(text, stub_hit));
	while ((line = next_word(&work, "\n")))
		monitor_run(line);
	if (!words.exit)
		monitor();
	rec_run_end("fail");
	machine_exit(1);
}
