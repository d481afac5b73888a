"""The window: descriptors, free addresses and stocks together make it up, each page once; each frame has one owner."""

from .. import paging, words
from ..paging import A, ADDRESS, D, G, NX, P, PAGE, W, X
from . import ranges

PLAIN = P | W | A | D | G | NX  # what pte_make_leaf(pa, 1, PAGE_KERNEL) adds to pa
LIVE = "vmalloc", "vmap", "stack", "ioremap"
HIDDEN = {  # states of frames that vmap must not show, and why
    "free": "it is free, and its next owner will share it with this area",
    "stock": "it is free, and its next owner will share it with this area",
    "reserved": "it was never anybody's", "table": "it is a page table"}


def audit(a):
    """Who maps which frame: {frame: where, in words}."""
    extents = ranges.audit(a)
    tiles(a, extents)
    owners = {}
    for one in a.state.window.described:
        area(a, one, owners)
    empty_tables(a, extents)
    return owners


def lost(a, owners):
    """Frames of vmalloc that are neither mapped nor in stock."""
    a.lost([pfn for word in ("vmalloc", "text") for pfn in a.state.frames.of_state(word) if pfn not in owners],
           "mapped by no area and in no CPU's stock")


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
    elif kind == "vmap" and word in HIDDEN:
        a.wrong(f"{name}, of vmap, maps at 0x{e.va:x} {a.frame(pa >> 12)}: {HIDDEN[word]}")
    elif kind == "vmap" and word == "text" and e.rights & W:
        a.wrong(f"{name}, of vmap, maps at 0x{e.va:x} {a.frame(pa >> 12)}: it is code, and can be written here")


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
