/*
 * Flushes: a stale translation is really stale, a flush really ends it, and deferred work waits.
 */
#include <arch/cpu.h>
#include <kernel/printk.h>
#include <mm/mm.h>
#include <mm/pagetable.h>
#include <mm/tlb.h>
#include <mm/vmstock.h>

#include "../test.h"

/* Change an entry under the TLB's feet: old data until the flush, new data after. */
TEST(tlb, stale_until_flushed)
{
	volatile u8 *p = vmalloc(PAGE_SIZE);
	struct page *other = alloc_pages(GFP_KERNEL, 0);
	pte_t *entry, was;
	u8 before, after;

	EXPECT(p && other);
	p[7] = 1;
	((u8 *)page_address(other))[7] = 2;
	entry = pt_entry(&kernel_pt, (vaddr_t)p);
	was = pte_get(entry);
	pte_set(entry, pte_make_leaf(page_to_phys(other), 1, PAGE_KERNEL));
	before = p[7];
	tlb_flush_all();
	after = p[7];
	pte_set(entry, was);
	tlb_flush_all();
	vfree((void *)p);
	__free_pages(other, 0);
	EXPECT_EQ(before, 1);
	EXPECT_EQ(after, 2);
}

/* A number is done only when a flush that began after it was asked for is over. */
TEST(tlb, flushes_are_numbered)
{
	struct tlb_stats before, after;
	u64 number = tlb_next_flush();

	tlb_stats(&before);
	EXPECT(!tlb_flushed(number));
	EXPECT_EQ(tlb_next_flush(), number);
	tlb_flush(number);
	EXPECT(tlb_flushed(number) && !tlb_flushed(number + 1));
	tlb_flush(number); /* done already: nothing happens */
	tlb_stats(&after);
	EXPECT_EQ(after.flushes, before.flushes + 1);
	EXPECT_EQ(after.shootdowns, before.shootdowns + (nr_cpus() > 1));
	EXPECT_EQ(tlb_next_flush(), number + 1);
}

/* What each CPU sees in the midst of a flush. Called in place of tlb_at_flush, which it calls. */
static struct {
	void (*at_flush)(void *);
	u64 number; /* of the flush that is under way */
	const struct page *page;
	u64 calls[NR_CPUS];    /* how often that CPU has flushed */
	u64 next[NR_CPUS];     /* the number that it was told to wait for */
	bool done[NR_CPUS];    /* was it told that this flush is over? */
	enum page_state state; /* the page's, as the last of them saw it */
} seen;

static void see(void *unused)
{
	u32 cpu = cpu_id();

	(void)unused;
	seen.calls[cpu]++;
	seen.next[cpu] = tlb_next_flush();
	seen.done[cpu] |= tlb_flushed(seen.number);
	seen.state = seen.page ? seen.page->state : PG_FREE;
	seen.at_flush(NULL);
}

static void watch_flushes(void (*flush)(void *), void *arg)
{
	for (u32 cpu = 0; cpu < NR_CPUS; cpu++) {
		seen.calls[cpu] = seen.next[cpu] = 0;
		seen.done[cpu] = false;
	}
	if (tlb_at_flush != see) /* a test that broke off may have left it */
		seen.at_flush = tlb_at_flush;
	seen.number = tlb_next_flush();
	tlb_at_flush = see;
	flush(arg);
	tlb_at_flush = seen.at_flush;
}

/* Of everything, on each CPU. */
static void expect_flushes(u64 nr)
{
	for (u32 cpu = 0; cpu < nr_cpus(); cpu++)
		if (seen.calls[cpu] != nr)
			return test_fail(__FILE__, __LINE__, "of the flushes of everything,",
					 "CPU %u was seen in %lu, not %lu", cpu, seen.calls[cpu],
					 nr);
}

static void flush_all(void *unused)
{
	(void)unused;
	tlb_flush_all();
}

/*
 * A flush that has begun may have passed a CPU already: whoever unmaps now waits for the next. And it
 * is not done before the last CPU has flushed.
 */
TEST(tlb, asked_in_the_midst_of_a_flush)
{
	watch_flushes(flush_all, NULL);
	expect_flushes(1);
	for (u32 cpu = 0; cpu < nr_cpus() && !test_failed(); cpu++) {
		EXPECT(!seen.done[cpu]);
		EXPECT_EQ(seen.next[cpu], seen.number + 1);
	}
	EXPECT(tlb_flushed(seen.number));
}

#define ROUNDS 40
#define FEWEST 5
#define BUDGET (1ul << 30) /* cycles: then no more than the fewest */

static u64 not_done; /* atomic */

static void flush_often(void *masked)
{
	u64 began = cycles();

	for (u32 i = 0; i < FEWEST || (i < ROUNDS && cycles() - began < BUDGET); i++) {
		irqflags_t flags = masked ? irq_save() : 0;
		u64 number = tlb_next_flush();

		tlb_flush(number);
		__atomic_add_fetch(&not_done, !tlb_flushed(number), __ATOMIC_RELAXED);
		if (masked)
			irq_restore(flags);
	}
}

static void all_flush_often(void *masked)
{
	run_on_cpus(nr_cpus(), flush_often, masked);
}

/* One at a time, each on each CPU once, and done before anybody goes on. */
TEST(tlb, all_flush_at_once)
{
	for (u64 masked = 0; masked < 2; masked++) {
		struct tlb_stats before, after;

		not_done = 0;
		tlb_stats(&before);
		watch_flushes(all_flush_often, (void *)masked);
		tlb_stats(&after);
		EXPECT_EQ(not_done, 0);
		EXPECT(after.flushes - before.flushes >= FEWEST);
		expect_flushes(after.flushes - before.flushes);
	}
}

static void free_tables(void *nr)
{
	*(u64 *)nr = tlb_free_tables();
}

/* In the midst of CPU 0's flush CPU 1 wants one, too. */
static struct {
	bool begun, asked; /* atomic */
	u64 too_early;	   /* how often CPU 1 had flushed by then */
} overlap;

static void ask_meanwhile(void *unused)
{
	irqflags_t flags;

	(void)unused;
	while (!__atomic_load_n(&overlap.begun, __ATOMIC_ACQUIRE))
		cpu_relax();
	flags = irq_save();
	__atomic_store_n(&overlap.asked, true, __ATOMIC_RELEASE);
	tlb_flush(tlb_next_flush());
	irq_restore(flags);
}

static void hold_the_first(void *unused)
{
	(void)unused;
	__atomic_add_fetch(&seen.calls[cpu_id()], 1, __ATOMIC_RELAXED);
	if (cpu_id() == 0 && !overlap.begun) {
		__atomic_store_n(&overlap.begun, true, __ATOMIC_RELEASE);
		while (!__atomic_load_n(&overlap.asked, __ATOMIC_ACQUIRE))
			cpu_relax();
		for (u32 i = 0; i < 10000; i++) /* time enough to make a mistake */
			cpu_relax();
		overlap.too_early = __atomic_load_n(&seen.calls[1], __ATOMIC_RELAXED);
	}
	seen.at_flush(NULL);
}

static void flush_while_asked(void *unused)
{
	(void)unused;
	tlb_at_flush = hold_the_first;
	cpu_start(1, ask_meanwhile, NULL);
	tlb_flush_all();
	__atomic_store_n(&overlap.begun, true, __ATOMIC_RELEASE); /* if it never was on CPU 0 */
	cpu_join(1);
}

/* Who comes while a flush is under way waits for its end, and then makes the next. */
TEST(tlb, one_flush_at_a_time)
{
	if (nr_cpus() == 1)
		SKIP("needs a second CPU");
	overlap.begun = overlap.asked = false;
	watch_flushes(flush_while_asked, NULL);
	EXPECT_EQ(overlap.too_early, 0);
	expect_flushes(2);
	EXPECT(tlb_flushed(seen.number + 1));
}

static void (*put)(pte_t *table);

/* What is given back is page_alloc's, and its link, too. */
static void unlink_and_put(pte_t *table)
{
	virt_to_page(table)->next = 0;
	put(table);
}

/* In the midst of the flush, a table that waits for it is still a table. */
TEST(tlb, tables_are_kept_until_it_is_over)
{
	struct page *pages[2];
	u64 nr = 0;

	EXPECT(alloc_pages_bulk(__GFP_ZERO, 2, pages));
	for (u64 i = 0; i < 2; i++) {
		pages[i]->state = PG_TABLE;
		tlb_defer_table(page_address(pages[i]));
	}
	seen.page = pages[0];
	put = page_alloc_tables.put;
	page_alloc_tables.put = unlink_and_put;
	watch_flushes(free_tables, &nr);
	page_alloc_tables.put = put;
	seen.page = NULL;
	EXPECT_EQ(nr, 2);
	expect_flushes(1);
	EXPECT_EQ(seen.state, PG_TABLE);
	EXPECT(pages[0]->state != PG_TABLE && pages[1]->state != PG_TABLE);
}

/* A table that was unlinked is a free frame only after a flush. */
TEST(tlb, tables_wait_for_a_flush)
{
	struct page *page = alloc_pages(__GFP_ZERO, 0);
	struct tlb_stats before, after;
	u64 free;

	EXPECT(page);
	free = nr_free_pages();
	page->state = PG_TABLE;
	tlb_stats(&before);
	tlb_defer_table(page_address(page));
	tlb_stats(&after);
	EXPECT_EQ(after.tables_waiting, before.tables_waiting + 1);
	EXPECT_EQ(after.flushes, before.flushes);
	EXPECT_EQ(page->state, PG_TABLE);
	EXPECT_EQ(tlb_free_tables(), 1);
	tlb_stats(&after);
	EXPECT_EQ(after.flushes, before.flushes + 1);
	EXPECT_EQ(after.tables_waiting, 0);
	EXPECT_EQ(nr_free_pages(), free + 1);
	EXPECT_EQ(tlb_free_tables(), 0);
}

static void walk_to(void *va)
{
	window_entry((vaddr_t)va);
}

/* An interrupt may come between two looks at what is remembered: it puts no other walk there. */
TEST(tlb, interrupts_remember_no_walks)
{
	u64 bytes = WALK_CACHE * level_bytes(2);
	const struct walk *walk;
	char *p, *q;

	q = __vmalloc_range(PAGE_SIZE, bytes, VMALLOC_START, VMALLOC_END, GFP_KERNEL, PAGE_KERNEL,
			    0);
	p = __vmalloc_range(PAGE_SIZE, bytes, VMALLOC_START, VMALLOC_END, GFP_KERNEL, PAGE_KERNEL,
			    0);
	walk = &walk_cache[cpu_id()][(vaddr_t)q >> 21 & (WALK_CACHE - 1)];
	if (!p || !q) {
		vfree(p);
		vfree(q);
		SKIP("the window is small");
	}
	walk_to(q);
	EXPECT_EQ(walk->span, (vaddr_t)q >> 21);
	self_interrupt(walk_to, p);
	EXPECT_EQ(walk->span, (vaddr_t)q >> 21);
	walk_to(p);
	EXPECT_EQ(walk->span, (vaddr_t)p >> 21); /* both have one place there */
	vfree(p);
	vfree(q);
}

static void fail_to_vmalloc(void *refused)
{
	*(bool *)refused = !vmalloc(4 * MiB);
}

/* Addresses that an interrupt may not use, as a table waits, cost no further table that waits. */
TEST(tlb, interrupts_make_no_tables_in_vain)
{
	struct page *page = alloc_pages(__GFP_ZERO, 0);
	struct tlb_stats before, after;
	bool refused;

	EXPECT(page);
	vm_unmap_aliases(); /* no such area is in stock */
	page->state = PG_TABLE;
	tlb_defer_table(page_address(page));
	tlb_stats(&before);
	self_interrupt(fail_to_vmalloc, &refused);
	tlb_stats(&after);
	tlb_free_tables();
	EXPECT(refused);
	EXPECT_EQ(after.tables_waiting, before.tables_waiting);
}

/* In the stock, a batch is due when it is full, and at once in eager mode. */
TEST(tlb, full_batch_flushes_itself)
{
	struct tlb_stats before, after;
	enum tlb_mode mode = tlb_mode;
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	u64 batch = this_stock()->batch, ready = this_stock()->pages.ready;

	EXPECT(page);
	tlb_mode = TLB_LAZY;
	tlb_stats(&before);
	for (u64 i = 0; i < batch; i++)
		vunmap(vmap(&page, 1, PAGE_KERNEL));
	tlb_stats(&after);
	EXPECT_EQ(after.flushes, before.flushes);
	vunmap(vmap(&page, 1, PAGE_KERNEL));
	tlb_stats(&after);
	EXPECT_EQ(after.flushes, before.flushes + 1);
	EXPECT_EQ(this_stock()->pages.ready, ready + batch + 1);
	tlb_mode = TLB_EAGER;
	vunmap(vmap(&page, 1, PAGE_KERNEL));
	tlb_mode = mode;
	tlb_stats(&after);
	EXPECT_EQ(after.flushes, before.flushes + 2);
	vm_unmap_aliases();
	__free_pages(page, 0);
}

/* A flush closes a batch of what waits, for the next one to end: until then nothing of it is reused. */
TEST(tlb, closed_batch_waits_for_its_own_flush)
{
	enum tlb_mode mode = tlb_mode;
	char *p, *q, *r;
	u64 pfn;

	vm_unmap_aliases();
	p = vmalloc(3 * PAGE_SIZE);
	EXPECT(p);
	pfn = vmalloc_to_pfn(p);
	tlb_mode = TLB_LAZY;
	vfree(p);
	tlb_flush_all();     /* began after the vfree, but the batch was closed only by it */
	stock_settle(false); /* and so must not be opened yet */
	q = vmalloc(3 * PAGE_SIZE);
	tlb_flush_all();
	stock_settle(false); /* now it may */
	r = vmalloc(3 * PAGE_SIZE);
	tlb_mode = mode;
	EXPECT(q && r);
	EXPECT(q != p);
	for (u64 i = 0; i < 3; i++)
		EXPECT(vmalloc_to_pfn(q + i * PAGE_SIZE) != pfn);
	EXPECT_EQ(r, p);
	vfree(q);
	vfree(r);
}

/* More areas than one CPU keeps go to the depot, and come back in front of what is freed meanwhile. */
TEST(tlb, areas_come_back_from_the_depot)
{
	enum { FEW = 100, MANY = 200 };
	static const int nr[] = { MANY, 1, FEW, MANY }; /* all, into the depot, half back, all */
	static const u64 here[] = { MANY, 1, 1 + 2 * 64, MANY }; /* ready, on this CPU, then */
	const struct area_list *list = stock_list(this_stock(), 1);
	static void *p[MANY];
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	enum tlb_mode mode = tlb_mode;

	EXPECT(page);
	vm_unmap_aliases();
	tlb_mode = TLB_LAZY;
	for (u64 round = 0; round < ARRAY_SIZE(nr); round++) {
		for (int i = 0; i < nr[round]; i++)
			p[i] = vmap(&page, 1, PAGE_KERNEL);
		EXPECT_EQ(mm_check(printk_line), 0); /* nothing was handed out twice or lost */
		for (int i = 0; i < nr[round]; i++)
			vunmap(p[i]);
		stock_settle(true);
		EXPECT_EQ(list->nr.ready - list->nr.head, here[round]);
		EXPECT_EQ(mm_check(printk_line), 0);
	}
	tlb_mode = mode;
	vm_unmap_aliases();
	__free_pages(page, 0);
}

static void fill_the_ring(void *filled)
{
	u64 nr = this_stock()->mask - 20;
	void *all = NULL, *one, *small[5];

	for (; nr && (one = vmalloc(PAGE_SIZE)); nr--, all = one)
		*(void **)one = all;
	*(bool *)filled = !nr;
	/* Page by page: more at a time may not fit before the ring's end. */
	for (; all; all = one) {
		one = *(void **)all;
		vfree(all);
	}
	/* More than can be ready still: frames pass through what is left of the ring, which is too
	 * little to take them all back. */
	for (u64 i = 0; i < ARRAY_SIZE(small); i++)
		small[i] = vmalloc(16 * PAGE_SIZE);
	for (u64 i = 0; i < ARRAY_SIZE(small); i++) {
		*(bool *)filled &= !!small[i];
		vfree(small[i]);
	}
}

/* In an interrupt nothing is flushed, so the ring fills up: what waits there is not written over. */
TEST(tlb, a_full_ring_loses_nothing)
{
	bool filled = false;

	vm_unmap_aliases();
	if (nr_free_pages() < this_stock()->mask + 1000)
		SKIP("needs as much free memory as the ring holds");
	self_interrupt(fill_the_ring, &filled);
	EXPECT(filled);
	vm_unmap_aliases(); /* also what the interrupt could not free itself */
	EXPECT_EQ(mm_check(printk_line), 0);
}

/* More frames than two batches are of no use here, and a batch is small where there is little memory. */
TEST(tlb, a_settled_stock_is_small)
{
	const struct vm_stock *stock = this_stock();
	u64 nr_pages = stock->mask / 8 * 7;
	void *p = nr_pages < nr_free_pages() / 2 ? vmalloc(nr_pages * PAGE_SIZE) : NULL;

	if (!p)
		SKIP("needs more free memory than the ring holds");
	vfree(p);
	stock_settle(true);
	EXPECT_EQ(stock->frames.tail, stock->frames.ready);
	EXPECT(stock->frames.ready - stock->frames.head <= 2 * stock->batch);
	EXPECT(stock->batch <= nr_free_pages() / (4ul * nr_cpus()));
	EXPECT(stock->batch > 0 && stock->batch <= (stock->mask + 1) / 2);
}

/* Of the lists that areas of many sizes share, none keeps what it does not need from flush to flush. */
TEST(tlb, large_areas_go_to_the_depot)
{
	enum { LARGE = 130 };
	const struct area_list *list = stock_list(this_stock(), LARGE);
	void *p = vmalloc(LARGE * PAGE_SIZE), *q = vmalloc(LARGE * PAGE_SIZE);
	u64 ready[2], pages;

	EXPECT(p && q);
	vm_unmap_aliases();
	vfree(p);
	stock_settle(true);
	ready[0] = list->nr.ready - list->nr.head;
	vfree(q);
	stock_settle(true);
	ready[1] = list->nr.ready - list->nr.head;
	EXPECT_EQ(ready[0], 1);
	EXPECT_EQ(ready[1], 1); /* q's; p's are in the depot */
	pages = vm_unmap_aliases();
	EXPECT(pages >= 2 * LARGE); /* those of the depot are counted, too */
	EXPECT(pages <= (VMALLOC_END - VMALLOC_START) / PAGE_SIZE);
}

/* One list of the depot after the other gives back what is more than it may keep. */
TEST(tlb, the_depot_is_bounded)
{
	enum { MAX_KEPT = 1 << 16, MORE = MAX_KEPT + 100 };
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	void **p = vmalloc(MORE * sizeof(*p));
	enum tlb_mode mode = tlb_mode;
	struct vmalloc_stats stats;
	u64 nr = 0;

	EXPECT(page && p);
	tlb_mode = TLB_LAZY;
	while (nr < MORE && (p[nr] = vmap(&page, 1, PAGE_KERNEL)))
		nr++;
	for (u64 i = 0; i < nr; i++)
		vunmap(p[i]);
	stock_settle(true);
	for (u64 i = 0; i < 2 * STOCK_LISTS; i++) {
		vunmap(vmap(&page, 1, PAGE_KERNEL));
		stock_settle(true);
	}
	vmalloc_stats(&stats);
	tlb_mode = mode;
	vfree(p);
	vm_unmap_aliases();
	__free_pages(page, 0);
	if (nr < MORE)
		SKIP("no memory, or no room, for so many areas; under KASAN each has a shadow");
	EXPECT(stats.freed_areas >= MAX_KEPT && stats.freed_areas < MAX_KEPT + 100);
}
