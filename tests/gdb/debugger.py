"""gdb beside a machine: both driven from one test, each answering when it is done.

A Debugged is a Machine (tests/qemu/machine.py: COM1, records, QMP, its RAM as a file) whose QEMU also listens for gdb.
A Gdb is a gdb without a terminal, fed through a pipe. Behind each command it is told to print a mark: what comes before
the mark is the command's output. While gdb is attached the machine stands still; detach() lets it go on.

What QEMU's monitor prints at length is asked for with hmp(), not with gdb's `monitor`: each line is a packet, gdb answers
each with a byte, QEMU reads none of these before the last line, and a Unix socket holds some 270 of them.
"""

import os
import select
import subprocess
import time

import machine
from machine import ELF, LIMIT, ROOT, Machine

MARK = "----that was all of it----"


class Gdb:
    """Gdb(rundir): one gdb, the kernel's symbols and our commands loaded."""

    def __init__(self, rundir, elf=ELF):
        self.log = open(rundir / "gdb.txt", "ab")  # what was said, for the eye
        self.process = subprocess.Popen(
            ["gdb", "-nx", "-q", "-iex", f"add-auto-load-safe-path {elf.parent}", str(elf)], cwd=ROOT, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {"LC_ALL": "C.UTF-8"})
        self("set confirm off", "set pagination off", "set prompt", "set width 0",
             "python from tessera import machine, paging, words")

    def __call__(self, *commands):
        """Have gdb do these; what it printed."""
        text = "".join(f"{line}\n" for line in commands) + f"echo \\n{MARK}\\n\n"
        self.process.stdin.write(text.encode())
        out = self.until_mark()
        self.log.write(f"<<< {commands}\n{out}".encode())
        self.log.flush()
        return out.removesuffix("\n")

    def until_mark(self):
        out, end = b"", f"\n{MARK}\n".encode()
        until = time.monotonic() + LIMIT
        while not out.endswith(end):
            left = until - time.monotonic()
            ready = left > 0 and select.select([self.process.stdout], [], [], left)[0]
            part = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            assert part, f"gdb {'has gone' if ready else 'does not answer'}: {out[-2000:]!r}"
            out += part
        return out.removesuffix(end).decode("utf-8", "replace")

    def python(self, expression):
        """What a Python expression gives inside gdb, as text; there machine, paging, words are ours."""
        return self(f"python print({expression})")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()


class Debugged(Machine):
    """A Machine with a gdb: Debugged(rundir, MEM="300M", …). reset=True: stopped at its first instruction."""

    def __init__(self, rundir, reset=False, **variables):
        self.gdb, self.socket = None, rundir / "gdb"
        flags = f"{variables.pop('QEMUFLAGS', '')} -gdb unix:{self.socket},server=on,wait=off" + " -S" * reset
        super().__init__(rundir, QEMUFLAGS=flags, **{"TIMEOUT": 0} | variables)
        if not reset:
            self.prompt()
        self.gdb = Gdb(rundir, elf=machine.ROOT / variables.get("KERNEL", ELF))
        if reset:
            self.wait_for_qemu()
            self.attach()

    def wait_for_qemu(self):
        """Until it answers on QMP: then it has opened gdb's socket, too."""
        until = time.monotonic() + LIMIT
        while True:
            try:
                return self.qmp("query-status")
            except (FileNotFoundError, ConnectionRefusedError):
                assert time.monotonic() < until and self.com1.isalive(), "QEMU does not start"
            select.select([], [], [], 0.01)

    def attach(self):
        """The machine stands still from here on."""
        text = self.gdb(f"target remote {self.socket}")
        assert "Connection refused" not in text and "timed out" not in text, text

    def detach(self):
        """The machine goes on."""
        self.gdb("detach")

    def mm(self, line):
        """One of our commands; its lines."""
        return self.gdb(f"mm {line}").splitlines()

    def __exit__(self, *_):
        if self.gdb:
            self.gdb.close()
        super().__exit__()
