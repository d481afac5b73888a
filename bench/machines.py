"""The machines that are measured: each is started as tools/run does it, and its figures are read from what it said.

    tessera     build/tessera.elf, with the monitor's command `bench`; figures are records on COM2
    stock, lean Linux, with the module of bench/linux; figures are lines on its console

Both run the workloads of bench/workloads.h. With exact=True QEMU counts instructions (-icount shift=0): one CPU's time
is its instructions. Without, CPUs run at once (MTTCG) and time is the host's.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

OUT = pathlib.Path("build/bench")
IS_BUILT = {"tessera": lambda: True, "stock": lambda: any(pathlib.Path("build/linux").glob("*/unpacked")),
            "lean": pathlib.Path("build/linux-lean/built").exists}
NAMES = {"tessera": "Tessera", "stock": "stock Linux", "lean": "lean Linux"}
EXACT = "-icount shift=0,sleep=off"


def linuxes(lean=False):
    """Debian's own; also the lean one if LEAN=1 asks for it, or, where LEAN is not set, lean is true."""
    return ["stock"] + ["lean"] * ((os.environ.get("LEAN") or str(int(lean))) != "0")


def announce(kinds, how_long):
    print(f"measuring {', '.join(NAMES[kind] for kind in kinds)}: {how_long}")
    if not all(IS_BUILT[kind]() for kind in kinds):
        print("  the first time Debian's packages are fetched, which takes a minute more, and the lean Linux is built: two")
    sys.stdout.flush()


class Machine:
    """A run that is under way. wait() for it, then it has `figures` and `about`."""

    def __init__(self, kind, part="", cpus=1, exact=True):
        self.kind, self.part, self.cpus, self.exact = kind, part, cpus, exact
        self.rundir = OUT / f"{kind}-{part or 'all'}"
        self.rundir.mkdir(parents=True, exist_ok=True)
        env = {name: value for name, value in os.environ.items() if name not in ("KERNEL", "ISO", "RAMFILE", "QMP", "GDB")}
        env |= {"MEM": env.get("MEM") or "1G", "CPUS": str(cpus), "BOOT": "direct", "RUNDIR": str(self.rundir),
                "TIMEOUT": "600", "QEMUFLAGS": EXACT if exact else "", "APPEND": "", "PART": part}
        command = ["tools/run"] if kind == "tessera" else ["bench/linux/run", kind]
        self.log, self.began = open(self.rundir / "log.txt", "w+", encoding="utf-8", errors="replace"), time.monotonic()
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=self.log, stderr=subprocess.STDOUT)
        if kind == "tessera":  # typed at its prompt; there, `exit` is what tools/run types last
            self.process.stdin.write(f"bench {part}\n".encode())
        self.process.stdin.close()

    def wait(self):
        if self.process.wait():
            self.log.seek(0)
            sys.exit(f"{self.log.read()}\n{NAMES[self.kind]} could not be measured; it said what stands above")
        print(f"  {NAMES[self.kind]}{f', {self.part}' * bool(self.part)}: {time.monotonic() - self.began:.0f} s", flush=True)
        read = self.read_records if self.kind == "tessera" else self.read_console
        self.about, self.figures, self.races = {}, {}, []
        read()
        if not self.figures and not self.races:
            sys.exit(f"no figures in {self.rundir}: `bench {self.part}` found nothing to measure")
        return self

    def read_records(self):
        """figures: {operation: (n, cycles)}; races: [{op, cpus, n, cycles, events...}]"""
        for line in (self.rundir / "records.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record["t"] == "boot":
                self.about = {"frames": record["frames"], "cpus": record["cpus"]}
            elif record["t"] == "bench":
                self.figures[record["op"]] = record["n"], record["insns_per_op"]
            elif record["t"] == "throughput":
                self.races.append({key: value for key, value in record.items() if key not in ("v", "seq", "t")})

    def read_console(self):
        text = (self.rundir / "console.txt").read_text(encoding="utf-8", errors="replace")
        about = re.search(r"bench on (\S+), (\d+) kHz$", text, re.MULTILINE)
        if not about or not re.search(r"bench done$", text, re.MULTILINE):
            sys.exit(f"{self.rundir}/console.txt holds no whole run of the module: it says what happened")
        self.about = {"release": about[1], "khz": int(about[2])}
        for op, n, cycles in re.findall(r"bench (\w+) (\d+) (\d+)$", text, re.MULTILINE):
            self.figures[op] = int(n), int(cycles)
        for op, *numbers in re.findall(r"throughput (\w+) (\d+) (\d+) (\d+)$", text, re.MULTILINE):
            self.races.append({"op": op, **dict(zip(("cpus", "n", "cycles"), map(int, numbers)))})


def write_json(name, what):
    path = OUT / name
    path.write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")
    return path
