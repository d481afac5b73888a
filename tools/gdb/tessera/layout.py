"""mm layout: the address map, and what of it is mapped. Also: which range, or which area, an address lies in."""

import bisect
from collections import Counter, namedtuple

import gdb

from . import machine, paging, words
from .command import Command, write
from .machine import phys

RAM_TYPES = "MEM_USABLE", "MEM_ACPI"  # enum memmap_type: from, to; memmap_is_ram()
BOOT_MAPPED = 4 << 30  # boot/entry.S: until mm_init() has a memory map, this much of the direct map
HEAD = "first byte          last byte                size  may  range                    mapped"

Range = namedtuple("Range", "name start end")  # end: exclusive, up to 2^64


class Layout(Command):
    """show the address map, and how much of each range is mapped

mm layout

One row a range, from 0 to 2^64 - 1, as the kernel's `layout` prints it: what the first page in it permits, its name,
and then how much of it is mapped, in which pages. Last, how many frames the tables take."""

    name = "layout"
    completes = gdb.COMPLETE_NONE

    def run(self, text):
        if text:
            raise self.misused(f"'{text}' is too much")
        write(report(*machine.tables()))


Layout()


def report(root, levels):
    """The lines of `mm layout`."""
    tables = paging.count_tables(phys, root, levels)
    plan = whole_plan()
    use = [Counter() for _ in plan]
    may = [None] * len(plan)
    starts = [r.start for r in plan]
    for leaf in paging.leaves(phys, root, levels):
        at = bisect.bisect_right(starts, leaf.va) - 1
        while at < len(plan) and plan[at].start < leaf.va + leaf.bytes:
            lo, hi = max(leaf.va, plan[at].start), min(leaf.va + leaf.bytes, plan[at].end)
            use[at][leaf.bytes] += hi - lo
            may[at] = may[at] or paging.RIGHTS[leaf.rights]
            at += 1
    return [HEAD, *map(row, plan, may, use),
            f"page tables: {words.number(tables, 'frame')}, {words.size(tables * 4096)}; the top one lies at {root:#x}"]


def row(r, may, use):
    text = f"0x{r.start:016x}  0x{r.end - 1:016x}  {words.size(r.end - r.start):>9}  {may or '---':>3}  {r.name}"
    if not use:
        return text
    pieces = ", ".join(f"{-(-part // bytes_)} of {words.size(bytes_)}" for bytes_, part in sorted(use.items()))
    return f"{text:<76} {words.size(sum(use.values()))}: {pieces}"


# The plan

def whole_plan():
    """Every Range, holes and guards included: layout_at() of the kernel, from 0 to 2^64."""
    plan, end = [], 0
    fixed, sections = fixed_ranges(), image_sections()
    for i, r in enumerate(fixed + sections):
        if end < r.start:
            plan.append(Range("guard" if i > len(fixed) else "hole", end, r.start))
        plan.append(r)
        end = r.end
    return plan + [Range("hole", end, 1 << 64)]


def fixed_ranges():
    m, levels = machine.variable("address_map"), machine.levels()
    direct, vmemmap, half = int(m["direct"]), int(m["vmemmap"]), paging.level_bytes(levels + 1) // 2
    frames = ram_frames()
    return [Range("null", 0, 4096), Range("noncanonical", half, (1 << 64) - half),
            Range("direct", direct, direct + frames * 4096),
            Range("vmalloc", int(m["vmalloc_start"]), int(m["vmalloc_end"]) + 1),
            Range("vmemmap", vmemmap, vmemmap + (frames * 16 + 4095 & -4096))]


def ram_ranges():
    """(start, end) of physical RAM, as the kernel knows it; empty before mm_init() has a memory map."""
    memmap = machine.variable("memmap")
    first, last = (int(gdb.parse_and_eval(name)) for name in RAM_TYPES)
    ranges = [memmap["range"][i] for i in range(min(int(memmap["nr"]), memmap["range"].type.range()[1] + 1))]
    return [(int(r["start"]), int(r["end"])) for r in ranges if first <= int(r["type"]) <= last]


def ram_frames():
    """Frames up to the end of RAM."""
    return max((end for _, end in ram_ranges()), default=BOOT_MAPPED) >> 12


def image_sections():
    m = machine.variable("address_map")
    kind = gdb.lookup_type("struct image_section")
    found = [machine.at(kind, int(m["sections"]) + i * kind.sizeof) for i in range(int(m["nr_sections"]))]
    return [Range(machine.string(s["name"]), int(s["start"]), int(s["end"])) for s in found]


# Which area, which range

class Places:
    """What an address belongs to, by the areas that the tables (root, levels) have now, and by the plan."""

    def __init__(self, tables=None):
        self.plan = whole_plan()
        self.starts = [r.start for r in self.plan]
        window = next(r for r in self.plan if r.name == "vmalloc")
        self.window = range(window.start, window.end)
        self.areas = find_areas(*(tables or machine.tables()), self.window)
        self.guards = [area.start - 4096 for area in self.areas]

    def behind_guard(self, va):
        """The area whose guard is the nearest at or before va, or None."""
        at = bisect.bisect_right(self.guards, va)
        return self.areas[at - 1] if at and va in self.window else None

    def area_at(self, va):
        """The area that has a page at va, or None."""
        area = self.behind_guard(va)
        return area if area and area.start <= va < words.area_end(area) else None

    def holding(self, va):
        """As the kernel's find_vm_area: the area that va lies in, its guard page before it included; or None."""
        area = self.behind_guard(va)
        return area if area and va < words.area_end(area) else None

    def near(self, va):
        """As the kernel's area_near: the area to name for a stray address. A stack's guard is that stack's, below it;
        of two others the one that ends here is meant: overruns are likelier."""
        own = self.holding(va)
        if own and own.kind == words.STACK:
            return own
        return self.holding((va & -4096) - 1) or own

    def range_at(self, va):
        return self.plan[bisect.bisect_right(self.starts, va) - 1]

    def of(self, va, value):
        """The last column of `map`: area and page in it, or the range."""
        area = self.area_at(va)
        if area:
            return f"0x{area.start:016x} +{(va - area.start) >> 12}{words.TYPES[paging.memory_type(value)]}"
        return self.range_at(va).name


def find_areas(root, levels, window):
    """Every area of the window, by its descriptor, in rising order."""
    found = []
    for level, base, _, entries, _ in paging.tables(phys, root, levels, window[0], window[-1]):
        if level == 1:
            found += [words.area_of(value, base + i * 4096) for i, value in enumerate(entries)
                      if value & words.AREA_TAG and not value & 1 and base + i * 4096 in window]
    return found


def about(va, tables=None):
    """Lines that say what va belongs to: range and area, as the kernel's fault report does."""
    try:
        places = Places(tables)
    except paging.Spoilt as problem:
        return [f"  note   {problem}"]
    r, area = places.range_at(va), places.near(va)
    lines = [f"  range  {r.name} 0x{r.start:x}-0x{r.end - 1:x}, then {places.range_at(r.end & paging.TOP).name}"]
    if area:
        end = words.area_end(area)
        where = ("in the guard page before it" if va < area.start else
                 "inside" if va < end else "in the guard page behind it")
        lines += [f"  area   0x{area.start:x}-0x{end - 1:x}, {area.pages} pages",
                  f"         {words.kind_name(area.kind)}, asked for by {words.code(area.caller)}",
                  f"  where  its byte {va - area.start}: {where}"]
    return lines
