"""`make gdb` as a person types it: at a terminal, or with a script in GDBFLAGS. And which QEMUs a run has left."""

import os
import pathlib
import signal
import subprocess
import time
from collections import namedtuple

import pexpect

from machine import LIMIT, ROOT, environment

PROMPT = r"\(gdb\) "
Said = namedtuple("Said", "text status")


def variables_of(rundir, variables):
    """The environment: nothing inherited that would change the machine, gdb without this person's own settings."""
    env = environment(pathlib.Path(rundir), {"TUI": "0", "TERM": "xterm", "LC_ALL": "C.UTF-8", "APPEND": ""} | variables)
    return {k: v for k, v in env.items() if k not in ("BREAK", "GDBFLAGS", "MAKEFLAGS", "MAKELEVEL", "TIMEOUT") or k in variables}


def make(goal, rundir, script=None, **variables):
    """`make -s GOAL GDBFLAGS="-batch -x script"`, to its end: what it said, and make's exit status."""
    if script is not None:
        file = pathlib.Path(rundir) / "script.gdb"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(script, encoding="utf-8")
        variables["GDBFLAGS"] = f"-nx -batch -x {file}"
    with subprocess.Popen(["make", "-s", goal], env=variables_of(rundir, variables), cwd=ROOT, start_new_session=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace") as process:
        try:
            text, _ = process.communicate(timeout=3 * LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Said(text, process.returncode)


def at_terminal(goal, rundir, **variables):
    """The same at a terminal: a pexpect.spawn."""
    variables = {"GDBFLAGS": "-nx -ex 'set style enabled off' -ex 'set enable-bracketed-paste off'"} | variables
    child = pexpect.spawn("make", ["-s", goal], env=variables_of(rundir, variables), cwd=str(ROOT), timeout=LIMIT,
                          encoding="utf-8", codec_errors="replace", dimensions=(50, 150))
    child.delaybeforesend = None
    child.logfile_read = open(pathlib.Path(rundir) / "terminal.txt", "w", encoding="utf-8")
    return child


def command(child, line, prompt=PROMPT):
    """Type it at gdb's prompt, wait for the next. What was printed between."""
    child.sendline(line)
    child.expect(prompt)
    return child.before.replace("\r", "").split("\n", 1)[-1]


def processes(*words):
    """Those with all these in their command line."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if all(word in line for word in words) and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def qemus(rundir):
    return processes("qemu-system", f"{rundir}/")


def gone(rundir):
    """Wait until no QEMU of this run is left; False: one stays."""
    until = time.monotonic() + LIMIT
    while qemus(rundir) and time.monotonic() < until:
        time.sleep(0.02)
    return not qemus(rundir)


def end_all(rundir):
    """What a failed test left."""
    for pid in qemus(rundir):
        os.kill(pid, signal.SIGKILL)
