"""mm watch: it stops at each store that changes the mapping of a page, and at no other.

tests/mm/watch_test.c is the play: it makes every kind of change, and announces each by calling watch_this() before.
There we watch the page that it names, until it calls again; how many stops each call makes follows from what the
kernel writes, and is asserted. At each stop the page is looked up by the walker of tests/qemu/readers.py in the machine's
RAM: the mapping must differ from what it was before, and be what `mm watch` says.
"""

import re

import pytest

import readers
from debugger import ROOT
from readers import PAGE
from stepper import lookup

# How many stores of each call change the mapping of the page that is watched.
STOPS = {
    "vmalloc": 1, "set_memory_ro": 1, "set_memory_ro again": 0, "set_memory_x, direct map": 1,
    "set_memory_nx, direct map": 1, "set_memory_x": 1, "set_memory_nx": 1, "set_memory_rw": 1, "vfree": 1, "purge": 0,
    "first page: vmalloc, vfree, purge": 2,
    "guard: vmalloc, vfree, purge": 0,  # descriptors only
    "all of guard: vmalloc, vfree, purge": None,
    "vmap": 1, "vunmap": 1,
    "vfree of a read-only page": 2,  # it is made plain, then cleared
    "vmalloc_huge": 2,  # a leaf of 4 KiB, then one of 2 MiB over it
    "set_memory_ro of another page in it": 1,  # the large leaf is split
    "set_memory_ro in split pages": 1, "vfree of huge pages": 2, "purge of huge pages": 0,
    "eager: vmalloc": 1, "eager: vfree": 1, "eager: purge": 0,
}
SAID = re.compile(r"^mm watch (0x[0-9a-f]+): (.*)$", re.MULTILINE)
HIT = re.compile(r"^(Thread \d+ hit )?(Hardware watchpoint|Breakpoint) \d+[:,]", re.MULTILINE)
BY = re.compile(r"^  by   CPU (\d+), (\w+)", re.MULTILINE)


class Play:
    """One performance, up to its end: stops[what] = the texts of the stops, passed[what] = how many were passed over."""

    def __init__(self, guest):
        self.guest, self.gdb = guest, guest.gdb
        self.stops, self.passed, self.now = {}, {}, {}
        self.gdb("hbreak watch_this")
        self.gdb("continue")
        while (what := self.gdb("printf \"%s\", (char *)$rdi")) != "end":
            self.act(what)

    def act(self, what):
        va = int(self.gdb("printf \"%#lx\", $rsi"), 16)
        if not va:
            self.gdb("continue")
            return
        said = self.guest.mm("watch " + "-a " * what.startswith("all of") + hex(va))
        self.now[what] = said[-1]
        before = self.mapping(va)
        texts = self.stops[what] = []
        while (hit := HIT.search(text := self.gdb("continue")))[2] != "Breakpoint":
            found = SAID.search(text)
            assert int(found[1], 16) == va, text
            after = self.mapping(va)
            assert (after != before) != what.startswith("all of"), f"{what}: stopped without a change: {text}"
            self.agrees(found[2], before, after)
            before = after
            texts.append(text)
        assert "watch_this" in text[hit.end():], text
        assert self.mapping(va) == before, f"{what}: the mapping has changed since the last stop"
        row = self.guest.mm("watch")[1].split()
        assert (int(row[1], 16), int(row[2])) == (va, len(texts)), row
        self.passed[what] = int(row[3])
        assert self.guest.mm("watch -d") == []

    def counted(self):
        return {what: len(texts) for what, texts in self.stops.items() if STOPS[what] is not None}

    def mapping(self, va):
        """(frame, size, rights), or None, by a walker that knows nothing of ours."""
        registers = self.guest.hmp("info registers")
        self.guest.ram = self.guest.ram or readers.Ram(self.guest.ram_file, self.guest.hmp("info mtree -f"))
        cr3, levels = readers.registers(registers)
        return lookup(self.guest.ram, cr3, levels, va)

    @staticmethod
    def agrees(said, before, after):
        """Is what `mm watch` says what the walker found?"""
        if after is None or before is None:
            expected = "not mapped, n" if after == before else "not mapped any" if after is None else \
                f"mapped now, to {after[0]:#x}, {after[2]}"
        elif before[0] != after[0]:
            expected = f"frame {after[0]:#x}, was {before[0]:#x}"
        elif before[2] != after[2]:
            expected = f"{after[2]}, was {before[2]}; "
        else:
            expected = f"in a page of {size(after[1])}, was {size(before[1])}; the same frame"
        assert said.startswith(expected), (said, before, after)


def size(count):
    return {12: "4 KiB", 21: "2 MiB", 30: "1 GiB"}[count.bit_length() - 1]


@pytest.mark.parametrize("variables", [{}, {"LA57": 1}], ids=["4-levels", "5-levels"])
@pytest.mark.parametrize("test, cpu", [("each_call", 0), ("on_another_cpu", 1)])
def test_each_change_is_a_stop(debug, variables, test, cpu):
    play = Play(debug(reset=True, APPEND=f"test=watch/{test} exit", **variables))
    expected = {what: n for what, n in STOPS.items() if n is not None}
    first = "set_memory_x, direct map"
    expected[first] += "2 MiB page" in play.now[first]  # where the frame lies decides whether a large leaf is split first
    assert play.counted() == expected
    for what, texts in play.stops.items():
        for text in texts:
            assert BY.search(text)[1] == str(cpu), f"{what}: {text}"


SHORT = ("vmalloc", "vfree", "set_memory_ro", "set_memory_ro again", "set_memory_rw", "vmap", "vunmap",
         "vfree of a read-only page", "eager: vmalloc", "eager: vfree")  # some thousand instructions each


@pytest.mark.long
def test_no_instruction_between_the_stops_changes_it(debug):
    """The same play in single steps: the mapping changes as often as `mm watch` stopped."""
    guest = debug(reset=True, CPUS=1, APPEND="test=watch/each_call exit")
    guest.qmp_file.close()  # QEMU would tell of each step there
    guest.qmp_file = None
    guest.gdb("hbreak watch_this", "continue", f"python import sys; sys.path.insert(0, '{ROOT / 'tests/gdb'}')",
              "python from stepper import Stepper")
    counted = {}
    while (what := guest.gdb("printf \"%s\", (char *)$rdi")) != "end":
        if what in SHORT:
            guest.gdb(f"python s = Stepper('{guest.ram_file}')")
            assert any("True" in guest.gdb("python print(s.go(500))") for _ in range(100)), f"{what} has no end"
            counted[what] = int(guest.gdb("python print(s.changes)"))
        else:
            guest.gdb("continue")
    assert counted == {what: STOPS[what] for what in SHORT}


def test_what_maps_nothing_is_passed_over_and_told(debug):
    play = Play(debug(reset=True, CPUS=1, APPEND="test=watch/each_call exit"))
    notes = play.stops["all of guard: vmalloc, vfree, purge"]
    assert [re.search(r"^  is  .* 0x[0-9a-f]{16}  (.*)$", text, re.MULTILINE)[1] for text in notes] == [
        "guard: vmalloc, 3 pages", "guard: freed, 3 pages", "empty"]
    assert all("not mapped, neither before nor after" in text for text in notes)
    assert play.passed["guard: vmalloc, vfree, purge"] == len(notes)
    assert play.passed["all of guard: vmalloc, vfree, purge"] == 0


def test_a_large_leaf_is_split_level_by_level(debug):
    """set_memory_x makes one page of the direct map read-only: 1 GiB becomes 2 MiB, becomes 4 KiB, becomes r--."""
    guest = debug(MEM="3G", CPUS=1)
    for size_ in "1100M", "8M", "8M":  # so that the frames left lie above the first GiB, whose map has 4 KiB pages
        guest.run(f"vmalloc {size_}")
        guest.command("purge")  # what a stock still has of those below comes back, and goes next
    guest.attach()
    guest.com1.send("test watch/each_call\r")
    play = Play(guest)
    assert "1 GiB page" in play.now["set_memory_x, direct map"]
    texts = play.stops.pop("set_memory_x, direct map")
    assert [SAID.search(text)[2].split(";")[0] for text in texts] == [
        "in a page of 2 MiB, was 1 GiB", "in a page of 4 KiB, was 2 MiB", "r--, was rw-"]
    assert play.counted() == {what: n for what, n in STOPS.items() if n is not None and what in play.stops}


@pytest.mark.parametrize("variables", [{}, {"LA57": 1}], ids=["4-levels", "5-levels"])
def test_tables_come_and_go_above(debug, variables):
    """The window's first area brings its tables, and the watch moves down with them."""
    guest = debug(reset=True, **variables)
    guest.gdb("hbreak smp_init", "continue")
    va = guest.gdb("printf \"%#lx\", address_map.vmalloc_start + 0x1000")
    assert guest.mm(f"watch {va}")[-1].endswith("[402] empty" if not variables else "[416] empty")
    text = guest.gdb("continue")
    assert SAID.search(text)[2] == "mapped now, to 0xfee00000, rw-" and "4 KiB page 0xfee00000 rw- UC" in text, text
    over = re.findall(r"^  passed over: (\w+) \[\d+\] empty => -> table 0x[0-9a-f]+, in put_table$", text, re.MULTILINE)
    assert over == ["PML5", "PML4", "PDPT", "PD"][-3 - len(variables):], text


def test_tables_are_given_back(debug):
    guest = debug()
    va = int(guest.run("vmalloc 8M")[1][0]["va"], 16)
    page = va + (3 << 20)
    guest.attach()
    assert guest.mm(f"watch {page:#x}+0x123")[-1].startswith(f"watching the page at {page:#x}, now: PT [")
    guest.com1.send(f"vfree {va:x}\r")
    text = guest.gdb("continue")
    assert SAID.search(text)[2].startswith("not mapped any longer"), text
    guest.gdb("hbreak monitor_run")
    guest.com1.send("purge\rareas\r")
    for line in "purge", "areas":
        assert line in guest.gdb("continue", "printf \"%s\\n\", line")
    row = guest.mm("watch")[1]
    assert row.split()[2] == "1" and re.search(r" PD \[\d+\] empty$", row), row


def test_pages_that_share_a_table(debug):
    """Each store stops once, for the page that it changes."""
    guest = debug()
    va = int(guest.run("vmalloc 64K")[1][0]["va"], 16)
    guest.attach()
    for i in (2, 7, 3):
        guest.mm(f"watch {va + i * PAGE:#x}")
    guest.gdb("hbreak monitor_run")
    guest.com1.send(f"vfree {va:x}\rareas\r")
    assert "monitor_run" in guest.gdb("continue")
    said = [SAID.findall(guest.gdb("continue")) for _ in range(4)]
    assert said == [[(f"{va + i * PAGE:#x}", said[0][0][1])] for i in (2, 3, 7)] + [[]]
    assert [row.split()[2] for row in guest.mm("watch")[1:]] == ["1", "1", "1"]


# Limits, said

def test_list_and_end(debug):
    guest = debug()
    va = int(guest.run("vmalloc 64K")[1][0]["va"], 16)
    guest.attach()
    assert guest.mm("watch") == ["no page is watched: `mm watch VA` begins"]
    for i in (0, 3):
        guest.mm(f"watch {va + i * PAGE:#x}")
    text = guest.gdb(f"mm watch {va + 0x3fff:#x}")
    assert f"the page at {va + 3 * PAGE:#x} is watched already" in text and len(guest.mm("watch")) == 3
    assert guest.mm(f"watch -d {va + 8:#x}") == [] and len(guest.mm("watch")) == 2
    assert "is not watched; `mm watch` lists" in guest.gdb(f"mm watch -d {va:#x}")
    guest.gdb(f"delete {guest.mm('watch')[1].split()[0]}")
    assert "no page is watched" in guest.gdb("mm watch -d")
    assert "not canonical on 4 levels" in guest.gdb("mm watch 0x8000000000000000")
    assert "an address is missing" in guest.gdb("mm watch -a")
    assert "has no value here" in guest.gdb("mm watch nowhere")
    guest.gdb("set can-use-hw-watchpoints 0")
    assert "without hardware watchpoints" in guest.gdb(f"mm watch {va:#x}")
    assert guest.mm("watch") == ["no page is watched: `mm watch VA` begins"]


def test_before_paging_and_in_boots_tables(debug):
    guest = debug(reset=True)
    assert "paging is off on CPU 0" in guest.gdb("mm watch 0")
    guest.gdb("hbreak address_map_init", "continue")
    said = guest.mm("watch 0x1000")
    assert said[-2:] == ["watching the page at 0x1000, now: PD [0] 2 MiB page 0x0 rwx",
                         "  in boot's tables: mm_init() makes others. Ask again when mmu_set_root() has returned"]
    text = guest.gdb("continue")  # the identity map goes
    assert SAID.search(text)[2].startswith("not mapped any longer") and BY.search(text)[2] == "address_map_init", text


def test_all_that_is_watched_ends_with_the_machine(debug):
    guest = debug()
    guest.attach()
    guest.mm("watch &address_map")
    guest.gdb("kill")
    assert guest.mm("watch") == ["no page is watched: `mm watch VA` begins"]
    assert "there is no machine to look at" in guest.gdb("mm watch 0")
