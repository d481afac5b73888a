"""machine - one boot of a kernel that is graded: what it is told, how it is watched, what is believed of it.

Nothing that the guest says is taken on trust, and nothing that it does can hold us up:

- A copy of the kernel is given its order (which tests, for how long, a key of this boot) and lives in a memfd, as
  does the guest's RAM. The kernel's records and console are files that cannot grow past LIMIT_BYTES.
- QEMU counts instructions (-icount), so all of a run but its duration is the same on every host. Its watchdog, the
  ib700, counts them, too: first for the boot, then for each test. Where it runs out QEMU stops the machine, and we read
  from outside where each CPU was.
- A guest that disarms the watchdog meets a limit on the CPU time that QEMU uses (not on time, of which a busy host needs
  more); one that sleeps for ever is seen doing nothing.
- A record counts only if it is signed with the key, is the next one due, and the kernel's code and constants in the
  guest's RAM are still what is in the file.
"""

import collections
import contextlib
import importlib.machinery
import importlib.util
import json
import mmap
import os
import pathlib
import re
import secrets
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time
import types

import confine
import outside

SHIFT = 3  # an instruction is 2^SHIFT virtual nanoseconds
LIMITS = range(30, 1, -2)  # seconds of virtual time that the ib700 knows, by what its port is told
BOOT_LIMIT = 4  # of them, until the first test
LIMIT_BYTES = 1 << 20  # of console, and of records
CPU_SECONDS = 5, 4  # that QEMU may use for a test: these, and so many more for each virtual second. A slow host needs 2
ANSWER_SECONDS = 60  # for QEMU to answer us
IDLE_SECONDS = 20  # without any use of the CPU
QEMU_LIMITS = confine.Limits(cpu=None, wall=None, file=LIMIT_BYTES, memory=8 << 30)
ORDERED = 0x6564617267
ENDS = {"guest-reset": ("reset", ""), "guest-shutdown": ("off", "")}  # QEMU's reasons
RAM_BYTES = 64 << 20
WORDS = "test exit"
PORT = 0x443

Result = collections.namedtuple("Result", "result why insns")  # result: pass, fail or skip
# ended: "end", or how it died; why: that in words; said: on the console, by test; marks: what looks as if somebody else
# had written our records, odd: what else a person should see.
Boot = collections.namedtuple("Boot", "results began ended why said marks odd")


def load_run():
    """tools/run, which knows how QEMU is called."""
    path = pathlib.Path(__file__).resolve().parent.parent / "run"
    loader = importlib.machinery.SourceFileLoader("tools_run", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tools_run", loader))
    loader.exec_module(module)
    return module


class Elf:
    """The kernel's file: where its segments and symbols lie."""

    def __init__(self, path):
        self.data = pathlib.Path(path).read_bytes()
        phoff, shoff = struct.unpack_from("<QQ", self.data, 32)
        phnum, _, shnum = struct.unpack_from("<HHH", self.data, 56)
        headers = [struct.unpack_from("<IIQQQQQ", self.data, phoff + 56 * n) for n in range(phnum)]
        self.segments = [(flags, offset, va, pa, bytes_) for kind, flags, offset, va, pa, bytes_, _ in headers if kind == 1]
        sections = [struct.unpack_from("<IIQQQQII", self.data, shoff + 64 * n) for n in range(shnum)]
        self.symbols, self.functions = {}, []
        for _, kind, _, _, at, size, link, _ in sections:
            if kind == 2:
                self.read_symbols(self.data[at:at + size], sections[link][4])
        self.functions.sort()

    def read_symbols(self, table, names):
        for name, info, _, _, value, size in struct.iter_unpack("<IBBHQQ", table):
            text = self.string(names + name)
            self.symbols[text] = value
            if info & 15 == 2:
                self.functions.append((value, size, text))

    def string(self, at):
        return self.data[at:self.data.index(b"\0", at)].decode()

    def offset(self, va):
        """Where in the file the byte at this address is."""
        return next(va - start + at for _, at, start, _, size in self.segments if start <= va < start + size)

    def tests(self):
        """The names of all tests, as they lie in the linker's array."""
        first, last = self.offset(self.symbols["__start_tests"]), self.offset(self.symbols["__stop_tests"])
        return [self.string(self.offset(name)) for name, _ in struct.iter_unpack("<QQ", self.data[first:last])]

    def place(self, va):
        """name+0x12, as the kernel writes it."""
        for start, size, name in self.functions:
            if start <= va < start + max(size, 1):
                return f"{name}+{va - start:#x}"
        return f"{va:#x}"

    def constant(self):
        """(physical address, bytes) of what no run may change: code and constants."""
        return [(pa, self.data[at:at + size]) for flags, at, _, pa, size in self.segments if not flags & 2]

    def with_order(self, key, tests, limits):
        """The kernel with an order in it; tests by their place in the array."""
        data = bytearray(self.data)
        order = struct.pack("<Q16sQ", ORDERED, key, len(tests))
        order += b"".join(struct.pack("<II", test, limit) for test, limit in zip(tests, limits))
        at = self.offset(self.symbols["grade_order"])
        if struct.unpack_from("<Q", data, at)[0] != ORDERED:
            raise ValueError("the kernel has no place for an order: it was not built with tests/grade")
        data[at:at + len(order)] = order
        return bytes(data)


# Signatures

def rotate(x, n):
    return (x << n | x >> (64 - n)) & MASK


MASK = (1 << 64) - 1


def sip_hash(key, text):
    """SipHash-2-4, as in tests/grade/grade.c."""
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(number):
        a, b, c, d = v
        for _ in range(number):
            a, c = (a + b) & MASK, (c + d) & MASK
            b, d = rotate(b, 13) ^ a, rotate(d, 16) ^ c
            a, c = (rotate(a, 32) + d) & MASK, (c + b) & MASK
            b, d = rotate(b, 17) ^ c, rotate(d, 21) ^ a
            c = rotate(c, 32)
        v[:] = a, b, c, d

    padded = text + bytes(7 - len(text) % 8) + bytes([len(text) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def signed_text(number, record):
    text = f"{number} {record['name']} {record['result']} {record['cycles']} {record.get('why', '')}"
    return re.sub(r"[^\0-\x7e]", "?", text).encode()[:1023]


def is_signed(key, number, record):
    try:
        return record["signed"] == f"{sip_hash(key, signed_text(number, record)):016x}"
    except (KeyError, TypeError):
        return False


# The machine

class Memory:
    """A file without a name, of which QEMU gets the number."""

    def __init__(self, name, content=b"", size=0):
        self.fd = os.memfd_create(name)
        os.ftruncate(self.fd, size or len(content))
        os.pwrite(self.fd, content, 0)
        self.path = f"/proc/self/fd/{self.fd}"

    def close(self):
        os.close(self.fd)


def qemu_command(kernel, ram, folder, qmp, cpus):
    tools_run = load_run()
    s = types.SimpleNamespace(**{name.lower(): default for name, (default, *_) in tools_run.VARIABLES.items()})
    s.boot, s.image, s.append = "direct", kernel, WORDS
    s.cpus, s.mem, s.ramfile, s.records = str(cpus), f"{RAM_BYTES >> 20}M", ram, folder / "records.jsonl"
    s.core = "1"  # it ends as when a core is written: by ACPI, so that it can be looked at
    s.accel = "tcg,thread=single,tb-size=64"
    s.qemuflags = ["-icount", f"shift={SHIFT},sleep=off", "-device", "ib700", "-action", "watchdog=pause", "-S",
                   "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
                   "-chardev", f"socket,id=qmp,fd={qmp}", "-mon", "chardev=qmp,mode=control"]
    return tools_run.qemu_command(s, f"file,path={folder / 'console.txt'}")


class Qmp:
    """QEMU's monitor."""

    def __init__(self, connection):
        self.connection, self.buffer, self.answers, self.happened, self.gone = connection, b"", [], [], False

    def read(self, timeout):
        """Wait for more, at most so long."""
        if self.gone or not select.select([self.connection], [], [], timeout)[0]:
            return False
        more = b""
        with contextlib.suppress(ConnectionResetError):
            more = self.connection.recv(1 << 16)
        self.gone = not more
        *lines, self.buffer = (self.buffer + more).split(b"\n")
        for message in (json.loads(line) for line in lines if line.startswith(b"{")):
            if "event" in message:
                self.happened.append(message)
            elif "QMP" not in message:
                self.answers.append(message)
        return True

    def ask(self, command, **arguments):
        """The answer; None if there is none, as from a QEMU that has gone."""
        with contextlib.suppress(OSError):
            self.connection.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while not self.answers and self.read(ANSWER_SECONDS):
            pass
        return self.answers.pop(0).get("return") if self.answers else None

    def hmp(self, line, cpu=0):
        return self.ask("human-monitor-command", **{"command-line": line, "cpu-index": cpu}) or ""

    def events(self, timeout):
        """What happened since; waits for something, at most so long."""
        if not self.happened:
            self.read(timeout)
        happened, self.happened = self.happened, []
        return happened


class Machine:
    """One boot. tests: places in the kernel's array; allowed: virtual seconds for each, of LIMITS."""

    def __init__(self, elf, tests, allowed, folder, cpus=2):
        assert tests, "an order of no tests is none"
        self.elf, self.names, self.allowed = elf, [elf.tests()[test] for test in tests], allowed
        self.folder = pathlib.Path(folder)
        self.key = secrets.token_bytes(16)
        self.results, self.marks, self.odd, self.began, self.ended, self.why = {}, [], [], False, None, ""
        self.offset = self.seq = 0  # of the records that were read
        self.memories = [Memory("kernel", elf.with_order(self.key, tests, [LIMITS.index(a) for a in allowed])),
                         Memory("ram", size=RAM_BYTES)]
        self.ram = mmap.mmap(self.memories[1].fd, RAM_BYTES, prot=mmap.PROT_READ)
        ours, theirs = socket.socketpair()
        fds = [m.fd for m in self.memories] + [theirs.fileno()]
        args = qemu_command(self.memories[0].path, self.memories[1].path, self.folder, theirs.fileno(), cpus)
        self.errors = tempfile.TemporaryFile()
        self.qemu = subprocess.Popen(confine.wrapped(args, QEMU_LIMITS), stdin=subprocess.DEVNULL, stdout=self.errors,
                                     stderr=self.errors, pass_fds=fds, start_new_session=True)
        theirs.close()
        self.qmp = Qmp(ours)
        self.heard, self.used, self.began_at = time.monotonic(), 0.0, 0.0  # when; CPU seconds in all, before this test

    def run(self, progress=lambda name, result: None):
        """To its end. progress is told each result as it comes."""
        try:
            self.qmp.ask("qmp_capabilities")
            self.qmp.hmp(f"o/b {PORT:#x} {LIMITS.index(BOOT_LIMIT)}")  # as the guest will do for each test
            self.qmp.ask("cont")
            while not self.qmp.gone:
                for event in self.qmp.events(0.1):
                    self.on_event(event, progress)
                self.read_records(progress)
                self.check_constants()
                self.check_flood()
                self.check_use()
                if confine.stopped.is_set():
                    self.end("failed", "it was stopped")
            status = self.qemu.wait()
            self.read_records(progress)
            self.check_constants()
            self.check_flood()
            return self.finish(status)
        finally:
            self.close()

    def close(self):
        self.qemu.kill()
        self.qemu.wait()
        self.qmp.connection.close()
        self.errors.close()
        self.ram.close()
        for memory in self.memories:
            memory.close()

    def end(self, ended, why):
        """Stop it, if it has not ended already."""
        if not self.ended:
            self.ended, self.why = ended, why
        with contextlib.suppress(OSError):
            self.qmp.connection.sendall(b'{"execute":"quit"}\n')

    def on_event(self, event, progress):
        kind, data = event["event"], event.get("data", {})
        if kind == "WATCHDOG":
            self.end("endless", self.where())
        elif kind == "SHUTDOWN" and data.get("reason") in ENDS:
            self.read_records(progress)
            if self.ended == "end" and len(self.results) == len(self.names) and \
                    all(result.result != "fail" for result in self.results.values()):
                self.odd = outside.faults(self.elf, self.ram, self.qmp.hmp("info registers"))
            self.end(*ENDS[data["reason"]])

    # What it says

    def read_records(self, progress):
        with contextlib.suppress(FileNotFoundError), open(self.folder / "records.jsonl", "rb") as file:
            file.seek(self.offset)
            text = file.read()
            text = text[:text.rfind(b"\n") + 1]
            self.offset += len(text)
            for line in text.splitlines():
                try:
                    record = dict(json.loads(line))
                except (ValueError, TypeError):
                    self.mark("something that is no record came over COM2, where only records belong")
                else:
                    self.on_record(record, progress)

    def on_record(self, record, progress):
        """Believe it, if it is signed and due."""
        kind = record.get("t")
        if kind != "test":
            self.began |= kind == "boot"  # and see below: where a stub stops the boot, tests still run
            if kind == "panic":
                self.why = self.why or f"PANIC {record.get('what')}"
            if kind == "end" and not self.ended:
                self.ended = "panic" if record.get("status") == "panic" else "end"
            return
        number = len(self.results)
        due = self.names[number] if number < len(self.names) else None
        if record.get("name") != due or not is_signed(self.key, number + 1, record):
            self.mark(f"a record that the runner did not sign says of {record.get('name')}: {record.get('result')}")
            return
        self.began, self.began_at = True, self.used
        self.results[due] = Result(record["result"], record.get("why", ""), record["cycles"] >> SHIFT)
        progress(due, self.results[due])

    def mark(self, text):
        if text not in self.marks and len(self.marks) < 20:
            self.marks.append(text)

    # What we see

    def check_constants(self):
        if not self.began:
            return
        for pa, content in self.elf.constant():
            if self.ram[pa:pa + len(content)] != content:
                at = next(n for n in range(len(content)) if self.ram[pa + n] != content[n])
                va = next(va - start + pa + at for _, _, va, start, size in self.elf.segments if start <= pa + at < start + size)
                self.mark(f"the kernel's code or constants were changed while it ran, at {self.elf.place(va)}")
                self.end("changed", "the kernel's own code or constants were overwritten")

    def check_flood(self):
        for name in ("console.txt", "records.jsonl"):
            with contextlib.suppress(FileNotFoundError):
                if (self.folder / name).stat().st_size >= LIMIT_BYTES:
                    self.end("flood", f"it wrote {LIMIT_BYTES >> 20} MiB or more to a serial port")

    def check_use(self):
        """A guest that has disarmed the watchdog may run, or sleep, for ever."""
        with contextlib.suppress(OSError, IndexError):
            times = pathlib.Path(f"/proc/{self.qemu.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
            used = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
            if used != self.used:
                self.used, self.heard = used, time.monotonic()
        allowed = self.allowed[min(len(self.results), len(self.names) - 1)] if self.began else BOOT_LIMIT
        if self.used - self.began_at > CPU_SECONDS[0] + CPU_SECONDS[1] * allowed:
            self.end("endless", f"{self.where()}\nthe watchdog was switched off")
        elif time.monotonic() - self.heard > IDLE_SECONDS:
            self.end("endless", "all CPUs sleep, and nothing will ever wake them")
        if time.monotonic() - self.heard > 2 * IDLE_SECONDS:
            self.qemu.kill()

    def where(self):
        """Where each CPU is, innermost first. Stops them."""
        self.qmp.ask("stop")
        return "\n".join(f"{cpu} was at {places}" for cpu, places in load_run().tessera.stuck.lines(self.qmp.hmp, self.elf.place))

    def finish(self, status):
        """How did it end?"""
        if status < 0 and not self.ended:
            self.ended, self.why = "killed", f"QEMU was killed by {signal.Signals(-status).name}"
        elif not self.ended:
            self.errors.seek(0)
            said = self.errors.read(2000).decode(errors="replace").strip()
            self.ended, self.why = "failed", f"QEMU ended with status {status}: {said}"
        return Boot(self.results, self.began, self.ended, self.why, self.said(), self.marks, self.odd)

    def said(self):
        """What stands on the console, by the test during which it came; before the first it is that one's, too."""
        try:
            text = (self.folder / "console.txt").read_bytes().decode(errors="replace").replace("\r", "")
        except FileNotFoundError:
            return {}
        parts = re.split(r"^(?:not )?ok \d+ [^\n]*\n", text, flags=re.MULTILINE)
        return dict(zip(self.names, parts))
