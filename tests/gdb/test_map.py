"""mm map, alias, layout, walk, $pa, $pte and pte, on one stopped machine, against all others who can say what is mapped there.

Areas of all kinds are made at the prompt, and the kernel prints what it has. Then gdb stops the machine, and is compared
with the kernel's tables, with QEMU's own walker (`info tlb`, `gva2gpa`, `xp`) and with the walker of
tests/qemu/readers.py over the machine's RAM.
"""

import re
from types import SimpleNamespace

import pytest

import readers
from debugger import Debugged
from readers import LARGE, PAGE, Leaf

SHAPES = {"4-levels": {"MEM": "64M"}, "5-levels": {"LA57": 1, "MEM": "100M"}, "small-pages": {"CPU": "qemu64", "MEM": "64M"}}
TOP = (1 << 64) - 1
ROW = re.compile(r"^0x([0-9a-f]{16}) 0x([0-9a-f]{11}) (\d+) ([KMG])iB (...) +([-+]\d+|-) (.*)$")
RUN = re.compile(r"^0x([0-9a-f]{16}) 0x([0-9a-f]{11}) (\d+) ([KMG])iB +(\d+) +(\d+) (...) (.*)$")
UNIT = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def take(machine):
    """One machine with everything in it: what the kernel says, then gdb attached."""
    made = {}
    for name, line in (("one", "vmalloc 1"), ("gone", "vmalloc 1M"), ("area", "vmalloc 64K"), ("huge", "huge 5M"),
                       ("device", "ioremap 0xfed00000 0x2000"), ("freed", "vmalloc 20K"), ("large", "vmalloc 3M")):
        made[name] = int(machine.run(line)[1][0]["va"], 16)
    frames = [r["pa"] for r in machine.run(f"map {made['area']:x}")[1]]
    made["shown"] = int(machine.run(f"vmap {' '.join(frames[i] for i in (3, 1, 2))}")[1][0]["va"], 16)
    machine.command(f"vfree {made['gone']:x}")
    machine.command("purge")
    machine.command(f"vfree {made['freed']:x}")
    lines = {line: machine.command(line).splitlines() for line in (
        "map", "map 0 ffffffffffffffff", "layout", f"map {made['area'] + 5 * PAGE:x}", f"map {made['area'] - 1:x}", f"alias {frames[1]}", "alias 100000",
        f"map {made['area']:x} {made['huge'] + 3 * LARGE:x}")}
    places = [*made.values(), *(va - PAGE for va in made.values()), made["area"] + 0x4567, made["huge"] + 0x345678,
              made["area"] + 16 * PAGE, 0, 0x1234567890123456, 0xFFFFFFFF80100000, TOP, made["large"] + (3 << 20)]
    walks = {va: machine.command(f"walk {va:x}").splitlines() for va in places}
    leaves, tables, tlb = machine.readers()
    machine.attach()
    return SimpleNamespace(machine=machine, mm=machine.mm, gdb=machine.gdb, made=made, frames=frames, lines=lines, tables=tables,
                           walks=walks, leaves=leaves, tlb=tlb, levels=5 if "LA57" in machine.variables else 4)


@pytest.fixture(scope="module", params=[pytest.param(s, marks=pytest.mark.xdist_group("gdb " + s)) for s in SHAPES])
def seen(request, tmp_path_factory):
    with Debugged(tmp_path_factory.mktemp(request.param), **SHAPES[request.param]) as machine:
        machine.variables = SHAPES[request.param]
        yield take(machine)


def leaves_of(lines):
    """Rows of `map` as Leaves."""
    rows = [ROW.match(line) for line in lines[1:-1]]
    assert all(rows), [line for line, row in zip(lines[1:], rows) if not row]
    assert lines[-1] == f"{len(rows)} mappings"
    return [Leaf(int(m[1], 16), int(m[2], 16), int(m[3]) * UNIT[m[4]], m[5]) for m in rows]


def runs_of(lines):
    """Rows of `mm map` as lists of (Leaf of the first page, pages, pieces, last column)."""
    rows = [RUN.match(line) for line in lines[1:-1]]
    assert all(rows), [line for line, row in zip(lines[1:], rows) if not row]
    return [(Leaf(int(m[1], 16), int(m[2], 16), int(m[3]) * UNIT[m[4]], m[7]), int(m[5]), int(m[6]), m[8]) for m in rows]


def pages_of(runs):
    return [(leaf.va + i * leaf.bytes, leaf.bytes, leaf.prot) for leaf, pages, *_ in runs for i in range(pages)]


# The same words as the kernel's

def test_each_is_the_kernels_map(seen):
    assert seen.mm("map each") == seen.lines["map"]
    assert seen.mm("map all each") == seen.lines["map 0 ffffffffffffffff"]
    assert seen.mm("map 0 -1 each") == seen.lines["map 0 ffffffffffffffff"]
    assert len(seen.lines["map"]) > 800


def test_an_area_by_any_address_in_it(seen):
    area = seen.made["area"]
    assert seen.mm(f"map {area + 5 * PAGE + 8:#x} each") == seen.lines[f"map {area + 5 * PAGE:x}"]
    assert seen.mm(f"map {area - 1:#x} each") == seen.lines[f"map {area - 1:x}"], "by its guard, too"
    assert seen.mm(f"map {area:#x} {seen.made['huge'] + 3 * LARGE:#x} each") == \
        seen.lines[f"map {area:x} {seen.made['huge'] + 3 * LARGE:x}"]


def test_alias_is_the_kernels(seen):
    frame = seen.frames[1]
    lines = seen.mm(f"alias {frame}")
    assert lines == seen.lines[f"alias {frame}"]
    assert len(leaves_of(lines)) == 3, "in the direct map, in its area, in the vmap"
    assert seen.mm("alias 0x100000") == seen.lines["alias 100000"]
    assert seen.mm(f"alias {seen.made['area'] + PAGE:#x}") == lines, "a virtual address stands for its frame"
    assert seen.mm("alias 0xfed00000")[1].endswith(f"0x{seen.made['device']:016x} +0 UC")


def test_layout_is_the_kernels_and_more(seen):
    lines = seen.mm("layout")
    assert [line[:len(known)] for line, known in zip(lines, seen.lines["layout"])] == seen.lines["layout"]
    assert lines[-1].startswith(f"page tables: {len(seen.tables)} frames, ")
    assert len(lines) == len(seen.lines["layout"]) + 1
    text = [line for line in lines if " vmalloc " in line][0]
    window = [leaf for leaf in seen.leaves if int(text[:18], 16) <= leaf.va <= int(text[20:38], 16)]
    small = sum(leaf.bytes == PAGE for leaf in window)
    assert text.endswith(f": {small} of 4 KiB, {len(window) - small} of 2 MiB")
    assert seen.gdb.python(f"words.size({sum(leaf.bytes for leaf in window)})") + ":" in text


WALK = re.compile(r"^  (PML5|PML4|PDPT|PD|PT) +\[ *(\d+)\] +(?:\d+-\d+ +)?0x([0-9a-f]+)  0x([0-9a-f]{16})  (.*)$")
DIRECT = {4: 0xFFFF888000000000, 5: 0xFF11000000000000}


def steps_of(lines, direct=0):
    found = [WALK.match(line) for line in lines]
    return [(m[1], int(m[2]), int(m[3], 16) - direct, m[4], m[5]) for m in found if m]


def test_walk_is_the_kernels(seen):
    for va, told in seen.walks.items():
        lines = seen.mm(f"walk {va:#x}")
        kernel, ours = steps_of(told, DIRECT[seen.levels]), steps_of(lines)
        assert [step[:4] for step in ours] == [step[:4] for step in kernel], hex(va)
        assert all(mine[4].endswith(step[4]) for mine, step in zip(ours, kernel)), (lines, told)
        assert [line for line in lines if "canonical:" in line] == [line for line in told if "canonical:" in line]
    assert {len(steps_of(told)) for told in seen.walks.values()} >= {1, seen.levels - 1, seen.levels}


# The same mappings as everybody else's

def test_each_is_what_qemu_and_the_ram_say(seen):
    ours = leaves_of(seen.mm("map all each"))
    assert ours == seen.leaves
    assert {readers.as_tlb(leaf) for leaf in ours} == seen.tlb == readers.tlb_leaves(seen.machine.hmp("info tlb"))


def test_runs_hold_all_pages_once(seen):
    for line in ("map all", "map all pieces"):
        runs = runs_of(seen.mm(line))
        assert pages_of(runs) == [(leaf.va, leaf.bytes, leaf.prot) for leaf in seen.leaves]
    assert [leaf.pa + i * leaf.bytes for leaf, pages, *_ in runs for i in range(pages)] == [leaf.pa for leaf in seen.leaves]
    assert all(pieces == 1 for _, _, pieces, _ in runs)


def test_runs_are_as_long_as_they_can_be_and_count_pieces(seen):
    runs = runs_of(seen.mm("map all"))
    at = {leaf.va: leaf for leaf in seen.leaves}
    for (leaf, pages, pieces, _), (after, *_) in zip(runs, runs[1:]):
        frames = [at[leaf.va + i * leaf.bytes].pa for i in range(pages)]
        assert pieces == 1 + sum(b - a != leaf.bytes for a, b in zip(frames, frames[1:]))
        assert leaf.va + pages * leaf.bytes < after.va or (leaf.prot, leaf.bytes) != (after.prot, after.bytes)
    assert len([r for r in runs if r[2] > 1]) > 1, "everything lies in one piece: then nothing was tested"
    total = sum(leaf.bytes for leaf in seen.leaves)
    assert seen.mm("map all")[-1] == f"{len(seen.leaves)} mappings in {len(runs)} runs, " + seen.gdb.python(
        f"words.size({total})")


def test_by_frames(seen):
    """The same pieces, sorted by where they lie: neighbours that overlap are frames with two names."""
    pieces, frames = runs_of(seen.mm("map all pieces")), runs_of(seen.mm("map all frames"))
    assert sorted(pieces, key=lambda run: (run[0].pa, run[0].va)) == frames
    assert len(pieces) > len(runs_of(seen.mm("map all")))


def test_filters(seen):
    def some(line, test):
        leaves = [leaf for leaf in seen.leaves if test(leaf)]
        assert leaves_of(seen.mm(f"map all each {line}")) == leaves
        assert pages_of(runs_of(seen.mm(f"map all {line}"))) == [(leaf.va, leaf.bytes, leaf.prot) for leaf in leaves]
        return len(leaves)

    assert some("r-x", lambda leaf: leaf.prot == "r-x")
    assert some("r--", lambda leaf: leaf.prot == "r--")
    assert some("w", lambda leaf: "w" in leaf.prot) and some("!w", lambda leaf: "w" not in leaf.prot)
    assert some("w x", lambda leaf: "w" in leaf.prot and "x" in leaf.prot) == 0
    assert some("2M", lambda leaf: leaf.bytes == LARGE) and some("!4k", lambda leaf: leaf.bytes != PAGE)
    assert some("uc", lambda leaf: leaf.va in (seen.made["device"], seen.made["device"] + PAGE) or leaf.pa == 0xFEE00000) == 3
    assert some("vmap", lambda leaf: 0 <= leaf.va - seen.made["shown"] < 3 * PAGE) == 3
    assert some("ioremap !uc", lambda leaf: False) == 0
    assert some("freed", lambda leaf: False) == 0
    mine = [seen.made["one"], seen.made["huge"], seen.made["area"], seen.made["large"]]
    assert some("vmalloc 4K", lambda leaf: leaf.bytes == PAGE and any(
        0 <= leaf.va - va < size for va, size in zip(mine, (PAGE, 5 << 20, 16 * PAGE, 3 << 20)))) == 1 + 256 + 16 + 768


def test_ranges(seen):
    layout = {line[49:].split("  ")[0].strip() or line: (int(line[:18], 16), int(line[20:38], 16))
              for line in (line[:56].ljust(56) + line[56:] for line in seen.lines["layout"][1:])}
    names = {name.split()[-1]: span for name, span in layout.items()}
    for word, lo, hi in (("direct", *names["direct"]), ("vmemmap", *names["vmemmap"]), ("window", *names["vmalloc"]),
                         ("image", 0xFFFFFFFF80100000, TOP)):
        expected = [leaf for leaf in seen.leaves if lo <= leaf.va <= hi]
        assert expected and leaves_of(seen.mm(f"map {word} each")) == expected, word


def test_gaps(seen):
    """Rows of pages and of gaps fill all 2^64 bytes; gaps say what the entries there note."""
    for line in ("map all gaps", "map all gaps each"):
        rows = [(int(row[:18], 16), row) for row in seen.mm(line)[1:-1]]
        starts = [va for va, _ in rows]
        assert starts == sorted(starts) and starts[0] == 0
        gaps = [va for va, row in rows if " --- " in row]
        mapped = {leaf.va for leaf in seen.leaves}
        assert not mapped & set(gaps)
        if "each" in line:
            assert mapped | set(gaps) == set(starts)
            ends = {leaf.va + leaf.bytes for leaf in seen.leaves} - mapped - {1 << 64}
            assert ends <= set(gaps), "what follows the last page of each stretch is a gap"
    area = seen.made["area"]
    assert len(runs_of(seen.mm(f"map {area:#x} gaps"))) == 1, "an area, and nothing in front of it or behind"
    text = dict(rows)
    assert text[seen.made["area"] - PAGE].endswith("--- guard: vmalloc, 16 pages")
    assert text[seen.made["shown"] - PAGE].endswith("--- guard: vmap, 3 pages")
    assert text[seen.made["freed"] - PAGE].endswith("--- guard: freed, 5 pages")
    assert text[seen.made["freed"]].endswith(f"   20 KiB --- 0x{seen.made['freed']:016x} +0")
    assert text[0].endswith("    4 KiB --- null")


# The functions, the rest of walk

def value(seen, expression):
    text = seen.gdb(f"output/x {expression}")
    assert re.fullmatch(r"0x[0-9a-f]+", text), text
    return int(text, 16)


def test_pa_is_what_qemu_translates(seen):
    for leaf in seen.leaves[::97] + [leaf for leaf in seen.leaves if leaf.bytes == LARGE][-2:]:
        va = leaf.va + leaf.bytes - 7
        assert value(seen, f"$pa({va:#x})") == leaf.pa + leaf.bytes - 7
        assert f"gpa: {leaf.pa + leaf.bytes - 7:#x}" in seen.gdb(f"monitor gva2gpa {va:#x}")
    assert value(seen, "$pa(&address_map)") == value(seen, "(unsigned long)&address_map") - 0xFFFFFFFF80000000
    assert "is not mapped" in seen.gdb("output $pa(0)")
    assert "is not mapped" in seen.gdb("output $pa(0x1234567890123456)")


def test_pte_is_what_lies_there(seen):
    """Each entry that mm walk names, by QEMU's physical reading."""
    va = seen.made["area"] + 3 * PAGE
    steps = steps_of(seen.mm(f"walk {va:#x}"))
    for (_, _, at, held, _), level in zip(steps, range(seen.levels, 0, -1)):
        assert seen.gdb(f"monitor xp/1gx {at:#x}").split(": ")[1].strip() == f"0x{held}"
        assert value(seen, f"$pte({va:#x}, {level})") == int(held, 16)
        assert value(seen, f"$slot({va:#x}, {level})->v") == int(held, 16)
    assert value(seen, f"$pte({va:#x})") == int(steps[-1][3], 16)
    assert "does not pass level 1" in seen.gdb("output $pte(0, 1)")


def test_walk_says_what_it_came_to(seen):
    area, huge, freed = seen.made["area"], seen.made["huge"], seen.made["freed"]
    text = "\n".join(seen.mm(f"walk {area + 0x2345:#x}"))
    assert f"  byte   +0x345, so it leads to {int(seen.frames[2], 16) + 0x345:#x}\n  may    rw-: not executed by PT\n" in text
    assert f"  area   0x{area:x}-0x{area + 0xffff:x}, 16 pages\n         vmalloc, asked for by cmd_vmalloc+0x" in text
    assert text.endswith("  where  its byte 9029: inside")
    assert "  bits   " in text and "  20-12  " in text and "  P W A D G NX    " in text
    assert "  may    r-x: not written by PT\n  range  text 0x" in "\n".join(seen.mm("walk 0xffffffff80100000"))
    assert f"  byte   +0x123456, so it leads to {value(seen, f'$pa({huge:#x})') + 0x123456:#x}" in seen.mm(f"walk {huge + 0x123456:#x}")
    guard = value(seen, "address_map.vmalloc_start")
    assert seen.mm(f"walk {guard:#x}")[-1] == "  where  its byte -4096: in the guard page before it"
    text = "\n".join(seen.mm(f"walk {area + 16 * PAGE:#x}"))
    assert "  ends   not present at level 1: not mapped, an access faults\n" in text
    assert text.endswith("  where  its byte 65536: in the guard page behind it")
    assert seen.mm(f"walk {freed + 8:#x}")[-2:] == [seen.mm(f"walk {freed + 8:#x}")[-2], "  where  its byte 8: inside"]
    assert "freed, asked for by" in seen.mm(f"walk {freed + 8:#x}")[-2]
    assert "before it began: a fault, #GP" in "\n".join(seen.mm("walk 0x1234567890123456"))


def test_the_kernels_words_for_types(seen):
    """words.py has the names of enum vm_kind, and the numbers; the kernel's own debug information has them, too."""
    for word, name in (("vmalloc", "VM_ALLOC"), ("vmap", "VM_MAP"), ("stack", "VM_STACK"), ("freed", "VM_FREED"),
                       ("ioremap", "VM_IOREMAP")):
        assert seen.gdb.python(f"words.KINDS[int(gdb.parse_and_eval('{name}'))]") == word
    assert seen.gdb.python("len(words.KINDS) == int(gdb.parse_and_eval('VM_NR_KINDS'))") == "True"
    assert seen.gdb.python("hex(machine.DIRECT[machine.levels()])") == hex(value(seen, "address_map.direct"))
    assert seen.gdb.python("hex(machine.IMAGE_BASE)") == hex(value(seen, "address_map.image"))


def test_a_string_goes_on_in_the_next_page(seen):
    """Whose frame lies elsewhere; and its zero may be the last byte of an area."""
    for va, text in ((seen.made["area"] + 3 * PAGE - 4, "tesserae"), (seen.made["area"] + 16 * PAGE - 4, "tes")):
        put(seen, va, text.encode() + b"\0")
        assert seen.gdb.python(f"machine.string({va:#x})") == text


def put(seen, va, text):
    seen.gdb(f"python gdb.selected_inferior().write_memory({va:#x}, {text})")


FOUND = re.compile(r"^0x([0-9a-f]{16}) 0x([0-9a-f]{11}) (...) (.*)$")


def in_memory(seen, what):
    """Where the machine's RAM holds these bytes: below the hole at 2 GiB an offset in the file is the address."""
    found, part, at = set(), b"", 0
    with open(seen.machine.ram_file, "rb") as file:
        while more := file.read(1 << 24):
            part += more
            where = part.find(what)
            while where >= 0:
                found.add(at + where)
                where = part.find(what, where + 1)
            at += len(part) - len(what) + 1
            part = part[len(part) - len(what) + 1:]
    return found


def test_find(seen):
    """What is found is what the RAM holds, by all names of the frames."""
    entry = seen.gdb(f"output/x $pte({seen.made['area'] + PAGE:#x})")
    value = int(entry, 16).to_bytes(8, "little")
    for line, what, step in (('"ran off the area"', b"ran off the area", 1), (entry, value, 8),
                             (f"{int.from_bytes(b'ff t', 'little'):#x} u32 anywhere", b"ff t", 1),
                             ('"%s\\n"', b"%s\n", 1), (f"{int.from_bytes(b'PC', 'little')} u16", b"PC", 2)):
        lines = seen.mm(f"find {line}")
        rows = [(int(m[1], 16), int(m[2], 16), m[3]) for m in map(FOUND.match, lines[1:-1])]
        places = {pa for pa in in_memory(seen, what) if pa % step == 0}
        expected = {(leaf.va + pa - leaf.pa, pa, leaf.prot) for pa in places for leaf in seen.leaves
                    if leaf.pa <= pa < leaf.pa + leaf.bytes}
        assert set(rows) == expected and rows == sorted(rows) and rows, line
        assert lines[-1].startswith(f"{len({pa for _, pa, _ in rows})} place"), line
    assert seen.mm('find "ran off the area" image')[1].endswith(" r-- rodata")
    assert len(seen.mm('find "ran off the area" image')) == 3
    assert seen.mm("find 0 u8 image")[-1] == "and no further: give it a smaller range"
    for line, words in (("", "is missing"), ('"a" u8', "one size"), ("1 u8 u16", "one size"), ("256 u8", "more than 1 bytes"),
                        ('"a', "no closing quote")):
        assert words in seen.gdb(f"mm find {line}"), line


def test_find_where_two_readings_meet(seen):
    """Memory is read by 16 MiB. What overlaps is found, too; what is no RAM is not even read."""
    at = value(seen, "address_map.direct") + (1 << 20) + (16 << 20)  # RAM above the hole for devices begins at 1 MiB
    was = value(seen, f"*(unsigned long *){at - 2:#x}")
    put(seen, at - 2, b"zqzqzqzq")
    seen.gdb("python from tessera import find", "python reads, once = [], find.phys_once",
             "python find.phys_once = lambda pa, size: reads.append(pa + size) or once(pa, size)")
    lines = seen.mm('find "zqzqz" direct')
    put(seen, at - 2, was.to_bytes(8, "little"))
    assert [int(line[:18], 16) for line in lines[1:-1]] == [at - 2, at]
    seen.mm("find 0x50014 u32 all")
    assert int(seen.gdb.python("max(reads)")) <= max(leaf.pa + leaf.bytes for leaf in seen.leaves if leaf.pa < 0xFEC00000)
    seen.gdb("python find.phys_once = once")


def test_sizes_and_variables_as_addresses(seen):
    for text, va in (("64K", 0x10000), ("2M", 0x200000), ("0x10k", 0x4000), ("1G + 8", None), ("address_map.direct",
                     value(seen, "address_map.direct")), ("kernel_pt.root", value(seen, "kernel_pt.root")),
                     ("vmalloc", value(seen, "&vmalloc")), ("stacks", value(seen, "&stacks"))):
        lines = seen.mm(f"walk {text}")
        assert lines[0].startswith(f"{va:#x}: " if va else "mm walk: an address: '1G + 8' has no value here"), lines[0]


def test_errors(seen):
    for line, words in (("map foo", "No symbol"), ("map 1 2 3", "more than one range"), ("map each pieces", "choose one"), ("map frames gaps", "gaps are not"),
                        ("map all 0x1000", "more than one range"), ("map 2 1", "its last byte lies before its first"),
                        ("map gaps w", "filters and"), ("map levels=5", "goes with root="), ("walk 0 root=0x1000 levels=3", "is 4 or 5"),
                        ("map root=0x1001", "start of a page"), ("map root=0xffffffff00000000", "not mapped"), ("alias", "is missing"), ("alias 0xffffffff00000000", "not mapped"),
                        ("layout now", "too much"), ("walk", "is missing"), ("walk ffffffff80100000", "did you mean 0xffffffff8"),
                        ("walk address_map", "& in front"), ("nonsense", "no command of mm")):
        assert words in seen.gdb(f"mm {line}"), line
