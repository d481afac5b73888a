"""The kernel's page tables, all of them, and the places where a table's frame can be when no entry leads to it.

A table's frame is in the tree; or unlinked, in tlb.c's list of those that wait for a flush (CPUs may still walk them);
or under a leaf of 2 MiB in an area of vmalloc, in the care of the block's second struct page (vmap.c).
"""

import functools
from collections import Counter, namedtuple

from .. import paging
from ..paging import ADDRESS, P, PS
from .dwarf import layout

Table = namedtuple("Table", "level va pa words rights")  # va: what its first entry serves
Link = namedtuple("Link", "at value target")  # an entry that leads to a table, and where it lies
Stray = namedtuple("Stray", "at value level va")  # one that leads to no RAM


class Tree:
    """What kernel_pt leads to."""

    def __init__(self, state):
        self.state = state
        pt = state.rows("struct pagetable", ("root", "levels"), "kernel_pt")[0]
        self.levels = pt.levels
        self.root = state.linear(pt.root) if pt.root else None

    def phys(self, pa, count):
        """What is no RAM holds no tables: as empty, it is a Stray."""
        return self.state.phys(pa, count) if self.state.memmap.is_ram(pa, count) else bytes(count)

    @functools.cached_property
    def tables(self):
        """In rising order of what they serve, each before those that it leads to."""
        if self.root is None:
            return []
        return [Table(*t) for t in paging.tables(self.phys, self.root, self.levels)]

    @functools.cached_property
    def links(self):
        """Every entry that leads to a table."""
        return [Link(t.pa + 8 * i, e, e & ADDRESS) for t in self.tables if t.level > 1
                for i, e in enumerate(t.words) if e & (P | PS) == P]

    @functools.cached_property
    def reached(self):
        """{physical address: how many entries lead there}, the root's by CR3."""
        return Counter([link.target for link in self.links] + [self.root])

    @functools.cached_property
    def entries(self):
        """All that are neither empty nor lead to a table: leaves and notes, paging.Entry, in rising order."""
        if self.root is None:
            return []
        return list(paging.entries(self.phys, self.root, self.levels))

    @functools.cached_property
    def last_level(self):
        """{va >> 21: where the table with the pages' own entries lies}."""
        return {t.va >> 21: t.pa for t in self.tables if t.level == 1}

    @functools.cached_property
    def waiting(self):
        """Physical addresses of the unlinked tables that wait for a flush, as listed; what is wrong with the list."""
        found, pfn = {}, self.state.number("tables", "tlb.c")
        while pfn and pfn << 12 not in found:
            page = self.state.frames.page(pfn)
            if page is None:
                return found, f"it goes on at frame {pfn:#x}, which is no RAM"
            found[pfn << 12] = None
            pfn = page.next
        return found, f"it comes back to frame {pfn:#x}" if pfn else None

    @functools.cached_property
    def walk_cache(self):
        """(CPU, va >> 21, the table's address) that CPUs remember from their last walks in the window."""
        one = layout("struct walk", "span", "table")
        data = self.state.bytes_of("walk_cache")
        each = len(data) // self.state.length("walk_cache")
        stocks = self.state.window.cpus_with_stock
        return [(cpu, w.span, w.table) for cpu in stocks for w in one.rows(data[cpu * each:(cpu + 1) * each])
                if w.span != paging.TOP]

    def window_entry(self, va):
        """Where the last-level entry for va lies, or None."""
        pa = self.last_level.get(va >> 21)
        return None if pa is None else pa + 8 * paging.index_of(va, 1)

    def leaf(self, va):
        """The paging.Leaf behind va, or None."""
        if self.root is None or not paging.canonical(va, self.levels):
            return None
        found = [e for e in paging.entries(self.phys, self.root, self.levels, va, va) if e.value & P]
        return paging.leaf_of(found[0]) if found else None

    @functools.cached_property
    def by_frame(self):
        """Every leaf by where it leads, for "who maps this frame?": sorted (pa, pa + bytes, Leaf)."""
        leaves = [paging.leaf_of(e) for e in self.entries if e.value & P]
        return sorted((leaf.pa, leaf.pa + leaf.bytes, leaf) for leaf in leaves)

    def aliases(self, pa):
        """The virtual addresses that map this physical address, with their Leaf, in rising order."""
        found = [(leaf.va + pa - start, leaf) for start, end, leaf in self.by_frame if start <= pa < end]
        return sorted(found)
