/*
 * vmalloc: what it promises, what it refuses, and that every road back is whole.
 */
#include <arch/machine.h>
#include <kernel/printk.h>
#include <kernel/string.h>
#include <mm/pagetable.h>
#include <mm/slab.h>
#include <mm/tlb.h>
#include <mm/vmstock.h>

#include "../test.h"

static bool readable(const void *p)
{
	u8 byte;

	return probe_read((vaddr_t)p, &byte);
}

static u64 waiting(void)
{
	struct vmalloc_stats stats;

	vmalloc_stats(&stats);
	return stats.waiting;
}

/* Frames from both ends of a shattered memory: neighbours in the area are none in RAM. */
TEST(vmalloc, scattered_frames_one_range)
{
	enum { N = 16 };
	struct page *hole[4 * N];
	u64 adjacent = 0;
	u8 *p;

	EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, 4 * N, hole), 4 * N);
	for (int i = 0; i < 4 * N; i += 2)
		__free_pages(hole[i], 0);
	drain_all_pages();
	p = vmalloc(N * PAGE_SIZE);
	for (int i = 1; i < 4 * N; i += 2)
		__free_pages(hole[i], 0);
	EXPECT(p);
	for (u64 i = 0; i < N * PAGE_SIZE; i++)
		p[i] = i * 7 + i / PAGE_SIZE;
	for (u64 i = 0; i < N; i++) {
		struct page *page = vmalloc_to_page(p + i * PAGE_SIZE);
		u8 *direct;

		EXPECT(page);
		EXPECT_EQ(page->state, PG_VMALLOC);
		direct = page_address(page);
		for (u64 j = 0; j < PAGE_SIZE; j++)
			if (direct[j] != (u8)((i * PAGE_SIZE + j) * 7 + i))
				EXPECT_EQ(direct[j], (i * PAGE_SIZE + j) * 7 + i);
		if (i && vmalloc_to_pfn(p + i * PAGE_SIZE) ==
				 vmalloc_to_pfn(p + (i - 1) * PAGE_SIZE) + 1)
			adjacent++;
	}
	EXPECT(adjacent < N / 2);
	vfree(p);
}

TEST(vmalloc, guards_on_both_sides)
{
	char *p = vmalloc(3 * PAGE_SIZE + 1), *q = vmalloc(1);
	struct vm_area area;

	EXPECT(p && q);
	EXPECT(is_vmalloc_addr(p) && IS_ALIGNED((vaddr_t)p, PAGE_SIZE));
	EXPECT(readable(p) && readable(p + 4 * PAGE_SIZE - 1));
	EXPECT(!readable(p - 1) && !readable(p + 4 * PAGE_SIZE));
	EXPECT(!readable(q - 1) && !readable(q + PAGE_SIZE));
	EXPECT(!probe_write((vaddr_t)p - 1, 1) && !probe_write((vaddr_t)p + 4 * PAGE_SIZE, 1));
	EXPECT(find_vm_area((vaddr_t)p + 2 * PAGE_SIZE + 5, &area));
	EXPECT_EQ(area.start, p);
	EXPECT_EQ(area.nr_pages, 4);
	EXPECT_EQ(area.kind, VM_ALLOC);
	EXPECT(find_vm_area((vaddr_t)p - 1, &area));
	EXPECT_EQ(area.start, p);
	EXPECT(next_vm_area((vaddr_t)p, &area) && area.start == (vaddr_t)p);
	EXPECT(!next_vm_area((vaddr_t)p + 1, &area) || area.start > (vaddr_t)p);
	EXPECT(find_vm_area((vaddr_t)p, &area));
	EXPECT((vaddr_t)area.caller - (vaddr_t)test_vmalloc_guards_on_both_sides < PAGE_SIZE);
	EXPECT(vmalloc_to_pfn(p) && !vmalloc_to_pfn(p - 1) && !vmalloc_to_pfn(p + 4 * PAGE_SIZE));
	vfree(p);
	vfree(q);
}

TEST(vmalloc, refuses_impossible_sizes)
{
	EXPECT(!vmalloc(0));
	EXPECT(!vzalloc(0));
	EXPECT(!vmalloc(~0ul));
	EXPECT(!vmalloc(~0ul - PAGE_SIZE + 2));
	EXPECT(!vmalloc(1ul << 63));
	EXPECT(!vmalloc(VMALLOC_END - VMALLOC_START));
	EXPECT(!vmalloc((nr_free_pages() + 1) * PAGE_SIZE));
	EXPECT(!vmalloc_array(1ul << 33, 1ul << 31));
	EXPECT(!vmalloc_array(0, 8));
	EXPECT(!vmap(NULL, 0, PAGE_KERNEL));
	EXPECT_EQ(waiting(), 0);
}

/* What no machine like this one could have is refused before anything is taken, or flushed, for it. */
TEST(vmalloc, absurd_sizes_cost_nothing)
{
	struct tlb_stats before, after;

	tlb_stats(&before);
	EXPECT(!vmalloc((nr_frames + 1) * PAGE_SIZE));
	EXPECT(!vmalloc_huge(1ul << 44, GFP_KERNEL));
	tlb_stats(&after);
	EXPECT_EQ(after.flushes, before.flushes);
	EXPECT_EQ(after.tables_waiting, before.tables_waiting);
}

TEST(vmalloc, zeroed)
{
	u8 *p = vmalloc(8 * PAGE_SIZE);

	EXPECT(p);
	memset(p, 0xa5, 8 * PAGE_SIZE);
	vfree(p);
	vm_unmap_aliases();
	p = vzalloc(8 * PAGE_SIZE);
	EXPECT(p);
	for (u64 i = 0; i < 8 * PAGE_SIZE; i++)
		if (p[i])
			EXPECT_EQ(p[i], 0);
	vfree(p);
}

static void do_vfree(void *p)
{
	vfree(p);
}

static void do_free_frame(void *page)
{
	__free_pages(page, 0);
}

static void do_vunmap(void *p)
{
	vunmap(p);
}

/* In checking builds what was not asked to be zero is junk: who relies on old contents sees it. */
TEST(vmalloc, junk)
{
	const u64 bytes =
		128 * PAGE_SIZE; /* more than a refill: some come from the ring, as they were */
	u8 *p;

	if (!CHECKING)
		SKIP("junk is left only in checking builds");
	p = vmalloc(bytes);
	EXPECT(p);
	memset(p, 0, bytes);
	vfree(p);
	stock_settle(true);
	p = vmalloc(bytes);
	EXPECT(p);
	for (u64 i = 0; i < bytes; i++)
		EXPECT_EQ(p[i], JUNK);
	vfree(p);
}

TEST(vmalloc, misuse_is_told)
{
	char *p = vmalloc(3 * PAGE_SIZE), *k = kmalloc(64, GFP_KERNEL), *m;
	struct page *page = vmalloc_to_page(p);

	vfree(NULL);
	vunmap(NULL);
	m = vmap(&page, 1, PAGE_KERNEL);
	EXPECT(p && k && m);
	EXPECT_PANIC(do_vfree, p + PAGE_SIZE, "not the start of an area");
	EXPECT_PANIC(do_vfree, p + 8, "not the start of an area");
	EXPECT_PANIC(do_vfree, p - PAGE_SIZE, "not the start of an area");
	EXPECT_PANIC(do_vfree, k, "not in the vmalloc window");
	EXPECT_PANIC(do_vfree, 0x1000, "not in the vmalloc window");
	tlb_flush_all(); /* then no walk is remembered: such an address must not pass for one that is */
	EXPECT_PANIC(do_vfree, 0x5000, "not in the vmalloc window");
	EXPECT_PANIC(do_vfree, VMALLOC_END, "lies in no area");
	EXPECT_PANIC(do_vfree, m, "give it back with vunmap");
	EXPECT_PANIC(do_free_frame, page, "frees it itself");
	EXPECT_PANIC(do_vunmap, p, "give it back with vfree");
	vunmap(m);
	vfree(p);
	kfree(k);
	if (tlb_mode == TLB_LAZY)
		EXPECT_PANIC(do_vfree, p, "freed already");
	vm_unmap_aliases();
	EXPECT_PANIC(do_vfree, p, "lies in no area");
}

/* No call gives back what a broken descriptor describes; its kind is past the end of what has names. */
TEST(vmalloc, a_broken_descriptor_is_told)
{
	void *p = vmalloc(PAGE_SIZE);
	pte_t *guard, was;

	EXPECT(p);
	guard = pt_entry(&kernel_pt, (vaddr_t)p - PAGE_SIZE);
	was = pte_get(guard);
	for (int kind = VM_NR_KINDS; kind < 16; kind++) {
		pte_set(guard, vm_area_encode(kind, 1, 0));
		EXPECT_PANIC(do_vfree, p, "give it back with nothing: it is broken");
	}
	pte_set(guard, was);
	vfree(p);
}

/* What was freed comes back neither as address nor as frame before the flush, but does after. */
TEST(vmalloc, nothing_reused_before_the_flush)
{
	enum { N = 8 };
	u64 pfn[N], free = nr_free_pages();
	enum tlb_mode mode = tlb_mode;
	struct vm_area area;
	char *p = vmalloc(N * PAGE_SIZE), *q;

	EXPECT(p);
	for (int i = 0; i < N; i++)
		pfn[i] = vmalloc_to_pfn(p + i * PAGE_SIZE);
	tlb_mode = TLB_LAZY;
	vfree(p);
	EXPECT_EQ(waiting(), N);
	EXPECT(find_vm_area((vaddr_t)p, &area));
	EXPECT_EQ(area.kind, VM_FREED);
	EXPECT(!vmalloc_to_page(p));
	q = vmalloc(N * PAGE_SIZE);
	EXPECT(q && q != p);
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++)
			EXPECT(vmalloc_to_pfn(q + j * PAGE_SIZE) != pfn[i]);
	vfree(q);
	tlb_mode = mode;
	EXPECT(vm_unmap_aliases() >= 2 * N);
	EXPECT_EQ(waiting(), 0);
	EXPECT(!find_vm_area((vaddr_t)p, &area));
	EXPECT(nr_free_pages() + 2 >= free); /* the slab may keep a frame of nodes */
	q = vmalloc(N * PAGE_SIZE);
	EXPECT_EQ(q, p);
	vfree(q);
}

/* Negative control: with the flush left out, the stale translation reads on. */
TEST(vmalloc, flush_is_what_ends_an_area)
{
	char *p = vmalloc(PAGE_SIZE);
	bool stale;

	EXPECT(p);
	p[0] = 42;
	tlb_skip_cpu = cpu_id() + 1;
	vfree(p);
	tlb_flush_all();
	tlb_skip_cpu = 0;
	stale = readable(p);
	tlb_flush_all();
	EXPECT(stale);
	EXPECT(!readable(p));
	p = vmalloc(PAGE_SIZE);
	EXPECT(p);
	p[0] = 42;
	vfree(p);
	vm_unmap_aliases();
	EXPECT(!readable(p));
}

TEST(vmalloc, eager_faults_at_once)
{
	enum tlb_mode mode = tlb_mode;
	char *p = vmalloc(PAGE_SIZE);
	bool gone;

	EXPECT(p);
	p[0] = 1;
	tlb_mode = TLB_EAGER;
	vfree(p);
	gone = !readable(p) && !waiting();
	tlb_mode = mode;
	EXPECT(gone);
}

/* The n-th request for a frame fails, for every n: no leak, and the next call works. */
TEST(vmalloc, every_failure_unwinds)
{
	u64 n, strikes = 0, bytes = 3 * MiB + 5 * PAGE_SIZE;
	struct vmalloc_stats before, after;
	struct vm_area area;

	if (!CHECKING)
		SKIP("fault injection needs a checking build");
	for (n = 1;; n += n < 20 ? 1 : 37) {
		u64 free = nr_free_pages();
		void *p;

		vmalloc_stats(&before);
		page_alloc_fail_nth(n);
		p = vmalloc(bytes);
		if (page_alloc_fail_nth(0)) { /* it did not strike: we are past the last */
			vfree(p);
			break;
		}
		strikes++;
		vfree(p);
		vm_unmap_aliases();
		kmem_cache_shrink_all();
		vmalloc_stats(&after);
		EXPECT(nr_free_pages() >= free);
		EXPECT_EQ(after.free, before.free);
		EXPECT_EQ(after.frames, before.frames);
		EXPECT_EQ(after.areas, before.areas);
		EXPECT(!next_vm_area(VMALLOC_START, &area) || before.areas);
	}
	EXPECT(strikes > 30);
}

/* Memory that is only waiting for its flush is memory: vmalloc flushes rather than fails. */
TEST(vmalloc, nearly_all_of_memory)
{
	u64 pages = nr_free_pages() / 100 * 95;
	struct vmalloc_stats stats;
	char *p, *q;

	vmalloc_stats(&stats);
	if (stats.largest < pages)
		SKIP("the window is smaller than RAM");
	p = vmalloc(pages * PAGE_SIZE);
	EXPECT(p);
	p[0] = p[pages * PAGE_SIZE - 1] = 1;
	EXPECT(!vmalloc(pages * PAGE_SIZE));
	vfree(p);
	q = vmalloc(pages * PAGE_SIZE);
	EXPECT(q);
	vfree(q);
}

static void keep_frames(void *kept)
{
	struct page *page[MAX_ORDER + 1];

	for (unsigned order = 0; order <= MAX_ORDER; order++)
		page[order] = alloc_pages(GFP_KERNEL, order);
	for (unsigned order = 0; order <= MAX_ORDER; order++)
		if (page[order]) {
			__free_pages(page[order], order);
			*(u64 *)kept += 1ul << order;
		}
}

/* Frames that another CPU keeps for itself are memory, too. */
TEST(vmalloc, frames_in_another_cpus_magazine)
{
	struct vmalloc_stats stats;
	u64 kept = 0, nr_pages;
	void *p;

	if (nr_cpus() < 2)
		SKIP("needs 2 CPUs");
	vm_unmap_aliases();
	drain_all_pages();
	run_on_cpu(1, keep_frames, &kept);
	nr_pages = nr_free_pages() - kept / 2;
	nr_pages -= nr_pages / PT_ENTRIES + 16; /* its page tables */
	vmalloc_stats(&stats);
	if (kept < 200 || stats.largest < nr_pages)
		SKIP("too few frames are kept, or the window is small");
	p = vmalloc(nr_pages * PAGE_SIZE);
	EXPECT(p);
	vfree(p);
}

/* Aligned areas take fresh addresses each time: those of the last one may not pile up behind them. */
TEST(vmalloc, aligned_areas_do_not_pile_up)
{
	enum { LARGE = STOCK_SIZES + 2 };
	enum tlb_mode mode = tlb_mode;
	struct vmalloc_stats before, after;
	bool all = true;

	vm_unmap_aliases();
	vmalloc_stats(&before);
	tlb_mode = TLB_EAGER;
	for (int i = 0; i < 200; i++) {
		void *p = __vmalloc_range(LARGE * PAGE_SIZE, level_bytes(2), VMALLOC_START,
					  VMALLOC_END, GFP_KERNEL, PAGE_KERNEL, 0);

		all &= p != NULL;
		vfree(p);
	}
	tlb_mode = mode;
	vmalloc_stats(&after);
	EXPECT(all || before.largest < 200 * PT_ENTRIES);
	EXPECT(after.freed_areas - before.freed_areas < 100);
}

TEST(vmalloc, many_areas_any_order)
{
	static void *p[500];
	struct vmalloc_stats stats;
	struct vm_area area;
	u64 met = 0, base;

	vmalloc_stats(&stats);
	base = stats.areas;
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = vmalloc(8 + test_random() % (6 * PAGE_SIZE));
		EXPECT(p[i]);
		*(u64 *)p[i] = i;
	}
	for (vaddr_t va = VMALLOC_START; next_vm_area(va, &area); va = area.start + PAGE_SIZE)
		met += area.kind != VM_FREED;
	EXPECT_EQ(met, base + ARRAY_SIZE(p));
	for (unsigned i = 0; i < 2000; i++) {
		unsigned k = test_random() % ARRAY_SIZE(p);

		if (p[k])
			EXPECT_EQ(*(u64 *)p[k], k);
		vfree(p[k]);
		p[k] = test_random() % 2 ? vmalloc(8 + test_random() % (6 * PAGE_SIZE)) : NULL;
		if (p[k])
			*(u64 *)p[k] = k;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		vfree(p[i]);
}

TEST(vmalloc, vmap_shows_the_same_frames)
{
	enum { N = 5 };
	static const u8 hidden[] = { PG_FREE, PG_STOCK, PG_RESERVED, PG_TABLE, PG_TEXT };
	struct page *pages[N];
	char *m, *ro, *none;

	EXPECT_EQ(alloc_pages_bulk(__GFP_ZERO, N, pages), N);
	m = vmap(pages, N, PAGE_KERNEL);
	ro = vmap(pages, N, PAGE_KERNEL_RO);
	EXPECT(m && ro && m != ro);
	for (int i = 0; i < N; i++) {
		EXPECT_EQ(vmalloc_to_page(m + i * PAGE_SIZE), pages[i]);
		m[i * PAGE_SIZE] = 'a' + i;
		EXPECT_EQ(*(char *)page_address(pages[i]), 'a' + i);
		EXPECT_EQ(ro[i * PAGE_SIZE], 'a' + i);
	}
	EXPECT(!probe_write((vaddr_t)ro, 'z') && ro[0] == 'a');
	EXPECT(!vmap(pages, N, PAGE_KERNEL_ROX));
	EXPECT(!vmap(pages, N, PAGE_NONE));
	for (u64 i = 0; i < ARRAY_SIZE(hidden); i++) {
		pages[1]->state = hidden[i];
		none = vmap(pages, N, PAGE_KERNEL);
		pages[1]->state = PG_ALLOC;
		EXPECT(!none);
		stock_settle(true); /* the next has addresses of this size at hand */
	}
	vunmap(m);
	vunmap(ro);
	vm_unmap_aliases();
	for (int i = 0; i < N; i++)
		EXPECT_EQ(pages[i]->state, PG_ALLOC);
	free_pages_bulk(N, pages);
}

TEST(vmalloc, empty_tables_go_back)
{
	u64 tables = pt_count_tables(&kernel_pt);
	char *p = vmalloc(5 * MiB);

	EXPECT(p);
	EXPECT(pt_count_tables(&kernel_pt) >= tables + 2);
	vfree(p);
	vm_unmap_aliases();
	EXPECT_EQ(pt_count_tables(&kernel_pt), tables);
}

/* Also the tables of the window's last entries, though its last page belongs to no area. */
TEST(vmalloc, empty_tables_go_back_at_the_end)
{
	u64 tables = pt_count_tables(&kernel_pt), bytes = 4 * MiB - 2 * PAGE_SIZE;
	char *p = __vmalloc_range(bytes, PAGE_SIZE, VMALLOC_END + 1 - 4 * MiB, VMALLOC_END,
				  GFP_KERNEL, PAGE_KERNEL, 0);

	EXPECT(p);
	EXPECT_EQ((vaddr_t)p + bytes, VMALLOC_END + 1 - PAGE_SIZE);
	EXPECT(pt_count_tables(&kernel_pt) >= tables + 2);
	vfree(p);
	vm_unmap_aliases();
	EXPECT_EQ(pt_count_tables(&kernel_pt), tables);
}

/*
 * A stock's ring has room for a quarter of memory: a page of entries at least, 32 pages at most. Too
 * large a one would hoard frames, too small a one would go to page_alloc at every turn.
 */
TEST(vmalloc, ring_as_memory_is)
{
	u64 most = 32 * PT_ENTRIES, least = PT_ENTRIES, ring = vm_stocks[0]->mask + 1;
	struct page_stats stats;

	page_stats(&stats);
	EXPECT(ring <= MAX(MIN(stats.total / 2, most), least));
	EXPECT(ring > MIN(stats.free / 4, most - 1));
}

/* Each number that meminfo tells, and the tests lean on, with one area of each kind and without. */
TEST(vmalloc, statistics)
{
	struct vmalloc_stats before, with, after;
	struct page_stats frames;
	struct page *page;
	void *p, *stack, *map;
	u64 largest;

	vm_unmap_aliases();
	vmalloc_stats(&before);
	p = vmalloc(5 * PAGE_SIZE);
	stack = alloc_kernel_stack(2 * PAGE_SIZE);
	page = vmalloc_to_page(p);
	map = vmap(&page, 1, PAGE_KERNEL);
	EXPECT(p && stack && map);
	largest = vmalloc_window.free->largest; /* its guard included */
	vmalloc_stats(&with);
	page_stats(&frames);
	vunmap(map);
	free_kernel_stack(stack);
	vfree(p);
	vmalloc_stats(&after);
	EXPECT_EQ(with.areas, before.areas + 3);
	EXPECT_EQ(with.used, before.used + 5 + 2 + 1);
	EXPECT_EQ(with.frames, frames.state[PG_VMALLOC]);
	EXPECT_EQ(with.free, before.free - (5 + 2 + 1 + 3));
	EXPECT_EQ(with.freed_areas + with.waiting + before.freed_areas + before.waiting, 0);
	EXPECT_EQ(with.largest, largest - 1);
	EXPECT(with.largest && with.largest < with.free && with.free < with.window);
	EXPECT_EQ(after.areas, before.areas);
	EXPECT_EQ(after.used, before.used);
	EXPECT_EQ(after.frames, with.frames);
	EXPECT_EQ(after.freed_areas, 3);
	EXPECT_EQ(after.waiting, tlb_mode == TLB_EAGER ? 0 : 5 + 2 + 1);
}

/* Of the block that a stock lies in, the rest is not one more list. */
TEST(vmalloc, stock_ends_with_its_lists)
{
	struct area_list *behind = (struct area_list *)(this_stock() + 1);
	const struct queue planted = { 1, 2, 3, 4 };
	bool kept;

	if (ksize(this_stock()) < sizeof(*this_stock()) + sizeof(*behind))
		SKIP("it fills its block");
	behind->nr = planted;
	vfree(vmalloc(PAGE_SIZE));
	stock_settle(true);
	vm_unmap_aliases();
	kept = !memcmp(&behind->nr, &planted, sizeof(planted));
	memset(behind, 0, sizeof(*behind));
	EXPECT(kept);
}

/* Leave no more than so many frames: the others into a list, and nothing is written into them. */
static void take_all_but(u64 nr, struct page_list *list)
{
	struct page *page;

	while (nr_free_pages() > nr && (page = alloc_pages(GFP_KERNEL, 5)))
		page_list_add(list, page, true);
}

static void give_back(struct page_list *list)
{
	while (list->first) {
		struct page *page = pfn_to_page(list->first);

		page_list_remove(list, page);
		__free_pages(page, 5);
	}
}

TEST(vmalloc, ring_of_a_cpu_that_finds_little)
{
	const u32 cpu = NR_CPUS - 1;
	struct page_list held = { 0, 0 };
	u64 ring = 0, free;
	int error;

	if (vm_stocks[cpu])
		SKIP("all CPUs are running");
	take_all_but(24 * MiB / PAGE_SIZE, &held);
	free = nr_free_pages();
	error = stock_init(cpu);
	if (!error) {
		ring = vm_stocks[cpu]->mask + 1;
		kfree(vm_stocks[cpu]->ring);
		kfree(vm_stocks[cpu]);
	}
	vm_stocks[cpu] = NULL;
	give_back(&held);
	EXPECT_EQ(error, 0);
	EXPECT(ring <= MAX(free / 2, (u64)PT_ENTRIES));
}

/* What a CPU finds in its stock when it starts, made here for one that does not run; or nothing. */
TEST(vmalloc, stock_of_a_new_cpu)
{
	const u32 cpu = NR_CPUS - 1;
	struct vm_stock stock, *made;
	struct walk walk;

	if (vm_stocks[cpu])
		SKIP("all CPUs are running");
	if (CHECKING) {
		page_alloc_fail_nth(1);
		EXPECT_EQ(stock_init(cpu), -ENOMEM);
		page_alloc_fail_nth(2);
		EXPECT_EQ(stock_init(cpu), -ENOMEM);
		page_alloc_fail_nth(0);
	}
	memset(&walk_cache[cpu], 0, sizeof(walk_cache[cpu]));
	EXPECT_EQ(stock_init(cpu), 0);
	made = vm_stocks[cpu];
	vm_stocks[cpu] = NULL;
	stock = *made;
	walk = walk_cache[cpu][WALK_CACHE - 1];
	kfree(made);
	kfree(stock.ring);
	EXPECT_EQ(walk.span, ~0ul); /* no address has it, not even 0 */
	EXPECT_EQ(stock.batch, stock.mask / 2);
	EXPECT_EQ(stock.mask & (stock.mask + 1), 0);
	EXPECT_EQ(stock.frames.tail + stock.pages.tail + stock.flush, 0);
	for (u64 i = 0; i < STOCK_LISTS; i++)
		EXPECT_EQ(stock.lists[i].nr.head + stock.lists[i].nr.tail, 0);
}
