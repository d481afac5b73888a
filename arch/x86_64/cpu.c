/*
 * cpu.c - one CPU: its number, its descriptor tables, its protections.
 *
 * Segments have no part in protection any more, but the CPU wants to see a table of them (GDT)
 * all the same; of a task's state (TSS) it uses the stack pointers only. Three exceptions change to
 * a stack of their own, through the TSS's interrupt stack table (IST), as they may strike when the
 * stack in use is no good: double fault, NMI, machine check. The other vectors of the IDT stay on
 * the stack they find. Each CPU has its own GDT and TSS, all share one IDT.
 *
 * Then all protections are turned on that the CPU has: a kernel that never runs user code loses
 * nothing by forbidding itself to execute (SMEP) or touch (SMAP) user pages, and any page marked so
 * by mistake shows at once. Intel SDM Vol. 3A, 2.5, 3.4.5, 6.14, 7.7.
 */
#include <arch/cpu.h>
#include <arch/machine.h>
#include <asm/x86.h>
#include <kernel/panic.h>
#include <kernel/printk.h>
#include <kernel/string.h>

struct packed tss {
	u32 reserved0;
	u64 rsp[3], reserved1, ist[7], reserved2;
	u16 reserved3, io_map;
};
_Static_assert(sizeof(struct tss) == 104, "the CPU fixes the TSS's layout");

struct gate {
	u16 offset_low, selector;
	u8 ist, type;
	u16 offset_middle;
	u32 offset_high, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "the CPU fixes a gate's layout");

struct packed table_pointer {
	u16 limit;
	const void *base;
};

static struct cpu_tables {
	struct cpu cpu; /* GS points here */
	u64 gdt[6];	/* null, code, data, 32-bit code, the TSS in two */
	struct tss tss;
} cpus[NR_CPUS] aligned_to(16);

static struct gate idt[NR_VECTORS];

extern const char trap_stubs[], double_fault_stack_top[], nmi_stack_top[], machine_check_stack_top[];

static void make_idt(void)
{
	static const u8 ist[NR_VECTORS] = { [VEC_DOUBLE_FAULT] = 1, [VEC_NMI] = 2, [VEC_MACHINE_CHECK] = 3 };

	for (unsigned i = 0; i < NR_VECTORS; i++) {
		u64 stub = (u64)trap_stubs + i * 16;

		idt[i] = (struct gate){ stub, KERNEL_CS, ist[i], 0x8e, stub >> 16, stub >> 32, 0 };
	}
}

static void load_tables(struct cpu_tables *t)
{
	u64 tss = (u64)&t->tss;
	struct table_pointer gdtr = { sizeof(t->gdt) - 1, t->gdt }, idtr = { sizeof(idt) - 1, idt };

	t->tss = (struct tss){ .io_map = sizeof(t->tss) };
	t->tss.ist[0] = (u64)double_fault_stack_top;
	t->tss.ist[1] = (u64)nmi_stack_top;
	t->tss.ist[2] = (u64)machine_check_stack_top;
	t->gdt[1] = 0x00af9b000000ffff; /* code, 64 bits */
	t->gdt[2] = 0x00cf93000000ffff; /* data */
	t->gdt[3] = 0x00cf9b000000ffff; /* code, 32 bits, for enter_la57() */
	t->gdt[4] = (sizeof(t->tss) - 1) | (tss & 0xffffff) << 16 | 0x89ul << 40 | (tss >> 24 & 0xff) << 56;
	t->gdt[5] = tss >> 32;
	asm volatile("lgdt %0; lidt %1; ltr %w2" ::"m"(gdtr), "m"(idtr), "r"(TSS_SELECTOR) : "memory");
}

/* What the CPU may have, where CPUID says so (register a, b, c, d: 0 to 3), and its bit in CR4. */
static const struct {
	const char *name;
	u32 leaf;
	u8 word, bit;
	u64 cr4;
} features[] = {
	{ "la57", 7, 2, 16, 0 },	  { "pdpe1gb", 0x80000001, 3, 26, 0 },
	{ "smep", 7, 1, 7, 1ul << 20 }, { "smap", 7, 1, 20, 1ul << 21 },
	{ "umip", 7, 2, 2, 1ul << 11 },
};

bool cpu_has(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
		if (strcmp(features[i].name, name) == 0)
			return cpuid(features[i].leaf & 0x80000000).w[0] >= features[i].leaf &&
			       cpuid(features[i].leaf).w[features[i].word] & 1u << features[i].bit;
	return false;
}

void cpu_init(u32 id)
{
	cpus[id].cpu = (struct cpu){ &cpus[id].cpu, id };
	wrmsr(MSR_GS_BASE, (u64)&cpus[id]);
	make_idt();
	load_tables(&cpus[id]);
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
		if (cpu_has(features[i].name))
			WRITE_CR(4, READ_CR(4) | features[i].cr4);
}

const char *cpu_features_text(void)
{
	static char text[80];

	strlcpy(text, "nx wp pge", sizeof(text)); /* without these boot/entry.S refuses */
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
		if (cpu_has(features[i].name) && (i > 0 || address_map.levels == 5))
			snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s", features[i].name);
	return text;
}

u32 nr_cpus(void)
{
	return 1;
}

/* One CPU runs so far, so there is no other. */
void on_other_cpus(void (*fn)(void *), void *arg)
{
	BUG_ON(nr_cpus() > 1 || !fn);
	(void)arg;
}

/*
 * A function begins by pushing its caller's rbp, so frames form a list: the address in rbp holds
 * the next one's, and above it lies the return address. The list may be damaged: that is why we are asked.
 */
unsigned backtrace(vaddr_t *pcs, unsigned max, vaddr_t fp)
{
	unsigned nr = 0;
	u8 byte;

	if (!fp)
		fp = (vaddr_t)__builtin_frame_address(0);
	while (nr < max && fp && IS_ALIGNED(fp, 8) && probe_read(fp, &byte) && probe_read(fp + 8, &byte)) {
		const u64 *frame = (const u64 *)fp;

		if (!frame[1])
			break;
		pcs[nr++] = frame[1];
		fp = frame[0];
	}
	return nr;
}
