"""mm frame: what a frame is: its state, who asked for it, in which book it stands, which addresses lead to it."""

import re

from . import paging, words
from .areas import stock_place
from .command import Command, write
from .machine import Problem
from .paging import PAGE
from .state import now
from .state.window import CLOSED, READY


class Frame(Command):
    """tell what a frame of physical memory is; or count frames by state

mm frame [PA | VA | pfn N]

Without an argument frames by state, as the kernel's `frames`. A number below 2^46 is a physical address; a greater one
a virtual address, of what the frame holds or of its struct page; pfn N: the frame with this number.

Told are the frame's block, its state, who last asked for it; the book that has it (a free list, a magazine, a page
table's place, a stock, a slab); and every virtual address that leads to it.

    mm frame $pa(p)        the same as: mm frame p
    mm frame pfn 0x3c61    as the kernel's messages number frames"""

    name, usage = "frame", "[PA | VA | pfn N]"

    def run(self, text):
        if not text:
            return write(sums(now().frames))
        found = re.match(r"pfn\b\s*(.*)", text)
        pfn = self.number(found[1], "a frame's number") if found else frame_of(now(), self.number(text, "an address"))
        return write(report(now(), pfn, "" if found else text))


Frame()


def sums(frames):
    """As the kernel's show_frames()."""
    yield "state           frames       size"
    counts = [(word, count) for word, count in frames.sums.items() if count]
    for word, count in counts + [("sum", sum(count for _, count in counts))]:
        yield f"{word:<10} {count:>11}  {words.size(count * PAGE):>9}"


def frame_of(state, value):
    """The number of the frame that is meant."""
    if value < 1 << 46:
        return value >> 12
    base, size = state.map.vmemmap, state.frames.size
    if any(base + (first >> 12) * size <= value < base + (end >> 12) * size for first, end in state.memmap.ram):
        return state.frames.pfn_of(value)
    leaf = state.tree.leaf(value)
    if leaf is None:
        raise Problem(f"mm frame: {value:#x} is not mapped, so no frame is behind it\n"
                      f"  `mm walk {value:#x}` says where the walk to it ends")
    return leaf.pa + value - leaf.va >> 12


def report(state, pfn, text):
    """The lines of `mm frame`."""
    frames, owner = state.frames, state.memmap.find(pfn << 12)
    yield f"frame 0x{pfn:x}, physical 0x{pfn << 12:x}; memory map: {owner.type if owner else 'nobody has it'}"
    page = frames.page(pfn)
    if page is None:
        yield "  state  no RAM: it has no struct page"
    else:
        yield f"  state  {block_text(state, pfn)}"
        for place in places(state, pfn):
            yield f"  place  {place}"
    for va, leaf in state.tree.aliases(pfn << 12):
        may = words.may(leaf.value) + words.TYPES[paging.memory_type(leaf.value)]
        yield f"  mapped 0x{va:016x} {may}{alias_text(state, va, leaf)}"
    number = int(text, 0) if re.fullmatch("0x[0-9a-fA-F]+|[0-9]+", text) else 0
    if number and frames.page(number) and number % PAGE:
        yield f"  (if {text} is a frame's number: mm frame pfn {text})"


def block_text(state, pfn):
    """As the kernel's page_text(), behind the frame's number: "kmalloc, in block 0x3c60 of 2^1 frames, …"."""
    frames, head = state.frames, state.frames.head(pfn)
    if head is None:
        return "a tail of no block that there is: `mm check`"
    first, page = head
    word = frames.names.get(page.state, f"? ({page.state})")
    block = f", in block 0x{first:x} of 2^{page.order} frames" if page.order or first != pfn else ", a single frame"
    asked = f", last asked for by {words.code(state.map.image + page.owner)}" if word != "slab" and page.owner else ""
    return word + block + asked


def places(state, pfn):
    """The books that have it, in words. More than one is one too many."""
    first, page = state.frames.head(pfn) or (pfn, state.frames.page(pfn))
    found = [text for look in (in_lists, in_tables, in_window, in_slab, in_image)
             for text in look(state, first, page, pfn)]
    word = state.frames.names.get(page.state)
    if not found and word in ("free", "stock", "table", "vmalloc", "text"):
        found = ["in no book: on its way between two, or lost (`mm check`)"]
    if not found and word in ("alloc", "kmalloc"):
        found = ["with whoever asked for it: mm/ keeps no list of these"]
    return found


def in_lists(state, first, _page, _pfn):
    frames = state.frames
    if (listed := frames.listed.get(first)) is not None:
        neighbours = (f"between {listed.prev:#x} and {listed.next:#x}" if listed.prev and listed.next else
                      f"first, before {listed.next:#x}" if listed.next else
                      f"last, behind {listed.prev:#x}" if listed.prev else "alone")
        yield f"in the free list of order {listed.order}, {neighbours}"
    if (stocked := frames.stocked.get(first)) is not None:
        yield f"in the magazine of CPU {stocked[0]} for order {stocked[1]}, number {stocked[2]}"


def in_tables(state, first, _page, _pfn):
    tree = state.tree
    for t in tree.tables:
        if t.pa == first << 12:
            used = sum(1 for word in t.words if word)
            serves = f"0x{t.va:x}-0x{t.va + paging.level_bytes(t.level + 1) - 1:x}" if t.level < tree.levels else \
                "all addresses: CR3 leads here"
            yield (f"a {paging.NAMES[t.level]}, the table of level {t.level} for {serves}; "
                   f"{used} of its 512 entries hold something")
    if first << 12 in tree.waiting[0]:
        yield "a page table, unlinked: it waits for a flush, as a CPU may be walking it"
    for va, table in state.window.kept_tables.items():
        if table == first << 12:
            yield f"a page table, kept under the leaf of 2 MiB at 0x{va:x}"


def in_window(state, _first, _page, pfn):
    window = state.window
    if (va := window.owners.get(pfn)) is not None:
        area = window.find(va)
        yield (f"at 0x{va:x}, page {va - area.start >> 12} of {area.pages} of area 0x{area.start:x}, "
               f"{words.kind_name(area.kind)}")
        if area.kind == words.FREED:
            yield f"that area: {stock_place(window, area.start)}"
    if (ringed := window.ringed.get(pfn)) is not None:
        flush = next(s.flush for s in window.stocks if s.cpu == ringed.cpu)
        how = {READY: "ready for the next vmalloc", CLOSED: f"waits for flush {flush}"}.get(
            ringed.state, "waits for a flush that nobody has asked for yet")
        yield f"in the stock of CPU {ringed.cpu}, number {ringed.number} of its ring: {how}"


def in_slab(state, first, _page, _pfn):
    slab = state.slabs.slabs.get(first)
    if slab:
        cache = slab.cache
        listed = "in its list of partly used slabs" if slab.free else "full, so in no list"
        yield (f"a slab of {cache.name}: {slab.used} of {cache.per_slab} objects of {cache.bytes} bytes out of it; "
               f"{listed}")


def in_image(state, _first, page, pfn):
    if state.frames.names.get(page.state) != "reserved":
        return
    words_of = {"image": "the kernel's image", "tables": "page tables made at boot", "vmemmap": "the struct page array",
                "module": "a file that the loader brought", "acpi": "firmware's ACPI tables"}
    yield words_of.get(state.memmap.find(pfn << 12).type, "firmware's")


def alias_text(state, va, leaf):
    """Which area, or which range."""
    area = state.window.find(va)
    if area:
        return f", page {va - area.start >> 12} of area 0x{area.start:x}, {words.kind_name(area.kind)}"
    m = state.map
    name = "direct map" if m.direct <= va < m.vmalloc_start else "image" if va >= m.image else \
        "struct pages" if va >= m.vmemmap else "window"
    return f", {name}" + (f", in a page of {words.size(leaf.bytes)}" if leaf.bytes > PAGE else "")
