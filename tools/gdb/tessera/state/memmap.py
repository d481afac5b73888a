"""The memory map: who owns which physical range (mm/memmap.c), and from there what is RAM at all."""

import bisect
from collections import namedtuple

from .dwarf import layout, names

Range = namedtuple("Range", "start end type")  # bytes; type in the kernel's words


class MemoryMap:
    """Sorted ranges; `ram`: those that are RAM, glued together: each such stretch has its struct pages in a row."""

    LAST_RAM = "acpi"  # memmap_is_ram(): types up to this one

    def __init__(self, state):
        data = state.bytes_of("memmap")
        kind = layout("struct memmap", "nr")
        words = names("enum memmap_type", "MEM_")
        one = layout("struct memrange", "start", "end", "type")
        count, at = kind.one(data).nr, kind.offset("range")
        if count > (kind.size - at) // one.size:
            count = 0  # what is there is no memory map yet
        self.ranges = [Range(r.start, r.end, words.get(r.type, "?"))
                       for r in one.rows(data[at:at + count * one.size])]
        last = next(value for value, word in words.items() if word == self.LAST_RAM)
        self.ram_types = {word for value, word in words.items() if value <= last}
        self.ram = []
        for r in self.ranges:
            if r.type not in self.ram_types:
                continue
            if self.ram and self.ram[-1][1] == r.start:
                self.ram[-1] = self.ram[-1][0], r.end
            else:
                self.ram.append((r.start, r.end))
        self.ends = [end for _, end in self.ram]
        self.range_ends = [r.end for r in self.ranges]

    def is_ram(self, pa, count=1):
        """All of these bytes, in one stretch?"""
        i = bisect.bisect_right(self.ends, pa)
        return i < len(self.ram) and self.ram[i][0] <= pa and pa + count <= self.ends[i]

    def find(self, pa):
        """The Range that holds pa; None: nobody's."""
        i = bisect.bisect_right(self.range_ends, pa)
        return self.ranges[i] if i < len(self.ranges) and self.ranges[i].start <= pa else None

    def of_type(self, *types):
        return [r for r in self.ranges if r.type in types]
