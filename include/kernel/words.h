/*
 * words.h - the kernel's command line: words, parsed once. docs/kernel-words.md lists them all.
 */
#pragma once

#include <kernel/types.h>
#include <mm/mm.h>

enum records_to { RECORDS_COM2, RECORDS_COM1, RECORDS_OFF };

#define WORK_MAX 8
#define WORK_TEXT 64

struct words {
	char work[WORK_MAX][WORK_TEXT]; /* commands, in the order given: "tour", "test vmalloc" */
	unsigned nr_work;
	bool exit; /* power off after the last work */
	unsigned color, la57_off;
	enum records_to records;
	u64 seed;	      /* for test order and the like; 0: none given */
	struct mm_options mm; /* vmalloc=, mem=, shuffle=, tlb= */
};

/*
 * Parse line into *words (all defaults first). A word that is unknown or has a bad value is
 * left at its default and told to complain(), with the nearest known word. Returns how many were bad.
 */
unsigned words_parse(const char *line, struct words *words, complain_fn complain);

/*
 * For "did you mean": true if name is nearer to the word than all before it, and at most 2 edits
 * (one character more, less or other) away. *least is the number of edits that the nearest one
 * needs; 0: it is the word itself.
 */
#define NEARER_NONE 3 /* what *least begins as */
bool nearer_word(const char *word, const char *name, unsigned *least);

/* What the machine was started with. */
extern struct words words;
