"""C structs as gdb knows them from the ELF, read by the thousand: one gdb.Value a field would take seconds.

A Layout knows where in a struct some of its fields lie, by DWARF, not by heart: a field may move, and it is found. If
it is gone, this kernel is another than these commands were written for, and they say so.
"""

import functools
import struct
from collections import namedtuple

import gdb

from ..machine import Problem

CODES = {(1, False): "B", (2, False): "H", (4, False): "I", (8, False): "Q",
         (1, True): "b", (2, True): "h", (4, True): "i", (8, True): "q"}
Field = namedtuple("Field", "bit type bits")  # from the struct's beginning; bits 0: it is no bit-field


@functools.lru_cache(None)
def lookup(name):
    try:
        return gdb.lookup_type(name).strip_typedefs()
    except gdb.error as problem:
        raise Problem(f"gdb knows no {name}: {problem}\n  load the kernel's symbols: file build/tessera.elf") from problem


gdb.events.new_objfile.connect(lambda _event: (lookup.cache_clear(), layout.cache_clear()))


def fields(kind, prefix="", bit=0):
    """(path, Field) of all that lies in a struct, also in its unnamed members; a member's members as "member.one"."""
    for field in kind.fields():
        if not hasattr(field, "bitpos"):
            continue
        inner, at = field.type.strip_typedefs(), bit + field.bitpos
        path = prefix + (field.name or "")
        if field.name:
            yield path, Field(at, inner, field.bitsize)
        if inner.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            yield from fields(inner, path + "." if field.name else prefix, at)


class Layout:
    """Some fields of a struct: unpacked they come as a namedtuple, in the order asked for, "a.b" as a_b."""

    def __init__(self, name, *paths):
        self.type, self.name = lookup(name), name
        self.size, self.all = self.type.sizeof, dict(fields(self.type))
        self.row = namedtuple("_".join(name.split()), [p.replace(".", "_") for p in paths])
        self.in_order = sorted(range(len(paths)), key=lambda i: self.field(paths[i]).bit)
        self.struct = struct.Struct(self.format([self.field(paths[i]) for i in self.in_order]))
        self.places = sorted(range(len(paths)), key=lambda i: self.in_order[i])

    def field(self, path):
        if path not in self.all:
            raise Problem(f"{self.name} has no field '{path}' in this kernel, and `mm` reads it:\n"
                          "  change tools/gdb/tessera/state, too, where it is named")
        return self.all[path]

    def offset(self, path):
        return self.field(path).bit // 8

    def format(self, wanted):
        text, at = "<", 0
        for field in wanted:
            start = field.bit // 8
            text += f"{start - at}x{self.code(field.type)}"
            at = start + field.type.sizeof
        return text + f"{self.size - at}x"

    @staticmethod
    def code(kind):
        if kind.code == gdb.TYPE_CODE_ARRAY:
            first, last = kind.range()
            return f"{last - first + 1}{Layout.code(kind.target().strip_typedefs())}" if kind.target().sizeof > 1 \
                else f"{kind.sizeof}s"
        if kind.code == gdb.TYPE_CODE_STRUCT:  # paddr_t, pte_t: what they hold
            return Layout.code(kind.fields()[0].type.strip_typedefs())
        return CODES[kind.sizeof, kind.code == gdb.TYPE_CODE_INT and kind.is_signed]

    def rows(self, data):
        """Of an array of them."""
        if self.places == list(range(len(self.places))):
            return list(map(self.row._make, self.struct.iter_unpack(data)))
        return [self.row._make([one[i] for i in self.places]) for one in self.struct.iter_unpack(data)]

    def one(self, data, at=0):
        got = self.struct.unpack_from(data, at)
        return self.row._make([got[i] for i in self.places])

    def column(self, data, path):
        """One field of all in an array, as a sequence: bytes, or a list of numbers."""
        size, at = self.field(path).type.sizeof, self.offset(path)
        if size == 1:
            return data[at::self.size]
        return memoryview(data).cast(CODES[size, False])[at // size::self.size // size].tolist()


@functools.lru_cache(None)
def layout(name, *paths):
    """The Layout; made once."""
    return Layout(name, *paths)


def names(enum, prefix):
    """{value: what its constant is called, less the prefix, in small letters}: the kernel's own words for it."""
    return {f.enumval: f.name[len(prefix):].lower() for f in lookup(enum).fields()
            if f.name.startswith(prefix) and not f.name.startswith(prefix + "NR_")}


def length(kind):
    """Of an array type."""
    first, last = kind.range()
    return last - first + 1
