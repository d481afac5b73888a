"""The kernel's console, COM1, in gdb: what it says appears between gdb's own lines, each behind "| ".

QEMU has written to console.txt whatever the kernel sent before it tells gdb of a stop. So all of it is shown at
each stop; and on a terminal also while the machine runs, by a thread that looks whether the file has grown. As
long as it runs gdb must run no Python: Ctrl-C, meant for the machine, would break that off instead, and be lost. So
what gdb has to do then is put together from functions of C: note that it runs; print what is ready.
"""

import collections
import contextlib
import functools
import itertools
import re
import signal
import threading

import gdb

from .command import is_terminal

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\0]")  # what moves a terminal's cursor, or colours


class Console:
    """One machine's console.txt, as far as it was shown."""

    def __init__(self, path):
        self.path, self.taken = path, 0
        self.lock, self.done = threading.Lock(), threading.Event()
        self.ready = {}  # "text": what the thread has read
        texts = iter(functools.partial(self.ready.pop, "text", ""), None)
        self.print_ready = functools.partial(next, map(gdb.write, texts, itertools.repeat(gdb.STDERR)))
        if is_terminal():
            old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for gdb's own thread
            threading.Thread(target=self.watch, daemon=True).start()
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def new(self, partial):
        """What has come, as it is to be shown: whole lines, and what is begun if partial is set."""
        text = b""
        with contextlib.suppress(OSError), open(self.path, "rb") as file:  # maybe taken away
            file.seek(self.taken)
            text = file.read()
        text = text if partial else text[:text.rfind(b"\n") + 1]
        self.taken += len(text)
        plain = ESCAPES.sub("", text.decode(errors="replace"))
        return "".join(f"| {line}\n" for line in plain.removesuffix("\n").split("\n")) if plain else ""

    def watch(self):
        """In the thread."""
        while not self.done.wait(0.1):
            with self.lock:
                text = self.new(False) if running and "text" not in self.ready else ""
                if text:
                    self.ready["text"] = text
                    gdb.post_event(self.print_ready)

    def show(self):
        """All that was said."""
        with self.lock:
            text = self.ready.pop("text", "") + self.new(True)
        if text:
            gdb.flush()
            gdb.write(text, gdb.STDERR if is_terminal() else gdb.STDOUT)  # what goes to STDERR is not paged
            gdb.flush()


running = collections.deque(maxlen=1)  # not empty: the machine runs
_now = None  # the Console that is shown


def show(path):
    """From here on show this one; None: none."""
    global _now
    stops()
    if _now:
        _now.done.set()
    _now = Console(path) if path else None


def stops(_event=None):
    """The machine has stopped."""
    running.clear()
    if _now:
        _now.show()


gdb.events.cont.connect(running.append)
gdb.events.stop.connect(stops)
gdb.execute("define hook-stop\npython tessera.console.stops()\nend")  # before gdb says where it stopped
