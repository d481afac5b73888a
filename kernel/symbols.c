/*
 * symbols.c - from a code address to a name.
 *
 * The build links the kernel twice: tools/symbols makes a table of the functions of the first
 * link, and the second, which moves no code, takes it in. Entries are sorted offsets from the base
 * of the image; a function is taken to reach up to the next one.
 *
 * A return address is not where somebody was but where he goes on, behind the call. If the call
 * never returns it may be its function's last instruction; what is behind it is the next function.
 */
#include <arch/mmu.h>
#include <kernel/printk.h>
#include <kernel/symbols.h>

extern const struct symbol {
	u32 offset; /* from address_map.image */
	u32 name;   /* where in symbol_names its name begins */
} symbol_table[];
extern const u32 symbol_count;
extern const char symbol_names[], __text_start[], __text_end[];

/* back: how many bytes before code to look. */
static const char *text(char out[SYMBOL_TEXT], vaddr_t code, unsigned back)
{
	u64 offset = code - back - address_map.image;
	u32 lo = 0, hi = symbol_count; /* the first entry beyond offset is in [lo, hi] */

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;

		if (symbol_table[mid].offset <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo && code > (vaddr_t)__text_start && code <= (vaddr_t)__text_end)
		snprintf(out, SYMBOL_TEXT, "%.60s+0x%lx", symbol_names + symbol_table[lo - 1].name,
			 offset + back - symbol_table[lo - 1].offset);
	else
		snprintf(out, SYMBOL_TEXT, "0x%lx", code);
	return out;
}

const char *symbol_text(char out[SYMBOL_TEXT], vaddr_t code)
{
	return text(out, code, 0);
}

const char *symbol_call_text(char out[SYMBOL_TEXT], vaddr_t code)
{
	return text(out, code, 1);
}
