"""The window: descriptors, free addresses and stocks together make it up, each page once; each frame has one owner."""

from collections import Counter

from .. import paging, words
from ..paging import A, ADDRESS, D, G, NX, P, PAGE, PWT, PCD, W, X
from ..state.dwarf import length
from ..state.window import CLOSED, MASK, READY, distance

PLAIN = P | W | A | D | G | NX  # what pte_make_leaf(pa, 1, PAGE_KERNEL) adds to pa
SHARED = 32  # lists for areas of many pages (STOCK_LISTS - STOCK_SIZES)
LIVE = "vmalloc", "vmap", "stack", "ioremap"
OWN = "vmalloc", "stack"
HIDDEN = "free", "stock", "reserved", "table"  # states of frames that vmap must not show


def audit(a):
    extents = treap(a)
    tiles(a, extents)
    owners = {}  # frame: where it is mapped, in words
    for one in a.state.window.described:
        area(a, one, owners)
    stocks(a, owners)
    freed(a)
    deferred(a)
    a.lost([pfn for word in ("vmalloc", "text") for pfn in a.state.frames.of_state(word) if pfn not in owners],
           "mapped by no area and in no CPU's stock")
    empty_tables(a, extents)


# Free addresses

def treap(a):
    """Order, heap, the largest below each, sums. The extents of areas by it; None if its links are broken."""
    window = a.state.window
    nodes, broken = window.treap
    for text in broken:
        a.wrong(f"free ranges: {text}")
    if (window.start, window.end) != (window.lo >> 12, (window.hi + 1 >> 12) - 1):
        a.wrong(f"vmalloc_window says that the window is pages {window.start:#x}-{window.end:#x}; by the address map it "
                f"is {window.lo >> 12:#x}-{(window.hi + 1 >> 12) - 1:#x}")
    by_address = {node.at: node for node in nodes}
    behind = window.start
    for i, node in enumerate(nodes):
        if (node.start != behind) if i == 0 else (node.start < behind + 2):
            where = f"at page {behind:#x}, where the window begins" if i == 0 else \
                f"two pages or more behind {behind:#x}, where the range before it ends: an area is a guard and a page at least"
            a.wrong(f"free range {span(node)} must begin {where}")
        behind = node.start + node.pages
        largest = max([node.pages] + [by_address[c].largest for c in (node.left, node.right) if c in by_address])
        if node.largest != largest:
            a.wrong(f"free range {span(node)} says that the largest at or below it has {node.largest} pages; it has "
                    f"{largest}")
        for child in (by_address[c] for c in (node.left, node.right) if c in by_address):
            if child.priority > node.priority:
                a.wrong(f"free range {span(node)} has priority {node.priority:#x}, its child {span(child)} a higher one, "
                        f"{child.priority:#x}: no heap")
    if nodes and behind != window.end and not broken:
        a.wrong(f"the last free range ends at page {behind:#x}; the window's last that may be used is {window.end - 1:#x}")
    nodes_are_objects(a, nodes)
    if broken:
        return None
    a.equal("free ranges", len(nodes), window.nr_used + 1, "vmalloc_window")
    a.equal("free pages of the window", sum(node.pages for node in nodes), window.pages_free, "vmalloc_window")
    return window.extents


def span(node):
    return f"0x{node.start << 12:x}, {words.number(node.pages, 'page')} (node {node.at:#x})"


def nodes_are_objects(a, nodes):
    """Each is an object in use of the cache vmrange."""
    slabs = a.state.slabs
    number = (a.state.number("node_cache", "vmarea.c") - a.state.address("caches", "slab.c"))
    cache = next((c for c in slabs.caches.values() if c.name == "vmrange"), None)
    if cache is None:
        a.wrong(f"there is no cache 'vmrange' for the nodes of free ranges (node_cache is at {number:#x} of caches)")
        return
    for node in nodes:
        pa = node.at - a.state.map.direct
        slab = slabs.slabs.get(pa >> 12)
        index, inside = divmod(pa % PAGE, cache.bytes)
        if slab is None or slab.cache is not cache or inside or index >= cache.per_slab:
            a.wrong(f"free range {span(node)}: its node is no object of cache vmrange, it lies in {a.frame(pa >> 12)}")
        elif slab.free >> index & 1 or node.at in slabs.at_hand:
            a.wrong(f"free range {span(node)}: its node is an object that is free: the next allocation overwrites it")


# Each page of the window once

def tiles(a, extents):
    """Descriptors against what lies between free ranges; nothing is mapped where addresses are free."""
    window = a.state.window
    if extents is None:
        return
    by_guard = {one.guard >> 12: one for one in window.described}
    for first, end in extents:
        one = by_guard.pop(first, None)
        if one is None:
            a.wrong(f"addresses 0x{first << 12:x}-0x{(end << 12) - 1:x} are in use, by the free ranges, but "
                    f"{guard_text(a, first << 12)}")
        elif one.area.pages != end - first - 1:
            a.wrong(f"area 0x{one.area.start:x}: its descriptor says {words.number(one.area.pages, 'page')}, the free ranges "
                    f"leave it {end - first - 1}")
    for one in by_guard.values():
        a.wrong(f"the guard of area 0x{one.area.start:x} ({words.kind_name(one.area.kind)}, "
                f"{words.number(one.area.pages, 'page')}) lies {inside_of(one.guard >> 12, extents)}")
    strays(a, extents)


def guard_text(a, va):
    """What is where a descriptor must be."""
    entry = next((e for e in a.state.window.entries if e.va <= va < e.va + paging.level_bytes(e.level)), None)
    if entry is None:
        return "their first page, the guard, holds no descriptor: nothing says whose they are"
    if entry.value & P:
        return (f"their first page, the guard, is mapped: {words.entry(entry.value, entry.level)}. "
                "The descriptor is gone, and what runs off the area before does not fault")
    return f"their first page's entry is {entry.value:#x}, which is no descriptor"


def inside_of(page, extents):
    """Where a page lies that no extent begins with."""
    for first, end in extents:
        if first <= page < end:
            return f"inside the addresses 0x{first << 12:x}-0x{(end << 12) - 1:x} of another area"
    return "where addresses are free"


def strays(a, extents):
    """Entries where addresses are free: a guard behind an area that is mapped, what was not unmapped."""
    i = 0
    for e in a.state.window.entries:
        first, last = e.va >> 12, e.va + paging.level_bytes(e.level) - 1 >> 12
        while i < len(extents) and extents[i][1] <= first:
            i += 1
        if i < len(extents) and extents[i][0] <= first and last < extents[i][1]:
            continue
        if e.value & P:
            before = extents[i - 1] if i else None
            guard = f": the guard behind area 0x{before[0] + 1 << 12:x}" if before and before[1] == first else ""
            a.wrong(f"0x{e.va:x} is mapped ({words.entry(e.value, e.level)}), but this address is free{guard}")
        elif not e.value & words.AREA_TAG:
            a.wrong(f"0x{e.va:x}: entry {e.value:#x} is left where the address is free")


def empty_tables(a, extents):
    """Tables that serve free addresses only were to be unlinked."""
    if not extents:
        return
    for t in a.state.tree.tables:
        first, last = t.va >> 12, t.va + paging.level_bytes(t.level + 1) - 1 >> 12
        if t.level > 2 or not extents[0][0] <= last or not a.state.window.start <= first <= a.state.window.end:
            continue
        if not any(lo <= last and first < end for lo, end in between(extents, first)):
            a.wrong(f"the page table at {t.pa:#x} ({paging.NAMES[t.level]}) serves 0x{t.va:x}-"
                    f"0x{t.va + paging.level_bytes(t.level + 1) - 1:x}, all free addresses: it was to be unlinked")


def between(extents, first):
    """The extents around this page."""
    lo, hi = 0, len(extents)
    while lo < hi:
        middle = (lo + hi) // 2
        if extents[middle][1] <= first:
            lo = middle + 1
        else:
            hi = middle
    return extents[lo:lo + 1]


# Areas

def area(a, one, owners):
    """A descriptor, and what is mapped between it and its end."""
    found, kind = one.area, words.kind_name(one.area.kind)
    name = f"area 0x{found.start:x}"
    if one.entry.level != 1:
        a.wrong(f"{name}: its descriptor is an entry of level {one.entry.level}, at {one.entry.at:#x}: it guards "
                f"{words.size(paging.level_bytes(one.entry.level))}")
        return
    if kind not in LIVE + ("freed",) or not found.pages:
        a.wrong(f"{name}: its descriptor {one.entry.value:#x} says kind {found.kind}, {found.pages} pages")
        return
    entries = a.state.window.pages_of(found)
    if kind == "freed":
        mapped = sum(bool(e.value & P) for e in entries)
        if mapped and found.start not in a.state.window.deferred:
            a.wrong(f"{name} is freed, but {mapped} of its entries still map pages")
    else:
        whole(a, name, found, entries)
    for e in entries:
        if e.value & P:
            page(a, name, kind, found, e, owners)


def whole(a, name, found, entries):
    """Every page of a live area is mapped."""
    mapped = sum(paging.level_bytes(e.level) >> 12 for e in entries if e.value & P)
    if mapped != found.pages:
        here = {(e.va - found.start >> 12) + i for e in entries if e.value & P
                for i in range(paging.level_bytes(e.level) >> 12)}
        missing = [n for n in range(found.pages) if n not in here] if found.pages < 1 << 20 else []
        text = ", ".join(f"+{x}" if x == y else f"+{x}-+{y}" for x, y in a.state.frames.runs(missing)[:6])
        a.wrong(f"{name}: {mapped} of its {found.pages} pages are mapped" + (f"; {text} not" if text else ""))
    for e in entries:
        if not e.value & P and not e.value & words.AREA_TAG:
            a.wrong(f"{name}: the entry for 0x{e.va:x} is {e.value:#x}: not present, and not empty")


def page(a, name, kind, found, e, owners):
    """One leaf of an area."""
    size = paging.level_bytes(e.level)
    pa = e.value & ADDRESS & -size
    if kind in ("vmap", "ioremap"):
        for at in range(pa, pa + size, PAGE):
            shown(a, name, kind, e, at)
        return
    if e.level == 1 and e.value - pa != PLAIN and not found.mixed and kind != "freed":
        a.wrong(f"{name}: the entry for 0x{e.va:x} is {words.entry(e.value, 1)}, not plain rw-, and the area is not "
                "marked as mixed: vfree would stock it as it is")
    if e.level == 2:
        large(a, name, found, e)
    for at in range(pa, pa + size, PAGE):
        own(a, name, e, at >> 12, e.va + at - pa, owners)


def own(a, name, e, pfn, va, owners):
    """A frame that an area has for itself."""
    word = a.state.frames.state_of(pfn)
    if word not in ("vmalloc", "text"):
        a.wrong(f"{name} maps, at 0x{va:x}, {a.frame(pfn)}, which is not vmalloc's")
    elif pfn in owners:
        a.wrong(f"frame {pfn:#x} is mapped twice: at 0x{va:x} (+{va - int(name.split()[-1], 16) >> 12} of {name}) and "
                f"{owners[pfn]}")
    elif (word == "text") != bool(e.rights & X):
        a.wrong(f"0x{va:x} may be executed: {bool(e.rights & X)}; but frame {pfn:#x} has state {word}")
    owners.setdefault(pfn, f"at 0x{va:x} of {name}")


def shown(a, name, kind, e, pa):
    """A frame that an area shows, and somebody else has."""
    head = a.state.frames.head(pa >> 12)
    word = head and a.state.frames.names.get(head[1].state)
    if kind == "ioremap" and head:
        a.wrong(f"{name}, of ioremap, maps RAM at 0x{e.va:x}: {a.frame(pa >> 12)}")
    elif kind == "vmap" and head and (word in HIDDEN or (word == "text" and e.rights & W)):
        a.wrong(f"{name}, of vmap, maps at 0x{e.va:x} {a.frame(pa >> 12)}: {why_hidden(word)}")


def why_hidden(word):
    return {"free": "it is free, and its next owner will share it with this area",
            "stock": "it is free, and its next owner will share it with this area",
            "reserved": "it was never anybody's", "table": "it is a page table",
            "text": "it is code, and can be written here"}[word]


def large(a, name, found, e):
    """A leaf of 2 MiB has its page table kept, with entries for the same pages."""
    table = a.state.window.kept_tables.get(e.va)
    if not found.mixed:
        a.wrong(f"{name} has a leaf of 2 MiB at 0x{e.va:x}, and is not marked as mixed: vfree takes it for a page table")
    if table is None:
        a.wrong(f"{name}: the leaf of 2 MiB at 0x{e.va:x} has no page table in its care: vfree could not split it")
        return
    pa = e.value & ADDRESS & -paging.level_bytes(2)
    for i, value in enumerate(paging.read_table(a.state.phys, table)):
        if value != pa + i * PAGE + PLAIN:
            a.wrong(f"{name}: the page table kept for 0x{e.va:x}, at {table:#x}, has {value:#x} as entry {i}, must have "
                    f"{pa + i * PAGE + PLAIN:#x}")
            break


# Stocks

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
