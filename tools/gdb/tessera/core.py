"""A core: the file into which QEMU's dump-guest-memory wrote a whole machine. It knows no gdb: tools/run uses it, too.

QEMU notes where memory lies physically. gdb looks for it at virtual addresses, so map_virtual() adds where the page
tables of CPU 0 have it. (QEMU could add that itself, `-p`, but would then leave out what is not mapped.) What lies
where physically can still be seen, at PHYSICAL + its address, as far from any virtual address as can be.
"""

import itertools
import mmap
import os
import struct
from collections import namedtuple

from . import paging

IMAGE_BASE = 0xFFFFFFFF80000000  # linker.ld: virtual = physical + this
PHYSICAL = 1 << 60  # not canonical: nothing is ever mapped there
CR0_PG, CR4_PAE, CR4_LA57 = 1 << 31, 1 << 5, 1 << 12
LOAD, NOTE, X86_64 = 1, 4, 62  # what an ELF file calls them
MOST = 1 << 20  # leaves: tables that hold more are spoilt

Registers = namedtuple("Registers", "cr0 cr2 cr3 cr4 efer")
Header = namedtuple("Header", "kind flags at va pa in_file in_memory align")  # a program header of the ELF file
ELF_HEADER, HEADER = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")


class Core:
    """Its physical memory, and each CPU's control registers."""

    def __init__(self, path):
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < ELF_HEADER.size:
                raise ValueError(f"{path} is no core: it has not even an ELF header")
            self.file = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        if self.file[:4] != b"\x7fELF" or self.file[16] != 4:
            raise ValueError(f"{path} is no core: it is no ELF file of that kind")
        if self.file[4] != 2:
            raise ValueError(f"{path} is a core for 32 bits; QEMU of version 7 and later writes none such")
        self.machine = struct.unpack_from("<H", self.file, 18)[0]
        self.headers = elf_headers(self.file)
        if any(h.at + h.in_file > len(self.file) for h in self.headers):
            raise ValueError(f"{path} is cut short: was the disk full? Write it again")
        self.pieces = [(h.pa, h.pa + h.in_file, h.at) for h in self.headers if h.kind == LOAD and not is_view(h)]
        self.cpus = [data for h in self.headers if h.kind == NOTE
                     for name, data in self.notes(h.at, h.at + h.in_file) if name == b"QEMU"]

    def notes(self, at, end):
        """(name, contents) of each note."""
        while at + 12 <= end:
            name, length, _ = struct.unpack_from("<III", self.file, at)
            data = at + 12 + (name + 3 & -4)
            yield self.file[at + 12:at + 12 + name].rstrip(b"\0"), self.file[data:data + length]
            at = data + (length + 3 & -4)

    def read(self, pa, length):
        """As the machine would: what is no RAM reads as zeros."""
        out = bytearray(length)
        for start, end, at in self.pieces:
            lo, hi = max(start, pa), min(end, pa + length)
            if lo < hi:
                out[lo - pa:hi - pa] = self.file[at + lo - start:at + hi - start]
        return bytes(out)

    def registers(self, cpu):
        """From QEMU's QEMUCPUState: 8 bytes of header, 18 registers, 10 segments of 24 bytes, CR0 to CR4."""
        if cpu >= len(self.cpus):
            raise ValueError(f"the core has no control registers of CPU {cpu}: it has {len(self.cpus)} notes of QEMU's\n"
                             "  `make run CORE=1` keeps them, and QEMU's dump-guest-memory without -l and -s")
        cr0, _, cr2, cr3, cr4 = struct.unpack_from("<5Q", self.cpus[cpu], 8 + 18 * 8 + 10 * 24)
        long_mode = cr0 & CR0_PG and cr4 & CR4_PAE  # EFER is not kept; with PAE we only ever page in long mode
        return Registers(cr0, cr2, cr3, cr4, 0xD00 if long_mode else 0)

    def tables(self):
        """(root, levels) of CPU 0; None: it does not page."""
        r = self.registers(0)
        return (r.cr3 & paging.ADDRESS, 5 if r.cr4 & CR4_LA57 else 4) if r.cr0 & CR0_PG else None

    def views(self):
        """(virtual address, physical address, length) of what CPU 0 has mapped and the core has, in long runs."""
        tables = self.tables()
        leaves = itertools.islice(paging.leaves(self.read, *tables), MOST) if tables else ()
        runs = merged((leaf.va, leaf.pa, leaf.bytes) for leaf in leaves)
        if not any(va <= IMAGE_BASE + (1 << 20) < va + length for va, _, length in runs):
            runs.append((IMAGE_BASE, 0, 1 << 30))  # paging is off, or the tables are spoilt
        return [(va + start - pa, start, end - start) for va, pa, length in runs
                for start, end in self.present(pa, pa + length)]

    def present(self, lo, hi):
        """The parts of these physical addresses that are in the core."""
        return [(max(lo, start), min(hi, end)) for start, end, _ in self.pieces if max(lo, start) < min(hi, end)]

    def offset(self, pa):
        return next(at + pa - start for start, end, at in self.pieces if start <= pa < end)


def elf_headers(file):
    """The program headers in the bytes of an ELF file."""
    table, sections, size, count = *struct.unpack_from("<QQ", file, 32), *struct.unpack_from("<HH", file, 54)
    if count == 0xFFFF:  # too many for 16 bits: the first section's sh_info has the number
        count = struct.unpack_from("<I", file, sections + 44)[0]
    return [Header(*HEADER.unpack_from(file, table + i * size)) for i in range(count)]


def is_view(header):
    """One that map_virtual() added."""
    return header.kind == LOAD and header.va not in (header.pa, PHYSICAL + header.pa)


def merged(leaves):
    """Neighbours in both kinds of addresses, joined."""
    runs = []
    for va, pa, length in leaves:
        if runs and runs[-1][0] + runs[-1][2] == va and runs[-1][1] + runs[-1][2] == pa:
            runs[-1] = *runs[-1][:2], runs[-1][2] + length
        else:
            runs.append((va, pa, length))
    return runs


def map_virtual(path):
    """Add to a core of dump-guest-memory at which virtual addresses its memory was, so that gdb finds it there."""
    core = Core(path)
    if any(map(is_view, core.headers)):
        return
    views = [Header(LOAD, 0, core.offset(pa), va, pa, length, length, 0) for va, pa, length in core.views()]
    physical = [h._replace(va=PHYSICAL + h.pa) if h.kind == LOAD and core.tables() else h for h in core.headers]
    os.chmod(path, 0o600)  # QEMU makes it read-only
    with open(path, "r+b") as file:
        if core.machine != X86_64:
            physical[0] = write_notes(file, core)
        write_headers(file, physical + views)


def write_notes(file, core):
    """CPU 0 was not in long mode, and QEMU wrote notes for gdb of a 32-bit CPU; but our kernel's ELF file is for 64."""
    notes = b"".join([note(b"CORE", 1, status(cpu, state)) for cpu, state in enumerate(core.cpus)] +
                     [note(b"QEMU", 0, state) for state in core.cpus])
    at = file.seek(0, os.SEEK_END)
    file.write(notes)
    return Header(NOTE, 0, at, 0, 0, len(notes), len(notes), 0)


def note(name, kind, data):
    def padded(text):
        return text + bytes(-len(text) % 4)
    return struct.pack("<III", len(name) + 1, len(data), kind) + padded(name + b"\0") + padded(data)


def status(cpu, state):
    """A CPU's registers from QEMU's note, as Linux's struct elf_prstatus has them: NT_PRSTATUS."""
    rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, *high, rip, flags = struct.unpack_from("<18Q", state, 8)
    cs, ds, es, fs, gs, ss = struct.unpack_from("<" + "I20x" * 6, state, 8 + 18 * 8)
    return struct.pack("<32xI76x27Q8x", cpu + 1, *reversed(high[4:]), rbp, rbx, *reversed(high[:4]), rax, rcx, rdx, rsi, rdi,
                       0, rip, cs, flags, rsp, ss, 0, 0, ds, es, fs, gs)


def write_headers(file, headers):
    """Program headers, at the end of an ELF file. More than 16 bits can count need a section that has the number."""
    start = file.seek(0, os.SEEK_END) + 7 & ~7
    file.seek(start)
    section = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, len(headers), 0, 0)
    file.write(section + b"".join(HEADER.pack(*h) for h in headers))
    file.seek(0)
    ident, kind, _, version, entry, _, _, flags, size, *_ = ELF_HEADER.unpack(file.read(ELF_HEADER.size))
    file.seek(0)
    file.write(ELF_HEADER.pack(ident, kind, X86_64, version, entry, start + len(section), start, flags, size, HEADER.size,
                               min(len(headers), 0xFFFF), len(section), 1, 0))
