"""Two readers of a guest's page tables that share no code with the kernel, nor with each other.

tlb_leaves() parses what QEMU's own walker prints (HMP `info tlb`). walk() follows the tables from CR3
in the guest's RAM, which is a file that we map. Both give sets of leaves; so does the kernel by its
`map` records. Whoever of the three differs is wrong.

A Leaf's prot is what the CPU grants: "rw-", "r-x", and a "u" behind it where ring 3 may enter too.
`info tlb` knows the flags of the last entry only and cannot tell 2 MiB from 1 GiB: it says "large".
"""

import mmap
import os
import re
from collections import namedtuple

Leaf = namedtuple("Leaf", "va pa bytes prot")

PAGE, LARGE, HUGE = 1 << 12, 1 << 21, 1 << 30
PRESENT, WRITE, USER, PS, NX = 1, 2, 4, 1 << 7, 1 << 63
ADDRESS = 0x000FFFFFFFFFF000


def prot_text(write, execute, user):
    return "r" + "-w"[write] + "-x"[execute] + ("u" if user else "")


def sign_extend(va, levels):
    bits = 12 + 9 * levels
    return va | (1 << 64) - (1 << bits) if va >> (bits - 1) else va


TLB_LINE = re.compile(r"^([0-9a-f]{16}): ([0-9a-f]{16}) ([X-])[G-]([P-])[D-][A-][C-][T-]([U-])([W-])\r?$",
                      re.MULTILINE)


def tlb_leaves(text):
    """`info tlb` as a set of (va, pa, large, prot)."""
    leaves = {(int(va, 16), int(pa, 16), large == "P", prot_text(w == "W", nx == "-", u == "U"))
              for va, pa, nx, large, u, w in TLB_LINE.findall(text)}
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(leaves) == len(lines), f"{len(lines)} lines of info tlb, {len(leaves)} understood"
    return leaves


def as_tlb(leaf):
    """A Leaf in the words of `info tlb`."""
    return leaf.va, leaf.pa, leaf.bytes > PAGE, leaf.prot


class Ram:
    """The guest's physical memory. Where each piece lies in the file: HMP `info mtree -f` says."""

    PIECE = re.compile(r"^\s*([0-9a-f]{16})-([0-9a-f]{16}) \(prio \d+, r[ao]m\): ram(?: @([0-9a-f]+))?",
                       re.MULTILINE)

    def __init__(self, path, mtree):
        view = next(v for v in mtree.split("FlatView #") if 'AS "memory"' in v)
        self.pieces = [(int(lo, 16), int(hi, 16), int(at or "0", 16)) for lo, hi, at in self.PIECE.findall(view)]
        with open(path, "rb") as file:
            self.map = mmap.mmap(file.fileno(), os.fstat(file.fileno()).st_size, prot=mmap.PROT_READ)
        self.words = memoryview(self.map).cast("Q")

    def table(self, pa):
        """The 512 entries at physical address pa."""
        for lo, hi, at in self.pieces:
            if lo <= pa and pa + PAGE - 1 <= hi:
                first = (pa - lo + at) // 8
                return self.words[first:first + 512].tolist()
        raise ValueError(f"a page table at {pa:#x}, where the machine has no RAM")

    def bytes(self, pa, count):
        for lo, hi, at in self.pieces:
            if lo <= pa and pa + count - 1 <= hi:
                return self.map[pa - lo + at:pa - lo + at + count]
        raise ValueError(f"{pa:#x} is no RAM")

    def close(self):
        self.words.release()
        self.map.close()


def walk(ram, cr3, levels):
    """What the tables at cr3 hold: (all leaves in rising order, where each table lies). SDM Vol. 3A, 4.5."""
    leaves, tables = [], []

    def visit(table, level, base, write, execute, user):
        tables.append(table)
        bytes_each = PAGE << 9 * (level - 1)
        for index, entry in enumerate(ram.table(table)):
            if not entry & PRESENT:
                continue
            va = base + index * bytes_each
            w, x, u = write and bool(entry & WRITE), execute and not entry & NX, user and bool(entry & USER)
            if level == 1 or entry & PS:
                assert level <= 3, f"PS set at level {level} for {va:#x}: the CPU would refuse it"
                pa = entry & ADDRESS & -bytes_each
                leaves.append(Leaf(sign_extend(va, levels), pa, bytes_each, prot_text(w, x, u)))
            else:
                visit(entry & ADDRESS, level - 1, va, w, x, u)

    visit(cr3 & ADDRESS, levels, 0, True, True, True)
    return leaves, tables


def registers(text):
    """CR3 and the number of levels, from HMP `info registers`."""
    value = {name: int(v, 16) for name, v in re.findall(r"\b(CR[0-4])=([0-9a-f]+)", text)}
    assert value["CR0"] >> 31, "paging is off"
    return value["CR3"], 5 if value["CR4"] & (1 << 12) else 4
