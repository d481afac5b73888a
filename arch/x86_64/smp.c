/*
 * smp.c - many CPUs: how they come, how one calls all others, how a panic stops them.
 *
 * Firmware says which there are. They come one by one: INIT and SIPI start one at the trampoline,
 * where it must take the invitation that bears its id before it may touch anything (boot/entry.S).
 * If it has not done so in time we take that back, so it may come whenever it likes.
 *
 * One call is in flight at a time. Its caller takes the right to call; writes down what to do and a
 * bit for each CPU that is asked; interrupts all of these; and waits until as many are done. A CPU
 * that sees its bit serves the call: in the interrupt, or by cpu_serve() where it waits itself. To
 * take the bit back is one atomic step, so it serves no call twice; and nothing is written anew
 * before all are done, so it serves none that is stale.
 *
 * No deadlock: who waits for the right serves, interrupts masked or not. Who has it waits for CPUs
 * that wait for it (they serve), that spin on a lock or mask interrupts (for a while: nobody calls
 * with a lock held), or that run on (they are interrupted). fn waits for no call: nobody may call in
 * an interrupt. So each call ends. Who waits spins, with PAUSE: to sleep and be woken would cost
 * another interrupt for each call. Intel SDM Vol. 3A, 9.4, 11.4 to 11.8.
 */
#include <asm/x86.h>
#include <kernel/printk.h>
#include <kernel/smp.h>
#include <mm/mm.h>
#include <mm/vmalloc.h>

enum { ID = 0x20, PRIORITY = 0x80, END = 0xb0, SPURIOUS = 0xf0, COMMAND = 0x300, TARGET = 0x310 };
enum { TIMER = 0x320, LINT0 = 0x350, LINT1 = 0x360 }; /* the local APIC's registers */
enum { BUSY = 1 << 12, ON = 1 << 8, MASKED = 1 << 16, OTHERS = 3 << 18, INVITED = 0x100 };
enum { NMI = 4 << 8, INIT = 5 << 8, STARTUP = 6 << 8, FROM_PIC = 7 << 8 };
#define PATIENCE (1ul << 33)	/* cycles: some seconds */
#define SIPI_PERIOD (1ul << 22) /* a millisecond or so: a CPU that has just got INIT may miss one */

extern struct {
	void (*code)(void);
	void *stack;
	u64 early_root, root;
} continue_at; /* this and what follows: boot/entry.S */
extern u32 invited;
extern const char trampoline[], trampoline_end[];
paddr_t trampoline_page;

static volatile u32 *lapic;
static void *ap_stacks[CPU_STACKS]; /* of the CPU that is being started */
static u32 running = 1;
static u8 lapic_ids[NR_CPUS]; /* of those that run */
static u64 ipis;

static struct {
	bool busy; /* some CPU has the right to call */
	void (*fn)(void *);
	void *arg;
	u64 asked; /* a bit for each CPU that has not begun */
	u32 left;  /* how many are not done */
} call;
_Static_assert(NR_CPUS <= 64, "one bit each");

u32 nr_cpus(void)
{
	return __atomic_load_n(&running, __ATOMIC_ACQUIRE);
}

u64 nr_ipis(void)
{
	return __atomic_load_n(&ipis, __ATOMIC_RELAXED);
}

/* To the CPU with this id, or to all others, whatever it is then. */
static void send(u32 id, u32 command)
{
	irqflags_t flags = irq_save();

	__atomic_add_fetch(&ipis, command & OTHERS ? running - 1 : 1, __ATOMIC_RELAXED);
	while (lapic[COMMAND / 4] & BUSY)
		cpu_relax();
	lapic[TARGET / 4] = id << 24;
	lapic[COMMAND / 4] = command;
	irq_restore(flags);
}

/* PAGE_KERNEL is cached, but firmware's MTRRs say otherwise there, and they win. */
static bool lapic_map(void)
{
	u32 low, high;
	paddr_t base;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0x1b)); /* IA32_APIC_BASE */
	base = paddr(((u64)high << 32 | low) & PTE_ADDRESS);
	if ((low & 0xc00) != 0x800) /* off, or not in memory but among the registers (x2APIC) */
		return false;
	lapic = ioremap(base, PAGE_SIZE);
	return lapic != NULL;
}

static void ap_main(void)
{
	cpu_init(running, ap_stacks);
	lapic[SPURIOUS / 4] = ON | VEC_SPURIOUS; /* INIT has masked all else */
	__atomic_add_fetch(&running, 1, __ATOMIC_RELEASE);
	asm volatile("sti");
	cpu_idle();
}

/* Start the CPU with this local APIC as number nr_cpus(). False: it did not come. */
static bool start(u32 id)
{
	u32 cpu = running;
	u64 began = cycles(), next = 0, waited;

	continue_at.code = ap_main;
	continue_at.stack = ap_stacks[BOOT_STACK] + STACK_BYTES;
	continue_at.root = virt_to_phys(kernel_pt.root).v;
	lapic_ids[cpu] = id;
	__atomic_store_n(&invited, INVITED | id, __ATOMIC_RELEASE);
	send(id, INIT);
	do {
		waited = cycles() - began;
		if (waited > PATIENCE && __atomic_exchange_n(&invited, 0, __ATOMIC_ACQ_REL))
			return false;
		if (waited >= next && __atomic_load_n(&invited, __ATOMIC_RELAXED)) {
			send(id, STARTUP | trampoline_page.v >> PAGE_SHIFT);
			next = waited + SIPI_PERIOD;
		}
		cpu_relax();
	} while (nr_cpus() == cpu);
	return true;
}

static void bring_up(u32 id)
{
	bool memory = !mm_cpu_init(running);

	for (unsigned i = 0; i < CPU_STACKS; i++)
		memory &= (ap_stacks[i] = memory ? alloc_kernel_stack(STACK_BYTES) : NULL) != NULL;
	if (memory && start(id))
		return;
	for (unsigned i = 0; i < CPU_STACKS; i++)
		free_kernel_stack(ap_stacks[i]);
	printk_line("the CPU with APIC id %u %s: left out", id,
		    memory ? "did not come up" : "finds no memory");
}

void smp_init(void)
{
	pte_t *root = phys_to_virt(paddr(continue_at.early_root));

	if (!lapic_map() || !trampoline_page.v) {
		if (nr_acpi_cpus > 1)
			printk_line("one CPU: no local APIC in memory, or no room below 1 MiB");
		return;
	}
	if (nr_acpi_cpus > NR_CPUS)
		printk_line("of %u CPUs some are left out: %u are enough", nr_acpi_cpus, NR_CPUS);
	lapic_ids[0] = lapic[ID / 4] >> 24;
	lapic[SPURIOUS / 4] = ON | VEC_SPURIOUS;
	lapic[PRIORITY / 4] = 0;
	lapic[TIMER / 4] = MASKED;
	lapic[LINT0 / 4] = FROM_PIC;
	lapic[LINT1 / 4] = NMI;
	asm volatile("sti");
	root[0] = root[273]; /* the identity map, for those who come from the trampoline */
	memcpy(phys_to_virt(trampoline_page), trampoline, trampoline_end - trampoline);
	for (u32 i = 0; i < MIN(nr_acpi_cpus, NR_CPUS); i++)
		if (acpi_cpus[i] != lapic_ids[0] && running < NR_CPUS)
			bring_up(acpi_cpus[i]);
}

void cpu_serve(void)
{
	u64 me = 1ul << cpu_id();
	irqflags_t flags;

	if (!(__atomic_load_n(&call.asked, __ATOMIC_RELAXED) & me))
		return cpu_relax();
	ASSERT(!locks_held());
	flags = irq_save();
	if (__atomic_fetch_and(&call.asked, ~me, __ATOMIC_ACQUIRE) & me) {
		interrupt_nest(1);
		call.fn(call.arg);
		interrupt_nest(-1);
		__atomic_sub_fetch(&call.left, 1, __ATOMIC_RELEASE);
	}
	irq_restore(flags);
}

void on_other_cpus(void (*fn)(void *), void *arg)
{
	u64 others = (2ul << (nr_cpus() - 1)) - 1 - (1ul << cpu_id());
	irqflags_t flags;

	BUG_ON(in_interrupt());
	ASSERT(!locks_held());
	if (!others)
		return;
	flags = irq_save();
	while (__atomic_exchange_n(&call.busy, true, __ATOMIC_ACQUIRE))
		cpu_serve();
	call.fn = fn;
	call.arg = arg;
	call.left = nr_cpus() - 1;
	__atomic_store_n(&call.asked, others, __ATOMIC_RELEASE);
	send(0, OTHERS | VEC_CALL);
	while (__atomic_load_n(&call.left, __ATOMIC_ACQUIRE))
		cpu_relax();
	__atomic_store_n(&call.busy, false, __ATOMIC_RELEASE);
	irq_restore(flags);
}

void self_interrupt(void (*fn)(void *), void *arg)
{
	asm volatile("int %0" ::"i"(VEC_SELF), "D"(fn), "S"(arg) : "memory");
}

void cpu_wake(u32 cpu)
{
	send(lapic_ids[cpu], VEC_WAKE);
}

/* sti lets none in before hlt has begun, so none is missed. */
void cpu_sleep(void)
{
	asm volatile("sti; hlt; cli" ::: "memory");
}

void interrupt(const struct trap_frame *f)
{
	interrupt_nest(1);
	if (f->vector == VEC_SELF)
		((void (*)(void *))f->rdi)((void *)f->rsi);
	else if (f->vector < VEC_CALL) /* COM1, or a spurious one (8259A): others are masked */
		serial_irq_came = true;
	else if (f->vector != VEC_SPURIOUS)
		lapic[END / 4] = 0;
	if (f->vector == VEC_CALL)
		cpu_serve();
	interrupt_nest(-1);
}

void nmi_other_cpus(void)
{
	for (u32 cpu = 0; cpu < nr_cpus(); cpu++)
		if (cpu != cpu_id())
			send(lapic_ids[cpu], NMI);
}
