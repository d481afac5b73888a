"""Many CPUs: all come, one that does not is left out, a panic on one stops the others and shows where they were.

What must go wrong is planted: machine code in a copy of the kernel, in the place of run_tests(), which the word
`test` calls, or on the way that a CPU comes; or, in RAM, a CPU in firmware's tables that is not there.
"""

import mmap
import re
import subprocess
import time

import pexpect
import pytest

from machine import ELF, LIMIT, ROOT
from test_exits import file_offset, symbol

IMAGE = 0xFFFFFFFF80000000
CHECKED = ROOT / "build/tessera-check.elf"


def assemble(directory, at, source):
    """The bytes of this machine code at this address. It may name any symbol of the kernel as k_name, k_name - IMAGE."""
    names = set(re.findall(r"\bk_(\w+)", source))
    symbols = [word for name in names for word in ("--defsym", f"k_{name}={symbol(name):#x}")]
    (directory / "plant.s").write_text(f".set IMAGE, {IMAGE:#x}\n{source}\n")
    subprocess.run(["gcc", "-c", "plant.s"], cwd=directory, check=True)
    subprocess.run(["ld", "--oformat", "binary", f"-Ttext={at:#x}", "-e", f"{at:#x}", *symbols, "plant.o", "-o",
                    "plant.bin"], cwd=directory, check=True)
    return (directory / "plant.bin").read_bytes()


def planted(directory, **sources):
    """A copy of the kernel with machine code over the beginning of these functions."""
    elf = bytearray(ELF.read_bytes())
    for name, source in sources.items():
        at = symbol(name)
        code = assemble(directory, at, source)
        elf[file_offset(elf, at):file_offset(elf, at) + len(code)] = code
    kernel = directory / "planted.elf"
    kernel.write_bytes(elf)
    return kernel


@pytest.mark.parametrize("shape", [
    "CPUS=1", "CPUS=2", "CPUS=8", "CPUS=32", "CPUS=64", "CPUS=32 LA57=1", "CPUS=8 BOOT=iso", "CPUS=8 MACHINE=pc",
    "CPUS=8 MACHINE=microvm", "CPUS=2 BOOT=uefi", "CPUS=8 QEMUFLAGS=-icount,shift=0", "CPUS=2 MEM=32M", "CPUS=4 MEM=6G"])
def test_all_cpus_come(run, shape):
    variables = dict(pair.split("=", 1) for pair in shape.replace("-icount,", "-icount\t").split(" "))
    ended = run(APPEND="test=smp/work test=smp/call_reaches exit", **variables)
    assert ended.status == 0, ended.text
    assert ended.records[0]["cpus"] == int(variables["CPUS"]), ended.text
    assert [r["result"] for r in ended.records if r["t"] == "test"] == ["pass"] * 2


@pytest.mark.xdist_group("busy")  # one after the other: they keep all of the host's CPUs busy
@pytest.mark.parametrize("cpus", [1, 3, 4])
def test_cpus_work_together(run, cpus):
    ended = run(APPEND="test=smp exit", CPUS=cpus, KERNEL=CHECKED)
    assert ended.status == 0, ended.text
    assert not [r for r in ended.records if r["t"] == "test" and r["result"] != "pass"]


def test_cpus_that_may_be_plugged_in_later_are_not_missed(run):
    ended = run(APPEND="exit", QEMUFLAGS="-smp 2,maxcpus=6")
    assert ended.status == 0 and ended.records[0]["cpus"] == 2 and "left out" not in ended.text, ended.text


# A panic, planted: what CPU 1 (or, of two, each) does when CPU 0 has it run `there`.
ON_CPU_1 = """
        lea there(%rip), %rsi
        mov $1, %edi
        xor %edx, %edx
        jmp k_run_on_cpu
there:  """
ON_BOTH = """
        lea meet(%rip), %rsi
        mov $2, %edi
        xor %edx, %edx
        jmp k_run_on_cpus
meet:   lock incl k_tests_failed
1:      pause
        cmpl $2, k_tests_failed
        jne 1b
        """
PANIC = """
        lea 2f(%rip), %rdi
        xor %eax, %eax
        jmp k_panic
2:      .asciz "planted by a test"
"""
WAIT_MASKED = """
        lea there(%rip), %rsi
        mov $1, %edi
        xor %edx, %edx
        call k_cpu_start
1:      pause
        cmpl $0, k_tests_failed
        je 1b
        """ + PANIC + """
there:  cli
        lock incl k_tests_failed
3:      pause
        jmp 3b
"""


def panic_of(run, tmp_path, source, cpus):
    ended = run(KERNEL=planted(tmp_path, run_tests=source), APPEND="test exit", CPUS=cpus)
    assert ended.status == 1, ended.text
    assert [r["t"] for r in ended.records[-2:]] == ["panic", "end"] and ended.records[-1]["status"] == "panic"
    assert ended.text.count("PANIC ") == 1, ended.text
    reporter = ended.records[-2]["cpu"]
    for cpu in set(range(cpus)) - {reporter}:
        assert len(re.findall(rf"^CPU {cpu} was at \w+\+0x", ended.text, re.M)) == 1, ended.text
    return ended.text, reporter


def test_panic_elsewhere_stops_all_and_shows_where_they_were(run, tmp_path):
    text, reporter = panic_of(run, tmp_path, ON_CPU_1 + PANIC, 4)
    assert reporter == 1 and "PANIC planted by a test\non CPU 1, called from" in text
    assert re.search(r"^CPU 0 was at \S+ <.* kernel_main\+", text, re.M), text
    assert len(re.findall(r"^CPU [23] was at cpu_sleep\+\S+ < ", text, re.M)) == 2, text


def test_panic_stops_a_cpu_that_masks_interrupts(run, tmp_path):
    text, reporter = panic_of(run, tmp_path, WAIT_MASKED, 2)
    assert reporter == 0 and re.search(r"^CPU 1 was at run_tests\+\S+ < ", text, re.M), text


def test_panic_in_the_midst_of_anothers(run, tmp_path):
    """CPU 1 takes long to write down its message. CPU 0, which began later, is faster: both are told."""
    text, reporter = panic_of(run, tmp_path, """
        lea there(%rip), %rsi
        mov $1, %edi
        xor %edx, %edx
        call k_cpu_start
1:      pause
        cmpq $0, k_said + 8
        je 1b
        """ + PANIC + """
there:  lea 3f(%rip), %rdi
        xor %eax, %eax
        jmp k_panic
3:      .asciz "the slow one%9999999d"
""", 3)
    assert reporter == 0 and "PANIC planted by a test\n" in text
    assert re.search(r"^at the same time CPU 1: the slow one *\nCPU 1 was at ", text, re.M), text


@pytest.mark.parametrize("round_", range(3))
def test_two_exceptions_at_once(run, tmp_path, round_):
    """One report, in one piece. The other CPU has or has not come as far."""
    text, reporter = panic_of(run, tmp_path, ON_BOTH + "ud2", 2)
    assert text.count("EXCEPTION") == 1
    assert re.search(rf"EXCEPTION 6.* on CPU {reporter}\n(  (\S+ +[0-9a-f]+ *){{3}}\n){{8}}PANIC #UD", text), text
    said = re.findall(r"^at the same time CPU (\d): (.*)", text, re.M)
    assert said in ([], [(str(1 - reporter), re.search("PANIC (.*)", text)[1])]), text


def test_stack_overflow_elsewhere(run, tmp_path):
    text, reporter = panic_of(run, tmp_path, ON_CPU_1 + "call there", 2)
    assert reporter == 1 and re.search("EXCEPTION 8, #DF double fault, .* on CPU 1", text)
    assert "could not push to the stack" in text and "in the guard page before it" in text


def wait_for_rip(guest, cpu, wanted):
    """Until that CPU of QEMU's is there, halted."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        registers = guest.hmp("info registers -a").split(f"CPU#{cpu}")[1]
        rip = int(re.search(r"[RE]IP=([0-9a-f]+)", registers)[1], 16)
        if rip in wanted and "HLT=1" in registers.split("CPU#")[0]:
            return
    raise AssertionError(f"CPU {cpu} is at {rip:#x}, not in {wanted}")


def still_sound(guest):
    text, records = guest.run("test smp")
    assert len(records) > 10 and not [r for r in records if r["result"] == "fail"], text
    assert "sound: nothing wrong found" in guest.command("check")


@pytest.mark.parametrize("cpus", [2, 3])
def test_a_cpu_that_comes_too_late_does_no_harm(boot, tmp_path, cpus):
    """CPU 1 arrives when the kernel has given up on it, and is waiting for CPU 2, which is slow, too.

    In units of 2^30 cycles (the TSC is the host's) patience is 8, and they take 9 to 10 and 3 to 4.
    """
    late = """.code32
        mov $0x10, %eax
        mov %eax, %ds
        mov $1, %eax
        cpuid
        shr $24, %ebx
        mov $10, %esi
        cmp $1, %ebx
        je 1f
        mov $4, %esi
1:      rdtsc
        shrd $30, %edx, %eax
        add %eax, %esi
2:      pause
        rdtsc
        shrd $30, %edx, %eax
        cmp %esi, %eax
        jb 2b
        jmp k_trampoline_end + 7"""
    guest = boot(KERNEL=planted(tmp_path, trampoline_end=".code32\njmp k_tour", tour=late), CPUS=cpus)
    text = guest.prompt()
    assert "CPU with APIC id 1 did not come up: left out" in text, text
    assert f" RAM, {['1 CPU', '2 CPUs'][cpus - 2]}," in text, text
    wait_for_rip(guest, 1, range(symbol("refuse") - IMAGE - 3, symbol("refuse") - IMAGE))
    still_sound(guest)


def test_a_cpu_named_that_is_not_there(tmp_path):
    """In RAM, while GRUB shows its menu: the MADT has an entry for each CPU that could be plugged in."""
    ram = tmp_path / "ram"
    console = pexpect.spawn("qemu-system-x86_64", [
        "-nodefaults", "-display", "none", "-no-reboot", "-accel", "tcg", "-m", "256M", "-machine",
        "q35,memory-backend=ram", "-object", f"memory-backend-file,id=ram,size=256M,share=on,mem-path={ram}",
        "-smp", "2,maxcpus=3", "-cdrom", str(ROOT / "build/tessera.iso"), "-serial", "stdio"],
        timeout=LIMIT, encoding="utf-8", codec_errors="replace")
    console.expect("the monitor")
    with open(ram, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        patched = sum(name_all_cpus(memory, at.start()) for at in re.finditer(b"APIC", memory))
    assert patched == 1
    console.send("\x1b[B" * 2 + "\r")
    console.expect("CPU with APIC id 2 did not come up: left out")
    console.expect(" RAM, 2 CPUs,")
    console.close(force=True)


def name_all_cpus(memory, at):
    """If this is a MADT: set every local APIC's `enabled`, and the sum right. True: there was one to set."""
    length = int.from_bytes(memory[at + 4:at + 8], "little")
    if not 44 < length < 4096 or sum(memory[at:at + length]) % 256:
        return False
    entry, changed = at + 44, 0
    while entry < at + length:
        if memory[entry] == 0 and memory[entry + 4] == 0:
            memory[entry + 4] = 1
            changed += 1
        entry += memory[entry + 1]
    memory[at + 9] = (memory[at + 9] - changed) % 256
    return changed == 1
