"""All who can say what is mapped, on one stopped machine, each compared with each other: they must say the same.

A machine is filled by a mixture of calls: vmalloc, vmap, huge, ioremap, set_memory (`protect`), vfree, with and without the
flush; so it has leaves of all sizes and rights. What it prints on COM1, its records on COM2, what gdb's commands
print when it is stopped, what QEMU's own walkers say, and what readers.py finds in its RAM: of each only the text (or the
RAM) is kept here. Then all are read into one form and compared, two by two:

    mappings    map on COM1, its records, mm map each, mm map pieces, live RAM, info tlb, gdb-pt-dump if it is here
    walks       walk on COM1, mm walk, live RAM; where they lead: QEMU's gva2gpa, $pa
    areas       areas and vmallocinfo on COM1, their records, mm areas, mm areas vmallocinfo, descriptors in live RAM
    aliases     alias on COM1, its records, mm alias, the mappings in live RAM
    words       lines that the kernel and gdb must print alike, to the letter

That this comparison can fail is tested, too: one digit is changed in each of the views, and it must be named.

gdb-pt-dump (https://github.com/martinradev/gdb-pt-dump) is not ours. GDB_PT_DUMP=path/to/pt.py has it compared.
"""

import bisect
import copy
import itertools
import json
import os
import pathlib
import re
import subprocess
from types import SimpleNamespace

import pytest

import readers
from debugger import Debugged
from machine import ELF
from readers import ADDRESS, LARGE, PAGE, PRESENT, PS, Leaf

SHAPES = {"4-levels": {"MEM": "2G"}, "5-levels": {"MEM": "2G", "LA57": 1}}
UNIT = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
KINDS = "none", "vmalloc", "vmap", "stack", "freed", "ioremap"  # enum vm_kind
DIRECT = {4: 0xFFFF888000000000, 5: 0xFF11000000000000}
MAP = "map 0 ffffffffffffffff"
IMAGE = 0xFFFFFFFF80000000
PT_DUMP = os.environ.get("GDB_PT_DUMP", "")


# The machine

def fill(machine):
    """Areas of all kinds and rights; the addresses worth a walk."""
    def make(line):
        text, records = machine.run(line)
        assert [r["t"] for r in records] == ["area"], f"{line}: {text}"
        return int(records[0]["va"], 16)

    def done(line):
        assert machine.command(line).strip() == "done", line

    area, gone, code, constants = make("vmalloc 64K"), make("vmalloc 3M"), make("vmalloc 20K"), make("vmalloc 12K")
    huge, split, device, waits = make("huge 5M"), make("huge 2M"), make("ioremap fed00000 2000"), make("vmalloc 28K")
    frames = [r["pa"] for r in machine.run(f"map {area:x}")[1] if r["t"] == "map"]
    shown = make(f"vmap {' '.join(frames[i] for i in (9, 3, 4, 5, 0))}")
    done(f"protect ro {constants:x} 2")
    done(f"protect ro {code:x} 5")
    done(f"protect x {code + PAGE:x} 2")
    done(f"protect ro {split + 7 * PAGE:x}")
    machine.command(f"vfree {gone:x}")
    machine.command("purge")
    machine.command(f"vfree {waits:x}")
    made = area, gone, code, constants, huge, split, device, waits, shown
    return frames, sorted({0, 8, 0x123456789000, 1 << 63, IMAGE + 0x100000, (1 << 64) - 1, area + 0x4567, huge + 0x345678,
                           *(va + i * PAGE for va in made for i in (-1, 0, 1)), code + 5 * PAGE, split + 7 * PAGE})


def look(machine):
    """Every view of it, as it is printed; RAM as it is read."""
    frames, places = fill(machine)
    said = {line: machine.run(line) for line in (MAP, "areas", "vmallocinfo", "layout", f"alias {frames[3]}")}
    walks = "".join(f"<{va:#x}>\n{machine.command(f'walk {va:x}')}\n" for va in places)
    machine.attach()
    gdb = machine.gdb

    def lines(command):
        return {"text": said[command][0], "records": "\n".join(json.dumps(r) for r in said[command][1])}

    machine.ram = readers.Ram(machine.ram_file, machine.hmp("info mtree -f"))
    cr3, levels = readers.registers(machine.hmp("info registers"))
    maps, areas, infos, aliases = map(lines, (MAP, "areas", "vmallocinfo", f"alias {frames[3]}"))
    return SimpleNamespace(
        levels=levels, places=places, frame=int(frames[3], 16), layout=said["layout"][0], mm_layout=gdb("mm layout"),
        mappings={"map": maps["text"], "map records": maps["records"], "mm map each": gdb("mm map all each"),
                  "mm map pieces": gdb("mm map all pieces"), "info tlb": machine.hmp("info tlb"),
                  "live RAM": leaves_in(machine.ram, cr3, levels)} | pt_dump(machine, levels),
        walks={"walk": walks, "mm walk": "".join(f"<{va:#x}>\n{gdb(f'mm walk {va:#x}')}\n" for va in places),
               "live RAM": "".join(f"<{va:#x}>\n" + walk_in(machine.ram, cr3, levels, va) for va in places),
               "gva2gpa": "".join(f"<{va:#x}>\n{machine.hmp(f'gva2gpa {va:#x}')}\n" for va in places),
               "$pa": "".join(f"<{va:#x}>\n" + gdb(f'printf "%#lx\\n", $pa({va:#x}ul)') + "\n" for va in places)},
        areas={"areas": areas["text"], "area records": areas["records"], "mm areas": gdb("mm areas"),
               "vmallocinfo": infos["text"], "vmallocinfo records": infos["records"],
               "mm areas vmallocinfo": gdb("mm areas vmallocinfo"), "live RAM": areas_in(machine.ram, cr3, levels)},
        aliases={"alias": aliases["text"], "alias records": aliases["records"], "mm alias": gdb(f"mm alias {frames[3]}"),
                 "live RAM": leaves_in(machine.ram, cr3, levels)})


# Live RAM, as text: what a view must be so that a digit can be changed in it

def leaves_in(ram, cr3, levels):
    return "\n".join(f"{leaf.va:#x} {leaf.pa:#x} {leaf.bytes:#x} {leaf.prot}" for leaf in readers.walk(ram, cr3, levels)[0])


def steps_in(ram, cr3, levels, va):
    """(level, index, where the entry lies, entry) down to the one that leads no further."""
    table = cr3 & ADDRESS
    for level in range(levels, 0, -1):
        index = va >> 3 + 9 * level & 511
        entry = ram.table(table)[index]
        yield level, index, table + 8 * index, entry
        if not entry & PRESENT or level == 1 or entry & PS:
            return
        table = entry & ADDRESS


def walk_in(ram, cr3, levels, va):
    return "".join(f"{level} {index} {at:#x} {entry:#x}\n" for level, index, at, entry in steps_in(ram, cr3, levels, va))


def areas_in(ram, cr3, levels):
    """Every descriptor in the upper half: start, pages, kind, caller's address. include/mm/vmalloc.h has its bits."""
    found = []

    def visit(table, level, base):
        each = PAGE << 9 * (level - 1)
        for index, entry in enumerate(ram.table(table)):
            va = base + index * each
            if entry & PRESENT and level > 1 and not entry & PS:
                visit(entry & ADDRESS, level - 1, va)
            elif not entry & PRESENT and entry & 4:
                found.append(f"{readers.sign_extend(va, levels) + PAGE:#x} {entry >> 31} {KINDS[entry >> 3 & 15]} "
                             f"{IMAGE + (entry >> 7 & 0xFFFFFF):#x}")

    visit(cr3 & ADDRESS, levels, 0)
    return "\n".join(found)


# Each view read into the common form

ROW = re.compile(r"^0x([0-9a-f]{16}) 0x([0-9a-f]{11}) +(\d+) ([KMG])iB (\S+) ", re.MULTILINE)
PIECE = re.compile(r"^0x([0-9a-f]{16}) 0x([0-9a-f]{11}) +(\d+) ([KMG])iB +(\d+) +1 (\S+) ", re.MULTILINE)


def rows(text):
    return [Leaf(int(va, 16), int(pa, 16), int(n) * UNIT[u], prot) for va, pa, n, u, prot in ROW.findall(text)]


def pieces(text):
    """A row is so many pages, side by side here and there."""
    found = [(Leaf(int(va, 16), int(pa, 16), int(n) * UNIT[u], prot), int(pages))
             for va, pa, n, u, pages, prot in PIECE.findall(text)]
    return [Leaf(leaf.va + i * leaf.bytes, leaf.pa + i * leaf.bytes, *leaf[2:]) for leaf, pages in found for i in range(pages)]


def records(text, kind):
    return [r for r in map(json.loads, text.splitlines()) if r["t"] == kind]


def recorded(text, kind="map"):
    return [Leaf(int(r["va"], 16), int(r["pa"], 16), r["bytes"], r["prot"]) for r in records(text, kind)]


def listed(text):
    return [Leaf(int(va, 16), int(pa, 16), int(size, 16), prot) for va, pa, size, prot in map(str.split, text.splitlines())]


MAPPINGS = {"map": rows, "map records": recorded, "mm map each": rows, "mm map pieces": pieces, "live RAM": listed,
            "info tlb": readers.tlb_leaves, "gdb-pt-dump": lambda text: stretches(dumped(text))}
COARSER = {  # what these cannot tell, the others must leave out
    "info tlb": lambda leaves: {readers.as_tlb(leaf) for leaf in leaves}, "gdb-pt-dump": lambda leaves: stretches(leaves)}


def stretches(leaves):
    """[first byte, end, physical] of what lies side by side with the same rights, whatever the pages' size."""
    found = []
    for va, pa, size, prot in sorted(leaves):
        if found and found[-1][1] == va and found[-1][2] + va - found[-1][0] == pa and found[-1][3] == prot:
            found[-1][1] = va + size
        else:
            found.append([va, va + size, pa, prot])
    return found


# A level of a walk: the kernel prints where the entry lies in its direct map, gdb physically
STEP = re.compile(r"^  (?P<name>\w+) +\[ *(?P<index>\d+)\] .*?0x(?P<at>[0-9a-f]{11,16})  0x(?P<value>[0-9a-f]{16})  ",
                  re.MULTILINE)
LEVELS = "?", "PT", "PD", "PDPT", "PML4", "PML5"


def parts(text):
    """Of a view of walks: {address: its text}."""
    found = re.split(r"^<(0x[0-9a-f]+)>\n", text, flags=re.MULTILINE)[1:]
    return {int(va, 16): rest for va, rest in zip(found[::2], found[1::2])}


def stepped(text, levels):
    return [(LEVELS.index(m["name"]), int(m["index"]), int(m["at"], 16) - (DIRECT[levels] if len(m["at"]) == 16 else 0),
             int(m["value"], 16)) for m in STEP.finditer(text)]


def numbers(text, levels):
    return [tuple(int(n, 0) for n in line.split()) for line in text.splitlines()]


def leads(steps, va, levels):
    """The physical address that these steps end at, or None."""
    level, _, _, entry = steps[-1]
    size = PAGE << 9 * (level - 1)
    return (entry & ADDRESS & -size) + va % size if entry & PRESENT and canonical(va, levels) else None


def canonical(va, levels):
    return readers.sign_extend(va & (1 << 12 + 9 * levels) - 1, levels) == va


def physical(text):
    """gva2gpa, $pa: an address, or words that there is none."""
    found = re.search(r"(?:gpa: |^)(0x[0-9a-f]+|0)$", text.strip())
    return int(found[1], 16) if found else None


AREA_ROW = re.compile(r"^0x([0-9a-f]{16}) 0x([0-9a-f]{16}) +(\d+) (\w+) +(\S+)", re.MULTILINE)
INFO_ROW = re.compile(r"^0x([0-9a-f]{16})-0x([0-9a-f]{16}) +(\d+) (\S+) pages=(\d+)(?: phys=0x[0-9a-f]+| huge=\d+)? (\w+)",
                      re.MULTILINE)


def area(va, end, pages, kind, caller):
    return va, end - va, pages, "freed" if kind == "unpurged" else kind, caller


AREAS = {
    "areas": lambda text: [area(int(m[1], 16), int(m[2], 16) + 1, int(m[3]), m[4], m[5]) for m in AREA_ROW.finditer(text)],
    "area records": lambda text: [area(int(r["va"], 16), int(r["va"], 16) + r["pages"] * PAGE, r["pages"], r["kind"], r["caller"])
                                  for r in records(text, "area")],
    "vmallocinfo": lambda text: [area(int(m[1], 16), int(m[1], 16) + int(m[3]), int(m[5]), m[6], m[4])
                                 for m in INFO_ROW.finditer(text) if int(m[1], 16) + int(m[3]) == int(m[2], 16) + 1],
    "vmallocinfo records": lambda text: [area(int(r["va"], 16), int(r["va"], 16) + int(r["bytes"], 16), r["pages"], r["kind"],
                                              r["caller"]) for r in records(text, "vmallocinfo")],
    "live RAM": lambda text: [area(int(va, 16), int(va, 16) + int(pages) * PAGE, int(pages), kind, symbol(int(caller, 16)))
                              for va, pages, kind, caller in map(str.split, text.splitlines())],
}
AREAS |= {"mm areas": AREAS["areas"], "mm areas vmallocinfo": AREAS["vmallocinfo"]}
ALIASES = {"alias": rows, "alias records": lambda text: recorded(text, "alias"), "mm alias": rows, "live RAM": listed}
SYMBOLS = []  # (address, name) of the ELF's functions


def symbol(address):
    if not SYMBOLS:
        text = subprocess.run(["nm", "-n", ELF], capture_output=True, text=True, check=True).stdout
        SYMBOLS.extend((int(a, 16), name) for a, kind, name in map(str.split, text.splitlines()) if kind in "tT")
    start, name = SYMBOLS[bisect.bisect_right(SYMBOLS, (address, "\x7f")) - 1]
    return f"{name}+{address - start:#x}"


# gdb-pt-dump

DUMPED = re.compile(r"(0x[0-9a-f]+) : +(0x[0-9a-f]+) : +(0x[0-9a-f]+) \| W:([01]) X:([01]) S:([01])")


def pt_dump(machine, levels):
    """Its view, if it is here and can read so many levels."""
    if why_no_pt_dump(levels):
        return {}
    path = machine.rundir / "pt.txt"
    said = machine.gdb(f"source {PT_DUMP}", f"pt -phys_verbose -force_traverse_all -o {path}")
    assert path.exists(), f"gdb-pt-dump does not write its output: {said}"
    return {"gdb-pt-dump": re.sub(r" *\x1b\[\d*m *", "", path.read_text(encoding="utf-8"))}  # without its colours


def why_no_pt_dump(levels):
    """Nothing, or why it cannot be asked."""
    if not PT_DUMP:
        return "gdb-pt-dump is not at hand: GDB_PT_DUMP=path/to/pt.py says where it is (github.com/martinradev/gdb-pt-dump)"
    if not pathlib.Path(PT_DUMP).exists():
        return f"GDB_PT_DUMP={PT_DUMP}: there is no such file"
    sources = "".join(f.read_text(encoding="utf-8") for f in pathlib.Path(PT_DUMP).parent.rglob("*x86_64_parse.py"))
    return "this gdb-pt-dump reads 4 levels only" if levels == 5 and "PML5" not in sources else ""


def dumped(text):
    return [Leaf(int(va, 16), int(pa, 16), int(size, 16), readers.prot_text(w == "1", x == "1", s == "0"))
            for va, size, pa, w, x, s in DUMPED.findall(text)]


# The comparison

def unlike(one, other):
    """The first few things that only one of the two has; "" if they are equal."""
    if one == other:
        return ""
    mine, others = (dict.fromkeys(map(repr, view)) for view in (one, other))
    only = [[item for item in a if item not in b][:3] for a, b in ((mine, others), (others, mine))]
    return f"{only[0]} against {only[1]}" if any(only) else "the same, in another order or not as often"


def differences(found):
    """What each two views of one thing do not agree on: (one, other, what)."""
    return [(one, other, what) for one, other in itertools.combinations(found, 2) if (what := unlike(found[one], found[other]))]


def compare(seen):
    """All differences between any two views."""
    full = {name: MAPPINGS[name](text) for name, text in seen.mappings.items()}
    exact = {name: leaves for name, leaves in full.items() if name not in COARSER}
    found = [("mappings", *d) for d in differences(exact)]
    for name in full.keys() & COARSER.keys():
        found += [("mappings", other, name, what) for other, leaves in exact.items()
                  if (what := unlike(COARSER[name](leaves), full[name]))]
    walked = {name: {va: read(text, seen.levels) for va, text in parts(seen.walks[name]).items()}
              for name, read in (("walk", stepped), ("mm walk", stepped), ("live RAM", numbers))}
    ends = {f"end of {name}": [leads(steps, va, seen.levels) for va, steps in walked[name].items()] for name in walked}
    asked = {name: [physical(text) if canonical(va, seen.levels) else None for va, text in parts(seen.walks[name]).items()]
             for name in ("gva2gpa", "$pa")}
    found += [("walks", *d) for d in differences({name: list(steps.items()) for name, steps in walked.items()})]
    found += [("walks", *d) for d in differences(ends | asked)]
    found += [("areas", *d) for d in differences({name: AREAS[name](text) for name, text in seen.areas.items()})]
    aliases = {name: ALIASES[name](text) for name, text in seen.aliases.items()}
    aliases["live RAM"] = [Leaf(leaf.va + seen.frame - leaf.pa, seen.frame, *leaf[2:]) for leaf in aliases["live RAM"]
                           if leaf.pa <= seen.frame < leaf.pa + leaf.bytes]
    return found + [("aliases", *d) for d in differences(aliases)]


@pytest.fixture(scope="module", params=[pytest.param(s, marks=pytest.mark.xdist_group("views " + s)) for s in SHAPES])
def seen(request, tmp_path_factory):
    with Debugged(tmp_path_factory.mktemp(request.param), **SHAPES[request.param]) as machine:
        yield look(machine)


def test_all_views_are_equal(seen):
    assert compare(seen) == []


def test_there_is_something_to_compare(seen):
    leaves = listed(seen.mappings["live RAM"])
    assert {(leaf.bytes, leaf.prot) for leaf in leaves} >= {
        (1 << 30, "rw-"), (LARGE, "rw-"), (PAGE, "rw-"), (PAGE, "r--"), (PAGE, "r-x")}
    areas = AREAS["live RAM"](seen.areas["live RAM"])
    assert {kind for *_, kind, _ in areas} == {"vmalloc", "vmap", "stack", "freed", "ioremap"} and len(areas) > 10
    assert len(leaves) > 1500 and len(listed(seen.aliases["live RAM"])) > 1500
    assert len(rows(seen.aliases["alias"])) == 3  # its area, the vmap, the direct map
    assert len(parts(seen.walks["live RAM"])) > 30
    assert 0 < len([va for va, text in parts(seen.walks["gva2gpa"]).items() if physical(text) is None]) < 25


DATA = re.compile(r'^(0x|[0-9a-f]{16}: |\{|  P\w+ +\[|\d \d+ 0x|gpa: 0x| +0x).*', re.MULTILINE)
HEX = re.compile(r"(?<=0x)[0-9a-f]{4,}|\b[0-9a-f]{16}(?=:| )")


def spoilt(text, share, which, only=""):
    """The same with another digit in the first or second number (which) of the line so far into the text (share)."""
    lines = [m for m in DATA.finditer(text) if only in m[0]]
    line = lines[int(len(lines) * share)]
    found = HEX.findall(line[0])
    number = found[min(which, len(found) - 1)]
    other = number[:-4] + f"{int(number[-4], 16) ^ 1:x}" + number[-3:]
    return text[:line.start()] + line[0].replace(number, other, 1) + text[line.end():]


@pytest.mark.parametrize("share, which", [(0.2, 0), (0.55, 1), (0.9, 1)])
@pytest.mark.parametrize("group", ["mappings", "walks", "areas", "aliases"])
def test_one_wrong_digit_in_any_view_is_found(seen, group, share, which):
    for name, text in getattr(seen, group).items():
        only = f" {seen.frame:#x} " if (group, name) == ("aliases", "live RAM") else ""
        other = copy.copy(seen)
        setattr(other, group, getattr(seen, group) | {name: spoilt(text, share, which, only)})
        found = compare(other)
        accused = [(f[0], {re.sub("^end of ", "", view) for view in f[1:3]}) for f in found]
        assert accused and all(where == group and name in views for where, views in accused), f"{name}: {found[:3]}"


def test_the_same_words(seen):
    """To the letter: rows of `map`, `areas`, `vmallocinfo`, `alias`, `layout`; the last column of each step of a walk."""
    assert seen.mappings["mm map each"].split() == seen.mappings["map"].split()
    assert seen.areas["mm areas"].strip().splitlines() == seen.areas["areas"].strip().splitlines()
    assert seen.areas["mm areas vmallocinfo"].strip().splitlines() == seen.areas["vmallocinfo"].strip().splitlines()
    assert seen.aliases["mm alias"].strip().splitlines() == seen.aliases["alias"].strip().splitlines()
    ours = seen.mm_layout.splitlines()[1:-1]
    kernels = seen.layout.strip().splitlines()[1:]
    assert len(ours) == len(kernels) and all(mine.startswith(line) for mine, line in zip(ours, kernels))
    steps = [[line for line in text.splitlines() if STEP.match(line)] for text in (seen.walks["walk"], seen.walks["mm walk"])]
    assert len(steps[0]) == len(steps[1]) > 100
    for line, mine in zip(*steps):
        assert mine.endswith(" " + line[STEP.match(line).end():]), (line, mine)


def test_gdb_pt_dump_is_asked(seen):
    """Or why not: test_all_views_are_equal compares it."""
    if why_no_pt_dump(seen.levels):
        pytest.skip(why_no_pt_dump(seen.levels))
    assert len(dumped(seen.mappings["gdb-pt-dump"])) > 50
