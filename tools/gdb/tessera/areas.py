"""mm areas: the areas of the vmalloc window, as their descriptors in the page tables say; and one of them, closely."""

import gdb

from . import paging, words
from .command import Command, write
from .machine import Problem
from .paging import ADDRESS, P, PAGE
from .state import now
from .state.window import CLOSED, READY

HEAD = "first byte         last byte             pages kind    caller"


class Areas(Command):
    """list the areas of the vmalloc window, or tell all about one

mm areas [KIND... | vmallocinfo | VA]

Without an argument all, as the kernel's `areas` has them; KIND: only vmalloc, vmap, stack, ioremap or freed ones;
vmallocinfo: as Linux's /proc/vmallocinfo and the kernel's `vmallocinfo`. VA: the area that this address lies in: its
descriptor, its frames, what is behind it, a freed one's place in stock.

There is no list of areas in memory: each is described by the entry of the guard page before it, where nothing is
mapped and the CPU leaves 63 bits to us (include/mm/vmalloc.h). So they can be read in a kernel that hangs, too.

    mm areas freed            what waits for a flush, or for the next vmalloc of its size
    mm areas p                the area that a pointer points into
    mm map p each             its pages, one by one"""

    name, usage = "areas", "[KIND... | vmallocinfo | VA]"
    words = (*words.KINDS[1:], "vmallocinfo")

    def run(self, text):
        window, arguments = now().window, gdb.string_to_argv(text)
        if arguments == ["vmallocinfo"]:
            write(vmallocinfo(window))
        elif not arguments or arguments[0] in words.KINDS[1:]:
            for word in arguments:
                if word not in words.KINDS[1:]:
                    raise self.misused(f"'{word}' is no kind of area: they are {', '.join(words.KINDS[1:])}")
            write(table(window, arguments))
        else:
            write(one(window, self.number(text, "an address")))


Areas()


def row(area):
    return (f"0x{area.start:016x} 0x{words.area_end(area) - 1:016x} {area.pages:>8} {words.kind_name(area.kind):<7} "
            f"{words.code(area.caller)[:25]}")


def table(window, kinds):
    """As the kernel's show_areas()."""
    yield HEAD
    yield from (row(a) for a in window.areas() if not kinds or words.kind_name(a.kind) in kinds)
    s = window.stats()
    yield (f"areas: {s['areas']} with {s['used']} pages; freed, not yet flushed: {s['freed_areas']}; "
           f"frames held: {s['frames']}")
    yield f"addresses left: {words.size(s['largest'] * PAGE)} in the largest range"


def vmallocinfo(window):
    """As the kernel's show_vmallocinfo()."""
    for a in window.areas():
        end = words.area_end(a)
        kind = "unpurged" if a.kind == words.FREED else words.kind_name(a.kind)
        leaves = {e.va: e for e in window.pages_of(a) if e.value & P}
        huge = sum(e.level == 2 for e in leaves.values())
        first = leaves.get(a.start)
        phys = first.value & ADDRESS if first else 0
        more = f" phys={phys:#x}" if kind == "ioremap" else f" huge={huge}" if huge else ""
        yield f"{a.start:#x}-{end - 1:#x} {end - a.start:>10} {words.code(a.caller)} pages={a.pages}{more} {kind}"
    s = window.stats()
    for name, pages in (("VmallocTotal:", s["window"]), ("VmallocUsed:", s["used"]), ("VmallocChunk:", s["largest"])):
        yield f"{name:<13} {pages * 4:>14} kB"


def one(window, va):
    """All about the area that va lies in."""
    if not window.lo <= va <= window.hi:
        raise Problem(f"mm areas: {va:#x} is not in the vmalloc window, {window.lo:#x}-{window.hi:#x}\n"
                      f"  `mm walk {va:#x}` says what is mapped there")
    area = window.find(va)
    if area is None:
        raise Problem(f"mm areas: {va:#x} lies in no area: the address is free\n  `mm areas` lists all")
    end, kind = words.area_end(area), words.kind_name(area.kind)
    guard = next(d for d in window.described if d.area is area)
    yield (f"area   0x{area.start:x}-0x{end - 1:x}, {words.number(area.pages, 'page')} "
           f"({words.size(area.pages * PAGE)}), {kind}{', mixed' * area.mixed}")
    yield f"where  byte {va - area.start} of it" + (": in the guard page before it" if va < area.start else "")
    yield f"asked  by {words.code(area.caller)}{line_of(area.caller)}"
    yield f"guard  0x{guard.guard:x}: the entry at {guard.entry.at:#x} holds {guard.entry.value:#x}"
    yield from mapped(window, area)
    if area.kind == words.FREED:
        yield f"stock  {stock_place(window, area.start)}"
    yield f"behind {behind(window, end)}"


def line_of(pc):
    """Which line of the source asked: that of the call, before the return address."""
    sal = gdb.find_pc_line(pc - 1)
    return f" ({sal.symtab.filename}:{sal.line})" if sal.symtab else ""


def mapped(window, area):
    """What its pages are."""
    leaves = [paging.leaf_of(e) for e in window.pages_of(area) if e.value & P]
    if not leaves:
        return
    pages, pieces = sum(leaf.bytes for leaf in leaves) // PAGE, 0
    end = None
    for leaf in leaves:
        pieces += leaf.pa != end
        end = leaf.pa + leaf.bytes
    rights = sorted({words.may(leaf.value) + words.TYPES[paging.memory_type(leaf.value)] for leaf in leaves})
    large = sum(leaf.bytes // PAGE for leaf in leaves if leaf.bytes > PAGE)
    yield (f"pages  {pages} mapped, {', '.join(rights)}, in {words.number(pieces, 'piece')} of physical memory"
           + (f"; {large} of them in pages of 2 MiB" if large else ""))


def stock_place(window, start):
    """In which list a freed area is, in words."""
    places = window.freed.get(start, [])
    if not places:
        return "in no list: " + ("an interrupt freed it, and it waits for the next free outside one"
                                 if start in window.deferred else "on its way there, or lost (`mm check`)")
    return "; ".join(place_text(window, place) for place in places)


def place_text(window, place):
    owner = "the depot, for any CPU," if place.cpu is None else f"CPU {place.cpu}'s"
    flush = "" if place.cpu is None else next(s.flush for s in window.stocks if s.cpu == place.cpu)
    state = {READY: "flushed: the next of its size may have it", CLOSED: f"waits for flush {flush}"}.get(
        place.state, "waits for a flush that nobody has asked for yet")
    return f"{owner} list {place.index}, number {place.place}: {state}"


def behind(window, end):
    """The page that fences it."""
    entry = next((e for e in window.entries if e.va == end), None)
    if entry is None:
        return f"0x{end:x}: free, and not mapped"
    return f"0x{end:x}: " + ("mapped! it must not be: `mm check`" if entry.value & P else
                             "the guard of the next area" if words.area_of(entry.value, end) else "not mapped")
