"""The same commands at every moment of a machine's life: at reset, in 32-bit boot code, while levels change, on another
CPU, in vmalloc, inside a fault; and afterwards, from a core."""

import re

import pytest

import readers
from debugger import Gdb
from test_map import leaves_of, steps_of

LEVELS = pytest.mark.parametrize("la57", [0, 1], ids=["4-levels", "5-levels"])
IMAGE_BASE = 0xFFFFFFFF80000000
PG = "$cr0 & 0x80000000"


def stop(machine, where):
    """Let it run up to a place; hardware breakpoints hold before the kernel is loaded, too."""
    text = machine.gdb(f"thbreak {where}", "continue")
    assert " hit Temporary breakpoint " in text, text


def step_while(machine, condition):
    machine.gdb(f"while {condition}", "stepi", "end")


def same_as_qemu(machine):
    """Whatever is mapped now: mm map's leaves are info tlb's. How many."""
    ours = leaves_of(machine.mm("map all each"))
    assert {readers.as_tlb(leaf) for leaf in ours} == readers.tlb_leaves(machine.hmp("info tlb"))
    return len(ours)


def test_at_reset(debug):
    machine = debug(reset=True)
    off = "paging is off: the address is its own physical address"
    assert machine.mm("walk 0x1000") == [f"0x1000: {off}", "  CR0.PG is clear: this CPU walks no tables yet"]
    assert machine.mm("step 0x1000") == machine.mm("walk 0x1000")
    assert machine.mm("walk &address_map")[1:] == [
        "  CR0.PG is clear: this CPU walks no tables yet", "  and in 32 bits it cannot form an address above 0xffffffff",
        f"  once boot has switched paging on, this one leads to {int(machine.gdb('output/x &address_map')[:18], 16) - IMAGE_BASE:#x}"]
    assert machine.gdb("output/x $pa(0xb8000)") == "0xb8000"
    for line in ("map", "map all gaps", "layout", "alias 0x1000", "map 0x1000"):
        assert machine.mm(line)[0].startswith("paging is off on CPU 0 (CR0 is 0x60000010"), line
    assert "paging is off" in machine.gdb("output $pte(0x1000)")
    for root, levels in (("early_root", 4), ("early_root5", 5)):  # boot's tables lie there already, in the file
        lines = machine.mm(f"walk 0x100123 root=&{root} levels={levels}")
        assert lines[0] == f"0x100123: {levels} levels, from the table {value(machine, f'&{root}') - IMAGE_BASE:#x}"
        assert "  byte   +0x100123, so it leads to 0x100123" in lines
        assert len(leaves_of(machine.mm(f"map all each root=&{root} levels={levels}"))) == 3 * (2048 + 512) * (1 if levels == 4 else 3)
        assert "  physical 0x100123" in machine.mm(f"step 0x100123 root=&{root} levels={levels}")


@LEVELS
def test_from_32_bits_to_long_mode(debug, la57):
    machine = debug(reset=True, LA57=la57)
    stop(machine, "*((unsigned long)&paging_on & 0x7fffffff)")  # gdb knows it where it runs, and where it is linked
    assert machine.gdb("output/x $pc") == f"{value(machine, '&paging_on') & 0x7FFFFFFF:#x}"
    assert "paging is off" in machine.mm("walk $pc")[0]
    assert machine.gdb.python("int(machine.variable('address_map')['direct']) == machine.DIRECT[4]") == "True"
    machine.mm("diff")
    step_while(machine, f"!({PG})")
    lines = machine.mm("diff")
    assert lines[0] == f"other tables: CR3 was not in use, is {value(machine, '&early_root') - IMAGE_BASE:#x}"
    assert "0xffff888000000000 PML4  [273]       1 empty => -> table" in "\n".join(lines)
    assert lines[-1] == f"{3 + 3 * 5 + 7680} entries changed", "three of the PML4, five in each PDPT, and pages"
    assert same_as_qemu(machine) == 3 * (2048 + 512), "boot/entry.S: 4 GiB and, 510 GiB behind, one again; all of it three times"
    text = machine.mm("walk $pc")
    assert text[0].endswith(f": 4 levels, from CR3 {value(machine, '&early_root') - IMAGE_BASE:#x}")
    assert steps_of(text)[-1][4].endswith("2 MiB page 0x0 rwx")
    assert value(machine, "$pa($pc)") == value(machine, "$pc")
    assert value(machine, "$pa(&address_map)") == value(machine, "&address_map") - IMAGE_BASE
    assert machine.mm("map all w x")[-1] == "7680 mappings in 6 runs, 15 GiB"
    assert re.search(r" (\d+ KiB)  rwx  text +\1: 1 of 2 MiB$", "\n".join(machine.mm("layout")), re.MULTILINE), "as far as it is text"
    if la57:
        stop(machine, "enter_la57")
        step_while(machine, PG)
        assert "paging is off" in machine.mm("map all")[0]
        step_while(machine, f"!({PG})")
        assert machine.mm("walk $pc")[0].endswith(f": 5 levels, from CR3 {value(machine, '&early_root5') - IMAGE_BASE:#x}")
        assert value(machine, "$pa(&address_map)") == value(machine, "&address_map") - IMAGE_BASE
        same_as_qemu(machine)
    stop(machine, "vmalloc_init")
    assert machine.mm("map")[-1] == "0 mappings in 0 runs, 0 B"
    assert same_as_qemu(machine) < 1000
    assert machine.mm("map all x w")[-1] == "0 mappings in 0 runs, 0 B"


def value(machine, expression):
    return int(machine.gdb(f"output/x (unsigned long)({expression})"), 16)


@LEVELS
def test_another_cpu_that_does_not_page_yet(debug, la57):
    """Each CPU has its own CR0 and CR3: the one that is selected is asked."""
    machine = debug(reset=True, LA57=la57, CPUS=2)
    stop(machine, f"*((unsigned long)&trampoline_end - {IMAGE_BASE:#x})")
    assert machine.gdb("output $_thread") == "2"
    assert machine.mm("walk &address_map")[1] == "  CR0.PG is clear: this CPU walks no tables yet"
    assert machine.mm("map")[0].startswith("paging is off on CPU 1 (")
    machine.gdb("thread 1")
    assert f": {4 + la57} levels" in machine.mm("walk &address_map")[0]
    machine.gdb("thread 2")
    stop(machine, "ap_main")
    assert machine.gdb("output $_thread") == "2"
    assert value(machine, "$pa(&address_map)") == value(machine, "&address_map") - IMAGE_BASE


@LEVELS
def test_in_vmalloc(debug, la57):
    """What one call changes, and nothing else."""
    machine = debug(reset=True, LA57=la57, APPEND="tour")
    stop(machine, "vmalloc")
    assert "picture is taken" in machine.mm("diff")[0]
    assert machine.mm("diff") == ["no entry changed"]
    machine.gdb("finish")
    va = value(machine, "$")
    lines = machine.mm("diff")
    assert lines[-1] == "17 entries changed" and len(lines) == 4
    assert re.fullmatch(rf"0x{va - 4096:016x} PT +\[ *\d+\] +1 empty => guard: vmalloc, 16 pages", lines[1])
    assert re.fullmatch(rf"0x{va:016x} PT +\[ *\d+\] +16 empty => 4 KiB page 0x[0-9a-f]+ rw-", lines[2])
    each = machine.mm("diff each")
    pages = leaves_of(machine.mm(f"map {va:#x} each"))
    assert [line.split("=> ")[1] for line in each[2:-1]] == [f"4 KiB page {leaf.pa:#x} rw-" for leaf in pages]
    assert machine.mm("diff") == lines, "since the last stop, however often it is asked"
    machine.gdb("stepi")
    assert machine.mm("diff") == ["no entry changed"]
    machine.gdb("kill")
    assert "no machine to look at" in machine.mm("diff")[0]


@LEVELS
def test_in_a_fault_handler(debug, la57):
    machine = debug(LA57=la57)
    va = int(machine.run("vmalloc 64K")[1][0]["va"], 16) + 16 * 4096 + 8
    machine.attach()
    machine.com1.send(f"peek {va:x}\r")
    stop(machine, "explain_fault")
    assert value(machine, "$cr2") == va
    ours = machine.mm("walk $cr2")
    same_as_qemu(machine)
    machine.detach()
    kernel = machine.prompt().splitlines()
    direct = 0xFF11000000000000 if la57 else 0xFFFF888000000000
    assert [s[:4] for s in steps_of(ours)] == [s[:4] for s in steps_of(kernel, direct)]
    assert [line for line in kernel if re.match("  (range|area|where|  )  ", line)] == ours[-4:]
    assert len(ours) == 2 + 4 + la57 + 1 + 4


@LEVELS
def test_from_a_core(debug, la57):
    """When the machine is gone, everything is as it was."""
    machine = debug(LA57=la57, CPUS=2)
    va = int(machine.run("vmalloc 64K")[1][0]["va"], 16)
    machine.command("huge 4M")
    core = machine.rundir / "core"
    machine.attach()
    assert machine.qmp("dump-guest-memory", paging=False, protocol=f"file:{core}") == {}
    lines = ["map all each", "map all gaps", "layout", f"walk {va + 5:#x}", "walk 0", "alias 0x100000", f"map {va:#x}",
             f"step {va + 5:#x}", 'find "ran off the area"']
    alive = [machine.mm(line) for line in lines]
    pa = value(machine, f"$pa({va:#x})")
    machine.qmp("quit")
    gdb = Gdb(machine.rundir)
    try:
        gdb(f"core-file {core}")
        for thread in 1, 2:
            gdb(f"thread {thread}")
            for line, before in zip(lines, alive):
                assert gdb(f"mm {line}").splitlines() == before, (thread, line)
        assert int(gdb(f"output/x $pa({va:#x})"), 16) == pa
        assert "a core is one moment" in gdb("mm diff")
    finally:
        gdb.close()


def test_reading_through_the_stub_only(debug):
    """Where QEMU cannot write a file for us, the same comes through its stub, which is then as it was before."""
    machine = debug()
    machine.attach()
    fast = machine.mm("map all each")
    machine.gdb("python machine.forget(); machine._no_bulk.add(gdb.selected_inferior().connection.num)")
    assert machine.mm("map all each") == fast
    virtual = machine.gdb("x/4gx &address_map")
    mode = "gdb.selected_inferior().connection.send_packet('qqemu.PhyMemMode')"
    assert machine.gdb.python(mode) == "b'0'"
    machine.gdb("python", "class Broken:", "    MemoryError, selected_inferior = gdb.MemoryError, staticmethod(lambda: Broken)",
                "    def read_memory(*_): raise gdb.MemoryError('planted')",
                "connection, machine.gdb = gdb.selected_inferior().connection, Broken", "end")
    assert "cannot be read: planted" in machine.gdb("python machine._read_stub(connection, 0x1000, 8)")
    assert machine.gdb.python(mode) == "b'0'"
    assert machine.gdb("x/4gx &address_map") == virtual


def test_memory_changed_by_gdb_is_seen(debug):
    machine = debug()
    va = int(machine.run("vmalloc 64K")[1][0]["va"], 16)
    machine.attach()
    at = steps_of(machine.mm(f"walk {va:#x}"))[-1][2] + 0xFFFF888000000000
    held = value(machine, f"*(unsigned long *){at:#x}")
    machine.mm("diff")
    machine.gdb(f"set var *(unsigned long *){at:#x} = 0x3000 | 1", f"set var *(unsigned long *){at + 16:#x} = 0x4000 | 1")
    assert [line[:18] for line in machine.mm("diff")[1:]] == [f"0x{va:016x}", f"0x{va + 0x2000:016x}", "2 entries changed"]
    assert machine.mm(f"walk {va:#x}")[5].endswith("4 KiB page 0x3000 r-x")
    assert value(machine, f"$pa({va:#x})") == 0x3000
    machine.gdb(f"set var *(unsigned long *){at:#x} = {held:#x}")


def test_a_right_that_a_table_takes_away(debug):
    """What the leaf grants is not all: the kernel never does this, but a bug may."""
    machine = debug()
    va = int(machine.run("vmalloc 16K")[1][0]["va"], 16)
    machine.attach()
    at = steps_of(machine.mm(f"walk {va:#x}"))[-2][2] + 0xFFFF888000000000
    machine.gdb(f"set var *(unsigned long *){at:#x} &= ~2ul")
    assert "  may    r--: not written by PD; not executed by PT" in machine.mm(f"walk {va:#x}")
    assert {leaf.prot for leaf in leaves_of(machine.mm(f"map {va:#x} each"))} == {"r--"}
    assert machine.mm(f"map {va:#x} w")[-1] == "0 mappings in 0 runs, 0 B"
    assert " 4 KiB       4 " in machine.mm(f"map {va:#x} r--")[1]
    assert "  r--  vmalloc " in "".join(machine.mm("layout"))
    machine.gdb(f"set var *(unsigned long *){at:#x} |= 2")


def test_a_reserved_bit(debug):
    """The CPU faults where it meets one: the walk ends there, and says so."""
    machine = debug()
    va = int(machine.run("huge 2M")[1][0]["va"], 16)
    machine.attach()
    at = steps_of(machine.mm(f"walk {va:#x}"))[-1][2] + 0xFFFF888000000000
    machine.gdb(f"set var *(unsigned long *){at:#x} |= 0x10000")
    assert "reserved bits 0x10000 are set: an access faults" in "".join(machine.mm(f"walk {va:#x}"))
    assert "is not mapped" in machine.gdb(f"output $pa({va:#x})")
    assert "A reserved bit is set" in machine.mm(f"step {va:#x}")[-1]
    machine.gdb(f"set var *(unsigned long *){at:#x} &= ~0x10000")


def test_spoilt_tables(debug):
    """Tables that lead to tables that lead to tables: nobody waits for the end of it."""
    machine = debug()
    va = [int(machine.run("vmalloc 4K")[1][0]["va"], 16) for _ in range(3)]
    machine.attach()
    frames = [value(machine, f"$pa({at:#x})") for at in va]
    for at, below in zip(va, frames[1:] + [0]):
        machine.gdb(f"python gdb.selected_inferior().write_memory({at:#x}, ({below} | 3).to_bytes(8, 'little') * 512)")
    top = value(machine, "(unsigned long)kernel_pt.root")
    machine.gdb(f"set var *(unsigned long *)({top:#x} + 8 * 300) = {frames[0]} | 3")
    machine.gdb("python paging.MOST_TABLES = 5000")
    for line in ("map all each", "map", "layout", "alias 0", "find 1"):
        text = machine.mm(line)
        assert len(text) == 1 and ": more than 5000 page tables: those that lead to 0x" in text[0], line
    assert machine.mm(f"walk {va[0]:#x}")[-1].endswith("inside"), "the window's tables are sound"
    window = value(machine, "address_map.vmalloc_start") >> 39 & 511
    machine.gdb(f"set var *(unsigned long *)({top:#x} + 8 * {window + 1}) = {frames[0]} | 3")
    assert "  note   more than 5000 page tables" in machine.mm(f"walk {va[0]:#x}")[-1]


def test_a_table_where_no_ram_is(debug):
    machine = debug()
    va = int(machine.run("vmalloc 4K")[1][0]["va"], 16)
    machine.attach()
    at = steps_of(machine.mm(f"walk {va:#x}"))[-2][2] + 0xFFFF888000000000
    held = value(machine, f"*(unsigned long *){at:#x}")
    machine.gdb(f"set var *(unsigned long *){at:#x} = 0x76543210003")
    assert "  note   0x76543210000 is no RAM: what is read there means nothing" in machine.mm(f"walk {va:#x}")
    machine.gdb(f"set var *(unsigned long *){at:#x} = {held:#x}")
    assert "no RAM" not in "".join(machine.mm(f"walk {va:#x}"))


def test_while_it_runs(debug):
    machine = debug()
    machine.attach()
    machine.gdb("set non-stop off", "continue &")
    text = machine.gdb("mm walk 0")
    assert text.startswith("mm walk: ") and "running" in text, text
    machine.gdb("interrupt")
