"""mm pte, step, diff; help and completion of every command; and how long mm map takes."""

import os
import re

import pexpect
import pytest

from debugger import Gdb
from machine import ELF, LIMIT, ROOT
from test_map import leaves_of, steps_of

PAGE = 4096


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """gdb, and no machine."""
    gdb = Gdb(tmp_path_factory.mktemp("gdb"))
    yield gdb
    gdb.close()


# What is typed; the first line, and some of the others.
ENTRIES = [
    ("0x8000000000163163", "0x8000000000163163, in a PT (level 1): 4 KiB page 0x163000 rw-",
     ["bit 0 P 1: present", "bit 1 W 1: may be written", "bit 2 U 0: for the kernel", "bits 4-3 PCD PWT 0: cached",
      "bit 5 A 1: acc", "bit 6 D 1: dirty", "bit 8 G 1: global", "bits 51-12 address 0x163000: the page", "bit 63 NX 1: never"]),
    ("0x163023 pd", "0x0000000000163023, in a PD (level 2): -> table 0x163000",
     ["bit 7 PS 0: leads to a table", "bits 51-12 address 0x163000: the next table", "bit 63 NX 0: may be executed"]),
    ("0x1e3 2", "0x00000000000001e3, in a PD (level 2): 2 MiB page 0x0 rwx", ["bit 7 PS 1: a leaf, of 2 MiB", "bits 51-21 address"]),
    ("0x400001a1 PDPT", "0x00000000400001a1, in a PDPT (level 3): 1 GiB page 0x40000000 r-x", ["bits 51-30 address 0x40000000"]),
    ("0x203080 | 1 pdpt", "0x0000000000203081, in a PDPT (level 3): 1 GiB page 0x0 r-x", ["reserved bits are set, 0x202000"]),
    ("0x10e3 pml4", "0x00000000000010e3, in a PML4 (level 4): 512 GiB page 0x0 rwx",
     ["bit 7 reserved 1: must be 0", "bits 51-12 address", "reserved bits are set, 0x80: an access faults"]),
    ("0x6000007", "0x0000000006000007, in a PT (level 1): 4 KiB page 0x6000000 rwxu", ["bit 2 U 1: also for ring 3"]),
    ("0xfee0017b", "0x00000000fee0017b, in a PT (level 1): 4 KiB page 0xfee00000 rwx UC", ["bits 4-3 PCD PWT 3: UC"]),
    ("0x8016b", "0x000000000008016b, in a PT (level 1): 4 KiB page 0x80000 rwx WC", ["bits 4-3 PCD PWT 1: WC"]),
    ("0", "0x0000000000000000, in a PT (level 1): empty", ["not present, and nothing noted"]),
    ("16ul << 31 | 0x1000 << 7 | 3 << 3 | 6", "0x000000080008001e, in a PT (level 1): guard: stack, 16 pages",
     ["bit 1 mixed 1: not all", "bits 6-3 kind 3: stack", "bits 63-31 pages 16"]),
    ("16ul << 31 | 9 << 3 | 4", "0x000000080000004c, in a PT (level 1): guard: ?, 16 pages", ["bits 6-3 kind 9: ?"]),
    ("0xffffc90000005000", "0xffffc90000005000, in a PT (level 1): freed, next 0xffffc90000005000", ["where the next one begins"]),
]


@pytest.mark.parametrize("typed, first, rest", ENTRIES, ids=[e[0] for e in ENTRIES])
def test_pte(alone, typed, first, rest):
    lines = alone(f"mm pte {typed}").splitlines()
    assert lines[0] == first
    text = "\n".join(" ".join(line.split()) for line in lines[1:])
    for part in rest:
        assert part in text, part


def test_pte_names_the_caller(alone):
    code = int(alone("output/x (unsigned long)&vmalloc"), 16)
    note = 5 << 31 | (code + 0x11 - 0xFFFFFFFF80000000) << 7 | 1 << 3 | 4
    assert "bits 30-7  caller  vmalloc+0x11" in alone(f"mm pte {note:#x}")


def test_without_a_machine(alone):
    for line in ("walk 0", "map", "layout", "alias 0", "step 0", "diff"):
        assert "there is no machine to look at" in alone(f"mm {line}"), line
    assert "there is no machine" in alone("output $pa(0)")


def test_each_command_has_its_manual(alone):
    """The first line in `help mm`; usage in `help mm NAME`; what a mistake prints names the command."""
    names = alone("python from tessera.command import Command; print(*[c.name for c in Command.__subclasses__()])").split()
    assert {"walk", "map", "alias", "pte", "layout", "step", "diff"} <= set(names)
    listed = alone("help mm")
    for name in names:
        text = alone(f"help mm {name}").splitlines()
        assert re.search(rf"^mm {name} -- {re.escape(text[0].rstrip('.'))}", listed, re.MULTILINE), name
        usage = alone(f"python print(next(c.usage for c in Command.__subclasses__() if c.name == '{name}'))")
        assert text[2] == f"mm {name} {usage}".strip(), "the usage stands behind the first line"
        assert max(map(len, text)) <= 130


def test_completion(alone):
    assert {"mm walk", "mm map", "mm pte", "mm diff"} <= set(alone("complete mm ").splitlines())
    assert "mm map window" in alone("complete mm map w").splitlines()
    assert alone("complete mm map win") == "mm map window"
    assert alone("complete mm map window ea") == "mm map window each"
    assert "mm walk address_map" in alone("complete mm walk address_m").splitlines()
    assert alone("complete mm pte 1 pm").split("\n") == ["mm pte 1 pml4", "mm pte 1 pml5"]


# mm step

def test_step_shows_what_walk_shows(debug):
    machine = debug()
    machine.attach()
    for va in (0xFFFFFFFF80100123, 0, 0xFFFF888000212345):
        walk, text = steps_of(machine.mm(f"walk {va:#x}")), "\n".join(machine.mm(f"step {va:#x}"))
        assert [(at, held) for at, held in re.findall(r"= (0x[0-9a-f]+): 0x([0-9a-f]{16})", text)] == [
            (f"{at:#x}", held) for _, _, at, held, _ in walk]
        bits = "".join(text.splitlines()[1].split())
        assert int(bits, 2) == va and len(bits) == 64
        if walk[-1][0] != "PML4":
            assert f"  physical {int(machine.gdb(f'output/x $pa({va:#x})'), 16):#x}" in text
    assert "not present. The CPU raises a page fault and leaves 0x0 in CR2." in "\n".join(machine.mm("step 0"))
    assert "The CPU does not even begin" in "\n".join(machine.mm("step 0x1234567890123456"))


def test_step_waits_for_a_key_at_a_terminal(debug, tmp_path):
    machine = debug()
    with open(tmp_path / "terminal.txt", "w", encoding="utf-8") as log:
        gdb = pexpect.spawn("gdb", ["-nx", "-q", "-iex", f"add-auto-load-safe-path {ELF.parent}", str(ELF)], cwd=str(ROOT),
                            env=os.environ | {"TERM": "dumb"}, timeout=LIMIT, encoding="utf-8", dimensions=(40, 160))
        gdb.logfile_read = log
        gdb.delaybeforesend = None
        try:
            gdb.sendline(f"target remote {machine.socket}")
            gdb.expect_exact("cpu_sleep")
            gdb.sendline("mm step &address_map")
            for part in ("the PML4, lies at physical", "-> table", "-> table", "-> table", "so far rw-"):
                gdb.expect(part + "(?s:.*?)q: enough --")
                gdb.send(" ")
            gdb.expect("The CPU keeps this")
            gdb.send("x")
            gdb.sendline("mm step &address_map")
            gdb.expect("cut as the CPU cuts it(?s:.*?)q: enough --")
            gdb.send("q")
            gdb.sendline("echo en-d\\n")
            gdb.expect("en-d\r")
            assert "PML4: bits" not in gdb.before
        finally:
            gdb.close(force=True)


# mm diff

def changes(lines):
    """(va, table, entries, was, is) of each row."""
    assert lines[0] == "virtual            table index entries was => is", lines
    rows = [re.fullmatch(r"0x([0-9a-f]{16}) (\w+) +\[ *\d+\] +(\d+) (.*) => (.*)", line) for line in lines[1:-1]]
    assert lines[-1] == f"{sum(int(m[3]) for m in rows)} entries changed"
    return [(int(m[1], 16), m[2], int(m[3]), m[4], m[5]) for m in rows]


@pytest.mark.parametrize("la57", [0, 1], ids=["4-levels", "5-levels"])
def test_diff_of_what_is_typed(debug, la57):
    """Each command at the prompt is stopped when it is done: what changed is what it did, at every level."""
    machine = debug(LA57=la57)
    machine.attach()
    machine.gdb("hbreak monitor_run")
    machine.mm("diff")

    def typed(line):
        machine.com1.send(line + "\r")
        machine.gdb("continue", "finish")
        return machine.mm("diff")

    typed("vmalloc 1")
    huge = changes(typed("huge 2M"))
    va = next(c for c in huge if c[4].startswith("2 MiB page"))[0]
    assert [c[1:] for c in huge if c[0] == va and c[1] == "PD"] == [("PD", 1, "empty", huge[-1][4])] and huge[-1][4].endswith(" rw-")
    assert (va - PAGE, "PT", 1, "empty", "guard: vmalloc, 512 pages") in huge
    gone = changes(typed(f"vfree {va:x}"))
    assert [c[2:] for c in gone if c[1] == "PD"] == [(1, huge[-1][4], gone[-1][4])] or "-> table" in str(gone)
    assert (va - PAGE, "PT", 1, "guard: vmalloc, 512 pages", "guard: freed, 512 pages") in gone
    assert typed("help") == ["no entry changed"]
    area = changes(typed("vmalloc 6M"))
    assert sum(c[2] for c in area if c[4].startswith("4 KiB page")) == 1536
    assert {c[1] for c in area} == {"PT", "PD"}, "three tables, and what leads to them"


def test_diff_of_rights(debug):
    """set_memory_ro, then set_memory_x, in one of the kernel's own tests: the page changes, and its other name in the direct
    map; for that a large leaf there is split into pages that are otherwise as it was."""
    machine = debug(reset=True, APPEND="shuffle=7 test=family/code_is_written exit")
    machine.gdb("thbreak set_memory if from == PAGE_KERNEL && to == PAGE_KERNEL_RO", "continue")
    machine.mm("diff")
    va = int(machine.gdb("output/x va"), 16)
    leaf, = leaves_of(machine.mm(f"map {va:#x} {va:#x} each"))
    alias = leaves_of(machine.mm(f"alias {leaf.pa:#x}"))[0].va
    machine.gdb("finish")
    mixed, page = changes(machine.mm("diff"))
    assert page == (va, "PT", 1, f"4 KiB page {leaf.pa:#x} rw-", f"4 KiB page {leaf.pa:#x} r--")
    assert mixed[1:3] == ("PT", 1) and mixed[3] == "guard: vmalloc, 3 pages" and mixed[4].endswith("3 pages (+mixed)")
    machine.gdb("thbreak set_memory if to == PAGE_KERNEL_ROX", "continue", "finish")
    rows = changes(machine.mm("diff"))
    assert (va, "PT", 1, f"4 KiB page {leaf.pa:#x} r--", f"4 KiB page {leaf.pa:#x} r-x") in rows
    split, = [row for row in rows if row[1] == "PD"]
    assert split[0] <= alias < split[0] + (2 << 20) and split[3].startswith("2 MiB page") and split[4].startswith("-> table")
    assert sum(row[2] for row in rows) == 1 + 1 + 512
    assert [row[4] for row in rows if row[0] == alias] == [f"4 KiB page {leaf.pa:#x} r--"]


# Speed

def cost(machine, line):
    """Seconds of a CPU: what it takes alone on a machine, however many other tests run beside it now."""
    count, seconds = machine.gdb.python(
        f"(time := __import__('time').process_time, machine.forget(), began := time(),"
        f" text := gdb.execute('mm {line}', to_string=True), f'{{text.splitlines()[-1].split()[0]}} {{time() - began}}')[-1]"
    ).split()
    assert int(count) >= 102400
    return float(seconds)


def test_100_000_mappings_in_a_second(debug):
    """Measured inside gdb, with nothing remembered from before."""
    machine = debug(MEM="1G", APPEND="shuffle=7")
    machine.command("vmalloc 400M")
    machine.attach()
    for line in ("map", "map all", "map gaps", "map each", "map pieces"):
        assert cost(machine, line) <= 1, line
