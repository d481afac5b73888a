/*
 * words.h - the kernel's command line: words, parsed once. docs/kernel-words.md lists them all.
 */
#pragma once

#include <kernel/types.h>
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

/*
 * Parse line into *words (all defaults first). A bad word has no effect and is told to complain(),
 * with what would have been right. Returns how many were bad.
 */
unsigned words_parse(const char *line, struct words *words, complain_fn complain);

/*
 * For "did you mean": true if name is nearer to the word than all before it. *least is how long the
 * stretch is in which the nearest one differs; 0: it is the word itself.
 */
#define NEARER_NONE 3 /* what *least begins as: more than two letters are no typing error */
bool nearer_word(const char *word, const char *name, unsigned *least);

/* Cut the next word off *line, between separators; NULL: there is none. As C's strtok_r. */
char *next_word(char **line, const char *separators);

/* What the machine was started with. */
extern struct words words;
