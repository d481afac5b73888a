/*
 * The simulated machine itself: is its walk the CPU's, is its TLB one that can be stale, does it
 * refuse what the tables forbid? What mm/ is tested on must be tested too.
 */
#include <stdio.h>
#include <unistd.h>

#include <arch/machine.h>
#include <kernel/string.h>
#include <mm/page_alloc.h>
#include <mm/pagetable.h>
#include <mm/vmalloc.h>

#include "../test.h"
#include <sim.h>

/* Where no test of vmalloc comes, with all its tables: the last 512 GiB of the window. */
#define PLACE (SIM_WINDOW + SIM_WINDOW_BYTES - TiB / 2)

static struct page *map_block(vaddr_t va, unsigned order, pgprot_t prot)
{
	struct page *page = alloc_pages(__GFP_ZERO, order);

	BUG_ON(!page || pt_map(&kernel_pt, va, page_to_phys(page), 1ul << order, prot));
	return page;
}

static void unmap_block(vaddr_t va, struct page *page, unsigned order)
{
	BUG_ON(pt_protect(&kernel_pt, va, 1ul << order, PAGE_NONE));
	mmu_flush_all();
	pt_prune(&kernel_pt, va, 1ul << order, PLACE, PLACE + TiB / 2, page_alloc_tables.put);
	__free_pages(page, order);
}

static bool can_read(vaddr_t va)
{
	u8 byte;

	return probe_read(va, &byte);
}

/* Two walks, written apart, over the same tables. */
static bool walks_agree(const struct pagetable *pt, vaddr_t va)
{
	struct sim_leaf leaf = sim_walk(virt_to_phys(pt->root).v, pt->levels, va);
	struct mapping m;

	if (!pt_lookup(pt, va, &m))
		return !leaf.present;
	return leaf.present && leaf.pa == m.pa.v && leaf.bytes == m.bytes &&
	       leaf.writable == (m.prot == PAGE_KERNEL) && leaf.exec == (m.prot == PAGE_KERNEL_ROX);
}

static bool walks_agree_around(const struct pagetable *pt, vaddr_t va)
{
	return walks_agree(pt, va - 1) && walks_agree(pt, va) &&
	       walks_agree(pt, va + PAGE_SIZE - 1);
}

/* Everything that mm_init and the tests so far have mapped. Is any of it more than it may be? */
TEST(sim, walk_agrees_on_kernel_tables)
{
	vaddr_t va = 0;
	u64 leaves = 0;
	int level;

	for (; pt_next(&kernel_pt, &va, 0, &level); va += level_bytes(level), leaves++) {
		struct sim_leaf leaf = sim_walk(mmu_root().v, kernel_pt.levels, va);

		EXPECT(walks_agree_around(&kernel_pt, va));
		EXPECT(!leaf.present || !leaf.reserved);
		EXPECT(!leaf.writable || !leaf.exec || !leaf.present);
	}
	EXPECT(leaves > 0);
}

static bool random_tables_agree(int levels)
{
	struct page *root = alloc_pages(__GFP_ZERO, 0);
	struct pagetable pt = { page_address(root), levels, &page_alloc_tables };
	const u64 units[] = { 1, 3, 512, 515, 512 * 512 };
	bool agree = true;
	int level;

	for (int i = 0; i < 40; i++) {
		u64 unit = units[test_random() % ARRAY_SIZE(units)];
		u64 align = unit & 1 ? PAGE_SIZE : unit * PAGE_SIZE;
		u64 at = ALIGN_DOWN(test_random() % (4 * GiB), align);
		vaddr_t va = va_unfold(level_bytes(levels + 1) / 2 - 2 * GiB + at, levels);

		if (va_canonical(va + unit * PAGE_SIZE - 1, levels) &&
		    !pt_map(&pt, va, paddr(at), unit, PAGE_KERNEL_RO + i % 3))
			agree &= walks_agree_around(&pt, va) &&
				 walks_agree_around(&pt, va + unit * PAGE_SIZE) &&
				 walks_agree(&pt, va ^ 1ul << 63);
	}
	for (vaddr_t va = 0; pt_next(&pt, &va, 0, &level);)
		agree &= !pt_protect(&pt, va, level_bytes(level) / PAGE_SIZE, PAGE_NONE);
	pt_prune(&pt, 0, 1ul << (9 * levels), 0, 0, page_alloc_tables.put);
	__free_pages(root, 0);
	return agree;
}

TEST(sim, walk_agrees_on_random_tables)
{
	EXPECT(random_tables_agree(4));
	EXPECT(random_tables_agree(5));
}

/* A right is one only if the entries of all levels give it. SDM Vol. 3A, 4.6. */
TEST(sim, rights_need_every_level)
{
	struct page *page = map_block(PLACE, 0, PAGE_KERNEL);
	int level;
	pte_t *upper = pt_walk(&kernel_pt, PLACE, 3, &level), was = pte_get(upper);

	EXPECT(probe_write(PLACE, 1));
	pte_set(upper, (pte_t){ was.v & ~PTE_W });
	mmu_flush_all();
	EXPECT(can_read(PLACE) && !probe_write(PLACE, 1));
	pte_set(upper, was);
	unmap_block(PLACE, page, 0);
}

/* The negative control of all tests that rely on flushes. */
TEST(sim, stale_without_a_flush)
{
	struct page *a = map_block(PLACE, 0, PAGE_KERNEL), *b = alloc_pages(__GFP_ZERO, 0);
	volatile u8 *p = (u8 *)PLACE;
	pte_t *entry = pt_entry(&kernel_pt, PLACE), was;
	u8 stale, fresh;

	p[5] = 1;
	*((u8 *)page_address(b) + 5) = 2;
	EXPECT(sim_tlb_holds(PLACE));
	was = pte_get(entry);
	pte_set(entry, pte_make_leaf(page_to_phys(b), 1, PAGE_KERNEL));
	stale = p[5];
	mmu_flush_range(PLACE, 1);
	EXPECT(!sim_tlb_holds(PLACE));
	fresh = p[5];
	pte_set(entry, (pte_t){ 0 });
	EXPECT(can_read(PLACE));
	mmu_flush_range(PLACE, 1);
	EXPECT(!can_read(PLACE));
	pte_set(entry, was);
	EXPECT_EQ(p[5], 1); /* what is not present is never cached */
	pte_set(entry, (pte_t){ 0 });
	EXPECT(can_read(PLACE));
	mmu_flush_all();
	EXPECT(!can_read(PLACE));
	pte_set(entry, was);
	unmap_block(PLACE, a, 0);
	__free_pages(b, 0);
	EXPECT_EQ(stale, 1);
	EXPECT_EQ(fresh, 2);
}

TEST(sim, protection_is_kept)
{
	struct page *page = map_block(PLACE, 0, PAGE_KERNEL_RO);
	struct mapping m;

	EXPECT(can_read(PLACE) && !probe_write(PLACE, 1));
	EXPECT_EQ(last_probe_fault()->access, ACCESS_WRITE);
	EXPECT_EQ(last_probe_fault()->va, PLACE);
	EXPECT_EQ(pt_protect(&kernel_pt, PLACE, 1, PAGE_KERNEL), 0);
	EXPECT(probe_write(PLACE, 0xc3)); /* more rights: no flush needed. 0xc3: RET */
	EXPECT(!probe_fetch(PLACE));
	EXPECT_EQ(last_probe_fault()->access, ACCESS_FETCH);
	EXPECT_EQ(pt_protect(&kernel_pt, PLACE, 1, PAGE_KERNEL_ROX), 0);
	EXPECT(probe_write(PLACE, 0xc3)); /* fewer: stale */
	mmu_flush_range(PLACE, 1);
	EXPECT(!probe_write(PLACE, 0) && probe_fetch(PLACE));
	EXPECT(pt_lookup(&kernel_pt, PLACE, &m));
	EXPECT_EQ(m.prot, PAGE_KERNEL_ROX);
	unmap_block(PLACE, page, 0);
}

/* A leaf of 2 MiB is one translation, gone as a whole. */
TEST(sim, large_leaf_is_one_translation)
{
	struct page *page = map_block(PLACE, 9, PAGE_KERNEL);

	EXPECT(can_read(PLACE + 5 * PAGE_SIZE));
	EXPECT(sim_tlb_holds(PLACE) && sim_tlb_holds(PLACE + 2 * MiB - 1));
	mmu_flush_range(PLACE + 7 * PAGE_SIZE, 1);
	EXPECT(!sim_tlb_holds(PLACE) && !sim_tlb_holds(PLACE + 2 * MiB - 1));
	unmap_block(PLACE, page, 9);
}

static void read_byte(void *p)
{
	(void)*(volatile u8 *)p;
}

static void write_byte(void *p)
{
	*(volatile u8 *)p = 1;
}

static void find_frame(void *pa)
{
	(void)phys_to_virt(paddr((u64)pa));
}

TEST(sim, faults_are_told)
{
	struct page *page = map_block(PLACE, 0, PAGE_KERNEL_RO);
	vaddr_t hole = 0x7000000, table = PLACE + PAGE_SIZE;
	pte_t *entry = pt_entry(&kernel_pt, table);

	EXPECT_PANIC(read_byte, table, "nothing is mapped");
	EXPECT_PANIC(write_byte, PLACE, "its protection forbids");
	pte_set(entry, pte_make_leaf(paddr(hole), 1, PAGE_KERNEL));
	EXPECT_PANIC(read_byte, table, "no RAM");
	EXPECT(!can_read(table) && last_probe_fault()->reserved_bit);
	pte_set(entry, (pte_t){ 0 });
	EXPECT(!can_read(0x0000800000000000) && !last_probe_fault()->page_fault);
	EXPECT(!can_read(0) && !probe_write(0xffff888000000000, 0));
	EXPECT_PANIC(find_frame, hole, "is no RAM");
	unmap_block(PLACE, page, 0);
}

/* Does this program come up with so little memory? What it says. */
static const char *come_up(u64 kib)
{
	static char said[2000], command[600];
	char self[256] = "";
	size_t length = 0;
	FILE *child;

	BUG_ON(readlink("/proc/self/exe", self, sizeof(self) - 1) < 0);
	snprintf(command, sizeof(command),
		 "ASAN_OPTIONS=symbolize=0 '%s' no_such_test levels=%d mem=%luK", self,
		 address_map.levels, kib);
	child = popen(command, "r");
	if (child) {
		length = fread(said, 1, sizeof(said) - 1, child);
		pclose(child);
	}
	said[length] = 0;
	return said;
}

/* From a single frame on: whatever there is no memory for is told, until there is enough. */
TEST(sim, too_little_memory)
{
	static const char *const missing[] = { "page tables", "the direct map",
					       "the struct page array", "the window's first node" };
	u64 met[ARRAY_SIZE(missing)] = { 0 }, kib = 1;
	const char *said = come_up(kib);

	for (; kib < KiB && !contains(said, "no test's name contains"); said = come_up(kib += 3)) {
		EXPECT(contains(said, ": no memory for "));
		for (u64 i = 0; i < ARRAY_SIZE(missing); i++)
			met[i] += contains(said, missing[i]);
	}
	EXPECT(kib < KiB);
	for (u64 i = 0; i < ARRAY_SIZE(missing); i++)
		EXPECT(met[i]);
}
