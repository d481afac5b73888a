"""Is anything under way? A stop catches CPUs wherever they are, and mm/ is whole only between its operations.

A lock tells who holds it. Most of the fast paths take none and only mask interrupts: so each CPU's stack is looked at,
too, for a function of mm/, inlined ones included. Of these the compiler mixes the instructions with those around
them, so that a CPU can be in the middle of one at an instruction that is not the function's: what lies near it counts, too.
"""

from collections import namedtuple

import gdb

from .. import machine
from .dwarf import layout

LOCKS = {  # a lock's variable and file: what it guards, as the parts of `mm check` are called
    ("page_lock", "page_alloc.c"): ("frames",),
    ("tables_lock", "vmstock.c"): ("window", "tables"),
    ("depot_lock", "vmstock.c"): ("stock",),
    ("tlb_lock", "tlb.c"): ("tables",),
}
DEEP = 64  # frames of a stack that are looked at
NEAR = 64  # bytes around an instruction

Held = namedtuple("Held", "name cpu parts")  # cpu: as the kernel counts
Inside = namedtuple("Inside", "cpu function file line outer")  # where in mm/ a CPU is, and by which call it came there


def locks(state):
    """Those of mm/ that somebody holds."""
    kind = layout("struct spinlock", "owner", "name")
    out = []
    for (name, file), parts in LOCKS.items():
        lock = kind.one(state.bytes_of(name, file))
        if lock.owner:
            out.append(Held(state.text(lock.name), lock.owner - 1, parts))
    return out + [Held(f"kmem_cache {cache.name}", cache.owner - 1, ("slab",))
                  for cache in state.slabs.caches.values() if cache.owner]


def is_mm(path):
    """Does this source file belong to mm/ (and not to its tests)?"""
    parts = path.split("/")
    return len(parts) > 1 and parts[-2] == "mm" and "tests" not in parts


def frames():
    """(function, file, line) of the selected thread's stack, innermost first, as far as gdb can follow it."""
    try:
        frame, left = gdb.newest_frame(), DEEP
        while frame and left:
            sal = frame.find_sal()
            yield frame.name() or "?", sal.symtab.filename if sal.symtab else "", sal.line
            frame, left = frame.older(), left - 1
    except gdb.error:
        return


def near():
    """The same for the instructions around the one at which the selected thread is, if any of them is of mm/."""
    frame = gdb.newest_frame()
    for pc in range(frame.pc() - NEAR, frame.pc() + NEAR):
        sal = gdb.find_pc_line(pc)
        if sal.symtab and is_mm(sal.symtab.filename):
            return [(frame.name() or "?", sal.symtab.filename, sal.line)]
    return []


def cpus():
    """Of the CPUs that gdb knows: those that are in a function of mm/, [Inside]; and [(CPU, CR3)] of those that page."""
    out, roots, before = [], [], gdb.selected_thread()
    frame = gdb.selected_frame() if before else None
    try:
        for thread in gdb.selected_inferior().threads():
            thread.switch()
            number, registers = machine.cpu(), machine.registers()
            if registers.cr0 & machine.CR0_PG:
                roots.append((number, registers.cr3))
            found = [place for place in frames() if is_mm(place[1])] or near()
            if found:
                out.append(Inside(number, *found[0], found[-1][0]))
    finally:
        if before:
            before.switch()
            if frame and frame.is_valid():
                frame.select()
    return sorted(out), sorted(roots)
