"""Ways to boot, and what is said when a machine or a command line will not do."""

import re
import subprocess

import pexpect
import pytest

from machine import LIMIT, PROMPT, ROOT


@pytest.mark.parametrize("shape", ["BOOT=direct", "BOOT=iso", "BOOT=uefi", "MACHINE=pc", "LA57=1", "LA57=1 BOOT=iso",
                                   "MEM=32M", "MEM=3G", "MEM=6G", "MEM=6G MACHINE=pc BOOT=iso", "CPU=max",
                                   "MACHINE=microvm", "CPU=qemu64", "BOOT=iso MEM=64M", "CPUS=4"])
def test_boots_passes_and_ends(run, shape):
    variables = dict(pair.split("=") for pair in shape.split())
    ended = run(APPEND="test=vmalloc exit", **variables)
    assert ended.status == 0, ended.text
    boot, *_, end = ended.records
    assert boot["t"] == "boot" and end["t"] == "end" and end["tests"] > 3
    assert boot["levels"] == (5 if "LA57=1" in shape or "max" in shape else 4)
    megabytes = {"M": 1, "G": 1024}[variables.get("MEM", "256M")[-1]] * int(variables.get("MEM", "256M")[:-1])
    assert megabytes * 256 - (2048 if "uefi" in shape else 512) < boot["frames"] <= megabytes * 256


@pytest.mark.parametrize("cpu, missing", [("qemu32", "long mode"), ("qemu64,-nx", "NX")])
def test_a_cpu_that_will_not_do(run, cpu, missing):
    ended = run(CPU=cpu, APPEND="exit")
    assert ended.status == 1, ended.text
    assert missing.lower() in ended.text.lower(), ended.text


def test_la57_off(run):
    assert run(CPU="max", APPEND="la57=off exit").records[0]["levels"] == 4


def test_too_little_ram(run):
    ended = run(APPEND="mem=4M exit")
    assert ended.status in (0, 1) and (ended.status == 0 or "PANIC" in ended.text), ended.text


def test_mem_is_a_limit(run):
    ended = run("frames", APPEND="mem=64M")
    frames = {r["state"]: r["frames"] for r in ended.records if r["t"] == "frames"}
    assert 60 * 256 < frames["free"] <= 64 * 256


BAD_WORDS = {
    "tuor": "tour", "frobnicate": "frobnicate", "vmalloc=": "vmalloc", "vmalloc=-1": "vmalloc", "vmalloc=lots": "lots",
    "tlb=sometimes": "lazy", "seed=abc": "seed", "shuffle=": "shuffle", "la57=maybe": "la57", "records=com9": "com9",
    "exit=now": "exit", "mem=1": "mem", "vmalloc=99999999999999999999": "vmalloc", "=": "=", "color=blue": "color",
}


def test_bad_words_are_named_and_survived(run):
    ended = run("areas", APPEND=" ".join(BAD_WORDS))
    assert ended.status == 0, ended.text
    before_prompt = ended.text.split("tessera>")[0]
    for word, named in BAD_WORDS.items():
        lines = [line for line in before_prompt.splitlines() if f"'{word}'" in line]
        assert lines and named in "".join(lines), f"no complaint about {word}: {before_prompt}"
    assert re.search("did you mean '?tour", before_prompt)


def test_a_huge_command_line(run):
    ended = run(APPEND="x" * 600 + " exit")
    assert ended.status in (0, 1) and "boot" == ended.records[0]["t"], ended.text


@pytest.mark.parametrize("word, marks, file", [("records=com1", True, False), ("records=off", False, False)])
def test_where_records_go(run, word, marks, file):
    ended = run("vmalloc 64K\nareas", APPEND=word)
    lines = re.findall(r'^@ (\{"v":1,.*\})$', ended.text, re.M)
    assert bool(lines) == marks and bool(ended.records) == file
    assert ended.status == 0, ended.text
    if marks:
        assert '"t":"boot"' in lines[0] and '"t":"end"' in lines[-1]
        assert [re.search(r'"seq":(\d+)', line)[1] for line in lines] == [str(i) for i in range(len(lines))]


BARE = ["-nodefaults", "-display", "none", "-no-reboot", "-accel", "tcg"]
TEST = ["-kernel", str(ROOT / "build/tessera.elf"), "-append", "test=vmarea exit"]


def qemu(*arguments):
    """A QEMU without what tools/run always gives it; its exit status."""
    return subprocess.run(["qemu-system-x86_64", *BARE, *arguments], timeout=LIMIT).returncode


@pytest.mark.parametrize("downs, expected", enumerate([r"==== 1\.", "KTAP version 1", PROMPT]))
def test_menu_of_the_iso(downs, expected):
    """What tools/run passes by: GRUB's menu, on the serial line."""
    arguments = [*BARE, "-cdrom", str(ROOT / "build/tessera.iso"), "-serial", "stdio"]
    console = pexpect.spawn("qemu-system-x86_64", arguments, timeout=LIMIT, encoding="utf-8", codec_errors="replace")
    console.expect("the monitor")
    console.send("\x1b[B" * downs + "\r")
    console.expect(expected)
    assert downs < 2 or "====" not in console.before, "that was the tour"
    console.close(force=True)


def test_no_second_port_means_records_on_com1(tmp_path):
    console = tmp_path / "console"
    status = qemu(*TEST, "-serial", f"file:{console}", "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
    lines = re.findall(r"^@ (.*)$", console.read_text(), re.M)
    assert status == 33 and '"t":"boot"' in lines[0] and '"status":"pass"' in lines[-1]


@pytest.mark.parametrize("kib", [1028, 1500, 1900])
def test_ram_that_is_too_small_for_the_image(tmp_path, kib):
    """There is none at its end, or firmware has put its tables there: the rest of the image must say so."""
    console = tmp_path / "console"
    status = qemu(*TEST, "-m", f"{kib}k", "-serial", f"file:{console}", "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
    assert status == 35 and "needs more RAM" in console.read_text()


def test_power_off_without_the_debug_port(tmp_path):
    """ACPI S5, as the FADT says: QEMU ends by itself, with 0."""
    records = tmp_path / "records"
    for machine in ("q35", "pc"):
        assert qemu(*TEST, "-machine", machine, "-serial", "null", "-serial", f"file:{records}") == 0
        assert '"t":"end","status":"pass"' in records.read_text().splitlines()[-1]


@pytest.mark.parametrize("bad", ["MEM=lots", "MEM=0", "BOOT=floppy", "MACHINE=toaster", "CPUS=0", "CPUS=x", "LA57=2",
                                 "CPU=pentium9", "TIMEOUT=soon", "KERNEL=no/such/file", "ACCEL=magic"])
def test_bad_variables_are_named(run, bad):
    name, value = bad.split("=")
    ended = run(**{name: value})
    assert ended.status == 4, ended.text
    assert value in ended.text and "Traceback" not in ended.text


def make(*words):
    return subprocess.run(["make", "-s", "-C", ROOT, *words], capture_output=True, text=True, timeout=60)


def test_make_help_lists_all():
    done = make("help")
    for target in "run test gdb deps doctor help".split():
        assert re.search(rf"\b{target}\b", done.stdout), target
    assert done.returncode == 0


def test_make_doctor():
    done = make("doctor")
    assert done.returncode == 0 and "qemu" in done.stdout.lower() and "pexpect" in done.stdout.lower()
