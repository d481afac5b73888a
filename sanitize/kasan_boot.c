/*
 * kasan_boot.c - shadow for the image and for all RAM, and stacks that are left in a hurry.
 *
 * The compiler's code writes the shadow of a stack as it enters a function, so that of the image must
 * be there before the first line of C: it is an array in the image itself, which we hang into the
 * tables of boot/entry.S, and again into the final ones just before they come into use. What stands
 * for RAM is taken from the memory map last of all, before page_alloc gets the rest.
 *
 * Each __wrap_ function stands between the callers of one and the real one: see sanitize.mk.
 */
#include <arch/cpu.h>
#include <asm/x86.h>
#include <kernel/bootinfo.h>
#include <kernel/panic.h>
#include <mm/memmap.h>
#include <mm/pagetable.h>
#include <mm/vmalloc.h>

#include "kasan.h"

#define IMAGE_MOST (8 * MiB) /* what the image's shadow is enough for */

extern char __image_end[];
extern struct {
	void (*code)(void);
	void *stack;
} continue_at; /* boot/entry.S */
extern void (*const __start_constructors[])(void), (*const __stop_constructors[])(void);

void __wrap_boot_main(u32 magic, u32 info);
_Noreturn void __real_enter_la57(void (*then)(void));
_Noreturn void __wrap_enter_la57(void (*then)(void));
void __real_mmu_set_root(paddr_t root);
void __wrap_mmu_set_root(paddr_t root);
void __real_page_alloc_init(u64 shuffle_seed);
void __wrap_page_alloc_init(u64 shuffle_seed);
bool __real_panic_caught(void (*fn)(void *), void *arg, char *msg, size_t bytes);
bool __wrap_panic_caught(void (*fn)(void *), void *arg, char *msg, size_t bytes);

static u8 image_shadow[IMAGE_MOST / 8] aligned_to(PAGE_SIZE);
static pte_t early_tables[3][PT_ENTRIES] aligned_to(PAGE_SIZE);
struct kasan_sites *kasan_frame_sites;

/* On tables of four levels; with five, what hangs in the fourth is reached through 511, too. */
void __wrap_boot_main(u32 magic, u32 info)
{
	pte_t *table = phys_to_virt(paddr(READ_CR(3) & PTE_ADDRESS));
	vaddr_t shadow = (vaddr_t)SHADOW(IMAGE_BASE);

	for (int level = 4; level > 1; level--) {
		pte_t *next = early_tables[level - 2];

		table[level_index(shadow, level)] = pte_make_table(virt_to_phys(next));
		table = next;
	}
	for (u64 i = 0; i < sizeof(image_shadow) >> PAGE_SHIFT; i++)
		table[level_index(shadow, 1) + i] =
			pte_make_leaf(virt_to_phys(image_shadow + i * PAGE_SIZE), 1, PAGE_KERNEL);
	for (void (*const *made)(void) = __start_constructors; made < __stop_constructors; made++)
		(*made)();
	/* boot/entry.S knows nothing of larger stacks. */
	continue_at.stack = stacks[BOOT_STACK] + sizeof(stacks[BOOT_STACK]);
	asm volatile("movq %0, %%rsp; xorl %%ebp, %%ebp; pushq $0; jmp __real_boot_main" ::"r"(
			     continue_at.stack),
		     "D"(magic), "S"(info));
}

/* On an empty stack: nobody leaves the functions that are on it now. */
void __wrap_enter_la57(void (*then)(void))
{
	kasan_allow(stacks[BOOT_STACK], sizeof(stacks[BOOT_STACK]));
	__real_enter_la57(then);
}

struct risky {
	void (*fn)(void *);
	void *arg;
	irqflags_t flags; /* for fn */
};

static void dare(void *arg)
{
	struct risky *risky = arg;

	irq_restore(risky->flags);
	risky->fn(risky->arg);
	irq_save();
}

/*
 * Nor those that a panic was thrown out of: all below us on this stack. An interrupt before that is
 * said would run into what their shadow forbids.
 */
bool __wrap_panic_caught(void (*fn)(void *), void *arg, char *msg, size_t bytes)
{
	struct risky risky = { fn, arg, irq_save() };
	bool caught = __real_panic_caught(dare, &risky, msg, bytes);
	vaddr_t here = ALIGN_DOWN((vaddr_t)__builtin_frame_address(0) - 256, 8);
	vaddr_t foot = (vaddr_t)stacks[BOOT_STACK] + PAGE_SIZE;
	struct vm_area area;

	if (find_vm_area(here, &area))
		foot = area.start;
	if (caught && here > foot)
		kasan_allow((void *)foot, here - foot);
	irq_restore(risky.flags);
	return caught;
}

static void map(vaddr_t va, paddr_t pa, u64 bytes)
{
	if (pt_map(&kernel_pt, va, pa, bytes >> PAGE_SHIFT, PAGE_KERNEL))
		panic("KASAN: no memory for the shadow's page tables\n  give the machine more");
}

static paddr_t take(u64 bytes, u64 align)
{
	paddr_t pa = memmap_alloc(&memmap, bytes, align, MEMMAP_LIMIT, MEM_VMEMMAP);

	if (!pa.v)
		panic("KASAN: no memory for the shadow of RAM, an eighth of it\n  give the machine "
		      "more (make run MEM=256M)");
	memset(phys_to_virt(pa), 0, bytes);
	return pa;
}

void __wrap_mmu_set_root(paddr_t root)
{
	BUG_ON(__image_end - (char *)IMAGE_BASE > (s64)IMAGE_MOST);
	map((vaddr_t)SHADOW(IMAGE_BASE), virt_to_phys(image_shadow), sizeof(image_shadow));
	__real_mmu_set_root(root);
}

/* In pieces that one large page can map. Ranges that touch may share a page of shadow. */
static void map_ram(void)
{
	static struct memmap before;
	vaddr_t va = 0, next;
	u64 top = 0, first = 0;

	before = memmap; /* which changes as we take from it */
	for (struct memrange *r = before.range; r < before.range + before.nr; r++) {
		vaddr_t stop = ALIGN_UP((vaddr_t)SHADOW(address_map.direct + r->end), PAGE_SIZE);

		if (!memmap_is_ram(r->type))
			continue;
		first = r->start == top ? first : r->start;
		top = r->end;
		if (top - first > kasan_main_bytes) {
			kasan_main = address_map.direct + first;
			kasan_main_bytes = top - first;
		}
		va = MAX(va, ALIGN_DOWN((vaddr_t)SHADOW(address_map.direct + r->start), PAGE_SIZE));
		for (; va < stop; va = next) {
			next = MIN(stop, ALIGN_DOWN(va, 2 * MiB) + 2 * MiB);
			map(va, take(next - va, MIN((next - va) & -(next - va), 2 * MiB)),
			    next - va);
		}
	}
	kasan_frame_sites = phys_to_virt(take(
		ALIGN_UP((top >> PAGE_SHIFT) * sizeof(*kasan_frame_sites), PAGE_SIZE), PAGE_SIZE));
}

void __wrap_page_alloc_init(u64 shuffle_seed)
{
	map_ram();
	kasan_window_init();
	for (struct memrange *r = memmap.range; r < memmap.range + memmap.nr; r++)
		if (r->type == MEM_USABLE)
			kasan_poison(phys_to_virt(paddr(r->start)), r->end - r->start,
				     SHADOW_FRAME);
	__real_page_alloc_init(shuffle_seed);
	kasan_ready = true;
}
