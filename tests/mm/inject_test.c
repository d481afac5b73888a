/*
 * Every call that takes memory, failed at each of its requests: for frames, tables, objects.
 *
 * All stocks are emptied first, so that a call asks for all that it could ever need. Then its n-th
 * request fails, for every n until none is left to fail: once alone, which many calls survive by
 * another way, and once with all that come after, as where memory has run out. Each time the call
 * gives all or nothing, mm/ is sound, the next call works, and after the free everything is back.
 */
#include <kernel/printk.h>
#include <kernel/string.h>
#include <mm/mm.h>
#include <mm/pagetable.h>
#include <mm/slab.h>
#include <mm/vmstock.h>

#include "../test.h"

#define HUGE (2 * MiB)
#define NR_PAGES 12
#define DEVICE paddr(MEMMAP_LIMIT - 64 * PAGE_SIZE) /* no RAM */

static struct page *pages[NR_PAGES];
static u64 pfns[NR_PAGES];
static u8 *base; /* what a call works on that is there already */
static struct pagetable pt;
static struct kmem_cache *cache;

static void *worked(int error)
{
	return error ? NULL : &pt;
}

static void fill_base(void *p, u64 bytes)
{
	base = p;
	if (p)
		memset(p, 7, bytes);
}

/* Grown memory keeps what was in it, also if it did not grow at the first try. */
static void *kept(u8 *p, u64 bytes)
{
	for (u64 i = 0; p && i < bytes; i++)
		if (p[i] != 7)
			test_fail(__FILE__, __LINE__, "contents are kept", "byte %lu is %u", i,
				  p[i]);
	return p;
}

static void take_pages(void)
{
	if (!alloc_pages_bulk(GFP_KERNEL, NR_PAGES, pages))
		test_fail(__FILE__, __LINE__, "frames to map", "there are none");
	for (u64 i = 0; i < NR_PAGES; i++)
		pfns[i] = (MEMMAP_LIMIT >> PAGE_SHIFT) - 1 - 3 * i;
}

static void give_pages(void)
{
	vm_unmap_aliases();
	free_pages_bulk(NR_PAGES, pages);
}

/* Tables of no kernel: mm_check() would miss others. */
static pte_t *get_table(void)
{
	return __get_free_pages(__GFP_ZERO | __GFP_NORECLAIM, 0);
}

static void put_table(pte_t *table)
{
	free_pages(table, 0);
}

static struct page_source tables = { get_table, put_table };

static void take_root(void)
{
	pt = (struct pagetable){ get_table(), kernel_pt.levels, &tables };
}

static void give_root(void)
{
	EXPECT_EQ(pt_count_tables(&pt), 1);
	put_table(pt.root);
}

/* Set up; the call, NULL if it failed; its way back, of p; take down. */
#define NOTHING (void)0
#define CALLS(x)                                                                                              \
	x(alloc_page, NOTHING, alloc_pages(GFP_KERNEL, 0), __free_pages(p, 0), NOTHING) x(                    \
		alloc_block, NOTHING, alloc_pages(GFP_KERNEL, 5), __free_pages(p, 5),                         \
		NOTHING) x(alloc_bulk, NOTHING,                                                               \
			   alloc_pages_bulk(GFP_KERNEL, NR_PAGES, pages) ? pages : NULL,                      \
			   free_pages_bulk(NR_PAGES, p),                                                      \
			   NOTHING) x(kmem_cache, cache = kmem_cache_create("inject", 700, 0),                \
				      kmem_cache_alloc(cache, __GFP_ZERO),                                    \
				      kmem_cache_free(cache, p),                                              \
				      kmem_cache_destroy(cache)) x(kmalloc_8, NOTHING,                        \
								   kmalloc(8, GFP_KERNEL),                    \
								   kfree(p), NOTHING)                         \
		x(kmalloc_2048, NOTHING, kmalloc(2048, GFP_KERNEL), kfree(p),                                 \
		  NOTHING) x(kmalloc_64K, NOTHING, kzalloc(64 * KiB, GFP_KERNEL), kfree(p),                   \
			     NOTHING) x(krealloc, fill_base(kmalloc(100, GFP_KERNEL), 100),                   \
					kept(krealloc(base, 9000, GFP_KERNEL), 100), kfree(p),                \
					NOTHING) x(vmalloc_1, NOTHING, vmalloc(1), vfree(p),                  \
						   NOTHING) x(vmalloc_20, NOTHING,                            \
							      vmalloc(20 * PAGE_SIZE), vfree(p),              \
							      NOTHING) x(vzalloc_70, NOTHING,                 \
									 vzalloc(70 * PAGE_SIZE),             \
									 vfree(p), NOTHING)                   \
			x(vcalloc, NOTHING, vcalloc(3, PAGE_SIZE), vfree(p), NOTHING) x(                      \
				vmalloc_range, NOTHING,                                                       \
				__vmalloc_range(                                                              \
					3 * PAGE_SIZE, GiB,                                                   \
					VMALLOC_START, VMALLOC_END, GFP_KERNEL,                               \
					PAGE_KERNEL_ROX, 0),                                                  \
				vfree(p),                                                                     \
				NOTHING) x(vmalloc_huge,                                                      \
					   NOTHING, vmalloc_huge(HUGE + 5 * PAGE_SIZE, GFP_KERNEL),           \
					   vfree(p),                                                          \
					   NOTHING)                                                           \
				x(vrealloc, fill_base(vmalloc(3 * PAGE_SIZE), 3 * PAGE_SIZE),                 \
				  kept(vrealloc(base, 30 * PAGE_SIZE, GFP_KERNEL), 3 * PAGE_SIZE),            \
				  vfree(p), NOTHING) x(kvmalloc, NOTHING,                                     \
						       kvmalloc(30 * PAGE_SIZE, GFP_KERNEL),                  \
						       kvfree(p), NOTHING)                                    \
					x(kvcalloc, NOTHING, kvcalloc(7, PAGE_SIZE, GFP_KERNEL),              \
					  kvfree(p),                                                          \
					  NOTHING) x(vmap, take_pages(),                                      \
						     vmap(pages, NR_PAGES, PAGE_KERNEL_RO),                   \
						     vunmap(p),                                               \
						     give_pages()) x(vm_map_ram, take_pages(),                \
								     vm_map_ram(pages, NR_PAGES),             \
								     vm_unmap_ram(p, NR_PAGES),               \
								     give_pages())                            \
						x(vmap_put_pages, take_pages(),                               \
						  vmap_put_pages(pages, NR_PAGES), vfree(p),                  \
						  NOTHING) x(vmap_pfn, take_pages(),                          \
							     vmap_pfn(pfns, NR_PAGES,                         \
								      PAGE_KERNEL | PAGE_WC),                 \
							     vunmap(p),                                       \
							     give_pages()) x(ioremap, NOTHING,                \
									     ioremap(DEVICE,                  \
										     5 * PAGE_SIZE),          \
									     iounmap(p), NOTHING)             \
							x(ioremap_wc, NOTHING,                                \
							  ioremap_wc(DEVICE, PAGE_SIZE),                      \
							  iounmap(p),                                         \
							  NOTHING) x(kernel_stack, NOTHING,                   \
								     alloc_kernel_stack(16 * KiB),            \
								     free_kernel_stack(p),                    \
								     NOTHING)                                 \
								x(set_memory_x,                               \
								  fill_base(vmalloc(3 * PAGE_SIZE),           \
									    3 * PAGE_SIZE),                   \
								  worked(set_memory_ro((vaddr_t)base, 3) ?:   \
										 set_memory_x(                \
											 (vaddr_t)            \
												 base,        \
											 3)),                 \
								  NOTHING,                                    \
								  vfree(                                      \
									  base)) x(pt_map,                    \
										   take_root(),               \
										   worked(pt_map(             \
											   &pt,               \
											   VMALLOC_START +    \
												   GiB -      \
												   PAGE_SIZE, \
											   paddr(0),          \
											   2, PAGE_KERNEL)),  \
										   back_to_root(),            \
										   give_root())               \
									x(pt_populate,                        \
									  take_root(),                        \
									  worked(pt_populate(                 \
										  &pt,                        \
										  VMALLOC_START,              \
										  1024)),                     \
									  pt_prune(                           \
										  &pt,                        \
										  VMALLOC_START,              \
										  1024,                       \
										  VMALLOC_START &             \
											  -(1ul               \
											    << 57),           \
										  0, put_table),              \
									  give_root())

static void back_to_root(void)
{
	vaddr_t va = VMALLOC_START + GiB - PAGE_SIZE;

	if (pt_protect(&pt, va, 2, PAGE_NONE))
		test_fail(__FILE__, __LINE__, "unmapping two pages", "failed");
	pt_prune(&pt, va, 2, VMALLOC_START & -(1ul << 57), 0, put_table);
}

struct call {
	const char *name;
	void (*before)(void);
	void *(*get)(void);
	void (*put)(void *p);
	void (*after)(void);
};

#define FUNCTIONS(name, before, get, put, after) \
	static void before_##name(void)          \
	{                                        \
		before;                          \
	}                                        \
	static void *get_##name(void)            \
	{                                        \
		return get;                      \
	}                                        \
	static void put_##name(void *p)          \
	{                                        \
		(void)p;                         \
		put;                             \
	}                                        \
	static void after_##name(void)           \
	{                                        \
		after;                           \
	}
CALLS(FUNCTIONS)

#define ROW(name, ...) { #name, before_##name, get_##name, put_##name, after_##name },
static const struct call calls[] = { CALLS(ROW) };

/* What nobody may have more or less of afterwards; mm_check() has the rest. */
struct held {
	u64 frames, areas, addresses;
};

static struct held held(void)
{
	struct vmalloc_stats window;
	struct page_stats frames;

	vm_unmap_aliases();
	kmem_cache_shrink_all();
	page_stats(&frames);
	vmalloc_stats(&window);
	return (struct held){ frames.total - frames.free - frames.state[PG_SLAB] -
				      frames.state[PG_TABLE],
			      window.areas, window.free };
}

/* One run, under that order. Returns how many requests it failed. */
static u64 run(const struct call *call, struct inject_order order)
{
	struct held was = held(), is;
	u64 struck;
	void *p;

	call->before();
	held();
	inject(order);
	p = call->get();
	struck = inject((struct inject_order){ 0 });
	if (!p && (!struck || !(p = call->get())))
		test_fail(__FILE__, __LINE__, call->name, "failed without need, request %lu",
			  order.nth);
	if (mm_check(printk_line))
		test_fail(__FILE__, __LINE__, call->name, "left mm/ unsound, request %lu",
			  order.nth);
	if (p) {
		inject((struct inject_order){ .nth = 1, .and_after = true });
		call->put(p);
		if (inject((struct inject_order){ 0 }))
			test_fail(__FILE__, __LINE__, call->name, "its way back asks for memory");
	}
	call->after();
	is = held();
	if (memcmp(&was, &is, sizeof(is)))
		test_fail(__FILE__, __LINE__, call->name,
			  "leaks, request %lu: %ld frames, %ld areas, %ld addresses", order.nth,
			  is.frames - was.frames, is.areas - was.areas,
			  was.addresses - is.addresses);
	return struck;
}

/* Where no block of 2 MiB is left, a huge area asks for 500 single frames: not for each of those. */
static u64 next(u64 n)
{
	return n + (n < 150 ? 1 : 37);
}

TEST(inject, every_request_of_every_call)
{
	u64 points = 0, asked = 0, met;

	if (!CHECKING)
		SKIP("fault injection needs a checking build");
	for (u64 i = 0; i < ARRAY_SIZE(calls) && !test_failed(); i++) {
		met = 0;
		for (u64 n = 1; run(&calls[i], (struct inject_order){ .nth = n }); n = next(n)) {
			run(&calls[i], (struct inject_order){ .nth = n, .and_after = true });
			if (test_failed())
				return;
			met++;
		}
		asked += met != 0;
		points += met;
	}
	EXPECT(asked > ARRAY_SIZE(calls) - 2); /* set_memory_x may find the direct map split */
	printk("# %lu calls of mm/, %lu requests of theirs failed, alone and with all after: %lu runs\n",
	       ARRAY_SIZE(calls), points, 2 * points);
}

/* What is made once: a window, and a CPU's stock. */
TEST(inject, nothing_half_made)
{
	struct vmwindow window;

	if (!CHECKING)
		SKIP("fault injection needs a checking build");
	inject((struct inject_order){ .nth = 1 });
	EXPECT_EQ(vmwindow_init(&window, VMALLOC_START, VMALLOC_END), -ENOMEM);
	for (u64 n = 1; n <= 2; n++) {
		inject((struct inject_order){ .nth = n });
		EXPECT_EQ(stock_init(NR_CPUS - 1), -ENOMEM);
	}
	inject((struct inject_order){ 0 });
}

/* A CPU for which there was no memory may be tried again; what it has by then is not taken anew. */
TEST(inject, a_cpu_is_tried_again)
{
	u32 cpu = NR_CPUS - 1;

	EXPECT_EQ(mm_cpu_init(0), 0); /* it has all: nothing happens */
	if (!CHECKING || vm_stocks[cpu])
		SKIP("needs fault injection, and a CPU that is not there");
	for (u64 n = 1; n <= 2; n++)
		for (int again = 0; again < 3; again++) {
			inject((struct inject_order){ .nth = n });
			EXPECT_EQ(mm_cpu_init(cpu), -ENOMEM);
			EXPECT_EQ(inject((struct inject_order){ 0 }), 1);
		}
	EXPECT(magazines[cpu] && !vm_stocks[cpu]);
	free_pages(magazines[cpu], 3);
	magazines[cpu] = NULL;
}

TEST(inject, at_random)
{
	u64 struck = 0, runs = 300;

	if (!CHECKING)
		SKIP("fault injection needs a checking build");
	for (u64 i = 0; i < runs && !test_failed(); i++)
		struck += run(&calls[test_random() % ARRAY_SIZE(calls)],
			      (struct inject_order){ .one_in = 1 + test_random() % 40,
						     .seed = test_random() | 1 });
	EXPECT(test_failed() || struck > runs / 4);
	printk("# %lu runs, %lu requests failed at random\n", runs, struck);
}
