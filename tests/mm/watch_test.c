/*
 * What gdb's `mm watch` is tried on: each call that changes a mapping, announced beforehand.
 *
 * tests/gdb/test_watch.py stops at watch_this(), watches the page that it is given until the next one
 * comes, and counts the stores at which the machine stops. Here, as in every test, we look at the
 * mapping itself: the play is only worth watching if it is what the calls promise.
 */
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/string.h>
#include <mm/mm.h>
#include <mm/vmalloc.h>

#include "../test.h"

#define HUGE (2 * MiB)

/* gdb's breakpoint: until the next one, `what` is done to the mapping of the page at p; NULL: nothing that counts. */
void watch_this(const char *what, const void *p);
noinline void watch_this(const char *what, const void *p)
{
	asm volatile("" ::"r"(what), "r"(p) : "memory");
}

static pgprot_t prot_of(const void *p)
{
	struct mapping m;

	return pt_lookup(&kernel_pt, (vaddr_t)p, &m) ? m.prot : PAGE_NONE;
}

/* Where the next area of so many pages comes to lie: back in the window, the lowest place is first. */
static char *next_place(u64 bytes, bool huge)
{
	char *p = huge ? vmalloc_huge(bytes, GFP_KERNEL) : vmalloc(bytes);

	vfree(p);
	vm_unmap_aliases();
	return p;
}

/* p's page shows its frame a second time in the direct map, there perhaps in a large leaf that must split. */
static void change_rights(vaddr_t p, const void *alias)
{
	watch_this("set_memory_ro", (void *)p);
	EXPECT_EQ(set_memory_ro(p, 1), 0);
	watch_this("set_memory_ro again", (void *)p);
	EXPECT_EQ(set_memory_ro(p, 1), 0);
	watch_this("set_memory_x, direct map", alias);
	EXPECT_EQ(set_memory_x(p, 1), 0);
	EXPECT_EQ(prot_of(alias), PAGE_KERNEL_RO);
	watch_this("set_memory_nx, direct map", alias);
	EXPECT_EQ(set_memory_nx(p, 1), 0);
	EXPECT_EQ(prot_of(alias), PAGE_KERNEL);
	watch_this("set_memory_x", (void *)p);
	EXPECT_EQ(set_memory_x(p, 1), 0);
	watch_this("set_memory_nx", (void *)p);
	EXPECT_EQ(set_memory_nx(p, 1), 0);
	watch_this("set_memory_rw", (void *)p);
	EXPECT_EQ(set_memory_rw(p, 1), 0);
	EXPECT_EQ(prot_of((void *)p), PAGE_KERNEL);
}

/* The second of three pages: vmalloc, set_memory, vfree, and what comes after that. */
static void small(void *unused)
{
	char *at = next_place(3 * PAGE_SIZE, false), *p;

	(void)unused;
	watch_this("vmalloc", at + PAGE_SIZE);
	p = vmalloc(3 * PAGE_SIZE);
	EXPECT_EQ(p, at);
	change_rights((vaddr_t)p + PAGE_SIZE, page_address(vmalloc_to_page(p + PAGE_SIZE)));
	watch_this("vfree", p + PAGE_SIZE);
	vfree(p);
	EXPECT_EQ(prot_of(p + PAGE_SIZE), PAGE_NONE);
	watch_this("purge", p + PAGE_SIZE);
	vm_unmap_aliases();
}

static void two_areas(void)
{
	void *p = vmalloc(3 * PAGE_SIZE), *q = vmalloc(3 * PAGE_SIZE);

	vfree(p); /* its first page's entry will lead to q */
	vfree(q);
	vm_unmap_aliases();
}

/* The first page, whose entry links freed areas, and the guard before it, which is never mapped. */
static void edges(void *unused)
{
	char *at = next_place(3 * PAGE_SIZE, false);

	(void)unused;
	watch_this("first page: vmalloc, vfree, purge", at);
	two_areas();
	watch_this("guard: vmalloc, vfree, purge", at - PAGE_SIZE);
	two_areas();
	watch_this("all of guard: vmalloc, vfree, purge", at - PAGE_SIZE);
	two_areas();
}

/* Others' frames; and a page that vfree has to make plain again. */
static void shown(void *unused)
{
	char *at = next_place(PAGE_SIZE, false), *p;
	struct page *page = alloc_pages(GFP_KERNEL, 0);

	(void)unused;
	EXPECT(page);
	watch_this("vmap", at);
	p = vmap(&page, 1, PAGE_KERNEL_RO);
	watch_this("vunmap", at);
	vunmap(p);
	watch_this("", NULL);
	vm_unmap_aliases();
	__free_pages(page, 0);
	EXPECT_EQ(p, at);
	p = vmalloc(PAGE_SIZE);
	EXPECT_EQ(set_memory_ro((vaddr_t)p, 1), 0);
	watch_this("vfree of a read-only page", p);
	vfree(p);
}

static void huge(void *unused)
{
	char *at = next_place(HUGE, true), *p;

	(void)unused;
	watch_this("vmalloc_huge", at + 5 * PAGE_SIZE);
	p = vmalloc_huge(HUGE, GFP_KERNEL);
	EXPECT_EQ(p, at);
	watch_this("set_memory_ro of another page in it", at + 5 * PAGE_SIZE);
	EXPECT_EQ(set_memory_ro((vaddr_t)p, 1), 0);
	watch_this("set_memory_ro in split pages", at + 5 * PAGE_SIZE);
	EXPECT_EQ(set_memory_ro((vaddr_t)p + 5 * PAGE_SIZE, 1), 0);
	EXPECT_EQ(prot_of(at + 5 * PAGE_SIZE), PAGE_KERNEL_RO);
	watch_this("vfree of huge pages", at + 5 * PAGE_SIZE);
	vfree(p);
	EXPECT_EQ(prot_of(at + 5 * PAGE_SIZE), PAGE_NONE);
	watch_this("purge of huge pages", at + 5 * PAGE_SIZE);
	vm_unmap_aliases();
}

/* With tlb=eager, the flush follows at once: the stores are the same. */
static void eager(void *unused)
{
	char *at = next_place(3 * PAGE_SIZE, false), *p;
	enum tlb_mode mode = tlb_mode;

	(void)unused;
	tlb_mode = TLB_EAGER;
	watch_this("eager: vmalloc", at + PAGE_SIZE);
	p = vmalloc(3 * PAGE_SIZE);
	watch_this("eager: vfree", at + PAGE_SIZE);
	vfree(p);
	watch_this("eager: purge", at + PAGE_SIZE);
	tlb_mode = mode;
	vm_unmap_aliases();
	EXPECT_EQ(p, at);
}

static void play(void *unused)
{
	static void (*const acts[])(void *) = { small, edges, shown, huge, eager };

	for (unsigned i = 0; i < ARRAY_SIZE(acts) && !test_failed(); i++) {
		acts[i](unused);
		watch_this("", NULL);
	}
	watch_this("end", NULL);
}

TEST(watch, each_call)
{
	play(NULL);
}

TEST(watch, on_another_cpu)
{
	if (nr_cpus() < 2)
		SKIP("there is one CPU only");
	run_on_cpu(1, play, NULL);
}

/* The same calls by hand, to look at what they leave. */
static void protect(const char *how, vaddr_t va, u64 nr_pages)
{
	static const struct {
		const char *how;
		pgprot_t from, to;
	} calls[] = {
		{ "ro", PAGE_KERNEL, PAGE_KERNEL_RO },
		{ "rw", PAGE_KERNEL_RO, PAGE_KERNEL },
		{ "x", PAGE_KERNEL_RO, PAGE_KERNEL_ROX },
		{ "nx", PAGE_KERNEL_ROX, PAGE_KERNEL_RO },
	};
	unsigned i = 0;
	int error;

	while (i < ARRAY_SIZE(calls) && strcmp(calls[i].how, how) != 0)
		i++;
	if (i == ARRAY_SIZE(calls)) {
		printk("'%s' is none of ro, rw, x and nx\n", how);
		return;
	}
	error = set_memory(va, nr_pages, calls[i].from, calls[i].to);
	printk("%s\n", error == 0	? "done" :
		       error == -EINVAL ? "refused: these are not pages of one area of vmalloc" :
		       error == -ENOMEM ? "refused: no memory to split the direct map's pages" :
					  "refused: rw wants nx before, x wants ro before");
}

COMMAND(protect, "ro|rw|x|nx VA [PAGES]", "set_memory_ro, and its kin",
	protect(text[0], n[1], nr > 2 ? n[2] : 1));
