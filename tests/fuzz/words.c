/*
 * words.c - the kernel's command line, against a second reading of docs/kernel-words.md.
 *
 * One word after the other is looked at: what it sets is set, or it is bad, which must be told once
 * for each, by its name. A word that kernel/words.c learns has to be learnt here, too.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <kernel/words.h>

#include "fuzz.h"

static char bad[600][1024]; /* the words that are told of */
static unsigned nr_bad, nr_told;

static void printf_like(1, 2) tell(const char *fmt, ...)
{
	char text[2048], word[1100];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	snprintf(word, sizeof(word), "kernel word '%s' has no effect: did you mean ", bad[nr_told]);
	EXPECT(nr_told < nr_bad && strstr(text, word) == text && strlen(text) > strlen(word));
	nr_told++;
}

/* A word that the monitor takes as a command; with = a value follows. */
static bool work(struct words *w, const char *word)
{
	static const char *const names[] = { "tour", "bench", "test", "stress", "test=", "stress=" };
	u64 used = strlen(w->work);

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i]);

		if (strncmp(word, names[i], n) || (word[n] && i < 4))
			continue;
		snprintf(w->work + used, sizeof(w->work) - used, "%s%s%s\n",
			 names[i < 4 ? i : i - 2], i < 4 ? "" : " ", word + n);
		return true;
	}
	return false;
}

static bool number(const char *word, const char *name, u64 least, u64 *field)
{
	size_t n = strlen(name);
	u64 value;

	if (strncmp(word, name, n) || !model_number(word + n, 10, &value) || value < least)
		return false;
	*field = value;
	return true;
}

static bool choice(const char *word, const char *name, const char *first, const char *second,
		   const char *third, unsigned *field)
{
	size_t n = strlen(name);
	const char *value = word + n;
	bool match = !strncmp(word, name, n);

	if (match && !strcmp(value, first))
		*field = 0;
	else if (match && !strcmp(value, second))
		*field = 1;
	else if (match && third && !strcmp(value, third))
		*field = 2;
	else
		return false;
	return true;
}

static bool set(struct words *w, const char *word)
{
	if (!strcmp(word, "exit"))
		return w->exit = true;
	return work(w, word) || number(word, "seed=", 0, &w->seed) ||
	       number(word, "shuffle=", 0, &w->mm.shuffle_seed) ||
	       number(word, "vmalloc=", 16 * KiB, &w->mm.vmalloc_bytes) ||
	       number(word, "mem=", 4 * MiB, &w->mm.mem_bytes) ||
	       choice(word, "tlb=", "lazy", "eager", NULL, &w->mm.tlb) ||
	       choice(word, "la57=", "on", "off", NULL, &w->la57_off) ||
	       choice(word, "records=", "com2", "com1", "off", &w->records) ||
	       choice(word, "color=", "0", "1", NULL, &w->color);
}

static void model(const char *line, struct words *w)
{
	char copy[1024];

	memset(w, 0, sizeof(*w));
	nr_bad = nr_told = 0;
	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " \t\n"); word; word = strtok(NULL, " \t\n"))
		if (!set(w, word))
			strcpy(bad[nr_bad++], word);
}

/* A byte below 0x80 stands for a character, one above for something that is often met. */
static void run(struct bytes *in)
{
	static const char *const often[] = { "tour ",
					     "test=",
					     "test ",
					     "bench",
					     "stress=",
					     "stress ",
					     "exit ",
					     "seed=",
					     "shuffle=",
					     "vmalloc=",
					     "mem=",
					     "tlb=",
					     "la57=",
					     "records=",
					     "color=",
					     "lazy ",
					     "eager ",
					     "on ",
					     "off ",
					     "com1 ",
					     "com2 ",
					     "0 ",
					     "1 ",
					     "16K ",
					     "0x10 ",
					     "4M ",
					     "18446744073709551616 ",
					     "exti ",
					     "mem",
					     "=",
					     " ",
					     "\t",
					     "\n",
					     "vmalloc=16383 ",
					     "mem=4194303 ",
					     "looooooooooooooooooooooong",
					     "records=off ",
					     "tlb=lazyy ",
					     "TOUR " };
	static struct words mine, theirs;
	char line[2000];
	u64 n = 0;

	while (left(in) && n < sizeof(line) - 32) {
		u8 c = byte(in);

		fuzz_operations += c >= 0x80; /* a word, or so */
		if (c >= 0x80)
			n += strlen(strcpy(line + n, often[c % ARRAY_SIZE(often)]));
		else if (c)
			line[n++] = c;
	}
	line[n] = '\0';
	fuzz_operations++;
	model(line, &mine);
	EXPECT_EQ(words_parse(line, &theirs, tell), nr_bad);
	EXPECT_EQ(nr_told, nr_bad);
	EXPECT(!strcmp(mine.work, theirs.work));
	EXPECT(mine.exit == theirs.exit && mine.color == theirs.color);
	EXPECT(mine.la57_off == theirs.la57_off && mine.records == theirs.records);
	EXPECT_EQ(mine.seed, theirs.seed);
	EXPECT_EQ(mine.mm.vmalloc_bytes, theirs.mm.vmalloc_bytes);
	EXPECT_EQ(mine.mm.mem_bytes, theirs.mm.mem_bytes);
	EXPECT_EQ(mine.mm.shuffle_seed, theirs.mm.shuffle_seed);
	EXPECT_EQ(mine.mm.tlb, theirs.mm.tlb);
}

FUZZ_TARGET(words, NULL, run);
