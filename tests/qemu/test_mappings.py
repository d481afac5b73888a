"""What the kernel prints, against two readers that are not the kernel (readers.py), in many machine shapes.

One boot a shape: areas are made and freed at the prompt, `map` and `areas` are read on both ports, the
guest is stopped and its tables are read from outside. Each test below then looks at one property of
that one snapshot.
"""

import re
import struct
import subprocess
from types import SimpleNamespace

import pytest

from machine import ELF, ROOT, Machine
from readers import LARGE, PAGE, Leaf, as_tlb

SHAPES = {
    "direct": {},
    "la57": {"LA57": 1, "MEM": "300M"},
    "no-gigabyte-pages": {"CPU": "qemu64", "MEM": "1G"},
    "pc": {"MACHINE": "pc", "MEM": "128M"},
    "pc-4G": {"MACHINE": "pc", "MEM": "4G"},
    "32M": {"MEM": "32M"},
    "64M": {"MEM": "64M"},
    "3G": {"MEM": "3G"},
    "6G": {"MEM": "6G", "LA57": 1},
    "shuffle": {"APPEND": "shuffle=7"},
    "small-window": {"APPEND": "vmalloc=32M"},
    "eager": {"APPEND": "tlb=eager"},
    "iso": {"BOOT": "iso"},
    "uefi": {"BOOT": "uefi"},
}
PAGES_AT_LEAST = 1000
TOP = (1 << 64) - 1
LOCAL_APIC = 0xFEE00000

def number(text):
    return int(text, 16)


def leaf_of(record):
    return Leaf(number(record["va"]), number(record["pa"]), record["bytes"], record["prot"])


ROW = re.compile(r"^0x([0-9a-f]{16}) 0x([0-9a-f]{11}) (\d+) ([KMG])iB (\S+) ", re.MULTILINE)
UNIT = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def rows_of(text):
    return [Leaf(int(va, 16), int(pa, 16), int(n) * UNIT[u], prot) for va, pa, n, u, prot in ROW.findall(text)]


def make_areas(machine):
    """Areas of 1, 16, 1024, 3 and, by vmap, 5 pages; holes between them, one of them not yet flushed."""
    def make(line):
        text, records = machine.run(line)
        assert [r["t"] for r in records] == ["area"], f"{line}: {text}"
        return records[0]["va"]

    make("vmalloc 1")
    make("vmalloc 64K")
    gone = make("vmalloc 1M")
    frames = re.search(r"physical 0x([0-9a-f]+)", machine.command("kmalloc 20K"))
    make("vmap " + " ".join(f"{int(frames[1], 16) + i * PAGE:x}" for i in (4, 0, 2, 1, 3)))
    waiting = make("vmalloc 20K")
    make("vmalloc 4M")
    machine.run(f"vfree {gone}")
    machine.run("purge")
    machine.run(f"vfree {waiting}")
    make("vmalloc 12K")


AREAS = [1, 3, 5, 16, 1024]


def take_snapshot(machine):
    machine.prompt()
    boot = machine.com2.new()[0]
    assert boot["t"] == "boot"
    make_areas(machine)
    layout = {r["name"]: r for r in machine.run("layout")[1]}
    areas = [r for r in machine.run("areas")[1] if r["t"] == "area"]
    text, records = machine.run("map 0 ffffffffffffffff")
    leaves, tables, tlb = machine.readers()
    return SimpleNamespace(
        boot=boot, check=machine.command("check"), layout=layout, areas=areas,
        rows=rows_of(text), leaves=leaves, tables=tables, tlb=tlb,
        records=[leaf_of(r) for r in records if r["t"] == "map"],
        start=number(layout["vmalloc"]["start"]), end=number(layout["vmalloc"]["end"]))


@pytest.fixture(scope="module", params=[pytest.param(s, marks=pytest.mark.xdist_group(s)) for s in SHAPES])
def shape(request, tmp_path_factory):
    with Machine(tmp_path_factory.mktemp(request.param), **SHAPES[request.param]) as machine:
        yield take_snapshot(machine)


def in_window(shape, leaves):
    return [leaf for leaf in leaves if shape.start <= leaf[0] <= shape.end]


def same(one, other, names):
    """Equal as sets; if not, say which mappings only one of the two has."""
    only = [sorted(set(a) - set(b)) for a, b in ((one, other), (other, one))]
    text = [f"only {name}: " + ", ".join(f"{leaf[0]:#x} -> {leaf[1]:#x} {leaf[2:]}" for leaf in leaves[:5])
            + f" … ({len(leaves)})" for name, leaves in zip(names, only) if leaves]
    assert not text, "\n".join(text)


def test_records_are_what_the_cpu_walks(shape, record_property):
    same(shape.records, shape.leaves, ("printed", "walked from CR3"))
    assert len(shape.records) == len(shape.leaves), "a mapping is printed twice"
    pages = len(in_window(shape, shape.leaves))
    record_property("pages compared", pages)
    assert pages >= PAGES_AT_LEAST


def test_records_are_what_qemu_walks(shape):
    same([as_tlb(leaf) for leaf in shape.records], shape.tlb, ("printed", "info tlb"))
    assert len(in_window(shape, shape.tlb)) >= PAGES_AT_LEAST


def test_rows_are_the_records(shape):
    same(shape.rows, shape.records, ("on COM1", "on COM2"))
    in_order = shape.rows == shape.records == sorted(shape.records)  # not in the assert: pytest is slow with long lists
    assert in_order


def test_the_kernel_finds_no_fault_either(shape):
    clean = "sound: nothing wrong found" in shape.check.splitlines()
    assert clean, shape.check[:1000]


def test_window_holds_the_areas_and_nothing_else(shape):
    live = [a for a in shape.areas if a["kind"] != "freed"]
    assert sorted(a["pages"] for a in live if not a["caller"].startswith("smp_init")) == AREAS
    mapped = in_window(shape, shape.leaves)
    assert {leaf.bytes for leaf in mapped} == {PAGE}
    pages = {number(a["va"]) + i * PAGE for a in live for i in range(a["pages"])}
    assert not pages ^ {leaf.va for leaf in mapped}


def test_guards_are_not_present(shape):
    present = {leaf.va for leaf in shape.leaves}
    for area in shape.areas:
        va = number(area["va"])
        assert va - PAGE not in present, f"no guard before {area}"
        assert va + area["pages"] * PAGE not in present, f"no guard behind {area}"
        assert shape.start < va and va + area["pages"] * PAGE <= shape.end, f"{area} has its guard outside"


def test_no_frame_lies_in_the_window_twice(shape):
    frames = [leaf.pa for leaf in in_window(shape, shape.leaves)]
    assert len(frames) == len(set(frames))
    assert not set(frames) & set(shape.tables), "a page table's frame was handed out"


def test_nothing_is_both_writable_and_executable(shape):
    """Neither through one leaf nor through two that lead to the same frame."""
    assert {leaf.prot for leaf in shape.leaves} == {"r--", "rw-", "r-x"}, "a U bit, or W and X in one leaf"
    writable = [leaf for leaf in shape.leaves if "w" in leaf.prot]
    for x in (leaf for leaf in shape.leaves if "x" in leaf.prot):
        for w in writable:
            assert x.pa + x.bytes <= w.pa or w.pa + w.bytes <= x.pa, f"executable {x} is writable through {w}"


def test_lower_half_is_empty(shape):
    """Page 0 is never mapped, and the early identity map is gone."""
    assert min(leaf.va for leaf in shape.leaves) > TOP // 2


def documented_ranges(levels):
    """docs/address-map.md: {its words for a range: (start, end or None)} for this number of levels."""
    rows = [row.split("|")[1:-1] for row in (ROOT / "docs/address-map.md").read_text().splitlines() if row.startswith("|")]
    at = {4: 1, 5: 3}[levels]
    hexadecimal = re.compile(r"`(0x[0-9a-f]{16})`")
    return {row[0].strip(): tuple(int(m[1], 16) if (m := hexadecimal.search(cell)) else None for cell in row[at:at + 2])
            for row in rows if len(row) == 5 and hexadecimal.search(row[1])}


def test_ranges_keep_their_documented_places(shape):
    documented = documented_ranges(shape.boot["levels"])
    assert documented["direct map of RAM"][0] == number(shape.layout["direct"]["start"])
    assert documented["struct page array"][0] == number(shape.layout["vmemmap"]["start"])
    assert documented["kernel image"][0] == number(shape.layout["text"]["start"]) & -(1 << 31)
    assert documented["vmalloc window"][0] == shape.start
    assert documented["vmalloc window"][1] == shape.end or "vmalloc=" in shape.boot["cmdline"]
    ranges = [(number(r["start"]), number(r["end"])) for r in shape.layout.values() if r["name"] != "hole"]
    for leaf in shape.leaves:
        assert any(lo <= leaf.va and leaf.va + leaf.bytes - 1 <= hi | (PAGE - 1) for lo, hi in ranges) or \
            leaf.bytes > PAGE or leaf.pa == LOCAL_APIC, f"{leaf} lies in no range of the layout"


def test_direct_map_is_direct(shape):
    start, end = number(shape.layout["direct"]["start"]), number(shape.layout["direct"]["end"])
    direct = [leaf for leaf in shape.leaves if start <= leaf.va <= end]
    assert all(leaf.va - start == leaf.pa for leaf in direct)
    assert sum(leaf.bytes for leaf in direct) >= shape.boot["frames"] * PAGE
    assert max(leaf.bytes for leaf in direct) >= LARGE


def load_segments():
    """(start, end, prot) of each PT_LOAD segment in the upper half: how the linker meant the image."""
    elf = ELF.read_bytes()
    table, size, count = struct.unpack_from("<Q", elf, 32)[0], *struct.unpack_from("<HH", elf, 54)
    for i in range(count):
        kind, flags, _, va, _, _, bytes_in_ram, _ = struct.unpack_from("<IIQQQQQQ", elf, table + i * size)
        if kind == 1 and va > TOP // 2:
            yield va, va + bytes_in_ram, "r" + "-w"[flags >> 1 & 1] + "-x"[flags & 1]


def test_each_stack_of_the_image_has_a_guard(shape):
    """The first page of each is not mapped, so that one that overflows does not run into the next."""
    names = subprocess.run(["nm", "-S", ELF], capture_output=True, text=True, check=True).stdout
    start, size = (number(text) for text in re.search(r"^(\w+) (\w+) . stacks$", names, re.MULTILINE).groups())
    mapped = {page for leaf in shape.leaves if leaf.va >= start for page in range(leaf.va, leaf.va + leaf.bytes, PAGE)}
    missing = [page - start for page in range(start, start + size, PAGE) if page not in mapped]
    assert missing == [i * size // len(missing) for i in range(len(missing))] and len(missing) == 4


def test_image_sections_have_their_rights(shape):
    segments = list(load_segments())
    assert {prot for _, _, prot in segments} >= {"r-x", "r--", "rw-"}
    image = [leaf for leaf in shape.leaves if leaf.va >= 0xFFFFFFFF80000000]
    for leaf in image:
        prots = {prot for start, end, prot in segments if start < leaf.va + leaf.bytes and leaf.va < end}
        assert prots == {leaf.prot}, f"{leaf} is meant to be {prots}"
    for start, end, prot in segments:
        here = sum(leaf.bytes for leaf in image if start <= leaf.va < end)
        if prot == "r-x":
            assert here >= end - start, "text is missing"
        else:
            assert here, "a section is missing"
