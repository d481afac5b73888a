/*
 * words.c - the kernel's command line.
 *
 * One table says of each word what kind of value it takes and where that goes; the complaints quote
 * it. A bad word never stops the boot: it keeps its default and is named, with what would have
 * been right. docs/kernel-words.md is the same table for people.
 */
#include <kernel/printk.h>
#include <kernel/string.h>
#include <kernel/words.h>

struct words words;

static const struct known {
	const char *name;
	enum { WORK, FLAG, NUMBER, CHOICE } kind;
	const char *accepts; /* CHOICE: the values, of which the index is kept */
	size_t offset;	     /* of what it sets in struct words */
	u64 least;	     /* NUMBER: the smallest; WORK: 1 if it takes a value */
} known[] = {
	{ "tour", WORK, "stands alone, as one of 8 works at most", 0, 0 },
	{ "test", WORK, "takes a part of a test's name, or nothing; one of 8 works at most", 0, 1 },
	{ "bench", WORK, "stands alone, as one of 8 works at most", 0, 0 },
	{ "exit", FLAG, "stands alone", offsetof(struct words, exit), 0 },
	{ "seed", NUMBER, "takes a number", offsetof(struct words, seed), 0 },
	{ "vmalloc", NUMBER, "takes a size of at least 16K",
	  offsetof(struct words, mm.vmalloc_bytes), 16 * KiB },
	{ "mem", NUMBER, "takes a size of at least 4M", offsetof(struct words, mm.mem_bytes),
	  4 * MiB },
	{ "tlb", CHOICE, "lazy|eager", offsetof(struct words, mm.tlb), 0 },
	{ "shuffle", NUMBER, "takes a number", offsetof(struct words, mm.shuffle_seed), 0 },
	{ "la57", CHOICE, "on|off", offsetof(struct words, la57_off), 0 },
	{ "records", CHOICE, "com2|com1|off", offsetof(struct words, records), 0 },
	{ "color", CHOICE, "0|1", offsetof(struct words, color), 0 },
};

/* Edits (one character more, less or other) from a to b; limit + 1 if that many are not enough. */
static unsigned edits(const char *a, const char *b, unsigned limit)
{
	unsigned best = limit;

	for (; *a && *a == *b; a++)
		b++;
	if (!*a && !*b)
		return 0;
	if (limit && *a)
		best = MIN(best, edits(a + 1, b, limit - 1));
	if (limit && *b)
		best = MIN(best, edits(a, b + 1, limit - 1));
	if (limit && *a && *b)
		best = MIN(best, edits(a + 1, b + 1, limit - 1));
	return best + 1;
}

bool nearer_word(const char *word, const char *name, unsigned *least)
{
	unsigned n = edits(word, name, 2);

	if (n >= *least || n >= strlen(word)) /* to change every letter is no typing error */
		return false;
	*least = n;
	return true;
}

/* The index of value among choices, "a|b|c"; -1: it is none of them. */
static int choose(const char *value, const char *choices)
{
	for (int i = 0;; i++) {
		size_t length = 0;

		for (; choices[length] && choices[length] != '|'; length++)
			;
		if (strlen(value) == length && strncmp(value, choices, length) == 0)
			return i;
		if (!choices[length])
			return -1;
		choices += length + 1;
	}
}

/* value is NULL where there is no =. False if it is bad: then nothing has changed. */
static bool set(struct words *w, const struct known *k, const char *value)
{
	void *field = (char *)w + k->offset;
	u64 number;
	int chosen;

	if (!value && k->kind >= NUMBER)
		return false;
	switch (k->kind) {
	case WORK:
		if (w->nr_work == WORK_MAX ||
		    (value && (!k->least || strlen(value) > WORK_TEXT - 8)))
			return false;
		snprintf(w->work[w->nr_work++], WORK_TEXT, "%s %s", k->name, value ? value : "");
		return true;
	case FLAG:
		*(bool *)field |= !value;
		return !value;
	case NUMBER:
		if (!parse_size(value, &number) || number < k->least)
			return false;
		*(u64 *)field = number;
		return true;
	case CHOICE:
		chosen = choose(value, k->accepts);
		if (chosen >= 0)
			*(unsigned *)field = chosen;
		return chosen >= 0;
	}
	return false;
}

/* One word, as it stands on the line. False if it is bad. */
static bool parse_word(struct words *w, const char *word, complain_fn complain)
{
	const char *equals = strchr(word, '=');
	const struct known *best = NULL;
	unsigned least = NEARER_NONE;
	char name[16];

	strlcpy(name, word, equals ? MIN((size_t)(equals - word) + 1, sizeof(name)) : sizeof(name));
	for (const struct known *k = known; k < known + ARRAY_SIZE(known); k++)
		if (nearer_word(name, k->name, &least))
			best = k;
	if (least == 0 && set(w, best, equals ? equals + 1 : NULL))
		return true;
	if (least == 0)
		complain("kernel word '%s' has no effect: %s %s%s", word, best->name,
			 best->kind == CHOICE ? "takes " : "", best->accepts);
	else if (best)
		complain("kernel word '%s' is unknown: did you mean %s?", word, best->name);
	else
		complain("kernel word '%s' is unknown; docs/kernel-words.md has them all", word);
	return false;
}

unsigned words_parse(const char *line, struct words *w, complain_fn complain)
{
	char word[128];
	unsigned bad = 0;

	*w = (struct words){ 0 };
	while (*line) {
		size_t length = 0;

		while (line[length] && line[length] != ' ' && line[length] != '\t')
			length++;
		strlcpy(word, line, MIN(length + 1, sizeof(word)));
		if (length)
			bad += !parse_word(w, word, complain);
		line += length + (line[length] != '\0');
	}
	return bad;
}
