"""Caches of small objects, their slabs, and what of them lies in magazines (mm/slab.c)."""

import functools
from collections import namedtuple

from ..paging import PAGE
from .dwarf import layout

Cache = namedtuple("Cache", "number name bytes per_slab slabs in_use allocs frees bits first last owner "
                            "most scale limit")
Slab = namedtuple("Slab", "pfn cache used free")  # free: an int, a bit for each free object
Object = namedtuple("Object", "cache slab index offset where at")  # where: "in use", "free", or in words which magazine


class Slabs:
    """All of it."""

    def __init__(self, state):
        self.state = state
        self.cookie = state.number("cookie", "slab.c")
        paths = ("now.name", "now.bytes", "now.per_slab", "now.slabs", "now.in_use", "now.allocs", "now.frees", "bits",
                 "partial.first", "partial.last", "lock.owner", "empty.most", "empty.scale", "empty.limit")
        rows = state.rows("struct kmem_cache", paths, "caches", "slab.c")
        self.caches = {i: Cache(i, state.text(row[0]), *row[1:]) for i, row in enumerate(rows) if row[0]}

    def cache_named(self, name):
        return next((c for c in self.caches.values() if c.name == name), None)

    def slab(self, pfn, page=None):
        """The Slab that is frame pfn; its cache must exist."""
        frames = self.state.frames
        page = page or frames.page(pfn)
        cache = self.caches[frames.cache_of(page)]
        if cache.bits:
            bits = self.state.phys((pfn << 12) + cache.bits, PAGE - cache.bits)
        else:
            bits = page.owner.to_bytes(4, "little")
        free = int.from_bytes(bits, "little") & (1 << cache.per_slab) - 1
        return Slab(pfn, cache, frames.used_of(page), free)

    @functools.cached_property
    def slabs(self):
        """{frame: Slab} of all frames that are one; a frame that names no cache has None."""
        frames, out, code = self.state.frames, {}, self.state.frames.code["slab"]
        for stretch in frames.stretches:
            i = stretch.states.find(code)
            while i >= 0:
                page = stretch.page(i)
                known = frames.cache_of(page) in self.caches
                out[stretch.first + i] = self.slab(stretch.first + i, page) if known else None
                i = stretch.states.find(code, i + 1)
        return out

    def magazines(self):
        """Of each CPU and each cache that there is."""
        for cpu, every in self.state.frames.magazines.items():
            for number in self.caches:
                yield every[number]

    @functools.cached_property
    def at_hand(self):
        """{address: [Magazines that hold it]}."""
        out = {}
        for magazine in self.magazines():
            for item in magazine.items:
                out.setdefault(item, []).append(magazine)
        return out

    def mark(self, va):
        """What a free object begins with."""
        return self.cookie ^ va

    def begins_with_mark(self, va):
        return int.from_bytes(self.state.read(va, 8), "little") == self.mark(va)

    def kept(self, cache):
        """How many of its objects magazines have."""
        return sum(every[cache.number].nr for every in self.state.frames.magazines.values())

    def find(self, va):
        """The Object that va lies in (index None: behind the last); None: it lies in no slab."""
        pa = self.state.linear(va)
        page = self.state.frames.page(pa >> 12)
        if page is None or page.state != self.state.frames.code["slab"]:
            return None
        if self.state.frames.cache_of(page) not in self.caches:
            return None
        slab = self.slab(pa >> 12, page)
        index, offset = divmod(pa % PAGE, slab.cache.bytes)
        if index >= slab.cache.per_slab:
            return Object(slab.cache, slab, None, pa % PAGE, "", 0)
        at = self.state.map.direct + (pa & -PAGE) + index * slab.cache.bytes
        return Object(slab.cache, slab, index, offset, self.where(slab, index, at), at)

    def where(self, slab, index, at):
        """In words."""
        if slab.free >> index & 1:
            return "free, in its slab"
        holders = self.at_hand.get(at)
        return f"free, in the magazine of CPU {holders[0].cpu}" if holders else "in use"
