/*
 * printk_test.c - formats, against what C99 7.19.6.1 says of them, and the numbers people type.
 */
#include <kernel/printk.h>
#include <kernel/string.h>

#include "../test.h"

/* The compiler knows snprintf, and would tell us of what we do wrong on purpose. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

/* One format with its arguments, and what must come out. */
#define SAYS(expected, ...)                                                             \
	do {                                                                            \
		char out_[128];                                                         \
		int length_ = snprintf(out_, sizeof(out_), __VA_ARGS__);                \
		if (strcmp(out_, expected) != 0 || length_ != (int)strlen(expected)) {  \
			test_fail(__FILE__, __LINE__, #__VA_ARGS__, "gave '%s'", out_); \
			return;                                                         \
		}                                                                       \
	} while (0)

TEST(printk, numbers)
{
	SAYS("0 -1 2147483647", "%d %d %d", 0, -1, 2147483647);
	SAYS("-9223372036854775808", "%ld", (long)(1ul << 63));
	SAYS("18446744073709551615 ffffffff", "%lu %x", ~0ul, ~0u);
	SAYS("4294967295 18446744073709551615", "%u %zu", ~0u, (size_t)-1);
	SAYS("ffffc90000001000", "%lx", 0xffffc90000001000ul);
	SAYS("1234567890123", "%llu", 1234567890123ull);
	SAYS("+5 -5 +0", "%+d %+ld %+d", 5, -5l, 0);
}

TEST(printk, widths)
{
	SAYS("    7|7    |00007|-0007", "%5d|%-5d|%05d|%05d", 7, 7, 7, -7);
	SAYS("   +7|0", "%+5d|%0d", 7, 0);
	SAYS("0x00000000deadbeef", "0x%016lx", 0xdeadbeeful);
	SAYS("   ab|ab   |ab", "%5s|%-5s|%.2s", "ab", "ab", "abcd");
	SAYS("12345 12345", "%2d %.2d", 12345, 12345);
	SAYS("    0000000000000000000000000000000000000007", "%044d", 7); /* 40 at most */
	SAYS("|ab  |ab", "%.0s|%-4.2s|%.10s", "ab", "abcd", "ab");
	SAYS("100% x", "100%% %c", 'x');
}

TEST(printk, cuts_and_counts)
{
	char out[8] = "1234567";
	const char *volatile nothing = NULL;
	volatile size_t room = 4;

	EXPECT_EQ(snprintf(out, room, "%s", "abcdef"), 6);
	EXPECT_EQ(strcmp(out, "abc"), 0);
	EXPECT_EQ(out[4], '5'); /* behind the end nothing was written */
	room = 1;
	EXPECT_EQ(snprintf(out, room, "%d", 12345), 5);
	EXPECT_EQ(out[0], 0);
	EXPECT_EQ(snprintf(NULL, room = 0, "%s", "abc"), 3);
	SAYS("(null)", "%s", nothing);
}

/* What is no format comes out as it stands, and the rest of the line with it. */
TEST(printk, unknown_formats)
{
	const char *volatile fmt = "%y 50%";

	SAYS("%y 50%", fmt, 0);
}

TEST(printk, parse_size)
{
	static const struct {
		const char *text;
		u64 bytes;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "0x1000", 4096 },
		{ "0XfF", 255 },
		{ "64K", 64 * KiB },
		{ "2m", 2 * MiB },
		{ "1G", GiB },
		{ "3T", 3 * TiB },
		{ "15E", 15ul << 60 },
		{ "18446744073709551615", ~0ul },
		{ "0xffffffffffffffff", ~0ul },
	};
	static const char *const bad[] = { "",
					   "K",
					   "-1",
					   "+1",
					   "64KB",
					   "64Q",
					   "1.5G",
					   " 1",
					   "1 ",
					   "0x",
					   "0x10K",
					   "0x0x1",
					   "x1",
					   "12a",
					   "16E",
					   "18446744073709551616",
					   "0x10000000000000000",
					   "99999999999999999999999" };
	u64 bytes;

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT(parse_number(good[i].text, 10, &bytes));
		EXPECT_EQ(bytes, good[i].bytes);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_number(bad[i], 10, &bytes))
			test_fail(__FILE__, __LINE__, bad[i], "was taken for 0x%lx", bytes);
}

TEST(printk, parse_hex)
{
	u64 value;

	EXPECT(parse_number("ffffc90000001000", 16, &value));
	EXPECT_EQ(value, 0xffffc90000001000);
	EXPECT(parse_number("0xB", 16, &value));
	EXPECT_EQ(value, 11);
	EXPECT(!parse_number("", 16, &value) && !parse_number("0x", 16, &value) &&
	       !parse_number("12g", 16, &value));
	EXPECT(!parse_number("-1", 16, &value) && !parse_number("@", 16, &value) &&
	       !parse_number("\x10", 16, &value));
	EXPECT(!parse_number("10000000000000000", 16, &value) && !parse_number("1K", 16, &value));
}

TEST(printk, size_text)
{
	static const struct {
		u64 bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ KiB, "1 KiB" },
		{ KiB + 1, "1025 B" },
		{ 64 * KiB, "64 KiB" },
		{ 64 * KiB + 1, "64 KiB" },
		{ 3 * GiB / 2, "1536 MiB" },
		{ 100 * MiB + 1, "100 MiB" },
		{ MiB - 1, "1 MiB" },
		{ 32 * TiB, "32 TiB" },
		{ 12800 * TiB, "12800 TiB" },
		{ ~0ul, "16 EiB" },
	};
	char out[SIZE_TEXT];

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		SAYS(cases[i].text, "%s", size_text(out, cases[i].bytes));
		EXPECT(strlen(out) <= 9);
	}
}
