"""Page tables as the CPU reads them: Intel SDM Vol. 3A, 4.5, with the kernel's names for levels.

Knows neither gdb nor the kernel: everything is read by a function phys(pa, length) -> bytes. Levels are
1 PT (4 KiB), 2 PD (2 MiB leaves), 3 PDPT (1 GiB leaves), 4 PML4, 5 PML5.

Rights are what all levels together grant: to write where every entry has W, to execute where none has NX,
from ring 3 where every one has U. As a number W | U | X; as text "rw-", "r-x", "rw-u".

Whole tables are read and unpacked at once, and inner loops are comprehensions: 100,000 leaves take a
tenth of a second.
"""

import struct
from collections import namedtuple

PAGE, ENTRIES = 4096, 512
P, W, U, PWT, PCD, A, D, PS, G = (1 << bit for bit in range(9))
PAT_LARGE = 1 << 12
NX = 1 << 63
ADDRESS = 0x000FFFFFFFFFF000
X = 1  # in rights: NX turned round; it shares no bit with W and U
ALL_RIGHTS = W | U | X
TOP = (1 << 64) - 1
MOST_TABLES = 1 << 16  # 256 MiB of them: more are spoilt ones, which lead all over memory
NAMES = "?", "PT", "PD", "PDPT", "PML4", "PML5"
RIGHTS = ["r" + "-w"[bool(n & W)] + "-x"[n & X] + ("u" if n & U else "") for n in range(8)]

Step = namedtuple("Step", "level index at value")
Entry = namedtuple("Entry", "va level at value rights")  # not all zero; at: where it lies; va: of its first byte
Leaf = namedtuple("Leaf", "va pa bytes value rights")
Run = namedtuple("Run", "va pa bytes pages pieces value rights")  # bytes: of one page; value: of its first
Gap = namedtuple("Gap", "va bytes value level")  # value: what the entry notes there; 0: entries are empty, or none are there


class Spoilt(Exception):
    """What hangs together as page tables cannot be meant so."""


def level_bytes(level):
    """What one entry of this level serves: 4 KiB at level 1, 2 MiB at 2, …"""
    return PAGE << 9 * (level - 1)


def index_bits(level):
    """(highest, lowest) bit of the address that choose the entry at this level."""
    return 11 + 9 * level, 3 + 9 * level


def index_of(va, level):
    return va >> 3 + 9 * level & ENTRIES - 1


def fold(va, levels):
    """The part of an address that the walk reads."""
    return va & level_bytes(levels + 1) - 1


def unfold(at, levels):
    """Back: copy bit 47 (or 56) into all above it."""
    half = level_bytes(levels + 1) // 2
    return (at ^ half) - half & TOP


def canonical(va, levels):
    return unfold(fold(va, levels), levels) == va


# One entry

def present(value):
    return bool(value & P)


def is_leaf(value, level):
    return level == 1 or bool(value & PS)


def address(value, level):
    """Where a present entry leads: its page, or the next table."""
    return value & ADDRESS & (-level_bytes(level) if is_leaf(value, level) else TOP)


def rights_of(value):
    """What this one entry grants."""
    return value & (W | U) | (value >> 63 ^ 1)


def memory_type(value):
    """PWT and PCD, as an index: 0 cached (WB), 1 WC, 2 UC-, 3 UC; the kernel's PAT has them so."""
    return value >> 3 & 3


def reserved_bits(value, level):
    """Bits that must be 0 in a present entry, and are not: the CPU answers with a fault that says so."""
    if not value & P:
        return 0
    if level >= 4:
        return value & PS
    return value & (level_bytes(level) - 1) & ~0x1FFF if is_leaf(value, level) else 0


# The walk

def read_table(phys, pa):
    return struct.unpack("<512Q", phys(pa & ADDRESS, PAGE))


def walk(phys, root, levels, va):
    """The Steps that the CPU takes towards va: the last one is a leaf, or not present, or not as it must be."""
    table = root & ADDRESS
    for level in range(levels, 0, -1):
        index = index_of(va, level)
        at = table + 8 * index
        value = struct.unpack("<Q", phys(at, 8))[0]
        yield Step(level, index, at, value)
        if not value & P or is_leaf(value, level) or reserved_bits(value, level):
            return
        table = value & ADDRESS


def rights_along(steps):
    """What these steps grant together; None: the last is not present."""
    rights = ALL_RIGHTS
    for step in steps:
        if not step.value & P:
            return None
        rights &= rights_of(step.value)
    return rights


def translate(phys, root, levels, va):
    """The physical address behind va, or None."""
    *_, last = walk(phys, root, levels, va)
    if not canonical(va, levels) or not last.value & P or not is_leaf(last.value, last.level) or \
            reserved_bits(last.value, last.level):
        return None
    return address(last.value, last.level) + va % level_bytes(last.level)


# Everything that there is

def tables(phys, root, levels, lo=0, hi=TOP):
    """(level, address where it begins to serve, where it lies, 512 entries, rights of the way to it) of each table
    that serves anything in [lo, hi], in rising order of addresses, each before those that it leads to."""
    return Scan(phys, levels, lo, hi).tables(root & ADDRESS, levels, 0, ALL_RIGHTS)


def entries(phys, root, levels, lo=0, hi=TOP):
    """Every Entry that serves anything in [lo, hi] and does not lead to a table: leaves, and notes (not present,
    but not all zero). In rising order of addresses."""
    return Scan(phys, levels, lo, hi).entries(root & ADDRESS, levels, 0, ALL_RIGHTS)


def count_tables(phys, root, levels):
    """How many there are, in all; Spoilt if they cannot be meant so: better before a million rows than behind them."""
    return sum(1 for _ in tables(phys, root, levels))


def clip(va, levels, up=True):
    """va, or if it lies between the two halves, where the upper one begins (the lower one ends)."""
    half = level_bytes(levels + 1) // 2
    return va if canonical(va, levels) else -half & TOP if up else half - 1


class Scan:
    """One way down all tables that serve a range. Addresses are folded: the two halves are neighbours. A table that
    leads to one on the way to itself (as some systems do, on purpose) is not followed there again."""

    def __init__(self, phys, levels, lo, hi):
        self.phys, self.levels, self.seen, self.above = phys, levels, 0, []
        self.lo, self.hi = clip(lo, levels), clip(hi, levels, up=False)
        self.empty = self.lo > self.hi
        self.lo, self.hi = fold(self.lo, levels), fold(self.hi, levels)

    def read(self, pa):
        self.seen += 1
        if self.seen > MOST_TABLES:
            raise Spoilt(f"more than {MOST_TABLES} page tables: those that lead to {pa:#x} are spoilt")
        return read_table(self.phys, pa)

    def indexes(self, base, level):
        """Of the table that serves from base on, the entries that serve any of the range."""
        each = level_bytes(level)
        return range(max(self.lo - base, 0) // each, min((self.hi - base) // each, ENTRIES - 1) + 1)

    def tables(self, pa, level, base, rights):
        if self.empty:
            return
        words = self.read(pa)
        yield level, unfold(base, self.levels), pa, words, rights
        if level == 1:
            return
        self.above.append(pa)
        for index in self.indexes(base, level):
            value, here = words[index], base + index * level_bytes(level)
            if value & (P | PS) == P and value & ADDRESS not in self.above:
                yield from self.tables(value & ADDRESS, level - 1, here, rights & rights_of(value))
        self.above.pop()

    def entries(self, pa, level, base, rights):
        if self.empty:
            return ()
        words = self.read(pa)
        return (self.last_entries if level == 1 else self.upper_entries)(pa, level, base, rights, words)

    def last_entries(self, pa, _level, base, rights, words):
        wanted, start, new = self.indexes(base, 1), unfold(base, self.levels), tuple.__new__
        return [new(Entry, (start + i * PAGE, 1, pa + 8 * i, e, rights & (e & 6 | (e >> 63 ^ 1))))
                for i, e in enumerate(words) if e and i in wanted]

    def upper_entries(self, pa, level, base, rights, words):
        each = level_bytes(level)
        self.above.append(pa)
        for index in self.indexes(base, level):
            value, here = words[index], base + index * each
            if not value:
                continue
            if value & (P | PS) != P:
                yield Entry(unfold(here, self.levels), level, pa + 8 * index, value, rights & rights_of(value))
            elif value & ADDRESS not in self.above:
                yield from self.entries(value & ADDRESS, level - 1, here, rights & rights_of(value))
        self.above.pop()


def leaves(phys, root, levels, lo=0, hi=TOP):
    """Every Leaf that maps anything in [lo, hi], in rising order."""
    return map(leaf_of, (e for e in entries(phys, root, levels, lo, hi) if e.value & P))


def leaf_of(entry):
    """The same as a Leaf."""
    size = level_bytes(entry.level)
    return Leaf(entry.va, entry.value & ADDRESS & -size, size, entry.value, entry.rights)


# What lies side by side

SAME = P | W | U | PWT | PCD | PS | NX  # what pages of one run have in common


def runs(found, split=False):
    """Entries as Runs: pages of one size, side by side, with the same rights and type. Where their frames are not
    neighbours a new piece of the same run begins (split: a new run). Notes are passed on, in their place."""
    first = common = expected = frame = level = None
    pages = pieces = 0
    for entry in found:
        va, deep, _, value, rights = entry
        if value & SAME == common and va == expected and rights == first.rights and deep == level and not (
                split and value & ADDRESS != frame):
            pages += 1
            pieces += value & ADDRESS != frame
        else:
            if pages:
                yield _run(first, pages, pieces)
            pages = pieces = value & P
            if not pages:
                yield entry
                common = None
                continue
            first, common, level, expected = entry, value & SAME, deep, va
        size = PAGE << 9 * (level - 1)
        expected += size
        frame = (value & ADDRESS) + size
    if pages:
        yield _run(first, pages, pieces)


def _run(entry, pages, pieces):
    leaf = leaf_of(entry)
    return Run(leaf.va, leaf.pa, leaf.bytes, pages, pieces, leaf.value, leaf.rights)


def with_gaps(things, lo, hi):
    """Runs, or entries that are leaves, and between them Gaps: all of [lo, hi] without holes."""
    end = lo & -PAGE
    for thing in things:
        if thing.va > end:
            yield Gap(end, thing.va - end, 0, 1)
        if isinstance(thing, Run):
            end = thing.va + thing.bytes * thing.pages
            yield thing
        else:
            size = level_bytes(thing.level)
            end = thing.va + size
            yield thing if thing.value & P else Gap(thing.va, size, thing.value, thing.level)
    if end <= hi:
        yield Gap(end, (hi | PAGE - 1) + 1 - end, 0, 1)
