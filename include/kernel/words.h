/* words.h - the kernel's command line: words, parsed once. docs/kernel-words.md lists them all. */
#pragma once

#include <mm/mm.h>

enum records_to { RECORDS_COM2, RECORDS_COM1, RECORDS_OFF };

struct words {
	char work[1024]; /* the monitor's commands, a line each, in the order given */
	bool exit;	 /* power off after the last work */
	unsigned color, la57_off;
	enum records_to records;
	u64 seed;	      /* for test order and the like; 0: none given */
	struct mm_options mm; /* vmalloc=, mem=, shuffle=, tlb= */
};

/* Defaults, then line's words; bad ones only go to complain(), with what is right. How many. */
unsigned words_parse(const char *line, struct words *words, complain_fn complain);

/* "Did you mean": is name nearer to word than any before? *least: length that differs; 0: equal. */
#define NEARER_NONE 3 /* what *least begins as: more than two letters are no typing error */
bool nearer_word(const char *word, const char *name, unsigned *least);

/* Cut the next word off *line, between separators; NULL: there is none. As C's strtok_r. */
char *next_word(char **line, const char *separators);

extern struct words words; /* what the machine was started with */
