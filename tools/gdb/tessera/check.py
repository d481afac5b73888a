"""mm check: is the memory manager sound? All books compared, from outside."""

import time

import gdb

from . import words
from .audit import Audit
from .audit.leaks import leaked
from .command import Command, write
from .state import now


class Check(Command):
    """look for faults in all that the memory manager keeps, without its help

mm check [all] [leaks]

Reads struct pages, free lists, magazines, page tables, descriptors, free ranges, stocks, slabs, and compares each
with all others: every frame in one state and one place, every address of the window once, nothing writable and
executable, nothing lost. The kernel runs no instruction for it, so it can be asked anywhere: at the prompt, inside a
fault, in a kernel that hangs. In the middle of an operation some of it may be only due to that: then it says who is
in the middle of what.

Of many findings of a kind a few are shown; `all` shows all. $mm_faults is their number.

`leaks` also looks for what was handed out and nothing in memory points to any more: blocks, areas, small objects. That
is no proof: what you asked for at the prompt only you know. So these are not counted as faults, but in $mm_leaks.

    mm check
    mm frame 0x3c61000     what a finding names, looked at closer"""

    name, usage, words = "check", "[all] [leaks]", ("all", "leaks")

    def run(self, text):
        for word in text.split():
            if word not in self.words:
                raise self.misused(f"'{word}' is neither 'all' nor 'leaks'")
        began = time.monotonic()
        audit = Audit(now())
        write(report(audit, "all" in text.split(), time.monotonic() - began))
        gdb.set_convenience_variable("mm_faults", len(audit.findings))
        if "leaks" in text.split():
            lost, things = leaked(audit.state)
            write([f"leaked? {line}" for line in lost])
            write([f"{len(lost)} of {things} things in use have no pointer to them"])
            gdb.set_convenience_variable("mm_leaks", len(lost))


def report(audit, every, seconds):
    yield from audit.lines(every)
    for note in audit.notes:
        yield f"not looked at: {note}"
    under_way = list(audit.under_way())
    for text in under_way:
        yield f"under way: {text}"
    yield looked_at(audit.state, seconds)
    count = len(audit.findings)
    if count:
        yield words.number(count, "fault") + (" (see what is under way)" if under_way else "")
    else:
        yield "sound: nothing wrong found"


def looked_at(state, seconds):
    frames = sum(stretch.count for stretch in state.frames.stretches)
    return f"{frames} frames, {len(state.tree.tables)} page tables, {len(state.tree.entries)} entries; {seconds:.1f} s"


Check()
