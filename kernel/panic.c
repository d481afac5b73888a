/*
 * panic.c - how the kernel stops, and how a test survives that.
 *
 * What the report reads may be what is broken, so it may panic itself: then that is said too, and
 * of the rest only what every run ends with. A third panic only stops. So nothing can loop.
 *
 * panic_caught() is setjmp: it remembers its place, and a panic on this CPU then jumps back there
 * instead of reporting. That is sound because mm/ lets go of its locks before it complains.
 */
#include <arch/cpu.h>
#include <arch/machine.h>
#include <kernel/panic.h>
#include <kernel/printk.h>
#include <kernel/record.h>
#include <kernel/words.h>

struct catcher {
	void *place[5]; /* as __builtin_setjmp wants it */
	struct catcher *outer;
	char *msg;
	size_t bytes;
	irqflags_t flags;
};

static struct catcher *catchers[NR_CPUS]; /* each CPU its own, innermost first */
static u32 panics;			  /* that nobody caught */

bool panicking(void)
{
	return __atomic_load_n(&panics, __ATOMIC_RELAXED) != 0;
}

static void report(const char *message, vaddr_t frame)
{
	vaddr_t pcs[24];

	printk_line(words.color ? "\033[1;31mPANIC\033[m %s" : "PANIC %s", message);
	record("panic", rec_str("what", message));
	printk("called from, innermost first:\n");
	for (unsigned i = 0, nr = backtrace(pcs, ARRAY_SIZE(pcs), frame); i < nr; i++)
		printk("  0x%016lx %pS\n", pcs[i] - 1, (void *)(pcs[i] - 1)); /* in the call */
	if (!words.exit)
		printk("The machine stops here; with the word `exit` it would power off.\n");
}

void panic(const char *fmt, ...)
{
	static char message[1024];
	struct catcher *catcher = catchers[cpu_id()];
	u32 before;
	va_list args;

	va_start(args, fmt);
	if (catcher) {
		catchers[cpu_id()] = catcher->outer;
		vsnprintf(catcher->msg, catcher->bytes, fmt, args);
		__builtin_longjmp(catcher->place, 1);
	}
	irq_save();
	vsnprintf(message, sizeof(message), fmt, args); /* if it faults, that is told */
	before = __atomic_fetch_add(&panics, 1, __ATOMIC_RELAXED);
	if (before < 2) {
		if (before == 0)
			report(message, (vaddr_t)__builtin_frame_address(0));
		else
			printk_line("PANIC while that was reported: %s", message);
		rec_run_end("panic");
	}
	if (words.exit && before <= 2)
		machine_exit(1);
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
