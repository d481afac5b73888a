"""How a run ends: tools/run's exit status, and its last line. The faults are planted in a copy of the kernel,
by writing a few bytes of machine code over the beginning of run_tests()."""

import re
import struct
import subprocess
import time

import pytest

from machine import ELF, LIMIT, Machine


def symbol(name):
    for line in subprocess.run(["nm", ELF], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.split()[2] == name:
            return int(line.split()[0], 16)
    raise KeyError(name)


def file_offset(elf, va):
    table, size, count = struct.unpack_from("<Q", elf, 32)[0], *struct.unpack_from("<HH", elf, 54)
    for i in range(count):
        kind, _, offset, start, _, in_file = struct.unpack_from("<IIQQQQ", elf, table + i * size)
        if kind == 1 and start <= va < start + in_file:
            return offset + va - start
    raise KeyError(hex(va))


def call_panic(at):
    """lea rdi, [rip + text]; xor eax, eax; jmp panic"""
    jump = symbol("panic") - (at + 14)
    return b"\x48\x8d\x3d\x07\0\0\0" + b"\x31\xc0" + b"\xe9" + struct.pack("<i", jump) + b"planted by a test\0"


def triple_fault(_):
    """push 0; push 0; lidt [rsp]; int3: an exception, and no table to find a handler in"""
    return b"\x6a\0\x6a\0\x0f\x01\x1c\x24\xcc"


def invalid_opcode(_):
    return b"\x0f\x0b"


def endless_loop(_):
    return b"\xeb\xfe"


def planted(tmp_path, code):
    elf, va = bytearray(ELF.read_bytes()), symbol("run_tests")
    patch, at = code(va), file_offset(elf, va)
    elf[at:at + len(patch)] = patch
    kernel = tmp_path / "planted.elf"
    kernel.write_bytes(elf)
    return kernel


def last_line(text):
    return text.strip().splitlines()[-1]


def test_pass_is_0(run):
    text, records, status = run(APPEND="test=vmarea exit")
    assert status == 0 and records[-1]["status"] == "pass", text
    assert "pass" in last_line(text)


def test_panic_is_1(run, tmp_path):
    text, records, status = run(KERNEL=planted(tmp_path, call_panic), APPEND="test exit")
    assert status == 1, text
    assert "PANIC planted by a test" in text
    assert [r["t"] for r in records[-2:]] == ["panic", "end"] and records[-1]["status"] == "panic"
    assert "kernel_main+0x" in text, "no backtrace"


def test_invalid_opcode_is_a_panic(run, tmp_path):
    text, _, status = run(KERNEL=planted(tmp_path, invalid_opcode), APPEND="test exit")
    assert status == 1 and "run_tests+0x0" in text and "rip" in text.lower()


def test_triple_fault_is_2(run, tmp_path):
    text, records, status = run(KERNEL=planted(tmp_path, triple_fault), APPEND="test exit")
    assert status == 2 and not [r for r in records if r["t"] in ("panic", "end")], text
    assert "died" in last_line(text) or "triple" in last_line(text)


def test_endless_loop_is_3(run, tmp_path):
    text, _, status = run(KERNEL=planted(tmp_path, endless_loop), APPEND="test exit", TIMEOUT=3)
    assert status == 3 and "hung" in last_line(text)
    assert re.search(r"\nrun: silent for \d+ s\n  CPU 0 is at run_tests\+0x0 < .*kernel_main\+0x.*\n  CPU 1 is at ", text), text


@pytest.mark.parametrize("typed, expected", [("exit", 0), ("reboot", 2)])
def test_leaving_the_monitor(monitor, typed, expected):
    monitor.com1.send(typed + "\r")
    assert monitor.finish()[2] == expected


def test_ctrl_c_in_an_endless_loop_says_where_and_then_ends(tmp_path):
    with Machine(tmp_path, KERNEL=planted(tmp_path, endless_loop), APPEND="test exit", CPUS=2) as machine:
        machine.com1.expect("run: Ctrl-A x ends QEMU; Ctrl-C says where the kernel is")
        machine.com1.expect("started over")
        wait_for_loop(machine)
        machine.com1.send("\x03")
        machine.com1.expect(r"run: Ctrl-C: the kernel is not at its prompt\r\n  CPU 0 is at run_tests\+0x0 < .*kernel_main\+0x")
        machine.com1.expect(r"  CPU 1 is at .*\r\nrun: Ctrl-C again ends QEMU")
        machine.com1.send("\x03")
        machine.com1.expect("run: ended by hand")


def wait_for_loop(machine):
    """Until QEMU finds CPU 0 in run_tests()."""
    deadline = time.monotonic() + LIMIT
    while f"RIP={symbol('run_tests'):016x}" not in machine.qmp("human-monitor-command", **{"command-line": "info registers"}):
        assert time.monotonic() < deadline


def test_ctrl_c_at_the_prompt_is_the_kernels(tmp_path):
    with Machine(tmp_path) as machine:
        machine.prompt()
        for _ in range(2):
            machine.com1.send("hel\x03")
            machine.com1.expect(r"hel\^C\r?\n")
        assert "sound: nothing wrong found" in machine.command("check")
