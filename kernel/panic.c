/*
 * panic.c - how the kernel stops, and how a test survives that.
 *
 * Whoever finds that something is wrong calls panic() with a message that a person can act on.
 * The report goes in steps, the most important first. A step may panic itself, for what it reads
 * may be what is broken: then the new message is said, and the report goes on with the step
 * after. So no step runs twice, and none can loop.
 *
 * panic_caught() is setjmp: it remembers its place, and a panic on this CPU then jumps back there
 * instead of reporting. That is sound because mm/ lets go of its locks before it complains.
 */
#include <arch/cpu.h>
#include <arch/machine.h>
#include <kernel/panic.h>
#include <kernel/printk.h>
#include <kernel/record.h>
#include <kernel/string.h>
#include <kernel/words.h>

struct catcher {
	void *place[5]; /* as __builtin_setjmp wants it */
	struct catcher *outer;
	char *msg;
	size_t bytes;
	irqflags_t flags;
};

static struct catcher *catchers[NR_CPUS]; /* each CPU its own, innermost first */
static u32 panic_cpu;			  /* 0: none; otherwise 1 + the one that reports */
static vaddr_t frame;			  /* of the panic() that it is about */
static char message[1024];

bool panicking(void)
{
	return __atomic_load_n(&panic_cpu, __ATOMIC_RELAXED) != 0;
}

static void report_message(void)
{
	printk_line(words.color ? "\033[1;31mPANIC\033[m %s" : "PANIC %s", message);
}

static void report_callers(void)
{
	vaddr_t pcs[24];
	unsigned nr = backtrace(pcs, ARRAY_SIZE(pcs), frame);

	printk("called from, innermost first:\n");
	for (unsigned i = 0; i < nr; i++)
		printk("  0x%016lx %pB\n", pcs[i], (void *)pcs[i]);
}

static void report_record(void)
{
	*strchr(message, strchr(message, '\n') ? '\n' : '\0') = '\0'; /* its first line */
	rec_begin("panic");
	rec_str("what", message);
	rec_end();
}

static void report_end(void)
{
	rec_run_end("panic");
}

static void report_stop(void)
{
	if (words.exit)
		machine_exit(1);
	printk("The machine has stopped; with the word `exit` it would be off now.\n");
	serial_drain();
}

void panic(const char *fmt, ...)
{
	static void (*const steps[])(void) = { report_message, report_callers, report_record,
					       report_end, report_stop };
	static unsigned step, again;
	struct catcher *catcher = catchers[cpu_id()];
	u32 reporter = 0;
	va_list args;

	va_start(args, fmt);
	if (catcher) {
		catchers[cpu_id()] = catcher->outer;
		vsnprintf(catcher->msg, catcher->bytes, fmt, args);
		__builtin_longjmp(catcher->place, 1);
	}
	irq_save();
	if (__atomic_compare_exchange_n(&panic_cpu, &reporter, cpu_id() + 1, false,
					__ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		frame = (vaddr_t)__builtin_frame_address(0);
		vsnprintf(message, sizeof(message), fmt, args);
	} else if (reporter != cpu_id() + 1) {
		machine_halt();
	} else if (again++ < ARRAY_SIZE(steps)) {
		printk_line("PANIC while that was reported:");
		vprintk(fmt, args);
	}
	while (step < ARRAY_SIZE(steps))
		steps[step++]();
	machine_halt();
}

bool panic_caught(void (*fn)(void *), void *arg, char *msg, size_t bytes)
{
	struct catcher catcher = { .outer = catchers[cpu_id()], .msg = msg, .bytes = bytes };

	catcher.flags = irq_save();
	irq_restore(catcher.flags);
	if (__builtin_setjmp(catcher.place) == 0) {
		catchers[cpu_id()] = &catcher;
		fn(arg);
		catchers[cpu_id()] = catcher.outer;
		return false;
	}
	irq_save(); /* whoever panicked may have had them on, or off */
	irq_restore(catcher.flags);
	return true;
}
