/*
 * monitor.c - the prompt.
 *
 * A terminal sends keys as bytes and shows the bytes it is sent, nothing more: the line being typed,
 * its cursor and its history are ours to keep. Keys that send escape sequences (arrows, Home, ...)
 * become the control character that does the same in Emacs and bash, so that there is one set of
 * keys; and every key that edits takes out a stretch of the line, perhaps an empty one, and leaves
 * the cursor at its start. A letter at the line's end is echoed; after anything else the
 * line is drawn anew, scrolled sideways if it is wider than the screen.
 */
#include <arch/machine.h>
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/string.h>
#include <kernel/words.h>

#define PROMPT "tessera> "
#define LENGTH_MAX 200
#define SHOWN 70 /* columns of the line that fit behind the prompt */
#define HISTORY 16
#define ARGS_MAX 16
#define CTRL(letter) ((letter) ^ 0x40)

static char text[LENGTH_MAX + 1];
static unsigned length, cursor, lost;		  /* lost: characters that text had no room for */
static char history[HISTORY + 1][LENGTH_MAX + 1]; /* a ring; one of it is the line being typed */
static unsigned newest, recalled;		  /* the line being typed; the one that is shown */

static int read_byte(void)
{
	int byte;

	while ((byte = serial_read(COM1)) < 0)
		serial_wait();
	return byte;
}

/* A printable or control character; 0 for a key that means nothing here. ECMA-48, 5.4. */
static int read_key(void)
{
	static const char from[] = "ABCDHF1478~3", to[] = "PNFBAEAEAE@D";
	int c = read_byte(), parameter = 0, nr = 0;

	if (c != CTRL('['))
		return c;
	c = read_byte();
	if (c == '[' || c == 'O')
		for (c = read_byte(); c >= ' ' && c < '@'; c = read_byte(), nr++)
			parameter = c;
	else if (c >= ' ')
		return 0;
	if (c == '~' && nr == 1)
		c = parameter; /* Home is ESC [ 1 ~ on some terminals, ESC [ H on others */
	return c < ' ' ? c : strchr(from, c) ? CTRL(to[strchr(from, c) - from]) : 0;
}

static void draw(void)
{
	unsigned first = cursor > SHOWN ? cursor - SHOWN : 0, last = MIN(length, first + SHOWN);

	printk("\r" PROMPT "%.*s\033[K", (int)(last - first), text + first);
	if (cursor < last)
		printk("\033[%uD", last - cursor);
}

static void insert(char c)
{
	if (length == LENGTH_MAX) {
		lost++;
		printk("\a");
		return;
	}
	memmove(text + cursor + 1, text + cursor, length - cursor + 1);
	text[cursor++] = c;
	length++;
	if (cursor == length && length <= SHOWN)
		printk("%c", c);
	else
		draw();
}

/* Show line nr of the history; the line being typed waits in the ring. */
static void recall(unsigned nr)
{
	if (nr > newest || newest - nr > MIN(newest, HISTORY))
		return;
	if (recalled == newest)
		strlcpy(history[newest % (HISTORY + 1)], text, sizeof(text));
	recalled = nr;
	length = cursor = strlcpy(text, history[nr % (HISTORY + 1)], sizeof(text));
	draw();
}

/* Finish the command's name, or list those that begin so. */
static void complete(void)
{
	const struct command *match = NULL;
	unsigned matches = 0;

	for (const struct command *c = __start_commands; c < __stop_commands; c++) {
		if (strncmp(c->name, text, cursor) != 0)
			continue;
		if (matches++)
			printk("%s%s ", matches == 2 ? "\n" : "", match->name);
		match = c;
	}
	if (matches == 1) {
		for (const char *rest = match->name + cursor; *rest; rest++)
			insert(*rest);
		insert(' ');
	} else if (matches) {
		printk("%s\n", match->name);
		draw();
	}
}

static void edit(char key)
{
	unsigned left = cursor - (cursor > 0), right = cursor + (cursor < length), word = cursor;

	while (word && text[word - 1] == ' ')
		word--;
	while (word && text[word - 1] != ' ')
		word--;
	const struct {
		char key;
		unsigned from, to;
	} edits[] = {
		{ 'A', 0, 0 },		{ 'B', left, left },	 { 'C', 0, length },
		{ 'D', cursor, right }, { 'E', length, length }, { 'F', right, right },
		{ 'H', left, cursor },	{ '?', left, cursor },	 { 'U', 0, length },
		{ 'W', word, cursor },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(edits); i++) {
		if (key != CTRL(edits[i].key))
			continue;
		cursor = edits[i].from;
		memmove(text + cursor, text + edits[i].to, length - edits[i].to + 1);
		length -= edits[i].to - cursor;
		lost = length ? lost : 0;
		draw();
	}
}

static void handle(char key)
{
	if (key >= ' ' && key < 0x7f)
		insert(key);
	else if (key == CTRL('I'))
		complete();
	else if (key == CTRL('P'))
		recall(recalled - 1);
	else if (key == CTRL('N'))
		recall(recalled + 1);
	else
		edit(key);
}

/* Into text. CR, LF and CR LF each end a line. */
static void read_line(void)
{
	static int last;
	int key = 0;

	length = cursor = lost = text[0] = 0;
	recalled = newest;
	printk(PROMPT);
	while (key != '\r' && key != '\n') {
		if (key == CTRL('C'))
			printk("^C\n");
		handle(key);
		key = read_key();
		if (key == '\n' && last == '\r')
			key = 0;
		last = key;
	}
	printk("\n");
	if (length && (!newest || strcmp(text, history[(newest - 1) % (HISTORY + 1)]) != 0))
		strlcpy(history[newest++ % (HISTORY + 1)], text, sizeof(text));
}

/* The command of this name; NULL and a word about it if there is none. */
static const struct command *find(const char *name)
{
	const struct command *best = NULL;
	unsigned least = NEARER_NONE;

	for (const struct command *c = __start_commands; c < __stop_commands; c++)
		if (nearer_word(name, c->name, &least))
			best = c;
	if (least == 0)
		return best;
	if (best)
		printk("there is no command '%s'; did you mean %s?\n", name, best->name);
	else
		printk("there is no command '%s'; `help` lists them all\n", name);
	return NULL;
}

/*
 * The numbers among the arguments, which in command->args are in capitals. False, and a word about
 * it, if one is none or there are too many or too few.
 */
static bool parse_args(const struct command *command, unsigned nr, char **args, u64 *numbers)
{
	const char *name, *next = command->args;
	bool again = false;
	unsigned i;

	for (i = 0; i < nr && *next; i++) {
		name = next + (*next == '[');
		if (strncmp(name, "SIZE", 4) == 0 && !parse_size(args[i], &numbers[i])) {
			printk("'%s' is no size: say 4096, 0x1000, 64K, 2M or 1G\n", args[i]);
			return false;
		}
		if (*name < 'a' && *name != 'S' && !parse_hex(args[i], &numbers[i])) {
			printk("'%s' is no number of 1 to 16 hexadecimal digits, with 0x or without\n",
			       args[i]);
			return false;
		}
		while (*next && *next != ' ' && *next != '.')
			next++;
		again = *next == '.';
		next = again ? name : next + (*next == ' ');
	}
	if (i == nr && (!*next || *next == '[' || again))
		return true;
	printk("usage: %s %s\n", command->name, command->args);
	return false;
}

int monitor_run(char *line)
{
	char *words_of[ARGS_MAX + 1], **args = words_of + 1;
	const struct command *command;
	u64 numbers[ARGS_MAX];
	unsigned nr = 0;

	for (; *line; nr++) {
		while (*line == ' ')
			*line++ = '\0';
		if (!*line)
			break;
		if (nr > ARGS_MAX) {
			printk("a command takes at most %d arguments: nothing was done\n",
			       ARGS_MAX);
			return -1;
		}
		words_of[nr] = line;
		while (*line && *line != ' ')
			line++;
	}
	if (!nr)
		return 0;
	command = find(words_of[0]);
	if (!command || !parse_args(command, nr - 1, args, numbers))
		return -1;
	return command->run(nr - 1, numbers, args);
}

void monitor(void)
{
	printk("\n`help` lists the commands. Tab completes them, arrows recall lines.\n\n");
	while (!words.exit) {
		read_line();
		if (lost)
			printk("a line holds %d characters, %u too many were typed: nothing was done\n",
			       LENGTH_MAX, lost);
		else
			monitor_run(text);
	}
}
