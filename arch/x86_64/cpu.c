/*
 * cpu.c - one CPU: its number, its descriptor tables, its protections, its stack's frames.
 *
 * Segments protect nothing any more, but the CPU wants a table of them (GDT) all the same; of a
 * task's state (TSS) it uses the stack pointers only. Double fault, NMI and machine check may
 * strike when the stack in use is no good: each has its own, by the TSS's table (IST). Then every
 * protection is turned on that there is: we have no user pages, so forbidding ourselves to execute
 * (SMEP) or touch (SMAP) them shows mistakes. Intel SDM Vol. 3A, 2.5, 3.4.5, 6.14, 7.7, 15.6.
 */
#include <asm/x86.h>
#include <kernel/printk.h>
#include <kernel/string.h>

static struct cpu {
	u32 id, interrupts; /* GS points here: see asm/cpu.h */
	u64 gdt[6];	    /* null, code, data, 32-bit code, the TSS in two */
	struct packed {
		u32 reserved0;
		u64 rsp[3], ist[8], reserved1; /* ist[0] is never used */
		u16 reserved2, io_map;
	} tss;
} aligned_to(64) cpus[NR_CPUS];

static u64 idt[NR_VECTORS][2];

/* What else a CPU may have: where CPUID says so (word: eax to edx), and what to set in CR4. */
static const struct feature {
	const char *name;
	u32 leaf, word, bit, cr4;
} features[] = {
	{ "la57", 7, 2, 16, 0 },       { "pdpe1gb", 0x80000001, 3, 26, 0 },
	{ "smep", 7, 1, 7, 1u << 20 }, { "smap", 7, 1, 20, 1u << 21 },
	{ "umip", 7, 2, 2, 1u << 11 }, { "mce", 1, 3, 7, 1u << 6 },
};

extern const char trap_stubs[]; /* in traps.S, 16 bytes each */
extern const u64 boot_gdt[4];	/* in boot/entry.S */

bool cpu_has(const char *name)
{
	const struct feature *f = features;
	u32 w[4], most;

	while (strcmp(f->name, name) != 0)
		f++;
	asm("cpuid" : "=a"(most) : "a"(f->leaf & 0x80000000) : "ebx", "ecx", "edx");
	asm("cpuid" : "=a"(w[0]), "=b"(w[1]), "=c"(w[2]), "=d"(w[3]) : "a"(f->leaf), "c"(0));
	return f->leaf <= most && (w[f->word] >> f->bit & 1);
}

const char *cpu_features_text(void)
{
	static char text[80];
	int used = snprintf(text, sizeof(text), "nx wp pge"); /* boot/entry.S insists on these */

	for (const struct feature *f = features; f < features + ARRAY_SIZE(features); f++)
		if (cpu_has(f->name) && (f != features || address_map.levels == 5))
			used += snprintf(text + used, sizeof(text) - used, " %s", f->name);
	return text;
}

/* The vectors, the same for all CPUs. */
static void fill_idt(void)
{
	static const u64 ist[NR_VECTORS] = { [VEC_DOUBLE_FAULT] = DOUBLE_FAULT_STACK,
					     [VEC_NMI] = NMI_STACK,
					     [VEC_MACHINE_CHECK] = MACHINE_CHECK_STACK };

	for (u64 i = 0; i < NR_VECTORS; i++) {
		u64 stub = (u64)trap_stubs + i * 16;

		idt[i][0] = (stub & 0xffff) | KERNEL_CS << 16 | ist[i] << 32 | 0x8eul << 40 |
			    (stub >> 16 & 0xffff) << 48; /* 0x8e: present, interrupts off */
		idt[i][1] = stub >> 32;
	}
}

void cpu_init(u32 id, void *const stack[CPU_STACKS])
{
	struct cpu *cpu = &cpus[id];
	u64 tss = (u64)&cpu->tss;
	struct packed {
		u16 limit;
		const void *base;
	} gdtr = { sizeof(cpu->gdt) - 1, cpu->gdt }, idtr = { sizeof(idt) - 1, idt };

	cpu->id = id;
	cpu->tss.io_map = sizeof(cpu->tss);
	for (int i = DOUBLE_FAULT_STACK; i < CPU_STACKS; i++)
		cpu->tss.ist[i] = (u64)(id ? stack[i] + STACK_BYTES : stacks[i + 1]);
	memcpy(cpu->gdt, boot_gdt, sizeof(boot_gdt));
	cpu->gdt[4] = 103 | (tss & 0xffffff) << 16 | 0x89ul << 40 | (tss >> 24 & 0xff) << 56;
	cpu->gdt[5] = tss >> 32;
	if (!id)
		fill_idt();
	asm volatile("wrmsr" ::"c"(0xc0000101), "a"(cpu), "d"((u64)cpu >> 32)); /* GS base */
	/* IA32_PAT as in Linux: PWT and PCD choose WB, WC, UC- or UC. Nothing is mapped WT yet. */
	asm volatile("wrmsr" ::"c"(0x277), "a"(0x00070106), "d"(0x04070506));
	asm volatile("lgdt %0; lidt %1; ltr %w2" ::"m"(gdtr), "m"(idtr), "r"(TSS) : "memory");
	for (const struct feature *f = features; f < features + ARRAY_SIZE(features); f++)
		if (cpu_has(f->name))
			WRITE_CR(4, READ_CR(4) | f->cr4);
}

/*
 * Each function pushes its caller's rbp, so frames form a list, with the return address above each
 * link: in the same page, by the ABI's 16 bytes. If it is damaged, that may be why we are asked.
 */
unsigned backtrace(vaddr_t *pcs, unsigned max, vaddr_t fp)
{
	const u64 *frame = fp ? (const u64 *)fp : __builtin_frame_address(0);
	unsigned nr = 0;
	u8 byte;

	while (nr < max && IS_ALIGNED((vaddr_t)frame, 16) && probe_read((vaddr_t)frame, &byte) &&
	       frame[1]) {
		pcs[nr++] = frame[1];
		frame = (const u64 *)frame[0];
	}
	return nr;
}
