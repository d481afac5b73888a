"""mm pte: the bits of a page-table entry, one by one. Intel SDM Vol. 3A, 4.5, tables 4-15 to 4-20."""

import re

from . import paging, words
from .command import Command, write
from .paging import G, NX, P, PS, U, W, A, D

LEVELS = {name.lower(): level for level, name in enumerate(paging.NAMES) if level}
TYPES = ("0: cached (write-back)", "1: WC, write-combining", "2: UC-, not cached", "3: UC, not cached")


class Pte(Command):
    """say what the bits of a page-table entry mean

mm pte VALUE [LEVEL]

LEVEL is pt, pd, pdpt, pml4, pml5, or 1 to 5: what some bits mean depends on it. Without it: PT, the last level. Of an
entry that is not present the CPU ignores all other bits, and the kernel keeps notes there: these are read, too.

    mm pte $pte(p)            the entry where the walk to p ends
    mm pte 0x80000000001001e3 pd"""

    name, usage, words = "pte", "VALUE [LEVEL]", tuple(LEVELS)

    def run(self, text):
        found = re.fullmatch(r"(.*[^-+*/%|&^~<>(!=\s])\s+(pt|pd|pdpt|pml4|pml5|[1-5])", text, re.IGNORECASE)
        value, level = found.groups() if found else (text, "pt")
        write(report(self.number(value, "an entry's value"), LEVELS.get(level.lower()) or int(level)))


Pte()


def report(value, level):
    """The lines of `mm pte`."""
    yield f"0x{value:016x}, in a {paging.NAMES[level]} (level {level}): {words.entry(value, level)}"
    if not value & P:
        yield from note(value)
    else:
        yield from (f"  {bits:<10} {name:<7} {says}" for bits, name, says in mapping(value, level))
        bad = paging.reserved_bits(value, level)
        if bad:
            yield f"  reserved bits are set, {bad:#x}: an access faults, with bit 3 (RSVD) in its error code"


def mapping(value, level):
    """(bits, their name, what they say) of a present entry."""
    leaf = level < 4 and paging.is_leaf(value, level)

    def bit(mask, yes, no):
        return f"1: {yes}" if value & mask else f"0: {no}"

    yield "bit 0", "P", "1: present, the CPU goes on from here"
    yield "bit 1", "W", bit(W, "may be written", "never written" + ("" if leaf else ", all below"))
    yield "bit 2", "U", bit(U, "also for ring 3, which the kernel never sets", "for the kernel alone")
    yield "bits 4-3", "PCD PWT", TYPES[paging.memory_type(value)]
    yield "bit 5", "A", bit(A, "accessed: the CPU has used it", "not used since it was cleared")
    if leaf:
        yield "bit 6", "D", bit(D, "dirty: the CPU has written there", "not written since it was cleared")
    yield from size_bit(value, level, leaf)
    if leaf:
        yield "bit 8", "G", bit(G, "global: outlives a load of CR3", "gone from the TLB with a load of CR3")
    yield "bits 11-9", "ignored", bin(value >> 9 & 7)[2:]
    if leaf and level > 1:
        yield "bit 12", "PAT", f"{value >> 12 & 1}: with PCD and PWT, which memory type"
    high = 12 + 9 * (level - 1) if leaf else 12
    yield f"bits 51-{high}", "address", f"{paging.address(value, level):#x}: {'the page' if leaf else 'the next table'}"
    if value >> 52 & 0x7FF:
        yield "bits 62-52", "ignored", f"{value >> 52 & 0x7FF:#x}"
    yield "bit 63", "NX", bit(NX, "never executed" + ("" if leaf else ", all below"), "may be executed")


def size_bit(value, level, leaf):
    """Bit 7, which says something else at each level."""
    if level == 1:
        yield "bit 7", "PAT", f"{value >> 7 & 1}: with PCD and PWT, which memory type"
    elif level > 3:
        yield "bit 7", "reserved", f"{value >> 7 & 1}{': must be 0 at this level' if value & PS else ''}"
    else:
        yield "bit 7", "PS", f"1: a leaf, of {words.size(paging.level_bytes(level))}" if leaf else "0: leads to a table"


def note(value):
    """Of an entry that is not present: what the kernel keeps there."""
    area = words.area_of(value, 0)
    if not value:
        yield "  not present, and nothing noted: an access faults"
    elif not area:
        yield "  not present: an access faults. In the first page of a freed area, in stock: where the next one begins"
    else:
        yield "  bit 0      P       0: not present, an access faults. The rest describes the area behind this guard page:"
        yield f"  bit 1      mixed   {int(area.mixed)}: {'not all' if area.mixed else 'all'} its pages are plain ones, rw- and 4 KiB"
        yield "  bit 2      tag     1: an area's descriptor"
        yield f"  bits 6-3   kind    {area.kind}: {words.kind_name(area.kind)}"
        yield f"  bits 30-7  caller  {words.code(area.caller)}"
        yield f"  bits 63-31 pages   {area.pages}"
