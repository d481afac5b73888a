"""confine - run a program that may misbehave: it cannot use up the machine, and all that it started ends with it.

The limits are the kernel's own (prlimit), on CPU time rather than on time, so that a busy host changes
nothing; the limit on time is only a net. What it says is kept up to OUTPUT_BYTES, and the rest thrown away.
"""

import collections
import os
import select
import signal
import subprocess
import threading
import time

OUTPUT_BYTES = 1 << 20
stopped = threading.Event()  # set it, and all that runs ends soon, in whichever thread
Limits = collections.namedtuple("Limits", "cpu wall file memory", defaults=(None,))  # seconds, seconds, bytes, bytes
Ended = collections.namedtuple("Ended", "status text why")  # why: which limit it met, or ""


def wrapped(args, limits):
    """args as a command that takes these limits on itself; it ends with the thread that started it."""
    most = {"core": 0, "cpu": limits.cpu, "fsize": limits.file, "as": limits.memory}
    return ["setpriv", "--pdeathsig", "KILL", "prlimit", *(f"--{what}={n}" for what, n in most.items() if n is not None), *args]


def told_why(status, limits):
    """The limit that a status speaks of; make and the shell pass on a child's signal as 128 + n."""
    for number, why in ((signal.SIGXFSZ, f"wrote a file of more than {(limits.file or 0) >> 20} MiB"),
                        (signal.SIGXCPU, f"used the CPU for more than {limits.cpu} seconds"),
                        (signal.SIGKILL, f"was killed: more than {limits.cpu} seconds of CPU time, or out of memory")):
        if status in (-number, 128 + number):
            return why
    return ""


def run(args, cwd, limits, env=None, on_line=lambda line: None):
    """Ended. on_line is told each line as it comes."""
    with subprocess.Popen(wrapped(args, limits), cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True) as child:
        try:
            kept, in_time = listen(child, time.monotonic() + limits.wall, on_line)
            why = "" if in_time else f"did not end within {limits.wall} seconds"
        finally:
            end_session(child)
    return Ended(child.returncode, kept.decode(errors="replace"), why or told_why(child.returncode, limits))


def listen(child, deadline, on_line):
    """(what it said, did it end in time?)"""
    kept = begun = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or stopped.is_set():
            return kept, False
        if not select.select([child.stdout], [], [], min(left, 1))[0]:
            if child.poll() is not None:
                return kept, True  # what it left behind holds the pipe
            continue
        more = os.read(child.stdout.fileno(), 1 << 16)
        if not more:
            return kept, ends(child, left)
        *lines, begun = (begun + more).split(b"\n")
        kept += more[:OUTPUT_BYTES - len(kept)]
        begun = begun[-OUTPUT_BYTES:]
        for line in lines:
            on_line(line.decode(errors="replace"))


def ends(child, seconds):
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def end_session(child):
    """Whatever is left of it and of what it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()
