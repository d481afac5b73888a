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
    text = guest.mm("check leaks")
    assert text[-2] == SOUND and len(text) == 3, "\n".join(text)
    assert re.fullmatch(r"0 of \d+ things in use have no pointer to them", text[-1])
    guest.detach()
    assert SOUND in guest.command("check"), "the kernel itself is of another opinion"


@pytest.mark.parametrize("cpus", [1, 4])
def test_nothing_is_wrong_in_the_middle_of_stress(debug, cpus):
    """Between two operations of one CPU; others may be inside one, and then that is said."""
    guest = debug(CPUS=cpus, KERNEL=CHECKED, LA57=cpus // 4)
    guest.attach()
    guest.gdb("hbreak disturb")  # one operation in 128
    guest.com1.send("stress 100000\r")
    for _ in range(6):
        guest.gdb("ignore 1 6")
        assert "disturb (" in guest.gdb("continue")
        text = guest.mm("check")
        assert text[-1] == SOUND or any("under way: CPU" in line for line in text), "\n".join(text)
        assert cpus > 1 or text[-1] == SOUND


def test_it_is_fast(debug):
    """256 MiB, most of it mapped page by page, and 16,384 areas more: CPU seconds inside gdb, so that a busy host does
    no harm. Half a second it takes; three is what was promised."""
    guest = debug(MEM="256M")
    for size in ("100M", "30M"):
        guest.command(f"vmalloc {size}")
    guest.attach()
    guest.gdb("hbreak vfree if (unsigned long)p - address_map.vmalloc_start > 0x9000000")
    guest.com1.send("bench fill_drain_random\r")
    assert "vfree" in guest.gdb("continue")
    text = guest.gdb("python import time; began = time.process_time(); gdb.execute('mm check'); "
                     "print('CPU seconds:', time.process_time() - began)")
    assert SOUND in text and int(re.search(r"(\d+) entries", text)[1]) > 60000, text
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


# Planted: whatever else can be said to be wrong. Each: the stores, as (C expression, value); what is said.

def first_free(v):
    return v.value("free_lists[10].first")


def main_end(v):
    """The frame behind the largest range of RAM; the order of the block that ended there at first."""
    end = v.value("((unsigned long)main_first - address_map.vmemmap) / 16 + main_pages")
    return end, (end & -end).bit_length() - 1


def rightmost(v):
    node = "vmalloc_window.free"
    while v.value(f"{node}->right"):
        node += "->right"
    return node


def number_of(v, name):
    """Of the cache with this name."""
    return next(n for n in range(1, 64) if v.value(f"caches[{n}].now.name") and
                v.gdb(f"output caches[{n}].now.name").endswith(f'"{name}"'))


def slab_page(v):
    return v.page(v.object[1] >> 12)


def object_bits(v, number, slab):
    return f"((u32 *)({slab} + caches[{number}].bits))"


def node_is_free(v):
    node, number = v.value("vmalloc_window.free"), number_of(v, "vmrange")
    slab = node & -PAGE
    word, bit = divmod((node - slab) // v.value(f"caches[{number}].now.bytes"), 32)
    bits = f"{object_bits(v, number, slab)}[{word}]"
    return [(bits, v.value(bits) | 1 << bit)], f"window: free range .*node {node:#x}.*: its node is an object that is free"


def ring_at(v, n=0):
    return f"vm_stocks[0]->ring[(vm_stocks[0]->frames.head + {n}) & vm_stocks[0]->mask].v"


def pages_entry(v, n):
    return v.entry(v.value("address_map.vmemmap") + n * PAGE)


OTHERS = {
    "struct pages that are not mapped": lambda v: (
        [(pages_entry(v, 2), 0)], "frames: the struct pages of frames 0x200-0x2ff are not mapped"),
    "two pages of struct pages in one frame": lambda v: (
        [(pages_entry(v, 2), v.value(pages_entry(v, 3)))], "tables: struct pages: 0x[0-9a-f]+ and 0x[0-9a-f]+ lead to the same frame"),
    "struct pages in somebody's frame": lambda v: (
        [(pages_entry(v, 2), 0x5000000 + LEAF)],
        "tables: struct pages: 0x[0-9a-f]+ leads to 0x5000000, which the memory map keeps for usable"),
    "a block that is not aligned": lambda v: (
        [(f"{v.page(first_free(v))}.state", 0), (f"{v.page(first_free(v) + 1)}.state_and_order", 1 | 10 << 8)],
        fr"frames: frame {first_free(v) + 1:#x} \(free.*\) begins a block of 2\^10 frames, but is not aligned to that"),
    "a block behind the end of RAM": lambda v: (
        [(f"{v.page(main_end(v)[0] - (1 << main_end(v)[1]))}.order", main_end(v)[1] + 1)],
        fr"frames: .* begins a block of 2\^{main_end(v)[1] + 1} frames, but its range of RAM ends at frame {main_end(v)[0]:#x}"),
    "a block in two lists": lambda v: (
        [("free_lists[9].first", first_free(v))],
        f"frames: free list of order 10: block {first_free(v):#x} hangs in the list of order 9, too"),
    "a slab of no cache": lambda v: (
        [(f"{slab_page(v)}.slab_cache", 60)], f"slab: frame {v.object[1] >> 12:#x} is a slab of cache 60, and there is no such cache"),
    "a slab of two frames": lambda v: (
        [(f"{slab_page(v)}.order", 1)], f"slab: slab {v.object[1] >> 12:#x} of kmalloc-64 is a block of order 1, must be a frame"),
    "an empty slab": lambda v: (
        [(f"{slab_page(v)}.slab_used", 0)], f"slab: slab {v.object[1] >> 12:#x} of kmalloc-64 is empty: it was to be freed at once"),
    "a list of slabs that leads astray": lambda v: (
        [(f"{slab_page(v)}.next", 0x7FFFFFFF)],
        f"slab: list of kmalloc-64: behind slab {v.object[1] >> 12:#x} a link leads to frame 0x7fffffff, which is no RAM"),
    "a list of slabs with another frame in it": lambda v: (
        [("caches[4].partial.first", first_free(v))],
        fr"slab: list of kmalloc-64: frame {first_free(v):#x} \(free.*\) hangs in it and is no slab of this cache"),
    "a list of slabs with a wrong link": lambda v: (
        [(f"{slab_page(v)}.prev", 5)], f"slab: list of kmalloc-64: slab {v.object[1] >> 12:#x} says that 0x5 comes before it, but 0x0 does"),
    "a full slab in a list": lambda v: (
        [(f"{object_bits(v, 4, v.object[0] & -PAGE)}[{n}]", 0) for n in (0, 1)],
        f"slab: list of kmalloc-64: slab {v.object[1] >> 12:#x} hangs in it and has no free object"),
    "a note where nothing is noted": lambda v: (
        [(v.entry(v.value("address_map.direct") + (128 << 20), 2), 0x5000)],
        "tables: 0x[0-9a-f]+: the entry at 0x[0-9a-f]+ holds 0x5000, which is neither a page nor a table"),
    "a list of unlinked tables that leads astray": lambda v: (
        [("'tlb.c'::tables", 0x7FFFFFFF)], "tables: the list of unlinked tables is broken: it goes on at frame 0x7fffffff, which is no RAM"),
    "an unlinked table that is linked": lambda v: (
        [("'tlb.c'::tables", v.value(v.entry(v.small, 2)) >> 12)],
        "tables: the page table at 0x[0-9a-f]+ is waiting for a flush, and also in the tree"),
    "a table of boot's that is lost": lambda v: (
        [(v.entry(v.value("address_map.direct"), 2), 0)],
        "tables: leaked: 1 frame of state reserved, page tables made at boot, and no longer in the tree"),
    "a table remembered for another place": lambda v: (
        [("walk_cache[0][63].span", v.large + (126 << 20) >> 21), ("walk_cache[0][63].table", v.value("address_map.direct") + (
            v.value(v.entry(v.small, 2)) & 0xFFFFFFFFFF000))],
        "tables: CPU 0 remembers the page table at 0x[0-9a-f]+ for 0x[0-9a-f]+, but it serves 0x[0-9a-f]+"),
    "a window of another size": lambda v: (
        [("vmalloc_window.start", v.value("vmalloc_window.start") + 1)], "window: vmalloc_window says that the window is pages"),
    "free ranges that end too early": lambda v: (
        [(f"{rightmost(v)}->nr_pages", v.value(f"{rightmost(v)}->nr_pages") - 1)], "window: the last free range ends at page 0x"),
    "no cache for free ranges": lambda v: (
        [(f"caches[{number_of(v, 'vmrange')}].now.name", 0)], "window: there is no cache 'vmrange' for the nodes of free ranges"),
    "a node that is no object": lambda v: (
        [(f"{rightmost(v)}->right", v.block[0] + 4 * PAGE)],
        fr"window: free range 0x0, 0 pages \(node {v.block[0] + 4 * PAGE:#x}\): its node is no object of cache vmrange"),
    "a node that is free": node_is_free,
    "a descriptor for 2 MiB": lambda v: (
        [(v.entry(v.large + (64 << 20), 2), 5 << 31 | 1 << 3 | 4)], "window: area 0x[0-9a-f]+: its descriptor is an entry of level 2"),
    "a freed area that is mapped": lambda v: (
        [(v.entry(v.freed[0] + 3 * PAGE), v.value(v.entry(v.small)))],
        f"window: area {v.freed[0]:#x} is freed, but 1 of its entries still map pages"),
    "a note inside an area": lambda v: (
        [(v.entry(v.small + 3 * PAGE), 0x5000)],
        f"window: area {v.small:#x}: the entry for {v.small + 3 * PAGE:#x} is 0x5000: not present, and not empty"),
    "RAM mapped as a device's": lambda v: (
        [(v.entry(v.value("address_map.vmalloc_start") + PAGE), 0x8000000 + LEAF)],
        "window: area 0x[0-9a-f]+, of ioremap, maps RAM at 0x[0-9a-f]+: frame 0x8000"),
    "a large leaf in an area that is not mixed": lambda v: (
        [(v.entry(v.huge - PAGE), v.value(v.entry(v.huge - PAGE)) & ~2)],
        f"window: area {v.huge:#x} has a leaf of 2 MiB at {v.huge:#x}, and is not marked as mixed"),
    "a page that is not plain in an area that is not mixed": lambda v: (
        [(v.entry(v.small), v.value(v.entry(v.small)) & ~2)],
        f"window: area {v.small:#x}: the entry for {v.small:#x} is 4 KiB page 0x[0-9a-f]+ r--, not plain rw-"),
    "a leaf that was never marked used": lambda v: (
        [(v.entry(v.small), v.value(v.entry(v.small)) & ~0x40)],
        f"tables: {v.small:#x}: entry 0x[0-9a-f]+ at 0x[0-9a-f]+ is not marked accessed, dirty and global"),
    "a wait for a flush that will not come": lambda v: (
        [("vm_stocks[0]->flush", v.value("'tlb.c'::begun") + 5)], r"window: stock of CPU 0 waits for flush \d+, but only \d+ have begun"),
    "a frame in the ring that is not vmalloc's": lambda v: (
        [(f"{v.page(v.value(ring_at(v)) >> 12 & 0xFFFFFFFF)}.state", 3)],
        r"window: stock of CPU 0: frame 0x[0-9a-f]+ \(alloc.*\) is in its ring, and not vmalloc's"),
    "an area in the list of another size": lambda v: (
        [(v.entry(v.freed[0] - PAGE), v.value(v.entry(v.freed[0] - PAGE)) + (1 << 31))],
        f"window: stock of CPU 0, list 32: its area number 0, {v.freed[0]:#x}, has 33 pages, which is another list's size"),
    "a live area that an interrupt freed": lambda v: (
        [("vm_deferred", v.small)], f"window: vm_deferred leads to {v.small:#x}, which is no freed area"),
    "an area of vmalloc that maps a frame of the image": lambda v: (
        [(v.entry(v.small), 0x104000 + LEAF)],
        fr"window: area {v.small:#x} maps, at {v.small:#x}, frame 0x104 \(reserved\), which is not vmalloc's"),
    "a frame that says it is code": lambda v: (
        [(f"{v.page(v.frame_of(v.small))}.state", 9)],
        fr"window: {v.small:#x} may be executed: False; but frame {v.frame_of(v.small):#x} has state text"),
    "a stock that is nowhere": lambda v: (
        [("vm_stocks[1]", 0x123000)], "window: 0x123000 lies neither in the direct map of RAM nor in the image: the rest of this part"),
    "magazines that are nowhere": lambda v: (
        [("magazines[1]", 0x123000)], "frames: 0x123000 lies neither in the direct map of RAM nor in the image: the rest of this part"),
}


@pytest.mark.parametrize("name", OTHERS, ids=[name.replace(" ", "-") for name in OTHERS])
def test_it_finds(victim, name):
    stores, says = OTHERS[name](victim)
    for expression, value in stores:
        victim.set(expression, value)
    victim.found(says)


def test_it_finds_a_cpu_with_other_tables(victim):
    v = victim
    root = v.value("(unsigned long)&early_root - 0xffffffff80000000")
    before = v.value("$cr3")
    set_cr3(v, root)
    try:
        v.found(fr"tables: CPU 1 walks other page tables than the kernel's: CR3 is {root:#x}, kernel_pt.root lies at {before:#x}")
    finally:
        set_cr3(v, before)


def set_cr3(v, value):
    """Of CPU 1. gdb knows no assignment to it, QEMU's stub does."""
    row = next(line for line in v.gdb("maint print remote-registers").splitlines() if line.strip().startswith("cr3 "))
    v.gdb("thread 2", "maint packet Hg2", f"maint packet P{int(row.split()[6]):x}={value.to_bytes(8, 'little').hex()}",
          "maint flush register-cache")
    assert v.value("$cr3") == value
    v.gdb("thread 1")


def test_it_finds_frames_wrong_in_magazines(victim):
    """They were emptied to count; one of this order fills a magazine again."""
    v = victim
    v.guest.detach()
    v.kmalloc("kmalloc 8K")
    v.guest.attach()
    hand = "magazines[0][64 + 1]"
    first, second = (v.value(f"{hand}.item[{n}]") for n in (0, 1))
    lost, other = ((item - v.value("address_map.vmemmap")) // 16 for item in (first, second))
    v.set(f"{hand}.item[0]", second)
    v.found(f"frames: magazine of CPU 0 for order 1: block {other:#x} is also in CPU 0's, or twice here: two will be given it",
            f"frames: leaked: 2 frames of state stock.*, in no CPU's magazine: {lost:#x}-{lost + 1:#x}$")
    v.mend()
    v.set(f"{hand}.item[0]", first + 8)
    v.found(f"frames: magazine of CPU 0 for order 1: {first + 8:#x} is no struct page")
    v.mend()
    v.set(f"{v.page(lost)}.order", 0)
    v.found(fr"frames: magazine of CPU 0 for order 1: frame {lost:#x} \(stock.*\), order 0, is in it and is no block in stock of that order")
    v.mend()
    v.set(f"{hand}.most", 1)
    v.found(r"frames: magazine of CPU 0 for order 1: \d+ blocks are in it, of at most 1$")


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


# Handed out, and lost

def leaks(guest):
    """{first address: what it is said to be}."""
    text = guest.mm("check leaks")
    found = dict(re.findall(r"^leaked\? (0x[0-9a-f]+)-0x[0-9a-f]+, (.*)", "\n".join(text), re.MULTILINE))
    assert text[-1].startswith(f"{len(found)} of ") and int(guest.gdb("output $mm_leaks")) == len(found)
    assert SOUND in text, "none of them is a fault of the kernel's"
    return {int(at, 16): what for at, what in found.items()}


@pytest.mark.parametrize("levels", LEVELS)
def test_what_nothing_points_to(debug, levels):
    """All that was asked for at the prompt: only who typed it knows it. What a variable, or what that leads to, points
    to is not lost."""
    guest = debug(CPUS=2, **LEVELS[levels])

    def made(line):
        return int(re.match("0x([0-9a-f]+)", guest.command(line))[1], 16)

    small, large, area, huge = made("kmalloc 64"), made("kmalloc 20K"), made("vmalloc 64K"), made("huge 2M")
    guest.command("kfree " + hex(made("kmalloc 64"))[2:])
    guest.attach()
    every = leaks(guest)
    assert every.keys() == {small, large, area, huge}
    assert every[small] == "an object of kmalloc-64"
    assert re.fullmatch(r"32 KiB of kmalloc, asked for by (cmd_)?kmalloc\+0x[0-9a-f]+", every[large])
    assert re.fullmatch(r"16 pages of vmalloc, asked for by cmd_vmalloc\+0x[0-9a-f]+", every[area])

    guest.gdb(f"set var *(u64 *){small} = {area + 5000}", f"set var *(u64 *){area} = {small}")
    assert leaks(guest).keys() == every.keys(), "two that know only each other are lost together"
    guest.gdb(f"set var work[7].arg = (void *){large + 24}")
    assert leaks(guest).keys() == every.keys() - {large}, "a variable points into it"
    guest.gdb(f"set var work[7].arg = (void *){small}")
    assert leaks(guest).keys() == every.keys() - {small, area}, "a variable points to one, and that to the other"
    guest.gdb("set var work[7].arg = 0")
    pfn = large - int(guest.gdb("output/x address_map.direct"), 16) >> 12
    guest.gdb(f"set var work[7].arg = &((struct page *)address_map.vmemmap)[{pfn}]")
    assert leaks(guest).keys() == every.keys() - {large}, "a pointer to its struct page"
    guest.gdb("set var work[7].arg = 0", f"set var $saved = $rbx", f"set var $rbx = {huge}")
    assert leaks(guest).keys() == every.keys() - {huge}, "a register"
    guest.gdb("set var $rbx = $saved")
    assert leaks(guest) == every


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


ALL = ("areas", "areas vmallocinfo", "buddy", "buddy 10", "frame", "frame 0x100000", "slab", "slab vmrange", "check")


@pytest.mark.parametrize("levels", LEVELS)
def test_at_all_moments(debug, levels):
    """In 32-bit boot code, which says that it is too early; in vmalloc; on another CPU; inside a fault: and sound."""
    guest = debug(reset=True, CPUS=2, APPEND="tour", **LEVELS[levels])

    def stop(where):
        assert "Temporary breakpoint" in guest.gdb(f"thbreak {where}", "continue")

    stop("*((unsigned long)&paging_on & 0x7fffffff)")
    for line in ALL:
        assert "no memory map yet: mm_init() has not begun" in guest.gdb(f"mm {line}"), line
    for where, thread in (("vmalloc_init", 1), ("ap_main", 2), ("vmalloc", 1)):
        stop(where)
        assert guest.gdb("output $_thread") == str(thread)
        told = {line: guest.mm(line) for line in ALL}
        assert told["check"][-1] == SOUND, "\n".join(told["check"])
        assert told["areas"][-2].startswith("areas: ") and told["frame"][-1].startswith("sum")
        assert told["frame 0x100000"][1] == "  state  reserved, a single frame"
    guest.gdb("delete", "detach")
    guest.prompt()
    guest.attach()
    guest.com1.send("peek 123\r")
    stop("explain_fault")
    assert guest.mm("check")[-1] == SOUND


def test_misuse_is_told(debug):
    guest = debug(CPUS=1)
    assert "there is no machine to look at" in guest.gdb("mm check")
    guest.attach()
    assert "'some' is neither 'all' nor 'leaks'\n  usage: mm check [all] [leaks]" in guest.gdb("mm check some")
