/*
 * size.c - numbers as people type them, against a second reading that goes from the other end.
 */
#include <string.h>

#include <kernel/printk.h>

#include "fuzz.h"

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 :
				      99;
}

/* From the last digit to the first, each worth base times the one behind it. */
bool model_number(const char *text, unsigned base, u64 *value)
{
	unsigned __int128 sum = 0, worth = 1, limit = (unsigned __int128)1 << 64;
	size_t length;
	char *unit;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		text += 2;
		base = 16;
	}
	length = strlen(text);
	if (base == 10 && length > 1 && (unit = strchr("KMGTPEkmgtpe", text[length - 1]))) {
		worth <<= 10 * ((unit - "KMGTPEkmgtpe") % 6 + 1);
		length--;
	}
	if (!length)
		return false;
	while (length--) {
		int d = digit(text[length]);

		if (d >= (int)base || (d && worth >= limit))
			return false;
		sum += worth * d;
		if (sum >= limit)
			return false;
		worth = worth >= limit ? limit : worth * base;
	}
	*value = sum;
	return true;
}

/* A byte below 0x80 stands for a character, one above for something that is often met. */
static void run(struct bytes *in)
{
	static const char *const often[] = { "0x",
					     "0X",
					     "0",
					     "00",
					     "k",
					     "K",
					     "m",
					     "G",
					     "T",
					     "P",
					     "e",
					     "E",
					     "ff",
					     "-",
					     "+",
					     " ",
					     "18446744073709551615",
					     "18446744073709551616",
					     "ffffffffffffffff",
					     "16777216",
					     "17179869184",
					     "15",
					     "1",
					     "9" };
	char text[256];

	while (operation(in)) {
		u64 mine = 0, theirs = 0, n = 0;
		unsigned base = byte(in) & 1 ? 16 : 10;
		bool ok;
		u8 c;

		while (n < 100 && left(in) && (c = byte(in)) != '\n' && c)
			if (c < 0x80)
				text[n++] = c;
			else
				n += strlen(strcpy(text + n, often[c % ARRAY_SIZE(often)]));
		text[n] = '\0';
		ok = model_number(text, base, &mine);
		if (parse_number(text, base, &theirs) != ok || (ok && mine != theirs))
			fuzz_fail(__FILE__, __LINE__, "'%s', base %u: %d, 0x%lx, not 0x%lx", text,
				  base, ok, mine, theirs);
	}
}

FUZZ_TARGET(size, NULL, run);
