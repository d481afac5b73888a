"""Tests of the tools that make labs and of what they make."""

import pathlib
import subprocess
import sys

import pytest

sys.dont_write_bytecode = True
TREE = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TREE / "tools/labs"))

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


@pytest.fixture
def master(tmp_path):
    """A small Tessera with two labs."""
    tree = tmp_path / "master"
    write(tree / "mm/box.c", SOURCE)
    write(tree / "Makefile", "all:\n")
    write(tree / "tests/mutants/own.txt", "bugs\n")
    write(tree / "labs/support/lab.h", "#pragma once\n")
    write(tree / "labs/1-full/lab.toml", TOML.format(number=1, name="Full", write='["is_full"]', gone="[]"))
    write(tree / "labs/1-full/README.md", "# Full\n")
    write(tree / "labs/1-full/wrong/one-more.c", WRONG)
    write(tree / "labs/2-put/lab.toml", TOML.format(number=2, name="Put", write='["put"]', gone='["next"]'))
    write(tree / "labs/2-put/put_test.c", "/* a test that only this lab needs */\n")
    (tree / "Makefile").chmod(0o755)
    subprocess.run(["git", "init", "-q", tree], check=True)
    subprocess.run(["git", "-C", tree, "add", "-A"], check=True)
    write(tree / "scratch.txt", "not ours\n")
    return tree
