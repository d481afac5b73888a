"""What was handed out and nobody can give back any more: nothing in memory leads to it.

mm/ keeps no list of what it hands out, so a lost block looks like one in use. But whoever means to use it has a pointer
to it somewhere. As a garbage collector does, we start at what is there for ever (variables, registers, the stacks in
use), look at every word that could be a pointer, go on in what it points to, and tell what was never reached. Pointers
may lead into the middle, be those of struct pages, or be entries of a vmap. A word that looks like a pointer by chance
hides a leak; what only a person knows, having typed `kmalloc` at the prompt, looks like one.
"""

import bisect
from collections import namedtuple

import gdb

from .. import machine, paging, words
from ..paging import ADDRESS, P, PAGE
from ..state.frames import pointers

Thing = namedtuple("Thing", "start end what pieces")  # [start, end) by its own address; pieces: its (pa, bytes)


def leaked(state):
    """The Things that nothing leads to, as lines; and how many things there are."""
    things = sorted([*objects(state), *blocks(state), *areas(state)])
    finder = Finder(state, things)
    reached, todo = set(), list(finder.roots())
    while todo:
        for thing in finder.targets(todo.pop()):
            if thing not in reached:
                reached.add(thing)
                todo += things[thing].pieces
    lost = [thing for i, thing in enumerate(things) if i not in reached]
    return [f"{thing.start:#x}-{thing.end - 1:#x}, {thing.what}" for thing in lost], len(things)


# What there is

def objects(state):
    """Small ones in use."""
    for slab in filter(None, state.slabs.slabs.values()):
        cache = slab.cache
        base = state.map.direct + slab.pfn * PAGE
        for i in range(cache.per_slab):
            at = base + i * cache.bytes
            if not slab.free >> i & 1 and at not in state.slabs.at_hand:
                yield Thing(at, at + cache.bytes, f"an object of {cache.name}", [(at - state.map.direct, cache.bytes)])


def blocks(state):
    """Frames of alloc_pages, large ones of kmalloc. What magazines point to is free, or was once in them: not looked at."""
    magazines = set(pointers(state.bytes_of("magazines")))
    for word in "alloc", "kmalloc":
        for pfn in state.frames.of_state(word):
            page = state.frames.page(pfn)
            size = PAGE << page.order
            at = state.map.direct + pfn * PAGE
            yield Thing(at, at + size, f"{words.size(size)} of {word}, asked for by "
                        f"{words.code(state.map.image + page.owner)}", [] if at in magazines else [(pfn * PAGE, size)])


def areas(state):
    """Live ones of the window, stacks apart. A vmap leads to what it shows."""
    for area in state.window.areas():
        kind = words.kind_name(area.kind)
        if kind in ("vmalloc", "vmap", "ioremap"):
            pieces = [(e.value & ADDRESS & -paging.level_bytes(e.level), paging.level_bytes(e.level))
                      for e in state.window.pages_of(area) if e.value & P] if kind != "ioremap" else []
            yield Thing(area.start, words.area_end(area), f"{words.number(area.pages, 'page')} of {kind}, asked for by "
                        f"{words.code(area.caller)}", pieces)


# Who leads to it

class Finder:
    """From words to Things."""

    def __init__(self, state, things):
        self.state, self.things = state, things
        self.starts = [thing.start for thing in things]
        m = state.map
        self.direct = range(m.direct, m.direct + state.memmap.ram[-1][1])
        self.pages = range(m.vmemmap, m.vmemmap + (state.memmap.ram[-1][1] >> 12) * state.frames.size)
        self.window = range(m.vmalloc_start, max((thing.end for thing in things), default=0))
        self.low = min(self.direct.start, self.pages.start, self.window.start)
        self.high = max(self.direct.stop, self.pages.stop, self.window.stop)

    def roots(self):
        """(pa, bytes) of variables and of stacks as far as they are in use; registers are targets of their own."""
        state = self.state
        stacks, behind = state.linker("__stacks_start"), state.linker("__stacks_end")
        magazines = state.address("of_cpu_0", "page_alloc.c")
        for start, end in ((state.linker("__data_start"), stacks), (behind, magazines),
                           (magazines + len(state.bytes_of("of_cpu_0", "page_alloc.c")), state.linker("__data_end"))):
            yield start - machine.IMAGE_BASE, end - start
        for values in registers():
            yield values
            rsp = values[-1]
            if stacks <= rsp < behind:
                yield rsp - machine.IMAGE_BASE & -8, behind - rsp
        for area in state.window.areas():  # other CPUs' stacks: all of them, as they are few
            if words.kind_name(area.kind) == "stack":
                for e in state.window.pages_of(area):
                    if e.value & P:
                        yield e.value & ADDRESS, PAGE

    def targets(self, place):
        """The numbers of the Things that words there may point to. place: (pa, bytes), or a list of words."""
        for word in self.words(place):
            at = self.address(word)
            i = bisect.bisect_right(self.starts, at) - 1
            if i >= 0 and at < self.things[i].end:
                yield i
        if isinstance(place, tuple):  # what is mapped by a vmap is reached with it
            i = bisect.bisect_right(self.starts, self.state.map.direct + place[0]) - 1
            if i >= 0 and self.state.map.direct + place[0] < self.things[i].end:
                yield i

    def words(self, place):
        """Those that could be pointers of ours."""
        if not isinstance(place, tuple):
            return [word for word in place if self.low <= word < self.high]
        pa, size = place
        found = []
        for at in range(pa, pa + size, PAGE):
            data = machine.phys(at, min(PAGE, pa + size - at))
            if data.count(0) != len(data):
                found += [word for word in memoryview(data[:len(data) & -8]).cast("Q") if self.low <= word < self.high]
        return found

    def address(self, word):
        """What it would be a pointer to: a struct page stands for its frame, a vmalloc frame for its area's page."""
        state = self.state
        if word in self.pages:
            word = state.map.direct + state.frames.pfn_of(word) * PAGE
        if word in self.direct:
            owner = state.window.owners.get(word - state.map.direct >> 12)
            return word if owner is None else owner
        return word


def registers():
    """The general ones of each CPU, rsp last."""
    before = gdb.selected_thread()
    try:
        for thread in gdb.selected_inferior().threads():
            thread.switch()
            frame = gdb.newest_frame()
            names = [r.name for r in frame.architecture().registers("general") if r.name.startswith("r") and r.name != "rsp"]
            yield [int(frame.read_register(name)) & paging.TOP for name in (*names, "rsp")]
    finally:
        before.switch()
