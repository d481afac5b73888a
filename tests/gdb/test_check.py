"""mm check: clean where nothing is wrong, at the prompt and in the middle of things; and each planted bug is found.

A planted bug is a store into the stopped machine's memory, through gdb and by the kernel's own names; so nothing here
shares code with what looks for it. Each must be found as what it is, with the place and the value; then it is taken
back, and all must be sound again. Of some it is also asserted that the kernel's own counters say nothing of them.
"""

import re

import pytest

CHECKED = "build/tessera-check.elf"
SOUND = "sound: nothing wrong found"
LEVELS = {4: {}, 5: {"LA57": 1}}
PAGE, LEAF = 4096, 0x8000000000000163  # rw-, as vmalloc maps its pages
COUNTERS = "frames", "buddy", "slab", "vmallocinfo", "areas"


class Victim:
    """A machine at its prompt, with some of everything, and what it told us of where that lies."""

    def __init__(self, debug, **variables):
        self.guest = debug(CPUS=2, **variables)
        self.gdb, self.mm = self.guest.gdb, self.guest.mm
        self.undo = []
        self.small = self.make("vmalloc 64K")
        self.large = self.make("vmalloc 1M")
        self.huge = self.make("huge 4M")
        freed = [self.make("vmalloc 128K"), self.make("vmalloc 128K")]
        self.block = self.kmalloc("kmalloc 20K")
        self.object = self.kmalloc("kmalloc 64")
        self.shown = self.make(f"vmap {self.block[1]:x} {self.block[1] + PAGE:x}")
        self.last = self.make("vmalloc 8M")
        for va in freed:
            self.guest.command(f"vfree {va:x}")
        self.freed = freed
        self.counters()  # it empties the magazines of frames: from here on it changes nothing
        self.guest.attach()

    def make(self, line):
        """A new area."""
        text, records = self.guest.run(line)
        assert [r["t"] for r in records] == ["area"], f"{line}: {text}"
        return int(records[0]["va"], 16)

    def kmalloc(self, line):
        """(virtual, physical) address of a new block."""
        found = re.match(r"0x([0-9a-f]+), physical 0x([0-9a-f]+)", self.guest.command(line))
        return int(found[1], 16), int(found[2], 16)

    def counters(self):
        """What the kernel says of itself."""
        return {line: self.guest.command(line) for line in COUNTERS}

    def value(self, expression):
        text = self.gdb(f"output/x (unsigned long)({expression})")
        assert text.startswith("0x"), f"{expression}: {text}"
        return int(text, 16)

    def set(self, expression, value):
        """Plant: a store, to be undone."""
        self.undo.append((expression, self.value(expression)))
        self.store(expression, value)

    def store(self, expression, value):
        text = self.gdb(f"set var {expression} = {value}")
        assert not text, f"{expression} = {value}: {text}"

    def mend(self):
        while self.undo:
            self.store(*self.undo.pop())

    def entry(self, va, level=1):
        """A C expression for the entry of this level on the walk to va: the root, then down, through the direct map."""
        at = "kernel_pt.root"
        for n in range(self.value("kernel_pt.levels"), 0, -1):
            at = f"(((u64 *){at})[{va >> 3 + 9 * n & 511}])"
            if n == level:
                return at
            at = f"((({self.value(at)} & 0xffffffffff000) + address_map.direct))"
        raise AssertionError("unreachable")

    def page(self, pfn):
        return f"((struct page *)address_map.vmemmap)[{pfn}]"

    def frame_of(self, va):
        return self.value(self.entry(va)) >> 12 & 0xFFFFFFFFFF

    def sound(self):
        text = self.mm("check")
        assert text[-1] == SOUND and len(text) == 2, "\n".join(text)

    def found(self, *patterns):
        """mm check says each of these; the last line counts."""
        text = self.mm("check all")
        faults = [line for line in text if re.match("(frames|tables|slab|window): ", line)]
        for pattern in patterns:
            assert any(re.search(pattern, line) for line in faults), f"{pattern}\nwas not found in\n" + "\n".join(text[:40])
        assert text[-1].startswith(f"{len(faults)} fault"), text[-1]
        assert self.value("$mm_faults") == len(faults) > 0


@pytest.fixture(scope="module", params=[pytest.param(n, marks=pytest.mark.xdist_group(f"check{n}")) for n in LEVELS])
def victim(request, module_debug):
    one = Victim(module_debug, **LEVELS[request.param])
    yield one


@pytest.fixture(autouse=True)
def mended(request):
    """What a test plants it takes back, and then nothing is wrong."""
    yield
    if "victim" in request.fixturenames:
        victim = request.getfixturevalue("victim")
        victim.mend()
        victim.sound()


# Clean

MACHINES = {
    "1cpu": {"CPUS": 1}, "2cpus-tour": {"APPEND": "tour"}, "4cpus-la57": {"CPUS": 4, "LA57": 1, "APPEND": "tour"},
    "stress": {"CPUS": 4, "APPEND": "stress=20000", "KERNEL": CHECKED}, "tests": {"APPEND": "test=vm", "KERNEL": CHECKED},
    "no-gigabyte-pages": {"CPU": "qemu64", "MEM": "1G"}, "32M": {"MEM": "32M"}, "pc-4G": {"MACHINE": "pc", "MEM": "4G"},
    "6G": {"MEM": "6G", "LA57": 1}, "small-window": {"APPEND": "vmalloc=32M"}, "eager": {"APPEND": "tlb=eager tour"},
    "shuffle": {"APPEND": "shuffle=7 tour"}, "microvm": {"MACHINE": "microvm"},
}


@pytest.mark.parametrize("name", MACHINES)
def test_nothing_is_wrong_at_the_prompt(debug, name):
    guest = debug(**MACHINES[name])
    guest.attach()
    text = guest.mm("check")
    assert text[-1] == SOUND and len(text) == 2, "\n".join(text)
    guest.detach()
    assert SOUND in guest.command("check"), "the kernel itself is of another opinion"


@pytest.mark.parametrize("cpus", [1, 4])
def test_nothing_is_wrong_in_the_middle_of_stress(debug, cpus):
    """Between two operations of one CPU; others may be inside one, and then that is said."""
    guest = debug(CPUS=cpus, KERNEL=CHECKED, LA57=cpus // 4)
    guest.attach()
    guest.gdb("hbreak operate")
    guest.com1.send("stress 100000\r")
    guest.gdb("continue")
    for _ in range(6):
        guest.gdb("ignore 1 1500")
        assert "operate (" in guest.gdb("continue")
        text = guest.mm("check")
        assert text[-1] == SOUND or any("under way: CPU" in line for line in text), "\n".join(text)
        assert cpus > 1 or text[-1] == SOUND


def test_it_is_fast(debug):
    """256 MiB, most of it mapped page by page: CPU time inside gdb, so that a busy host does no harm."""
    guest = debug(APPEND="tour")
    for size in ("100M", "64M", "32M", "10M", "1M"):
        guest.command(f"vmalloc {size}")
    guest.attach()
    text = guest.gdb("python import time; began = time.process_time(); gdb.execute('mm check'); "
                     "print('CPU seconds:', time.process_time() - began)")
    assert SOUND in text
    assert float(text.split("CPU seconds:")[1]) < 3, text


# Planted: page tables and window

def last_end(v):
    return v.last + (8 << 20)


def test_a_guard_that_is_present(victim):
    v = victim
    v.set(v.entry(v.small - PAGE), v.value(v.entry(v.small - PAGE)) | 1)
    v.found(fr"window: addresses {v.small - PAGE:#x}-{v.small + 16 * PAGE - 1:#x} are in use, by the free ranges, but their "
            "first page, the guard, is mapped")


def test_a_guard_behind_that_is_present(victim):
    v = victim
    v.set(v.entry(last_end(v)), v.frame_of(v.small) * PAGE + LEAF)
    v.found(fr"window: {last_end(v):#x} is mapped \(4 KiB page {v.frame_of(v.small) * PAGE:#x} rw-\), but this address is free: "
            f"the guard behind area {v.last:#x}")


def test_a_descriptor_that_says_another_size(victim):
    v = victim
    v.set(v.entry(v.small - PAGE), v.value(v.entry(v.small - PAGE)) + (1 << 31))
    v.found(f"window: area {v.small:#x}: its descriptor says 17 pages, the free ranges leave it 16",
            f"window: area {v.small:#x}: 16 of its 17 pages are mapped; \\+16 not")


def test_a_descriptor_of_no_kind(victim):
    v = victim
    v.set(v.entry(v.small - PAGE), v.value(v.entry(v.small - PAGE)) | 15 << 3)
    v.found(f"window: area {v.small:#x}: its descriptor 0x[0-9a-f]+ says kind 15, 16 pages")


def test_a_page_that_is_not_mapped(victim):
    v = victim
    pfn = v.frame_of(v.small + 3 * PAGE)
    v.set(v.entry(v.small + 3 * PAGE), 0)
    v.found(fr"window: area {v.small:#x}: 15 of its 16 pages are mapped; \+3 not",
            fr"window: leaked: 1 frame of state vmalloc, last asked for by \w+\+0x[0-9a-f]+, mapped by no area and in no CPU's "
            f"stock: {pfn:#x}$")


def test_a_frame_mapped_twice(victim):
    v = victim
    v.set(v.entry(v.small + PAGE), v.value(v.entry(v.large)))
    v.found(fr"window: frame {v.frame_of(v.large):#x} is mapped twice: at {v.large:#x} \(\+0 of area {v.large:#x}\) and at "
            f"{v.small + PAGE:#x} of area {v.small:#x}|window: frame {v.frame_of(v.large):#x} is mapped twice: at "
            fr"{v.small + PAGE:#x} \(\+1 of area {v.small:#x}\) and at {v.large:#x} of area {v.large:#x}")


def test_an_entry_writable_and_executable(victim):
    v = victim
    v.set(v.entry(v.small + 5 * PAGE), v.value(v.entry(v.small + 5 * PAGE)) & ~(1 << 63))
    v.found(f"tables: {v.small + 5 * PAGE:#x}: entry 0x[0-9a-f]+ at 0x[0-9a-f]+ is writable and executable")


def test_code_that_is_writable_elsewhere(victim):
    v = victim
    direct = v.value("address_map.direct")
    v.set(v.entry(direct + 0x101000), v.value(v.entry(direct + 0x101000)) | 2)
    v.found(f"tables: direct map: {direct + 0x101000:#x}-{direct + 0x101fff:#x} is rw-, must be r--",
            f"tables: frame 0x101 is executable at 0xffffffff80101000, and writable at {direct + 0x101000:#x}")


def test_a_user_page(victim):
    v = victim
    v.set(v.entry(v.small, 2), v.value(v.entry(v.small, 2)) | 4)
    v.found("tables: the entry at 0x[0-9a-f]+, 0x[0-9a-f]+, leads to a table but is not just present and writable: P W U A")


def test_a_reserved_bit(victim):
    v = victim
    v.set(v.entry(v.huge, 2), v.value(v.entry(v.huge, 2)) | 1 << 13)
    v.found(fr"tables: {v.huge:#x}: entry 0x[0-9a-f]+ at 0x[0-9a-f]+ has reserved bits set \(0x2000\)")


def test_a_page_table_reached_twice(victim):
    v = victim
    v.set(v.entry(v.large + (64 << 20), 2), v.value(v.entry(v.small, 2)))
    v.found(f"tables: the page table at {v.value(v.entry(v.small, 2)) & ~0xfff:#x} is reached 2 times: by the entries at ")


def test_a_page_table_for_nobody(victim):
    """And its frame is none of a table."""
    v = victim
    empty = v.block[1] + 4 * PAGE
    v.set(v.entry(v.large + (64 << 20), 2), empty | 0x23)
    v.found(fr"tables: the page table at {empty:#x}, in the tree, lies in frame {empty >> 12:#x} \(\w+\), which is no table's",
            fr"window: the page table at {empty:#x} \(PT\) serves .* all free addresses: it was to be unlinked")


def test_a_page_table_out_of_ram(victim):
    v = victim
    v.set(v.entry(v.large + (64 << 20), 2), 0x7000000023)
    v.found("tables: the entry at 0x[0-9a-f]+, 0x7000000023, leads to a table where there is no RAM")


def test_a_hole_in_the_direct_map(victim):
    v = victim
    at = v.value("address_map.direct") + (128 << 20)
    v.set(v.entry(at, 2), 0)
    v.found(f"tables: direct map: {at:#x}-{at + (2 << 20) - 1:#x} is not mapped, must be rw-")


def test_a_direct_map_that_is_not_direct(victim):
    v = victim
    at = v.value("address_map.direct") + (128 << 20)
    v.set(v.entry(at, 2), v.value(v.entry(at, 2)) + (2 << 20))
    v.found(f"tables: {at:#x} in the direct map leads to {130 << 20:#x}, must to {128 << 20:#x}")


def test_a_mapping_where_nothing_is(victim):
    v = victim
    v.set(v.entry(0, v.value("kernel_pt.levels")), v.value(v.entry(v.value("address_map.direct"), v.value("kernel_pt.levels"))))
    v.found("tables: 0x1000-0x9efff is mapped, rw-, and the kernel has nothing there")


def test_a_struct_page_array_in_a_wrong_place(victim):
    v = victim
    at = v.value("address_map.vmemmap") + 0x300000 * 0 + (1 << 12)
    v.set(v.entry(at), v.value(v.entry(at)) + (0x5000 << 12) if v.value(v.entry(at, 2)) & 0x80 == 0 else 0)
    v.found("struct pages")


def test_free_ranges_that_are_wrong(victim):
    v = victim
    root = "vmalloc_window.free"
    child = f"({root}->left ? {root}->left : {root}->right)"
    v.set(f"{child}->largest", v.value(f"{child}->largest") + 5)
    v.found(f"window: free range 0x[0-9a-f]+, [0-9]+ pages? \\(node {v.value(child):#x}\\) says that the largest at or below it has")
    v.mend()
    v.set(f"{child}->priority", v.value(f"{root}->priority") + 1)
    v.found(f"window: free range .* its child .*\\(node {v.value(child):#x}\\) a higher one, .*: no heap")
    v.mend()
    start = v.value(f"{child}->start")
    v.set(f"{child}->start", start + 1)
    v.found(r"window: area 0x[0-9a-f]+: its descriptor says [0-9]+ pages?, the free ranges leave it [0-9]+")
    v.mend()
    v.set(f"{child}->nr_pages", v.value(f"{child}->nr_pages") + 1)
    v.found("window: free pages of the window: there are [0-9]+, vmalloc_window counts [0-9]+",
            r"window: addresses 0x[0-9a-f]+-0x[0-9a-f]+ are in use, by the free ranges, but")


def test_free_ranges_that_lead_astray(victim):
    v = victim
    v.set("vmalloc_window.free->left", v.value("vmalloc_window.free"))
    v.found(f"window: free ranges: the node {v.value('vmalloc_window.free'):#x} is reached twice")
    v.mend()
    v.set("vmalloc_window.free->left", v.value("address_map.direct") + (1 << 40))
    v.found("window: free ranges: the node 0x[0-9a-f]+ leads to 0x[0-9a-f]+, where no vmrange can be")


def test_lists_of_areas_that_are_wrong(victim):
    v = victim
    nr = "vm_stocks[0]->lists[32]"
    v.set(f"{nr}.first.v", v.small)
    v.found(fr"window: stock of CPU 0, list 32: its area number 0, {v.small:#x}, is the start of a live area \(vmalloc\)",
            fr"window: freed area {v.freed[0]:#x} \(32 pages\) is in no stock: its addresses are lost")
    v.mend()
    v.set(f"{nr}.nr.tail", v.value(f"{nr}.nr.tail") + 1)
    v.found("window: stock of CPU 0, list 32: 3 areas are counted, but the links end behind 2")
    v.mend()
    v.set(f"{nr}.last", v.value(f"{nr}.last") + 8)
    v.found(f"window: stock of CPU 0, list 32: its last area is {v.freed[1]:#x}, whose entry is at")
    v.mend()
    v.set(v.entry(v.freed[0]), v.freed[0])
    v.found(f"window: freed area {v.freed[0]:#x} is in 2 lists|window: freed area {v.freed[1]:#x} .* is in no stock")


def test_queues_that_are_wrong(victim):
    v = victim
    frames = "vm_stocks[0]->frames"
    v.set(f"{frames}.ready", v.value(f"{frames}.tail") + 1)
    v.found("window: stock of CPU 0, frames: head [0-9]+, ready [0-9]+, closed [0-9]+, tail [0-9]+ are not in that order")
    v.mend()
    v.set("vm_stocks[0]->pages.tail", v.value("vm_stocks[0]->pages.tail") + 7)
    v.found("window: stock of CPU 0: pages unmapped and not flushed: there are [0-9]+, it counts [0-9]+")
    v.mend()
    v.set("vm_stocks[0]->lists[32].nr.closed", v.value("vm_stocks[0]->lists[32].nr.tail"))
    v.found("window: stock of CPU 0, list 32: 2 are in a closed batch, but no flush will end it")


def test_frames_in_the_ring_twice_and_lost(victim):
    """A frame that a stock has forgotten, as another took its place."""
    v = victim
    ring = [f"vm_stocks[0]->ring[(vm_stocks[0]->frames.head + {n}) & vm_stocks[0]->mask].v" for n in (0, 1)]
    lost, other = (v.value(at) >> 12 & 0xFFFFFFFF for at in ring)
    v.set(ring[0], v.value(ring[1]))
    v.found(f"window: stock of CPU 0: frame {other:#x} is in its ring, and in the ring of CPU 0, too",
            f"window: leaked: 1 frame of state vmalloc, .*: {lost:#x}$")


def test_an_entry_in_the_ring_that_is_not_plain(victim):
    v = victim
    ring = "vm_stocks[0]->ring[vm_stocks[0]->frames.head & vm_stocks[0]->mask].v"
    v.set(ring, v.value(ring) & ~2)
    v.found("window: stock of CPU 0: the entry 0x[0-9a-f]+ in its ring is not plain: 4 KiB page 0x[0-9a-f]+ r--")


def test_a_vmap_of_memory_that_was_freed(victim):
    """No store: a real mistake, made at the prompt."""
    v = victim
    v.guest.detach()
    v.guest.command(f"kfree {v.block[0]:x}")
    v.guest.attach()
    v.found(fr"window: area {v.shown:#x}, of vmap, maps at {v.shown:#x} frame {v.block[1] >> 12:#x} \(stock.*\): it is free")
    v.guest.detach()
    v.guest.command(f"vfree {v.shown:x}")
    v.block = v.kmalloc("kmalloc 20K")
    v.shown = v.make(f"vmap {v.block[1]:x} {v.block[1] + PAGE:x}")
    v.counters()
    v.guest.attach()


def test_a_large_leaf_without_its_table(victim):
    v = victim
    pfn = v.value(v.entry(v.huge, 2)) >> 12 & 0xFFFFFFFF
    table = v.value(f"{v.page(pfn + 1)}.next")
    v.set(f"{v.page(pfn + 1)}.next", 0)
    v.found(f"window: area {v.huge:#x}: the leaf of 2 MiB at {v.huge:#x} has no page table in its care",
            f"tables: leaked: 1 frame of state table, .*, neither in the tree, nor waiting for a flush, nor under a large leaf: {table:#x}$")
    v.mend()
    entry = f"((u64 *)(address_map.direct + {table << 12}))[7]"
    v.set(entry, v.value(entry) + PAGE)
    v.found(f"window: area {v.huge:#x}: the page table kept for {v.huge:#x}, at {table << 12:#x}, has 0x[0-9a-f]+ as entry 7")


def test_what_a_cpu_remembers_of_a_walk(victim):
    v = victim
    at = "walk_cache[0][{}]"
    slot = next(n for n in range(64) if v.value(at.format(n) + ".span") == v.small >> 21)
    v.set(at.format(slot) + ".table", v.block[0])
    v.found(fr"tables: CPU 0 remembers, for {v.small >> 21 << 21:#x}, the page table at {v.block[1]:#x}, but that is frame "
            fr"{v.block[1] >> 12:#x} \(kmalloc")


# Planted: frames

def test_a_wrong_link_in_a_free_list(victim):
    v = victim
    second = v.value(f"{v.page(v.value('free_lists[10].first'))}.next")
    v.set(f"{v.page(second)}.prev", 5)
    v.found(f"frames: free list of order 10: block {second:#x} says that 0x5 comes before it, but "
            f"{v.value('free_lists[10].first'):#x} does")
    v.mend()
    v.set(f"{v.page(second)}.next", 0x7FFFFFFF)
    v.found(f"frames: free list of order 10: behind block {second:#x} a link leads to frame 0x7fffffff, which is no RAM")
    v.mend()
    v.set(f"{v.page(second)}.next", second)
    v.found(f"frames: free list of order 10: behind block {second:#x} a link leads to frame {second:#x}, which came before")
    v.mend()
    v.set("free_lists[10].last", second)
    v.found(f"frames: free list of order 10: its last block is 0x[0-9a-f]+, but the list says {second:#x}")


def test_a_free_block_in_no_list(victim):
    """Cleanly taken out, as if it had been handed out: but it never was."""
    v = victim
    first = v.value("free_lists[10].first")
    second = v.value(f"{v.page(first)}.next")
    third = v.value(f"{v.page(second)}.next")
    v.set(f"{v.page(first)}.next", third)
    v.set(f"{v.page(third)}.prev", first)
    v.found(f"frames: leaked: 1024 frames of state free.*, in no free list: {second:#x}-{second + 1023:#x}$",
            "frames: free frames in the lists: there are [0-9]+, the kernel counts [0-9]+")


def test_blocks_that_overlap_or_cannot_be(victim):
    v = victim
    first = v.value("free_lists[10].first")
    v.set(f"{v.page(first + 9)}.state", 3)
    v.found(fr"frames: frame {first + 9:#x} \(alloc.*\) lies inside the block {first:#x} of 2\^10 frames \(free\): it has two owners")
    v.mend()
    v.set(f"{v.page(first)}.order", 9)
    v.found(f"frames: frames {first + 512:#x}-{first + 1023:#x} are in no block",
            fr"frames: free list of order 10: frame {first:#x} \(free.*\), order 9, hangs in it and is no free block")
    v.mend()
    v.set(f"{v.page(first)}.order", 77)
    v.found(fr"frames: frame {first:#x} \(free.*\) has order 77: the largest block has 10")
    v.mend()
    v.set(f"{v.page(first)}.state", 200)
    v.found(fr"frames: frame {first:#x} .* of usable RAM has state 200 and order 10, which cannot be")


def test_reserved_frames_that_are_not(victim):
    v = victim
    v.set(f"{v.page(0x104)}.state", 1)
    v.found(r"frames: frame 0x104 \(free\) is not reserved, but the memory map keeps it for image",
            "frames: leaked: 1 frame of state free, in no free list: 0x104$")


def test_buddies_that_were_not_merged(victim):
    """Two halves of a block, each in its list: all links are right, only nobody can be given the whole."""
    v = victim
    first = v.value("free_lists[10].first")
    second, half, ninth = v.value(f"{v.page(first)}.next"), first + 512, v.value("free_lists[9].first")
    v.set("free_lists[10].first", second)
    v.set(f"{v.page(second)}.prev", 0)
    for pfn, prev, then in ((first, 0, half), (half, first, ninth)):
        v.set(f"{v.page(pfn)}.state_and_order", 1 | 9 << 8)
        v.set(f"{v.page(pfn)}.prev", prev)
        v.set(f"{v.page(pfn)}.next", then)
    v.set("free_lists[9].first", first)
    v.set(f"{v.page(ninth)}.prev" if ninth else "free_lists[9].last", half)
    v.found(fr"frames: free blocks {first:#x} and {half:#x} of 2\^9 frames are buddies")


def test_struct_pages_that_lie(victim):
    v = victim
    pfn = v.frame_of(v.small)
    v.set(f"{v.page(pfn)}.owner", 0x7FFFFFFF)
    v.found(fr"frames: frame {pfn:#x} \(vmalloc\): who asked for it is 0x7fffffff, which is no code")
    v.mend()
    v.set(f"{v.page(pfn)}.slab_cache", 4)
    v.found(fr"frames: frame {pfn:#x} \(vmalloc.*\) names cache 4, but is no slab")
    v.mend()
    v.set(f"{v.page(pfn)}.state", 3)
    v.found(fr"window: area {v.small:#x} maps, at {v.small:#x}, frame {pfn:#x} \(alloc.*\), which is not vmalloc's")
    v.mend()
    v.set(f"{v.page(pfn)}.state", 8)
    v.found(f"frames: leaked: 1 frame of state stock, .*, in no CPU's magazine: {pfn:#x}$")


def test_counters_that_are_wrong(victim):
    v = victim
    for counter, says in {
            "nr_frames": "frames: frames of usable RAM", "listed": "frames: free frames in the lists",
            "main_pages": "frames: main_first and main_pages", "vmalloc_window.nr_used": "window: free ranges",
            "vmalloc_window.pages_free": "window: free pages of the window", "caches[4].now.slabs": "slab: slabs of kmalloc-64",
            "caches[4].now.in_use": "slab: objects of kmalloc-64 out of their slabs",
            "caches[4].now.frees": "slab: objects of kmalloc-64 ever taken, less those given back",
            "'tlb.c'::counts.tables_waiting": "tables: unlinked tables that wait for a flush"}.items():
        v.set(counter, v.value(counter) + 1)
        v.found(says)
        v.mend()


# Planted: small objects

HAND = "magazines[0][4]"  # CPU 0's of kmalloc-64


def test_an_object_lost_and_another_twice(victim):
    v = victim
    lost, other = (v.value(f"{HAND}.item[{n}]") for n in (0, 1))
    v.set(f"{HAND}.item[0]", other)
    v.found(f"slab: lost: object [0-9]+ of kmalloc-64 at {lost:#x} is marked free, but in no magazine and not free in its slab",
            f"slab: object [0-9]+ of kmalloc-64 at {other:#x} is in two places")


def test_a_write_after_free(victim):
    v = victim
    item = v.value(f"{HAND}.item[0]")
    v.set(f"*(u64 *){item}", 0xDEAD)
    v.found(f"slab: object [0-9]+ of kmalloc-64 at {item:#x} is free, but its mark was overwritten: it holds 0xdead, must")


def test_bits_that_are_wrong(victim):
    v = victim
    slab = v.object[0] & -PAGE
    word = f"((u32 *)({slab} + caches[4].bits))[0]"
    item = v.value(f"{HAND}.item[0]")
    v.set(word, v.value(word) | 1 << (item - slab) // 64)
    v.found(f"slab: slab {v.object[1] >> 12:#x} of kmalloc-64: [0-9]+ objects in use and [0-9]+ free of 63",
            f"slab: object [0-9]+ of kmalloc-64 at {item:#x} is free in its slab and in the magazine of CPU 0, too")


def test_an_item_that_is_no_object(victim):
    v = victim
    item = v.value(f"{HAND}.item[0]")
    v.set(f"{HAND}.item[0]", item + 8)
    v.found(f"slab: {item + 8:#x} is in the magazine of CPU 0's for kmalloc-64, and no object of that cache")
    v.mend()
    v.set(f"{HAND}.nr", 31)
    v.found("slab: magazine of CPU 0 for kmalloc-64: nr 31, most 30")


def test_a_slab_that_is_not_listed(victim):
    v = victim
    v.set("caches[4].partial.first", 0)
    v.found(f"slab: slab {v.object[1] >> 12:#x} of kmalloc-64 has [0-9]+ free objects, but is not in the list",
            "slab: list of kmalloc-64: its last slab is 0x0, but the list says")


# The kernel's own counters are none the wiser

def plant_guard_behind(v):
    v.set(v.entry(last_end(v)), v.frame_of(v.small) * PAGE + LEAF)
    return f"{last_end(v):#x} is mapped"


def plant_double_mapping(v):
    v.set(v.entry(v.small + PAGE), v.value(v.entry(v.small)))
    return f"frame {v.frame_of(v.small):#x} is mapped twice"


def plant_writable_code(v):
    v.set(v.entry(v.small), v.value(v.entry(v.small)) & ~(1 << 63))
    return f"{v.small:#x}: entry .* is writable and executable"


def plant_list(v):
    v.set("vm_stocks[0]->lists[32].first.v", v.small)
    return f"its area number 0, {v.small:#x}, is the start of a live area"


def plant_treap(v):
    child = "(vmalloc_window.free->left ? vmalloc_window.free->left : vmalloc_window.free->right)"
    v.set(f"{child}->nr_pages", v.value(f"{child}->nr_pages") + 1)
    return r"addresses 0x[0-9a-f]+-0x[0-9a-f]+ are in use, by the free ranges, but"


def plant_leak(v):
    ring = [f"vm_stocks[0]->ring[(vm_stocks[0]->frames.head + {n}) & vm_stocks[0]->mask].v" for n in (0, 1)]
    lost = v.value(ring[0]) >> 12 & 0xFFFFFFFF
    v.set(ring[0], v.value(ring[1]))
    return f"leaked: 1 frame of state vmalloc.*: {lost:#x}$"


def plant_link(v):
    second = v.value(f"{v.page(v.value('free_lists[10].first'))}.next")
    v.set(f"{v.page(second)}.prev", 5)
    return f"free list of order 10: block {second:#x} says that 0x5 comes before it"


def plant_lost_object(v):
    lost = v.value(f"{HAND}.item[0]")
    v.set(f"{HAND}.item[0]", v.value(f"{HAND}.item[1]"))
    return f"lost: object [0-9]+ of kmalloc-64 at {lost:#x}"


@pytest.mark.parametrize("plant", [plant_guard_behind, plant_double_mapping, plant_writable_code, plant_list, plant_treap,
                                   plant_leak, plant_link, plant_lost_object], ids=lambda plant: plant.__name__)
def test_found_though_no_counter_shows_it(victim, plant):
    v = victim
    v.guest.detach()
    before = v.counters()
    v.guest.attach()
    says = plant(v)
    v.found(says)
    v.guest.detach()
    after = v.counters()
    v.guest.attach()
    assert after == before, "then it needs no audit"
    v.found(says)


def frames_held(guest):
    return int(re.search(r"frames held: (\d+)", guest.command("areas"))[1])


def test_a_kernel_that_leaks(debug):
    """vfree made to forget its frames: the kernel's code, with one argument changed at the call."""
    guest = debug()
    area = int(guest.run("vmalloc 1M")[1][0]["va"], 16)
    held = frames_held(guest)
    guest.attach()
    guest.gdb("hbreak *free_long")
    guest.com1.send(f"vfree {area:x}\r")
    assert "free_long" in guest.gdb("continue")
    guest.gdb("set $rdx = 0", "delete", "detach")
    guest.prompt()
    assert held - 256 == frames_held(guest), "what is held is not what areas and stocks have"
    guest.attach()
    text = guest.mm("check")
    assert text[-1] == "1 fault" and re.match(
        r"window: leaked: 256 frames of state vmalloc, last asked for by stock_refill\+0x[0-9a-f]+, mapped by no area and in "
        r"no CPU's stock: 0x", text[0]), "\n".join(text)


# Anywhere

def test_under_way_it_says_so(debug):
    """In the middle of an operation, with a lock held: a block is in no list any more, and in no magazine yet."""
    guest = debug(CPUS=1)
    guest.attach()
    guest.gdb("break take_block")
    guest.com1.send("kmalloc 20K\r")
    assert "take_block" in guest.gdb("continue")
    guest.gdb("finish")
    text = guest.mm("check")
    assert any(re.match(r"under way: CPU 0 holds the lock 'page_alloc' in \w+\(\), .*mm/page_alloc.[ch]:[0-9]+: what is said of "
                        "frames may be only due to that", line) for line in text), "\n".join(text)
    assert re.fullmatch(r"[1-9]\d* faults? \(see what is under way\)", text[-1]), "\n".join(text)
    assert all(re.match("frames: |under way: ", line) for line in text[:-2]), "\n".join(text)
    guest.gdb("delete", "detach")
    guest.prompt()
    guest.attach()
    assert guest.mm("check")[-1] == SOUND


def test_before_there_is_anything(debug):
    guest = debug(reset=True)
    assert "no memory map yet" in guest.gdb("mm check")
    guest.gdb("hbreak mm_init", "continue")
    assert "no memory map yet" in guest.gdb("mm check")
    guest.gdb("hbreak slab_init", "continue")
    text = guest.mm("check")
    assert text[-1] == SOUND
    assert "not looked at: slab: not there yet, mm_init() is still to make it" in text
    assert "not looked at: window: not there yet, mm_init() is still to make it" in text


def test_on_another_cpu(debug):
    """Stopped where CPU 1 comes up; and in the fault handler."""
    guest = debug(reset=True, LA57=1)
    guest.gdb("hbreak ap_main", "continue")
    text = guest.mm("check")
    assert text[-1] == SOUND, "\n".join(text)


def test_misuse_is_told(debug):
    guest = debug(CPUS=1)
    assert "there is no machine to look at" in guest.gdb("mm check")
    guest.attach()
    assert "usage: mm check [all]" in guest.gdb("mm check some")
