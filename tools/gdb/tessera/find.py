"""mm find: where in memory a value or a text lies, by all addresses that lead there.

Memory is read physically, each frame once, however many names it has. Only then are the names looked up.
"""

import bisect
import itertools
import re

import gdb

from . import paging, words
from .choice import WORDS, choose
from .command import Command, write
from .machine import phys_once

HEAD = "virtual            physical      may area +page, or range"
WIDTHS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
CHUNK = 16 << 20
MOST = 10000
ESCAPES = {"n": "\n", "t": "\t", "0": "\0"}


class Find(Command):
    """find a value or a text in memory, by all its addresses

mm find VALUE | "TEXT" [u8 | u16 | u32 | u64] [anywhere] [RANGE] [FILTER...]

VALUE is looked for as a word of 8 bytes (u64) at addresses that are multiples of its size, or anywhere; TEXT always
anywhere. RANGE and FILTER are those of `mm map`; without them all that is mapped is searched, but not devices' memory,
for to read that may change the device. A row is an address: what lies in a frame with two names has two.

    mm find "ran off the area"
    mm find &vmalloc_window         who points there?
    mm find 0x6b6b6b6b u32 window"""

    name, usage = "find", 'VALUE | "TEXT" [u8 | u16 | u32 | u64] [anywhere] [RANGE] [FILTER...]'
    words = (*WORDS, *WIDTHS, "anywhere")

    def run(self, text):
        what, text = self.first(text)
        choice = choose(self, text, (*WIDTHS, "anywhere"), default="all")
        widths = [WIDTHS[word] for word in choice.words if word in WIDTHS]
        if len(widths) > 1 or isinstance(what, bytes) and widths:
            raise self.misused("one size, and only of a value")
        step = 1
        if not isinstance(what, bytes):
            width = (widths or [8])[0]
            if what >> 8 * width:
                raise self.misused(f"{what:#x} has more than {width} bytes")
            what, step = what.to_bytes(width, "little"), 1 if "anywhere" in choice.words else width
        write(report(choice, what, step))

    def first(self, text):
        """(what to look for: bytes or a number, the rest of the arguments)"""
        quoted = re.match(r'"((?:[^"\\]|\\.)+)"(?=\s|$)', text)
        if quoted:
            return re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), quoted[1]).encode(), text[quoted.end():]
        if text.startswith('"'):
            raise self.misused("the text has no closing quote, or something touches it")
        first, *rest = gdb.string_to_argv(text) or [""]
        return self.number(first, "what to look for"), " ".join(rest)


Find()


def report(choice, what, step):
    """The lines of `mm find`."""
    leaves = [paging.leaf_of(e) for e in choice.entries() if e.value & paging.P and not paging.memory_type(e.value)]
    hits = list(itertools.islice(places_of(what, step, stretches(leaves)), MOST))
    rows = sorted(names_of(leaves, hits, choice))
    yield HEAD
    yield from (f"0x{va:016x} 0x{pa:011x} {may} {choice.places.of(va, 0)}" for va, pa, may in rows)
    yield f"{words.number(len(hits), 'place')} in memory, {len(rows)} addresses"
    if len(hits) == MOST:
        yield "and no further: give it a smaller range"


def stretches(leaves):
    """(first, end) of physical memory that these lead to, each byte once."""
    start = end = None
    for leaf in sorted(leaves, key=lambda leaf: leaf.pa):
        if end is None or leaf.pa > end:
            if end is not None:
                yield start, end
            start, end = leaf.pa, leaf.pa + leaf.bytes
        end = max(end, leaf.pa + leaf.bytes)
    if end is not None:
        yield start, end


def places_of(what, step, pieces):
    """Physical addresses where it lies."""
    for start, end in pieces:
        for at in range(start, end, CHUNK):
            data = phys_once(at, min(end - at, CHUNK + len(what) - 1))
            found = data.find(what)
            while found >= 0:
                if (at + found) % step == 0 and found < CHUNK:
                    yield at + found
                found = data.find(what, found + 1)


def names_of(leaves, hits, choice):
    """(va, pa, may) for each hit, which rise, and each page that leads to it, as far as it lies in the range."""
    for leaf in leaves:
        for pa in hits[bisect.bisect_left(hits, leaf.pa):bisect.bisect_left(hits, leaf.pa + leaf.bytes)]:
            va = leaf.va + pa - leaf.pa
            if choice.lo <= va <= choice.hi:
                yield va, pa, paging.RIGHTS[leaf.rights]
