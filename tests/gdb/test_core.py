"""A core: the machine as it was, when it has gone. What gdb shows of it is what gdb showed of the machine."""

import re
import struct

import pytest

import machine
import made
from machine import ELF, ROOT
from made import make
from test_exits import call_panic, endless_loop, invalid_opcode, last_line, planted, triple_fault
from tessera import core, paging

LOOK = """
info threads
backtrace
info registers rip rsp rbp cs
print/x $eflags
mm walk $rsp
mm map
mm areas
mm map 0 -1
print words
print address_map
print/x *(struct page *)address_map.vmemmap@4
print text
thread 2
backtrace
mm walk $rsp
x/4gx $rsp
thread 1
"""
SAVE = f"""
mm type vmalloc 64K
tbreak vmalloc
continue
finish
x/8xb $rax
echo ----\\n
{LOOK}
echo ----\\n
mm save
kill
mm open
echo ----\\n
{LOOK}
echo ----\\n
"""


@pytest.fixture
def rundir(tmp_path):
    yield tmp_path
    made.end_all(tmp_path)
    for file in tmp_path.glob("core*"):  # they are large
        if file.is_file():
            file.unlink()


def opened(rundir, script, **variables):
    return make("core", rundir, script, **variables)


@pytest.mark.parametrize("shape", [{}, {"LA57": 1}, {"CPU": "qemu64", "CPUS": 3}], ids=["4-levels", "5-levels", "3-CPUs"])
def test_all_is_as_it_was(rundir, shape):
    """What a live machine shows, in gdb's words and ours, its core shows, too."""
    said = make("gdb", rundir, SAVE, MEM="64M", **shape)
    assert said.status == 0, said.text
    _, live, saved, dead, _ = said.text.split("----\n")
    live = re.sub(r"Thread 1\.(\d) \(CPU#\d \[\w+ *\]\)", r"LWP \1", live)
    assert "is written" in saved and "error" not in live.lower(), live
    assert plain(live) == plain(dead)


def plain(text):
    """Without what may differ: numbers of values, widths of columns."""
    return [re.sub(r" +", " ", re.sub(r"^\$\d+", "$", line)) for line in text.splitlines() if "Switching" not in line]


@pytest.mark.parametrize("plant, ends, append, frame", [
    (None, 0, "test=vmarea exit", "machine_exit"), (call_panic, 1, "test exit", "panic"), (call_panic, 1, "test", "panic"),
    (invalid_opcode, 1, "test exit", "run_tests"), (triple_fault, 2, "test exit", "run_tests"),
    (endless_loop, 3, "test exit", "run_tests"),
], ids=["passed", "panic-exit", "panic", "invalid-opcode", "triple-fault", "hang"])
def test_however_a_run_ends(rundir, tmp_path, plant, ends, append, frame):
    kernel = planted(tmp_path, plant) if plant else ELF
    ended = machine.run(rundir, CORE=1, APPEND=append, KERNEL=kernel, MEM="16M", TIMEOUT=3 if ends == 3 else 30)
    assert ended.status == ends and "core is written: `make core` opens it" in ended.text, ended.text
    assert last_line(ended.text).startswith("run: "), ended.text
    said = opened(rundir, "backtrace\nmm walk $rsp\n", KERNEL=kernel)
    assert said.status == 0 and re.search(rf"^#\d .*\b{frame} ", said.text, re.MULTILINE), said.text
    assert re.search("^#[0-9]+ .* kernel_main ", said.text, re.MULTILINE) or ends == 2, said.text  # that one spoilt the stack
    assert "4 levels, from CR3" in said.text and "warning" not in said.text, said.text


def test_a_machine_that_cannot_switch_itself_off(rundir):
    ended = machine.run(rundir, CORE=1, APPEND="exit", MACHINE="microvm", MEM="16M")
    assert ended.status == 0 and "core is written" in ended.text, ended.text
    assert "machine_halt" in opened(rundir, "backtrace\n").text


def test_on_request_the_machine_goes_on(rundir):
    """Ctrl-A c; also more than once."""
    with machine.Machine(rundir, MEM="16M") as guest:
        guest.prompt()
        for line, areas in ("vmalloc 20K", 6), ("vmalloc 24K", 7):
            area = guest.run(line)[1][0]["va"]
            guest.com1.send("\x01c")
            guest.com1.expect("core is written")
            guest.com1.expect("\n")
            said = opened(rundir, "mm areas\ninfo threads\n")
            assert said.status == 0 and area in said.text and len(re.findall("^0x", said.text, re.MULTILINE)) == areas, said.text
        assert "help" in guest.command("help")


def test_before_paging_is_on(rundir):
    """QEMU then writes the core of a 32-bit CPU; our kernel's ELF file is for 64."""
    said = make("gdb", rundir, "break _start\ncontinue\nmm save\nkill\nmm open\ninfo registers rip\nbacktrace 1\n"
                "mm walk &words\ninfo threads\nx/i $pc\n", MEM="16M")
    dead = said.text.split("killed]\n")[1]
    assert said.status == 0 and "warning" not in dead and "_start () at boot/entry.S" in dead and "paging is off" in dead, said.text
    assert re.search("^rip +0x100020 ", dead, re.MULTILINE) and "LWP 2" in dead and re.search("=> 0x100020.*cli", dead), dead


def test_page_tables_are_spoilt(rundir):
    """Then the core still shows the kernel's own code and variables: they lie where they always do."""
    machine.run(rundir, CORE=1, APPEND="exit", MEM="16M")
    path = rundir / "core"
    found = core.Core(path)
    root, _ = found.tables()
    unmapped = path.read_bytes()
    table = struct.unpack_from("<Q", unmapped, 32)[0]
    zero = found.offset(root)
    clean = bytearray(unmapped[:table])  # as QEMU wrote it: its headers are those that hold physical memory
    clean[zero:zero + 4096] = bytes(4096)
    headers = [h for h in found.headers if not core.is_view(h)]
    path.write_bytes(clean)
    with open(path, "r+b") as file:
        core.write_headers(file, [h._replace(va=h.pa) if h.kind == core.LOAD else h for h in headers])
    said = opened(rundir, "print words.exit\nbacktrace 1\nmm walk &words\nx/2i kernel_main\n")
    assert "$1 = true" in said.text and "machine_halt" in said.text and "not present at level 4" in said.text, said.text


# What is wrong is said

def test_there_is_none(rundir):
    said = opened(rundir, "echo the script ran\\n")
    assert said.status == 2 and "there is no core" in said.text and "make run CORE=1" in said.text, said.text
    assert "the script ran" not in said.text


@pytest.mark.parametrize("contents, what", [
    (b"", "not even an ELF header"), (b"hello " * 100, "no ELF file of that kind"), (ELF, "no ELF file of that kind"),
    (None, "cut short"),
], ids=["empty", "text", "kernel", "cut"])
def test_it_is_none(rundir, contents, what):
    if contents is None:
        machine.run(rundir, CORE=1, APPEND="exit", MEM="16M")
        contents = (rundir / "core").read_bytes()
        table = struct.unpack_from("<Q", contents, 32)[0]
        contents = contents[:table][:64] + contents[64:]
        made_by_qemu = bytearray(contents)
        struct.pack_into("<I", made_by_qemu, table + 56 + 32, 1 << 30)  # p_filesz: more than there is
        contents = bytes(made_by_qemu)
    (rundir / "core").write_bytes(contents if isinstance(contents, bytes) else contents.read_bytes())
    said = opened(rundir, "")
    assert said.status == 2 and what in said.text and "Traceback" not in said.text, said.text


def test_of_another_kernel(rundir):
    machine.run(rundir, CORE=1, APPEND="exit", MEM="16M", KERNEL=ROOT / "build/tessera-check.elf")
    said = opened(rundir, "")
    assert "ran another kernel than build/tessera.elf" in said.text, said.text
    assert "another kernel" not in opened(rundir, "", KERNEL="build/tessera-check.elf").text


def test_qemu_cannot_write_it(rundir):
    (rundir / "core.new").mkdir()
    ended = machine.run(rundir, CORE=1, APPEND="exit", MEM="16M")
    assert ended.status == 0 and "run: no " in ended.text and "core" in last_line(ended.text.rsplit("run:", 1)[0]), ended.text


# The file, without gdb: memory on both sides of a hole, and page tables above 4 GiB

def fake(path, cr3, pieces):
    """A core as QEMU writes it, of one CPU. pieces: (physical address, length, {offset: bytes})."""
    state = bytearray(struct.pack("<II", 1, 440) + bytes(432))
    struct.pack_into("<5Q", state, 8 + 18 * 8 + 10 * 24, core.CR0_PG | 1, 0, 0, cr3, core.CR4_PAE)
    notes = core.note(b"QEMU", 0, bytes(state))
    at = 1 << 12
    headers = [core.Header(core.NOTE, 0, at, 0, 0, len(notes), len(notes), 0)]
    with open(path, "wb") as file:
        file.write(core.ELF_HEADER.pack(b"\x7fELF\2\1\1", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1 + len(pieces), 0, 0, 0))
        file.seek(at)
        file.write(notes)
        at += 1 << 12
        for pa, length, contents in pieces:
            headers.append(core.Header(core.LOAD, 0, at, pa, pa, length, length, 0))
            for offset, data in contents.items():
                file.seek(at + offset)
                file.write(data)
            at += length
        file.truncate(at)
        file.seek(64)
        file.write(b"".join(core.HEADER.pack(*h) for h in headers))


def test_memory_on_both_sides_of_a_hole(tmp_path):
    high, path = 1 << 32, tmp_path / "core"
    tables = {0x1000: struct.pack("<Q", high + 0x2003), 0x2000: struct.pack("<QQ", high + 0x3003, 0x40000000 | 0x83),
              0x3000: struct.pack("<Q", high + 0x4003), 0x4000: struct.pack("<QQQ", 0x5003, 0x6003, high + 0x7003)}
    fake(path, high + 0x1000, [(0, 1 << 31, {0x5000: b"low"}), (high, 1 << 30, tables | {0x7000: b"high"})])
    core.map_virtual(path)
    core.map_virtual(path)  # again: nothing
    found = core.Core(path)
    views = [(h.va, h.pa, h.in_file) for h in found.headers if core.is_view(h)]
    assert views == [(0, 0x5000, 0x2000), (0x2000, high + 0x7000, 0x1000), (core.IMAGE_BASE, 0, 1 << 30)]
    assert any(h[3:7] == (1 << 30,) * 4 for h in found.headers), "the page of 1 GiB, mapped where it lies"
    assert found.read(0x5000, 3) == b"low" and found.read(high + 0x7000, 4) == b"high"
    assert found.read((1 << 31) - 2, 4) == bytes(4), "the hole reads as zeros"
    assert paging.translate(found.read, *found.tables(), 0x2001) == high + 0x7001


def test_more_pieces_than_16_bits_can_count(tmp_path):
    """A hundred thousand scattered pages: gdb and we find the last one."""
    nr, path = 100_000, tmp_path / "core"
    page, tables = 1 << 12, {}
    leaves = -(-nr // 512)
    tables[0x1000] = struct.pack("<Q", 0x2003)
    tables[0x2000] = struct.pack("<Q", 0x3003)
    tables[0x3000] = struct.pack(f"<{leaves}Q", *(0x100003 + i * page for i in range(leaves)))
    for i in range(leaves):
        tables[0x100000 + i * page] = struct.pack("<512Q", *((1 << 29) - (i * 512 + j) * page | 3 if i * 512 + j < nr else 0
                                                            for j in range(512)))
    fake(path, 0x1000, [(0, (1 << 29) + page, tables | {(1 << 29) - (nr - 1) * page: b"the last"})])
    core.map_virtual(path)
    found = core.Core(path)
    assert len(found.headers) > 0xFFFF
    view = [h for h in found.headers if h.va == (nr - 1) * page and core.is_view(h)]
    assert len(view) == 1 and found.file[view[0].at:view[0].at + 8] == b"the last"
