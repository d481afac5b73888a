"""mm why: a fault in words, as the kernel would tell it (kernel/explain.c), and what only gdb can add.

The judgement is the kernel's: the same questions in the same order, the same words, and the advice is read out
of the kernel's own table. What faulted is found where the CPU left it: in the trap frame, to which the chain of
frame pointers leads from wherever gdb is stopped. Nothing of the kernel runs, nothing of it need work.
"""

import struct
from collections import namedtuple

import gdb

from . import layout, machine, paging, walk, words
from .areas import stock_place
from .command import Command, write
from .machine import Problem, phys
from .state import now

ACCESSES = "read", "write", "fetch"  # enum access
READ, WRITE, FETCH = range(3)
DOUBLE_FAULT, PROTECTION, PAGE_FAULT, IRQ, VECTORS = 8, 13, 14, 32, 64
WITH_ERROR = 0x60227D00  # a bit a vector: traps.S
REGISTERS = "r15 r14 r13 r12 r11 r10 r9 r8 rdi rsi rbp rbx rdx rcx rax".split()
FRAME = struct.Struct("<22Q")  # struct trap_frame: these, then the six below and ss
VECTOR_AT = 8 * len(REGISTERS)
STALE = "stale"

Fault = namedtuple("Fault", "va pc access page_fault reserved_bit")  # struct fault
Trap = namedtuple("Trap", "registers vector error rip rsp")


class Why(Command):
    """explain a fault: which mistake it was, whose area, what to do next

mm why [VA]

In a fault handler, however deep (trap, explain_fault, panic, …): the exception in words, the access and its address,
the page walk, the range and the area, which of a dozen mistakes it most likely was, and what to do next. The words are
those of the kernel's own report, which need not have come yet. Elsewhere: the last fault that this CPU survived
(`peek`, `fault`), or the address in CR2.

With VA: what an access there would do. A page that was freed: is it flushed, or may a TLB still lead to the old frame?

Each CPU has its own faults: `info threads`, `thread 2`, `mm why`. gdb reads page tables, not TLBs: where the tables permit
an access that has failed, or an entry has just been changed, the CPU may know an older translation."""

    name, usage = "why", "[VA]"

    def run(self, text):
        write(of_address(self.number(text, "an address")) if text else of_this_cpu())


Why()


# What happened on this CPU

def of_this_cpu():
    r = machine.registers()
    trap = find_trap()
    if trap:
        return of_trap(trap)
    lines = []
    fault = last_probe()
    if fault:
        lines = [f"CPU {machine.cpu()} handles no fault now; the last that it survived, in a probe (peek, poke, fault, tour):"]
        return lines + report(fault)
    if not r.cr2:
        raise Problem(f"mm why: CPU {machine.cpu()} has had no page fault so far, and CR2 is 0\n"
                      "  `mm why VA` says what an access to VA would do; `info threads`, `thread N` choose another CPU;\n"
                      "  `hbreak trap` stops at the next exception or interrupt")
    return [f"CPU {machine.cpu()} handles no fault now; CR2 holds the address of its last page fault:", *of_address(r.cr2)]


def of_trap(trap):
    """The lines for one trap frame: traps.c's report(), without the registers."""
    error = f": {error_text(trap.error)}" if trap.vector == PAGE_FAULT else ""
    lines = [f"EXCEPTION {trap.vector}, {exception_name(trap.vector)}, error code {trap.error:#x}, on CPU {machine.cpu()}{error}"]
    fault = fault_of(trap)
    if fault.page_fault:
        return lines + report(fault)
    lines.append(f"  by     {words.code(trap.rip)}; it is no page fault: page tables and CR2 have no part in it")
    return lines + (not_canonical(trap) if trap.vector == PROTECTION and trap.error == 0 else [])


def fault_of(trap):
    """What frame and CR2 say: read_fault() and report() of traps.c."""
    cr2 = machine.registers().cr2
    if trap.vector != PAGE_FAULT:
        stack = trap.vector == DOUBLE_FAULT and 0 <= trap.rsp - cr2 < 256  # the CPU could not push there
        return Fault(cr2, trap.rip, WRITE, stack, False)
    access = FETCH if trap.error & 16 else WRITE if trap.error & 2 else READ
    pc = trap.rip
    if access == FETCH:  # where the call came from tells more than where to
        pc = struct.unpack("<Q", machine.read(trap.rsp, 8))[0]
    return Fault(cr2, pc, access, True, bool(trap.error & 8))


def error_text(error):
    """A page fault's error code in words. SDM Vol. 3A, 6.15."""
    what = "fetch" if error & 16 else "write" if error & 2 else "read"
    why = ("a reserved bit is set in an entry" if error & 8 else
           "the entries do not permit it" if error & 1 else "an entry is not present")
    return f"{what} by {'a program' if error & 4 else 'the kernel'}; {why}"


def exception_name(vector):
    """traps.c has a table, names[]; several files do."""
    for symbol in gdb.lookup_static_symbols("names"):
        if symbol.symtab.filename.endswith("traps.c"):
            names = machine.at(symbol.type, int(symbol.value().address))
            return names[vector].string() if vector <= symbol.type.range()[1] else "reserved exception"
    return "?"


def not_canonical(trap):
    """Registers that hold no address: one may have been used as a pointer."""
    levels = machine.levels()
    found = [f"  {name:<6} {value:#x} is no canonical address" for name, value in reversed(trap.registers.items())
             if not paging.canonical(value, levels)]
    return ["  most often a pointer was no canonical address: see the registers"] + found


def last_probe():
    """The Fault that the last probe_read() and its kin on this CPU met, or None."""
    value = machine.variable("probe_faults")[machine.cpu()]
    fault = Fault(*(int(value[f]) for f in ("va", "pc", "access")), bool(value["page_fault"]), bool(value["reserved_bit"]))
    return fault if fault.pc else None


# Finding the trap frame

def find_trap():
    """The innermost exception that this CPU is handling, or None. Interrupts on the way are passed."""
    entry, end = machine.symbol("trap_entry"), machine.symbol("probe_read")
    frame = gdb.newest_frame()
    try:
        pc, rsp, rbp = (int(frame.read_register(name)) & paging.TOP for name in ("rip", "rsp", "rbp"))
    except ValueError:
        return None
    found = in_stub(pc, rsp, entry)
    if found:
        return found
    try:
        if not entry <= quad(rsp) < end:  # if it is, we are at the first instruction of trap()
            rbp, rsp = quad(rbp), rbp + 8
        for _ in range(1000):
            if entry <= quad(rsp) < end:
                trap = read_trap(rbp + 16)
                if trap.vector < IRQ:
                    return trap
            rbp, rsp = quad(rbp), rbp + 8
    except Problem:  # the chain has ended
        return None
    return None


def quad(address):
    return struct.unpack("<Q", machine.read(address, 8))[0]


def read_trap(at):
    values = FRAME.unpack(machine.read(at, FRAME.size))
    vector, error, rip, _, _, rsp, _ = values[len(REGISTERS):]
    return Trap(dict(zip(REGISTERS, values)), vector, error, rip, rsp)


def in_stub(pc, rsp, entry):
    """In traps.S itself not all is pushed yet, and no register has changed: how far it has come, its instructions tell."""
    stubs = machine.symbol("trap_stubs")
    if not stubs <= pc < entry + 64:
        return None
    if pc < entry:
        vector = (pc - stubs) // 16
        code = machine.read(stubs + 16 * vector, 4)
        pushes = [at for at in (0, 2) if code[at] == 0x6A]  # push imm8: the error code if the CPU gave none; the vector
        missing = sum(stubs + 16 * vector + at >= pc for at in pushes)
        at = rsp - VECTOR_AT - 8 * missing
    else:
        code, here, done = machine.read(entry, 64), 0, 0
        while entry + here < pc and done < len(REGISTERS):
            here += 2 if code[here] == 0x41 else 1  # push of r8 and up, and of the others
            done += 1
        if done == len(REGISTERS) and entry + here < pc:
            return None  # trap() is being called or has returned: rdi or the chain may lead there, but it is over soon
        vector, at, missing = quad(rsp + 8 * done), rsp - 8 * (len(REGISTERS) - done), 0
    if vector >= IRQ:
        return None
    error = quad(at + VECTOR_AT + 8) if WITH_ERROR >> vector & 1 or not missing else 0
    rip, rsp = quad(at + VECTOR_AT + 16), quad(at + VECTOR_AT + 40)
    frame = gdb.newest_frame()
    return Trap({name: int(frame.read_register(name)) & paging.TOP for name in REGISTERS}, vector, error, rip, rsp)


# The judgement

def report(fault):
    """explain_fault(): the lines."""
    why = fault_why(fault)
    lines = [f"FAULT: {ACCESSES[fault.access]} at {fault.va:#x} by {words.code(fault.pc)}: {why}"]
    return lines + about(fault.va) + advice(why) + more(fault.va, why)


def about(va):
    """Walk, range and area."""
    if not machine.paging_on():
        return [f"  {words.PAGING_OFF}"]
    root, levels = machine.tables()
    lines = ["  not canonical: the CPU refuses it without this walk of its lower bits"] * (not paging.canonical(va, levels))
    lines += [walk.HEAD, *map(walk.line, paging.walk(phys, root, levels, va))]
    return lines + (layout.about(va) if tables_stand() else [])


def advice(why):
    """Of the kernel's own table in explain.c."""
    table = machine.variable("advice")
    for i in range(table.type.range()[1] + 1):
        if machine.string(table[i]["why"]) == why:
            return [f"  likely {machine.string(table[i]['likely'])}", f"  next   {machine.string(table[i]['next'])}"]
    return []


def tables_stand():
    """Has mm_init() begun to make the kernel's page tables?"""
    return int(machine.variable("kernel_pt")["root"]) != 0


def fault_why(fault):
    """fault_why() of explain.c: one word."""
    va, levels = fault.va, machine.levels()
    if not tables_stand():
        return "early"
    if not fault.page_fault or not paging.canonical(va, levels):
        return "noncanonical"
    if fault.reserved_bit:
        return "reserved"
    *_, last = paging.walk(phys, *machine.tables(), va)
    if last.value & paging.P:
        if fault.access == WRITE and not last.value & paging.W:
            return "readonly"
        return "noexec" if fault.access == FETCH and last.value & paging.NX else STALE
    return why_unmapped(va)


def why_unmapped(va):
    places = layout.Places()
    area = places.near(va)
    before, behind = (area and va < area.start), (area and va >= words.area_end(area))
    m = machine.variable("address_map")
    if va < paging.PAGE:
        return "null"
    if places.range_at(va).name == "guard" or (before and area.kind == words.STACK):
        return "stack"
    if int(m["direct"]) <= va < int(m["vmalloc_start"]):
        return "noram"
    if before or behind:
        return "guard"
    return "freed" if area and area.kind == words.FREED else "unmapped"


# What an access would do

def of_address(va):
    if not machine.paging_on():
        return walk.paging_off(va)
    found = {access: verdict(va, access) for access in (READ, WRITE, FETCH)}
    if len(set(found.values())) == 1:
        lines = [f"{va:#x}: every access {found[READ]}"]
    else:
        lines = [f"{va:#x}: " + ", ".join(f"a {ACCESSES[a]} {v}" for a, v in found.items())]
    lines += about(va)
    whys = sorted({v.split(": ")[1] for v in found.values() if ": " in v})
    for why in whys:
        lines += advice(why)
    return lines + more(va, STALE if last_step(va) else whys[0])


def verdict(va, access):
    why = fault_why(Fault(va, 0, access, True, False))
    last = last_step(va)
    if why == "early":
        return "is permitted by boot's tables" if last else "would fault: early"
    if why == STALE and paging.reserved_bits(last.value, last.level):
        return "would fault: reserved"
    return "is permitted" if why == STALE else f"would fault: {why}"


def last_step(va):
    """Where the walk ends, if that is present."""
    root, levels = machine.tables()
    *_, last = paging.walk(phys, root, levels, va)
    return last if last.value & paging.P and paging.canonical(va, levels) else None


# What the kernel's report does not say

def more(va, why):
    lines = []
    last = last_step(va) if machine.paging_on() else None
    if last and last.value & paging.W and not last.value & paging.NX:
        lines.append("  W^X    the page can be written and executed: no call of the kernel's makes such an entry; try `mm check`")
    if last and why == STALE:
        lines += ["  note   gdb reads tables, not TLBs: a CPU that used this page before its entry was last changed may still",
                  "         go by what it was, until it flushes; `mm watch` stops at such a change"]
    if why == "freed":
        lines += whereabouts(layout.Places().near(va))
    return lines


def whereabouts(area):
    """Where a freed area waits, and for what."""
    try:
        place = stock_place(now().window, area.start)
    except Problem as problem:  # what it would be read from is broken, too
        return [f"  stock  unknown: {str(problem).splitlines()[0]}"]
    waits = ["  tlb    until that flush a CPU that has used the page may still reach its old frame"] if "waits" in place else []
    return [f"  stock  {place}", *waits]
