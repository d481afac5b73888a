"""The vmalloc window: areas by their descriptors, free addresses by the treap, what waits or is in stock.

Three books of the kernel's speak of the same addresses, and none was copied from another: the descriptors in the page
tables, the treap of free ranges (vmarea.c), the lists of freed areas (vmstock.c). `mm check` compares them.
"""

import bisect
import functools
from collections import namedtuple

from .. import paging, words
from ..paging import ADDRESS, P, PAGE
from .dwarf import layout

MASK = (1 << 64) - 1
READY, CLOSED, WAITS = "ready", "closed", "waits"  # to be taken; ended by the next flush; came since

Described = namedtuple("Described", "guard entry area")  # a descriptor: where, its paging.Entry, the words.Area
Node = namedtuple("Node", "at start pages largest priority left right parent")  # of the treap; start in pages
Queue = namedtuple("Queue", "head ready closed tail")
AreaList = namedtuple("AreaList", "cpu index nr first last")  # cpu None: the depot's
Freed = namedtuple("Freed", "cpu index place state")  # where a freed area hangs
Stock = namedtuple("Stock", "cpu ring mask frames pages batch flush lists")
InRing = namedtuple("InRing", "cpu number entry state")


def distance(queue):
    """(ready, closed, tail) counted from head: counters run for ever, and some backwards past 0."""
    return tuple(n - queue.head & MASK for n in queue[1:])


def waiting_state(queue, i):
    """Of the i-th from head."""
    ready, closed, _ = distance(queue)
    return READY if i < ready else CLOSED if i < closed else WAITS


class Window:
    """What it holds."""

    def __init__(self, state):
        self.state, self.tree = state, state.tree
        self.lo, self.hi = state.map.vmalloc_start, state.map.vmalloc_end
        window = state.rows("struct vmwindow", ("start", "end", "free", "nr_used", "pages_free"), "vmalloc_window")[0]
        self.start, self.end, self.root, self.nr_used, self.pages_free = window

    # By the page tables

    @functools.cached_property
    def entries(self):
        """All paging.Entry in the window."""
        every = self.tree.entries
        first = bisect.bisect_left(every, self.lo, key=lambda e: e.va)
        return every[first:bisect.bisect_right(every, self.hi, key=lambda e: e.va)]

    @functools.cached_property
    def described(self):
        """All descriptors, in rising order, sound or not."""
        return [Described(e.va, e, words.area_of(e.value, e.va)) for e in self.entries
                if e.value & (P | words.AREA_TAG) == words.AREA_TAG]

    @functools.cached_property
    def at(self):
        """{start: words.Area}."""
        return {one.area.start: one.area for one in self.described}

    @functools.cached_property
    def kept_tables(self):
        """{va of a leaf of 2 MiB: where the page table lies that the block's second struct page keeps for it}."""
        out = {}
        for e in self.entries:
            if e.value & P and e.level == 2:
                second = self.state.frames.page((e.value & ADDRESS & -paging.level_bytes(2)) + PAGE >> 12)
                if second and self.state.memmap.is_ram(second.next << 12, PAGE):
                    out[e.va] = second.next << 12
        return out

    @functools.cached_property
    def guards(self):
        return [d.guard for d in self.described]

    def areas(self):
        """The words.Areas that the kernel lists: next_vm_area() does not look into the one before."""
        behind = 0
        for one in self.described:
            if one.guard >= behind:
                yield one.area
                behind = words.area_end(one.area) - PAGE

    def find(self, va):
        """The words.Area that holds va, its guard included, or None: find_vm_area()."""
        i = bisect.bisect_right(self.guards, va) - 1
        if i < 0 or not self.lo <= va <= self.hi:
            return None
        area = self.described[i].area
        return area if va < words.area_end(area) else None

    @functools.cached_property
    def vas(self):
        return [e.va for e in self.entries]

    def pages_of(self, area):
        """The paging.Entry of what is mapped or noted inside it, the guard not."""
        lo = bisect.bisect_left(self.vas, area.start)
        return self.entries[lo:bisect.bisect_left(self.vas, words.area_end(area))]

    @functools.cached_property
    def notes(self):
        """{va: value} of entries that are neither present nor descriptors: a freed area's first leads to the next."""
        return {e.va: e.value for e in self.entries if not e.value & (P | words.AREA_TAG)}

    # By the treap

    @functools.cached_property
    def treap(self):
        """Its Nodes in rising order as the links have them; and what is wrong with links."""
        kind = layout("struct vmrange", "start", "nr_pages", "largest", "priority", "left", "right")
        nodes, wrong, seen, stack, at, parent = [], [], set(), [], self.root, 0
        while stack or at:
            while at:
                if at in seen:
                    wrong.append(f"the node {at:#x} is reached twice, the second time from {parent:#x}")
                    break
                if not self.is_node(at):
                    wrong.append(f"the node {parent:#x} leads to {at:#x}, where no vmrange can be")
                    break
                seen.add(at)
                node = Node(at, *kind.one(self.state.read(at, kind.size)), parent)
                stack.append(node)
                parent, at = at, node.left
            if not stack:
                break
            node = stack.pop()
            nodes.append(node)
            parent, at = node.at, node.right
        return nodes, wrong

    def is_node(self, at):
        pa = at - self.state.map.direct
        return pa > 0 and at % 8 == 0 and self.state.memmap.is_ram(pa, layout("struct vmrange").size)

    @functools.cached_property
    def extents(self):
        """[(first, end)] in pages: what lies between free ranges, a guard and its area each, by the treap."""
        nodes = self.treap[0]
        return [(a.start + a.pages, b.start) for a, b in zip(nodes, nodes[1:])]

    # Stocks

    @functools.cached_property
    def cpus_with_stock(self):
        return [cpu for cpu, va in enumerate(memoryview(self.state.bytes_of("vm_stocks")).cast("Q").tolist()) if va]

    def lists_of(self, cpu, data):
        paths = "nr.head", "nr.ready", "nr.closed", "nr.tail", "first", "last"
        return [AreaList(cpu, i, Queue(*row[:4]), row.first, row.last)
                for i, row in enumerate(layout("struct area_list", *paths).rows(data))]

    @functools.cached_property
    def stocks(self):
        """Of each CPU that has one."""
        queues = [f"{q}.{n}" for q in ("frames", "pages") for n in Queue._fields]
        kind = layout("struct vm_stock", "ring", "mask", *queues, "batch", "flush")
        vas = memoryview(self.state.bytes_of("vm_stocks")).cast("Q").tolist()
        out = []
        for cpu in self.cpus_with_stock:
            data = self.state.read(vas[cpu], kind.size)
            row = kind.one(data)
            lists = data[kind.offset("lists"):kind.offset("lists") + kind.field("lists").type.sizeof]
            out.append(Stock(cpu, row[0], row[1], Queue(*row[2:6]), Queue(*row[6:10]), row[10], row[11],
                             self.lists_of(cpu, lists)))
        return out

    @functools.cached_property
    def depot(self):
        return self.lists_of(None, self.state.bytes_of("depot", "vmstock.c"))

    def lists(self):
        """All AreaLists that are not empty."""
        for owner in [stock.lists for stock in self.stocks] + [self.depot]:
            yield from (one for one in owner if one.nr.head != one.nr.tail)

    def chain(self, one):
        """The first pages of its areas, as each one's first entry leads to the next; no more than it counts."""
        va, count = one.first, distance(one.nr)[2]
        for i in range(count):
            if not va or i > len(self.described):
                return
            yield va
            va = self.notes.get(va, 0)

    @functools.cached_property
    def freed(self):
        """{first page of an area: the Freeds that have it}."""
        out = {}
        for one in self.lists():
            for i, va in enumerate(self.chain(one)):
                out.setdefault(va, []).append(Freed(one.cpu, one.index, i, waiting_state(one.nr, i)))
        return out

    def ring_entries(self, stock):
        """The entries of its ring from head to tail: a list of numbers."""
        count = min(distance(stock.frames)[2], stock.mask + 1)
        ring = memoryview(self.state.read(stock.ring, 8 * (stock.mask + 1))).cast("Q").tolist()
        at = stock.frames.head & stock.mask
        return (ring + ring)[at:at + count]

    @functools.cached_property
    def ringed(self):
        """{frame: InRing} of all frames in stock."""
        return {(entry & ADDRESS) >> 12: InRing(stock.cpu, i, entry, waiting_state(stock.frames, i))
                for stock in self.stocks for i, entry in enumerate(self.ring_entries(stock))}

    @functools.cached_property
    def deferred(self):
        """First pages of areas that an interrupt freed and that wait for a free outside."""
        out, va = {}, self.state.number("vm_deferred")
        while va and va not in out:
            out[va] = None
            leaf = self.tree.leaf(va)
            page = leaf and self.state.frames.page(leaf.pa + va - leaf.va >> 12)
            va = page.next | page.prev << 32 if page else 0
        return out

    @functools.cached_property
    def owners(self):
        """{frame: va} of all that areas map that own their frames."""
        out = {}
        for one in self.described:
            if one.area.kind in (words.KINDS.index("vmalloc"), words.KINDS.index("stack"), words.FREED):
                for e in self.pages_of(one.area):
                    if e.value & P:
                        size = paging.level_bytes(e.level)
                        for at in range(0, size, PAGE):
                            out.setdefault((e.value & ADDRESS & -size) + at >> 12, e.va + at)
        return out

    def stats(self):
        """What vmalloc_stats() would say: a dict."""
        live = [a for a in self.areas() if a.kind != words.FREED]
        owning = [a for a in live if words.kind_name(a.kind) in ("vmalloc", "stack")]
        largest = self.largest()
        return {
            "window": self.hi - self.lo + 1 >> 12, "areas": len(live), "used": sum(a.pages for a in live),
            "freed_areas": sum(distance(one.nr)[2] for one in self.lists()),
            "waiting": sum(s.pages.tail - s.pages.ready & MASK for s in self.stocks),
            "frames": sum(a.pages for a in owning) + sum(distance(s.frames)[2] for s in self.stocks),
            "free": self.pages_free, "largest": max(largest, 1) - 1}

    def largest(self):
        kind = layout("struct vmrange", "largest")
        return kind.one(self.state.read(self.root, kind.size)).largest if self.root else 0
