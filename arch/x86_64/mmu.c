/*
 * mmu.c - the MMU's registers, and where everything lies.
 *
 * The address map is Linux's (Documentation/x86/x86_64/mm.rst), once for 4 and once for 5 levels.
 * Each stack in the image has a page below that is never mapped, so that an overflow faults
 * instead of overwriting what lies there. A translation marked global survives a load of CR3. So to
 * forget everything CR4.PGE is switched off and on (Intel SDM Vol. 3A, 4.10.4.1).
 */
#include <asm/x86.h>
#include <kernel/panic.h>
#include <mm/memmap.h>

extern char __text_start[], __text_end[], __rodata_start[], __rodata_end[];
extern char __data_start[], __data_end[], __stacks_start[], __stacks_end[]; /* linker.ld */

char stacks[CPU_STACKS][PAGE_SIZE + STACK_BYTES]
	__attribute__((section(".bss.stacks"), aligned(PAGE_SIZE)));

#define SPAN(from, to) (u64)(from), (u64)(to)
#define STACK(n) SPAN(stacks[n] + PAGE_SIZE, stacks[(n) + 1])

/* The gaps between these are guards. */
static const struct image_section sections[] = {
	{ "text", SPAN(__text_start, __text_end), PAGE_KERNEL_ROX },
	{ "rodata", SPAN(__rodata_start, __rodata_end), PAGE_KERNEL_RO },
	{ "data", SPAN(__data_start, __stacks_start), PAGE_KERNEL },
	{ "boot stack", STACK(BOOT_STACK), PAGE_KERNEL },
	{ "double fault stack", STACK(DOUBLE_FAULT_STACK), PAGE_KERNEL },
	{ "NMI stack", STACK(NMI_STACK), PAGE_KERNEL },
	{ "machine check stack", STACK(MACHINE_CHECK_STACK), PAGE_KERNEL },
	{ "bss", SPAN(__stacks_end, __data_end), PAGE_KERNEL },
};

struct address_map address_map = {
	.levels = 4,
	.leaf_levels = 2,
	.direct = 0xffff888000000000,
	.vmemmap = 0xffffea0000000000,
	.vmalloc_start = 0xffffc90000000000,
	.vmalloc_end = 0xffffe8ffffffffff,
	.image = IMAGE_BASE,
	.sections = sections,
	.nr_sections = ARRAY_SIZE(sections),
};

void address_map_init(void)
{
	if (READ_CR(4) & CR4_LA57) {
		address_map.levels = 5;
		address_map.direct = 0xff11000000000000;
		address_map.vmemmap = 0xffd4000000000000;
		address_map.vmalloc_start = 0xffa0000000000000;
		address_map.vmalloc_end = 0xffd1ffffffffffff;
	}
	if (cpu_has("pdpe1gb"))
		address_map.leaf_levels = 3;
	pte_set(phys_to_virt(paddr(READ_CR(3))), pte_make_note(0)); /* entry 0: the identity map */
	mmu_flush_all();
}

paddr_t virt_to_phys(const void *p)
{
	vaddr_t va = (vaddr_t)p;

	if (va >= (vaddr_t)__text_start && va < (vaddr_t)__data_end)
		return paddr(va - IMAGE_BASE);
	if (CHECKING && va - address_map.direct >= MEMMAP_LIMIT)
		panic("virt_to_phys: 0x%lx lies neither in the direct map nor in the image\n"
		      "  its frames may lie anywhere: ask vmalloc_to_page() for each page",
		      va);
	return paddr(va - address_map.direct);
}

void mmu_set_root(paddr_t root)
{
	WRITE_CR(3, root.v);
	mmu_flush_all();
}

void mmu_flush_range(vaddr_t va, u64 nr_pages)
{
	if (nr_pages >= 64) /* as many INVLPGs cost more than to forget everything */
		mmu_flush_all();
	else
		while (nr_pages-- > 0)
			asm volatile("invlpg (%0)" ::"r"(va + nr_pages * PAGE_SIZE) : "memory");
}

void mmu_flush_all(void)
{
	irqflags_t flags = irq_save();
	u64 cr4 = READ_CR(4);

	WRITE_CR(4, cr4 & ~CR4_PGE);
	WRITE_CR(4, cr4);
	irq_restore(flags);
}
