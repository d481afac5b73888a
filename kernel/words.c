/*
 * words.c - the kernel's command line.
 *
 * One table says what each word takes and where that goes; the complaints quote it. A bad word
 * never stops the boot: it keeps its default and is named, with what would have been right.
 */
#include <kernel/printk.h>
#include <kernel/words.h>

struct words words;

static const struct known {
	const char *name;  /* with = if a value follows */
	const char *takes; /* that value, for people; of a CHOICE all that there are, from 0 on */
	enum { WORK, FLAG, NUMBER, CHOICE } kind;
	size_t offset; /* of what it sets in struct words */
	u64 least;     /* NUMBER: the smallest */
} known[] = {
	{ "tour", "", WORK, 0, 0 },
	{ "test", "", WORK, 0, 0 },
	{ "test=", "PART of a test's name", WORK, 0, 0 },
	{ "bench", "", WORK, 0, 0 },
	{ "stress", "", WORK, 0, 0 },
	{ "stress=", "OPERATIONS, or SECONDS with an s behind", WORK, 0, 0 },
	{ "exit", "", FLAG, offsetof(struct words, exit), 0 },
	{ "seed=", "N, a number", NUMBER, offsetof(struct words, seed), 0 },
	{ "shuffle=", "N, a number", NUMBER, offsetof(struct words, mm.shuffle_seed), 0 },
	{ "vmalloc=", "SIZE from 16K up", NUMBER, offsetof(struct words, mm.vmalloc_bytes),
	  16 * KiB },
	{ "mem=", "SIZE from 4M up", NUMBER, offsetof(struct words, mm.mem_bytes), 4 * MiB },
	{ "tlb=", "lazy|eager", CHOICE, offsetof(struct words, mm.tlb), 0 },
	{ "la57=", "on|off", CHOICE, offsetof(struct words, la57_off), 0 },
	{ "records=", "com2|com1|off", CHOICE, offsetof(struct words, records), 0 },
	{ "color=", "0|1", CHOICE, offsetof(struct words, color), 0 },
};

char *next_word(char **line, const char *separators)
{
	char *word = *line;

	while (*word && strchr(separators, *word))
		word++;
	for (*line = word; !strchr(separators, **line); ++*line)
		; /* the NUL that ends separators is one, too */
	if (**line)
		*(*line)++ = '\0';
	return *word ? word : NULL;
}

bool nearer_word(const char *word, const char *name, unsigned *least)
{
	size_t n = strlen(word), m = strlen(name), limit = MIN(*least, n);

	for (; n && m && *word == *name; word++, name++, n--)
		m--;
	for (; n && m && word[n - 1] == name[m - 1]; n--)
		m--;
	if (MAX(n, m) >= limit) /* to change every letter is no typing error */
		return false;
	*least = MAX(n, m);
	return true;
}

/* word is k's name, with a value behind it if k takes one. False if that is bad: nothing is set. */
static bool set(struct words *w, const struct known *k, const char *word)
{
	char *work = w->work + strlen(w->work), choices[16], *rest = choices, *choice;
	const char *value = word + strlen(k->name);
	void *field = (char *)w + k->offset;
	u64 number = 0;

	switch (k->kind) {
	case WORK: /* as the monitor takes it: test=part is the command `test part` */
		snprintf(work, w->work + sizeof(w->work) - work, "%s\n", word);
		if (*k->takes)
			*strchr(work, '=') = ' ';
		return true;
	case FLAG:
		*(bool *)field = true;
		return true;
	case NUMBER:
		if (!parse_number(value, 10, &number) || number < k->least)
			return false;
		*(u64 *)field = number;
		return true;
	case CHOICE:
		strlcpy(choices, k->takes, sizeof(choices));
		for (; (choice = next_word(&rest, "|")); number++)
			if (strcmp(choice, value) == 0) {
				*(unsigned *)field = number;
				return true;
			}
	}
	return false;
}

unsigned words_parse(const char *line, struct words *w, complain_fn complain)
{
	char copy[sizeof(w->work)], *rest = copy, *word, *equals;
	unsigned bad = 0;

	*w = (struct words){ 0 };
	strlcpy(copy, line, sizeof(copy));
	while ((word = next_word(&rest, " \t\n"))) {
		const struct known *best = NULL;
		unsigned least = NEARER_NONE;
		char name[16]; /* with the = */

		equals = strchr(word, '=');
		strlcpy(name, word, equals ? MIN(equals - word + 2ul, sizeof(name)) : sizeof(name));
		for (const struct known *k = known; k < known + ARRAY_SIZE(known); k++)
			if (nearer_word(*k->takes ? name : word, k->name, &least))
				best = k;
		if (least == 0 && set(w, best, word))
			continue;
		complain("kernel word '%s' has no effect: did you mean %s%s?", word,
			 best ? best->name : "one of docs/kernel-words.md",
			 best ? best->takes : "");
		bad++;
	}
	return bad;
}
