/*
 * smp.c - many CPUs: how they come, how one calls all others, how a panic stops them.
 *
 * Firmware names the CPUs in its MADT (ACPI 6.4, 5.2.12). They come one after the other: ap_start
 * invites one by the id of its local APIC; INIT and SIPI start it at the trampoline. It changes
 * AP_INVITED to AP_CAME, gets ready, and changes that to AP_READY. Who is so late that we have lost
 * patience finds something else there and halts: each step is one compare and swap, so both sides
 * agree. What it may have begun to use then stays its own, and no other CPU is started that way.
 *
 * One call is in flight at a time. Its caller holds the right to call, taken by compare and swap;
 * writes down what to do; gives the call a number, one more than the last; interrupts the others;
 * and waits until each has written that number behind its name. A CPU serves the call when it sees
 * a number that it has not begun: in the interrupt, or by cpu_serve() where it waits itself.
 *
 * Once each: a CPU notes the number before it begins, interrupts masked, so that neither interrupt
 * nor a cpu_serve() inside fn finds it new. Never a stale or torn call: the number is written last,
 * and nothing is written anew before all have done the call.
 *
 * No deadlock: who waits for the right serves, interrupts masked or not. Who has the right waits for
 * CPUs that wait for the right (they serve), that spin on a lock or mask interrupts for a while
 * (nobody calls while holding a lock, so both end) or that run on (they are interrupted). fn itself
 * waits for no call: nobody may call in an interrupt. So each call ends, and the right is free.
 */
#include <arch/cpu.h>
#include <asm/x86.h>
#include <kernel/panic.h>
#include <kernel/printk.h>
#include <kernel/smp.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>

enum { AP_INVITED = 0x100, AP_CAME = 0x200, AP_READY = 0x300, AP_LATE = 0x400 };
enum { MADT_BYTES = 44, MADT_LAPIC = 0, MADT_X2APIC = 9, MADT_ENABLED = 1 };
#define PATIENCE (1ul << 33) /* cycles: some seconds; a SIPI every so many: a millisecond or so */
#define SIPI_PERIOD (1ul << 22)

extern struct { /* boot/entry.S */
	void (*function)(void);
	void *stack;
	u64 root;
} continue_at;
extern struct {
	u32 state; /* of the above, plus the id of the CPU that is being started; 0: none is */
	u32 root, cr4;
} ap_start;
extern pte_t early_root[PT_ENTRIES], early_root5[PT_ENTRIES];
extern const char trampoline[], trampoline_end[];

paddr_t trampoline_page;
static u8 named[NR_CPUS]; /* ids of local APICs, this CPU's first */
static u32 nr_named = 1;
static void *ap_stacks[CPU_STACKS]; /* of the CPU that is being started */

static u32 running = 1; /* nr_cpus() */
static u64 ipis;

static struct {
	u32 caller; /* 1 + the CPU that has the right to call; 0: none */
	u64 number;
	void (*fn)(void *);
	void *arg;
} call;

static struct aligned_to(64)
{
	u64 begun, done;    /* numbers of calls */
	void (*fn)(void *); /* of self_interrupt() */
	void *arg;
	vaddr_t stopped; /* for stopped_frame() */
	u32 lapic_id;
}
served[NR_CPUS];
static bool stopping;

u32 nr_cpus(void)
{
	return __atomic_load_n(&running, __ATOMIC_ACQUIRE);
}

u64 nr_ipis(void)
{
	return __atomic_load_n(&ipis, __ATOMIC_RELAXED);
}

static void send(u32 cpu, u32 command)
{
	__atomic_add_fetch(&ipis, 1, __ATOMIC_RELAXED);
	lapic_send(served[cpu].lapic_id, command);
}

void smp_find(void)
{
	const u8 *madt = acpi_table("APIC", MADT_BYTES), *entry;
	u32 at, id, flags, self;

	asm("cpuid" : "=b"(self) : "a"(1) : "ecx", "edx");
	named[0] = self >> 24;
	for (at = MADT_BYTES; at + 8 <= acpi_get(madt, 4) && madt[at + 1] >= 8; at += entry[1]) {
		entry = madt + at;
		id = *entry == MADT_X2APIC ? acpi_get(entry, 4) : entry[3];
		flags = acpi_get(entry, *entry == MADT_X2APIC ? 8 : 4);
		if ((*entry == MADT_LAPIC || *entry == MADT_X2APIC) && (flags & MADT_ENABLED) &&
		    id != named[0] && id < 255 && nr_named++ < NR_CPUS)
			named[nr_named - 1] = id;
	}
}

u32 machine_cpus(void)
{
	bool usable = lapic_init();

	if (usable) {
		served[0].lapic_id = lapic_id();
		asm volatile("sti");
	}
	if (nr_named > 1 && !(usable && trampoline_page.v))
		printk_line("there is no %s",
			    usable ? "free page below 1 MiB" : "usable local APIC");
	return usable && trampoline_page.v ? nr_named : 1;
}

/* One step of the protocol above; both sides take theirs so. */
static bool step(u32 from, u32 to)
{
	return __atomic_compare_exchange_n(&ap_start.state, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static void ap_main(void)
{
	cpu_init(running, ap_stacks);
	if (!lapic_init() || !step(lapic_id() | AP_CAME, lapic_id() | AP_READY))
		machine_halt();
	asm volatile("sti");
	cpu_idle();
}

/* Where a CPU goes from the trampoline: by the early tables, with 0 mapped again, to ap_main(). */
static void prepare(void *const stack[CPU_STACKS])
{
	pte_t *root = address_map.levels == 5 ? early_root5 : early_root;

	memcpy(phys_to_virt(trampoline_page), trampoline, trampoline_end - trampoline);
	memcpy(ap_stacks, stack, sizeof(ap_stacks));
	root[0] = root[273];
	ap_start.root = virt_to_phys(root).v;
	ap_start.cr4 = READ_CR(4) & (CR4_PAE | CR4_PGE | CR4_LA57);
	continue_at.function = ap_main;
	continue_at.stack = cpu_stack_top(stack[BOOT_STACK]);
	continue_at.root = mmu_root().v;
}

bool machine_start_cpu(u32 n, void *const stack[CPU_STACKS])
{
	u64 began = cycles(), next = 0, waited;
	u32 id = named[n];

	if (ap_start.state) /* held by one that was late */
		return false;
	prepare(stack);
	served[running].lapic_id = id;
	served[running].begun = served[running].done = call.number;
	__atomic_store_n(&ap_start.state, id | AP_INVITED, __ATOMIC_RELEASE);
	lapic_send(id, LAPIC_INIT);
	while (!step(id | AP_READY, 0)) {
		waited = cycles() - began;
		if (waited > PATIENCE && step(id | AP_INVITED, 0))
			return false;
		if (waited > 2 * PATIENCE && step(id | AP_CAME, AP_LATE))
			return false;
		if (waited >= next) { /* the first may be too early; once it runs, it knows none */
			lapic_send(id, LAPIC_STARTUP | trampoline_page.v >> PAGE_SHIFT);
			next = waited + SIPI_PERIOD;
		}
		cpu_relax();
	}
	__atomic_store_n(&running, running + 1, __ATOMIC_RELEASE);
	return true;
}

/* Being told */

void cpu_serve(void)
{
	u32 cpu = cpu_id();
	irqflags_t flags;
	u64 number;

	if (served[cpu].begun == __atomic_load_n(&call.number, __ATOMIC_RELAXED))
		return;
	ASSERT(!locks_held());
	flags = irq_save(); /* only now: an interrupt may just have served this and the next */
	number = __atomic_load_n(&call.number, __ATOMIC_ACQUIRE);
	if (served[cpu].begun != number) {
		served[cpu].begun = number;
		interrupt_enter();
		call.fn(call.arg);
		interrupt_leave();
		__atomic_store_n(&served[cpu].done, number, __ATOMIC_RELEASE);
	}
	irq_restore(flags);
}

void on_other_cpus(void (*fn)(void *), void *arg)
{
	u32 nr = nr_cpus(), cpu = cpu_id(), nobody = 0;
	irqflags_t flags;

	BUG_ON(in_interrupt());
	ASSERT(!locks_held());
	if (nr == 1)
		return;
	flags = irq_save();
	for (; !__atomic_compare_exchange_n(&call.caller, &nobody, cpu + 1, false, __ATOMIC_ACQUIRE,
					    __ATOMIC_RELAXED);
	     nobody = 0) {
		cpu_serve();
		cpu_relax();
	}
	call.fn = fn;
	call.arg = arg;
	served[cpu].begun = served[cpu].done = call.number + 1;
	__atomic_store_n(&call.number, call.number + 1, __ATOMIC_RELEASE);
	__atomic_add_fetch(&ipis, nr - 1, __ATOMIC_RELAXED);
	lapic_send(0, LAPIC_OTHERS | VEC_CALL);
	for (cpu = 0; cpu < nr; cpu++)
		while (__atomic_load_n(&served[cpu].done, __ATOMIC_ACQUIRE) != call.number)
			cpu_relax();
	__atomic_store_n(&call.caller, 0, __ATOMIC_RELEASE);
	irq_restore(flags);
}

void self_interrupt(void (*fn)(void *), void *arg)
{
	irqflags_t flags = irq_save();
	u32 cpu = cpu_id();

	served[cpu].arg = arg;
	served[cpu].fn = fn;
	send(cpu, VEC_SELF);
	while (__atomic_load_n(&served[cpu].fn, __ATOMIC_RELAXED))
		asm volatile("sti; nop; cli" ::: "memory");
	irq_restore(flags);
}

void cpu_wake(u32 cpu)
{
	send(cpu, VEC_WAKE);
}

void cpu_sleep(void)
{
	asm volatile("sti; hlt; cli" ::
			     : "memory"); /* sti lets none in before hlt: none is missed */
}

void interrupt(u64 vector)
{
	u32 cpu = cpu_id();

	interrupt_enter();
	if (vector < VEC_CALL) /* COM1, or a spurious one (8259A): others are masked */
		serial_irq_came = true;
	else if (vector < VEC_SPURIOUS)
		lapic_end();
	if (vector == VEC_CALL)
		cpu_serve();
	if (vector == VEC_SELF) {
		served[cpu].fn(served[cpu].arg);
		__atomic_store_n(&served[cpu].fn, NULL, __ATOMIC_RELAXED);
	}
	interrupt_leave();
}

/* Being stopped */

void stop_other_cpus(void)
{
	u32 nr = nr_cpus(), self = cpu_id();
	u64 began;

	__atomic_store_n(&stopping, true, __ATOMIC_RELEASE);
	for (u32 cpu = 0; cpu < nr; cpu++)
		if (cpu != self)
			send(cpu, LAPIC_NMI);
	began = cycles();
	for (u32 cpu = 0; cpu < nr; cpu++)
		while (cpu != self && !stopped_frame(cpu) && cycles() - began < PATIENCE)
			cpu_relax();
}

vaddr_t stopped_frame(u32 cpu)
{
	return __atomic_load_n(&served[cpu].stopped, __ATOMIC_ACQUIRE);
}

void stop_this_cpu(vaddr_t frame)
{
	__atomic_store_n(&served[cpu_id()].stopped, frame, __ATOMIC_RELEASE);
	machine_halt();
}

bool stop_if_told(const struct trap_frame *f)
{
	if (!__atomic_load_n(&stopping, __ATOMIC_ACQUIRE) || panicking())
		return false;
	if (!panic_begun())
		stop_this_cpu((vaddr_t)f - 16); /* the frame that traps.S made */
	return true;
}
