#!/usr/bin/env python3
"""machines - boot the kernel on many machines and write the table of how that went. For `make machines`.

    machines.py [PART]...   only cells whose group or name contains a PART; docs/ keeps what it says of the others

A cell is a machine and what must come of it. Each is run for itself; what came is read from the records, or, where a
CPU or a machine cannot have any, from the bytes that COM1 got, never from an exit status alone. All cells are in
docs/machines.md and docs/machines.json; what they wrote is in build/machines/. The exit status is 1 if one is not as
it must be.
"""

import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/qemu"))
import machine  # noqa: E402

OUT, DOCS = ROOT / "build/machines", ROOT / "docs"
ELF, ISO, OVMF = ROOT / "build/tessera.elf", ROOT / "build/tessera.iso", "/usr/share/ovmf/OVMF.fd"
LIMIT = 300  # seconds: only a hang takes as long
FULL, BRIEF = "tour test exit", "tour exit"
BARE = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", "tcg",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
Cell = collections.namedtuple("Cell", "group name run heavy", defaults=[False])


class Wrong(Exception):
    """What a cell found is not what it must be."""


def must(condition, what):
    if not condition:
        raise Wrong(what)


# How a run is judged


def passed(records, cpus=None, levels=None, least=0):
    """The run's table cell, if its records say that it passed: whole, with so many CPUs, levels and tests that ran."""
    must(records and records[0]["t"] == "boot", "there is no boot record")
    boot, end = records[0], records[-1]
    must(end["t"] == "end", f"it died: its last record is {end}")
    must(end["status"] == "pass", f"it ended with {end}: {[r for r in records if r.get('result') == 'fail'][:3]}")
    must(cpus in (None, boot["cpus"]), f"{boot['cpus']} CPUs, not {cpus}")
    must(levels in (None, boot["levels"]), f"{boot['levels']} levels, not {levels}")
    results = collections.Counter(r["result"] for r in records if r["t"] == "test")
    claims = sum(r["t"] == "tour" for r in records)
    must(claims >= 12 and results["pass"] >= least, f"only {claims} claims of the tour and {results['pass']} tests passed")
    tests = f", tests {results['pass']} passed, {results['skip']} skipped" if results else ""
    cpus = f"{boot['cpus']} CPU{'s' * (boot['cpus'] > 1)}"
    return f"{cpus}, {boot['levels']} levels, {boot['frames'] * 4 >> 10} MiB: tour{tests}"


def text_of(path):
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def records_in(path, mark=""):
    """Whole records, each as docs/records.md says, none missing."""
    lines = re.findall(rf'^{mark}({{"v":1,.*}})\r?$', text_of(path), re.MULTILINE)
    parser = machine.Records(path.parent)
    return [parser.parse(line) for line in lines]


def by_tools_run(rundir, words=FULL, least=100, cpus=2, levels=4, features=None, **variables):
    ended = machine.run(rundir, RUNDIR=rundir, APPEND=words, CPUS=cpus, TIMEOUT=LIMIT, **variables)
    must(ended.status == 0, f"tools/run says: {ended.text.strip().splitlines()[-1:]}")
    for name, wanted in (features or {}).items():
        has = name in re.search(r"^CPU features: (.*)$", ended.text, re.MULTILINE)[1].split()
        must(has == wanted, f"the kernel says that the CPU has {'' if has else 'no '}{name}")
    return passed(ended.records, cpus, levels, least)


def refused(rundir, what, **variables):
    ended = machine.run(rundir, RUNDIR=rundir, APPEND="exit", TIMEOUT=LIMIT, **variables)
    console = (rundir / "console.txt").read_text(errors="replace")
    said = re.search(r"^Tessera needs .*$", console, re.MULTILINE)
    must(ended.status == 1 and not ended.records and said and what in said[0], f"it did not refuse: {console[-200:]!r}")
    return f"refused: “{said[0]}”"


def boot_arguments(boot, words):
    if boot == "direct":
        return ["-kernel", str(ELF), "-append", words]
    uefi = ["-bios", OVMF] if boot == "uefi" else []
    return uefi + ["-vga", "std", "-cdrom", str(ISO), "-smbios", f"type=11,value=tessera:{words}"]


def bare(rundir, *arguments, until="", **options):
    """A QEMU without tools/run, until it ends or COM1's file holds this text. Its exit status; None: not ended."""
    with open(rundir / "qemu.txt", "w") as log, \
            subprocess.Popen([*BARE, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options) as qemu:
        try:
            for _ in range(LIMIT * 4):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return qemu.wait(0.25)
                if until and until in text_of(rundir / "com1"):
                    return None
        finally:
            qemu.kill()
    raise Wrong(f"it hangs; QEMU says {(rundir / 'qemu.txt').read_text()!r}")


def files(rundir):
    return ["-serial", f"file:{rundir}/com1", "-serial", f"file:{rundir}/com2"]


# RAM


def smallest(rundir, boot, low, high, step, message, at_most, machine_type="q35"):
    """By halving: it does not work with low KiB, it does with high; each that fails must say so on COM1."""
    while high - low > step:
        kib = (low + high) // 2 // step * step
        directory = rundir / str(kib)
        directory.mkdir()
        until = "" if boot == "direct" else message
        memory = ["-machine", machine_type, "-m", f"{kib}k"]
        status = bare(directory, *memory, *files(directory), *boot_arguments(boot, BRIEF), until=until)
        console = (directory / "com1").read_text(errors="replace")
        if message in console:
            must(status in (None, 35), f"{kib} KiB: it said so, and went on")
            low = kib
        else:
            port = ("com1", "@ ") if machine_type.startswith("microvm") else ("com2", "")
            must(status == 33, f"{kib} KiB: it ended with status {status} and said {console[-100:]!r}")
            passed(records_in(directory / port[0], port[1]))
            high = kib
    must(high <= at_most, f"{high} KiB are needed: more than {at_most}")
    return f"{high} KiB: tour; with {low} KiB COM1 gets “{message}”"


def first_page(rundir):
    """One page of RAM for the image: all of the message is in it."""
    status = bare(rundir, "-machine", "q35", "-m", "1028k", *files(rundir), *boot_arguments("direct", BRIEF))
    must(status == 35 and "needs more RAM" in (rundir / "com1").read_text(), "nothing is said")
    return "refused: “Tessera needs more RAM …”"


def boot_cost(rundir, mem, cpu="qemu64,+pdpe1gb"):
    """Boot and power off, while QEMU records the run: the recording's length is the exact number of instructions."""
    ours, theirs = socket.socketpair()
    ours.settimeout(LIMIT)
    arguments = ["-bios", "/usr/share/qemu/qboot.rom", "-machine", "q35,memory-backend=ram", "-m", mem, "-cpu", cpu,
                 "-object", f"memory-backend-ram,id=ram,size={mem},reserve=off", "-serial", "null", "-serial",
                 f"file:{rundir}/com2", "-icount", f"shift=0,sleep=off,rr=record,rrfile={rundir}/rr", "-no-shutdown",
                 "-chardev", f"socket,fd={theirs.fileno()},id=qmp", "-mon", "chardev=qmp,mode=control",
                 *boot_arguments("direct", "exit")]
    began = time.monotonic()
    with subprocess.Popen([*BARE[:-2], *arguments], pass_fds=(theirs.fileno(),)) as qemu:  # it would not wait for us
        try:
            theirs.close()
            ours.sendall(b'{"execute":"qmp_capabilities"}')
            qmp = ours.makefile("r")
            must(any('"STOP"' in line for line in qmp), "it did not power off")
            seconds = time.monotonic() - began
            ours.sendall(b'{"execute":"human-monitor-command","arguments":{"command-line":"info replay"}}')
            count = next(re.search(r"instruction count = (\d+)", line) for line in qmp if "instruction count" in line)
        finally:
            qemu.kill()
    must(records_in(rundir / "com2")[-1]["status"] == "pass", "it did not pass")
    (rundir / "rr").unlink()
    unit = {"M": 8, "G": 18}[mem[-1]]  # frames: 16 bytes each
    struct_pages = (int(mem[:-1]) << unit) * 16 / 2**20
    return (f"{int(count[1]) / 1e6:.1f} million instructions from reset to power-off, {seconds:.1f} s; "
            f"struct page array {struct_pages:g} MiB")


# Ports that are missing or stalled


def no_second_port(rundir, *arguments):
    status = bare(rundir, *arguments, "-serial", f"file:{rundir}/com1", *boot_arguments("direct", FULL))
    must(status == 33, f"QEMU's status is {status}")
    return passed(records_in(rundir / "com1", "@ "), least=100) + "; records behind `@ `"


def no_port(rundir):
    status = bare(rundir, "-serial", "none", *boot_arguments("direct", FULL))
    must(status == 33, f"QEMU's status is {status}")
    return "passed, by the status that the kernel gave isa-debug-exit: there is no port for records"


def stalled(rundir, which, words=FULL):
    """One of the ports leads to a socket that nobody reads: it is ready for some kilobytes, then never again."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
    ports = files(rundir)
    ports[2 * which + 1] = "chardev:stalled"
    began = time.monotonic()
    status = bare(rundir, "-chardev", f"socket,fd={theirs.fileno()},id=stalled", *ports, *boot_arguments("direct", words),
                  pass_fds=(theirs.fileno(),))
    must(status == 33, f"QEMU's status is {status}")
    took = f"it ended after {time.monotonic() - began:.0f} s, some ten of which the kernel waited for the reader"
    if which == 0:
        return passed(records_in(rundir / "com2"), least=100) + f"; {took}"
    must((rundir / "com1").read_text().rstrip().endswith("exit\""), "COM1 has not all of its text")
    return f"all of COM1's text came; {took}"


def stalled_refusal(rundir):
    """The text of a refusal, before any C runs, has a reader who does not read."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
    theirs.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while theirs.send(b"x"):
            pass
    status = bare(rundir, "-cpu", "qemu64,-nx", "-chardev", f"socket,fd={theirs.fileno()},id=stalled", "-serial",
                  "chardev:stalled", *boot_arguments("direct", "exit"), pass_fds=(theirs.fileno(),))
    must(status == 35, f"QEMU's status is {status}")
    return "refused, by the status that the kernel gave isa-debug-exit"


def pty(rundir):
    status = bare(rundir, "-serial", "pty", "-serial", f"file:{rundir}/com2", *boot_arguments("direct", FULL))
    must(status == 33, f"QEMU's status is {status}")
    return passed(records_in(rundir / "com2"), least=100)


# Bochs


BOCHSRC = """
config_interface: textconfig
display_library: term
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model={model}, count={cpus}, ips=50000000, reset_on_triple_fault=0
memory: guest=128, host=128
ata0-master: type=cdrom, path=disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=com1
com2: enabled=1, mode=file, dev=com2
log: bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
"""


def run_bochs(rundir, model, cpus, words, until):
    """Until it switches itself off (True), or COM1's file holds this text. Its own exit status says nothing."""
    disc = rundir / "disc/boot"
    shutil.copytree(ROOT / "build/obj/tessera/iso/boot", disc)
    (disc / "grub/grub.cfg").write_text(f"multiboot2 /boot/tessera.elf {words}\nboot\n")
    subprocess.run(["grub-mkrescue", "-o", "disc.iso", "disc", "--fonts=", "--themes=", "--locales="], cwd=rundir,
                   check=True, capture_output=True)
    (rundir / "bochsrc").write_text(BOCHSRC.format(model=model, cpus=cpus))
    (rundir / "rc").write_text("c\n")  # its debugger waits for a command
    with subprocess.Popen(["script", "-qec", "exec bochs -q -f bochsrc -rc rc", "/dev/null"], cwd=rundir,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as script:
        try:
            for _ in range(LIMIT * 4):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    script.wait(0.25)
                    return True
                if until and until in text_of(rundir / "com1"):
                    return False
        finally:
            script.terminate()  # the terminal goes, and Bochs with it
    raise Wrong(f"it hangs: {text_of(rundir / 'com1')[-200:]!r}")


def bochs(rundir, model, cpus=1, words=FULL, least=100, refusal=None):
    off = run_bochs(rundir, model, cpus, words, refusal)
    if refusal:
        must(not off and not text_of(rundir / "com2"), "it went on")
        return f"refused: “{refusal}”"
    must(off and "soft power off" in (rundir / "bochs.log").read_text(), "it did not switch itself off by ACPI")
    return passed(records_in(rundir / "com2"), cpus, 4, least)


# The cells


INTEL = ("Conroe Penryn core2duo Nehalem Westmere SandyBridge IvyBridge Haswell Broadwell Skylake-Client Skylake-Server "
         "Cascadelake-Server Cooperlake Icelake-Server Denverton Snowridge KnightsMill")
AMD = "Opteron_G1 Opteron_G2 Opteron_G3 Opteron_G4 Opteron_G5 phenom EPYC EPYC-Rome EPYC-Milan Dhyana"
LA57 = "max", "Icelake-Server"
NEEDED = {"nx": "no-execute pages (NX)", "pge": "global pages (PGE)"}
NO_64_BIT = "a 64-bit CPU (long mode)"
BOCHS_MODELS = ("p4_prescott_celeron_336 athlon64_clawhammer athlon64_venice turion64_tyler phenom_8650_toliman "
                "core2_penryn_t9600 corei5_lynnfield_750 corei5_arrandale_m520 corei7_sandy_bridge_2600k zambezi "
                "trinity_apu ryzen corei7_ivy_bridge_3770k broadwell_ult corei7_skylake_x corei3_cnl corei7_icelake_u "
                "tigerlake").split()


def cells():
    def cell(group, name, how, *arguments, heavy=False, **keywords):
        return Cell(group, name, lambda rundir: how(rundir, *arguments, **keywords), heavy)

    group = "Bochs"
    for model, cpus in (("corei7_haswell_4770", 4), ("corei7_haswell_4770", 2), ("corei7_haswell_4770", 1)):
        yield cell(group, f"{model}, {cpus} CPU{'s' * (cpus > 1)}", bochs, model, cpus)
    for model in BOCHS_MODELS:
        yield cell(group, model, bochs, model, 1, "tour test=tlb exit", 2)
    for model in ("core_duo_t2400_yonah", "atom_n270"):
        yield cell(group, model, bochs, model, refusal=f"Tessera needs {NO_64_BIT}")
    group = "Chipset and firmware"
    for boot in ("uefi", "iso", "direct"):
        for kind in ("q35", "pc"):
            yield cell(group, f"{kind}, {boot}", by_tools_run, BOOT=boot, MACHINE=kind)
        yield cell(group, f"q35, {boot}, 5 levels", by_tools_run, BOOT=boot, levels=5, LA57=1)
    yield cell(group, "microvm, direct", by_tools_run, MACHINE="microvm")
    yield cell(group, "microvm, direct, 5 levels", by_tools_run, MACHINE="microvm", LA57=1, levels=5)
    yield cell(group, "microvm without PIC, PIT, RTC", by_tools_run, MACHINE="microvm",
               QEMUFLAGS="-machine pic=off,pit=off,rtc=off")
    group = "CPU model"
    for model in f"{INTEL} {AMD} qemu64 kvm64 max".split():
        yield cell(group, model, by_tools_run, CPU=model, levels=5 if model in LA57 else 4)
    for model in ("qemu32", "coreduo", "athlon", "n270"):
        yield cell(group, model, refused, NO_64_BIT, CPU=model)
    group = "With and without a feature"
    for base in ("max", "qemu64"):
        for feature in ("nx", "pge", "pdpe1gb", "smep", "smap", "la57"):
            for sign in "+-":
                cpu, five = f"{base},{sign}{feature}", sign == "+" if feature == "la57" else base == "max"
                if sign == "-" and feature in NEEDED:
                    yield cell(group, cpu, refused, NEEDED[feature], CPU=cpu)
                else:
                    yield cell(group, cpu, by_tools_run, CPU=cpu, levels=5 if five else 4, features={feature: sign == "+"})
    group = "Number of CPUs"
    for cpus in (1, 2, 3, 4, 8, 16, 32):
        yield cell(group, str(cpus), by_tools_run, cpus=cpus, heavy=cpus > 4)
    yield cell(group, "8: 2 sockets, 2 cores, 2 threads", by_tools_run, cpus=8, heavy=True,
               QEMUFLAGS="-smp 8,sockets=2,cores=2,threads=2")
    yield cell(group, "3: 3 sockets", by_tools_run, cpus=3, QEMUFLAGS="-smp 3,sockets=3")
    yield cell(group, "4, of 6 that could be", by_tools_run, cpus=4, QEMUFLAGS="-smp 4,maxcpus=6")
    group = "RAM"
    more = "Tessera needs more RAM"
    yield cell(group, "too little, direct", first_page)
    yield cell(group, "smallest, direct, q35", smallest, "direct", 1024, 4096, 4, more, 2304)
    yield cell(group, "smallest, direct, microvm", smallest, "direct", 1024, 4096, 4, more, 2048, "microvm,isa-serial=on")
    yield cell(group, "smallest, iso", smallest, "iso", 2048, 8192, 64, "error: out of memory", 4608)
    yield cell(group, "smallest, uefi", smallest, "uefi", 48 << 10, 64 << 10, 4096, "error: out of memory", 64 << 10)
    for mem in ("8M", "12M"):
        yield cell(group, f"{mem}, direct", by_tools_run, MEM=mem, least=0)
    for mem in ("24M", "32M", "64M", "1G", "3G"):
        yield cell(group, f"{mem}, direct", by_tools_run, MEM=mem)
    yield cell(group, "6G, iso, pc", by_tools_run, BRIEF, least=0, MEM="6G", BOOT="iso", MACHINE="pc")
    yield cell(group, "64G, direct", by_tools_run, BRIEF, least=0, MEM="64G", heavy=True)
    for mem in ("64M", "1G", "4G", "16G", "64G"):
        yield cell(group, f"{mem}: what it costs at boot", boot_cost, mem, heavy=True)
    yield cell(group, "64G without pdpe1gb: what it costs at boot", boot_cost, "64G", "qemu64", heavy=True)
    group = "What is missing"
    for kind in ("q35", "pc", "microvm"):
        yield cell(group, f"ACPI, {kind}", by_tools_run, cpus=1, MACHINE=kind, QEMUFLAGS="-smp 2 -machine acpi=off")
    for kind in ("q35", "pc", "microvm"):
        yield cell(group, f"COM2, {kind}", no_second_port, "-machine", kind)
    yield cell(group, "COM1 and COM2", no_port)
    yield cell(group, "a reader of COM1", stalled, 0)
    yield cell(group, "a reader of COM2", stalled, 1)
    yield cell(group, "a reader of COM1, which is a PTY", pty)
    yield cell(group, "a reader of COM1, and NX", stalled_refusal)


def run(number, cell):
    rundir, began = OUT / f"{number:03}", time.monotonic()
    rundir.mkdir()
    try:
        good, got = True, cell.run(rundir)
    except Exception as problem:  # also one of ours: then the cell is not shown, and so it is red
        good, got = False, f"{type(problem).__name__}: {problem}".replace("\n", " ")
    seconds = round(time.monotonic() - began, 1)
    print(f"{'ok    ' if good else 'NOT OK'} {seconds:6.1f} s  {cell.group}: {cell.name}: {got}", flush=True)
    return {"group": cell.group, "machine": cell.name, "ok": good, "got": got, "seconds": seconds, "files": rundir.name}


HEAD = """# On which machines it runs

Each row is a machine that was started, with `build/tessera.elf` or the ISO, and what came of it; `make machines` runs
them all and writes this page ([the same for programs](machines.json)). What counts is what the kernel wrote: the last
record says `pass`, the CPUs and levels are those that the machine has, and the tests that ran are not too few; tests are skipped
where they need a second CPU, 12 MiB of free memory, or a checking build. All tests of the kernel run, but for two
cases, because they are slow there: on most of Bochs's CPU models only those of the TLB, above 3 GiB of RAM none; the
tour's claims are always tested. “Refused” is a sentence on COM1 and no more.

A CPU must have long mode, NX, a TSC and global pages: all that were ever made with long mode have them, but for the
first Pentium 4 with 64 bits and firmware that switches NX off. Without NX nothing would keep data from being
executed, which the kernel promises and its tour prints, so it refuses, and says why.
"""


def write(results):
    lines = [HEAD]
    for group in dict.fromkeys(r["group"] for r in results):
        lines += [f"\n## {group}\n", "| machine | | what came of it |", "|---|---|---|"]
        lines += [f"| {r['machine']} | {'yes' if r['ok'] else '**no**'} | {r['got']} |" for r in results if r["group"] == group]
    (DOCS / "machines.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (DOCS / "machines.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def among_others(results):
    """All rows as they are written down, these in the place of what they were."""
    new = {(r["group"], r["machine"]): r for r in results}
    return [new.get((r["group"], r["machine"]), r) for r in json.loads((DOCS / "machines.json").read_text(encoding="utf-8"))]


def main():
    parts, began = sys.argv[1:], time.monotonic()
    chosen = {n: c for n, c in enumerate(cells()) if not parts or any(part in f"{c.group}: {c.name}" for part in parts)}
    if not chosen:
        sys.exit(f"machines: no machine is called '{' '.join(parts)}'; docs/machines.md names them")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    results = {}
    for heavy, workers in ((False, os.cpu_count()), (True, 1)):  # many CPUs and much RAM: one after the other
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            runs = {n: pool.submit(run, n, c) for n, c in chosen.items() if c.heavy == heavy}
            results |= {n: future.result() for n, future in runs.items()}
    results = [results[n] for n in chosen]
    write(among_others(results) if parts else results)
    wrong = sum(not r["ok"] for r in results)
    print(f"{len(results)} machines in {time.monotonic() - began:.0f} s: {len(results) - wrong} as they must be, {wrong} not")
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    sys.exit(main())
