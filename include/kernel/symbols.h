/* symbols.h - names of code addresses, from a table that the build links in. */
#pragma once

#include <kernel/types.h>

/* "name+0x41", or "0x…" if unknown. Returns out. */
#define SYMBOL_TEXT 80
const char *symbol_text(char out[SYMBOL_TEXT], vaddr_t code);
