/*
 * lab.c - a kernel with holes in it: what happens where a function is called that nobody wrote yet.
 *
 * Such a function is a stub (lab.h). In a test it panics, and so only fails the test. At the prompt it
 * ends the command. While the machine boots it ends the boot, but not the machine: we jump back to
 * where we called kernel_main() and go on from there to the prompt, where much fails and some things
 * work. In either case the locks that the unfinished call held are let go of first.
 *
 * The linker puts us before what we watch over (ld's --wrap, see lab.mk): nothing in the kernel knows.
 */
#include <arch/machine.h>
#include <mm/mm.h>

#include "hold.h"

bool __real_panic_caught(void (*fn)(void *), void *arg, char *msg, size_t bytes);
bool __wrap_panic_caught(void (*fn)(void *), void *arg, char *msg, size_t bytes);
void __real_lock_taken(struct spinlock *lock);
void __wrap_lock_taken(struct spinlock *lock);
void __real_lock_released(struct spinlock *lock);
void __wrap_lock_released(struct spinlock *lock);
void __real_mm_init(const struct memmap *map, const struct mm_options *options);
void __wrap_mm_init(const struct memmap *map, const struct mm_options *options);

void __real_report_trap(void);
void __wrap_report_trap(void);
void __real_cpu_serve(void);
void __wrap_cpu_serve(void);

const struct lab_stub *stub_hit;
const char *mm_down __attribute__((weak)); /* the runner's; fuzz targets have none */
u32 stubs_hit __attribute__((weak));

struct lab_trace lab_trace;

/* Where CPU 0 goes on when a stub stops it. */
struct place {
	void *at[5]; /* as __builtin_setjmp wants it */
	struct place *outer;
	irqflags_t flags;
};

static struct place *place; /* the innermost; CPU 0 alone */
static bool counting;	    /* are catchers counted? KASAN has another __wrap_panic_caught() */

/* Of each CPU: how many calls of panic_caught() it is in, and the locks that it took, in their order. */
static struct {
	u32 catchers, nr;
	u32 before; /* so many of them before the innermost catcher */
	struct spinlock *lock[8];
} held[NR_CPUS];

const char *stub_text(char out[STUB_TEXT], const struct lab_stub *stub)
{
	snprintf(out, STUB_TEXT, "lab %u: %s is yours to write\n  %s:%u; LAB.md is the handout",
		 stub->lab, stub->function, stub->file, stub->line);
	return out;
}

/* Locks */

void __wrap_lock_taken(struct spinlock *lock)
{
	u32 cpu = cpu_id();

	if (held[cpu].nr < ARRAY_SIZE(held[cpu].lock))
		held[cpu].lock[held[cpu].nr++] = lock;
	__real_lock_taken(lock);
}

void __wrap_lock_released(struct spinlock *lock)
{
	u32 cpu = cpu_id(), to = 0;

	for (u32 i = 0; i < held[cpu].nr; i++)
		if (held[cpu].lock[i] != lock)
			held[cpu].lock[to++] = held[cpu].lock[i];
	held[cpu].nr = to;
	__real_lock_released(lock);
}

/* Those that whoever is stopped now has taken. */
static void let_go_of_locks(void)
{
	u32 cpu = cpu_id();

	while (held[cpu].nr > held[cpu].before)
		spin_unlock(held[cpu].lock[held[cpu].nr - 1], irq_save());
}

bool at_prompt(void)
{
	return !cpu_id() && held[0].catchers == 1;
}

/*
 * Of a panic that is caught: who called is told by the prompt (prompt.c) and with a test that panicked.
 * A report may need locks; where there is no mm/, faults are no news.
 */
void __wrap_report_trap(void)
{
	if (!cpu_id() && held[0].catchers)
		lab_trace.nr =
			backtrace(lab_trace.pcs, TRACE_MOST, (vaddr_t)__builtin_frame_address(0));
	if (held[cpu_id()].catchers)
		let_go_of_locks();
	if (!held[cpu_id()].catchers || !mm_down)
		__real_report_trap();
}

/* Stubs */

__attribute__((weak)) bool __wrap_panic_caught(void (*fn)(void *), void *arg, char *msg,
					       size_t bytes)
{
	u32 cpu = cpu_id(), before = held[cpu].before;
	bool caught;

	counting = true;
	held[cpu].catchers++;
	held[cpu].before = held[cpu].nr;
	caught = __real_panic_caught(fn, arg, msg, bytes);
	held[cpu].before = before;
	held[cpu].catchers--;
	return caught;
}

_Noreturn void lab_stub(const struct lab_stub *stub)
{
	u32 cpu = cpu_id();
	char text[STUB_TEXT];

	let_go_of_locks();
	stub_hit = stub;
	stubs_hit++;
	if (!counting || cpu || held[0].catchers || interrupt_depth() || !place)
		panic("%s", stub_text(text, stub));
	__builtin_longjmp(place->at, 1);
}

noinline bool stub_stops(void (*fn)(void *), void *arg)
{
	struct place here = { .outer = place };

	here.flags = irq_save();
	irq_restore(here.flags);
	if (__builtin_setjmp(here.at) == 0) {
		place = &here;
		fn(arg);
		place = here.outer;
		return false;
	}
	place = place->outer;
	irq_save();
	irq_restore(here.flags);
	return true;
}

/*
 * What a stub broke off may be waited for, in vain: mm/ has marks of its own for work under way. Who
 * waits for long then gives up, and there is no mm/ any more. On CPU 0.
 */
#define PATIENCE (1ul << 32)  /* cycles */
#define PAUSE (PATIENCE / 16) /* who comes back later than that does not wait */

void __wrap_cpu_serve(void)
{
	static u64 since, last;
	static char text[STUB_TEXT];
	u64 now = cycles();

	__real_cpu_serve();
	if (!stub_hit || cpu_id())
		return;
	if (now - last > PAUSE)
		since = now;
	last = now;
	if (now - since < PATIENCE)
		return;
	stubs_hit++;
	mm_down = stub_text(text, stub_hit);
	panic("%s\n  it was called in the midst of work that is waited for", mm_down);
}

struct init {
	const struct memmap *map;
	const struct mm_options *options;
};

static void do_nothing(void *unused)
{
	(void)unused;
}

static void init(void *arg)
{
	__real_mm_init(((struct init *)arg)->map, ((struct init *)arg)->options);
}

/* Where there is no place further out, on the host, the tests are told of mm_down. */
void __wrap_mm_init(const struct memmap *map, const struct mm_options *options)
{
	static char text[STUB_TEXT];

	panic_caught(do_nothing, NULL, text, sizeof(text)); /* is it counted? */
	if (!stub_stops(init, &(struct init){ map, options }))
		return;
	mm_down = stub_text(text, stub_hit);
	if (place)
		__builtin_longjmp(place->at, 1);
}
