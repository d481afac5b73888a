/*
 * Flushes of other CPUs: with the flush left out on one CPU, it really sees what it must not see,
 * and with the flush it does not. Each test here sees its control red before it believes in green.
 *
 * CPU 1 keeps a translation: it touches the page, masks interrupts, and serves what CPU 0 asks of
 * it; between, it touches little, so that its TLB (under TCG direct-mapped, one slot a page) keeps it.
 * A TLB may forget: red has to be seen in one of some tries, green in all.
 *
 * What cannot be shown here: a CPU whose paging-structure cache leads into a table that was freed.
 * TCG caches no tables, each of its walks begins at the root. What stands in for it is our own cache
 * of walks (mm/tlb.h), which is under the same rule and goes wrong in the same way.
 */
#include <arch/cpu.h>
#include <kernel/printk.h>
#include <kernel/smp.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>
#include <mm/pagetable.h>
#include <mm/slab.h>
#include <mm/tlb.h>
#include <mm/vmstock.h>

#include "../test.h"

#define TRIES 8
#define STEP 5		 /* pages */
#define HANG (1ul << 36) /* cycles; many seconds */

/* What CPU 1 does. ready, go: atomic. */
static struct {
	void (*touch)(void *); /* before and after what CPU 0 does */
	void *at;
	bool ready, go;
	bool done; /* what touch found: could it be done, */
	u64 found; /* and what was there */
} remote;

static void touch_twice(void *unused)
{
	irqflags_t flags = irq_save();

	(void)unused;
	remote.touch(remote.at);
	__atomic_store_n(&remote.ready, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&remote.go, __ATOMIC_ACQUIRE)) {
		cpu_serve();
		cpu_relax();
	}
	remote.touch(remote.at);
	irq_restore(flags);
}

static void wait_for(const bool *flag)
{
	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE)) {
		cpu_serve();
		cpu_relax();
	}
}

static void begin(void (*touch)(void *), const void *at)
{
	remote.touch = touch;
	remote.at = (void *)at;
	remote.ready = remote.go = false;
	cpu_start(1, touch_twice, NULL);
	wait_for(&remote.ready);
}

static void end(void)
{
	__atomic_store_n(&remote.go, true, __ATOMIC_RELEASE);
	cpu_join(1);
}

static void read_byte(void *at)
{
	u8 byte = 0;

	remote.done = probe_read((vaddr_t)at, &byte);
	remote.found = byte;
}

static void write_byte(void *at)
{
	remote.done = probe_write((vaddr_t)at, 3);
}

static void find_entry(void *at)
{
	remote.found = (u64)window_entry((vaddr_t)at);
}

static void recall_entry(void *at)
{
	u64 span = (vaddr_t)at >> 21;
	bool known = walk_cache[cpu_id()][span & (WALK_CACHE - 1)].span == span;

	remote.found = !remote.ready || known ? (u64)window_entry((vaddr_t)at) : 0;
}

/* Of a flush CPU 0's part is done, when CPU 2 stays in its own until nothing is mapped at remote.at. */
static void (*settle_batch)(void *);

static void linger(void *unused)
{
	u64 began = cycles();
	struct mapping m;

	settle_batch(unused);
	if (cpu_id() == 0)
		__atomic_store_n(&remote.ready, true, __ATOMIC_RELEASE);
	if (cpu_id() != 2)
		return;
	while (pt_lookup(&kernel_pt, (vaddr_t)remote.at, &m) && cycles() - began < HANG)
		cpu_relax();
}

static void flush_all(void *unused)
{
	(void)unused;
	tlb_flush_all();
}

/* tlb=eager: a flush in which this CPU has done its part already is not the one to wait for. */
TEST(shootdown, eager_free_is_flushed_though_a_flush_is_on_its_way)
{
	enum tlb_mode mode = tlb_mode;
	u8 *p, byte;
	bool stale;

	if (nr_cpus() < 3)
		SKIP("needs a third CPU");
	p = vmalloc(PAGE_SIZE);
	EXPECT(p);
	tlb_mode = TLB_LAZY;
	stock_settle(true);
	tlb_flush_all(); /* closes a batch, which the next flush ends */
	settle_batch = tlb_at_flush;
	tlb_at_flush = linger;
	remote.at = p;
	remote.ready = false;
	cpu_start(1, flush_all, NULL);
	wait_for(&remote.ready);
	*p = 1; /* now it is in the TLB */
	tlb_mode = TLB_EAGER;
	vfree(p);
	stale = probe_read((vaddr_t)p, &byte);
	tlb_mode = mode;
	cpu_join(1);
	tlb_at_flush = settle_batch;
	EXPECT(!stale);
}

/* Take this frame, wherever page_alloc has it now. NULL: somebody else has. */
static struct page *claim_frame(u64 pfn)
{
	struct page *found = NULL, *page;
	u64 nr = 0;
	u32 list = 0;

	while (!found && (page = alloc_pages(__GFP_NORECLAIM, 0))) {
		found = page_to_pfn(page) == pfn ? page : NULL;
		if (found)
			break;
		page->next = list;
		list = page_to_pfn(page);
		nr++;
	}
	while (nr--) {
		page = pfn_to_page(list);
		list = page->next;
		__free_pages(page, 0);
	}
	return found;
}

/* Did CPU 1 see what it must not? With skip, the flush is left out there. BROKEN: CPU 0 does itself. */
enum verdict { GREEN, RED, NO_TRY, BROKEN };
typedef enum verdict (*control_fn)(bool skip);

static char story[160]; /* what it saw, or why there was no try */

static enum verdict printf_like(2, 3) tell(enum verdict verdict, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(story, sizeof(story), fmt, args);
	va_end(args);
	return verdict;
}

static enum verdict no_try(const char *what)
{
	return tell(NO_TRY, "%s was freed and flushed, but is still not to be had:", what);
}

static void skip_on_1(bool skip)
{
	tlb_skip_cpu = skip ? 1 + 1 : 0;
}

/*
 * A TLB is free to forget, and does where other pages of CPU 1's have the same place in it: each try is
 * made at other addresses, first to be seen red, then green. We hold the lowest that are free, page by
 * page, more of them each time.
 */
static enum verdict try_both(control_fn control, u32 nr_held, u32 *red)
{
	void *held[TRIES * STEP];
	enum verdict verdict;

	for (u32 j = 0; j < nr_held; j++)
		held[j] = vmalloc(PAGE_SIZE);
	vm_unmap_aliases(); /* now the lowest addresses are free: what comes is the same */
	verdict = control(true);
	skip_on_1(false);
	if (verdict != BROKEN) {
		*red += verdict == RED;
		vm_unmap_aliases();
		verdict = control(false);
	}
	for (u32 j = 0; j < nr_held; j++)
		vfree(held[j]);
	tlb_flush_all();
	return verdict;
}

static void expect_control(control_fn control)
{
	u32 red = 0;

	if (nr_cpus() == 1)
		SKIP("needs a second CPU");
	for (u32 i = 0; i < TRIES; i++)
		if (try_both(control, i * STEP, &red) != GREEN)
			return test_fail(__FILE__, __LINE__, story, "try %u of %u", i + 1, TRIES);
	EXPECT(red);
}

/* A frame of vmalloc has a new owner: what a stale pointer reads there is not the old owner's. */
static enum verdict frame(bool skip)
{
	u8 *p = vmalloc(PAGE_SIZE);
	struct page *page;
	u64 pfn;
	u8 byte;
	bool here;

	if (!p)
		return NO_TRY;
	p[5] = 1;
	pfn = vmalloc_to_pfn(p);
	begin(read_byte, p + 5);
	p[5] = 1; /* CPU 0 has it in its TLB, too */
	skip_on_1(skip);
	vfree(p);
	tlb_flush_all();
	here = probe_read((vaddr_t)p + 5, &byte);
	vm_unmap_aliases();
	page = claim_frame(pfn);
	if (page)
		((u8 *)page_address(page))[5] = 2;
	end();
	if (page)
		__free_pages(page, 0);
	if (here)
		return tell(BROKEN, "CPU 0 still had 0x%lx in its TLB after vfree and a flush:",
			    (vaddr_t)p);
	if (!page)
		return no_try("a frame");
	if (!remote.done)
		return GREEN;
	return tell(remote.found == 2 ? RED : NO_TRY,
		    "frame 0x%lx was handed out again while CPU 1 still had it in its TLB:", pfn);
}

TEST(shootdown, no_frame_is_reused_before)
{
	expect_control(frame);
}

/* Addresses have a new owner, who finds in them what was there before. */
static enum verdict address(bool skip)
{
	struct page *pages[2];
	u8 *p, *q, before;

	if (!alloc_pages_bulk(GFP_KERNEL, 2, pages))
		return NO_TRY;
	*(u8 *)page_address(pages[0]) = 1;
	*(u8 *)page_address(pages[1]) = 2;
	p = vmap(&pages[0], 1, PAGE_KERNEL);
	begin(read_byte, p);
	before = remote.found;
	skip_on_1(skip);
	vunmap(p);
	vm_unmap_aliases();
	q = vmap(&pages[1], 1, PAGE_KERNEL);
	end();
	skip_on_1(false);
	vunmap(q);
	vm_unmap_aliases();
	free_pages_bulk(2, pages);
	if (p != q || !remote.done)
		return no_try("an address");
	if (before != 1)
		return tell(NO_TRY, "the CPUs do not see the same page at 0x%lx:", (vaddr_t)p);
	return tell(remote.found == 1 ? RED : GREEN,
		    "0x%lx was allocated again while CPU 1 still had its old frame in its TLB:",
		    (vaddr_t)q);
}

TEST(shootdown, no_address_is_reused_before)
{
	expect_control(address);
}

/* Less rights, by a flush of a range: of its last page. */
static enum verdict rights(bool skip)
{
	u8 *p = vmalloc(3 * PAGE_SIZE), *last = p + 2 * PAGE_SIZE;
	bool read_only, here;

	if (!p)
		return NO_TRY;
	*last = 1;
	begin(write_byte, last);
	*last = 1;
	skip_on_1(skip);
	read_only = pt_protect(&kernel_pt, (vaddr_t)p, 3, PAGE_KERNEL_RO) == 0;
	tlb_flush_range((vaddr_t)p, 3);
	here = probe_write((vaddr_t)last, 3);
	end();
	skip_on_1(false);
	read_only &= (remote.done || here) == (*last == 3);
	read_only &= pt_protect(&kernel_pt, (vaddr_t)p, 3, PAGE_KERNEL) == 0;
	tlb_flush_range((vaddr_t)p, 3);
	vfree(p);
	if (!read_only)
		return tell(NO_TRY, "the CPUs do not see the same page at 0x%lx:", (vaddr_t)last);
	return tell(here	? BROKEN :
		    remote.done ? RED :
				  GREEN,
		    "CPU %u could still write to 0x%lx, the last page of a range that was flushed:",
		    !here, (vaddr_t)last);
}

TEST(shootdown, range_is_flushed)
{
	expect_control(rights);
}

/* A table was freed: nobody may remember it. An area this large has one for itself. */
static enum verdict table(bool skip)
{
	char *p = vmalloc(4 * MiB);
	enum page_state state;

	if (!p)
		return NO_TRY;
	begin(recall_entry, (void *)ALIGN_UP((vaddr_t)p, 2 * MiB));
	state = virt_to_page((void *)remote.found)->state;
	skip_on_1(skip);
	vfree(p);
	vm_unmap_aliases();
	if (state != PG_TABLE || virt_to_page((void *)remote.found)->state == PG_TABLE)
		state = PG_NR_STATES;
	end();
	if (state == PG_NR_STATES)
		return no_try("a table");
	return tell(remote.found ? RED : GREEN,
		    "the table of 0x%lx was freed while CPU 1 still remembered it:", (vaddr_t)p);
}

TEST(shootdown, no_table_is_freed_before)
{
	expect_control(table);
}

/* Other tables serve the same addresses: nobody may go by the old ones. */
static enum verdict new_table(bool skip)
{
	char *p = vmalloc(4 * MiB), *q;
	vaddr_t va = ALIGN_UP((vaddr_t)p, 2 * MiB);
	struct page *was;
	pte_t *entry;
	bool known; /* here, still */

	if (!p)
		return NO_TRY;
	begin(find_entry, (void *)va);
	skip_on_1(skip);
	vfree(p);
	vm_unmap_aliases();
	known = walk_cache[cpu_id()][va >> 21 & (WALK_CACHE - 1)].span == va >> 21;
	was = claim_frame(page_to_pfn(virt_to_page((void *)remote.found)));
	q = known ? NULL : vmalloc(4 * MiB);
	entry = p == q ? pt_entry(&kernel_pt, va) : NULL;
	end();
	skip_on_1(false);
	vfree(q);
	if (was)
		__free_pages(was, 0);
	if (known)
		return tell(BROKEN, "CPU 0 still goes by the table that 0x%lx had before:", va);
	if (p != q || !was)
		return no_try("a table");
	return tell(remote.found == (u64)entry ? GREEN : RED,
		    "CPU 1 still goes by the table that 0x%lx had before:", va);
}

TEST(shootdown, pruned_tables_are_forgotten)
{
	expect_control(new_table);
}

/* While CPU 1 does not answer, what CPU 0 has unmapped keeps its contents, and nobody gets it. */
static struct {
	u8 *p;
	struct page *page;
	u64 ipis;
	enum { KEPT, TAKEN, NEVER_ASKED } verdict;
} held;

static bool is_kept(void)
{
	const struct vm_stock *stock = vm_stocks[0];
	struct vm_area area;
	bool ready = false;
	u8 byte;

	for (u64 i = stock->frames.head; i < stock->frames.ready; i++)
		ready |= paddr_to_pfn(pte_paddr(stock->ring[i & stock->mask], 1)) ==
			 page_to_pfn(held.page);
	return !ready && held.page->state == PG_VMALLOC &&
	       list_first(stock_list(vm_stocks[0], 2)) != (vaddr_t)held.p &&
	       find_vm_area((vaddr_t)held.p, &area) && area.kind == VM_FREED &&
	       (!probe_read((vaddr_t)held.p, &byte) || byte == 42);
}

static void hold_up(void *unused)
{
	irqflags_t flags = irq_save();
	u64 began = cycles();

	(void)unused;
	remote.found = held.p[0]; /* now the TLB has it */
	remote.ready = true;
	while (nr_ipis() == held.ipis && cycles() - began < HANG)
		cpu_relax();
	held.verdict = nr_ipis() == held.ipis ? NEVER_ASKED : KEPT;
	for (u32 i = 0; i < 2000 && held.verdict == KEPT; i++)
		held.verdict = is_kept() ? KEPT : TAKEN;
	irq_restore(flags);
}

TEST(shootdown, who_does_not_answer_holds_up_reuse)
{
	enum tlb_mode mode = tlb_mode;
	bool here;
	u8 byte;

	if (nr_cpus() == 1)
		SKIP("needs a second CPU");
	for (u32 i = 0; i < TRIES; i++) {
		held.p = vmalloc(2 * PAGE_SIZE);
		EXPECT(held.p);
		held.p[0] = 42;
		held.page = vmalloc_to_page(held.p);
		remote.ready = false;
		held.ipis = nr_ipis() + 1; /* cpu_start's */
		cpu_start(1, hold_up, NULL);
		wait_for(&remote.ready);
		held.p[0] = 42; /* CPU 0 has it in its TLB, too */
		tlb_mode = TLB_EAGER;
		vfree(held.p);
		here = probe_read((vaddr_t)held.p, &byte);
		tlb_mode = mode;
		cpu_join(1);
		if (here)
			return test_fail(
				__FILE__, __LINE__,
				"CPU 0 still had in its TLB what it had freed, and flushed:",
				"0x%lx", (vaddr_t)held.p);
		if (held.verdict != KEPT)
			return test_fail(
				__FILE__, __LINE__,
				held.verdict == TAKEN ?
					"before CPU 1 had answered, what was freed was ready "
					"for others or changed:" :
					"CPU 1 was never asked to flush:",
				"0x%lx", (vaddr_t)held.p);
	}
}

/* What was freed after a batch was closed is not in it, whatever else the flush ends. */
TEST(shootdown, what_comes_later_waits_longer)
{
	enum tlb_mode mode = tlb_mode;
	char *p = vmalloc(3 * PAGE_SIZE), *q = vmalloc(3 * PAGE_SIZE), *r, *s;
	struct vm_stock *stock;
	irqflags_t flags;
	u64 frames, pages;

	EXPECT(p && q);
	vm_unmap_aliases();
	tlb_mode = TLB_LAZY;
	flags = irq_save();
	stock = this_stock();
	vfree(p);
	tlb_flush_all(); /* closes the batch */
	tlb_flush_all(); /* ends it */
	vfree(q);
	stock_settle(false);
	frames = stock->frames.tail - stock->frames.ready;
	pages = stock->pages.tail - stock->pages.ready;
	r = vmalloc(3 * PAGE_SIZE);
	s = vmalloc(3 * PAGE_SIZE);
	irq_restore(flags);
	tlb_mode = mode;
	EXPECT_EQ(frames, 3);
	EXPECT_EQ(pages, 3);
	EXPECT(r && s);
	EXPECT_EQ(r, p);
	EXPECT(s != q);
	vfree(r);
	vfree(s);
}

/*
 * Two CPUs free the same thing at once: one of them is told so, and nothing else is harmed. They
 * meet before and after; on a busy host, where each must wait for the other to run, less often.
 */
#define ROUNDS 2000
#define FEWEST 50
#define BUDGET (1ul << 31) /* cycles: so many rounds at most, on a host that is busy */

static struct {
	void *(*make)(void);
	void (*free)(void *);
	void *p;
	bool over;
	u32 arrived; /* atomic; at the barrier, ever */
	u32 told;    /* atomic */
	u32 wrong;   /* rounds in which not exactly one was */
} race;

static void meet(u32 *met)
{
	__atomic_add_fetch(&race.arrived, 1, __ATOMIC_ACQ_REL);
	for (*met += 2; __atomic_load_n(&race.arrived, __ATOMIC_ACQUIRE) < *met;)
		cpu_relax();
}

static void race_to_free(void *unused)
{
	u32 met = 0, first = cpu_id() == 0;
	u64 began = cycles();
	char msg[128];

	(void)unused;
	for (u32 i = 0;; i++) {
		if (first) {
			race.over = i >= ROUNDS || (i >= FEWEST && cycles() - began > BUDGET);
			race.p = race.over ? NULL : race.make();
			race.told = 0;
		}
		meet(&met);
		if (race.over)
			break;
		for (volatile u32 wait = i % 2 == first ? i / 2 % 150 : 0; wait; wait--)
			continue; /* now the one is later, now the other */
		if (race.p && panic_caught(race.free, race.p, msg, sizeof(msg)))
			__atomic_add_fetch(&race.told, 1, __ATOMIC_RELAXED);
		meet(&met);
		if (first)
			race.wrong += race.told != 1;
	}
}

static void expect_one_told(void *(*make)(void), void (*free)(void *))
{
	u64 *near[8], before = 0;

	if (nr_cpus() == 1)
		SKIP("needs a second CPU");
	for (u32 i = 0; i < ARRAY_SIZE(near); i++) {
		near[i] = i % 2 ? kmalloc(64, GFP_KERNEL) : vmalloc(PAGE_SIZE);
		EXPECT(near[i]);
		*near[i] = before + i;
	}
	race.make = make;
	race.free = free;
	race.arrived = race.wrong = 0;
	run_on_cpus(2, race_to_free, NULL);
	EXPECT_EQ(race.wrong, 0);
	for (u32 i = 0; i < ARRAY_SIZE(near); i++) {
		EXPECT_EQ(*near[i], i);
		if (i % 2)
			kfree(near[i]);
		else
			vfree(near[i]);
	}
}

static void *make_area(void)
{
	return vmalloc(2 * PAGE_SIZE);
}

static void free_area(void *p)
{
	vfree(p);
}

TEST(shootdown, vfree_by_two_at_once)
{
	expect_one_told(make_area, free_area);
}

static void *make_large_area(void)
{
	return vmalloc(200 * PAGE_SIZE);
}

TEST(shootdown, vfree_of_a_large_area_by_two_at_once)
{
	expect_one_told(make_large_area, free_area);
}

static struct page *shown;

static void *make_map(void)
{
	return vmap(&shown, 1, PAGE_KERNEL);
}

static void unmap(void *p)
{
	vunmap(p);
}

TEST(shootdown, vunmap_by_two_at_once)
{
	shown = alloc_pages(GFP_KERNEL, 0);
	EXPECT(shown);
	expect_one_told(make_map, unmap);
	vm_unmap_aliases();
	__free_pages(shown, 0);
}

static void *make_object(void)
{
	return kmalloc(64, GFP_KERNEL);
}

static void *make_block(void)
{
	return kmalloc(2 * PAGE_SIZE, GFP_KERNEL);
}

static void free_object(void *p)
{
	kfree(p);
}

TEST(shootdown, kfree_by_two_at_once)
{
	expect_one_told(make_object, free_object);
}

TEST(shootdown, kfree_of_a_block_by_two_at_once)
{
	expect_one_told(make_block, free_object);
}

/* Of this order a stock holds one block or so: every second one that comes goes to the lists. */
static void *make_frames(void)
{
	return alloc_pages(GFP_KERNEL, 4);
}

static void free_frames(void *p)
{
	__free_pages(p, 4);
}

TEST(shootdown, free_pages_by_two_at_once)
{
	expect_one_told(make_frames, free_frames);
}

static void pairs(void *nr)
{
	for (u64 i = 0; i < (u64)nr; i++) {
		u64 *p = vmalloc(PAGE_SIZE);

		if (!p)
			return;
		*p = i;
		vfree(p);
	}
}

/* In steady state a pair of vmalloc and vfree takes no lock, and hardly ever interrupts a CPU. */
TEST(shootdown, pairs_need_few_locks_and_flushes)
{
	enum { PAIRS = 20000 };
	u64 locks, shootdowns, thousands = PAIRS / 1000 * nr_cpus();
	struct tlb_stats stats;

	if (!CHECKING)
		SKIP("only a checking build counts locks");
	if (tlb_mode == TLB_EAGER)
		SKIP("each free flushes");
	run_on_cpus(nr_cpus(), pairs, (void *)(5 * PAIRS)); /* fills the stocks */
	tlb_stats(&stats);
	shootdowns = stats.shootdowns;
	locks = locks_taken();
	run_on_cpus(nr_cpus(), pairs, (void *)PAIRS);
	locks = locks_taken() - locks;
	tlb_stats(&stats);
	shootdowns = stats.shootdowns - shootdowns;
	printk("# %u CPUs: %lu locks and %lu shootdowns in %lu thousand pairs\n", nr_cpus(), locks,
	       shootdowns, thousands);
	EXPECT(locks <= 5 * thousands);
	EXPECT(shootdowns <= thousands);
}
