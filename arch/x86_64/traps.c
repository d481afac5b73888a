/*
 * traps.c - exceptions and interrupts: who gets over it, and what the others say before the end.
 *
 * An exception at the first instruction of probe_read() or its kin is expected: we note what the
 * CPU said and go on where the probe returns false. Any other is a bug, and we say all we know: its
 * name and error code, the registers, for page faults an explanation (kernel/explain.c), and by
 * panic() the callers. A double fault is mostly a stack that ran into its guard page, where the CPU
 * cannot push the page fault's frame either: it comes here on a stack of its own (cpu.c), with rsp
 * and CR2 as they were. Intel SDM Vol. 3A, 6.15.
 */
#include <asm/x86.h>
#include <kernel/panic.h>
#include <kernel/printk.h>
#include <kernel/show.h>

static const char names[][24] = {
	"#DE divide error", "#DB debug trap",	      "non-maskable (NMI)", "#BP breakpoint",
	"#OF overflow",	    "#BR out of bounds",      "#UD invalid opcode", "#NM no FPU or SSE",
	"#DF double fault", "coprocessor overrun",    "#TS invalid TSS",    "#NP no such segment",
	"#SS stack fault",  "#GP general protection", "#PF page fault",	    "reserved vector 15",
	"#MF x87 error",    "#AC alignment check",    "#MC machine check",  "#XM SIMD error",
};
static const char *const registers[] = { "r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8",
					 "rdi", "rsi", "rbp", "rbx", "rdx", "rcx", "rax" };

extern const char probe_done[], probe_failed[]; /* in traps.S */

static struct fault probe_faults[NR_CPUS];
static const struct trap_frame *trapped[NR_CPUS]; /* to be reported */

const struct fault *last_probe_fault(void)
{
	return &probe_faults[cpu_id()];
}

/* What frame and CR2 say. Only a page fault tells access and address: else they are as given. */
static struct fault read_fault(const struct trap_frame *f, enum access access, vaddr_t va)
{
	if (f->vector != VEC_PAGE_FAULT)
		return (struct fault){ .va = va, .pc = f->rip, .access = access };
	access = f->error & 16 ? ACCESS_FETCH : f->error & 2 ? ACCESS_WRITE : ACCESS_READ;
	return (struct fault){ READ_CR(2), f->rip, access, .page_fault = true, f->error & 8 };
}

/* If this happened in a probe, let that return false. */
static bool recover_probe(struct trap_frame *f)
{
	static const void *const probes[] = { probe_read, probe_write, probe_fetch };

	if (f->vector != VEC_PAGE_FAULT && f->vector != VEC_PROTECTION && f->vector != VEC_INVALID)
		return false;
	if (f->rip == f->rdi && *(const u64 *)f->rsp == (u64)probe_done) {
		f->rip = (u64)probe_fetch; /* its call was made, but the target is not code */
		f->rsp += 8;
	}
	for (enum access access = ACCESS_READ; access <= ACCESS_FETCH; access++)
		if (f->rip == (u64)probes[access]) {
			probe_faults[cpu_id()] = read_fault(f, access, f->rdi);
			f->rip = (u64)probe_failed;
			return true;
		}
	return false;
}

static const char *name_of(const struct trap_frame *f)
{
	return f->vector < ARRAY_SIZE(names) ? names[f->vector] : "reserved exception";
}

/* The registers, and what lies behind it, as far as the frame tells. */
static void report(const struct trap_frame *f)
{
	struct fault fault = read_fault(f, ACCESS_WRITE, READ_CR(2));

	printk_line("EXCEPTION %lu, %s, error code 0x%lx, on CPU %lu", f->vector, name_of(f),
		    f->error, cpu_id());
	for (int i = 14; i >= 0; i--)
		printk("  %-3s %016lx%s", registers[i], (&f->r15)[i], i % 3 == 0 ? "\n" : "");
	printk("  rip %016lx  rsp %016lx  rflags %lx\n", f->rip, f->rsp, f->rflags);
	printk("  cs  %016lx  ss  %016lx  cr0 %016lx\n", f->cs, f->ss, READ_CR(0));
	printk("  cr2 %016lx  cr3 %016lx  cr4 %016lx\n", READ_CR(2), READ_CR(3), READ_CR(4));
	if (f->vector == VEC_DOUBLE_FAULT && f->rsp - fault.va < 256) {
		printk("  the CPU could not push to the stack at 0x%lx\n", fault.va);
		fault.page_fault = true;
	}
	if (f->vector == VEC_PROTECTION && f->error == 0)
		printk("  most often a pointer was no canonical address: see the registers\n");
	if (fault.access == ACCESS_FETCH) /* where the call came from tells more than where to */
		fault.pc = *(const u64 *)f->rsp;
	if (fault.page_fault)
		explain_fault(&fault);
}

void report_trap(void)
{
	const struct trap_frame *f = trapped[cpu_id()];

	trapped[cpu_id()] = NULL;
	if (f)
		report(f);
}

void trap(struct trap_frame *f)
{
	if (f->vector >= VEC_IRQ)
		return interrupt(f);
	if (f->vector == VEC_NMI && panic_elsewhere((vaddr_t)f - 16)) /* see traps.S */
		return;
	if (recover_probe(f))
		return;
	trapped[cpu_id()] = f;
	panic("%s, error code 0x%lx, at %pS", name_of(f), f->error, (void *)f->rip);
}
