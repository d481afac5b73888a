"""mm diff: what changed in the page tables between two stops.

A picture is a copy of all tables: some dozens of frames for most machines. The first `mm diff` takes one; from then
on one is taken whenever gdb stops, and the last two are kept. To compare them is cheap where nothing changed: whole
tables are equal.
"""

import struct
from collections import namedtuple

import gdb

from . import machine, paging, words
from .command import Command, write
from .machine import Problem, phys

HEAD = "virtual            table index entries was => is"

Picture = namedtuple("Picture", "root levels tables")  # tables: {(level, va): (pa, 4096 bytes)}
Change = namedtuple("Change", "va level index was now")

pictures = []  # of the last two stops, the newer one last; none: nobody asked yet


class Diff(Command):
    """show what changed in the page tables since the last stop

mm diff [each]

The first time it takes a picture of all tables, of the selected CPU's CR3; then one at each stop. A row is a run of
entries side by side that changed alike, from the first one's old meaning to its new one: "each" shows every entry.

    mm diff
    next
    mm diff            what this one line did"""

    name, usage, words = "diff", "[each]", ("each",)

    def run(self, text):
        if text not in ("", "each"):
            raise self.misused(f"'{text}' is not 'each'")
        if machine.is_core():
            raise Problem("mm diff: a core is one moment of a machine's life: nothing changes in it")
        if not pictures:
            pictures.append(take())
            write(["the first picture is taken: let the machine run (next, continue), then ask again"])
            return
        write(report(pictures[0] if len(pictures) > 1 else pictures[-1], take(), bool(text)))


Diff()


def gone(_event):
    """The machine has ended: the next one starts without pictures."""
    pictures.clear()



def stopped(_event):
    """Keep the picture of the stop before, and take this one's; if anybody ever asked."""
    if not pictures:
        return
    try:
        pictures.append(take())
    except (gdb.error, gdb.GdbError):  # it has gone, or gdb cannot read it now: then there is nothing to compare
        return
    del pictures[:-2]


gdb.events.stop.connect(stopped)
gdb.events.exited.connect(gone)


def take():
    """All tables of the selected CPU. None of them before paging is on."""
    if not machine.paging_on():
        return Picture(None, machine.levels(), {})
    root, levels = machine.tables()
    return Picture(root, levels, {(level, va): (pa, phys(pa, paging.PAGE))
                                  for level, va, pa, _, _ in paging.tables(phys, root, levels)})


def report(old, new, each):
    """The lines of `mm diff`."""
    if old.root != new.root:
        yield f"other tables: CR3 was {name_root(old)}, is {name_root(new)}"
    count = 0
    changes = sorted(changed(old, new), key=lambda c: (c.va, -c.level))
    if changes:
        yield HEAD
    for first, nr in alike(changes, each):
        count += nr
        yield row(first, nr)
    yield f"{count} entries changed" if count else "no entry changed"


def name_root(picture):
    return "not in use" if picture.root is None else f"{picture.root:#x}"


def changed(old, new):
    """Every entry that is not what it was. A table that was not there counts as 512 empty entries."""
    levels = max(old.levels, new.levels)
    for level, va in old.tables.keys() | new.tables.keys():
        was, now = (p.tables.get((level, va), (0, bytes(paging.PAGE)))[1] for p in (old, new))
        if was == now:
            continue
        each = paging.level_bytes(level)
        for i, (a, b) in enumerate(zip(struct.unpack("<512Q", was), struct.unpack("<512Q", now))):
            if a != b:
                yield Change(paging.unfold(paging.fold(va, levels) + i * each, levels), level, i, a, b)


def alike(changes, each):
    """(first, how many): side by side at one level, with the same bits but for the address, before and after."""
    first, nr = None, 0
    for c in changes:
        if first and not each and c.level == first.level and shape(c) == shape(first) and \
                c.va == first.va + nr * paging.level_bytes(c.level):
            nr += 1
            continue
        if first:
            yield first, nr
        first, nr = c, 1
    if first:
        yield first, nr


def shape(change):
    """What changes of one run have in common."""
    return [value & ~paging.ADDRESS if value & paging.P else bool(value) and value for value in (change.was, change.now)]


def row(c, nr):
    return (f"0x{c.va:016x} {paging.NAMES[c.level]:<5} [{c.index:>3}] {nr:>7} {words.entry(c.was, c.level)} => "
            f"{words.entry(c.now, c.level)}{bits(c)}")


def bits(c):
    """Where the words are the same: what it is that changed."""
    if words.entry(c.was, c.level) != words.entry(c.now, c.level):
        return ""
    was, now = words.area_of(c.was, 0), words.area_of(c.now, 0)
    if was:
        mixed = [f"{'+' if now.mixed else '-'}mixed"] * (was.mixed != now.mixed)
        return f" ({', '.join(mixed + [f'by {words.code(now.caller)}'] * (was.caller != now.caller))})"
    off, on = words.flags(c.was & ~c.now | paging.P, c.level), words.flags(c.now & ~c.was | paging.P, c.level)
    return f" ({' '.join(['+' + f for f in on.split()[1:]] + ['-' + f for f in off.split()[1:]])})"
