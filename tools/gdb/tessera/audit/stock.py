"""Stocks: freed areas and frames, each in one place, whether it waits for a flush or may be taken (mm/vmstock.c)."""

from collections import Counter

from .. import words
from ..paging import ADDRESS
from ..state.dwarf import length
from ..state.window import CLOSED, MASK, READY, distance
from .window import PLAIN

SHARED = 32  # lists for areas of many pages (STOCK_LISTS - STOCK_SIZES)


def audit(a, owners):
    """owners: {frame: where it is mapped, in words}; those in rings are added."""
    stocks(a, owners)
    freed(a)
    deferred(a)


def stocks(a, owners):
    """Each CPU's ring of frames, its queues; and all lists of areas."""
    window = a.state.window
    for stock in window.stocks:
        who = f"stock of CPU {stock.cpu}"
        queue(a, f"{who}, frames", stock.frames, stock.flush, stock.mask + 1)
        ring(a, who, stock, owners)
        for one in stock.lists:
            queue(a, f"{who}, list {one.index}", one.nr, stock.flush)
        waits = [stock.pages.closed - stock.pages.ready & MASK, stock.pages.tail - stock.pages.ready & MASK]
        counted = pages_that_wait(window, stock.cpu)
        a.equal(f"{who}: pages that the next flush ends the wait of", counted[0], waits[0], "it")
        a.equal(f"{who}: pages unmapped and not flushed", counted[1], waits[1], "it")
        if stock.flush > a.state.number("begun", "tlb.c") + 1:
            a.wrong(f"{who} waits for flush {stock.flush}, but only {a.state.number('begun', 'tlb.c')} have begun")
    for one in window.depot:
        queue(a, f"depot, list {one.index}", one.nr, None)
    for one in window.lists():
        area_list(a, one)


def pages_that_wait(window, cpu):
    """[in the closed batch, in all] of this CPU's lists."""
    counts, sizes = Counter(), {one.area.start: one.area.pages for one in window.described}
    for va, places in window.freed.items():
        for place in places:
            if place.cpu == cpu:
                counts[place.state] += sizes.get(va, 0)
    return [counts[CLOSED], sum(counts.values()) - counts[READY]]


def queue(a, who, nr, flush, room=None):
    """head <= ready <= closed <= tail, as counters that never end."""
    ready, closed, tail = distance(nr)
    if not ready <= closed <= tail or (room and tail > room):
        a.wrong(f"{who}: head {nr.head}, ready {nr.ready}, closed {nr.closed}, tail {nr.tail} are not in that order"
                + (f", or more than the {room} that there is room for" if room else ""))
    elif flush == 0 and ready != closed:
        a.wrong(f"{who}: {closed - ready} are in a closed batch, but no flush will end it")


def ring(a, who, stock, owners):
    for entry in a.state.window.ring_entries(stock):
        pfn = (entry & ADDRESS) >> 12
        if entry & ~ADDRESS != PLAIN:
            a.wrong(f"{who}: the entry {entry:#x} in its ring is not plain: {words.entry(entry, 1)}")
        if not a.state.frames.is_head(pfn, "vmalloc", 0):
            a.wrong(f"{who}: {a.frame(pfn)} is in its ring, and not vmalloc's")
        elif pfn in owners:
            a.wrong(f"{who}: frame {pfn:#x} is in its ring, and {owners[pfn]}, too: two will have it")
        owners.setdefault(pfn, f"in the ring of CPU {stock.cpu}")


def owner_of(one):
    return "depot" if one.cpu is None else f"stock of CPU {one.cpu}"


def area_list(a, one):
    """Areas of one size, each one's first entry leading to the next."""
    window = a.state.window
    who, last, count = f"{owner_of(one)}, list {one.index}", 0, distance(one.nr)[2]
    found = list(window.chain(one))
    for i, va in enumerate(found):
        held = window.at.get(va)
        if held is None or words.kind_name(held.kind) != "freed":
            what = f"the start of a live area ({words.kind_name(held.kind)})" if held else "the start of no area"
            a.wrong(f"{who}: its area number {i}, 0x{va:x}, is {what}")
        elif not list_fits(a, one.index, held.pages):
            a.wrong(f"{who}: its area number {i}, 0x{va:x}, has {words.number(held.pages, 'page')}, which is another "
                    "list's size")
        last = va
    if len(found) != count:
        a.wrong(f"{who}: {count} areas are counted, but the links end behind {len(found)}, at 0x{last:x}")
    elif last and (entry := a.state.tree.window_entry(last)) is not None and one.last != a.state.map.direct + entry:
        a.wrong(f"{who}: its last area is 0x{last:x}, whose entry is at {a.state.map.direct + entry:#x}, but it says "
                f"{one.last:#x}")


def list_fits(a, index, pages):
    sizes = length(a.state.symbol("depot", "vmstock.c").type.strip_typedefs()) - SHARED
    return index == (pages if pages < sizes else sizes + pages % SHARED)


def freed(a):
    """Each freed area is in one list."""
    window = a.state.window
    for va, places in window.freed.items():
        if len(places) > 1:
            a.wrong(f"freed area 0x{va:x} is in {len(places)} lists: " + ", ".join(
                f"{owner_of(p)}, list {p.index}" for p in places))
    for one in window.described:
        start = one.area.start
        if one.area.kind == words.FREED and start not in window.freed and start not in window.deferred:
            a.wrong(f"freed area 0x{start:x} ({words.number(one.area.pages, 'page')}) is in no stock: its addresses are lost")


def deferred(a):
    """What interrupts freed."""
    window = a.state.window
    for va in window.deferred:
        held = window.at.get(va)
        if held is None or words.kind_name(held.kind) != "freed":
            a.wrong(f"vm_deferred leads to 0x{va:x}, which is no freed area")
