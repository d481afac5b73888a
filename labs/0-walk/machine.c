/*
 * machine.c - the machine of lab 0, in which a student finds his way by hand.
 *
 * What he finds shall hang on seed= alone: not on the compiler, by which the kernel's image is a
 * little larger or smaller, and so not on what lies behind it. So all free frames are taken out of the
 * allocator, and then, scattered by the seed, just a few come back, far behind the image. From these
 * vmalloc, kmalloc and the page tables are served as ever. At last the rest comes back, too.
 *
 * lab_asked says what is asked for, and never what is right: tools/labs/answers.py reads it in the
 * machine's RAM, and follows the page tables itself.
 */
#include <kernel/random.h>
#include <kernel/show.h>
#include <kernel/words.h>
#include <mm/vmalloc.h>

#include "../support/hold.h"

#define FIRST (16 * MiB >> PAGE_SHIFT) /* of the frames that are given back first; MEM is 64M */
#define LAST (56 * MiB >> PAGE_SHIFT)
#define SINGLE_FRAMES 256
#define EXAMPLE_PAGES 2
#define OTHER_PAGES 8
#define SLOTS 20 /* 512 GiB each; the window has more */

/* Addresses, as they are told to the student. */
struct lab_asked {
	vaddr_t example, byte, area, other;
	u64 frame; /* physical */
	vaddr_t block, huge, hole[4], window, last;
} lab_asked;

void lab_ready(void);

/*
 * The prompt's commands that would walk for him: ld's --wrap (lab.mk) leads their calls to us. Weak, as
 * a kernel under KASAN is linked without that.
 */
void __wrap_explain_walk(vaddr_t va);
void __wrap_explain_fault(const struct fault *f);
u64 __wrap_show_map(vaddr_t start, vaddr_t last, const paddr_t *frame);
void __wrap_show_areas(void);
void __wrap_show_vmallocinfo(void);
__attribute__((weak)) void __real_explain_walk(vaddr_t va);
__attribute__((weak)) u64 __real_show_map(vaddr_t start, vaddr_t last, const paddr_t *frame);

static u64 dice;

/* From first to before end. */
static u64 any(u64 first, u64 end)
{
	return first + random_next(&dice) % (end - first);
}

/* Frames */

static struct page_list held;

static void hold_all(void)
{
	struct page *page;

	vm_unmap_aliases();
	drain_all_pages();
	while ((page = alloc_pages(__GFP_NORECLAIM, 0)))
		page_list_add(&held, page, true);
}

static void release(u64 pfn)
{
	struct page *page = pfn_to_page(pfn);

	if (page->state != PG_ALLOC) /* released already */
		return;
	page_list_remove(&held, page);
	__free_pages(page, 0);
}

static void release_all(void)
{
	while (held.first)
		release(held.first);
	drain_all_pages();
}

/* No two of them are neighbours: the even ones between them stay here. */
static void release_singles(void)
{
	for (unsigned i = 0; i < SINGLE_FRAMES; i++)
		release(any(FIRST, LAST) | 1);
}

static void release_block(unsigned order)
{
	u64 pfn = ALIGN_DOWN(any(FIRST, LAST), 1ul << order);

	for (u64 i = 0; i < 1ul << order; i++)
		release(pfn + i);
	drain_all_pages(); /* as one block, which it becomes in the lists */
}

/* Areas */

static u64 slot_taken; /* a bit each; the first has areas of the kernel's own */

/* 512 GiB in which nothing is: one entry of the root. */
static vaddr_t new_slot(void)
{
	u64 slot;

	do
		slot = any(1, SLOTS);
	while (slot_taken & 1ul << slot);
	slot_taken |= 1ul << slot;
	return VMALLOC_START + slot * level_bytes(4);
}

static vaddr_t new_area(u64 pages, u64 align, unsigned flags)
{
	vaddr_t lo = new_slot() + any(1, 511) * level_bytes(3) + any(1, 511) * level_bytes(2) +
		     any(8, 400) * PAGE_SIZE;
	void *p = __vmalloc_range(pages << PAGE_SHIFT, align, lo, lo + level_bytes(3), GFP_KERNEL,
				  PAGE_KERNEL, flags);

	if (!p)
		panic("lab 0: no memory for an area of %lu pages\n  give the machine MEM=64M or more",
		      pages);
	for (u64 *word = p; word < (u64 *)(p + (pages << PAGE_SHIFT)); word++)
		*word = random_next(&dice) | 1; /* who takes it for an entry: it is present */
	return (vaddr_t)p;
}

/* A word in a page, but not where an offset of few digits would look like something else. */
static u64 any_offset(u64 bytes)
{
	return any(bytes / 4, bytes) & ~7ul;
}

static void set_rights(vaddr_t va)
{
	for (unsigned page = 0, kind = any(0, 3); page < 4; page++, va += PAGE_SIZE) {
		kind = (kind + any(0, 3)) % 3;
		if ((kind && set_memory_ro(va, 1)) || (kind == 2 && set_memory_x(va, 1)))
			panic("lab 0: 0x%lx keeps its rights: no memory for a page table", va);
	}
}

/* One address for each level at which a walk may find nothing, in any order. */
static void set_holes(vaddr_t *hole)
{
	vaddr_t area = lab_asked.area;
	unsigned other;

	hole[0] = area - PAGE_SIZE;			     /* its guard */
	hole[1] = (area ^ level_bytes(2)) + any(1, 8) * 8;   /* the other 2 MiB of a pair */
	hole[2] = (area ^ level_bytes(3)) + any(8, 512) * 8; /* of 1 GiB */
	hole[3] = new_slot() + any(1, level_bytes(4) / 8) * 8;
	for (unsigned i = 3; i; i--) {
		other = any(0, i + 1);
		area = hole[i];
		hole[i] = hole[other];
		hole[other] = area;
	}
}

/* What is large comes first, or its block would be split for what is small. */
static void set_up(void)
{
	struct lab_asked *asked = &lab_asked;
	u64 pages = any(6, 40);
	void *block;

	hold_all();
	release_singles();
	release_block(9);
	asked->huge = new_area(PT_ENTRIES, level_bytes(2), VM_ALLOW_HUGE_VMAP) +
		      any_offset(level_bytes(2));
	do /* one of the two may be in use by now */
		release_block(1);
	while (!(block = kmalloc(2 * PAGE_SIZE, __GFP_NORECLAIM)));
	asked->block = (vaddr_t)block + any_offset(2 * PAGE_SIZE);
	asked->example = new_area(EXAMPLE_PAGES, PAGE_SIZE, 0) + any_offset(PAGE_SIZE);
	asked->area = new_area(pages, PAGE_SIZE, 0);
	asked->byte = asked->area + any(4, pages) * PAGE_SIZE + any_offset(PAGE_SIZE);
	asked->other = new_area(OTHER_PAGES, PAGE_SIZE, 0);
	asked->frame = vmalloc_to_pfn((void *)(asked->other + any(1, OTHER_PAGES) * PAGE_SIZE))
			       << PAGE_SHIFT |
		       any_offset(PAGE_SIZE);
	set_rights(asked->other);
	set_holes(asked->hole);
	asked->window = VMALLOC_START;
	asked->last = VMALLOC_END;
	release_all();
}

/* What the student is told */

/* For breakpoints: all is there. */
noinline void lab_ready(void)
{
	asm volatile("");
}

void lab_tell(void)
{
	const struct lab_asked *asked = &lab_asked;

	if (!asked->window) {
		dice = words.seed;
		set_up();
	}
	printk("Lab 0, Walk by hand. This machine is made from seed=%lu:\n", words.seed);
	printk("  X       0x%016lx  the example: `walk` and `map` show it\n", asked->example);
	printk("  A       0x%016lx  a byte in the area that begins at\n", asked->byte);
	printk("  AREA    0x%016lx\n", asked->area);
	printk("  B       0x%016lx  where another area begins, of %d pages\n", asked->other,
	       OTHER_PAGES);
	printk("  F       0x%016lx  the physical address of a byte in one of B's pages\n",
	       asked->frame);
	printk("  K       0x%016lx  a byte in a block from kmalloc\n", asked->block);
	printk("  H       0x%016lx  a byte in an area of one 2 MiB page\n", asked->huge);
	for (unsigned i = 0; i < ARRAY_SIZE(asked->hole); i++)
		printk("  M%u      0x%016lx  nothing is mapped there\n", i + 1, asked->hole[i]);
	printk("  WINDOW  0x%016lx  vmalloc's; its last byte is at\n          0x%016lx\n",
	       asked->window, asked->last);
	printk("Answers go to answers.toml; LAB.md is the handout. `lab` says this again.\n");
	lab_ready();
}

/* Walks that the student is to do himself */

static bool is_example(vaddr_t va)
{
	return va - ALIGN_DOWN(lab_asked.example, PAGE_SIZE) < PAGE_SIZE;
}

static void refuse(void)
{
	printk("That is yours to find out by hand: only X, the example, is shown.\n");
}

void __wrap_explain_walk(vaddr_t va)
{
	is_example(va) ? __real_explain_walk(va) : refuse();
}

u64 __wrap_show_map(vaddr_t start, vaddr_t last, const paddr_t *frame)
{
	if (!frame && is_example(start) && last - start < EXAMPLE_PAGES * PAGE_SIZE)
		return __real_show_map(start, last, frame);
	refuse();
	return 0;
}

void __wrap_explain_fault(const struct fault *f)
{
	printk("It faulted at 0x%lx. Why, is yours to find out by hand.\n", f->va);
}

void __wrap_show_areas(void)
{
	refuse();
}

void __wrap_show_vmallocinfo(void)
{
	refuse();
}
