"""What the kernel's data structures hold at this stop, as Python objects, each read when it is first asked for.

    memmap.py   who owns which physical range
    tables.py   page tables: all of them, and where they wait when unlinked
    frames.py   struct pages, the buddy's lists, the magazines
    window.py   areas, free addresses, stocks
    slabs.py    caches, slabs, objects
    busy.py     who holds a lock, or is in the middle of something

Everything is read from physical memory and found by symbols, types by DWARF: no function of the kernel runs, no table
must be right, and nothing is kept when the machine goes on. What leads nowhere (a link out of RAM) is a Broken, which
the commands tell and `mm check` counts.
"""

import functools

import gdb

from .. import machine
from ..machine import Problem
from .dwarf import layout, length
from .memmap import MemoryMap


class Broken(Problem):
    """A pointer or link that leads to where no such thing can be. gdb prints it as an error, `mm check` as a finding."""


class State:
    """All of it. Properties are read once."""

    def __init__(self):
        self.memmap = MemoryMap(self)
        if not self.memmap.ranges:
            raise Problem("the kernel has no memory map yet: mm_init() has not begun, so nothing is anybody's\n"
                          "  go on to a later moment, say: tbreak smp_init, continue")
        self.map = layout("struct address_map", "levels", "leaf_levels", "direct", "vmemmap", "vmalloc_start",
                          "vmalloc_end", "image", "sections", "nr_sections").one(self.bytes_of("address_map"))

    # Reading

    def phys(self, pa, count):
        """As machine.phys(), but of RAM only: a wild pointer must not touch a device."""
        if not self.memmap.is_ram(pa, count):
            raise Broken(f"physical address {pa:#x} is no RAM")
        return machine.phys(pa, count)

    def linear(self, va):
        """The physical address of a place in the image or in the direct map of RAM."""
        pa = va - machine.IMAGE_BASE if va >= self.map.image else va - self.map.direct
        if pa < 0 or not self.memmap.is_ram(pa, 1):
            raise Broken(f"{va:#x} lies neither in the direct map of RAM nor in the image")
        return pa

    def read(self, va, count):
        """Bytes of the image or the direct map."""
        return self.phys(self.linear(va), count)

    def symbol(self, name, file=None):
        """The gdb.Symbol of a variable; file: where it is static, "tlb.c"."""
        for found in gdb.lookup_static_symbols(name) if file else [gdb.lookup_global_symbol(name)]:
            if found and (not file or found.symtab.filename.rsplit("/", 1)[-1] == file):
                return found
        raise Problem(f"the kernel has no variable '{name}'{f' in {file}' if file else ''}: are its symbols loaded "
                      "(`file build/tessera.elf`)?\n  or is it another kernel than these commands were written for?")

    def address(self, name, file):
        """Where a static variable lies."""
        return int(self.symbol(name, file).value().address)

    @staticmethod
    def linker(name):
        """The value of a symbol of linker.ld's: compilers need not describe it."""
        return int(gdb.parse_and_eval(f"(unsigned long long)&{name}")) & (1 << 64) - 1

    def bytes_of(self, name, file=None):
        """A variable's."""
        symbol = self.symbol(name, file)
        return machine.phys(int(symbol.value().address) - machine.IMAGE_BASE, symbol.type.sizeof)

    def number(self, name, file=None):
        """A variable that is a number or pointer."""
        return int.from_bytes(self.bytes_of(name, file), "little")

    def rows(self, kind, paths, name, file=None):
        """A variable that is a struct, or an array of them."""
        return layout(kind, *paths).rows(self.bytes_of(name, file))

    def text(self, va):
        """A C string, of the image's."""
        data = self.read(va, 64)
        return data.split(b"\0", 1)[0].decode("ascii", "replace")

    # What it is made of

    @functools.cached_property
    def nr_cpus(self):
        return self.number("running", "smp.c")

    @functools.cached_property
    def tree(self):
        from .tables import Tree
        return Tree(self)

    @functools.cached_property
    def frames(self):
        from .frames import Frames
        return Frames(self)

    @functools.cached_property
    def window(self):
        from .window import Window
        return Window(self)

    @functools.cached_property
    def slabs(self):
        from .slabs import Slabs
        return Slabs(self)

    def length(self, name, file=None):
        """How many elements an array has."""
        return length(self.symbol(name, file).type.strip_typedefs())


_now = []


def now():
    """The State of this stop."""
    if not _now:
        _now.append(State())
    return _now[0]


def _forget(_event=None):
    _now.clear()


for _event in (gdb.events.cont, gdb.events.memory_changed, gdb.events.exited, gdb.events.inferior_deleted,
               gdb.events.new_objfile):
    _event.connect(_forget)
