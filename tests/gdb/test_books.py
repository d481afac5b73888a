"""mm areas, buddy, frame, slab, and the printers: what gdb reads from memory is what the kernel says of itself.

The kernel is asked first, at its prompt; then the machine is stopped, and nothing has changed in between. Single
entries are also asked of QEMU's monitor. On 4 and on 5 levels, and once more from a core, when the machine has gone.
"""

import re
from types import SimpleNamespace

import pytest

from debugger import Gdb

PAGE = 4096
LEVELS = {4: {"CPUS": 2}, 5: {"LA57": 1, "CPUS": 4, "MEM": "300M"}}
KMALLOC = r"(cmd_)?kmalloc\+0x"  # compilers inline it, or not
LISTS = "areas", "vmallocinfo", "frames", "buddy", "slab"


def number(text):
    return int(text, 16)


def kmalloc(guest, size):
    found = re.match(r"0x([0-9a-f]+), physical 0x([0-9a-f]+)", guest.command(f"kmalloc {size}"))
    return int(found[1], 16), int(found[2], 16)


def prepare(guest):
    """Some of everything; what the kernel says of it; then stopped."""
    made = SimpleNamespace(guest=guest, gdb=guest.gdb, mm=guest.mm)
    area = {size: number(guest.run(f"vmalloc {size}")[1][0]["va"]) for size in ("64K", "1M", "20K", "8M")}
    area["huge"] = number(guest.run("huge 5M")[1][0]["va"])
    made.block, made.object, made.freed_object = kmalloc(guest, "20K"), kmalloc(guest, "96"), kmalloc(guest, "96")
    area["vmap"] = number(guest.run(f"vmap {made.block[1]:x} {made.block[1] + PAGE:x}")[1][0]["va"])
    area["ioremap"] = number(guest.run("ioremap fed00000 1000")[1][0]["va"])
    guest.command(f"kfree {made.freed_object[0]:x}")
    for size in "20K", "1M":
        guest.command(f"vfree {area[size]:x}")
    made.area = area
    made.map = guest.run("map 0 ffffffffffffffff")[1]
    made.says = {}
    for line in LISTS:
        text, records = guest.run(line)
        made.says[line] = [row.rstrip() for row in text.splitlines() if row.strip()], records
    made.alias = {pa: guest.run(f"alias {pa:x}")[1] for pa in (made.block[1], made.object[1] & -PAGE)}
    direct = number(made.map[0]["va"]) - number(made.map[0]["pa"])
    frames = [number(r["pa"]) for r in made.map[::len(made.map) // 40]] + [64 << 20, made.block[1] + PAGE]
    made.refused = {pa: guest.command(f"kfree {direct + pa:x}") for pa in frames if pa < 200 << 20}
    guest.attach()
    return made


@pytest.fixture(scope="module", params=[pytest.param(n, marks=pytest.mark.xdist_group(f"books{n}")) for n in LEVELS])
def machine(request, module_debug):
    return prepare(module_debug(**LEVELS[request.param]))


# Areas

def test_areas_are_the_kernels(machine):
    assert machine.mm("areas") == machine.says["areas"][0]


def test_vmallocinfo_is_the_kernels(machine):
    assert machine.mm("areas vmallocinfo") == machine.says["vmallocinfo"][0]


def test_areas_of_a_kind(machine):
    every = machine.mm("areas")
    for kind in ("vmalloc", "vmap", "stack", "freed", "ioremap"):
        rows = machine.mm(f"areas {kind}")[1:-2]
        assert rows and rows == [row for row in every[1:-2] if row.split()[3] == kind]
    assert machine.mm("areas stack freed")[1:-2] == [r for r in every[1:-2] if r.split()[3] in ("stack", "freed")]


def test_one_area(machine):
    """Each that has a record: its first byte, its last, its guard."""
    records = [r for r in machine.says["areas"][1] if r["t"] == "area"]
    assert len(records) > 10
    for record in records:
        start, pages = number(record["va"]), record["pages"]
        for va in (start, start + pages * PAGE - 1, start - PAGE):
            text = machine.mm(f"areas {va:#x}")
            mixed = ", mixed" if start == machine.area["huge"] else ""
            assert re.fullmatch(fr"area   {start:#x}-{start + pages * PAGE - 1:#x}, {pages} pages? \(.*\), {record['kind']}{mixed}",
                                text[0])
            assert text[1] == f"where  byte {va - start} of it" + (": in the guard page before it" if va < start else "")
            assert text[2].startswith(f"asked  by {record['caller']} (")
            guard = re.fullmatch(f"guard  {start - PAGE:#x}: the entry at (0x[0-9a-f]+) holds (0x[0-9a-f]+)", text[3])
            assert number(guard[2]) == read_word(machine, number(guard[1])), "QEMU reads another entry there"
            assert number(guard[2]) >> 31 == pages


def read_word(machine, pa):
    """By QEMU's monitor."""
    return int(machine.gdb(f"monitor xp /1gx {pa:#x}").split(":")[1], 16)


def test_what_one_area_maps(machine):
    text = machine.mm(f"areas {machine.area['huge']:#x}")
    assert re.fullmatch("pages  1280 mapped, rw-, in [0-9]+ pieces of physical memory; 1024 of them in pages of 2 MiB", text[4])
    assert any(line.startswith("pages  2 mapped, rw-, in 1 piece") for line in machine.mm(f"areas {machine.area['vmap']:#x}"))
    assert any(line.startswith("pages  1 mapped, rw- UC, in 1 piece") for line in machine.mm(f"areas {machine.area['ioremap']:#x}"))


def test_where_a_freed_area_waits(machine):
    for size, pages in (("20K", 5), ("1M", 256)):
        stock = machine.mm(f"areas {machine.area[size]:#x}")[-2]
        index = pages if pages < 128 else 128 + pages % 32
        assert stock.startswith(f"stock  CPU 0's list {index}, number 0: waits for a flush"), stock


def test_areas_refuses(machine):
    assert "is not in the vmalloc window" in machine.gdb("mm areas 0x1000")
    assert "lies in no area: the address is free" in machine.gdb("mm areas address_map.vmalloc_end - 0x100000")
    assert "'5' is no kind of area: they are vmalloc, vmap, stack, freed, ioremap" in machine.gdb("mm areas stack 5")
    assert "has no value here" in machine.gdb("mm areas nothing_like_that")


# Frames

def test_sums_are_the_kernels(machine):
    assert machine.mm("frame") == machine.says["frames"][0]


def test_free_blocks_are_the_kernels(machine):
    """It has emptied the magazines to count, so what it counts hangs in the lists."""
    rows = machine.mm("buddy")
    head, *says = machine.says["buddy"][0]
    assert rows[0].startswith(head)
    assert [" ".join(row.split()[:5]) for row in rows[1:-1]] == [" ".join(row.split()) for row in says]


def test_free_blocks_one_by_one(machine):
    rows = machine.mm("buddy")
    for order, row in enumerate(rows[1:-1]):
        blocks = machine.mm(f"buddy {order}")
        first = [number(line.split()[0].split("-")[0]) for line in blocks[1:-1]]
        assert len(first) == int(row.split()[3]) + sum(map(int, row.split()[5:])) and first == sorted(first)
        assert all(pfn % (1 << order) == 0 for pfn in first)
        for pfn in first[:3]:
            assert machine.mm(f"frame pfn {pfn + (1 << order) - 1:#x}")[1].startswith(
                "  state  free, a single frame" if order == 0 else f"  state  free, in block {pfn:#x} of 2^{order} frames")


def test_magazines_are_counted(debug):
    """As the kernel's nr_free_pages() does, without a drain."""
    guest = debug(CPUS=1)
    for _ in range(3):
        kmalloc(guest, "20K")
    guest.attach()
    free = re.match(r"free: (\d+) frames \(.*\), (\d+) of them at hand in magazines", guest.mm("buddy")[-1])
    sums = {line.split()[0]: int(line.split()[1]) for line in guest.mm("frame")[1:]}
    assert int(free[1]) == sums["free"] + sums["stock"] and int(free[2]) == sums["stock"] > 0
    assert int(guest.gdb("output (long)magazines[0][64 + 3].nr")) == int(guest.mm("buddy")[4].split()[5])
    pfn = int(guest.gdb("output/x ((unsigned long)magazines[0][64 + 3].item[0] - address_map.vmemmap) / 16"), 16)
    assert guest.mm(f"frame pfn {pfn:#x}")[2] == "  place  in the magazine of CPU 0 for order 3, number 0"


def test_each_mapped_frame(machine):
    """What `map` said is mapped in the window: whose it is, which page of it, and all its addresses."""
    direct = int(machine.gdb("output/x address_map.direct"), 16)
    rows = [r for r in machine.map if machine.area["8M"] <= number(r["va"]) < machine.area["8M"] + (8 << 20)]
    assert len(rows) == 2048
    for row in rows[::101]:
        text = machine.mm(f"frame {row['pa']}")
        page = (number(row["va"]) - machine.area["8M"]) // PAGE
        assert text[1].startswith("  state  vmalloc, a single frame, last asked for by ")
        assert text[2] == f"  place  at {row['va']}, page {page} of 2048 of area {machine.area['8M']:#x}, vmalloc"
        assert text[3].startswith(f"  mapped {direct + number(row['pa']):#018x} rw-, direct map")
        assert text[4:] == [f"  mapped {row['va']} rw-, page {page} of area {machine.area['8M']:#x}, vmalloc"]
        assert machine.mm(f"frame {row['va']}") == text == machine.mm(f"frame pfn {number(row['pa']) // PAGE}")


def test_addresses_of_a_frame_are_the_kernels(machine):
    for pa, records in machine.alias.items():
        assert len(records) >= 1
        found = [line.split() for line in machine.mm(f"frame {pa:#x}") if line.startswith("  mapped ")]
        assert [(words[1], words[2].rstrip(",")) for words in found] == [(r["va"], r["prot"]) for r in records]


def test_frames_are_said_to_be_what_the_kernel_says(machine):
    """kfree of what is no kmalloc's says what the frame is."""
    compared = 0
    for pa, text in machine.refused.items():
        said = re.search(r"frame (0x[0-9a-f]+), in (\w+) block (0x[0-9a-f]+) of 2\^(\d+) frames(, last asked for by \S+)?", text)
        if said:
            state = machine.mm(f"frame {pa:#x}")[1]
            block = f", in block {said[3]} of 2^{said[4]} frames" if said[4] != "0" or said[1] != said[3] else ", a single frame"
            assert state == f"  state  {said[2]}{block}{said[5] or ''}", text
            compared += 1
    assert compared > 10


def test_frames_of_all_kinds(machine):
    gdb, mm = machine.gdb, machine.mm
    assert any(re.match(r"  place  a PML[45], the table of level [45] for all addresses", line) for line in mm("frame kernel_pt.root"))
    assert any(line.startswith("  place  a PT, the table of level 1 for") for line in mm("frame walk_cache[0][0].table"))
    assert "  place  the kernel's image" in mm("frame &address_map")
    assert "  place  the struct page array" in mm("frame pfn $pa(address_map.vmemmap + 0x1000) >> 12")
    assert any(line.startswith("  place  a slab of kmalloc-96: ") for line in mm(f"frame {machine.object[1]:#x}"))
    block = mm(f"frame {machine.block[0] + PAGE:#x}")
    assert re.match(fr"  state  kmalloc, in block {machine.block[1] >> 12:#x} of 2\^3 frames, last asked for by {KMALLOC}", block[1])
    assert f"page 0 of area {machine.area['vmap']:#x}, vmap" in "\n".join(mm(f"frame {machine.block[1]:#x}"))
    assert mm("frame 0xfed00000")[1] == "  state  no RAM: it has no struct page"
    ring = int(gdb("output/x vm_stocks[0]->ring[vm_stocks[0]->frames.head & vm_stocks[0]->mask].v"), 16)
    assert mm(f"frame {ring & 0xffffffffff000:#x}")[2].startswith("  place  in the stock of CPU 0, number 0 of its ring: ")
    second = int(gdb("output/x free_lists[10].first"), 16)
    assert mm(f"frame pfn {second:#x}")[2].startswith("  place  in the free list of order 10, first, before 0x")
    assert mm(f"frame &((struct page *)address_map.vmemmap)[{second:#x}]") == mm(f"frame pfn {second:#x}"), "its struct page"


def test_a_number_is_an_address_unless_it_is_said(machine):
    text = machine.mm("frame 0x3c61")
    assert text[0].startswith("frame 0x3, physical 0x3000; memory map: usable")
    assert text[-1] == "  (if 0x3c61 is a frame's number: mm frame pfn 0x3c61)"


def test_frame_refuses(machine):
    assert "is not mapped, so no frame is behind it" in machine.gdb("mm frame address_map.vmalloc_end")
    assert "a frame's number is missing" in machine.gdb("mm frame pfn")
    assert "there is no order 11: blocks have 2^0 to 2^10 frames" in machine.gdb("mm buddy 11")


# Small objects

def test_caches_are_the_kernels(machine):
    assert machine.mm("slab") == machine.says["slab"][0]


def test_one_cache(machine):
    text = machine.mm("slab kmalloc-96")
    assert text[0].startswith("cache kmalloc-96, number 5: objects of 96 bytes, 42 in a frame")
    pictures = "".join(line.split()[1] for line in text if re.match("  +0x", line))
    assert len(pictures) % 42 == 0 and pictures.count("#") == 1
    assert pictures.count("m") == int(machine.gdb("output magazines[0][5].nr"))
    assert text[1].startswith(f"1 slab: 1 objects in use, {pictures.count('.')} free in slabs, {pictures.count('m')} at hand")


def test_one_object(machine):
    used, freed = machine.object[0], machine.freed_object[0]
    text = machine.mm(f"slab {used + 5:#x}")
    index = (used & PAGE - 1) // 96
    assert text[0] == f"{used + 5:#x}: byte 5 of object {index} of slab {machine.object[1] >> 12:#x} of kmalloc-96, 96 bytes"
    assert text[1] == f"  object {used:#x}-{used + 95:#x}: in use" and "not the mark of a free one" in text[2]
    text = machine.mm(f"slab {freed:#x}")
    assert text[1] == f"  object {freed:#x}-{freed + 95:#x}: free, in the magazine of CPU 0"
    assert "which is the mark of a free object" in text[2] and "wrong" not in "\n".join(text)
    assert "in use" in machine.mm("slab vmalloc_window.free")[1]
    behind = (used & -PAGE) + PAGE - 4
    assert "behind its last object, where the bits are" in machine.mm(f"slab {behind:#x}")[0]


def test_a_large_kmalloc(machine):
    va, pa = machine.block
    text = machine.mm(f"slab {va + 5000:#x}")
    assert text[0] == f"{va + 5000:#x}: byte 5000 of a large kmalloc of 32768 bytes"
    assert text[1] == f"  block  {va:#x}-{va + 32767:#x}, frames {pa >> 12:#x}-{(pa >> 12) + 7:#x}"
    assert re.match(f"  asked  by {KMALLOC}", text[2])


def test_what_is_no_object(machine):
    assert "lies neither in the direct map of RAM nor in the image" in machine.gdb(f"mm slab {machine.area['8M']:#x}")
    assert "is no object of a cache: it lies in frame" in machine.mm("slab kernel_pt.root")[0]


# Printers

def test_printers(machine):
    def shown(expression):
        return machine.gdb(f"output {expression}")

    pfn, root = machine.object[1] >> 12, machine.gdb("output/x kernel_pt.root->v")
    assert shown("page_lock") == "'page_alloc', free"
    assert re.fullmatch(r"\d+ blocks = \{0x[0-9a-f]+(, 0x[0-9a-f]+)+\}", shown("free_lists[10]"))
    assert re.match(fr"frame {pfn:#x}: slab, order 0 of kmalloc-96, \d+ objects out of it",
                    shown(f"((struct page *)address_map.vmemmap)[{pfn}]"))
    assert re.match(f"frame 0x[0-9a-f]+: kmalloc, order 3, last asked for by {KMALLOC}",
                    shown(f"((struct page *)address_map.vmemmap)[{machine.block[1] >> 12}]"))
    assert shown("trampoline_page") == "0x9e000 (frame 0x9e)" and root == "0x0"
    assert re.fullmatch(r"0x[0-9a-f]+: -> table 0x[0-9a-f]+", shown("kernel_pt.root[511]"))
    assert re.fullmatch(r"0x80[0-9a-f]+163: 4 KiB page 0x[0-9a-f]+ rw-", shown("vm_stocks[0]->ring[0]"))
    assert f"1 area: 0 ready, 0 for the next flush, 1 came since (head 0) = {{{machine.area['20K']:#x}}}" == shown(
        "vm_stocks[0]->lists[5]")
    assert re.match(r"0x[0-9a-f]+, \d+ pages? free; at or below it at most \d+", shown("*vmalloc_window.free"))
    assert re.match(r"0x[0-9a-f]+-0x[0-9a-f]+: \d+ areas, \d+ pages free", shown("vmalloc_window"))
    assert re.match(r"\d+ of at most 30 = \{0x", shown("magazines[0][5]"))
    assert shown("caches[5]").startswith("kmalloc-96: objects of 96 bytes, ")
    assert "0x1000-0x9dfff usable" in shown("memmap")
    assert "text 0xffffffff80100000-0xffffffff801" in shown("address_map.sections[0]")
    assert "vmalloc_end = 0xffffe8ffffffffff" in shown("address_map") or "vmalloc_end = 0xffd1ffffffffffff" in shown("address_map")
    assert "{first = " in machine.gdb("output/r free_lists[10]"), "p/r shows what is there"


# A core

def test_the_same_from_a_core(debug, tmp_path):
    guest = debug(CPUS=2, LA57=1)
    made = prepare(guest)
    lines = ("areas", "areas vmallocinfo", f"areas {made.area['8M']:#x}", "buddy", "buddy 10", "frame",
             f"frame {made.block[1]:#x}", "slab", f"slab {made.object[0]:#x}", "check")
    before = {line: guest.mm(line) for line in lines}
    guest.detach()
    guest.qmp("stop")
    guest.qmp("dump-guest-memory", paging=False, protocol=f"file:{tmp_path}/core")
    guest.qmp("quit")
    gdb = Gdb(tmp_path)
    try:
        gdb(f"core-file {tmp_path}/core")
        for line in lines:
            after = gdb(f"mm {line}").splitlines()
            assert after[:-2] == before[line][:-2] and after[-1] == before[line][-1], line
    finally:
        gdb.close()
