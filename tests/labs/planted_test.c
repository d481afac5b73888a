/* Tests that go wrong in every way there is, for test_grade.py: it puts this file into a copy of the tree. */
#include <asm/x86.h>
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <mm/page_alloc.h>
#include <mm/vmalloc.h>

#include "../test.h"

static noinline void spin_here(void *unused)
{
	(void)unused;
	for (;;)
		asm volatile("");
}

static void nothing(void *unused)
{
	(void)unused;
}

static void panic_here(void *unused)
{
	(void)unused;
	panic("on another CPU");
}

COMMAND(spoil, "", "for a test", alloc_pages(GFP_KERNEL, 0)->order = MAX_ORDER + 1);

static bool spoiled;

TEST(planted, a_passes)
{
	spoiled = true;
	EXPECT(true);
}

TEST(planted, b_expects)
{
	int seven = 7;

	EXPECT_EQ(seven, 8);
}

TEST(planted, c_panics)
{
	panic("planted: %d\n  and more of it", 7);
}

TEST(planted, d_panics_elsewhere)
{
	run_on_cpu(1, panic_here, NULL);
}

TEST(planted, e_loops)
{
	spin_here(NULL);
}

TEST(planted, f_loops_with_interrupts_masked)
{
	irq_save();
	spin_here(NULL);
}

TEST(planted, g_loops_elsewhere)
{
	run_on_cpu(1, spin_here, NULL);
}

TEST(planted, h_sleeps_for_ever)
{
	asm volatile("cli; hlt");
}

TEST(planted, i_triple_faults)
{
	static const u16 no_idt[5];

	asm volatile("lidt %0; int3" ::"m"(no_idt));
}

TEST(planted, j_switches_off)
{
	machine_exit(0);
}

TEST(planted, k_overruns_the_stack)
{
	char *p = __builtin_frame_address(0);

	memset(p - 64, 0x5a, 4096);
}

TEST(planted, l_leaks)
{
	EXPECT(alloc_pages(GFP_KERNEL, 0));
}

TEST(planted, m_reads_null)
{
	EXPECT(*(volatile char *)NULL == 0);
}

TEST(planted, n_floods)
{
	for (;;)
		printk("ok 1 planted/n_floods\n");
}

TEST(planted, o_skips)
{
	SKIP("for no reason");
}

TEST(planted, p_does_not_panic)
{
	EXPECT_PANIC(nothing, NULL, "not here");
}

TEST(planted, q_passes)
{
	char *p = vmalloc(PAGE_SIZE);

	EXPECT(p);
	vfree(p);
}

/* Passes, but leaves the machine without write protection: that is seen only from outside. */
TEST(planted, r_switches_protection_off)
{
	WRITE_CR(0, READ_CR(0) & ~(1ul << 16));
}

TEST(planted, t_spoils)
{
	for (int i = 0; i < 40; i++)
		alloc_pages(GFP_KERNEL, 0)->order = MAX_ORDER + 1;
	spoiled = true;
	EXPECT(false);
}

TEST(planted, u_was_not_spoiled)
{
	EXPECT(!spoiled);
}

/* Races: who of four CPUs comes first to what. Its message says so; only a machine that is the same each time says the same. */
static u64 order, arrived;

static void arrive(void *unused)
{
	(void)unused;
	for (int i = 0; i < 1000; i++) {
		u64 turn = __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);

		order = order * 31 + turn * cpu_id();
	}
}

TEST(planted, s_races)
{
	order = arrived = 0;
	run_on_cpus(nr_cpus(), arrive, NULL);
	EXPECT_EQ(order, 0);
}
