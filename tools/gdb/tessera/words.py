"""How things are said: in the kernel's words (kernel/show.c, kernel/explain.c, mm/vmalloc.h), and its columns.

The kernel says them on COM1, gdb here; a test compares both on the same stopped machine. So a word is changed
there and here, together.
"""

import re
from collections import namedtuple

import gdb

from . import machine, paging
from .paging import P, NX

KINDS = "none", "vmalloc", "vmap", "stack", "freed", "ioremap"  # enum vm_kind; vm_kind_name()
TYPES = "", " WC", " UC-", " UC"  # pte_type_text()
STACK, FREED = 3, 4
AREA_MIXED, AREA_TAG = 2, 4
FLAGS = [(1 << 0, "P"), (1 << 1, "W"), (1 << 2, "U"), (1 << 3, "PWT"), (1 << 4, "PCD"), (1 << 5, "A"), (1 << 6, "D"),
         (1 << 7, "PS"), (1 << 8, "G"), (NX, "NX")]
MAP_HEAD = "virtual            physical       page may distance area +page, or range"
PAGING_OFF = "paging is off: the address is its own physical address"

Area = namedtuple("Area", "start pages kind caller mixed")  # struct vm_area, and AREA_MIXED


def size(count):
    """Bytes for people, as the kernel's size_text: 4 KiB, 1536 MiB."""
    unit = 0
    while count >= 16 << 10 or (count and count % 1024 == 0):
        count, unit = count // 1024 + (count % 1024 >= 512), unit + 1
    return f"{count} {'BKMGTPE'[unit]}{'iB' if unit else ''}"


def number(count, what):
    """"1 page", "2 pages"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def code(address):
    """A code address as name+0x41, as the kernel's %pS: by the linker's symbols, and only inside text."""
    if machine.symbol("__text_start") <= address < machine.symbol("__text_end"):
        found = re.match(r"(\S+)(?: \+ (\d+))? in section", gdb.execute(f"info symbol {address:#x}", to_string=True))
        if found:
            return f"{found[1]}+{int(found[2] or 0):#x}"
    return f"{address:#x}"


def kind_name(kind):
    return KINDS[kind] if kind < len(KINDS) else "?"


def area_of(note, guard):
    """The Area whose descriptor an entry is, that of the guard page at this address; or None. vm_area_decode()."""
    if note & P or not note & AREA_TAG:
        return None
    return Area(guard + paging.PAGE, note >> 31, note >> 3 & 15, machine.IMAGE_BASE + (note >> 7 & 0xFFFFFF),
                bool(note & AREA_MIXED))


def area_end(area):
    return area.start + max(area.pages, 1) * paging.PAGE


def entry(value, level):
    """What an entry says: the last column of the kernel's `walk`."""
    if not value:
        return "empty"
    area = area_of(value, 0)
    if area:
        return f"guard: {kind_name(area.kind)}, {area.pages} pages"
    pa = paging.address(value, level)
    if not value & P:
        return f"freed, next {value:#x}"
    if not paging.is_leaf(value, level):
        return f"-> table {pa:#x}"
    return f"{size(paging.level_bytes(level))} page {pa:#x} {may(value)}{TYPES[paging.memory_type(value)]}"


def may(value):
    """What one leaf permits: "rw-"."""
    return paging.RIGHTS[paging.rights_of(value)]


def flags(value, level):
    """The bits that are set, by their names in the SDM."""
    if not value & P:
        return "not present" if value else "-"
    names = [name for bit, name in FLAGS if value & bit and not (bit == paging.PS and level == 1)]
    pat = paging.PS if level == 1 else paging.PAT_LARGE if value & paging.PS else 0
    return " ".join(names + ["PAT"] * bool(value & pat))
