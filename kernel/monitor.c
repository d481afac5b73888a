/*
 * monitor.c - the prompt.
 *
 * A terminal sends keys as bytes and shows the bytes it is sent, nothing more: the line, its cursor
 * and its history are ours to keep. Keys that send escape sequences (arrows, Home, ...) become the
 * control character that does the same in bash, so that there is one set of keys. Every key that
 * edits takes a stretch, perhaps an empty one, out of the line and leaves the cursor there.
 */
#include <arch/machine.h>
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/words.h>

#define PROMPT "tessera> "
#define HISTORY 16
#define CTRL(letter) ((letter) ^ 0x40)

static char text[LENGTH_MAX + 1];
static unsigned length, cursor;
static char history[1 + HISTORY][LENGTH_MAX + 1]; /* 0: the line being typed; 1: the one before */
static unsigned recalled;			  /* which of them is shown */

/* A printable or control character; 0 for a key that means nothing here. ECMA-48, 5.4. */
static int read_key(void)
{
	static const char from[] = "ABCDHF1478~3", to[] = "PNFBAEAEAE@D";
	int c = serial_read(), key, nr = 0;

	if (c != CTRL('['))
		return c;
	for (key = c = serial_read(); c && strchr("[O;0123456789", c); c = serial_read(), nr++)
		key = c;
	if (c == '~' && nr == 2)
		c = key; /* Home is ESC [ 1 ~ on some terminals, ESC [ H on others */
	return c < ' ' ? c : strchr(from, c) ? CTRL(to[strchr(from, c) - from]) : 0;
}

static void draw(void)
{
	printk("\r" PROMPT "%s\033[K\r\033[%uC", text, (unsigned)strlen(PROMPT) + cursor);
}

static void insert(char c)
{
	if (length == LENGTH_MAX)
		return;
	memmove(text + cursor + 1, text + cursor, ++length - cursor);
	text[cursor++] = c;
	if (cursor == length)
		printk("%c", c);
	else
		draw();
}

/* Show a line of the history; the one being typed waits there. */
static void recall(unsigned nr)
{
	if (nr > HISTORY || (nr && !*history[nr]))
		return;
	if (!recalled)
		strlcpy(history[0], text, sizeof(text));
	recalled = nr;
	length = cursor = strlcpy(text, history[nr], sizeof(text));
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

/* A key that edits: take a stretch, which may be empty, out of the line, and be there. */
static void edit(char key)
{
	unsigned left = cursor - (cursor > 0), right = cursor + (cursor < length), word = cursor;

	while (word && (word == cursor || text[word] == ' ' || text[word - 1] != ' '))
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
		draw();
	}
}

/* Into text. */
static void read_line(void)
{
	int key;

	recalled = length = cursor = strlcpy(text, "", sizeof(text));
	printk(PROMPT);
	while ((key = read_key()) != '\r' && key != '\n') {
		if (key == CTRL('C'))
			printk("^C\n");
		if (key >= ' ' && key < 0x7f)
			insert(key);
		else if (key == CTRL('I'))
			complete();
		else if (key == CTRL('P'))
			recall(recalled + 1);
		else if (key == CTRL('N'))
			recall(recalled - 1);
		else
			edit(key);
	}
	printk("\n");
	if (length && strcmp(text, history[1]) != 0) {
		memmove(history[2], history[1], (HISTORY - 1) * sizeof(history[0]));
		strlcpy(history[1], text, sizeof(text));
	}
}

/* Read the numbers, which command->args has in capitals. False, and why, if args do not fit it. */
static bool parse_args(const struct command *command, unsigned nr, char **args, u64 *numbers)
{
	const char *name = command->args, *space;
	bool repeated = strchr(name, '.'), size;
	unsigned i;

	for (i = 0; i < nr && *name; i++) {
		size = name[*name == '['] == 'S';
		if (name[*name == '['] < 'a' &&
		    !parse_number(args[i], size ? 10 : 16, &numbers[i])) {
			printk("'%s' is no %s\n", args[i],
			       size ? "size: say 4096, 0x1000, 64K, 2M or 1G" :
				      "number of 1 to 16 hexadecimal digits");
			return false;
		}
		space = strchr(name, ' ');
		name = repeated ? name : space ? space + 1 : "";
	}
	if (i == nr && (!*name || *name == '[' || (repeated && nr)))
		return true;
	printk("usage: %s %s\n", command->name, command->args);
	return false;
}

bool monitor_run(char *line)
{
	const struct command *best = NULL;
	unsigned nr = 0, least = NEARER_NONE;
	char *args[1 + ARGS_MAX], *word; /* the command's name, and what follows */
	u64 numbers[ARGS_MAX];

	for (; (word = next_word(&line, " ")); args[nr++] = word)
		BUG_ON(nr == ARRAY_SIZE(args)); /* there is room for all that a line can hold */
	if (!nr)
		return true;
	for (const struct command *c = __start_commands; c < __stop_commands; c++)
		if (nearer_word(args[0], c->name, &least))
			best = c;
	if (least == 0)
		return parse_args(best, nr - 1, args + 1, numbers) &&
		       best->run(nr - 1, numbers, args + 1) == 0;
	printk("there is no command '%s'; %s%s\n", args[0],
	       best ? "did you mean " : "`help` lists all", best ? best->name : "");
	return false;
}

void monitor(void)
{
	printk("\n`help` lists the commands. Tab completes them, arrows recall lines.\n\n");
	while (!words.exit) {
		read_line();
		if (length < LENGTH_MAX)
			monitor_run(text);
		else
			printk("a line has less than %d characters: ignored\n", LENGTH_MAX);
	}
}
