"""mm buddy: which frames are free, by order: in the buddy's lists, and in the magazines in front of them."""

from . import words
from .command import Command, write
from .paging import PAGE
from .state import now
from .state.frames import MAX_ORDER

HEAD = "order      block  free blocks  free frames"


class Buddy(Command):
    """count the free blocks of frames, or list those of an order

mm buddy [ORDER]

By order: how many blocks hang in the buddy's lists, and how many each CPU has at hand in its magazines. ORDER: each
free block of 2^ORDER frames, where it lies and where it is kept.

The kernel's `buddy` empties the magazines first and counts then; this one changes nothing and shows both. The sum of
all states of frames, free or not, is `mm frame`'s without an argument.

    mm buddy 10         where 4 MiB would come from"""

    name, usage = "buddy", "[ORDER]"

    def run(self, text):
        if not text:
            return write(table(now().frames))
        order = self.number(text, "an order")
        if order > MAX_ORDER:
            raise self.misused(f"there is no order {order}: blocks have 2^0 to 2^{MAX_ORDER} frames")
        return write(blocks(now().frames, order))


Buddy()


def table(frames):
    """The kernel's columns, and one more for each CPU."""
    cpus = [(cpu, every[frames.first_block_magazine:]) for cpu, every in sorted(frames.magazines.items())]
    yield HEAD + "".join(f"  {f'CPU {cpu}':>6}" for cpu, _ in cpus)
    for order, count in enumerate(frames.free_blocks):
        yield (f"{order:>5}  {words.size(PAGE << order):>9}  {count:>11}  {count << order:>11}"
               + "".join(f"  {every[order].nr:>6}" for _, every in cpus))
    listed = sum(count << order for order, count in enumerate(frames.free_blocks))
    stocked = sum(magazine.nr << order for _, order, magazine in frames.block_magazines())
    yield (f"free: {listed + stocked} frames ({words.size((listed + stocked) * PAGE)}), {stocked} of them at hand in "
           "magazines")


def blocks(frames, order):
    """Every free one of an order, in rising order."""
    listed = [(pfn, f"in the list, behind {place.prev:#x}" if place.prev else "first in the list")
              for pfn, place in frames.listed.items() if place.order == order]
    stocked = [(pfn, f"CPU {cpu}'s magazine, number {i}")
               for pfn, (cpu, at, i) in frames.stocked.items() if at == order]
    yield "frames                first byte     last byte      where"
    for pfn, place in sorted(listed + stocked):
        last = pfn + (1 << order) - 1
        frames_text = f"{pfn:#x}-{last:#x}" if order else f"{pfn:#x}"
        yield f"{frames_text:<20}  0x{pfn << 12:011x}  0x{(last + 1 << 12) - 1:011x}  {place}"
    yield f"{words.number(len(listed) + len(stocked), 'free block')} of 2^{order} frames"
