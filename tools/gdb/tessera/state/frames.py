"""Physical frames: the struct page array, the buddy's lists, and the magazines in front of them (mm/page_alloc.c).

The array is read at one go and kept as columns: the states of a million frames are a million bytes, in which "all
tails up to here" is one count().
"""

import functools
from collections import namedtuple

from .. import paging
from .dwarf import layout, names

MAX_ORDER = 10
Page = namedtuple("Page", "next prev owner state order flags")
Block = namedtuple("Block", "pfn frames state order")  # as the kernel's next_block() sees it
Listed = namedtuple("Listed", "order prev next")  # a place in a free list
Magazine = namedtuple("Magazine", "cpu number nr most scale limit items")
FIELDS = "next", "prev", "owner", "state", "order", "flags"


class Stretch:
    """The struct pages of RAM without a hole in it."""

    def __init__(self, first, data):
        kind = layout("struct page", *FIELDS)
        self.first, self.count, self.data = first, len(data) // kind.size, data
        self.states, self.orders = kind.column(data, "state"), kind.column(data, "order")
        self.owners = kind.column(data, "owner")

    def page(self, i):
        kind = layout("struct page", *FIELDS)
        return kind.one(self.data, i * kind.size)


class Frames:
    """struct pages, free lists, magazines."""

    def __init__(self, state):
        self.state, self.size = state, layout("struct page").size
        self.names = names("enum page_state", "PG_")
        self.code = {name: value for value, name in self.names.items()}
        self.unmapped = []  # (first, last) frame without a struct page
        self.stretches = [Stretch(start >> 12, self.array(start >> 12, end >> 12)) for start, end in state.memmap.ram]
        slab = layout("struct page").all
        self.flags_at = layout("struct page").offset("flags")
        self.used_bits, self.cache_shift = slab["slab_used"].bits, slab["slab_cache"].bit - slab["slab_used"].bit

    def array(self, first, end):
        """The struct pages [first, end), read through the tables that map them; zeros where they are not mapped."""
        state, out = self.state, bytearray((end - first) * self.size)
        base, tree = state.map.vmemmap + first * self.size, state.tree
        last, done = base + len(out) - 1, base
        for leaf in paging.leaves(tree.phys, tree.root, tree.levels, base, last) if tree.root else ():
            lo, hi = max(leaf.va, base), min(leaf.va + leaf.bytes, last + 1)
            if lo > done:
                self.unmapped.append((self.pfn_of(done), self.pfn_of(lo - 1)))
            if state.memmap.is_ram(leaf.pa + lo - leaf.va, hi - lo):
                out[lo - base:hi - base] = state.phys(leaf.pa + lo - leaf.va, hi - lo)
            done = hi
        if done <= last:
            self.unmapped.append((self.pfn_of(done), self.pfn_of(last)))
        return bytes(out)

    def pfn_of(self, page):
        """The frame whose struct page this is; any address."""
        return (page - self.state.map.vmemmap) // self.size

    # One frame

    def find(self, pfn):
        """(Stretch, index), or None: no RAM."""
        for stretch in self.stretches:
            if stretch.first <= pfn < stretch.first + stretch.count:
                return stretch, pfn - stretch.first
        return None

    def page(self, pfn):
        """Its struct page, or None: it is no RAM."""
        found = self.find(pfn)
        return found and found[0].page(found[1])

    def state_of(self, pfn):
        """What its struct page says, in the kernel's words; None: it is no RAM."""
        found = self.find(pfn)
        return self.names.get(found[0].states[found[1]], "?") if found else None

    def is_head(self, pfn, state, order):
        """Is it the first frame of such a block?"""
        found = self.find(pfn)
        return bool(found) and (found[0].states[found[1]], found[0].orders[found[1]]) == (self.code[state], order)

    def head(self, pfn):
        """(pfn, Page) of the first frame of the block that holds it: the kernel's page_head(); or None."""
        for order in range(MAX_ORDER + 1):
            first = pfn & -1 << order
            page = self.page(first)
            if page is None:
                break
            if page.state != self.code["tail"] and first + (1 << page.order) > pfn:
                return first, page
        return None

    def cache_of(self, page):
        """The number of the cache that a slab's struct page names."""
        return page.flags >> self.cache_shift

    def used_of(self, page):
        return page.flags & (1 << self.used_bits) - 1

    # All of them

    def blocks(self):
        """Each Block in rising order; reserved frames one by one, as a frame that is a tail where a head should be."""
        for r in self.state.memmap.ranges:
            if r.type not in self.state.memmap.ram_types:
                continue
            stretch, i = self.find(r.start >> 12)
            end = (r.end >> 12) - stretch.first
            while i < end:
                state, order = stretch.states[i], stretch.orders[i]
                count = 1 if state == 0 else min(1 << min(order, MAX_ORDER), end - i)
                yield Block(stretch.first + i, count, state, order)
                i += count

    @functools.cached_property
    def sums(self):
        """Frames by state, in the kernel's words; tails count as their head."""
        sums = dict.fromkeys(self.names.values(), 0)
        for block in self.blocks():
            word = self.names.get(block.state, "?")
            sums[word] = sums.get(word, 0) + block.frames
        return sums

    def of_state(self, word):
        """The frames that begin a block of this state."""
        code, out = self.code[word], []
        for stretch in self.stretches:
            out += [stretch.first + i for i, state in enumerate(stretch.states) if state == code] \
                if stretch.states.count(code) else []
        return out

    def runs(self, pfns):
        """[(first, last)] of neighbours among them."""
        out = []
        for pfn in sorted(pfns):
            if out and out[-1][1] + 1 == pfn:
                out[-1][1] = pfn
            else:
                out.append([pfn, pfn])
        return [tuple(run) for run in out]

    # The buddy's lists

    @functools.cached_property
    def heads(self):
        """(first, last) of each order's list."""
        return self.state.rows("struct page_list", ("first", "last"), "free_lists", "page_alloc.c")

    def chain(self, head):
        """(pfn, Page) along a page_list, until its end, or a link that leads nowhere or back: (None, what is wrong)."""
        seen, pfn = set(), head.first
        while pfn:
            page = self.page(pfn)
            if page is None or pfn in seen:
                yield None, f"a link leads to frame {pfn:#x}, which " + ("is no RAM" if page is None else "came before")
                return
            seen.add(pfn)
            yield pfn, page
            pfn = page.next

    @functools.cached_property
    def listed(self):
        """{first frame: Listed} of all that hangs in the buddy's lists."""
        return {pfn: Listed(order, page.prev, page.next) for order, head in enumerate(self.heads)
                for pfn, page in self.chain(head) if pfn is not None}

    @functools.cached_property
    def free_blocks(self):
        """How many each order's list has."""
        counts = [0] * len(self.heads)
        for place in self.listed.values():
            counts[place.order] += 1
        return counts

    # Magazines

    @functools.cached_property
    def magazines(self):
        """[CPU][number]: Magazines, of objects by their cache's number, of blocks behind them by order."""
        state, kind = self.state, layout("struct magazine", "nr", "most", "scale", "limit")
        items = layout("struct magazine", "item")
        count = state.length("of_cpu_0", "page_alloc.c")
        out = {}
        for cpu, va in enumerate(pointers(state.bytes_of("magazines"))):
            if va:
                data = state.read(va, count * kind.size)
                every = [one for one in items.struct.iter_unpack(data)]
                out[cpu] = [Magazine(cpu, n, m.nr, m.most, m.scale, m.limit, every[n][:m.nr])
                            for n, m in enumerate(kind.rows(data))]
        return out

    @functools.cached_property
    def first_block_magazine(self):
        return self.state.length("of_cpu_0", "page_alloc.c") - len(self.heads)

    def block_magazines(self):
        """(CPU, order, Magazine) of frames."""
        for cpu, all_of_it in self.magazines.items():
            for order, one in enumerate(all_of_it[self.first_block_magazine:]):
                yield cpu, order, one

    @functools.cached_property
    def stocked(self):
        """{first frame: (CPU, order, place in the magazine)} of all blocks in magazines."""
        return {self.pfn_of(item): (cpu, order, i) for cpu, order, magazine in self.block_magazines()
                for i, item in enumerate(magazine.items)}


def pointers(data):
    return memoryview(data).cast("Q").tolist()
