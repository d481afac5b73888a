/*
 * panic.c - how the kernel stops, and how a test survives that.
 *
 * The CPU that panics first reports; it stops all others before it prints. One that panics at the
 * same time has left its message where the first finds it. What the report reads may be what is
 * broken, so it may panic itself: then that is said too, and of the rest only what every run ends
 * with. A third panic only stops. So nothing can loop.
 *
 * panic_caught() is setjmp: it remembers its place, and a panic on this CPU then jumps back there
 * instead of reporting. That is sound because mm/ lets go of its locks before it complains. It would
 * not be from an interrupt, which has to come to its end.
 */
#include <arch/machine.h>
#include <kernel/record.h>
#include <kernel/spinlock.h>
#include <kernel/words.h>

#define PATIENCE (1ul << 33) /* cycles: some seconds */

struct catcher {
	void *place[5]; /* as __builtin_setjmp wants it */
	struct catcher *outer;
	char *msg;
	size_t bytes;
	irqflags_t flags;
	u32 depth; /* in interrupts */
};

static struct catcher *catchers[NR_CPUS]; /* each CPU its own, innermost first */
static const char *said[NR_CPUS];	  /* its panic that nobody caught; "": about to be said */
static vaddr_t stopped_at[NR_CPUS];	  /* its frame, for backtrace() */
static struct spinlock reporter = SPINLOCK("panic", LOCK_CONSOLE); /* never let go of */

bool panicking(void)
{
	return spin_is_mine(&reporter);
}

static _Noreturn void stop_here(vaddr_t frame)
{
	__atomic_store_n(&stopped_at[cpu_id()], frame, __ATOMIC_RELEASE);
	machine_halt();
}

bool panic_elsewhere(vaddr_t frame)
{
	if (!__atomic_load_n(&reporter.owner, __ATOMIC_RELAXED) || panicking())
		return false;
	if (!said[cpu_id()]) /* otherwise it stops by itself, when it is said */
		stop_here(frame);
	return true;
}

static void stop_others(void)
{
	u64 began = cycles();

	nmi_other_cpus();
	for (u32 cpu = 0; cpu < nr_cpus(); cpu++)
		while (cpu != cpu_id() && cycles() - began < PATIENCE &&
		       !__atomic_load_n(&stopped_at[cpu], __ATOMIC_ACQUIRE))
			cpu_relax();
}

static void report_stopped(u32 cpu)
{
	vaddr_t pcs[6], frame = stopped_at[cpu];
	unsigned nr = frame ? backtrace(pcs, ARRAY_SIZE(pcs), frame) : 0;

	if (said[cpu])
		printk("at the same time CPU %u: %s\n", cpu, said[cpu]);
	printk("CPU %u was %s", cpu, nr ? "at" : "not to be stopped");
	for (unsigned i = 0; i < nr; i++)
		printk("%s %pS", i ? " <" : "", (void *)(pcs[i] - 1));
	printk("\n");
}

static void report(const char *message, vaddr_t frame)
{
	vaddr_t pcs[24];

	stop_others();
	report_trap();
	printk_line(words.color ? "\033[1;31mPANIC\033[m %s" : "PANIC %s", message);
	record("panic", rec_num("cpu", cpu_id()), rec_str("what", message));
	printk("on CPU %lu, called from, innermost first:\n", cpu_id());
	for (unsigned i = 0, nr = backtrace(pcs, ARRAY_SIZE(pcs), frame); i < nr; i++)
		printk("  0x%016lx %pS\n", pcs[i] - 1, (void *)(pcs[i] - 1)); /* in the call */
	for (u32 cpu = 0; cpu < nr_cpus(); cpu++)
		if (cpu != cpu_id())
			report_stopped(cpu);
	if (!words.exit)
		printk("The machine stops here; with the word `exit` it would power off.\n");
}

static _Noreturn void stop(const char *message, vaddr_t frame)
{
	static unsigned more; /* panics of the reporter in the midst of its report */
	irqflags_t flags;

	if (spin_trylock(&reporter, &flags))
		report(message, frame);
	else if (!panicking())
		stop_here(frame);
	else if (more++ == 0)
		printk_line("PANIC while that was reported: %s", message);
	if (more < 2)
		rec_run_end("panic");
	if (words.exit && more < 3)
		machine_exit(1);
	machine_halt();
}

void panic(const char *fmt, ...)
{
	struct catcher *catcher = catchers[cpu_id()];
	char message[1024];
	va_list args;

	va_start(args, fmt);
	if (catcher && catcher->depth == interrupt_depth()) {
		catchers[cpu_id()] = catcher->outer;
		vsnprintf(catcher->msg, catcher->bytes, fmt, args);
		report_trap();
		irq_save(); /* till all is as it was: we may have had them on, or off */
		__builtin_longjmp(catcher->place, 1);
	}
	irq_save();
	said[cpu_id()] = "";
	vsnprintf(message, sizeof(message), fmt, args); /* if it faults, that is told */
	__atomic_store_n(&said[cpu_id()], message, __ATOMIC_RELEASE);
	stop(message, (vaddr_t)__builtin_frame_address(0));
}

bool panic_caught(void (*fn)(void *), void *arg, char *msg, size_t bytes)
{
	struct catcher catcher = {
		.outer = catchers[cpu_id()], .msg = msg, .bytes = bytes, .depth = interrupt_depth()
	};

	catcher.flags = irq_save();
	irq_restore(catcher.flags);
	if (__builtin_setjmp(catcher.place) == 0) {
		catchers[cpu_id()] = &catcher;
		fn(arg);
		catchers[cpu_id()] = catcher.outer;
		return false;
	}
	irq_restore(catcher.flags);
	return true;
}
