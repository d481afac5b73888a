"""The machine that gdb is stopped on, read physically, so that nothing in it need work.

Physical memory comes through QEMU's stub (its packet Qqemu.PhyMemMode makes reads physical ones); where QEMU runs
on this host, hundreds of times faster from a file that it writes when told to (pmemsave); or from the one that its
dump-guest-memory wrote. Registers are those of the CPU that gdb has selected (`thread N`). The kernel's variables
are found by their symbols: the image lies at a fixed distance from where it was linked. So all of this works in
32-bit boot code, inside a fault, and in a kernel that hangs.

What was read is kept, by page, until the machine runs on or gdb changes memory.
"""

import contextlib
import os
import re
import tempfile

import gdb

from . import paging
from .core import CR0_PG, CR4_LA57, IMAGE_BASE, Core, Registers

DIRECT = {4: 0xFFFF888000000000, 5: 0xFF11000000000000}  # mmu.c, by the number of levels
DIRECT_BYTES = 1 << 44  # MEMMAP_LIMIT
EFER_LMA = 1 << 10


class Problem(gdb.GdbError):
    """What cannot be done, with which values, why, and what to do instead. gdb prints it without a backtrace."""


def _connection():
    """gdb's target: its type is "remote", "extended-remote", "core", …"""
    connection = gdb.selected_inferior().connection
    if connection is None or not gdb.selected_inferior().threads():
        raise Problem("there is no machine to look at\n"
                      "  `make gdb` starts one; `make core` keeps one; by hand: target remote :1234, or core-file FILE")
    return connection


def is_core():
    """Is it a core file, of a machine that is gone?"""
    return _connection().type == "core"


# Physical memory

_pages = {}  # what was read, by page number


def forget(_event=None):
    """What was read may be old."""
    _pages.clear()


for _event in gdb.events.cont, gdb.events.inferior_call, gdb.events.memory_changed, gdb.events.exited, gdb.events.inferior_deleted:
    _event.connect(forget)


def phys(pa, length):
    """length bytes of physical memory."""
    first, last = pa >> 12, pa + max(length, 1) - 1 >> 12
    if first == last:
        page = _pages.get(first) or _fetch(first, first)
        return page[pa & 4095:(pa & 4095) + length]
    _fetch_missing(first, last)
    return b"".join([_pages[n] for n in range(first, last + 1)])[pa & 4095:(pa & 4095) + length]


def _fetch_missing(first, last):
    """Read the pages that we do not have, each row of neighbours at once."""
    n = first
    while n <= last:
        if n in _pages:
            n += 1
            continue
        end = n
        while end < last and end + 1 not in _pages and end - n < 1023:
            end += 1
        _fetch(n, end)
        n = end + 1


def _fetch(first, last):
    """Read pages first to last. The last one's bytes."""
    connection = _connection()
    if connection.type == "core":
        return _keep(first, last, _read_core(connection, first << 12, last - first + 1 << 12))
    start, end = _ahead(first, last)
    data = _read_bulk(connection, start << 12, end - start + 1 << 12)
    if data:
        _keep(start, end, data)
        return _pages[last]
    return _keep(first, last, _read_stub(connection, first << 12, last - first + 1 << 12))


def phys_once(pa, length):
    """The same for much memory that is looked at once: it is not kept."""
    connection = _connection()
    if connection.type == "core":
        return _read_core(connection, pa, length)
    return _read_bulk(connection, pa, length) or _read_stub(connection, pa, length)


def _keep(first, last, data):
    for n in range(first, last + 1):
        _pages[n] = data[n - first << 12:n - first + 1 << 12]
    return _pages[last]


def _ahead(first, last):
    """More pages than these, to whole MiB, if all of those are sure to be RAM: reading a device changes it."""
    if last < 0xA0:
        return 0, 0x9F
    if first >= 1 << 8 and not 1 << 19 <= last < 1 << 20 and not 1 << 19 <= first < 1 << 20:
        return first & ~0xFF, last | 0xFF
    return first, last


SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # in memory: a disc would take longer than the stub
_no_bulk = set()  # connections whose QEMU writes no file that we can read


def _read_bulk(connection, pa, length):
    """By a file that QEMU writes: in the time of two pages through its stub, a MiB. None: it runs elsewhere."""
    if connection.num in _no_bulk:
        return None
    with contextlib.suppress(OSError, gdb.error), tempfile.NamedTemporaryFile(prefix="tessera-", dir=SCRATCH) as file:
        gdb.execute(f'monitor pmemsave {pa:#x} {length:#x} "{file.name}"', to_string=True)
        with open(file.name, "rb") as saved:
            data = saved.read()
        if len(data) == length:
            return data
    _no_bulk.add(connection.num)
    return None


def _read_stub(connection, pa, length):
    if not hasattr(connection, "send_packet"):
        raise Problem(f"gdb's target is '{connection.type}', which has no physical memory to read\n"
                      "  the commands of mm look at a whole machine: QEMU, by `target remote`, or a core of it")
    if connection.send_packet("Qqemu.PhyMemMode:1") != b"OK":
        raise Problem("this stub reads no physical memory: it does not know the packet Qqemu.PhyMemMode\n"
                      "  QEMU's own does, from version 5 on: `make gdb` starts it")
    try:
        return bytes(gdb.selected_inferior().read_memory(pa, length))
    except gdb.MemoryError as problem:
        raise Problem(f"physical memory at {pa:#x} cannot be read: {problem}") from problem
    finally:
        connection.send_packet("Qqemu.PhyMemMode:0")


def _read_core(_connection, pa, length):
    return core().read(pa, length)


# A core

_core = (None, None)  # its path, the Core


def core():
    """The Core that gdb has open."""
    global _core
    found = re.search(r"core dump file:\s+`(.*)', file type", gdb.execute("info files", to_string=True))
    if not found:
        raise Problem("gdb does not say which core file it has open: see `info files`")
    if _core[0] != found[1]:
        try:
            _core = found[1], Core(found[1])
        except ValueError as problem:
            raise Problem(str(problem)) from problem
    return _core[1]


# Registers of the selected CPU

def cpu():
    """Its number, as the kernel and `info threads` (less one) count."""
    _connection()
    thread = gdb.selected_thread()
    if thread is None:
        raise Problem("gdb has no CPU selected: `info threads` lists them, `thread 1` takes the first")
    return (thread.ptid[1] or thread.num) - 1


def registers():
    """The selected CPU's Registers."""
    if _connection().type == "core":
        try:
            return core().registers(cpu())
        except ValueError as problem:
            raise Problem(str(problem)) from problem
    frame = gdb.newest_frame()
    try:
        return Registers(*(int(frame.read_register(name)) & paging.TOP for name in Registers._fields))
    except ValueError as problem:
        raise Problem(f"gdb's target does not show control registers: {problem}\n"
                      "  QEMU's stub does (qemu-system-x86_64): `make gdb` starts it") from problem


def paging_on():
    """Does the selected CPU walk page tables?"""
    return bool(registers().cr0 & CR0_PG)


def levels():
    """4 or 5: of the selected CPU's tables, in use or to be."""
    return 5 if registers().cr4 & CR4_LA57 else 4


def root():
    """Where its top table lies (CR3)."""
    return registers().cr3 & paging.ADDRESS


def tables():
    """(root, levels), or a Problem that says why there are none."""
    r = registers()
    if not r.cr0 & CR0_PG:
        raise Problem(f"paging is off on CPU {cpu()} (CR0 is {r.cr0:#x}, PG is clear): no tables are in use yet,\n"
                      "  and an address is its own physical address")
    if not r.efer & EFER_LMA:
        raise Problem(f"CPU {cpu()} pages, but not in long mode (EFER is {r.efer:#x}): those tables are of another form,\n"
                      "  which Tessera never uses; firmware or a loader may")
    return r.cr3 & paging.ADDRESS, 5 if r.cr4 & CR4_LA57 else 4


# Addresses

_symbols = {}  # their values, as long as gdb has the same files


def symbol(name):
    """The value of a symbol: an address, as linked."""
    if name not in _symbols:
        try:
            _symbols[name] = int(gdb.parse_and_eval(f"(unsigned long)&{name}"))
        except gdb.error as problem:
            raise Problem(f"the kernel's symbol {name} is missing ({problem}): `file build/tessera.elf` loads its symbols"
                          ) from problem
    return _symbols[name]


gdb.events.new_objfile.connect(lambda _: _symbols.clear())
gdb.events.clear_objfiles.connect(lambda _: _symbols.clear())


def linear(va):
    """The physical address of what lies in the image or the direct map; None: it lies in neither. Asks no tables."""
    if IMAGE_BASE <= va and symbol("__image_start") <= va < symbol("__image_end"):
        return va - IMAGE_BASE
    direct = DIRECT[levels()]
    return va - direct if direct <= va < direct + DIRECT_BYTES else None


def translate(va):
    """The physical address of va for the selected CPU, or None: by the tables, and if paging is off, va itself."""
    if not paging_on():
        return va if va < 1 << 32 else None
    return paging.translate(phys, *tables(), va)


def read(address, length):
    """Bytes at a virtual address (image and direct map without tables, else by them) or, below 2^46, a physical one."""
    if address < 1 << 46:
        return phys(address, length)
    out = b""
    while length:
        pa = linear(address)
        if pa is None:
            pa = translate(address)
        if pa is None:
            raise Problem(f"{address:#x} is not mapped: `mm walk {address:#x}` says where the walk to it ends")
        some = min(length, 4096 - address % 4096) if linear(address) is None else length
        out += phys(pa, some)
        address, length = address + some, length - some
    return out


def at(type_name, address):
    """A gdb.Value of this type ("struct page", "u64", a gdb.Type), from bytes at a virtual or physical address."""
    kind = type_name if isinstance(type_name, gdb.Type) else gdb.lookup_type(type_name)
    return gdb.Value(read(address, kind.sizeof), kind)


def string(address, limit=256):
    """The C string at an address, or what the first bytes of it look like."""
    text = b""
    while len(text) < limit and b"\0" not in text:  # it may go on in the next page
        at_ = int(address) + len(text)
        text += read(at_, min(limit - len(text), 4096 - at_ % 4096))
    return text.split(b"\0")[0].decode("utf-8", "replace")


def variable(name):
    """A gdb.Value of one of the kernel's variables, global or static, wherever gdb is stopped."""
    found = gdb.lookup_global_symbol(name) or gdb.lookup_static_symbol(name)
    if not found:
        raise Problem(f"the kernel has no variable '{name}': are its symbols loaded (`file build/tessera.elf`)?")
    return at(found.type, int(found.value().address))
