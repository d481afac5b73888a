"""make gdb, from its beginning to its end: it connects, stops where it is told to, and leaves nothing behind."""

import concurrent.futures
import os
import re
import signal

import pexpect
import pytest

import made
from machine import LIMIT
from made import PROMPT, command, make
from test_exits import call_panic, planted, triple_fault

LEVELS = pytest.mark.parametrize("levels", [4, 5])


@pytest.fixture
def rundir(tmp_path):
    yield tmp_path
    made.end_all(tmp_path)


@pytest.fixture
def terminal(rundir):
    """terminal(APPEND="…"): make gdb at a terminal, at its prompt."""
    children = []

    def start(**variables):
        children.append(made.at_terminal("gdb", rundir, **variables))
        children[-1].expect("console.txt")
        children[-1].expect(PROMPT)
        assert len(made.qemus(rundir)) == 1
        return children[-1]

    yield start
    for child in children:
        child.close(force=True)


def levels_of(walk):
    """How many tables a `mm walk` in this text went through."""
    return len(re.findall(r"^  P\w+ +\[ *\d+\]", walk, re.MULTILINE))


# Where it stops

BOOT_CODE = """
break _start
break paging_on
continue
backtrace
mm walk &words
continue
echo PG off:\\n
mm walk &words
python print("code at", hex(int(gdb.parse_and_eval("$pc"))), "CR0.PG", int(gdb.parse_and_eval("$cr0")) >> 31 & 1)
delete
tbreak boot_main
continue
python print("code at", hex(int(gdb.parse_and_eval("$pc"))), "CR0.PG", int(gdb.parse_and_eval("$cr0")) >> 31 & 1)
mm walk &words
"""


@LEVELS
def test_in_32_bit_boot_code(rundir, levels):
    """Its source is shown where it runs, 2 GiB below where it was linked; and there are no tables to walk yet."""
    said = make("gdb", rundir, BOOT_CODE, LA57=levels - 4)
    off, on = said.text.split("Temporary breakpoint 3", 1)
    assert said.status == 0 and re.search(r"hit Breakpoint 1.*, _start \(\) at boot/entry.S:\d+\n\d+\t+cli", off), off
    assert "#0  _start () at boot/entry.S" in off and off.count("paging is off") == 2 and not levels_of(off), off
    assert re.search(r"^code at 0x100[0-9a-f]{3} CR0.PG 0$", off, re.MULTILINE), off
    assert re.search(r"^code at 0xffffffff801[0-9a-f]{5} CR0.PG 1$", on, re.MULTILINE) and levels_of(on) == 3, on


@LEVELS
def test_break_in_vmalloc(rundir, levels):
    """Set while the CPU is in 16 bits, hit in 64. BREAK takes more than one."""
    said = make("gdb", rundir, "continue\ncontinue\nbacktrace 2\nmm walk $rsp\necho in vmalloc\\n\nfinish\nmm walk $rax\n", LA57=levels - 4,
                BREAK="kernel_main vmalloc", APPEND="tour")
    assert said.status == 0, said.text
    assert re.search(r"hit Breakpoint 1.*kernel_main.*hit Breakpoint 2.*vmalloc \(bytes=.*65536\)", said.text, re.DOTALL), said.text
    assert re.search(r"^#1 .* in tour_scatter \(\) at kernel/tour.c", said.text, re.MULTILINE), said.text
    stack, area = said.text.split("in vmalloc\n")
    assert levels_of(stack) == levels_of(area) == levels and "vmalloc" in area.split("may")[1], said.text


@LEVELS
def test_in_a_fault_handler(rundir, levels):
    """Before the kernel has said a word of it, $cr2 tells where, and a walk tells why."""
    va = 0xFFFFC90000000000 if levels == 4 else 0xFFA0000000000000
    said = make("gdb", rundir, f"hbreak trap if f->vector == 14\nmm type peek {va:#x}\ncontinue\nbacktrace\n"
                "printf \"cr2 %#lx\\n\", $cr2\nmm walk $cr2\n", LA57=levels - 4)
    assert f"cr2 {va:#x}\n" in said.text and "FAULT" not in said.text, said.text
    assert re.search(r"^#2 .* probe_read .*\n#3 .* peek .*\n(.*\n)*#\d+ .* kernel_main", said.text, re.MULTILINE), said.text
    walk = said.text.split("\ncr2 0x")[1]
    assert levels_of(walk) == levels and "not present" in walk, walk


OTHER_CPU = """
break paging_on
continue
continue
info threads
mm walk &words
thread 1
echo CPU 0:\\n
mm walk &words
delete
break ap_main
continue
echo in C:\\n
mm walk &words
"""


@LEVELS
def test_on_another_cpu(rundir, levels):
    """CPU 1 comes through the 32-bit code while CPU 0 has long been in C: each is asked for its own view."""
    said = make("gdb", rundir, OTHER_CPU.replace("continue\ncontinue", "continue\n" * (levels - 2)), LA57=levels - 4)
    boot, rest = said.text.split("CPU 0:\n")
    first, second = rest.split("in C:\n")
    assert re.search(r"^Thread 2 hit Breakpoint 1", boot, re.MULTILINE) and "paging is off" in boot, said.text
    assert re.search(r"^\* 2 .*CPU#1", boot, re.MULTILINE), boot
    assert levels_of(boot) == 0 and levels_of(first) == levels and levels_of(second) == levels, said.text
    assert re.search(r"^Thread 2 hit Breakpoint 2, ap_main", first, re.MULTILINE), first


def test_both_breakpoints_of_a_place_in_boot_code_are_where_it_may_run(rundir):
    """boot/entry.S has its symbols twice, and nothing else has."""
    said = make("gdb", rundir, "info address _start\nbreak _start\nbreak vmalloc\ninfo breakpoints\ninfo symbol &continue_at\n"
                "print (long *)&early_root\nprint sizeof(struct page)\ninfo line vmalloc\n")
    assert said.status == 0 and "_start. (2 locations)" in said.text, said.text
    assert re.search(r"Breakpoint 2 at 0xffffffff801[0-9a-f]{5}: file mm/vmalloc.c", said.text), said.text
    assert re.search(r"^\$1 = \(long \*\) 0xffffffff801[0-9a-f]{5}$", said.text, re.MULTILINE), said.text


# What the kernel says, and what it is told

def test_the_console_is_shown(rundir):
    said = make("gdb", rundir, "mm type vmalloc 64K\ntbreak vmalloc\ncontinue\nmm type help\ntbreak vm_areas_total\ntbreak cmd_help\n"
                "continue\n", APPEND="")
    assert "| Tessera: 256 MiB of RAM" in said.text and re.search(r"^\| tessera> vmalloc 64K$", said.text, re.MULTILINE), said.text
    assert said.text.index("| tessera> vmalloc 64K") < said.text.index("hit Temporary breakpoint 1, vmalloc"), "shown too late"
    assert "| 0xffffc90000" in said.text.split("hit Temporary breakpoint 1")[1], said.text
    assert "\r" not in said.text, repr(said.text)
    console = (rundir / "console.txt").read_text()
    assert "tessera> vmalloc 64K" in console, console


def test_colours_are_left_out(rundir, tmp_path):
    said = make("gdb", rundir, "continue\n", KERNEL=planted(tmp_path, call_panic), APPEND="color=1 test exit")
    assert "\x1b[1;31mPANIC" in (rundir / "console.txt").read_text() and "| PANIC planted by a test" in said.text, said.text


def test_a_power_off_is_shown_to_its_end(rundir):
    """The machine stays to be looked at; to run on is refused, for gdb would wait for ever."""
    said = make("gdb", rundir, "continue\nbacktrace\nmm walk $rsp\nstepi\n", APPEND="test=vmarea exit")
    assert re.search(r"^\| 1\.\.\d+\n(.*\n)*\| ok", said.text, re.MULTILINE), said.text
    assert "The machine is off" in said.text and re.search(r"^#\d .* kernel_main", said.text, re.MULTILINE), said.text
    assert levels_of(said.text) == 4 and "cannot run on: `mm boot`" in said.text and said.status == 2, said.text
    assert made.gone(rundir)


def test_a_triple_fault_is_shown_where_it_struck(rundir, tmp_path):
    kernel = planted(tmp_path, triple_fault)
    said = make("gdb", rundir, "continue\nbacktrace 2\nx/i $pc\n", KERNEL=kernel, APPEND="test exit")
    assert "The machine is off" in said.text and re.search(r"^#0 .* run_tests ", said.text, re.MULTILINE), said.text
    assert re.search(r"^=> 0x\w+ <run_tests\+8>:\s+int3", said.text, re.MULTILINE), said.text


def test_nobody_reads_what_is_typed(rundir):
    said = make("gdb", rundir, "kill\nmm type help\n")
    assert said.status != 0 and "nobody reads what is typed" in said.text and "mm boot" in said.text, said.text


def test_boot_once_more_as_another_machine(rundir):
    """Breakpoints stay; the machine before is ended; what is not said anew is as it was."""
    said = make("gdb", rundir, "continue\nmm walk $rsp\nmm boot LA57=1 CPUS=3 tour exit\necho again:\\n\ncontinue\nmm walk $rsp\n"
                "info threads\nmm boot MEM=64M\ncontinue\nmm walk $rsp\n", BREAK="vmalloc", APPEND="tour")
    once, again = said.text.split("again:\n")
    assert said.status == 0 and levels_of(once) == 4, said.text
    assert levels_of(again) == 10 and "256 MiB of RAM, 3 CPUs, 5-level" in again and "64 MiB of RAM, 3 CPUs, 5-level" in again, again
    assert made.gone(rundir)


# What is wrong is said, and nothing is left behind

@pytest.mark.parametrize("wrong, said", [
    ({"MEM": "banana"}, "MEM=banana: MEM must be a size"), ({"BREAK": "vmallok"}, "BREAK=vmallok"),
    ({"BREAK": "vmalloc vmallok"}, "BREAK=vmallok"), ({"QEMUFLAGS": "-bogus"}, "-bogus"),
    ({"CPU": "pentium9"}, "pentium9"), ({"BOOT": "floppy"}, "BOOT must be"),
])
def test_a_session_that_cannot_begin(rundir, wrong, said):
    done = make("gdb", rundir, "echo the script ran\n", **wrong)
    assert done.status == 2 and said in done.text and "the script ran" not in done.text, done.text
    assert "Traceback" not in done.text and made.gone(rundir), done.text


@pytest.mark.parametrize("line, said", [
    ("mm boot MEM=0", "MEM must be a size"), ("mm boot 'x", "usage: mm boot"), ("mm open", "a machine is there"),
    ("mm save /no/such/folder/core", "/no/such/folder/core"), ("mm nonsense", "`help mm` lists them"),
])
def test_commands_that_cannot_work(rundir, line, said):
    done = make("gdb", rundir, f"{line}\n")
    assert said in done.text and "Traceback" not in done.text and done.status == 2, done.text
    assert made.gone(rundir)


# QEMU ends with gdb, however that ends

def end_quit(child, _):
    child.sendline("quit")
    child.expect("y or n")
    child.sendline("y")


def end_eof(child, _):
    child.sendeof()
    child.expect("y or n")
    child.sendline("y")


def end_running(child, _):
    """Ctrl-C stops the machine, again and again, and does not end it."""
    command(child, "mm boot tour")
    for _ in range(20):
        child.sendline("continue")
        child.expect("Continuing")
        interrupt(child)
    end_quit(child, None)


def interrupt(child):
    """Ctrl-C. One that comes before gdb has let the machine go is lost: faster than a person, we type another."""
    for _ in range(12):
        child.sendintr()
        if child.expect(["SIGINT", pexpect.TIMEOUT], timeout=LIMIT / 12) == 0:
            return child.expect(PROMPT)
    raise AssertionError("Ctrl-C does not stop the machine")


def end_kill(child, rundir):
    child.sendline("kill")
    child.expect("y or n")
    child.sendline("y")
    child.expect(PROMPT)
    assert made.gone(rundir), "QEMU outlives `kill`"
    child.sendline("quit")


def end_detach(child, rundir):
    command(child, "detach")
    assert made.gone(rundir), "QEMU outlives `detach`"
    child.sendline("quit")


def end_disconnect(child, rundir):
    command(child, "disconnect")
    assert made.gone(rundir), "QEMU outlives `disconnect`"
    child.sendline("quit")


def end_hangup(child, _):
    """The terminal's window is closed."""
    child.close()


def end_by(number):
    def end(_, rundir):
        for pid in made.processes("gdb -q", str(rundir)):
            os.kill(pid, number)
    return end


ENDS = {"quit": end_quit, "eof": end_eof, "ctrl-c": end_running, "kill": end_kill, "detach": end_detach, "disconnect": end_disconnect,
        "hangup": end_hangup, "sigterm": end_by(signal.SIGTERM), "sigkill": end_by(signal.SIGKILL)}


@pytest.mark.parametrize("how", ENDS)
def test_qemu_ends_with_gdb(rundir, terminal, how):
    child = terminal(GDBFLAGS=f"-nx -ex 'set style enabled off' -ex 'set enable-bracketed-paste off' -ex 'echo {rundir}\\n'")
    ENDS[how](child, rundir)
    if not child.closed:
        child.expect(pexpect.EOF)
    assert made.gone(rundir), f"QEMU outlives gdb: {how}"


@pytest.mark.parametrize("running", [False, True])
def test_qemu_ends_with_gdb_that_is_killed_while_it_runs(rundir, terminal, running):
    """Nobody is left to tell QEMU."""
    child = terminal(GDBFLAGS=f"-nx -ex 'echo {rundir}\\n'")
    if running:
        child.sendline("continue")
        child.expect("Continuing")
    end_by(signal.SIGKILL)(child, rundir)
    assert made.gone(rundir)


def test_source_is_shown_at_a_terminal(terminal):
    """gdb's TUI: where the kernel stops, its line is on the screen."""
    child = terminal(TUI="1", BREAK="vmalloc", APPEND="tour")
    child.sendline("continue")
    child.expect("alloc_fast")
    child.expect(PROMPT)
    end_quit(child, None)
    child.expect(pexpect.EOF)


def test_what_the_kernel_says_is_shown_while_it_runs(terminal):
    child = terminal(APPEND="tour")
    child.sendline("continue")
    child.expect(r"\| ==== 11\.")
    interrupt(child)


def test_several_students_at_once(tmp_path):
    """Each has a machine of its own, that stops where he told it to."""
    def student(name):
        return make("gdb", tmp_path / name, f"continue\nmm walk $rsp\necho {name}\\n\n", BREAK="vmalloc", APPEND="tour",
                    LA57=len(name) % 2)
    names = "ada", "bela", "carla", "dora"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for name, said in zip(names, pool.map(student, names)):
            assert said.status == 0 and levels_of(said.text) == 4 + len(name) % 2 and f"\n{name}\n" in said.text, said.text
    assert made.gone(tmp_path)


def test_what_qemu_prints_at_length_arrives(rundir):
    """Thousands of packets, each of which gdb answers while QEMU goes on: nobody waits for the other for ever."""
    said = make("gdb", rundir, "tbreak kernel_main\ncontinue\nmonitor info tlb\nmonitor info registers\n", MEM="64M")
    assert len(re.findall("^[0-9a-f]{16}: ", said.text, re.MULTILINE)) > 2000 and "CR3=" in said.text, said.text[-2000:]
