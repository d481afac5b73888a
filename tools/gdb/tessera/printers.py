"""How gdb prints our types: `p page`, `info locals`, a frame's arguments. `p/r` prints what is really there.

A printer says in one line what the value means, in the words of `mm`; of a list or magazine also what is in it.
"""

import gdb

from . import paging, words
from .machine import Problem
from .paging import ADDRESS, G, P, PAGE, PS
from .state import Broken, now
from .state.window import Queue, distance

TYPES = {}  # name: the class that prints it


def prints(*names):
    """Of these types."""
    def keep(kind):
        TYPES.update(dict.fromkeys(names, kind))
        return kind
    return keep


def find(value):
    """What gdb asks for each value that it prints."""
    kind = value.type.unqualified()
    while kind.code == gdb.TYPE_CODE_TYPEDEF:
        if kind.name in TYPES:
            return TYPES[kind.name](value)
        kind = kind.target().unqualified()
    found = TYPES.get(kind.tag) if kind.code == gdb.TYPE_CODE_STRUCT else None
    return found(value) if found else None


class Printer:
    """One value. text(): what it means. inside(): (label, value) of what it holds."""

    def __init__(self, value):
        self.value = value

    def number(self, name):
        return int(self.value[name])

    def to_string(self):
        try:
            return self.text()
        except (gdb.error, gdb.GdbError, Broken, Problem, ValueError) as problem:
            return f"(cannot be told: {problem})"

    def text(self):
        raise NotImplementedError


class Container(Printer):
    """One that holds others, which gdb prints behind it."""

    def children(self):
        try:
            yield from ((f"[{i}]", one) for i, one in enumerate(self.inside()))
        except (gdb.error, gdb.GdbError, Broken, Problem):
            return

    @staticmethod
    def display_hint():
        return "array"

    def inside(self):
        raise NotImplementedError


@prints("vaddr_t")
class Address(Printer):
    """A virtual address, kept as a number."""

    def text(self):
        return f"{int(self.value):#x}"


@prints("paddr_t")
class Physical(Printer):
    def text(self):
        return f"{self.number('v'):#x} (frame {self.number('v') >> 12:#x})"


@prints("pte_t")
class Entry(Printer):
    """Its level is not told: large leaves have PS, all leaves G, and tables neither."""

    def text(self):
        value = self.number("v")
        if value & (P | PS) == P | PS:
            return f"{value:#x}: large page {value & ADDRESS & -PAGE * 2:#x} {words.may(value)}"
        return f"{value:#x}: {words.entry(value, 1 if value & G or not value & P else 2)}"


@prints("page")
class PageOf(Printer):
    def text(self):
        frames = now().frames
        word = frames.names.get(self.number("state"), f"state {self.number('state')}")
        order = self.number("order")
        text = f"{word}, order {order}"
        if self.value.address is not None:
            text = f"frame {frames.pfn_of(int(self.value.address)):#x}: {text}"
        if word == "slab":
            cache = now().slabs.caches.get(self.number("slab_cache"))
            text += f" of {cache.name if cache else 'no cache'}, {self.number('slab_used')} objects out of it"
        elif self.number("owner") and word not in ("tail", "reserved"):
            text += f", last asked for by {words.code(now().map.image + self.number('owner'))}"
        return f"{text}, next {self.number('next'):#x}, prev {self.number('prev'):#x}"


@prints("page_list")
class PageList(Container):
    """Frames linked through their struct pages."""

    def links(self):
        head = type("Head", (), {"first": self.number("first")})
        return [pfn if pfn is not None else page for pfn, page in now().frames.chain(head)]

    def text(self):
        return words.number(len(self.links()), "block")

    def inside(self):
        for one in self.links():
            yield f"{one:#x}" if isinstance(one, int) else one


@prints("queue")
class QueueOf(Printer):
    """Counters that never end: what they mean is their differences."""

    def text(self):
        ready, closed, tail = distance(Queue(*(self.number(name) for name in Queue._fields)))
        return f"{ready} ready, {closed - ready} for the next flush, {tail - closed} came since (head {self.number('head')})"


@prints("area_list")
class AreaListOf(Container):
    """Freed areas of one size."""

    def one(self):
        nr = Queue(*(int(self.value["nr"][name]) for name in Queue._fields))
        return type("List", (), {"nr": nr, "first": int(self.value["first"]["v"])})

    def text(self):
        return f"{words.number(distance(self.one().nr)[2], 'area')}: {QueueOf(self.value['nr']).text()}"

    def inside(self):
        return (f"{va:#x}" for va in now().window.chain(self.one()))


@prints("vmrange")
class Range(Printer):
    def text(self):
        start, pages = self.number("start"), self.number("nr_pages")
        return (f"0x{start << 12:x}, {words.number(pages, 'page')} free; at or below it at most {self.number('largest')}, "
                f"priority {self.number('priority'):#x}, left {int(self.value['left']):#x}, right {int(self.value['right']):#x}")


@prints("vmwindow")
class WindowOf(Printer):
    def text(self):
        return (f"0x{self.number('start') << 12:x}-0x{(self.number('end') << 12) - 1:x}: {self.number('nr_used')} areas, "
                f"{self.number('pages_free')} pages free, root {int(self.value['free']):#x}")


@prints("vm_area")
class AreaOf(Printer):
    def text(self):
        area = words.Area(self.number("start"), self.number("nr_pages"), self.number("kind"), 0, False)
        return (f"0x{area.start:x}-0x{words.area_end(area) - 1:x}, {words.number(area.pages, 'page')}, "
                f"{words.kind_name(area.kind)} by {words.code(self.number('caller'))}")


@prints("mapping")
class MappingOf(Printer):
    def text(self):
        rights = str(self.value["prot"]).replace("PAGE_", "")
        return (f"0x{self.number('va'):x} -> 0x{int(self.value['pa']['v']):x}, {words.size(self.number('bytes'))}, {rights}, "
                f"level {self.number('level')}")


@prints("walk")
class WalkOf(Printer):
    """What a CPU remembers of a walk."""

    def text(self):
        span = self.number("span")
        return "nothing" if span == paging.TOP or not int(self.value["table"]) else \
            f"0x{span << 21 & paging.TOP:x} -> table {int(self.value['table']):#x}"


@prints("magazine")
class MagazineOf(Container):
    """The items that there are; behind them old ones lie."""

    def text(self):
        return f"{self.number('nr')} of at most {self.number('most')}"

    def inside(self):
        return (self.value["item"][i] for i in range(min(self.number("nr"), 30)))


@prints("spinlock")
class Lock(Printer):
    def text(self):
        owner = self.number("owner")
        return f"'{self.value['name'].string()}', " + (f"held by CPU {owner - 1}" if owner else "free")


@prints("kmem_cache")
class CacheOf(Printer):
    def text(self):
        if not int(self.value["now"]["name"]):
            return "no cache"
        stats = self.value["now"]
        return (f"{stats['name'].string()}: objects of {int(stats['bytes'])} bytes, {int(stats['in_use'])} out of "
                f"{words.number(int(stats['slabs']), 'slab')} of {int(stats['per_slab'])}; {Lock(self.value['lock']).text()}")


@prints("memrange")
class RangeOfMemory(Printer):
    def text(self):
        word = str(self.value["type"]).replace("MEM_", "").lower()
        return f"0x{self.number('start'):x}-0x{self.number('end') - 1:x} {word}"


@prints("memmap")
class MapOfMemory(Container):
    def text(self):
        return words.number(self.number("nr"), "range")

    def inside(self):
        return (self.value["range"][i] for i in range(min(self.number("nr"), 128)))


@prints("image_section")
class Section(Printer):
    def text(self):
        return (f"{self.value['name'].string()} 0x{self.number('start'):x}-0x{self.number('end') - 1:x} "
                f"{str(self.value['prot']).replace('PAGE_', '')}")


find.name, find.enabled = "tessera", True  # as `info pretty-printer` wants it
gdb.pretty_printers[:] = [one for one in gdb.pretty_printers if getattr(one, "name", "") != "tessera"] + [find]
