"""Is the memory manager sound? What mm/check.c asks inside the kernel, asked from outside, of memory alone, and more.

The kernel's own audit runs in the kernel: it empties magazines first, trusts the lists it walks, and panics or hangs
where they are broken. This one changes nothing, reads every book there is and compares each with all others:

    frames.py   struct pages, free lists, magazines
    tables.py   page tables, what they permit, the direct map, the image
    slab.py     bits, marks, magazines, lists
    ranges.py   free addresses
    window.py   descriptors, what is mapped, whose frames those are
    stock.py    what waits or may be taken again
    leaks.py    what was handed out, and nothing points to: only if asked

A finding says what is wrong, where, and with which values. One broken link often has more than one consequence; the
parts come in the order in which they stand on each other, so read the first finding first.
"""

import inspect
from collections import Counter, namedtuple

import gdb

from .. import words
from ..state import Broken, busy
from ..state.frames import MAX_ORDER
from . import frames, slab, stock, tables, window

SHOWN = 8  # of findings of one kind, unless all are asked for
KASAN_OFFSET = 0xDFFFFC0000000000  # sanitize/sanitize.mk: -fasan-shadow-offset

Finding = namedtuple("Finding", "part kind text")


def whole_window(a):
    owners = window.audit(a)
    stock.audit(a, owners)
    window.lost(a, owners)


class Audit:
    """One look at everything. findings: what is wrong; notes: what was under way, or not looked at."""

    def __init__(self, state):
        self.state, self.findings, self.notes = state, [], []
        self.inside, self.cr3s = busy.cpus()
        self.held = []
        self.look("locks", lambda: True, lambda _: self.held.extend(busy.locks(state)))
        self.look("frames", self.has_frames, frames.audit)
        self.look("tables", self.has_tables, tables.audit)
        self.look("slab", self.has_slab, slab.audit)
        self.look("window", self.has_window, whole_window)

    def look(self, part, is_there, audit):
        """At a part, if it is there yet."""
        self.part = part
        try:
            if is_there():
                audit(self)
            else:
                self.notes.append(f"{part}: not there yet, mm_init() is still to make it")
        except Broken as problem:
            self.wrong(f"{problem}: the rest of this part was not looked at")

    # What there is

    def has_tables(self):
        return self.state.tree.root is not None

    def has_frames(self):
        return self.has_tables() and self.state.number("nr_frames") != 0

    def has_slab(self):
        return self.has_frames() and bool(self.state.slabs.caches)

    def has_window(self):
        return self.has_slab() and bool(self.state.window.root) and bool(self.state.window.cpus_with_stock)

    def shadow(self):
        """(first, last) address of the shadow of a kernel under KASAN, which has tables and frames of its own; or None."""
        if gdb.lookup_global_symbol("kasan_ready") is None:
            return None
        return (self.state.map.direct >> 3) + KASAN_OFFSET, ((1 << 64) - 1 >> 3) + KASAN_OFFSET

    def is_shadow_table(self, pa):
        """A table of the shadow's lies in a frame of KASAN's."""
        span = self.shadow()
        return span is not None and any(t.pa == pa and span[0] & -1 << 39 <= t.va <= span[1] for t in self.state.tree.tables)

    def roots(self):
        """(CPU, CR3) of those that walk tables in long mode and run our kernel."""
        return [(cpu, cr3) for cpu, cr3 in self.cr3s if cpu < self.state.nr_cpus]

    # What is wrong

    def wrong(self, text, caller=None):
        """Something is. Its kind is the line of code that says so."""
        caller = caller or inspect.currentframe().f_back
        self.findings.append(Finding(self.part, (caller.f_code.co_filename, caller.f_lineno), text))

    def equal(self, what, counted, recorded, who="the kernel"):
        if counted != recorded:
            self.wrong(f"{what}: there are {counted}, {who} counts {recorded}", inspect.currentframe().f_back)

    def lines(self, every=False):
        """The findings as text; of many of a kind the first few."""
        seen = Counter()
        for finding in self.findings:
            seen[finding.kind] += 1
            if every or seen[finding.kind] <= SHOWN:
                yield f"{finding.part}: {finding.text}"
            elif seen[finding.kind] == SHOWN + 1:
                more = sum(f.kind == finding.kind for f in self.findings) - SHOWN
                yield f"{finding.part}: … and {more} more like this: `mm check all` shows them"

    def under_way(self):
        """Who holds what, and where CPUs are: complaints may be only due to that."""
        for lock in self.held:
            here = next((i for i in self.inside if i.cpu == lock.cpu), None)
            place = f" in {here.function}(), {here.file}:{here.line}" if here else ""
            yield (f"CPU {lock.cpu} holds the lock '{lock.name}'{place}: what is said of "
                   f"{' and '.join(lock.parts)} may be only due to that")
        holders = {lock.cpu for lock in self.held}
        for here in self.inside:
            if here.cpu not in holders:
                by = f", called from {here.outer}()" if here.outer != here.function else ""
                yield (f"CPU {here.cpu} is in {here.function}(), {here.file}:{here.line}{by}: what it has in hand "
                       "is in no book, and may look lost")

    # Words that several parts use

    def frame(self, pfn):
        """A frame, and what its struct page says."""
        page = self.state.frames.page(pfn)
        return f"frame {pfn:#x} ({self.state.frames.state_of(pfn)}{self.asked(page)})" if page else \
            f"frame {pfn:#x}, which is no RAM,"

    def asked(self, page):
        """Who asked last, where the struct page says it."""
        named = self.state.frames.names.get(page.state) not in ("tail", "reserved", "slab")
        return f", last asked for by {words.code(self.state.map.image + page.owner)}" if named and page.owner else ""

    def lost(self, heads, where):
        """Blocks that no book leads to: a finding for each who asked for some."""
        groups = {}
        for pfn in heads:
            page = self.state.frames.page(pfn)
            some = groups.setdefault((self.state.frames.names.get(page.state, "?"), self.asked(page)), [])
            some += range(pfn, pfn + (1 << min(page.order, MAX_ORDER)))
        for (word, asked), some in groups.items():
            self.wrong(f"leaked: {words.number(len(some), 'frame')} of state {word}{asked}, {where}: {self.runs(some)}",
                       inspect.currentframe().f_back)

    def runs(self, pfns, most=12):
        """"0x5, 0x9-0xc"."""
        every = self.state.frames.runs(pfns)
        text = ", ".join(f"{a:#x}" if a == b else f"{a:#x}-{b:#x}" for a, b in every[:most])
        return text + (f", … ({len(every)} runs)" if len(every) > most else "")
