/*
 * The checker must find what is planted: each test breaks one invariant, asks, and mends it.
 */
#include <kernel/printk.h>
#include <mm/mm.h>
#include <mm/pagetable.h>
#include <mm/slab.h>
#include <mm/tlb.h>
#include <mm/vmstock.h>

#include "../test.h"

static void ignore(const char *fmt, ...)
{
	(void)fmt;
}

static u64 faults(void)
{
	return mm_check(ignore);
}

/* Faults found while *entry is something else. */
static u64 faults_with(pte_t *entry, pte_t planted)
{
	pte_t was = pte_get(entry);
	u64 found;

	pte_set(entry, planted);
	found = faults();
	pte_set(entry, was);
	return found;
}

static char complaint[200];

/* The first complaint. */
static void remember(const char *fmt, ...)
{
	va_list args;

	if (*complaint)
		return;
	va_start(args, fmt);
	vsnprintf(complaint, sizeof(complaint), fmt, args);
	va_end(args);
}

TEST(check, clean_to_begin_with)
{
	u64 nr;

	*complaint = '\0';
	nr = mm_check(remember);

	if (nr)
		test_fail(__FILE__, __LINE__,
			  "mm_check() finds nothing:", "it found %lu faults; the first is\n%s", nr,
			  complaint);
}

static const char *awaited;
static bool told;

static void listen(const char *fmt, ...)
{
	char text[sizeof(complaint)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	told |= contains(fmt, awaited) || contains(text, awaited);
}

/* Is this among what is wrong? text: with values, or of the format, without. */
static bool tells_of(const char *text)
{
	awaited = text;
	told = false;
	mm_check(listen);
	return told;
}

/* The same while *entry is something else. */
static bool tells_of_entry(const char *text, pte_t *entry, pte_t planted)
{
	pte_t was = pte_get(entry);
	bool found;

	pte_set(entry, planted);
	found = tells_of(text);
	pte_set(entry, was);
	return found;
}

/* Each thing that is wrong with a descriptor alone is told as that. */
TEST(check, tells_of_a_wrong_descriptor)
{
	char *p = vmalloc(3 * PAGE_SIZE);
	pte_t *guard;

	EXPECT(p);
	guard = pt_entry(&kernel_pt, (vaddr_t)p - PAGE_SIZE);
	for (int i = 0; i < 3; i++)
		EXPECT(tells_of_entry("kind %u, %lu pages", guard,
				      vm_area_encode(i == 0 ? VM_NONE :
						     i == 1 ? VM_NR_KINDS :
							      VM_ALLOC,
						     i == 2 ? 0 : 3, 0)));
	EXPECT_EQ(faults(), 0);
	vfree(p);
}

/* An entry that belongs to no kind of area, be it a known one or not; and one of an area that is freed. */
TEST(check, tells_of_entries_that_may_not_be)
{
	static const char text[] = "entry 0x%lx in an area of kind";
	char *p = vmalloc(3 * PAGE_SIZE);
	pte_t *guard, *pages, leaf, was;
	bool found;

	EXPECT(p);
	guard = pt_entry(&kernel_pt, (vaddr_t)p - PAGE_SIZE);
	pages = pt_entry(&kernel_pt, (vaddr_t)p);
	leaf = pte_get(pages);
	was = pte_get(guard);
	EXPECT(tells_of_entry(text, &pages[1], pte_make_note(leaf.v & PTE_ADDRESS)));
	pte_set(guard, vm_area_encode(VM_NR_KINDS, 3, 0));
	found = tells_of_entry(text, &pages[1], pte_make_note(leaf.v & PTE_ADDRESS));
	pte_set(guard, was);
	EXPECT(found);
	EXPECT(tells_of_entry("is not vmalloc's", &pages[1],
			      pte_make_leaf(paddr(MEMMAP_LIMIT - PAGE_SIZE), 1, PAGE_KERNEL)));
	vfree(p);
	EXPECT(tells_of_entry(text, &pages[0], leaf));
	EXPECT_EQ(faults(), 0);
}

/* What a vmap shows became what none may show, after vmap had looked. */
TEST(check, tells_of_what_is_shown)
{
	static const u8 hidden[] = { PG_FREE, PG_RESERVED, PG_TABLE, PG_TEXT };
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	void *m, *ro;
	bool found;

	EXPECT(page);
	m = vmap(&page, 1, PAGE_KERNEL);
	EXPECT(m);
	drain_all_pages(); /* what is drained while the frame seems free would merge with it */
	for (u64 i = 0; i < ARRAY_SIZE(hidden); i++) {
		page->state = hidden[i];
		found = tells_of("free or mm's own");
		page->state = PG_ALLOC;
		EXPECT(found);
	}
	vunmap(m);
	ro = vmap(&page, 1, PAGE_KERNEL_RO); /* code may be read */
	EXPECT(ro);
	page->state = PG_TEXT;
	found = tells_of("free or mm's own");
	page->state = PG_ALLOC;
	EXPECT(!found);
	vunmap(ro);
	vm_unmap_aliases();
	__free_pages(page, 0);
}

/* Code in a device's memory has no other name to be written by: none is looked for. */
TEST(check, accepts_code_that_is_no_ram)
{
	void *p = ioremap(paddr(MEMMAP_LIMIT - PAGE_SIZE), PAGE_SIZE);
	pte_t *entry;

	EXPECT(p);
	entry = pt_entry(&kernel_pt, (vaddr_t)p);
	EXPECT_EQ(faults_with(entry,
			      pte_make_leaf(pte_paddr(pte_get(entry), 1), 1, PAGE_KERNEL_ROX)),
		  0);
	iounmap(p);
}

TEST(check, finds_broken_areas)
{
	char *p = vmalloc(3 * PAGE_SIZE);
	pte_t *guard, *pages;

	EXPECT(p);
	pages = pt_entry(&kernel_pt, (vaddr_t)p);
	guard = pt_entry(&kernel_pt, (vaddr_t)p - PAGE_SIZE);
	EXPECT(faults_with(guard, (pte_t){ 0 }) > 0);		/* no descriptor */
	EXPECT(faults_with(guard, pte_get(pages)) > 0);		/* a guard that is mapped */
	EXPECT(faults_with(&pages[1], pte_get(&pages[0])) > 0); /* a frame mapped twice */
	EXPECT(faults_with(&pages[1], (pte_t){ 0 }) > 0);	/* a hole */
	EXPECT(faults_with(&pages[2], pte_make_note(pte_get(&pages[2]).v)) > 0);
	EXPECT(faults_with(&pages[1], vm_area_encode(VM_ALLOC, 1, 0)) > 0); /* an area inside */
	EXPECT(faults_with(guard, vm_area_encode(VM_NR_KINDS, 3, 0)) > 0);
	EXPECT(faults_with(&pages[1], pte_make_leaf(virt_to_phys(kernel_pt.root), 1, PAGE_KERNEL)) >
	       0);
	EXPECT_EQ(faults(), 0);
	vfree(p);
}

/* Each kind of frame that nobody may have by another name. */
TEST(check, finds_what_a_vmap_must_not_show)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0), *gone = alloc_pages(GFP_KERNEL, 0);
	pte_t *entry;
	char *p;

	EXPECT(page && gone);
	__free_pages(gone, 0);
	p = vmap(&page, 1, PAGE_KERNEL_RO);
	EXPECT(p);
	entry = pt_entry(&kernel_pt, (vaddr_t)p);
	EXPECT_EQ(virt_to_page(kernel_pt.root)->state, PG_RESERVED);
	EXPECT_EQ(virt_to_page(entry)->state, PG_TABLE);
	EXPECT(faults_with(entry, pte_make_leaf(page_to_phys(gone), 1, PAGE_KERNEL_RO)) > 0);
	EXPECT(faults_with(entry, pte_make_leaf(virt_to_phys(kernel_pt.root), 1, PAGE_KERNEL_RO)) >
	       0);
	EXPECT(faults_with(entry, pte_make_leaf(page_to_phys(virt_to_page(entry)), 1,
						PAGE_KERNEL_RO)) > 0);
	EXPECT_EQ(faults(), 0);
	vunmap(p);
	vm_unmap_aliases();
	__free_pages(page, 0);
}

/* A frame in stock whose entry is not as vmalloc would need it. */
TEST(check, finds_a_wrong_entry_in_stock)
{
	struct vm_stock *stock = this_stock();
	pte_t *entry, was;

	vfree(vmalloc(PAGE_SIZE));
	EXPECT(stock->frames.head != stock->frames.tail);
	entry = &stock->ring[stock->frames.head & stock->mask];
	was = pte_get(entry);
	EXPECT(faults_with(entry, pte_make_leaf(pte_paddr(was, 1), 1, PAGE_KERNEL_RO)) > 0);
	EXPECT_EQ(faults(), 0);
}

/* Room would be looked for where there is none. */
TEST(check, finds_a_wrong_largest_range)
{
	u64 found;

	vmalloc_window.free->largest++;
	found = faults();
	vmalloc_window.free->largest--;
	EXPECT(found > 0);
	EXPECT_EQ(faults(), 0);
}

TEST(check, finds_forbidden_permissions)
{
	char *p = vmalloc(PAGE_SIZE);
	pte_t *entry, leaf;

	EXPECT(p);
	entry = pt_entry(&kernel_pt, (vaddr_t)p);
	leaf = pte_get(entry);
	EXPECT(faults_with(entry, (pte_t){ leaf.v & ~PTE_NX }) > 0); /* W and X */
	EXPECT(faults_with(entry, (pte_t){ leaf.v | PTE_U }) > 0);
	EXPECT(faults_with(entry, pte_make_leaf(pte_paddr(leaf, 1), 1, PAGE_KERNEL_ROX)) > 0);
	EXPECT_EQ(faults(), 0);
	vfree(p);
}

/* Addresses that would be handed out twice. */
TEST(check, finds_free_addresses_of_an_area)
{
	char *p = vmalloc(PAGE_SIZE);
	struct vmrange *last = vmalloc_window.free;
	u64 found;

	EXPECT(p);
	while (last->right)
		last = last->right;
	last->start -= 2; /* over the area */
	found = faults();
	last->start += 2;
	EXPECT(found > 0);
	EXPECT_EQ(faults(), 0);
	vfree(p);
}

/* A frame in use between two free blocks, each link of the list leading back: it would be handed out twice. */
TEST(check, finds_a_frame_in_use_in_a_free_list)
{
	struct page *pages[8], *first, *mine, *next, was;
	u64 found = 0;
	bool planted;

	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, ARRAY_SIZE(pages), pages), ARRAY_SIZE(pages));
	for (unsigned i = 1; i < ARRAY_SIZE(pages); i += 2)
		__free_pages(pages[i], 0);
	drain_all_pages(); /* into the lists, the last one first */
	mine = pages[0];
	was = *mine;
	first = pages[1];
	next = pfn_to_page(first->next);
	planted = first->state == PG_FREE && first->order == 0 && first->next;
	if (planted) {
		first->next = next->prev = page_to_pfn(mine);
		mine->prev = page_to_pfn(first);
		mine->next = page_to_pfn(next);
		found = faults();
		first->next = page_to_pfn(next);
		next->prev = page_to_pfn(first);
		*mine = was;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i += 2)
		__free_pages(pages[i], 0);
	if (!planted)
		SKIP("no two single free frames beside each other in the list");
	EXPECT(found > 0);
	EXPECT_EQ(faults(), 0);
}

/* Plant only where nobody looks meanwhile: at a frame of ours that has a 4 KiB leaf of its own. */
TEST(check, finds_a_wrong_direct_map)
{
	static struct page *pages[256];
	pte_t *entry = NULL;
	int level = 0;
	u64 found = 0;

	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, ARRAY_SIZE(pages), pages), ARRAY_SIZE(pages));
	for (unsigned i = 0; i < ARRAY_SIZE(pages) && level != 1; i++)
		entry = pt_walk(&kernel_pt, (vaddr_t)page_address(pages[i]), 1, &level);
	if (level == 1)
		found = faults_with(entry, (pte_t){ pte_get(entry).v + PAGE_SIZE });
	free_pages_bulk(ARRAY_SIZE(pages), pages);
	if (level != 1)
		SKIP("all of the first 256 frames have large leaves");
	EXPECT(found > 0);
}

TEST(check, finds_a_lost_frame)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);

	EXPECT(page);
	page->state = PG_VMALLOC;
	EXPECT(faults() > 0);
	page->state = PG_TABLE;
	EXPECT(faults() > 0);
	page->state = PG_FREE;
	EXPECT(faults() > 0);
	page->state = PG_ALLOC;
	EXPECT_EQ(faults(), 0);
	__free_pages(page, 0);
}

/* States and orders that no block has. */
TEST(check, tells_of_unsound_blocks)
{
	static const struct {
		u8 state, order;
	} wrong[] = { { PG_TAIL, 0 },
		      { PG_NR_STATES, 0 },
		      { PG_RESERVED, 0 },
		      { PG_ALLOC, 1 }, /* not aligned */
		      { PG_ALLOC, MAX_ORDER + 1 } };
	struct page *four = alloc_pages(GFP_KERNEL, 2), *page = four + 1;
	bool found;

	EXPECT(four);
	for (int i = 0; i < 4; i++)
		four[i] = (struct page){ .state_and_order = PAGE_IS(PG_ALLOC, 0) };
	drain_all_pages();
	for (u64 i = 0; i < ARRAY_SIZE(wrong); i++) {
		page->state_and_order = PAGE_IS(wrong[i].state, wrong[i].order);
		page[1].state = wrong[i].order == 1 ? PG_TAIL : PG_ALLOC;
		found = tells_of("is unsound");
		page->state_and_order = PAGE_IS(PG_ALLOC, 0);
		page[1].state = PG_ALLOC;
		EXPECT(found);
	}
	for (int i = 0; i < 4; i++)
		__free_pages(four + i, 0);
	EXPECT_EQ(faults(), 0);
}

/* A block that ends behind its range of RAM, and a frame in use that was never ours to give. */
TEST(check, tells_of_blocks_out_of_place)
{
	struct page *page, *last = NULL, *reserved = NULL;
	bool behind, given;

	drain_all_pages();
	for (u64 pfn = 0, nr; (page = next_block(&pfn, &nr)); pfn += nr) {
		last = page->order < MAX_ORDER ? page : last;
		reserved = page->state == PG_RESERVED ? page : reserved;
	}
	EXPECT(last && reserved);
	last->order++;
	behind = tells_of("is unsound");
	last->order--;
	reserved->state = PG_ALLOC;
	given = tells_of("is unsound");
	reserved->state = PG_RESERVED;
	EXPECT(behind && given);
	EXPECT_EQ(faults(), 0);
}

/* Addresses that no area has and that are not free: lost for good. */
TEST(check, tells_of_lost_addresses)
{
	vaddr_t va = window_get(1, PAGE_SIZE, VMALLOC_START, VMALLOC_END);
	irqflags_t flags;
	bool areas, pages;

	EXPECT(va);
	areas = tells_of("areas with addresses");
	pages = tells_of("pages of the window");
	flags = irq_save();
	pte_set(window_entry(va - PAGE_SIZE), vm_area_encode(VM_FREED, 1, 0));
	stock_put_area(this_stock(), va, window_entry(va), 1);
	irq_restore(flags);
	EXPECT(areas && pages);
	EXPECT_EQ(faults(), 0);
}

/* The frame of a slab no longer says so: of whichever cache, its sums do not come out. */
TEST(check, finds_a_lost_slab_of_each_cache)
{
	static const u64 sizes[] = { 8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *object = kmalloc(sizes[i], GFP_KERNEL);
		u64 found;

		EXPECT(object);
		virt_to_page(object)->state = PG_KMALLOC;
		found = faults();
		virt_to_page(object)->state = PG_SLAB;
		kfree(object);
		EXPECT(found > 0);
	}
	EXPECT_EQ(faults(), 0);
}

TEST(check, finds_a_mapping_at_zero)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	u64 found;

	EXPECT(page);
	EXPECT_EQ(pt_map(&kernel_pt, 0, page_to_phys(page), 1, PAGE_KERNEL_RO), 0);
	found = faults();
	EXPECT_EQ(pt_protect(&kernel_pt, 0, 1, PAGE_NONE), 0);
	pt_prune(&kernel_pt, 0, 1, 0, address_map.direct, tlb_defer_table);
	vm_unmap_aliases();
	__free_pages(page, 0);
	EXPECT(found > 0);
	EXPECT_EQ(faults(), 0);
}

/* The image's code must not be writable by its other name. */
TEST(check, finds_a_writable_alias_of_code)
{
	const struct image_section *text = NULL;
	vaddr_t alias;
	u64 found;

	for (unsigned i = 0; i < address_map.nr_sections; i++)
		if (address_map.sections[i].prot == PAGE_KERNEL_ROX)
			text = &address_map.sections[i];
	if (!text)
		SKIP("no kernel image on this machine");
	alias = (vaddr_t)phys_to_virt(virt_to_phys((void *)text->start));
	EXPECT_EQ(pt_protect(&kernel_pt, alias, 1, PAGE_KERNEL), 0);
	found = faults();
	EXPECT_EQ(pt_protect(&kernel_pt, alias, 1, PAGE_KERNEL_RO), 0);
	tlb_flush_all();
	EXPECT(found > 0);
	EXPECT_EQ(faults(), 0);
}
