"""mm walk: the way from an address to its frame, a line a level."""

import gdb

from . import machine, paging, words
from .command import Command, integer, write
from .layout import about, ram_ranges
from .machine import Problem, phys

HEAD = "  table index  bits   entry at       holds               bits set        which is"


class Walk(Command):
    """show the page walk to an address, a line a level

mm walk VA [root=TABLE [levels=4|5]]

For each level: the bits of the address that choose the entry, the entry's physical address, what it holds, which of
its bits are set, and what that means: the next table, a page, nothing, or what the kernel notes where nothing is
mapped (an area's descriptor in its guard page). Then what all levels together permit, the physical address, and the
area. The walk is the selected CPU's: `thread 2`, then `mm walk`, asks another one. Or it begins at a table of your
choice, in use or not.

    mm walk p              where a pointer leads
    mm walk $cr2           the address of the last page fault
    mm walk &address_map   a variable's
    mm walk 0x100000 root=&early_root    where boot's tables will lead, before paging is on"""

    name, usage = "walk", "VA [root=TABLE [levels=4|5]]"

    def run(self, text):
        text, tables = self.tables(text)
        write(report(self.number(text, "an address"), tables))


Walk()


def report(va, tables):
    """The lines of `mm walk`; tables: (root, levels), None: paging is off."""
    if not tables:
        return paging_off(va)
    root, levels = tables
    steps = list(paging.walk(phys, root, levels, va))
    lines = [f"{va:#x}: {levels} levels, from {where(root)}"]
    if not paging.canonical(va, levels):
        lines += ["  not canonical: the CPU refuses it without this walk of its lower bits"]
    return lines + [HEAD] + [line(step) for step in steps] + no_ram(steps) + outcome(va, steps, levels) + about(va, tables)


def no_ram(steps):
    """A line for a table that lies where the kernel knows of no RAM."""
    ram = ram_ranges()
    return [f"  note   {step.at & -4096:#x} is no RAM: what is read there means nothing" for step in steps
            if ram and not any(start <= step.at < end for start, end in ram)]


def where(root):
    """What leads to the top table: CR3, or a person."""
    r = machine.registers()
    return f"CR3 {r.cr3:#x}" if r.cr0 & machine.CR0_PG and r.cr3 & paging.ADDRESS == root else f"the table {root:#x}"


def paging_off(va):
    """Nothing to walk: say what the CPU does instead."""
    pa = machine.linear(va) if va >= 1 << 46 else None
    lines = [f"{va:#x}: {words.PAGING_OFF}", "  CR0.PG is clear: this CPU walks no tables yet"]
    if va >= 1 << 32:
        lines += ["  and in 32 bits it cannot form an address above 0xffffffff"]
    if pa is not None:
        lines += [f"  once boot has switched paging on, this one leads to {pa:#x}"]
    return lines


def line(step):
    high, low = paging.index_bits(step.level)
    return (f"  {paging.NAMES[step.level]:<5} [{step.index:>3}]  {high}-{low}  0x{step.at:011x}  0x{step.value:016x}  "
            f"{words.flags(step.value, step.level):<15} {words.entry(step.value, step.level)}")


def outcome(va, steps, levels):
    """What all steps come to."""
    last = steps[-1]
    bad = paging.reserved_bits(last.value, last.level)
    if not paging.canonical(va, levels):
        lines = ["  ends   before it began: a fault, #GP (#SS of a stack), and CR2 stays as it was"]
    elif not last.value & paging.P:
        lines = [f"  ends   not present at level {last.level}: not mapped, an access faults"]
    elif bad:
        lines = [f"  ends   reserved bits {bad:#x} are set: an access faults, with bit 3 (RSVD) in its error code"]
    else:
        offset = va % paging.level_bytes(last.level)
        pa = paging.address(last.value, last.level) + offset
        lines = [f"  byte   +0x{offset:x}, so it leads to 0x{pa:x}", f"  may    {rights(steps)}"]
    return lines


def rights(steps):
    """What all levels grant together, and who takes what away."""
    may = paging.RIGHTS[paging.rights_along(steps)]
    names = [paging.NAMES[s.level] for s in steps]
    why = [f"{what} by {', '.join(by)}" for what, by in (
        ("not written", [n for n, s in zip(names, steps) if not s.value & paging.W]),
        ("not executed", [n for n, s in zip(names, steps) if s.value & paging.NX])) if by]
    return may + (f": {'; '.join(why)}" if why else "")


class Pa(gdb.Function):
    """The physical address behind a virtual one, by the selected CPU's page tables: p/x $pa(p)

An error if it is not mapped. Before paging is on, an address is its own physical one."""

    def __init__(self):
        super().__init__("pa")

    def invoke(self, va):  # pylint: disable=arguments-differ
        va = integer(va)
        pa = machine.translate(va)
        if pa is None:
            raise Problem(f"$pa: {va:#x} is not mapped: `mm walk {va:#x}` says where the walk to it ends")
        return gdb.Value(pa).cast(gdb.lookup_type("unsigned long"))


Pa()


class Pte(gdb.Function):
    """The entry where the walk to a virtual address ends: p/x $pte(p), mm pte $pte(p)

$pte(VA, LEVEL): the one on the way there at this level (1 PT, 2 PD, 3 PDPT, 4 PML4, 5 PML5)."""

    def __init__(self):
        super().__init__("pte")

    def invoke(self, va, level=0):  # pylint: disable=arguments-differ
        return gdb.Value(step_towards("$pte", va, level).value).cast(gdb.lookup_type("unsigned long"))


Pte()


class Slot(gdb.Function):
    """Where the entry lies at which the walk to a virtual address ends: print *$slot(p), set $slot(p)->v = 0

$slot(VA, LEVEL): the one on the way there at this level. It is a pointer into the direct map, where the kernel reads and
writes it, too. No CPU is told of what you write there: `help mm why`."""

    def __init__(self):
        super().__init__("slot")

    def invoke(self, va, level=0):  # pylint: disable=arguments-differ
        at = machine.DIRECT[machine.levels()] + step_towards("$slot", va, level).at
        return gdb.Value(at).cast(gdb.lookup_type("pte_t").pointer())


Slot()


def step_towards(name, va, level):
    """The last Step of the walk to va, or the one at this level."""
    va, level = integer(va), int(level)
    steps = [s for s in paging.walk(phys, *machine.tables(), va) if level in (0, s.level)]
    if not steps:
        raise Problem(f"{name}: the walk to {va:#x} does not pass level {level}: `mm walk {va:#x}` shows it")
    return steps[-1]
