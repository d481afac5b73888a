/*
 * symbols.c - from a code address to a name.
 *
 * The build links twice: tools/symbols makes a table of the functions of the first link, and the
 * second, which moves no code, takes it in. A function is taken to reach up to the next one.
 */
#include <arch/mmu.h>
#include <kernel/printk.h>

extern const struct symbol {
	u32 offset; /* from address_map.image */
	u32 name;   /* where in symbol_names its name begins */
} symbol_table[];
extern const u32 symbol_count;
extern const char symbol_names[], __text_start[], __text_end[];

const char *symbol_text(char out[SYMBOL_TEXT], const void *at)
{
	u64 code = (u64)at, offset = code - address_map.image;
	const struct symbol *end = symbol_table; /* the first entry beyond offset */

	while (end < symbol_table + symbol_count && end->offset <= offset)
		end++;
	if (end > symbol_table && code >= (vaddr_t)__text_start && code < (vaddr_t)__text_end)
		snprintf(out, SYMBOL_TEXT, "%.60s+0x%lx", symbol_names + end[-1].name,
			 offset - end[-1].offset);
	else
		snprintf(out, SYMBOL_TEXT, "0x%lx", code);
	return out;
}
