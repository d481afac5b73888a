"""The kernel's console, COM1, in gdb: what it says appears between gdb's own lines, each behind "| ".

QEMU has written to console.txt whatever the kernel sent before it tells gdb of a stop. So all of it is shown at
each stop; and on a terminal also while the machine runs, by a thread that looks whether the file has grown.
"""

import contextlib
import os
import re
import signal
import threading

import gdb

from .command import is_terminal

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\0]")  # what moves a terminal's cursor, or colours


class Console:
    """One machine's console.txt, as far as it was shown."""

    def __init__(self, path):
        self.path, self.shown = path, 0
        self.running = threading.Event()  # cleared: the machine is stopped

    def show(self, partial):
        """Print what is new: whole lines, and what is begun if partial is set."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.shown)
                new = file.read()
        except OSError:  # taken away
            return
        new = new if partial else new[:new.rfind(b"\n") + 1]
        self.shown += len(new)
        text = ESCAPES.sub("", new.decode(errors="replace"))
        if text:
            gdb.write("".join(f"| {line}\n" for line in text.removesuffix("\n").split("\n")))
            gdb.flush()

    def runs(self):
        """The machine runs on."""
        if is_terminal() and not self.running.is_set():
            self.running.set()
            old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # Ctrl-C is for gdb's own thread
            threading.Thread(target=self.look, daemon=True).start()
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def look(self):
        """In the thread, which must leave all else to gdb's own."""
        stopped = threading.Event()
        while self.running.is_set():
            with contextlib.suppress(OSError):
                if os.stat(self.path).st_size > self.shown:
                    gdb.post_event(self.show_live)
            stopped.wait(0.1)

    def show_live(self):
        try:
            if self.running.is_set():
                self.show(False)
        except KeyboardInterrupt:  # it was meant for the machine, but came while gdb was here
            gdb.execute("interrupt")

    def stops(self):
        self.running.clear()
        self.show(True)


_now = None  # the Console that is shown


def stops():
    """The machine has stopped."""
    if _now:
        _now.stops()


def show(path):
    """From here on show this one; None: none."""
    global _now
    if _now:
        _now.stops()
    _now = Console(path) if path else None


gdb.events.cont.connect(lambda _: _now and _now.runs())
gdb.events.exited.connect(lambda event: hasattr(event, "exit_code") and stops())  # else gdb lets go of it
gdb.events.stop.connect(lambda _: stops())
gdb.execute("define hook-stop\npython tessera.console.stops()\nend")  # before gdb says where it stopped
