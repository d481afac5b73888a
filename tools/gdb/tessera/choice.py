"""Which mappings a command is about: a range of addresses, and filters. What mm map and mm find have in common."""

from collections import namedtuple

import gdb

from . import machine, paging, words
from .layout import Places
from .machine import phys

RANGES = "all", "window", "direct", "vmemmap", "image"
SIZES = {"4k": 1 << 12, "2m": 1 << 21, "1g": 1 << 30}
TYPES = {"wc": 1, "uc": 3}
RIGHTS = {"r--": 0, "rw-": paging.W, "r-x": paging.X, "rwx": paging.W | paging.X}  # exactly these
SOME = {"w": paging.W, "x": paging.X, "u": paging.U}  # at least this
WORDS = *RANGES, *RIGHTS, *SOME, "4K", "2M", "1G", *TYPES, *words.KINDS[1:]  # for completion

Filter = namedtuple("Filter", "kind value wanted")  # wanted False: it had a ! in front


class Choice(namedtuple("Choice", "tables places lo hi filters words")):
    """tables: (root, levels); the range [lo, hi]; words: those that are the command's own."""

    def entries(self):
        """The paging.Entries in the range; those not present only if there is no filter."""
        found = paging.entries(phys, *self.tables, self.lo, self.hi)
        if not self.filters:
            return found
        tests = [(test_of(f, self.places), f.wanted) for f in self.filters]
        return (e for e in found if e.value & paging.P and all(test(e) == wanted for test, wanted in tests))


def choose(command, text, own=(), default="window"):
    """The Choice that a command's arguments make. own: further words that it knows; default: without any range."""
    text, tables = command.tables(text)
    tables = tables or machine.tables()
    paging.count_tables(phys, *tables)
    numbers, ranges, filters, mine = [], [], [], set()
    for word in gdb.string_to_argv(text):
        if word in RANGES:
            ranges.append(word)
        elif word in own:
            mine.add(word)
        elif found := filter_of(word):
            filters.append(found)
        else:
            numbers.append(command.number(word, "an address, range or filter"))
    if len(numbers) > 2 or len(ranges) + bool(numbers) > 1:
        raise command.misused("more than one range")
    places = Places(tables)
    lo, hi = wanted_range(places, numbers, *ranges or [default])
    if hi < lo:
        raise command.misused(f"the range {lo:#x} to {hi:#x} is empty: its last byte lies before its first")
    return Choice(tables, places, lo, hi, filters, mine)


def filter_of(word):
    """The Filter that a word stands for, or None."""
    wanted, word = not word.startswith("!"), word.lstrip("!")
    for kind, names in (("size", SIZES), ("type", TYPES)):
        if word.lower() in names:
            return Filter(kind, names[word.lower()], wanted)
    for kind, names in (("rights", RIGHTS), ("some", SOME)):
        if word in names:
            return Filter(kind, names[word], wanted)
    return Filter("area", words.KINDS.index(word), wanted) if word in words.KINDS[1:] else None


def wanted_range(places, numbers, name):
    """(first byte, last byte)"""
    if len(numbers) == 2:
        return tuple(numbers)
    if numbers:
        area = places.holding(numbers[0])
        return (area.start, words.area_end(area) - 1) if area else (numbers[0], numbers[0])
    if name == "all":
        return 0, paging.TOP
    if name == "window":
        return places.window[0], places.window[-1]
    if name == "image":
        return machine.symbol("__image_start"), machine.symbol("__image_end") - 1
    found = next(r for r in places.plan if r.name == name)
    return found.start, found.end - 1


def test_of(f, places):
    """entry -> bool"""
    value = f.value
    return {"size": lambda e: paging.level_bytes(e.level) == value,
            "type": lambda e: paging.memory_type(e.value) == value,
            "rights": lambda e: e.rights == value,
            "some": lambda e: bool(e.rights & value),
            "area": lambda e: getattr(places.area_at(e.va), "kind", None) == value}[f.kind]
