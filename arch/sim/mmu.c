/*
 * mmu.c - a machine with an MMU, made of an ordinary process.
 *
 * RAM is a memfd: the offset in the file is the physical address. What our page tables map is not
 * mapped in the process at first, so touching it raises SIGSEGV, and the handler plays the
 * hardware: it walks our page tables, and if they permit the access it mmaps the frame there and
 * returns, so that the instruction runs again and succeeds. Linux's mmap is our TLB fill.
 *
 * And it is a TLB in earnest: a mapping once made stays, whatever becomes of the entries it came
 * from, until it is flushed (munmap) or pushed out by another. So a missing flush shows as what it
 * is on a real machine: an access that still reaches the old frame. As there, a fault walks again
 * before it is reported: more rights in an entry need no flush, fewer do.
 *
 * The walk is written for itself, from the SDM's words (Vol. 3A, 4.5), and shares nothing with
 * mm/pagetable.c, not even pte.h: where both agree, each has checked the other. It reads RAM by the
 * bus, a second mapping of the memfd that nobody else knows.
 *
 * Not played: paging-structure caches, memory types, accessed and dirty bits, other CPUs.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <arch/cpu.h>
#include <arch/machine.h>
#include <kernel/panic.h>

#include "sim.h"

#define TLB_BITS 13 /* so many that few are pushed out; Linux lets us have 65,530 mappings */

/* Each translation has two places where it may be. bytes 0: empty. */
static struct tlb_entry {
	vaddr_t va;
	u64 bytes;
} tlb[1 << TLB_BITS][2], *newest; /* newest: filled last, not to be pushed out by the next */

static const struct sim_ram *ram;
static unsigned nr_ram;
static int memfd;
static const char *bus; /* physical address 0 */
static u64 root;	/* CR3; 0: not set yet */
static struct sigaction process_faults;

struct address_map address_map;
struct sim_stats sim_stats;
bool sim_irqs_off;

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(2);
}

static bool is_ram(u64 pa, u64 bytes)
{
	for (unsigned i = 0; i < nr_ram; i++)
		if (pa >= ram[i].start && pa + bytes <= ram[i].end)
			return true;
	return false;
}

/* A read of 8 bytes by the bus. Where nothing answers, all lines stay high. */
static u64 bus_read(u64 pa)
{
	return is_ram(pa, 8) ? __atomic_load_n((const u64 *)(bus + pa), __ATOMIC_RELAXED) : ~0ul;
}

struct sim_leaf sim_walk(u64 table, int levels, vaddr_t va)
{
	struct sim_leaf leaf = { .writable = true, .exec = true };
	int unused = 64 - 12 - 9 * levels, shift = 12 + 9 * levels;

	if ((u64)((s64)(va << unused) >> unused) != va)
		return leaf;
	for (;;) {
		shift -= 9;
		leaf.bytes = 1ul << shift;
		leaf.entry = bus_read(table + (va >> shift & 511) * 8);
		if (!(leaf.entry & 1))
			return leaf;
		leaf.writable &= leaf.entry >> 1 & 1;
		leaf.exec &= !(leaf.entry >> 63);
		table = leaf.entry & 0x000ffffffffff000;
		if (shift == 12 || leaf.entry & 0x80)
			break;
	}
	leaf.present = true;
	leaf.pa = table & ~(leaf.bytes - 1);
	/* Bit 12 of a large leaf is PAT; those between it and the address must be 0. */
	leaf.reserved = shift > 30 || !is_ram(leaf.pa + (va & (leaf.bytes - 1)), 1) ||
			(shift > 12 && (table & (leaf.bytes - 1) & ~0x1000ul));
	return leaf;
}

/* As long as no root is set, what boot's first tables map: the first 4 GiB, at the direct map. */
static struct sim_leaf translate(vaddr_t va)
{
	struct sim_leaf leaf = { .bytes = 2 * MiB, .pa = ALIGN_DOWN(va - SIM_DIRECT, 2 * MiB) };

	if (root)
		return sim_walk(root, address_map.levels, va);
	leaf.present = leaf.writable = is_ram(va - SIM_DIRECT, 1);
	return leaf;
}

static void unmap(vaddr_t va, u64 bytes)
{
	/* Not by munmap(): a sanitizer may want to do something for each byte of it. */
	if (syscall(SYS_munmap, va, bytes))
		die("sim: munmap");
}

/*
 * The two places where a page of this level around va may be. Two, as one instruction may need two
 * pages at once. Knuth TAOCP 3, 6.4: the golden ratio scatters.
 */
static struct tlb_entry *tlb_set(vaddr_t va, int level)
{
	u64 page = (va >> (12 + 9 * (level - 1))) << 2 | level;

	return tlb[page * 0x9e3779b97f4a7c15ul >> (64 - TLB_BITS)];
}

/* The place that holds va, as part of a page of this level; NULL: none does. */
static struct tlb_entry *tlb_find(vaddr_t va, int level)
{
	struct tlb_entry *slot = tlb_set(va, level);

	for (int way = 0; way < 2; way++, slot++)
		if (slot->bytes && va - slot->va < slot->bytes)
			return slot;
	return NULL;
}

bool sim_tlb_holds(vaddr_t va)
{
	return tlb_find(va, 1) || tlb_find(va, 2) || tlb_find(va, 3);
}

/* A leaf is filled in whole if all of it is RAM, otherwise, as hardware may, 4 KiB of it. */
static void tlb_fill(vaddr_t va, const struct sim_leaf *leaf)
{
	u64 bytes = is_ram(leaf->pa, leaf->bytes) ? leaf->bytes : PAGE_SIZE;
	u64 start = ALIGN_DOWN(va, bytes), pa = leaf->pa + (start & (leaf->bytes - 1));
	int level = bytes == PAGE_SIZE ? 1 : bytes == 2 * MiB ? 2 : 3;
	struct tlb_entry *set = tlb_set(va, level), *held = tlb_find(va, level);
	struct tlb_entry *slot = held ?: set + (set == newest);
	int prot = PROT_READ | (leaf->writable ? PROT_WRITE : 0) | (leaf->exec ? PROT_EXEC : 0);

	if (slot->bytes && (slot->va != start || slot->bytes != bytes)) {
		unmap(slot->va, slot->bytes);
		sim_stats.evictions++;
	}
	if (syscall(SYS_mmap, start, bytes, prot, MAP_SHARED | MAP_FIXED, memfd, pa) != (long)start)
		die("sim: mmap of a frame");
	*slot = (struct tlb_entry){ start, bytes };
	newest = slot;
	sim_stats.fills++;
}

static void flush_page(vaddr_t va)
{
	for (int level = 1; level <= 3; level++) {
		struct tlb_entry *slot = tlb_find(va, level);

		if (slot) {
			unmap(slot->va, slot->bytes);
			slot->bytes = 0;
		}
	}
	sim_stats.flushes++;
}

void mmu_flush_range(vaddr_t va, u64 nr_pages)
{
	if (nr_pages > 2 * ARRAY_SIZE(tlb)) {
		mmu_flush_all();
		return;
	}
	for (u64 i = 0; i < nr_pages; i++)
		flush_page(va + i * PAGE_SIZE);
}

void mmu_flush_all(void)
{
	unmap(SIM_DIRECT, SIM_END - SIM_DIRECT);
	memset(tlb, 0, sizeof(tlb));
	sim_stats.full_flushes++;
}

paddr_t mmu_root(void)
{
	return paddr(root);
}

void mmu_set_root(paddr_t pa)
{
	BUG_ON(!is_ram(pa.v, PAGE_SIZE) || !IS_ALIGNED(pa.v, PAGE_SIZE));
	root = pa.v;
	mmu_flush_all();
}

void *phys_to_virt(paddr_t pa)
{
	if (unlikely(!is_ram(pa.v, 1)))
		panic("phys_to_virt: 0x%lx is no RAM", pa.v);
	return (void *)(SIM_DIRECT + pa.v);
}

paddr_t virt_to_phys(const void *p)
{
	if (unlikely(!is_ram((vaddr_t)p - SIM_DIRECT, 1)))
		panic("virt_to_phys: 0x%lx is not in the direct map", (vaddr_t)p);
	return paddr((vaddr_t)p - SIM_DIRECT);
}

/*
 * The three probes. If the access at probing_read or probing_write, or the call that returns to
 * probing_fetch, may not be, the fault handler goes on at probe_failed.
 */
asm(".pushsection .text\n"
    ".globl probe_read, probe_write, probe_fetch\n"
    "probe_read:\n"
    "probing_read: movb (%rdi), %al\n"
    "	movb %al, (%rsi)\n"
    "	movl $1, %eax\n"
    "	ret\n"
    "probe_write:\n"
    "probing_write: movb %sil, (%rdi)\n"
    "	movl $1, %eax\n"
    "	ret\n"
    "probe_fetch: subq $8, %rsp\n"
    "	movl $1, %eax\n"
    "	call *%rdi\n"
    "probing_fetch: addq $8, %rsp\n"
    "	ret\n"
    "probe_failed: xorl %eax, %eax\n"
    "	ret\n"
    ".popsection");
extern const char probing_read[], probing_write[], probing_fetch[], probe_failed[];

static bool is_probe(vaddr_t pc, vaddr_t va, const vaddr_t *stack)
{
	if (pc == va && va >= SIM_DIRECT) /* a fetch: the program itself lies below or above */
		return *stack == (vaddr_t)probing_fetch;
	return pc == (vaddr_t)probing_read || pc == (vaddr_t)probing_write;
}

static struct fault probe_fault;

const struct fault *last_probe_fault(void)
{
	return &probe_fault;
}

static _Noreturn void refuse(const struct fault *fault, const struct sim_leaf *leaf)
{
	static const char *const access[] = { "read of", "write to", "fetch from" };

	panic("fault: %s 0x%lx: %s\n"
	      "  the walk ended at an entry for 0x%lx bytes, which holds 0x%lx",
	      access[fault->access], fault->va,
	      leaf->reserved ? "a reserved bit is set, or it leads to no RAM" :
	      leaf->present  ? "its protection forbids that" :
			       "nothing is mapped there",
	      leaf->bytes, leaf->entry);
}

/* What the error code says: SDM Vol. 3A, 4.7. */
static enum access access_of(greg_t error_code)
{
	return error_code & 2 ? ACCESS_WRITE : error_code & 16 ? ACCESS_FETCH : ACCESS_READ;
}

static bool permits(const struct sim_leaf *leaf, enum access access)
{
	return leaf->present && !leaf->reserved && (access != ACCESS_WRITE || leaf->writable) &&
	       (access != ACCESS_FETCH || leaf->exec);
}

/* The page-fault exception. A general protection comes as one too, and without an address. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct sim_leaf leaf = { 0 };
	struct fault fault = {
		.va = (vaddr_t)info->si_addr,
		.pc = regs[REG_RIP],
		.access = access_of(regs[REG_ERR]),
		.page_fault = info->si_code != SI_KERNEL,
	};
	bool ours = fault.page_fault && fault.va >= SIM_DIRECT && fault.va < SIM_END;

	if (ours) {
		leaf = translate(fault.va);
		if (permits(&leaf, fault.access)) {
			tlb_fill(fault.va, &leaf);
			return;
		}
	}
	fault.reserved_bit = leaf.reserved;
	if (is_probe(fault.pc, fault.va, (const vaddr_t *)regs[REG_RSP])) {
		probe_fault = fault;
		regs[REG_RIP] = (greg_t)probe_failed;
	} else if (ours) {
		refuse(&fault, &leaf);
	} else {
		process_faults.sa_sigaction(signal, info, context); /* the sanitizer's report */
	}
}

/* Nobody else may live where we put the machine. */
static void check_room(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;

	if (syscall(SYS_mmap, SIM_DIRECT, SIM_END - SIM_DIRECT, PROT_NONE, flags, -1, 0) !=
	    (long)SIM_DIRECT)
		die("sim: the addresses of the simulated machine are taken");
	unmap(SIM_DIRECT, SIM_END - SIM_DIRECT);
}

void sim_init(const struct sim_ram *ranges, unsigned nr_ranges, int levels)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };
	extern const char __executable_start[];

	ram = ranges;
	nr_ram = nr_ranges;
	memfd = memfd_create("ram", 0);
	if (memfd < 0 || ftruncate(memfd, ram[nr_ram - 1].end))
		die("sim: memfd for RAM");
	bus = mmap(NULL, ram[nr_ram - 1].end, PROT_READ, MAP_SHARED, memfd, 0);
	if (bus == MAP_FAILED)
		die("sim: mmap of RAM");
	check_room();
	address_map = (struct address_map){
		.levels = levels,
		.leaf_levels = 3,
		.direct = SIM_DIRECT,
		.vmemmap = SIM_VMEMMAP,
		.vmalloc_start = SIM_WINDOW,
		.vmalloc_end = SIM_WINDOW + SIM_WINDOW_BYTES - 1,
		.image = (vaddr_t)__executable_start,
	};
	if (sigaction(SIGSEGV, &action, &process_faults))
		die("sim: sigaction");
}
