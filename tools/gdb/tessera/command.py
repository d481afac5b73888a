"""What all commands of `mm` share: how arguments are read, errors said, long output printed.

A command is a class with a docstring, which is its manual: `help mm NAME` prints it, its first line stands in
`help mm`. run() does the work; it is given the text behind the command's name:

    class Pte(Command):
        \"\"\"say what the bits of a page-table entry mean

        mm pte VALUE [LEVEL]
        …
        \"\"\"
        name, usage = "pte", "VALUE [LEVEL]"

        def run(self, text): …

    Pte()
"""

import os
import re
import sys

import gdb

from . import machine, paging
from .machine import Problem

SIZE = re.compile(r"(0x[0-9a-f]+|[0-9]+)([KMGTP])(i?B)?", re.IGNORECASE)


ROOT = re.compile(r"(?:^|(?<=\s))(root|levels)=(\S+)")  # whose tables


class Mm(gdb.Command):
    """Tessera's memory, read from outside: page tables, areas, frames.

All commands read physical memory through QEMU, or a core file. So they work before paging is on, inside a fault, and
in a kernel that hangs. Addresses are gdb's expressions (&buddy, $cr2, p + 0x1000); sizes may be 64K, 2M, 1G. What a
command asks of the CPU it asks of the one that is selected: `info threads`, `thread 2`."""

    def __init__(self):
        super().__init__("mm", gdb.COMMAND_DATA, prefix=True)

    def invoke(self, argument, from_tty):
        word = argument.split()[0] if argument.split() else ""
        if word:
            raise Problem(f"'{word}' is no command of mm: `help mm` lists them")
        gdb.execute("help mm")


Mm()


class Command(gdb.Command):
    """One of them. Class variables: name, usage (its arguments), words (that complete), completes (gdb.COMPLETE_…)."""

    name = usage = ""
    words = ()
    completes = gdb.COMPLETE_EXPRESSION

    def __init__(self):
        if self.words:
            self.complete = self.complete_words
            super().__init__("mm " + self.name, gdb.COMMAND_DATA)
        else:
            super().__init__("mm " + self.name, gdb.COMMAND_DATA, self.completes)

    def complete_words(self, _text, word):
        """The words of this command that begin so."""
        return [w for w in self.words if w.startswith(word)]

    def invoke(self, argument, from_tty):
        try:
            self.run(argument.strip())
        except (gdb.error, paging.Spoilt) as problem:
            raise Problem(f"mm {self.name}: {problem}") from problem

    def run(self, text):
        raise NotImplementedError

    def misused(self, why):
        """A Problem that says how the command is used."""
        return Problem(f"mm {self.name}: {why}\n  usage: mm {self.name} {self.usage}\n  `help mm {self.name}` tells more")

    def number(self, text, what="a number"):
        """The value of one argument: a size (64K), or a gdb expression."""
        if not text:
            raise self.misused(f"{what} is missing")
        return number(text, f"mm {self.name}: {what}")


    def tables(self, text):
        """(the rest of the text, (root, levels)): the selected CPU's tables, or those that root=ADDRESS levels=N name.

        None instead of the latter: the CPU does not page, and no others are named."""
        text, named = re.sub(ROOT, "", text), dict(re.findall(ROOT, text))
        levels = self.number(named["levels"], "levels") if "levels" in named else machine.levels()
        if levels not in (4, 5) or "levels" in named and "root" not in named:
            raise self.misused("levels= goes with root=, and is 4 or 5")
        if "root" not in named:
            return text.strip(), machine.tables() if machine.paging_on() else None
        root = self.number(named["root"], "root")
        found = root if root < 1 << 46 else machine.linear(root) or machine.translate(root)
        if found is None or found % paging.PAGE:
            raise self.misused(f"root={root:#x} is no table: it is {'not mapped' if found is None else 'not at the start of a page'}")
        return text.strip(), (found, levels)


def number(text, who):
    """64K, 0x1000, or any gdb expression that has an address or integer as its value. who: for errors."""
    found = SIZE.fullmatch(text)
    if found:
        return int(found[1], 0) << "KMGTP".index(found[2].upper()) * 10 + 10
    try:
        return integer(value_of(text))
    except gdb.GdbError:
        raise
    except (gdb.error, ValueError, TypeError) as problem:
        hint = f"\n  hexadecimal numbers begin with 0x: did you mean 0x{text}?" if re.fullmatch("[0-9a-fA-F]+", text) else ""
        raise Problem(f"{who}: '{text}' has no value here: {problem}{hint}") from problem


def value_of(text):
    """A gdb expression's value. One of the kernel's variables is read physically, so it needs no paging."""
    if re.fullmatch(r"[A-Za-z_]\w*", text) and not is_local(text) and (
            gdb.lookup_global_symbol(text) or gdb.lookup_static_symbol(text)):
        kind = (gdb.lookup_global_symbol(text) or gdb.lookup_static_symbol(text)).type.strip_typedefs()
        if kind.code not in (gdb.TYPE_CODE_FUNC, gdb.TYPE_CODE_ARRAY):
            return machine.variable(text)
    return gdb.parse_and_eval(text)


def is_local(name):
    """Is it a variable of the selected frame?"""
    try:
        symbol, _ = gdb.lookup_symbol(name)
    except gdb.error:
        return False
    return symbol is not None and symbol.symtab is not None and symbol.needs_frame


def integer(value):
    """As 64 bits without a sign: arrays and functions by their address, paddr_t and pte_t by what they hold."""
    kind = value.type.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_FUNC, gdb.TYPE_CODE_ARRAY):
        return int(value.address) & (1 << 64) - 1
    if kind.code == gdb.TYPE_CODE_STRUCT and [f.name for f in kind.fields()] == ["v"]:
        value = value["v"]
    elif kind.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        raise ValueError(f"it is a {value.type}; & in front of it gives its address")
    return int(value) & (1 << 64) - 1


# Output

def is_terminal():
    """Does somebody sit there? Then output comes page by page, and `mm step` waits for a key."""
    return sys.__stdin__ is not None and os.isatty(0) and os.isatty(1) and bool(gdb.parameter("height"))


def write(lines):
    """Print lines (without their ends), many at a time: gdb is slow with each call. Its paging still works."""
    part = []
    for line in lines:
        part.append(line)
        if len(part) == 2000:
            gdb.write("\n".join(part) + "\n")
            part.clear()
    if part:
        gdb.write("\n".join(part) + "\n")
