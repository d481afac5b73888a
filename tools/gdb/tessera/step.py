"""mm step: the page walk as the CPU does it on a TLB miss, one level at a time."""

import os
import sys
import termios
import tty

import gdb

from . import paging, words
from .command import Command, is_terminal, write
from .machine import phys
from .walk import paging_off, rights, where


class Step(Command):
    """walk to an address one level at a time, as the CPU does

mm step VA [root=TABLE [levels=4|5]]

Shows how the CPU cuts the address into pieces, and then each of its reads: which entry it takes, where that lies, what
it says, and what is permitted so far. At a terminal it waits for a key after each level: q ends it, any other goes on."""

    name, usage = "step", "VA [root=TABLE [levels=4|5]]"

    def run(self, text):
        text, tables = self.tables(text)
        for part in parts(self.number(text, "an address"), tables):
            write(part)
            if is_terminal() and not go_on():
                break


Step()


def go_on():
    """Wait for a key. False: it was q, or Ctrl-C."""
    gdb.write("  -- a key: the next step; q: enough --")
    gdb.flush()
    fd = sys.__stdin__.fileno()
    saved = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        key = os.read(fd, 1)
    except KeyboardInterrupt:
        key = b"q"
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)
    gdb.write("\r" + " " * 40 + "\r")
    return key not in (b"q", b"Q", b"\x03", b"\x04", b"")


def parts(va, tables):
    """Lists of lines, one for each thing that the CPU does."""
    if not tables:
        yield paging_off(va)
        return
    root, levels = tables
    yield cut(va, root, levels)
    if not paging.canonical(va, levels):
        yield ["The CPU does not even begin: the bits above the cut are not copies of the highest one in it",
               "(not canonical), so it raises #GP, or #SS for a stack."]
        return
    steps, table = [], root
    for step in paging.walk(phys, root, levels, va):
        steps.append(step)
        yield read(va, step, table, steps)
        table = step.value & paging.ADDRESS
    yield end(va, steps)


def cut(va, root, levels):
    """The address in binary, a piece a level."""
    bits = f"{va:064b}"
    pieces = [("copies", 63, 12 + 9 * levels)] + \
        [(paging.NAMES[level], *paging.index_bits(level)) for level in range(levels, 0, -1)] + [("in the page", 11, 0)]
    names, digits, places = ([f"{text:<{max(high - low + 1, 9)}}" for text, high, low in
                              ((what(p), p[1], p[2]) for p in pieces)] for what in (
        lambda p: p[0], lambda p: bits[63 - p[1]:64 - p[2]], lambda p: f"{p[1]}-{p[2]}"))
    return [f"0x{va:016x}, cut as the CPU cuts it ({levels} levels):",
            "  " + "  ".join(digits).rstrip(), "  " + "  ".join(names).rstrip(), "  " + "  ".join(places).rstrip(),
            f"By {where(root)} the first table, the {paging.NAMES[levels]}, lies at physical {root:#x}."]


def read(va, step, table, so_far):
    """One read of the CPU's."""
    high, low = paging.index_bits(step.level)
    name = paging.NAMES[step.level]
    lines = [f"{name}: bits {high}-{low} are {step.index:09b}, so entry {step.index}, 8 bytes each",
             f"  it reads physical {table:#x} + {step.index} * 8 = {step.at:#x}: 0x{step.value:016x}",
             f"  bits set: {words.flags(step.value, step.level)}",
             f"  {words.entry(step.value, step.level)}"]
    if step.value & paging.P:
        lines.append(f"  so far {rights(so_far)}")
    return lines


def end(va, steps):
    """Where it led."""
    last = steps[-1]
    if not last.value & paging.P:
        return [f"Bit 0 is clear: not present. The CPU raises a page fault and leaves {va:#x} in CR2.",
                "It looks at none of the other 63 bits: there the kernel may note what it likes."]
    if paging.reserved_bits(last.value, last.level):
        return ["A reserved bit is set. The CPU raises a page fault, with bit 3 (RSVD) in its error code."]
    size = paging.level_bytes(last.level)
    offset, pa = va % size, paging.address(last.value, last.level)
    return [f"A leaf: a page of {words.size(size)} at {pa:#x}. With the address's last {size.bit_length() - 1} bits, {offset:#x}:",
            f"  physical {pa + offset:#x}",
            "The CPU keeps this in its TLB and will not look here again before a flush, even if an entry changes."]
