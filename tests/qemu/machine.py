"""One guest: QEMU as tools/run starts it, its prompt on COM1, its records on COM2, and QMP behind it.

Nothing here sleeps. The prompt is the event: the kernel writes a record before it goes on, so when the
prompt is back, all records of the command before it lie in the file. LIMIT only catches a hang.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
from collections import namedtuple

import pexpect

import readers

ROOT = pathlib.Path(__file__).resolve().parents[2]
ELF = ROOT / "build/tessera.elf"
PROMPT = r"\n\r?tessera> (\x1b\[K)?"  # on a line of its own: while a line is edited, it is drawn again
LIMIT = 120  # seconds: some machines are slow, and busy with other things
VARIABLES = ("MEM CPUS BOOT CPU MACHINE ACCEL LA57 APPEND RAMFILE QMP RUNDIR KERNEL ISO QEMUFLAGS "
             "TIMEOUT GDB V CHECK").split()
Ended = namedtuple("Ended", "text records status")


def environment(rundir, variables):
    rundir.mkdir(parents=True, exist_ok=True)
    inherited = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    defaults = {"BOOT": "direct", "TIMEOUT": str(LIMIT), "RUNDIR": str(rundir)}
    return inherited | defaults | {k: str(v) for k, v in variables.items()}


def run(rundir, typed="", **variables):
    """A run without a terminal, to its end: what it said, its records, and tools/run's exit status."""
    rundir = pathlib.Path(rundir)
    with subprocess.Popen([ROOT / "tools/run"], env=environment(rundir, variables), cwd=ROOT, start_new_session=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          encoding="utf-8", errors="replace") as process:
        try:
            text, _ = process.communicate(typed, timeout=5 * LIMIT)
        except subprocess.TimeoutExpired:  # silence ends a run, but this one was not silent
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Ended(text, Records(rundir).new(), process.returncode)


class Records:
    """COM2 of one run. Each record must be as docs/records.md says, and none may be missing."""

    def __init__(self, rundir):
        self.path, self.seq, self.offset = rundir / "records.jsonl", 0, 0

    def new(self):
        """Those since the last call."""
        if not self.path.exists():
            return []
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            lines = file.read()
        lines = lines[:lines.rfind(b"\n") + 1]
        self.offset += len(lines)
        if not self.seq:
            lines = lines[max(lines.find(b'{"v":'), 0):]  # UEFI firmware talks on this port, too
        return [self.parse(line) for line in lines.decode().splitlines()]

    def parse(self, line):
        record = json.loads(line)
        assert record["seq"] == self.seq, f"record {self.seq} is missing: {line}"
        self.seq += 1
        documentation.check(record)
        return record


class Machine:
    """A run at a terminal: Machine(rundir, MEM="3G", APPEND="shuffle=7", …), the variables of `make run`."""

    def __init__(self, rundir, **variables):
        self.rundir = pathlib.Path(rundir)
        self.ram_file, self.qmp_path = self.rundir / "ram", self.rundir / "qmp"
        variables = {"RAMFILE": self.ram_file, "QMP": self.qmp_path} | variables
        self.com1 = pexpect.spawn(str(ROOT / "tools/run"), env=environment(self.rundir, variables), cwd=str(ROOT),
                                  timeout=LIMIT, encoding="utf-8", codec_errors="replace", echo=False,
                                  maxread=1 << 16, dimensions=(24, 200))
        self.com1.delaybeforesend = None
        self.log = self.com1.logfile_read = open(self.rundir / "com1.txt", "w", encoding="utf-8")
        self.com2 = Records(self.rundir)
        self.qmp_file = self.ram = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.com1.isalive() and self.qmp_path.exists():
            try:
                self.qmp("quit")
            except OSError:
                pass
        if self.qmp_file:
            with contextlib.suppress(OSError):  # with what it could not send any more
                self.qmp_file.close()
        if self.ram:
            self.ram.close()
        self.com1.close(force=True)
        self.log.close()
        self.ram_file.unlink(missing_ok=True)

    # COM1: the person's side

    def prompt(self):
        """Wait for it; what came before."""
        self.com1.expect(PROMPT)
        return self.com1.before.replace("\r\n", "\n")

    def command(self, line):
        """Type line, wait for the next prompt. What the kernel printed between."""
        self.com1.send(line + "\r")
        text = self.prompt()
        return text.split("\n", 1)[1] if "\n" in text else ""

    def run(self, line):
        """Type line: (text on COM1, the records that it left)."""
        self.com2.new()
        text = self.command(line)
        return text, self.com2.new()

    def finish(self):
        """Wait until it has ended by itself."""
        self.com1.expect(pexpect.EOF)
        text = self.com1.before.replace("\r\n", "\n")
        self.com1.close()
        return Ended(text, self.com2.new(), self.com1.exitstatus)

    # QMP: the machine's side

    def qmp(self, command, **arguments):
        if not self.qmp_file:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(LIMIT)
            connection.connect(str(self.qmp_path))
            self.qmp_file = connection.makefile("rw")
            self.qmp_file.readline()
            self.qmp("qmp_capabilities")
        self.qmp_file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.qmp_file.flush()
        for line in self.qmp_file:
            answer = json.loads(line)
            if "event" not in answer:
                assert "return" in answer, f"QMP {command}: {answer}"
                return answer["return"]
        raise OSError("QEMU has gone")

    def hmp(self, line):
        return self.qmp("human-monitor-command", **{"command-line": line})

    def readers(self):
        """With the guest stopped: (leaves and tables by the walk from CR3, leaves by `info tlb`)."""
        self.qmp("stop")
        cr3, levels = readers.registers(self.hmp("info registers"))
        self.ram = self.ram or readers.Ram(self.ram_file, self.hmp("info mtree -f"))
        found = *readers.walk(self.ram, cr3, levels), readers.tlb_leaves(self.hmp("info tlb"))
        self.qmp("cont")
        return found


class Documentation:
    """docs/records.md, as far as a script can read it: the fields of each record and their types."""

    TYPES = {
        "number": lambda v: type(v) is int and 0 <= v < 1 << 53,
        "hex": lambda v: isinstance(v, str) and re.fullmatch(r"0x(0|[1-9a-f][0-9a-f]*)", v),
        "string": lambda v: isinstance(v, str),
        "code": lambda v: isinstance(v, str) and re.fullmatch(r"[A-Za-z_.][\w.]*\+0x[0-9a-f]+|0x[0-9a-f]+", v),
        "true": lambda v: v is True,
    }

    def __init__(self, path):
        self.fields = {}
        for part in re.split(r"^### ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            name = re.match(r"`(\w+)`", part)
            if name:
                self.fields[name[1]] = re.findall(r"^\| `(\w+)` \| (\w+)(, optional)? \|", part, re.MULTILINE)

    def check(self, record):
        kind = record["t"]
        assert record["v"] == 1, record
        assert kind in self.fields, f"docs/records.md has no record '{kind}': {record}"
        rest = {k: v for k, v in record.items() if k not in ("v", "seq", "t")}
        for field, sort, optional in self.fields[kind]:
            assert field in rest or optional, f"'{field}' is missing: {record}"
            if field in rest:
                value = rest.pop(field)
                assert self.TYPES[sort](value), f"'{field}' is no {sort}: {record}"
        assert not rest, f"docs/records.md says nothing of {list(rest)}: {record}"


documentation = Documentation(ROOT / "docs/records.md")
