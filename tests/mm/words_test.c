/*
 * words_test.c - the kernel's command line: every word, every kind of bad value, and who is told.
 */
#include <kernel/printk.h>
#include <kernel/string.h>
#include <kernel/words.h>

#include "../test.h"

static struct words parsed;
static char complaints[512];

static void printf_like(1, 2) complain(const char *fmt, ...)
{
	size_t used = strlen(complaints);
	va_list args;

	va_start(args, fmt);
	vsnprintf(complaints + used, sizeof(complaints) - used, fmt, args);
	va_end(args);
	strlcpy(complaints + strlen(complaints), "\n", sizeof(complaints) - strlen(complaints));
}

static unsigned parse(const char *line)
{
	complaints[0] = '\0';
	return words_parse(line, &parsed, complain);
}

TEST(words, defaults)
{
	static const struct words zero;

	EXPECT_EQ(parse(""), 0);
	EXPECT_EQ(strlen(parsed.work), 0);
	EXPECT_EQ(parsed.records, RECORDS_COM2);
	EXPECT_EQ(parsed.mm.tlb, TLB_LAZY);
	EXPECT_EQ(memcmp(&parsed, &zero, sizeof(zero)), 0);
	EXPECT_EQ(parse(" \t  "), 0);
	EXPECT_EQ(strlen(complaints), 0);
}

TEST(words, all_good)
{
	EXPECT_EQ(parse("tour  test=vmalloc/ bench\tseed=0x10 vmalloc=64M mem=1g tlb=eager "
			"shuffle=5 la57=off records=com1 color=1 exit"),
		  0);
	EXPECT_EQ(strlen(complaints), 0);
	EXPECT_EQ(strcmp(parsed.work, "tour\ntest vmalloc/\nbench\n"), 0);
	EXPECT_EQ(parsed.seed, 16);
	EXPECT_EQ(parsed.mm.vmalloc_bytes, 64 * MiB);
	EXPECT_EQ(parsed.mm.mem_bytes, GiB);
	EXPECT_EQ(parsed.mm.tlb, TLB_EAGER);
	EXPECT_EQ(parsed.mm.shuffle_seed, 5);
	EXPECT_EQ(parsed.records, RECORDS_COM1);
	EXPECT(parsed.la57_off && parsed.color && parsed.exit);
}

/* Each is refused with its name and what would be right, and the words around it count. */
TEST(words, bad_values)
{
	static const char *const bad[][2] = {
		{ "tour=1", "mean tour?" },
		{ "exit=", "mean exit?" },
		{ "seed", "seed=N, a number" },
		{ "seed=", "seed=N, a number" },
		{ "seed=-1", "seed=N, a number" },
		{ "vmalloc=0", "vmalloc=SIZE from 16K up" },
		{ "vmalloc=16383", "vmalloc=SIZE from 16K up" },
		{ "vmalloc=12Q", "vmalloc=SIZE from 16K up" },
		{ "mem=3M", "mem=SIZE from 4M up" },
		{ "mem=99999999T", "mem=SIZE from 4M up" },
		{ "tlb=lay", "tlb=lazy|eager" },
		{ "tlb=", "tlb=lazy|eager" },
		{ "tlb", "tlb=lazy|eager" },
		{ "shuffle=x", "shuffle=N, a number" },
		{ "la57=of", "la57=on|off" },
		{ "la57=on|off", "la57=on|off" },
		{ "records=com", "records=com2|com1|off" },
		{ "records=com2|com1", "records=com2|com1|off" },
		{ "color=yes", "color=0|1" },
	};
	char line[64];

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(line, sizeof(line), "seed=7 %s exit", bad[i][0]);
		EXPECT_EQ(parse(line), 1);
		if (!contains(complaints, bad[i][0]) || !contains(complaints, bad[i][1]))
			test_fail(__FILE__, __LINE__, bad[i][0], "is complained of like this:\n%s",
				  complaints);
		EXPECT_EQ(parsed.seed, 7);
		EXPECT(parsed.exit);
		EXPECT(!*parsed.work && !parsed.mm.vmalloc_bytes && !parsed.mm.mem_bytes &&
		       !parsed.mm.tlb && !parsed.mm.shuffle_seed && !parsed.la57_off &&
		       !parsed.records && !parsed.color);
	}
	EXPECT_EQ(parse("vmalloc=16K mem=4M la57=on"), 0);
}

TEST(words, unknown)
{
	EXPECT_EQ(parse("tuor exti seeed=4 smp=4"), 4);
	EXPECT(contains(complaints, "'tuor' has no effect: did you mean tour?"));
	EXPECT(contains(complaints, "'exti' has no effect: did you mean exit?"));
	EXPECT(contains(complaints, "'seeed=4' has no effect: did you mean seed=N, a number?"));
	EXPECT(contains(complaints, "'smp=4' has no effect: did you mean one of docs/"));
	EXPECT_EQ(parse("= a=b=c averyveryverylongwordthatnobodyknows"), 3);
}

/* The longest line, of one word or of as much work as there can be, and one that is longer. */
TEST(words, too_much)
{
	char line[sizeof(parsed.work) + 8];

	memset(line, 'x', sizeof(line));
	strlcpy(line + sizeof(parsed.work) - 6, " exit", 6);
	EXPECT_EQ(parse(line), 1);
	EXPECT(parsed.exit && !*parsed.work);
	memcpy(line, "test=", 5);
	EXPECT_EQ(parse(line), 0);
	EXPECT(parsed.exit && strlen(parsed.work) == sizeof(parsed.work) - 5);
	for (unsigned i = 0; i < sizeof(line); i += 8)
		memcpy(line + i, " test=a", 8);
	for (unsigned i = 7; i < sizeof(line) - 1; i += 8)
		line[i] = 'b';
	EXPECT_EQ(parse(line), 0);
	EXPECT_EQ(strlen(parsed.work), sizeof(parsed.work) - 1);
	EXPECT_EQ(parse("test=a test test=b=c"), 0);
	EXPECT_EQ(strcmp(parsed.work, "test a\ntest\ntest b=c\n"), 0);
}

TEST(words, next_word)
{
	char line[] = "  one two|three ", *rest = line;

	EXPECT_EQ(strcmp(next_word(&rest, " |"), "one"), 0);
	EXPECT_EQ(strcmp(next_word(&rest, " |"), "two"), 0);
	EXPECT_EQ(strcmp(next_word(&rest, " |"), "three"), 0);
	EXPECT(!next_word(&rest, " |"));
	EXPECT(!next_word(&rest, " |"));
}

static const char *nearest(const char *word)
{
	static const char *const names[] = { "vmalloc", "vmap", "vfree", "map", "ls" };
	unsigned least = NEARER_NONE;
	const char *best = "none";

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (nearer_word(word, names[i], &least))
			best = names[i];
	return best;
}

TEST(words, nearer)
{
	EXPECT_EQ(strcmp(nearest("vmaloc"), "vmalloc"), 0);
	EXPECT_EQ(strcmp(nearest("vamlloc"), "vmalloc"), 0);
	EXPECT_EQ(strcmp(nearest("map"), "map"), 0);
	EXPECT_EQ(strcmp(nearest("free"), "vfree"), 0);
	EXPECT_EQ(strcmp(nearest("vmalxxx"), "none"), 0);
	EXPECT_EQ(strcmp(nearest("xyz"), "none"), 0);
	EXPECT_EQ(strcmp(nearest(""), "none"), 0);
	EXPECT_EQ(strcmp(nearest("mp"), "map"), 0);
	EXPECT_EQ(strcmp(nearest("aq"), "none"), 0); /* all letters of it would have to change */
}
