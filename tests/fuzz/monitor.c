/*
 * monitor.c - the prompt: keys as bytes, a line as its editor leaves it, a command as that line says.
 *
 * Somebody types, a terminal shows, and a model that edits an array follows. Whenever the monitor
 * asks for the next key, the terminal's row must be the model's line with its cursor. After Enter the
 * right command must have run with the right arguments, or a message of the right kind be on the
 * screen. The commands here are our own and only remember how they were called.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kernel/monitor.h>
#include <kernel/words.h>
#include <sim.h>

#include "fuzz.h"

#define PROMPT "tessera> "
#define WIDTH 512

static struct bytes *keys;

/* What the command that ran was given. */
static struct call {
	const char *name;
	unsigned nr;
	u64 n[ARGS_MAX], numbers; /* numbers: a bit for each that is one */
	char text[ARGS_MAX][LENGTH_MAX + 1];
} got;

static u64 called(const char *name, unsigned nr, const u64 *n, char *const *text)
{
	got.name = name;
	got.nr = nr;
	memcpy(got.n, n, nr * sizeof(*n));
	for (unsigned i = 0; i < nr; i++)
		strcpy(got.text[i], text[i]);
	words.exit = !strcmp(name, "exit");
	return nr & 1;
}

#define RUN(name)                                                           \
	static u64 run_##name(unsigned nr, const u64 *n, char *const *text) \
	{                                                                   \
		return called(#name, nr, n, text);                          \
	}
RUN(areas);
RUN(exit);
RUN(fault);
RUN(map);
RUN(peek);
RUN(test);
RUN(vmalloc);
RUN(vmallocinfo);
RUN(vmap);

static const struct command table[] __attribute__((used, section("commands"))) = {
	{ "areas", "", "", run_areas },		{ "exit", "", "", run_exit },
	{ "fault", "r|w|x VA", "", run_fault }, { "map", "[VA] [LAST]", "", run_map },
	{ "peek", "VA [SIZE]", "", run_peek },	{ "test", "[part]", "", run_test },
	{ "vmalloc", "SIZE", "", run_vmalloc }, { "vmallocinfo", "", "", run_vmallocinfo },
	{ "vmap", "PA...", "", run_vmap },
};

/* The same as the model knows it: H a number in base 16, S a size, t any text; the last goes on. */
static const struct known {
	const char *name, *kinds;
	unsigned least, most;
} known[] = {
	{ "areas", "", 0, 0 },	  { "exit", "", 0, 0 },	       { "fault", "tH", 2, 2 },
	{ "map", "HH", 0, 2 },	  { "peek", "HS", 1, 2 },      { "test", "t", 0, 1 },
	{ "vmalloc", "S", 1, 1 }, { "vmallocinfo", "", 0, 0 }, { "vmap", "H", 1, 99 },
};

/* The terminal: the row the cursor is in, and all that was shown since the last key. */

static char row[WIDTH], shown[4 * WIDTH];
static unsigned column, escape, number; /* escape: how much of ESC [ we have seen */
static size_t nr_shown;

static void finish_escape(char c)
{
	escape = 0;
	if (c == 'K')
		memset(row + column, 0, WIDTH - column);
	else if (c == 'C')
		column = MIN(column + number, WIDTH - 1u);
	else
		fuzz_fail(__FILE__, __LINE__, "the terminal was sent ESC [ %u %c", number, c);
}

static void show(char c)
{
	if (nr_shown < sizeof(shown) - 1)
		shown[nr_shown++] = c;
	if (escape == 2 && c >= '0' && c <= '9') {
		number = number * 10 + c - '0';
	} else if (escape == 2) {
		finish_escape(c);
	} else if (escape == 1) {
		EXPECT_EQ(c, '[');
		escape = 2;
		number = 0;
	} else if (c == 27) {
		escape = 1;
	} else if (c == '\r') {
		column = 0;
	} else if (c == '\n') {
		memset(row, 0, WIDTH);
	} else {
		EXPECT(c >= ' ' && c < 0x7f);
		row[column] = c;
		column += column < WIDTH - 1;
	}
}

/* The model of the line */

static char line[LENGTH_MAX + 1], typed[LENGTH_MAX + 1], before[16][LENGTH_MAX + 1];
static unsigned cursor, recalled, nr_before; /* recalled: 0: the line being typed */
static struct call want;
static char message[128]; /* what must be shown; "": nothing of the sort */
static bool ended;

static void replace(unsigned from, unsigned to)
{
	memmove(line + from, line + to, strlen(line) + 1 - to);
	cursor = from;
}

static void put_in(char c)
{
	if (strlen(line) == LENGTH_MAX)
		return;
	memmove(line + cursor + 1, line + cursor, strlen(line) + 1 - cursor);
	line[cursor++] = c;
}

static void recall(unsigned nr)
{
	if (nr > nr_before)
		return;
	if (!recalled)
		strcpy(typed, line);
	strcpy(line, nr ? before[nr - 1] : typed);
	cursor = strlen(line);
	recalled = nr;
}

static void complete(void)
{
	const struct known *match = NULL;
	unsigned matches = 0;

	for (const struct known *k = known; k < known + ARRAY_SIZE(known); k++)
		if (!strncmp(k->name, line, cursor)) {
			match = k;
			matches++;
		}
	for (const char *c = matches == 1 ? match->name + cursor : ""; *c; c++)
		put_in(*c);
	if (matches == 1)
		put_in(' ');
}

/* What the words of the line say, in want and message. */
static void understand(void)
{
	char copy[LENGTH_MAX + 1], *word = strtok(strcpy(copy, line), " ");
	const struct known *k = known;
	size_t n;

	want.name = NULL;
	want.numbers = want.nr = 0;
	*message = '\0';
	if (!word)
		return;
	while (k < known + ARRAY_SIZE(known) && strcmp(k->name, word))
		k++;
	if (k == known + ARRAY_SIZE(known)) {
		snprintf(message, sizeof(message), "there is no command '%s'", word);
		return;
	}
	for (n = strlen(k->kinds); (word = strtok(NULL, " ")) && want.nr < k->most; want.nr++) {
		char kind = k->kinds[MIN(want.nr, n - 1)];

		strcpy(want.text[want.nr], word);
		want.numbers |= (u64)(kind != 't') << want.nr;
		if (kind != 't' && !model_number(word, kind == 'S' ? 10 : 16, &want.n[want.nr])) {
			snprintf(message, sizeof(message), "'%s' is no ", word);
			return;
		}
	}
	if (word || want.nr < k->least)
		snprintf(message, sizeof(message), "usage: %s ", k->name);
	else
		want.name = k->name;
}

static void enter(void)
{
	understand();
	if (strlen(line) == LENGTH_MAX) {
		want.name = NULL;
		strcpy(message, "ignored");
	}
	if (*line && (!nr_before || strcmp(line, before[0]))) {
		memmove(before[1], before[0], sizeof(before) - sizeof(before[0]));
		strcpy(before[0], line);
		nr_before += nr_before < ARRAY_SIZE(before);
	}
	*line = '\0';
	recalled = cursor = 0;
	ended = true;
}

static void key(char c)
{
	unsigned length = strlen(line), word = cursor;

	while (word && line[word - 1] == ' ')
		word--;
	while (word && line[word - 1] != ' ')
		word--;
	if (c >= ' ' && c < 0x7f)
		put_in(c);
	else if (c == '\r' || c == '\n')
		enter();
	else if (c == '\t')
		complete();
	else if (c == 'P' - 64)
		recall(recalled + 1);
	else if (c == 'N' - 64 && recalled)
		recall(recalled - 1);
	else if (c == 'A' - 64)
		cursor = 0;
	else if (c == 'E' - 64)
		cursor = length;
	else if (c == 'B' - 64)
		cursor -= cursor > 0;
	else if (c == 'F' - 64)
		cursor += cursor < length;
	else if (c == 'C' - 64 || c == 'U' - 64)
		replace(0, length);
	else if ((c == 'H' - 64 || c == 0x7f) && cursor)
		replace(cursor - 1, cursor);
	else if (c == 'D' - 64 && cursor < length)
		replace(cursor, cursor + 1);
	else if (c == 'W' - 64)
		replace(word, cursor);
}

/* A byte typed: a key, or a part of one. */
static void type(u8 c)
{
	static const char *const meant[] = { "AP", "BN", "CF", "DB", "HA", "FE" };
	static char sequence[3]; /* behind ESC, its first bytes */
	static unsigned nr;	 /* of these, and one for ESC; 0: not in one */

	if (!nr && c == 27) {
		nr = 1;
	} else if (!nr) {
		key(c < 0x80 ? c : 0);
	} else if (c && strchr("[O;0123456789", c)) {
		sequence[MIN(nr - 1, 2u)] = c;
		nr++;
	} else {
		if (c < ' ')
			key(c);
		else if (c == '~' && nr == 3 && strchr("1478", sequence[1]))
			key(strchr("17", sequence[1]) ? 'A' - 64 : 'E' - 64);
		else if (c == '~' && nr == 3 && sequence[1] == '3')
			key('D' - 64);
		for (unsigned i = 0; i < ARRAY_SIZE(meant); i++)
			if (c == meant[i][0])
				key(meant[i][1] - 64);
		nr = 0;
	}
}

/* The monitor waits for a key: has it done with the last ones what the model did? */
static void compare(void)
{
	char expected[WIDTH];

	shown[nr_shown] = '\0';
	if (ended) {
		EXPECT(!want.name == !got.name && (!want.name || !strcmp(want.name, got.name)));
		EXPECT_EQ(want.name ? want.nr : 0, got.nr);
		for (unsigned i = 0; i < got.nr; i++) {
			EXPECT(!strcmp(want.text[i], got.text[i]));
			EXPECT(!(want.numbers >> i & 1) || want.n[i] == got.n[i]);
		}
		EXPECT(strstr(shown, message));
		EXPECT(*message || !strchr(shown, '\'' /* of a complaint */));
	} else {
		EXPECT(!got.name);
	}
	if (words.exit)
		return;
	snprintf(expected, sizeof(expected), PROMPT "%s", line);
	if (strcmp(row, expected) || column != strlen(PROMPT) + cursor)
		fuzz_fail(__FILE__, __LINE__, "shown: '%s', at %u; expected '%s', at %lu", row,
			  column, expected, strlen(PROMPT) + cursor);
}

/* A byte of the input is a key, or, from 0xa0 up, something that is often typed. */
static int next_key(void)
{
	static const char *const often[] = { "\r",	 "vmap ",	"peek ",    "0x",
					     "fault r ", "vmalloc 64K", "ffffffff", "map ",
					     "\33[A",	 "\33[B",	"\33[3~",   "\33[D",
					     "\33[1~",	 "areas\r",	" 4G ",	    "test b" };
	static const char *rest = "";
	u8 c;

	compare();
	got.name = NULL;
	got.nr = 0;
	nr_shown = 0;
	ended = false;
	fuzz_operations++;
	if (!*rest && !left(keys))
		rest = "\r\003exit\r";
	c = *rest ? *rest++ : byte(keys);
	if (c >= 0xa0) {
		rest = often[c % ARRAY_SIZE(often)];
		c = *rest++;
	}
	type(c);
	return c;
}

static void run(struct bytes *in)
{
	keys = in;
	sim_keyboard = next_key;
	sim_screen = show;
	do {
		words.exit = false;
		ended = false;
		got.name = NULL;
		monitor();
		compare();
	} while (left(in));
	memset(row, 0, WIDTH);
	column = nr_shown = 0;
}

FUZZ_TARGET(monitor, NULL, run);
