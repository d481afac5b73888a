"""A Tessera as small as can be, with two labs, for tests of the tools."""

import pathlib

TREE = pathlib.Path(__file__).resolve().parent.parent.parent

SOURCE = '''\
/* box.c - a box of pebbles. */
#include <stddef.h>

#define ROOM \\
	10
static int pebbles, lids; /* both */

static int is_full(void);

/* The one behind the other. */
static int next(int n)
{
	return n + 1;
}

/* Put one in; false: it is full. */
int put(int n, int (*fn)(void), char out[4],
	const char *name)
{
	if (is_full())
		return 0;
	pebbles = next(pebbles);
	return 1;
}

static int is_full(void)
{
	return pebbles == ROOM;
}
'''

TOML = '''\
number = {number}
name = "{name}"
starter = 0
[write]
"mm/box.c" = {write}
[gone]
"mm/box.c" = {gone}
[points]
"box/put" = 60
"box/full" = 40
[[hint]]
id = "too-full"
test = "box/*"
says = "full"
text = "count again"
'''

WRONG = '''\
/*
 * loses: box/f*
 * hint: too-full
 * thought: there is room for
 *   one more
 */
static int spare = 1;

/* Mine. */
static int is_full(void)
{
	return pebbles == ROOM + spare;
}
'''


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
