"""mm slab: caches of small objects, one cache's slabs, one object."""

import gdb

from . import words
from .command import Command, write
from .machine import Problem
from .paging import PAGE
from .state import Broken, now

HEAD = "cache             object per slab   slabs    in use       allocs        frees"


class Slab(Command):
    """list the caches of small objects, the slabs of one, or tell whose object an address is

mm slab [NAME | VA]

Without an argument all caches, as the kernel's `slab`. NAME: one cache, each slab with its objects, and what each CPU
has at hand. VA: the object that this address lies in, of which cache, at which byte, in use or free, where it is kept.

Free objects begin with a mark, and lie in their slab (a bit each says so) or in a CPU's magazine. Memory of kmalloc
above 2048 bytes is a block of frames of its own, which is told here, too.

    mm slab kmalloc-64
    mm slab p"""

    name, usage = "slab", "[NAME | VA]"

    def complete(self, text, word):
        try:
            names = [cache.name for cache in now().slabs.caches.values()]
        except gdb.error:
            return gdb.COMPLETE_EXPRESSION
        found = [name for name in names if name.startswith(text)]
        return [name[len(text) - len(word):] for name in found] or gdb.COMPLETE_EXPRESSION

    def run(self, text):
        slabs = now().slabs
        if not text:
            write(table(slabs))
        elif slabs.cache_named(text):
            write(cache_report(slabs, slabs.cache_named(text)))
        else:
            write(object_report(now(), self.number(text, "a cache's name or an address")))


Slab()


def table(slabs):
    """As the kernel's show_slab()."""
    yield HEAD
    for c in slabs.caches.values():
        yield (f"{c.name[:16]:<16} {c.bytes:>7} {c.per_slab:>8} {c.slabs:>7} {c.in_use - slabs.kept(c):>9} "
               f"{c.allocs:>12} {c.frees:>12}")


def cache_report(slabs, c):
    """One cache."""
    yield (f"cache {c.name}, number {c.number}: objects of {c.bytes} bytes, {c.per_slab} in a frame; their bits "
           + (f"at byte {c.bits} of it" if c.bits else "in its struct page"))
    own = [slab for slab in slabs.slabs.values() if slab and slab.cache is c]
    free = sum(bin(slab.free).count("1") for slab in own)
    yield (f"{words.number(len(own), 'slab')}: {sum(s.used for s in own) - slabs.kept(c)} objects in use, {free} free in "
           f"slabs, {slabs.kept(c)} at hand in magazines")
    for cpu, every in sorted(slabs.state.frames.magazines.items()):
        if every[c.number].nr:
            yield f"  CPU {cpu} has {every[c.number].nr} at hand, of at most {every[c.number].most}"
    yield "  slab's frame  objects: # in use, m in a magazine, . free"
    base = slabs.state.map.direct
    for slab in own:
        yield f"  {slab.pfn:#12x}  " + "".join(picture(slabs, slab, base + slab.pfn * PAGE + i * c.bytes, i)
                                               for i in range(c.per_slab))


def picture(slabs, slab, at, i):
    return "." if slab.free >> i & 1 else "m" if at in slabs.at_hand else "#"


def object_report(state, va):
    """What lies at an address of the direct map."""
    try:
        found = state.slabs.find(va)
    except Broken as problem:
        raise Problem(f"mm slab: {problem}\n  objects lie in the direct map; for others: "
                      f"`mm areas {va:#x}`, `mm walk {va:#x}`") from problem
    if found is None:
        yield from no_object(state, va)
        return
    cache, slab = found.cache, found.slab
    if found.index is None:
        yield f"{va:#x}: byte {found.offset} of slab {slab.pfn:#x} of {cache.name}, behind its last object" + (
            ", where the bits are" if cache.bits and found.offset >= cache.bits else "")
        return
    yield (f"{va:#x}: byte {found.offset} of object {found.index} of slab {slab.pfn:#x} of {cache.name}, "
           f"{cache.bytes} bytes")
    yield f"  object {found.at:#x}-{found.at + cache.bytes - 1:#x}: {found.where}"
    value = int.from_bytes(state.read(found.at, 8), "little")
    marked = value == state.slabs.mark(found.at)
    yield f"  mark   its first word is {value:#x}, " + (
        "which is the mark of a free object" if marked else f"not the mark of a free one ({state.slabs.mark(found.at):#x})")
    if marked != found.where.startswith("free"):
        yield "  wrong  " + ("lost: marked free, but nobody has it" if marked else
                             "somebody wrote to it after it was freed")
    yield f"  slab   {slab.used} of {cache.per_slab} objects out of it; `mm slab {cache.name}` shows all"


def no_object(state, va):
    """A large kmalloc, or another frame."""
    pfn = state.linear(va) >> 12
    head = state.frames.head(pfn)
    word = state.frames.names.get(head[1].state) if head else None
    if word != "kmalloc":
        yield f"{va:#x} is no object of a cache: it lies in frame {pfn:#x}, {word or 'of no block'}"
        yield f"  `mm frame pfn {pfn:#x}` tells more"
        return
    first, page = head
    start = state.map.direct + (first << 12)
    yield f"{va:#x}: byte {state.map.direct + state.linear(va) - start} of a large kmalloc of {PAGE << page.order} bytes"
    yield (f"  block  {start:#x}-{start + (PAGE << page.order) - 1:#x}, frames "
           f"{first:#x}-{first + (1 << page.order) - 1:#x}")
    yield f"  asked  by {words.code(state.map.image + page.owner)}"
