"""Hostile input: whatever a person, a script, a loader or a noisy line may say that is wrong.

Nothing hangs, nothing is lost, and each gets a message that names the wrong value and what would be
right. The rows are made from the kernel's own lists (`help`, the table in kernel/words.c, the one in
tools/run, `make help`), so what is added there has rows at once, or a test says that they are missing.
"""

import importlib.machinery
import importlib.util
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import threading
import time

import pexpect
import pytest

from machine import ELF, LIMIT, ROOT
from test_exits import file_offset, symbol

OVER = str(1 << 64)
SOUND = "sound: nothing wrong found"


def load_tools_run():
    loader = importlib.machinery.SourceFileLoader("tools_run", str(ROOT / "tools/run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tools_run", loader))
    loader.exec_module(module)
    return module


# Variables of tools/run

VARIABLES = load_tools_run().VARIABLES
JUNK = [" ", "-1", "x", "0x", OVER, "1 1", "'", '"', "$(x)", "ü", "1\n", "%s", "🙂"]
FREE = {"KERNEL", "ISO", "APPEND", "RUNDIR", "RAMFILE", "QMP", "QEMUFLAGS"}  # any one line: their rows are here
BAD_VALUES = {
    "MEM": JUNK + ["0", "0M", "01M", "4.5G", "64KK", "64Q", "1M", "1K", OVER + "T", "8192P"],
    "CPUS": JUNK + ["0", "65", "2.0", "1e1", "02"],
    "BOOT": JUNK + ["floppy", "ISO", "iso|direct", "iso direct"],
    "CPU": ["pentium9", ",", ",+nx", "qemu64,+nonsense", "qemu64,enforce,+sgx", "'", "ü", "-1"],
    "LA57": JUNK + ["2", "on", "00"],
    "MACHINE": JUNK + ["toaster", "Q35", "q35,bogus=1"],
    "ACCEL": JUNK + ["magic", "TCG", "tcg,bogus=1", "tcg tcg"],
    "TIMEOUT": [v for v in JUNK if v != OVER] + ["soon", "nan", "inf", "1e3", ".", "1.", "60s"],
    "GDB": JUNK + ["2", "yes", "serve"],
    "PORT": [v for v in JUNK if v != "-1"] + ["-1", "65536", "99999", "http"],
    "CORE": JUNK + ["2", "yes"],
    "V": JUNK + ["2", "yes"],
    "KERNEL": ["no/such/file", "/", "Makefile", "x" * 300, "x" * 1001, "a\nb", "ü"],
    "ISO": ["no/such/file", "x" * 300, "ü"],
    "APPEND": ["x" * 1001, "a\nb"],
    "RUNDIR": ["Makefile", "Makefile/x", "/proc/none", "x" * 300],
    "RAMFILE": ["no/such/folder/ram", "x/y"],
    "QMP": ["no/such/folder/qmp", "x" * 200],
    "QEMUFLAGS": ["'", '"x', "-bogus", "stray.img", "-m 1Q", "\\"],
}


def test_each_variable_has_rows():
    assert set(BAD_VALUES) == set(VARIABLES)


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_variable_is_named(name, tmp_path):
    """Each wrong value by itself: status 4, and one line with the name, the value and what it must be."""
    for value in BAD_VALUES[name]:
        variables = {k: v for k, v in os.environ.items() if k not in VARIABLES}
        variables |= {"RUNDIR": str(tmp_path), "BOOT": "iso" if name == "ISO" else "direct", name: value}
        done = subprocess.run([ROOT / "tools/run"], env=variables, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=LIMIT,
                              capture_output=True, text=True)
        text = done.stdout + done.stderr
        assert done.returncode == 4, f"{name}={value!r}: status {done.returncode}: {text}"
        assert "Traceback" not in text, text
        told = value.split()[-1] if name == "QEMUFLAGS" else value.split("+")[-1]  # QEMU names only that
        assert told in text or told[:100] in text or name == "APPEND", f"{name}={value!r} is not named: {text}"
        meaning = VARIABLES[name][2]
        assert name in FREE or f"{name} must be {meaning}" in text or "qemu-system-x86_64:" in text \
            or "M or more" in text, f"{name}={value!r}: {text}"


@pytest.mark.parametrize("together, said", [
    ("MACHINE=microvm BOOT=iso", "add BOOT=direct"), ("MACHINE=microvm BOOT=uefi", "add BOOT=direct"),
    ("LA57=1 CPU=pentium3,enforce", "long mode"), ("CPU=qemu64,-la57,+nonsense LA57=1", "nonsense"),
])
def test_variables_that_contradict_each_other(run, together, said):
    ended = run(APPEND="exit", **dict(pair.split("=", 1) for pair in together.split()))
    assert ended.status in (1, 4) and said in ended.text, ended.text


# Variables of make. Those that it hands on to tools/run or to a tool are not its own affair.

MAKE = {
    "CHECK": ["junk", "2", "-1", "0 1", "on", "ü"], "KASAN": ["junk", "2"], "UBSAN": ["junk", "-1"], "V": ["junk", "2", "1 1"], "LEAN": ["junk", "yes", "0 0"],
    "CC": ["nosuchcompiler", "-O2", "/no/such/cc"], "APPEND": [], "TEST": [], "TIME": [], "TARGET": [], "NO_INSTALL": [], "GROUP": [], "GROUPS": [],
    "BREAK": [], "GDBFLAGS": [], "TUI": [], "KEEP": [], "SEED": [], "JSON": [], "JUNIT": [], "GRADESCOPE": [], "WRONG": [], "CELLS": [], "JOBS": [], "HOST": [],
    "UPDATE": [],
} | {name: [] for name in VARIABLES}


def make(*words, **variables):
    inherited = {k: v for k, v in os.environ.items() if k not in MAKE and k != "MAKEFLAGS"}
    return subprocess.run(["make", "-s", "-C", ROOT, *words], env=inherited | variables, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=3 * LIMIT)


def test_each_variable_of_make_has_rows():
    named = set(re.findall(r"\b([A-Z][A-Z0-9_]+|V)=", make("help").stdout))
    assert named - {"LAB", "OUT"} <= set(MAKE), "these have no rows here"
    assert {"CHECK", "CC", "LEAN"} <= named


@pytest.mark.parametrize("name", [name for name in MAKE if MAKE[name] and name != "KERNEL"])
def test_a_bad_variable_of_make_is_named(name):
    for value in MAKE[name]:
        done = make("all", f"{name}={value}", NO_INSTALL="1")
        assert done.returncode == 2 and f"{name}={value}" in done.stderr, f"{name}={value}: {done.stderr}"
        assert "must be" in done.stderr or "leave CC= away" in done.stderr, done.stderr


NUMBERS = [("tools/fuzz", "TIME"), ("tools/fuzz", "CORES"), ("tools/labs/check.py", "JOBS"), ("tools/grade", "JOBS"), ("tests/mutants/run", "JOBS"),
           ("tools/test-all", "FUZZ_TIME"), ("tools/test-all", "MUTANTS"), ("tools/test", "CORES"), ("tests/mutants/run", "SEED"),
           ("tests/coverage/run", "CORES"), ("tests/spin/run", "CORES")]


@pytest.mark.parametrize("tool, name", NUMBERS)
def test_a_number_that_is_none_is_told(tool, name):
    for value in ["x", "0", "-1", "1.5", "1 1", "1" * 7, "\u0661"]:
        done = subprocess.run([ROOT / tool], env=os.environ | {"LAB": "1", name: value}, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=LIMIT,
                              capture_output=True, text=True)
        assert done.returncode and f"{name}={value}: {name} must be a number" in done.stderr, f"{name}={value}: {done.stderr}"


def test_a_machine_that_is_none_is_told():
    before = [(ROOT / f"docs/machines.{kind}").read_bytes() for kind in ("md", "json")]
    done = make("machines", "CELLS=nosuch")
    assert done.returncode and "no machine is called 'nosuch'" in done.stderr
    assert before == [(ROOT / f"docs/machines.{kind}").read_bytes() for kind in ("md", "json")]


# What is not installed. PATH leads to a folder with all commands but one.

MISSING = {"qemu-system-x86_64": "qemu-system-x86", "gcc": "gcc", "ld": "binutils", "grub-mkrescue": "grub-common",
           "xorriso": "xorriso", "mformat": "mtools", "cmp": "diffutils"}


@pytest.mark.parametrize("command", MISSING)
def test_a_missing_tool_is_named_with_its_package(tmp_path, command):
    for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin", os.path.dirname(shutil.which("python3"))):
        for name in os.listdir(folder):
            if name != command and not (tmp_path / name).exists():
                (tmp_path / name).symlink_to(os.path.join(folder, name))
    done = make("run", PATH=str(tmp_path), NO_INSTALL="1")
    assert done.returncode == 2, done.stderr
    line = re.search(r"apt-get install.*", done.stderr)
    assert line and MISSING[command] in line[0].split(), done.stdout + done.stderr


def test_tools_run_without_qemu(tmp_path):
    (tmp_path / "python3").symlink_to(sys.executable)
    (tmp_path / "env").symlink_to("/usr/bin/env")
    done = subprocess.run([ROOT / "tools/run"], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=LIMIT, env={"PATH": str(tmp_path), "BOOT": "direct", "RUNDIR": str(tmp_path / "run")})
    assert done.returncode == 4 and "qemu-system-x86" in done.stderr and "make deps" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


# Kernel words: {name with = if it takes a value: (what it takes, kind, least)}

WORDS = {name: (takes, kind, least) for name, takes, kind, least in re.findall(
    r'\{ "([a-z0-9]+=?)", "([^"]*)", ([A-Z]+), [^}]*?([^,}]+) \}', (ROOT / "kernel/words.c").read_text(encoding="utf-8"))}
NUMBERS = ["", "x", "-1", "+1", "0x", "0xg", OVER, "0x10000000000000000", "16E1", "1Q", "KK", "4.5K", "1e3", "ü", "'1'",
           '"64K"', "1=1", "1K1", "999999999P", "K"]


def bad_words(name):
    takes, kind, least = WORDS[name]
    if not name.endswith("="):
        return [w for w in (name + "=", name + "=1") if name + "=" not in WORDS] + [
            name.upper(), name[0], name + "\xfc", f'"{name}"', "-" + name]
    if kind == "NUMBER":
        return [name + v for v in NUMBERS] + [name[:-1]] + ([name + "1", name + "0"] if "KiB" in least + takes
                                                           or "from" in takes else [])
    if kind == "CHOICE":
        choices = takes.split("|")
        return [name[:-1]] + [name + v for v in ["", "|", takes, "x", choices[0].upper() if choices[0].isalpha() else "2",
                                                 choices[0] + choices[1], "'" + choices[0] + "'", "-1", OVER, "ü"]]
    return []


def test_words_are_those_documented():
    text = (ROOT / "docs/kernel-words.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`([a-z0-9]+=?)[^`]*`", "".join(re.findall(r"^\| ([^|]*)", text, re.M))))
    assert len(WORDS) > 10 and {w.rstrip("=") for w in WORDS} <= {w.rstrip("=") for w in documented}
    assert {kind for _, kind, _ in WORDS.values()} == {"WORK", "FLAG", "NUMBER", "CHOICE"}, "a new kind has no rows here"


@pytest.mark.parametrize("name", WORDS)
def test_a_bad_word_is_named_and_survived(run, name):
    bad = [word for word in bad_words(name) if word not in WORDS]
    for part in (bad[i:i + 20] for i in range(0, len(bad), 20)):
        ended = run("check", APPEND=" ".join(part))
        assert ended.status == 0 and SOUND in ended.text, ended.text
        for word in part:
            shown = [line for line in ended.text.splitlines() if f"'{word}' has no effect: did you mean" in line]
            assert len(shown) == 1, f"{word}: {ended.text}"
            assert WORDS[name][0] in shown[0] or name == "test" or "docs/kernel-words.md" in shown[0], shown[0]


# (words, a part of what is said, the exit statuses that are right). What contradicts itself, and limits.
EXTREMES = [
    ("stress=junk exit", "'junk'", (1,)), ("stress=-1 exit", "'-1'", (1,)),
    (f"stress={OVER} exit", f"'{OVER}'", (1,)), ("stress=5x exit", "'5x'", (1,)), ("stress=0 exit", "'0'", (1,)),
    ("test=no-such-test exit", "'no-such-test'", (0, 1)), ("test=%s%n exit", "'%s%n'", (0, 1)),
    ("test=ü exit", "'ü'", (0, 1)), ("exit exit exit", "", (0,)),
    ("seed=1 seed=2 test=words exit", "# seed 2", (0,)), ("tlb=lazy tlb=eager tlb=lazy test=tlb exit", "ok", (0,)),
    ("la57=on la57=off exit", "4-level", (0,)), ("color=1 color=0 records=off records=com2 exit", "", (0,)),
    ("vmalloc=16K test=words exit", "ok", (0,)), ("vmalloc=16383 exit", "from 16K up", (0,)),
    ("vmalloc=18446744073709551615 test=vmalloc/ exit", "ok", (0,)), ("mem=18446744073709551615 exit", "256 MiB", (0,)),
    ("mem=4M exit", "", (0, 1)), ("mem=4194303 exit", "from 4M up", (0,)), ("mem=5M vmalloc=16K tour exit", "", (0, 1)),
    ("seed=18446744073709551615 shuffle=18446744073709551615 test=vmarea exit", "ok", (0,)),
    ("shuffle=0 shuffle=1 mem=6M test=page_alloc exit", "", (0, 1)), ("records=com1 color=1 test=words exit", "ok", (0,)),
]


@pytest.mark.parametrize("words, said, statuses", EXTREMES, ids=[row[0].encode("ascii", "replace") for row in EXTREMES])
def test_words_that_go_to_the_limit(run, words, said, statuses):
    ended = run(APPEND=words)
    assert ended.status in statuses and said in ended.text, f"status {ended.status}: {ended.text}"
    assert ended.status == 0 or "PANIC" in ended.text or "'" in ended.text or "[FALSE]" in ended.text.upper(), ended.text


# Monitor commands

BAD_NUMBERS = {
    "SIZE": ["", "x", "-1", "0x", OVER, "64Q", "1KK", "4.5K", "'1'", '"1"', "0x1g", "16777216T", "%s"],
    "VA": ["x", "-1", "0x", "12345678901234567", "0x10000000000000000", "4.5", "'0'", "g", "%n", "64K"],
}
BAD_TEXTS = {  # of those who take words: (typed, a part of the answer)
    "fault": [("fault q 0", "'q'"), ("fault rw 0", "'rw'"), ("fault ' 0", "'''"), ("fault R 0", "'R'")],
    "protect": [("protect q 0", "'q'"), ("protect rox 0", "'rox'"), ("protect ro 0", "refused: "),
                ("protect ro ffff888000001000", "refused: "), ("protect x 0 ffffffffffffffff", "refused: ")],
    "stress": [("stress junk", "'junk'"), ("stress -1", "'-1'"), (f"stress {OVER}", OVER), ("stress 0", "'0'"),
               ("stress 1 99", "on 153 CPUs"), ("stress 5x", "'5x'"), ("stress 1s1", "'1s1'")],
    "test": [("test no-such-test", "'no-such-test'"), ("test %s%n", "'%s%n'")],
    "bench": [("bench no-such-load", "'no-such-load'"), ("bench %s%n", "'%s%n'")],
}


def commands(monitor):
    """{name: its arguments, as `help` shows them}"""
    lines = re.findall(r"^(\w+) +((?:\[?[A-Za-z|]+\]?(?:\.\.\.)? )*)? *(.+)$", monitor.command("help"), re.M)
    source = "".join((ROOT / f).read_text(encoding="utf-8") for f in subprocess.run(
        ["git", "ls-files", "*.c", ":!labs", ":!tests/labs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    known = dict(re.findall(r'^COMMAND\((\w+), "([^"]*)"', source, re.M))
    assert {name for name, *_ in lines} - {"A"} == set(known), "help and the commands in the source differ"
    return known


def rows_for(name, args):
    """(typed, a part of the answer) for each argument: wrong values; too few and too many of them."""
    words = args.split()
    needed = [w for w in words if w[0] != "["]
    good = {"VA": "0", "PA": "0", "PA...": "0", "SIZE": "1", "BYTE": "0", "LAST": "0", "CPUS": "1", "r|w|x": "r",
            "ro|rw|x|nx": "nx", "PAGES": "1"}
    fill = [good.get(w.strip("[]"), "x") for w in words]
    if needed:
        yield name, f"usage: {name}"
    if len(needed) > 1:
        yield f"{name} {fill[0]}", f"usage: {name}"
    if "..." not in args:
        yield " ".join([name, *fill, "x"]), f"usage: {name}"
        yield " ".join([name, *fill] + ["1"] * 20), f"usage: {name}"
    for i, word in enumerate(w.strip("[]") for w in words):
        if word[0].isupper():
            for bad in BAD_NUMBERS["SIZE" if word[0] == "S" else "VA"]:
                if bad:
                    yield " ".join([name, *fill[:i], bad, *fill[i + 1:]]), f"'{bad}' is no "
    yield from BAD_TEXTS.get(name, [])


def test_each_command_says_what_is_wrong(monitor):
    known, nr = commands(monitor), 0
    assert {name for name, args in known.items() if re.search("[a-z]", args)} <= set(BAD_TEXTS), "no rows for these words"
    monitor.command("vmalloc 1T")
    before = monitor.run("frames")[1], monitor.run("areas")[1]
    for name, args in known.items():
        for line, part in rows_for(name, args):
            text = monitor.command(line)
            assert part in text, f"{line!r} is answered with {text!r}"
            nr += 1
    after = monitor.run("frames")[1], monitor.run("areas")[1]
    assert [[r | {"seq": 0} for r in part] for part in after] == [[r | {"seq": 0} for r in part] for part in before]
    assert SOUND in monitor.command("check")
    assert nr > 150, "so few rows"


# Pointers that no one should follow

def test_pointers_into_nowhere_and_into_page_tables(monitor):
    area = monitor.run("vmalloc 64K")[1][0]
    va = int(area["va"], 16)
    tables = sorted({int(a, 16) for a in re.findall(r"0x[0-9a-f]{16}", monitor.command(f"walk {va:x}"))} - {va})
    monitor.qmp("stop")
    cr3 = int(re.search(r"CR3=([0-9a-f]+)", monitor.hmp("info registers"))[1], 16)
    monitor.qmp("cont")
    layout = {r["name"]: int(r["start"], 16) for r in monitor.run("layout")[1]}
    direct = next(v for name, v in layout.items() if name == "direct")
    frames = next(v for name, v in layout.items() if name == "vmemmap")
    table = direct + (cr3 & ~0xfff)
    pointers = [0, 1, 0xfff, 1 << 47, (1 << 64) - (1 << 47) - 1, 1 << 63, 0xdeadbeefdeadbeef, (1 << 64) - 1, (1 << 64) - 8,
                va - 1, va - 4096, va + 65536, layout["text"], layout["vmalloc"], direct, direct + (1 << 45), frames,
                table, table + 8, *tables[:8]]
    for p in pointers:
        for command in ("walk", "map", "alias", "vfree", "kfree"):
            text = monitor.command(f"{command} {p:x}")
            assert text.strip() or (command == "vfree" and p == 0) or (command == "kfree" and p == 0), f"{command} {p:x}"
        text = monitor.command(f"peek {p:x} 1")
        byte = re.search(r"^0x[0-9a-f]{16}  ([0-9a-f]{2})\s*$", text, re.M)
        assert byte or "likely" in text, text
        text = monitor.command(f"poke {p:x} {byte[1] if byte else '1'}")
        assert "likely" in text or "was" in text, text
        assert "likely" in monitor.command(f"fault x {p:x}") or p == layout["text"] or not byte, f"fault x {p:x}"
    assert [r["va"] for r in monitor.run("areas")[1]].count(area["va"]) == 1, "the area was freed by a wrong pointer"
    assert SOUND in monitor.command("check")
    assert monitor.command(f"vfree {va:x}") == ""


# What the loader leaves. A copy of the kernel starts at a few bytes that spoil PVH's start_info before they jump
# to the true beginning; they lie over run_tests(), which is not called. 32 bits, no paging, EBX: start_info.

FIELDS = {"magic": 0, "version": 4, "flags": 8, "nr_modules": 12, "modules": 16, "modules+4": 20, "cmdline": 24,
          "cmdline+4": 28, "rsdp": 32, "rsdp+4": 36, "map": 40, "map+4": 44, "entries": 48, "reserved": 52}
NEEDED = {"magic": (0, 0xffffffff), "version": (0,), "map": (0,), "map+4": (0xffffffff,), "entries": (0,)}  # wrong: no boot
ENTRY = {"start": 0, "start+4": 4, "bytes": 8, "bytes+4": 12, "type": 16}
VALUES = [0, 1, 0xfff, 0x7ffffff8, 0x80000000, 0xfffffff0, 0xffffffff]


def spoilt_kernel(tmp_path, stores):
    """stores: (offset in start_info or None: in the map, offset there, value)"""
    elf, va = bytearray(ELF.read_bytes()), symbol("run_tests")
    base = symbol("__image_start") - 0x100000
    code = b"".join(b"\xc7\x83" + struct.pack("<II", offset, value) if not in_map else
                    b"\x8b\x73\x28" + b"\xc7\x86" + struct.pack("<II", offset, value) for in_map, offset, value in stores)
    code += b"\xe9" + struct.pack("<i", symbol("_start") - (va + len(code) + 5))
    at = file_offset(elf, va)
    elf[at:at + len(code)] = code
    note = elf.index(struct.pack("<III", 4, 8, 18) + b"Xen\0") + 16
    assert struct.unpack_from("<Q", elf, note)[0] == symbol("_start") - base
    struct.pack_into("<Q", elf, note, va - base)
    kernel = tmp_path / "spoilt.elf"
    kernel.write_bytes(elf)
    return kernel


def boots_or_says_why(run, tmp_path, stores):
    ended = run("check\nvmalloc 64K\nexit\n", KERNEL=spoilt_kernel(tmp_path, stores), APPEND="records=com2")
    if ended.status == 0:
        assert SOUND in ended.text and "16 pages" in ended.text, f"{stores}: {ended.text}"
    else:
        assert ended.status == 1, f"{stores}: status {ended.status}: {ended.text}"
        assert "PANIC" in ended.text or "boot: " in ended.text, f"{stores}: {ended.text}"
    return ended


def test_start_info_unspoilt_boots(run, tmp_path):
    assert boots_or_says_why(run, tmp_path, [(False, 52, 0)]).status == 0


@pytest.mark.parametrize("field", FIELDS)
def test_start_info_spoilt(run, tmp_path, field):
    for value in (0, 0xffffffff):
        ended = boots_or_says_why(run, tmp_path, [(False, FIELDS[field], value)])
        if field in NEEDED and value in NEEDED[field]:
            assert ended.status == 1 and "boot: " in ended.text, f"{value:x} was believed: {ended.text}"


@pytest.mark.long
@pytest.mark.parametrize("field", FIELDS)
def test_start_info_spoilt_in_each_way(run, tmp_path, field):
    for value in VALUES:
        boots_or_says_why(run, tmp_path, [(False, FIELDS[field], value)])


@pytest.mark.long
@pytest.mark.parametrize("field", ENTRY)
@pytest.mark.parametrize("entry", range(6))
def test_memory_map_spoilt(run, tmp_path, entry, field):
    for value in VALUES:
        boots_or_says_why(run, tmp_path, [(True, entry * 24 + ENTRY[field], value)])


def ranges(*entries):
    """A whole map instead: (start, bytes, type)"""
    stores = [(False, 48, len(entries))]
    for i, (start, nr, kind) in enumerate(entries):
        words = start & 0xffffffff, start >> 32, nr & 0xffffffff, nr >> 32, kind, 0
        stores += [(True, i * 24 + j * 4, word) for j, word in enumerate(words)]
    return stores


RAM = (0x100000, 0xff00000 - 0x20000, 1)
TOP = (1 << 64) - 4096
MAPS = {  # name: (entries, must it boot?)
    "unsorted": (ranges(RAM, (0, 0x9f000, 1), (0xf0000, 0x10000, 2)), True),
    "overlapping": (ranges(RAM, RAM, (0x200000, 0x400000, 1), (0x80000, 0x100000, 1), (0, 0x9f000, 1)), True),
    "reserved in the midst": (ranges(RAM, (0x2000000, 0x100000, 2), (0x2080000, 0x1000, 3), (0, 0x9f000, 1)), True),
    "wrapping": (ranges((0, 0x9f000, 1), RAM, (TOP, 0x2000, 1), (1 << 63, 1 << 63, 2)), True),
    "zero-length": (ranges((0, 0, 1), RAM, (0x100000, 0, 1), (0x300000, 0, 2), (0, 0x9f000, 1)), True),
    "unknown types": (ranges(RAM, (0, 0x9f000, 1), (0x4000000, 0x1000, 77), (0x5000000, 0x1000, 0xffffffff)), True),
    "not at pages' borders": (ranges((0x100001, 0xfe00001, 1), (1, 0x9e0ff, 1)), True),
    "all reserved": (ranges((0, 1 << 63, 2)), False),
    "absent": ([(False, 48, 0)], False),
    "all zero": (ranges((0, 0, 0), (0, 0, 0)), False),
    "the image reserved": (ranges((0, 0x9f000, 1), (0x100000, 0x400000, 2), (0x500000, 0xf000000, 1)), None),
    "below 1 MiB only": (ranges((0, 0x9f000, 1)), None),
}


@pytest.mark.parametrize("name", MAPS)
def test_memory_maps_that_firmware_might_leave(run, tmp_path, name):
    stores, must = MAPS[name]
    ended = boots_or_says_why(run, tmp_path, stores)
    assert must is None or (ended.status == 0) == must, f"status {ended.status}: {ended.text}"


# A noisy line

def noise(machine, seconds, seed, quiet=b""):
    """Random bytes to COM1 as fast as they are taken. (Ctrl-A is tools/run's; completed lines are not run.)"""
    dice, end, sent = random.Random(seed), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = dice.randbytes(512).replace(b"\x01", b"\x01\x01").replace(b"\t", b"\t\x15")
        os.write(machine.com1.fileno(), data)
        sent += len(data)
    return sent


def survives_noise(machine, seconds, seed):
    """While it writes, somebody must read, or both would wait."""
    print("seed", seed)
    counts, machine.com1.logfile_read = [], None
    writer = threading.Thread(target=lambda: counts.append(noise(machine, seconds, seed)))
    writer.start()
    while writer.is_alive():
        try:
            machine.com1.read_nonblocking(1 << 16, timeout=0.1)
        except pexpect.TIMEOUT:
            pass
    machine.com1.logfile_read = machine.log
    machine.com1.send("\r\x15echo-is-back\r")
    machine.com1.expect("there is no command 'echo-is-back'")
    machine.prompt()
    assert SOUND in machine.command("check")
    assert machine.run("vmalloc 64K")[1][0]["pages"] == 16
    return counts[0]


@pytest.mark.parametrize("seconds", [1.5, pytest.param(10, marks=pytest.mark.long)])
def test_noise_at_the_prompt(monitor, seconds):
    assert survives_noise(monitor, seconds, random.randrange(1 << 32)) > 1000


@pytest.mark.parametrize("seconds", [1, pytest.param(10, marks=pytest.mark.long)])
def test_noise_during_the_tour(boot, seconds):
    machine = boot(APPEND="tour")
    machine.com1.expect("==== 1")
    survives_noise(machine, seconds, random.randrange(1 << 32))
    assert not [r for r in machine.com2.new() if r["t"] in ("panic", "end")]


# Random lines

class Dice(random.Random):
    """A grammar of lines. Own areas and blocks are known, so that some lines are right, too."""

    def __init__(self, seed, names):
        super().__init__(seed)
        self.names, self.areas, self.blocks = names, [], []

    def number(self):
        kind = self.randrange(6)
        if kind == 0:
            return str(self.choice([0, 1, 4095, 4096, 4097, 65536, 1 << 31, 1 << 32, 1 << 47, (1 << 63) - 1, 1 << 63]))
        if kind == 1:
            return str(self.getrandbits(self.randrange(1, 70)))
        if kind == 2:
            return self.choice(["", "-", "0x"]) + str(self.randrange(2000)) + self.choice("KMGTPEkmQ")
        if kind == 3:
            return f"{self.getrandbits(64):x}"
        if kind == 4:
            return "".join(self.choice("0123456789abcdefxKMG-.'\"%") for _ in range(self.randrange(20)))
        return hex((1 << 64) - self.getrandbits(self.randrange(1, 48)))

    def pointer(self):
        if self.areas and self.random() < 0.6:
            return f"{self.choice(self.areas) + self.choice([0, 0, 1, 8, -1, 4096, -4096, 65536]):x}"
        return self.choice(["0", "1", "8000000000000000", "dead000000000000", "ffffffffffffffff", self.number()])

    def junk(self):
        return "".join(chr(self.choice([*range(32, 127)])) for _ in range(self.randrange(80)))

    def line(self):
        """Nothing that ends the run, takes long, or writes where the kernel lives."""
        kind = self.randrange(12)
        if kind < 3:
            size = self.choice([1, 100, 4096, "64K", "300K", "2M", self.number()])
            return f"{self.choice(['vmalloc', 'kmalloc', 'huge'])} {size}"
        if kind == 3 and self.areas:
            return f"vfree {self.choice(self.areas):x}"
        if kind == 4 and self.blocks:
            return f"kfree {self.choice(self.blocks):x}"
        if kind == 5:
            return f"{self.choice(['peek', 'walk', 'fault r', 'fault w'])} {self.choice(['0', '8', 'dead000000000000'])}"
        if kind == 6:
            return f"{self.choice(['walk', 'alias', 'peek'])} {self.pointer()}"
        if kind == 7 and self.areas:
            return f"poke {self.choice(self.areas):x} {self.randrange(300):x}"
        if kind == 8:
            return self.junk()
        if kind == 9:
            return self.choice(["frames", "buddy", "slab", "purge", "areas", "mem", "layout", "check"])
        words = [self.choice(self.names), *(self.choice([self.number, self.pointer, self.junk])()
                                            for _ in range(self.randrange(4)))]
        return " ".join(words)

    def learn(self, line, text):
        found = re.match(r"0x([0-9a-f]{16})(-0x)?", text)
        if found and line.startswith(("vmalloc ", "huge ")):
            self.areas.append(int(found[1], 16))
        elif found and line.startswith("kmalloc "):
            self.blocks.append(int(found[1], 16))
        elif line.startswith("vfree ") and not text.strip():
            self.areas = [va for va in self.areas if f"{va:x}" != line.split()[1]]
        elif line.startswith("kfree ") and not text.strip():
            self.blocks = [va for va in self.blocks if f"{va:x}" != line.split()[1]]


def allowed(line):
    """Not these by chance: they end the run, last long, print for minutes, or write into the kernel."""
    words = line.split()
    return not words or not (
        words[0] in ("exit", "reboot", "overflow", "tour", "test", "bench", "stress", "map", "ioremap", "vmap")
        or (words[0] in ("poke", "fault", "kfree", "vfree")
            and any(re.match("(0x)?[fF]{4}", word) for word in words[1:]))
    )


@pytest.mark.parametrize("count", [1000, pytest.param(10000, marks=pytest.mark.long)])
def test_random_lines(monitor, count):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = Dice(seed, sorted(commands(monitor)))
    for nr in range(count):
        line = dice.line()
        own = line.startswith(("vfree ", "kfree ", "poke ")) and re.fullmatch(
            r"\w+ ([0-9a-f]{16})( \w+)?", line) and int(line.split()[1], 16) in dice.areas + dice.blocks
        if not own and not allowed(line):
            continue
        dice.learn(line, monitor.command(line))
        if nr % 200 == 0:
            monitor.com2.new()
    assert SOUND in monitor.command("check"), f"seed {seed}"
    for va in dice.areas:
        assert monitor.command(f"vfree {va:x}") == "", f"seed {seed}"
    for va in dice.blocks:
        assert monitor.command(f"kfree {va:x}") == "", f"seed {seed}"
    assert SOUND in monitor.command("check"), f"seed {seed}"
    assert monitor.run("vmalloc 64K")[1][0]["pages"] == 16
