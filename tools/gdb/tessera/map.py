"""mm map and mm alias: what is mapped where, read off the page tables."""

from . import machine, paging, words
from .choice import WORDS, choose
from .command import Command, write
from .layout import Places
from .machine import Problem, phys

VIEWS = "each", "pieces", "frames", "gaps"
RUN_HEAD = "virtual            physical       page   pages pieces may area +page, or range"


class Map(Command):
    """show what is mapped: runs of neighbouring pages, or each page

mm map [VA [LAST] | all | window | direct | vmemmap | image] [each | pieces | frames] [gaps] [FILTER...] [root=TABLE [levels=4|5]]

Without an address the vmalloc window. VA: the area it lies in (its guard counts), or its page; VA LAST: from one to the
other.
A row is a run: pages of one size, side by side, of one area or range, with the same rights. "pieces" says in how many
pieces of physical memory they lie. Another view:

    pieces   a row for each of these pieces
    frames   these pieces in the order of physical addresses: who shares a frame with whom
    each     a row a page; the kernel's `map` prints the same
    gaps     also what is not mapped, and what the entries there say: guards, freed areas

A filter shows only such pages, ! in front of it only others:

    r-- rw- r-x rwx     these rights, all levels together      w x u    at least this one
    4K 2M 1G            mapped in pages of this size           uc wc    not cached so
    vmalloc vmap stack ioremap freed                           in an area of this kind

    mm map all w x      writable and executable: nothing, if all is well
    mm map direct 4K    what of the direct map is not in large pages
    mm map p each       the area that p points to, page by page"""

    name = "map"
    usage = ("[VA [LAST] | all | window | direct | vmemmap | image] [each | pieces | frames] [gaps] [FILTER...] "
             "[root=TABLE [levels=4|5]]")
    words = (*WORDS, *VIEWS)

    def run(self, text):
        choice = choose(self, text, VIEWS)
        views = choice.words
        if "gaps" in views and (choice.filters or "frames" in views):
            raise self.misused("filters and 'frames' are for pages that are mapped, and gaps are not")
        if len(views - {"gaps"}) > 1:
            raise self.misused(f"{' and '.join(sorted(views - {'gaps'}))} are views of the same: choose one")
        write(rows(choice))


Map()


# Rows

def rows(choice):
    """The lines of `mm map`."""
    found, views = choice.entries(), choice.words
    yield words.MAP_HEAD if "each" in views else RUN_HEAD
    things = found if "each" in views else paging.runs(found, bool({"pieces", "frames"} & views))
    if "frames" in views:
        things = sorted((run for run in things if type(run) is paging.Run), key=lambda run: (run.pa, run.va))
    if "gaps" in views:
        things = paging.with_gaps(things, choice.lo, choice.hi)
    yield from table(things, choice.places, "each" in views)


def table(things, places, each):
    """A line for each run, or page; a gap's only where there are Gaps among them. The last line counts."""
    count = lines = size = before = 0
    for thing in things:
        kind = type(thing)
        if kind is paging.Gap:
            yield from gap_rows(thing, places)
        elif kind is paging.Run:
            yield run_row(thing, places)
            count, lines, size = count + thing.pages, lines + 1, size + thing.pages * thing.bytes
        elif thing.value & paging.P:
            leaf = paging.leaf_of(thing)
            yield page_row(leaf, before if count else None, places)
            count, before = count + 1, leaf.pa
    yield f"{count} mappings" if each else f"{count} mappings in {words.number(lines, 'run')}, {words.size(size)}"


def page_row(leaf, before, places):
    """As the kernel's show_map(), but rights are what all levels grant; before: the physical address in the row above."""
    gap = "-" if before is None else f"{leaf.pa - before >> 12:+d}"
    return (f"0x{leaf.va:016x} 0x{leaf.pa:011x} {words.size(leaf.bytes)} {paging.RIGHTS[leaf.rights]} {gap:>8} "
            f"{places.of(leaf.va, leaf.value)}")


def run_row(run, places):
    return (f"0x{run.va:016x} 0x{run.pa:011x} {words.size(run.bytes)} {run.pages:7} {run.pieces:6} "
            f"{paging.RIGHTS[run.rights]} {places.of(run.va, run.value)}")


def gap_rows(gap, places):
    """What is not mapped: how much, and what it is, a row for each range or area that it lies in."""
    if gap.value:
        yield gap_row(gap.va, gap.bytes, words.entry(gap.value, gap.level))
        return
    at, end = gap.va, gap.va + gap.bytes
    while at < end:
        area, stop = places.area_at(at), places.range_at(at).end
        stop = min(end, words.area_end(area) if area else stop)
        yield gap_row(at, stop - at, places.of(at, 0))
        at = stop


def gap_row(va, size, what):
    return f"0x{va:016x} {'-':>13} {words.size(size):>20} --- {what}"


class Alias(Command):
    """show every virtual address that leads to a frame

mm alias PA

The rows are those of the kernel's `alias`: the address in the direct map, in the image, in each area that shows the
frame. A virtual address instead of PA: the frame that it leads to."""

    name, usage = "alias", "PA"

    def run(self, text):
        pa = self.number(text, "a physical address")
        write(aliases(pa if pa < 1 << 52 else self.frame_behind(pa)))

    def frame_behind(self, va):
        pa = machine.translate(va)
        if pa is None:
            raise Problem(f"mm alias: {va:#x} is virtual, and not mapped: `mm walk {va:#x}` says where the walk to it ends")
        return pa


Alias()


def aliases(pa):
    """The lines of `mm alias`."""
    tables = machine.tables()
    paging.count_tables(phys, *tables)
    places, count = Places(tables), 0
    yield words.MAP_HEAD
    for leaf in paging.leaves(phys, *tables):
        if 0 <= pa - leaf.pa < leaf.bytes:
            yield page_row(leaf._replace(va=leaf.va + pa - leaf.pa, pa=pa), pa if count else None, places)
            count += 1
    yield f"{count} mappings"
