/*
 * The rest of vmalloc's family: what each call promises, what it refuses, and that nothing is lost
 * on any road back.
 */
#include <arch/machine.h>
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/string.h>
#include <mm/mm.h>
#include <mm/pagetable.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>
#include <mm/vmstock.h>

#include "../test.h"

#define HUGE (2 * MiB)
#define PAGES(bytes) ((bytes) / PAGE_SIZE)

static bool simulated(void)
{
	return !address_map.nr_sections;
}

static bool all(const u8 *p, u8 value, u64 bytes)
{
	for (u64 i = 0; i < bytes; i++)
		if (p[i] != value)
			return false;
	return true;
}

/* The same of whole pages, of which fewer bytes were asked for. */
static unchecked bool all_of_pages(const u8 *p, u8 value, u64 nr_pages)
{
	u64 i = 0;

	while (i < nr_pages << PAGE_SHIFT && p[i] == value)
		i++;
	return i == nr_pages << PAGE_SHIFT;
}

static pgprot_t prot_of(vaddr_t va)
{
	struct mapping m;

	return pt_lookup(&kernel_pt, va, &m) ? m.prot : PAGE_NONE;
}

/* The direct map's view of the page at va. */
static vaddr_t alias_of(const void *p)
{
	return (vaddr_t)page_address(vmalloc_to_page(p));
}

static u64 huge_leaves(const void *p, u64 bytes)
{
	struct mapping m;
	u64 nr = 0;

	for (u64 at = 0; at < bytes; at += PAGE_SIZE)
		nr += pt_lookup(&kernel_pt, (vaddr_t)p + at, &m) && m.bytes == HUGE &&
		      m.va == (vaddr_t)p + at;
	return nr;
}

static void do_vfree(void *p)
{
	vfree(p);
}

static void do_iounmap(void *p)
{
	iounmap(p);
}

static void do_free_stack(void *p)
{
	free_kernel_stack(p);
}

static void do_vrealloc(void *p)
{
	EXPECT(!vrealloc(p, 1, GFP_KERNEL));
}

TEST(family, arrays_and_zeros)
{
	u8 *p = vcalloc(3, 5000), *q = vmalloc_array(3, 5000);
	u64 half = 1ul << 32;

	EXPECT(p && q && all(p, 0, 15000) && all_of_pages(p, 0, 4));
	vfree(p);
	vfree(q);
	EXPECT(!vcalloc(half, half) && !vcalloc(half, half + 1) && !vcalloc(0, 8));
	EXPECT(!vmalloc_array(1ul << 63 | 2048, 2) && !vcalloc(2, 1ul << 63 | 2048));
	EXPECT(!kvcalloc(half, half + 1, GFP_KERNEL) && !kvmalloc_array(half, half, GFP_KERNEL));
	p = __vmalloc(2 * PAGE_SIZE, __GFP_ZERO);
	EXPECT(p && all(p, 0, 2 * PAGE_SIZE));
	vfree(p);
}

TEST(family, vrealloc_keeps_what_was_there)
{
	u8 *p = vrealloc(NULL, 3 * PAGE_SIZE, GFP_KERNEL), *q;
	struct vm_area area;
	struct page *page;
	void *m;

	EXPECT(p);
	memset(p, 0x5a, 3 * PAGE_SIZE);
	EXPECT_EQ(vrealloc(p, 100, GFP_KERNEL), p);
	EXPECT_EQ(vrealloc(p, 3 * PAGE_SIZE, GFP_KERNEL), p);
	EXPECT(!vrealloc(p, ~0ul, GFP_KERNEL));
	q = vrealloc(p, 3 * PAGE_SIZE + 1, __GFP_ZERO);
	EXPECT(q && q != p && all(q, 0x5a, 3 * PAGE_SIZE) && all_of_pages(q + 3 * PAGE_SIZE, 0, 1));
	EXPECT(find_vm_area((vaddr_t)q, &area) && area.nr_pages == 4);
	EXPECT_PANIC(do_vrealloc, q + PAGE_SIZE, "not the start of an area");
	page = vmalloc_to_page(q);
	m = vmap(&page, 1, PAGE_KERNEL);
	EXPECT(m);
	EXPECT_PANIC(do_vrealloc, m, "give it back with vunmap");
	vunmap(m);
	EXPECT(!vrealloc(q, 0, GFP_KERNEL));
	EXPECT(!vrealloc(NULL, 0, GFP_KERNEL));
	vm_unmap_aliases();
	EXPECT(!find_vm_area((vaddr_t)p, &area) && !find_vm_area((vaddr_t)q, &area));
	EXPECT_PANIC(do_vrealloc, q, "lies in no area");
}

TEST(family, kvmalloc_takes_what_there_is)
{
	u8 *small = kvmalloc(100, GFP_KERNEL), *block = kvzalloc(64 * KiB, GFP_KERNEL);
	u8 *large = kvcalloc(1, KMALLOC_MAX_SIZE + 1, GFP_KERNEL);

	EXPECT(small && !is_vmalloc_addr(small) && block && large && is_vmalloc_addr(large));
	EXPECT(all(block, 0, 64 * KiB) && all(large, 0, KMALLOC_MAX_SIZE + 1));
	kvfree(small);
	kvfree(block);
	kvfree(large);
	kvfree(NULL);
	EXPECT(!kvmalloc(0, GFP_KERNEL) && !kvmalloc(~0ul, GFP_KERNEL));
	if (!CHECKING)
		return;
	page_alloc_fail_nth(1); /* as where no block is left */
	block = kvmalloc(64 * KiB, GFP_KERNEL);
	EXPECT(!page_alloc_fail_nth(0));
	EXPECT(block && is_vmalloc_addr(block));
	kvfree(block);
	page_alloc_fail_nth(1);
	small = kvmalloc(PAGE_SIZE, GFP_KERNEL); /* for one page there is no other way */
	EXPECT(!page_alloc_fail_nth(0));
	EXPECT(!small);
}

TEST(family, huge_leaves_where_they_fit)
{
	u64 bytes = 2 * HUGE + 3 * PAGE_SIZE;
	u8 *p = vmalloc_huge(bytes, __GFP_ZERO), *small = vmalloc_huge(PAGE_SIZE, GFP_KERNEL);
	struct vm_area area;

	EXPECT(p && small && IS_ALIGNED((vaddr_t)p, HUGE));
	EXPECT_EQ(huge_leaves(p, bytes), 2);
	EXPECT_EQ(huge_leaves(small, PAGE_SIZE), 0);
	EXPECT(all(p, 0, bytes));
	for (u64 i = 0; i < PAGES(bytes); i++)
		*(u64 *)(p + i * PAGE_SIZE) = i;
	for (u64 i = 0; i < PAGES(bytes); i++) {
		struct page *page = vmalloc_to_page(p + i * PAGE_SIZE);

		EXPECT(page && page->state == PG_VMALLOC && page->order == 0);
		EXPECT_EQ(*(u64 *)page_address(page), i);
	}
	EXPECT(find_vm_area((vaddr_t)p + bytes - 1, &area) && area.start == (vaddr_t)p);
	EXPECT_EQ(mm_check(printk_line), 0);
	vfree(small);
	vfree(p);
	EXPECT_EQ(prot_of((vaddr_t)p), PAGE_NONE);
	EXPECT_EQ(prot_of((vaddr_t)p + HUGE), PAGE_NONE);
	EXPECT(!vmalloc_huge(0, GFP_KERNEL) && !vmalloc_huge(~0ul, GFP_KERNEL));
}

/* Blocks of 2 MiB are gone, or one is: then parts are of 4 KiB. */
TEST(family, huge_falls_back_by_parts)
{
	u8 *p;

	if (!CHECKING)
		SKIP("fault injection needs a checking build");
	p = vmalloc(PAGE_SIZE); /* so that the window needs no new slab or upper table */
	for (u64 n = 1, leaves = 0; n < 40; n++) {
		u8 *q;

		page_alloc_fail_nth(n);
		q = vmalloc_huge(2 * HUGE, GFP_KERNEL);
		page_alloc_fail_nth(0);
		leaves = q ? huge_leaves(q, 2 * HUGE) : 2;
		if (q)
			q[0] = q[2 * HUGE - 1] = 1;
		vfree(q);
		vm_unmap_aliases();
		if (leaves == 1)
			break; /* the one that failed was a block */
		EXPECT(n < 39);
	}
	vfree(p);
}

/* The n-th request for a frame fails, for every n: each call gives all or nothing. */
TEST(family, every_failure_unwinds)
{
	struct page *pages[5];
	u64 strikes = 0;

	if (!CHECKING)
		SKIP("fault injection needs a checking build");
	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, 5, pages), 5);
	for (u64 n = 1, done = 0; !done; n += n < 24 ? 1 : 97) {
		struct vmalloc_stats before, after;
		u64 free, state = 0;
		u8 *p[4];

		vm_unmap_aliases();
		kmem_cache_shrink_all();
		vmalloc_stats(&before);
		free = nr_free_pages();
		page_alloc_fail_nth(n);
		p[0] = vmalloc_huge(HUGE + 5 * PAGE_SIZE, GFP_KERNEL);
		p[1] = __vmalloc_range(3 * PAGE_SIZE, 8 * PAGE_SIZE, VMALLOC_START, VMALLOC_END,
				       GFP_KERNEL, PAGE_KERNEL_ROX, 0);
		p[2] = vmap_put_pages(pages, 5);
		p[3] = ioremap(paddr(MEMMAP_LIMIT - 4 * PAGE_SIZE), 4 * PAGE_SIZE);
		done = page_alloc_fail_nth(0); /* it did not strike: we are past the last */
		strikes += !done;
		EXPECT_EQ(mm_check(printk_line), 0);
		for (int i = 0; i < 5; i++)
			state += pages[i]->state == (p[2] ? PG_VMALLOC : PG_ALLOC);
		EXPECT_EQ(state, 5);
		vfree(p[0]);
		vfree(p[1]);
		vfree(p[2]);
		iounmap(p[3]);
		if (p[2])
			EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, 5, pages), 5);
		vm_unmap_aliases();
		kmem_cache_shrink_all();
		vmalloc_stats(&after);
		EXPECT(nr_free_pages() + 5 >= free); /* tables of the direct map stay split */
		EXPECT_EQ(after.free, before.free);
		EXPECT_EQ(after.areas, before.areas);
		EXPECT_EQ(after.frames, before.frames);
	}
	EXPECT(strikes > 20);
	free_pages_bulk(5, pages);
}

TEST(family, put_pages_change_hands)
{
	enum { N = 300 };
	static struct page *pages[N];
	struct page *pair = alloc_pages(GFP_KERNEL, 1), *twice[3];
	struct vm_area area;
	char *p;

	EXPECT(pair);
	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, N, pages), N);
	memcpy(twice, pages, 2 * sizeof(*pages));
	twice[2] = twice[0];
	EXPECT(!vmap_put_pages(twice, 3));
	twice[2] = pair;
	EXPECT(!vmap_put_pages(twice, 3));
	EXPECT(!vmap_put_pages(pages, 0));
	EXPECT(twice[0]->state == PG_ALLOC && twice[1]->state == PG_ALLOC);
	*(char *)page_address(pages[N - 1]) = 'x';
	p = vmap_put_pages(pages, N);
	EXPECT(p);
	EXPECT_EQ(p[(N - 1) * PAGE_SIZE], 'x');
	EXPECT(find_vm_area((vaddr_t)p, &area) && area.kind == VM_ALLOC && area.nr_pages == N);
	EXPECT_EQ(vmalloc_to_page(p + 7 * PAGE_SIZE), pages[7]);
	EXPECT_EQ(mm_check(printk_line), 0);
	vfree(p); /* and the runner counts frames */
	__free_pages(pair, 1);
}

TEST(family, vm_map_ram)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	char *p = page ? vm_map_ram(&page, 1) : NULL;

	EXPECT(p);
	p[9] = 7;
	EXPECT_EQ(((char *)page_address(page))[9], 7);
	vm_unmap_ram(p, 1);
	vm_unmap_aliases();
	__free_pages(page, 0);
}

/* A physical address that is no RAM here. */
#define DEVICE 0xfee00000ul

TEST(family, device_memory)
{
	struct mapping m;
	struct vm_area area;
	u8 buf[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	u64 pfns[3] = { PAGES(DEVICE), PAGES(DEVICE) + 9, PAGES(MEMMAP_LIMIT) - 1 };
	u8 *p = ioremap(paddr(DEVICE + 0x30), PAGE_SIZE), *wc, *list;

	EXPECT(p && ((vaddr_t)p & 0xfff) == 0x30);
	EXPECT(find_vm_area((vaddr_t)p, &area) && area.kind == VM_IOREMAP && area.nr_pages == 2);
	EXPECT(pt_lookup(&kernel_pt, (vaddr_t)p + PAGE_SIZE, &m) && m.prot == PAGE_KERNEL);
	EXPECT_EQ(m.pa.v, DEVICE + PAGE_SIZE);
	EXPECT_EQ(pte_type(pte_get(pt_entry(&kernel_pt, (vaddr_t)p))), PAGE_UC);
	EXPECT_EQ(vmalloc_to_pfn(p), PAGES(DEVICE));
	EXPECT(!vread(buf, p, 8) && all(buf, 0, 8));
	wc = ioremap_wc(paddr(DEVICE), 1);
	list = vmap_pfn(pfns, 3, PAGE_KERNEL_RO | PAGE_WC);
	EXPECT(wc && list);
	EXPECT_EQ(pte_type(pte_get(pt_entry(&kernel_pt, (vaddr_t)wc))), PAGE_WC);
	EXPECT_EQ(pte_type(pte_get(pt_entry(&kernel_pt, (vaddr_t)list))), PAGE_WC);
	EXPECT_EQ(prot_of((vaddr_t)list), PAGE_KERNEL_RO);
	EXPECT_EQ(vmalloc_to_pfn(list + 2 * PAGE_SIZE), pfns[2]);
	EXPECT_EQ(mm_check(printk_line), 0);
	EXPECT_PANIC(do_vfree, ALIGN_DOWN((vaddr_t)p, PAGE_SIZE), "give it back with iounmap");
	EXPECT_PANIC(do_iounmap, list, "give it back with vunmap");
	iounmap(p);
	iounmap(wc);
	iounmap(NULL);
	vunmap(list);
}

TEST(family, ram_is_no_device)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	u64 pfns[2] = { PAGES(DEVICE), page_to_pfn(page) };

	EXPECT(page);
	EXPECT(!ioremap(page_to_phys(page), 8) && !ioremap_wc(page_to_phys(page), 8));
	EXPECT(!ioremap(paddr(page_to_phys(page).v - PAGE_SIZE), 2 * PAGE_SIZE));
	EXPECT(!vmap_pfn(pfns, 2, PAGE_KERNEL));
	pfns[1] = MEMMAP_LIMIT >> PAGE_SHIFT; /* no address has so many bits */
	EXPECT(!vmap_pfn(pfns, 2, PAGE_KERNEL));
	EXPECT(!ioremap_prot(paddr(DEVICE), 8, PAGE_KERNEL_ROX));
	EXPECT(vmap_pfn(pfns, 1, PAGE_KERNEL_ROX) == NULL && !vmap_pfn(pfns, 0, PAGE_KERNEL));
	EXPECT(!ioremap(paddr(DEVICE), 0) && !ioremap(paddr(DEVICE), ~0ul));
	EXPECT(!ioremap(paddr(MEMMAP_LIMIT), 1) && !ioremap(paddr(~0ul), 1));
	EXPECT(!ioremap(paddr(MEMMAP_LIMIT - 1), 2));
	__free_pages(page, 0);
}

/* The local APIC's version: 0x1X, and some entries of its vector table. SDM Vol. 3A, 11.4.8. */
TEST(family, ioremap_of_the_local_apic)
{
	volatile u32 *apic;
	u32 version;

	if (simulated())
		SKIP("needs the machine");
	apic = ioremap(paddr(DEVICE), PAGE_SIZE);
	EXPECT(apic);
	version = apic[0x30 / 4];
	iounmap(apic);
	EXPECT_EQ(version & 0xf0, 0x10);
	EXPECT((version >> 16 & 0xff) >= 3);
}

TEST(family, ranges_are_kept)
{
	vaddr_t lo = VMALLOC_START + 16 * MiB, hi = lo + 40 * PAGE_SIZE;
	u8 *p = __vmalloc_range(4 * PAGE_SIZE, 16 * PAGE_SIZE, lo, hi, __GFP_ZERO, PAGE_KERNEL, 0);
	u8 *q = __vmalloc_range(4 * PAGE_SIZE, 16 * PAGE_SIZE, lo, hi, GFP_KERNEL, PAGE_KERNEL_RO,
				0);

	EXPECT(p && q && IS_ALIGNED((vaddr_t)p | (vaddr_t)q, 16 * PAGE_SIZE));
	EXPECT((vaddr_t)p > lo && (vaddr_t)p < hi - 3 * PAGE_SIZE && all(p, 0, 4 * PAGE_SIZE));
	EXPECT((vaddr_t)q > lo && (vaddr_t)q < hi - 3 * PAGE_SIZE);
	EXPECT(!probe_write((vaddr_t)q, 1) && prot_of((vaddr_t)q) == PAGE_KERNEL_RO);
	EXPECT(!__vmalloc_range(40 * PAGE_SIZE, PAGE_SIZE, lo, hi, 0, PAGE_KERNEL, 0));
	EXPECT(!__vmalloc_range(PAGE_SIZE, 3 * PAGE_SIZE, lo, hi, 0, PAGE_KERNEL, 0));
	EXPECT(!__vmalloc_range(PAGE_SIZE, 1, lo, hi, 0, PAGE_KERNEL, 0));
	EXPECT(!__vmalloc_range(HUGE, 1, lo, VMALLOC_END, 0, PAGE_KERNEL, VM_ALLOW_HUGE_VMAP));
	EXPECT(!__vmalloc_range(HUGE, 3 * PAGE_SIZE, lo, VMALLOC_END, 0, PAGE_KERNEL,
				VM_ALLOW_HUGE_VMAP));
	EXPECT(!__vmalloc_range(PAGE_SIZE, PAGE_SIZE, hi, lo, 0, PAGE_KERNEL, 0));
	EXPECT(!__vmalloc_range(PAGE_SIZE, PAGE_SIZE, lo, hi, 0, PAGE_NONE, 0));
	EXPECT(!__vmalloc_range(PAGE_SIZE, PAGE_SIZE, lo, hi, 0, PAGE_KERNEL | PAGE_WC, 0));
	vfree(p);
	vfree(q);
	p = __vmalloc_range(HUGE, 2 * HUGE, lo, VMALLOC_END, 0, PAGE_KERNEL, VM_ALLOW_HUGE_VMAP);
	EXPECT(p && IS_ALIGNED((vaddr_t)p, 2 * HUGE));
	vfree(p);
	p = __vmalloc_range(HUGE, PAGE_SIZE, lo, VMALLOC_END, 0, PAGE_KERNEL, VM_ALLOW_HUGE_VMAP);
	EXPECT(p && (vaddr_t)p >= lo && huge_leaves(p, HUGE) == 1);
	vfree(p);
}

/* mov $42, %eax; ret */
static const u8 forty_two[] = { 0xb8, 42, 0, 0, 0, 0xc3 };

TEST(family, code_is_written_then_run)
{
	u8 *p = vmalloc(3 * PAGE_SIZE);
	vaddr_t va = (vaddr_t)p + PAGE_SIZE;
	vaddr_t alias;

	EXPECT(p);
	memcpy((void *)va, forty_two, sizeof(forty_two));
	alias = alias_of((void *)va);
	EXPECT_EQ(set_memory_x(va, 1), -EACCES);
	EXPECT(!probe_fetch(va) && prot_of(va) == PAGE_KERNEL && prot_of(alias) == PAGE_KERNEL);
	EXPECT_EQ(set_memory_ro(va, 1), 0);
	EXPECT(!probe_write(va, 0));
	EXPECT_EQ(set_memory_x(va, 1), 0);
	EXPECT_EQ(((int (*)(void))va)(), 42);
	EXPECT(!probe_write(va, 0) && !probe_write(alias, 0));
	EXPECT_EQ(set_memory_rw(va, 1), -EACCES);
	EXPECT_EQ(set_memory_ro(va, 1), 0);
	EXPECT_EQ(set_memory_x(va, 1), 0);
	EXPECT_EQ(((int (*)(void))va)(), 42);
	EXPECT(probe_write((vaddr_t)p, 1) && probe_write(va + PAGE_SIZE, 1));
	EXPECT_EQ(mm_check(printk_line), 0);
	EXPECT_EQ(set_memory_nx(va, 1), 0);
	EXPECT(!probe_fetch(va) && probe_write(alias, forty_two[0]) && !probe_write(va, 0));
	EXPECT_EQ(set_memory_rw(va, 1), 0);
	EXPECT(probe_write(va, 0));
	vfree(p);
}

TEST(family, freed_code_is_writable_again)
{
	u8 *p = __vmalloc_range(2 * PAGE_SIZE, PAGE_SIZE, VMALLOC_START, VMALLOC_END, __GFP_ZERO,
				PAGE_KERNEL_ROX, 0);
	vaddr_t alias;

	EXPECT(p);
	alias = alias_of(p + PAGE_SIZE);
	EXPECT_EQ(prot_of((vaddr_t)p), PAGE_KERNEL_ROX);
	EXPECT(!probe_write(alias, 1));
	EXPECT_EQ(direct_to_page((void *)alias)->state, PG_TEXT);
	vfree(p);
	EXPECT_EQ(mm_check(printk_line), 0); /* also of what waits for the flush */
	vm_unmap_aliases();
	EXPECT(probe_write(alias, 1));
}

/* What vmap lets be written cannot become code, nor code be shown by vmap. */
TEST(family, code_has_no_writable_name)
{
	u8 *p = vmalloc(2 * PAGE_SIZE), *m, *none;
	struct page *pages[2];

	EXPECT(p);
	pages[0] = vmalloc_to_page(p);
	pages[1] = vmalloc_to_page(p + PAGE_SIZE);
	EXPECT_EQ(set_memory_ro((vaddr_t)p, 2), 0);
	m = vmap(&pages[1], 1, PAGE_KERNEL);
	EXPECT(m);
	EXPECT_EQ(set_memory_x((vaddr_t)p, 2), -EACCES);
	EXPECT(probe_write(alias_of(p), 1) && prot_of((vaddr_t)p) == PAGE_KERNEL_RO);
	EXPECT_EQ(set_memory_x((vaddr_t)p, 1), 0);
	none = vmap(pages, 1, PAGE_KERNEL);
	EXPECT(!none);
	vunmap(m);
	EXPECT_EQ(set_memory_x((vaddr_t)p, 2), 0);
	vfree(p);
}

TEST(family, set_memory_refuses)
{
	char *p = vmalloc(3 * PAGE_SIZE), *m;
	vaddr_t va = (vaddr_t)p;
	struct page *page = vmalloc_to_page(p);

	m = p ? vmap(&page, 1, PAGE_KERNEL) : NULL;
	EXPECT(m);
	EXPECT_EQ(set_memory_ro(va, 0), -EINVAL);
	EXPECT_EQ(set_memory_ro(va, 4), -EINVAL);
	EXPECT_EQ(set_memory_ro(va, ~0ul), -EINVAL);
	EXPECT_EQ(set_memory_ro(va + 8, 1), -EINVAL);
	EXPECT_EQ(set_memory_ro(va - PAGE_SIZE, 1), -EINVAL);
	EXPECT_EQ(set_memory_ro((vaddr_t)m, 1), -EINVAL);
	EXPECT_EQ(set_memory_ro((vaddr_t)phys_to_virt(paddr(PAGE_SIZE)), 1), -EINVAL);
	EXPECT_EQ(set_memory_ro(va + PAGE_SIZE, 2), 0);
	EXPECT_EQ(set_memory_x(va, 3), -EACCES);
	EXPECT(probe_write(va, 1) && !probe_write(va + PAGE_SIZE, 1));
	vunmap(m);
	vfree(p);
	EXPECT_EQ(set_memory_ro(va, 1), -EINVAL);
}

/* How many leaves of 2 MiB, or larger, show this memory in the direct map. */
static u64 large_aliases(const u8 *p, u64 bytes)
{
	struct mapping m;
	u64 nr = 0;

	for (u64 at = 0; at < bytes; at += HUGE)
		nr += pt_lookup(&kernel_pt, alias_of(p + at), &m) && m.level > 1;
	return nr;
}

/* Two huge leaves whose frames have large leaves in the direct map, too; the others go to list. */
static u8 *untouched_memory(void **list, u64 most)
{
	for (u64 i = 0; i < most; i++) {
		u8 *p = vmalloc_huge(2 * HUGE, GFP_KERNEL);

		if (!p || (huge_leaves(p, 2 * HUGE) == 2 && large_aliases(p, 2 * HUGE) == 2))
			return p;
		list[i] = p;
	}
	return NULL;
}

/* No memory to split the direct map's first leaf, or its second: then nothing becomes code. */
TEST(family, code_needs_tables)
{
	void *others[8] = { NULL };
	u8 *p = untouched_memory(others, ARRAY_SIZE(others));
	int error;
	u64 n;

	for (u64 i = 0; i < ARRAY_SIZE(others); i++)
		vfree(others[i]);
	if (!CHECKING || !p) {
		vfree(p);
		SKIP("needs fault injection, and memory of which nothing was code yet");
	}
	EXPECT_EQ(set_memory_ro((vaddr_t)p, PAGES(2 * HUGE)), 0);
	for (n = 1;; n++) {
		page_alloc_fail_nth(n);
		error = set_memory_x((vaddr_t)p, PAGES(2 * HUGE));
		if (page_alloc_fail_nth(0)) /* it did not strike */
			break;
		EXPECT_EQ(error, -ENOMEM);
		for (u64 at = 0; at < 2 * HUGE; at += HUGE - PAGE_SIZE) {
			EXPECT_EQ(prot_of((vaddr_t)p + at), PAGE_KERNEL_RO);
			EXPECT_EQ(prot_of(alias_of(p + at)), PAGE_KERNEL);
			EXPECT_EQ(vmalloc_to_page(p + at)->state, PG_VMALLOC);
		}
	}
	EXPECT(n > 2 && error == 0);
	EXPECT_EQ(large_aliases(p, 2 * HUGE), 0);
	EXPECT_EQ(mm_check(printk_line), 0);
	vfree(p);
}

/* The same where the memory is just being allocated: it is freed again. Each call finds new blocks. */
TEST(family, no_code_no_memory)
{
	struct tlb_stats before, after;
	void *p[10] = { NULL };
	u64 late = 0;

	for (u64 n = 0; n < ARRAY_SIZE(p); n++) {
		tlb_stats(&before);
		page_alloc_fail_nth(n + 1);
		p[n] = __vmalloc_range(HUGE, HUGE, VMALLOC_START, VMALLOC_END, GFP_KERNEL,
				       PAGE_KERNEL_ROX, VM_ALLOW_HUGE_VMAP);
		page_alloc_fail_nth(0);
		tlb_stats(&after);
		late += !p[n] && after.range_flushes != before.range_flushes; /* it was read-only */
	}
	for (u64 n = 0; n < ARRAY_SIZE(p); n++)
		vfree(p[n]);
	if (!late)
		SKIP("needs fault injection, and memory of which nothing was code yet");
}

/* Splitting a leaf of 2 MiB needs no memory, and its other pages stay as they are. */
TEST(family, part_of_a_huge_leaf)
{
	u8 *p = vmalloc_huge(HUGE, __GFP_ZERO);
	vaddr_t va = (vaddr_t)p + 100 * PAGE_SIZE;
	int error;

	EXPECT(p && huge_leaves(p, HUGE) == 1);
	p[99 * PAGE_SIZE] = p[100 * PAGE_SIZE] = p[101 * PAGE_SIZE] = 77;
	page_alloc_fail_nth(1);
	error = set_memory_ro(va, 1);
	if (CHECKING)
		EXPECT(page_alloc_fail_nth(0));
	EXPECT_EQ(error, 0);
	EXPECT(!probe_write(va, 1) && probe_write(va - 1, 0) && probe_write(va + PAGE_SIZE, 77));
	EXPECT(p[99 * PAGE_SIZE] == 77 && p[100 * PAGE_SIZE] == 77 && p[101 * PAGE_SIZE] == 77);
	EXPECT_EQ(mm_check(printk_line), 0);
	vfree(p);
}

TEST(family, vread_survives)
{
	static u8 buf[3 * PAGE_SIZE];
	u8 *p = vmalloc(2 * PAGE_SIZE), *h;

	EXPECT(p);
	memset(p, 7, 2 * PAGE_SIZE);
	memset(buf, 1, sizeof(buf));
	EXPECT_EQ(vread(buf, p - PAGE_SIZE / 2, 3 * PAGE_SIZE), 3 * PAGE_SIZE);
	EXPECT(all(buf, 0, PAGE_SIZE / 2) && all(buf + PAGE_SIZE / 2, 7, 2 * PAGE_SIZE));
	EXPECT(all(buf + 2 * PAGE_SIZE + PAGE_SIZE / 2, 0, PAGE_SIZE / 2));
	EXPECT_EQ(vread(buf, p, 0), 0);
	vfree(p);
	EXPECT_EQ(vread(buf, p, 2 * PAGE_SIZE), 0);
	EXPECT(all(buf, 0, 2 * PAGE_SIZE));
	EXPECT_EQ(vread(buf, (void *)(VMALLOC_START - 8), 16), 0);
	EXPECT_EQ(vread(buf, (void *)VMALLOC_END, 16), 0);
	EXPECT_EQ(vread(buf, (void *)~7ul, 64), 0);
	h = vmalloc_huge(HUGE, __GFP_ZERO);
	EXPECT(h);
	h[HUGE - 1] = 5;
	EXPECT_EQ(vread(buf, h + HUGE - 8, 16), 16);
	EXPECT(buf[7] == 5 && buf[8] == 0);
	vfree(h);
}

TEST(family, kernel_stacks)
{
	char *stack = alloc_kernel_stack(STACK_BYTES);
	struct vm_area area;

	EXPECT(stack);
	EXPECT(find_vm_area((vaddr_t)stack, &area) && area.kind == VM_STACK);
	EXPECT_EQ(vm_area_end(&area), stack + STACK_BYTES);
	EXPECT(!probe_write((vaddr_t)stack - 1, 0) && !probe_write(vm_area_end(&area), 0));
	EXPECT(probe_write((vaddr_t)stack, 0) && probe_write(vm_area_end(&area) - 1, 0));
	EXPECT_PANIC(do_vfree, stack, "give it back with free_kernel_stack");
	EXPECT_PANIC(do_free_stack, stack + 8, "not the start of an area");
	free_kernel_stack(stack);
	free_kernel_stack(NULL);
}

/* In interrupts */

static void free_all_of(void *list)
{
	for (void **p = list; *p; p++)
		vfree(*p);
}

TEST(family, vfree_in_an_interrupt)
{
	enum tlb_mode mode = tlb_mode;
	void *p[] = { vmalloc(PAGE_SIZE), vmalloc(200 * PAGE_SIZE),
		      __vmalloc_range(PAGE_SIZE, PAGE_SIZE, VMALLOC_START, VMALLOC_END, 0,
				      PAGE_KERNEL_ROX, 0),
		      vmalloc_huge(HUGE, GFP_KERNEL), NULL };
	void *q = vmalloc(PAGE_SIZE);
	struct vm_area area;
	vaddr_t alias;

	EXPECT(p[0] && p[1] && p[2] && p[3] && q);
	alias = alias_of(p[2]);
	tlb_mode = TLB_LAZY;
	self_interrupt(free_all_of, p);
	for (int i = 0; p[i]; i++) {
		EXPECT(find_vm_area((vaddr_t)p[i], &area));
		EXPECT_EQ(area.kind, VM_FREED);
		EXPECT_PANIC(do_vfree, p[i], "freed already");
	}
	EXPECT(!vmalloc_to_page(p[0]));
	EXPECT_EQ(prot_of((vaddr_t)p[2]), PAGE_KERNEL_ROX); /* deferred: this needs a flush */
	stock_settle(false); /* opens a batch, for which it is not forgotten */
	vfree(q);	     /* the next one does it */
	tlb_mode = mode;
	EXPECT_EQ(prot_of((vaddr_t)p[2]), PAGE_NONE);
	EXPECT_EQ(prot_of((vaddr_t)p[3]), PAGE_NONE);
	EXPECT(probe_write(alias, 0));
}

/* More than the ring has room for: the rest waits, too, and nothing is lost. */
TEST(family, vfree_of_much_in_an_interrupt)
{
	void *p[9] = { NULL };
	u64 n = MIN(nr_free_pages() / 12, 4096);

	for (int i = 0; i < 8; i++) {
		p[i] = vmalloc(n * PAGE_SIZE);
		EXPECT(p[i]);
		*(int *)p[i] = i;
	}
	self_interrupt(free_all_of, p);
	EXPECT_EQ(mm_check(printk_line), 0); /* also while some of it waits */
	vfree(vmalloc(PAGE_SIZE));
	vm_unmap_aliases();
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(prot_of((vaddr_t)p[i]), PAGE_NONE);
}

/* Each kind of area, and what frees it */

#define MANY (STOCK_SIZES + 1) /* pages: more than an area may have that is freed the short way */
static struct page *shown[MANY];

static void *get_memory(u64 nr_pages)
{
	return vmalloc(nr_pages * PAGE_SIZE);
}

static void *get_stack(u64 nr_pages)
{
	return alloc_kernel_stack(nr_pages * PAGE_SIZE);
}

static void *get_map(u64 nr_pages)
{
	return vmap(shown, nr_pages, PAGE_KERNEL);
}

static void *get_device(u64 nr_pages)
{
	return ioremap(paddr(MEMMAP_LIMIT - MANY * PAGE_SIZE), nr_pages * PAGE_SIZE);
}

static void do_vunmap(void *p)
{
	vunmap(p);
}

static const struct {
	void *(*get)(u64 nr_pages);
	void (*put)(void *p);
} kinds[] = {
	{ get_memory, do_vfree },
	{ get_stack, do_free_stack },
	{ get_map, do_vunmap },
	{ get_device, do_iounmap },
};

static bool is_gone(const void *p, u64 nr_pages)
{
	struct vm_area area;
	bool gone = !find_vm_area((vaddr_t)p, &area) || area.kind == VM_FREED;

	for (u64 i = 0; i < nr_pages; i++)
		gone &= prot_of((vaddr_t)p + i * PAGE_SIZE) == PAGE_NONE;
	return gone;
}

/* Five areas, of which one lies across two page tables if they have some hundred pages; and each freed twice. */
static void free_five(unsigned kind, u64 nr_pages, bool masked)
{
	irqflags_t flags = 0;
	void *p[5];

	for (u64 i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = kinds[kind].get(nr_pages);
		EXPECT(p[i]);
	}
	for (u64 i = 0; i < ARRAY_SIZE(p); i++) {
		if (masked)
			flags = irq_save();
		kinds[kind].put(p[i]);
		EXPECT_PANIC(kinds[kind].put, p[i], "");
		if (masked)
			irq_restore(flags);
		EXPECT(is_gone(p[i], nr_pages));
	}
}

TEST(family, each_kind_is_freed_by_each_road)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	enum tlb_mode mode = tlb_mode;

	EXPECT(page);
	for (u64 i = 0; i < MANY; i++)
		shown[i] = page;
	for (unsigned i = 0; i < 4 * ARRAY_SIZE(kinds) && !test_failed(); i++) {
		tlb_mode = i & 4 ? TLB_EAGER : TLB_LAZY;
		free_five(i % 4, 1, i & 8);
		free_five(i % 4, STOCK_SIZES - 1, i & 8);
		free_five(i % 4, MANY, i & 8);
	}
	tlb_mode = mode;
	vm_unmap_aliases();
	__free_pages(page, 0);
}

static bool interrupts_are_masked(void)
{
	irqflags_t flags = irq_save();

	irq_restore(flags);
	return !(flags & 0x200); /* RFLAGS.IF */
}

/* Who calls with interrupts masked gets them back masked; who does not, does not. */
static u64 calls_that_change_it(bool masked)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	u64 changed = interrupts_are_masked() !=
		      masked; /* a bit for each call, the first the highest */
	void *p, *q, *object;
	char buf[8];

#define LOOK() (changed = changed << 1 | (interrupts_are_masked() != masked))
	object = kmalloc(100, GFP_KERNEL);
	LOOK();
	p = __vmalloc(PAGE_SIZE, __GFP_ZERO);
	LOOK();
	q = vmap(&page, page != NULL, PAGE_KERNEL);
	LOOK();
	vread(buf, p, sizeof(buf));
	LOOK();
	vunmap(q);
	LOOK();
	vfree(p);
	LOOK();
	kfree(object);
	LOOK();
	__free_pages(page, 0);
	LOOK();
#undef LOOK
	return changed;
}

TEST(family, interrupts_are_left_as_they_were)
{
	irqflags_t flags;
	u64 changed;

	EXPECT_EQ(calls_that_change_it(false), 0);
	flags = irq_save();
	changed = calls_that_change_it(true);
	irq_restore(flags);
	EXPECT_EQ(changed, 0);
}

/* So many that the ring of frames comes to its end in the midst of one, four times. */
TEST(family, stacks_round_the_ring)
{
	u64 nr_pages = STOCK_SIZES - 1, rounds = 4 * (this_stock()->mask / nr_pages + 2);
	enum tlb_mode mode = tlb_mode;

	tlb_mode = TLB_LAZY;
	for (u64 i = 0; i < rounds && !test_failed(); i++) {
		void *p = get_stack(nr_pages);

		EXPECT(p);
		free_kernel_stack(p);
	}
	tlb_mode = mode;
}

/* Nothing of a map's goes into the ring: it need not wait for room there. */
TEST(family, vunmap_of_much_in_an_interrupt)
{
	u64 nr_pages = this_stock()->mask + 2; /* the ring has no room for so many */
	struct page *page = alloc_pages(GFP_KERNEL, 0), **list = vmalloc(nr_pages * sizeof(*list));
	bool deferred;
	void *p;

	EXPECT(page && list);
	for (u64 i = 0; i < nr_pages; i++)
		list[i] = page;
	p = vmap(list, nr_pages, PAGE_KERNEL);
	self_interrupt(do_vunmap, p);
	deferred = vm_deferred;
	vfree(list);
	vm_unmap_aliases();
	__free_pages(page, 0);
	if (!p)
		SKIP("the window is too small");
	EXPECT(!deferred && is_gone(p, nr_pages));
}

static void alloc_in_interrupt(void *p)
{
	*(void **)p = vmalloc_huge(HUGE, GFP_KERNEL);
	if (set_memory_ro(*(vaddr_t *)p, 1) != -EINVAL)
		*(void **)p = NULL;
}

TEST(family, an_interrupt_makes_no_huge_leaf)
{
	void *p = NULL;

	self_interrupt(alloc_in_interrupt, &p);
	if (p)
		EXPECT_EQ(huge_leaves(p, HUGE), 0);
	vfree(p);
}

static void alloc_too_much(void *refused)
{
	const struct vm_stock *stock = this_stock();
	u64 room = stock->mask + 1 - (stock->frames.tail - stock->frames.ready);
	void *small = vmalloc(16 * PAGE_SIZE), *much = NULL;

	*(bool *)refused = small && !vmalloc((nr_free_pages() + 1) * PAGE_SIZE);
	if (room < nr_free_pages() / 2) {
		inject((struct inject_order){ .nth = room - 200, .and_after = true });
		much = vmalloc(room * PAGE_SIZE); /* all but some, and all back into the ring */
		inject((struct inject_order){ 0 });
	}
	*(bool *)refused &= !much || !CHECKING;
	vfree(small);
	vfree(much);
	*(bool *)refused &= !vm_unmap_aliases(); /* this CPU may be draining */
}

/* What cannot be had has to go back without a flush, wherever that becomes known. */
TEST(family, an_interrupt_is_refused_what_it_could_not_give_back)
{
	bool refused = false;
	u64 free;

	vm_unmap_aliases();
	free = nr_free_pages();
	self_interrupt(alloc_too_much, &refused);
	EXPECT(refused);
	EXPECT_EQ(mm_check(printk_line), 0);
	vm_unmap_aliases();
	EXPECT_EQ(nr_free_pages(), free);
}

TEST(family, areas_are_found_from_far_inside)
{
	u64 bytes = MIN(8 * MiB, nr_free_pages() * PAGE_SIZE / 4);
	char *small = vmalloc(PAGE_SIZE), *p = vmalloc(bytes), *h = vmalloc_huge(HUGE, GFP_KERNEL);
	struct vm_area area;

	EXPECT(small && p && h);
	for (u64 at = 0; at < bytes; at += 511 * PAGE_SIZE) {
		EXPECT(find_vm_area((vaddr_t)p + at, &area));
		EXPECT_EQ(area.start, p);
	}
	EXPECT(find_vm_area((vaddr_t)h + HUGE - 1, &area) && area.start == (vaddr_t)h);
	EXPECT(next_vm_area((vaddr_t)p + PAGE_SIZE, &area));
	EXPECT(area.start != (vaddr_t)p);
	vfree(small);
	vfree(p);
	vfree(h);
}

/* For tests/qemu: run into the guard of a stack from vmalloc. */

static noinline u64 recurse(u64 depth)
{
	volatile u64 here[32] = { depth };

	return depth == ~0ul ? 0 : recurse(depth + 1) + here[depth % 32];
}

static void overflow(void)
{
	char *stack = alloc_kernel_stack(STACK_BYTES);

	BUG_ON(!stack);
	asm volatile("movq %%rsp, %%rbx\n\t"
		     "movq %0, %%rsp\n\t"
		     "xorl %%edi, %%edi\n\t"
		     "call *%1\n\t"
		     "movq %%rbx, %%rsp"
		     :
		     : "r"(stack + STACK_BYTES), "r"(recurse)
		     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory",
		       "cc");
	free_kernel_stack(stack);
}

COMMAND(overflow, "", "run out of a kernel stack, for a test: the machine panics", overflow());
