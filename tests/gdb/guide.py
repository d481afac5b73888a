#!/usr/bin/python3
"""docs/gdb.md is a session: what is typed there is typed here, in one go, on one machine; gdb must answer as it says there.

    tests/gdb/guide.py          write the answers into docs/gdb.md: `make docs-gdb`
    tests/gdb/guide.py check    say what differs; tests/gdb/test_guide.py does this

A fence of kind `gdb` holds a transcript: `$ make gdb …` begins the session, what stands behind "(gdb) " is typed, the rest is
the answer. A line of "..." in an answer stands for some lines that are left out; it survives the renewal.

What depends on where the linker puts code, and on which frames are free, may differ (VARIES), but consistently: an address
that comes twice there comes twice here. All else must be equal: words, columns' contents, rights, addresses in the window.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DOCUMENT = ROOT / "docs/gdb.md"
FENCE = re.compile(r"^```gdb\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT, MARK, LEFT_OUT = "(gdb) ", "----that was all of it----", "..."
FLAGS = "-nx -ex 'set width 0' -ex 'set pagination off' -ex 'set prompt' -ex 'set confirm off' -ex 'set style enabled off'"
SECONDS = 120  # until a session that hangs is given up

WINDOW = range(0xFFFFC90000000000, 0xFFFFE90000000000)
# Numbers that may differ: of lines in sources and listings, offsets in functions, indexes in tables, counts of frames,
# seconds, distances.
VARIES = [r"(?<=\.[chS]:)\d+", r"(?<=, line )\d+", r"^\d+(?=\t)", r"(?<=\+)\d+(?=>)", r"(?<=\+)0x[0-9a-f]+", r"\[ *\d+\]",
          r"\d+(?= frames| page tables| entries| of \d)", r"\d+\.\d+(?= s\b)", r"[-+]\d+(?= 0x)",
          r"(?<=info=)\d+", r"(?<=entry )\d+(?=, 8 bytes)"]
NUMBER = re.compile("|".join(VARIES + [r"0x[0-9a-f]+"]))


# The document

class Step:
    """One thing typed, and the answer."""

    def __init__(self, command, line):
        self.command, self.line, self.answer = command, line, []

    def __str__(self):
        typed = self.command if self.command.startswith("$") else PROMPT + self.command
        return "".join(f"{line}\n" for line in [typed, *self.answer])


def read(text):
    """The Steps of each fence, in order."""
    fences = []
    for fence in FENCE.finditer(text):
        steps, number = [], text[:fence.start()].count("\n") + 2
        for line in fence[1].splitlines():
            if line.startswith((PROMPT, "$ ")):
                steps.append(Step(line.removeprefix(PROMPT), number))
            elif steps:
                steps[-1].answer.append(line)
            else:
                raise ValueError(f"line {number}: a fence must begin with what is typed: {line}")
            number += 1
        fences.append(steps)
    return fences


def write(text, fences):
    """The document with these transcripts."""
    new = iter(fences)
    return FENCE.sub(lambda _: "```gdb\n" + "".join(map(str, next(new))) + "```", text)


# The session

class Session:
    """gdb as `make gdb` starts it; answer() types one line."""

    def __init__(self, command, rundir, tree=ROOT):
        variables = dict(word.split("=", 1) for word in shlex.split(command)[3:])  # $ make gdb NAME=VALUE…
        unwanted = "MEM CPUS LA57 CPU MACHINE BREAK APPEND MAKEFLAGS BOOT CORE KERNEL CHECK KASAN UBSAN".split()
        env = {k: v for k, v in os.environ.items() if k not in unwanted}
        self.rundir = str(rundir)
        self.make = subprocess.Popen(["make", "-s", "gdb", f"GDBFLAGS={FLAGS}"], cwd=tree, text=True, errors="replace",
                                     env=env | variables | {"RUNDIR": self.rundir, "TUI": "0", "LC_ALL": "C.UTF-8"},
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def answer(self, command=""):
        """Its lines, as the document has them: in build/run, without blanks at their ends."""
        self.make.stdin.write(f"{command}\necho {MARK}\\n\n")
        self.make.stdin.flush()
        text = ""
        while not text.endswith(f"{MARK}\n"):
            line = self.make.stdout.readline()
            if not line:
                raise EOFError(f"gdb has gone: {text}")
            text += line
        text = text.removesuffix(f"{MARK}\n").replace(self.rundir, "build/run")
        return [line.rstrip() for line in text.splitlines() if line.strip() or text.strip()]

    def close(self):
        self.make.stdin.close()
        self.make.wait()


def play(fences):
    """The answers of a real session to these Steps."""
    steps = [step for steps in fences for step in steps]
    subprocess.run(["make", "-s", "build/tessera.elf"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)  # it tells what it compiles
    with tempfile.TemporaryDirectory(prefix="tessera-") as rundir:
        session = Session(steps[0].command, rundir)
        watchdog = subprocess.Popen(["sh", "-c", f"sleep {SECONDS}; kill -9 $0", str(session.make.pid)])
        try:
            return [session.answer("" if step.command.startswith("$") else step.command) for step in steps]
        finally:
            watchdog.kill()
            watchdog.wait()
            session.close()


# The comparison

class Comparison:
    """Which number there stands for which one here."""

    def __init__(self):
        self.here, self.there = {}, {}

    def same(self, there, here):
        """Are two lines equal, but for what may differ? Columns may be wider."""
        if NUMBER.sub("#", " ".join(there.split())) != NUMBER.sub("#", " ".join(here.split())):
            return False
        return all(map(self.same_number, NUMBER.findall(there), NUMBER.findall(here)))

    def same_number(self, there, here):
        if not there.startswith("0x") or not here.startswith("0x"):
            return True
        a, b = int(there, 16), int(here, 16)
        if a == b and a not in self.here and b not in self.there:
            return True
        if kind(a) != kind(b) or kind(a) == "fixed":
            return False
        return self.here.setdefault(a, b) == b and self.there.setdefault(b, a) == a


def kind(number):
    """What a number is: two of different kinds never stand for each other."""
    if number < 0x1000 or number in WINDOW:
        return "fixed"
    if number >= 0xFFFFFFFF80000000:
        return "image"
    if number >= 0xFFFF800000000000:
        return "direct map or struct page"
    return "entry" if number >> 63 else "physical address, or an entry for a table"


def match(there, here, comparison):
    """The answer's lines here, as the document would have them: what it leaves out left out. None: it does not fit."""
    if LEFT_OUT not in there:
        fits = len(there) == len(here) and all(map(comparison.same, there, here))
        return here if fits else None
    first = there.index(LEFT_OUT)
    if not all(map(comparison.same, there[:first], here)) or len(here) < first:
        return None
    rest = there[first + 1:]
    for start in range(first, len(here) + 1):
        trial = Comparison()
        trial.here, trial.there = dict(comparison.here), dict(comparison.there)
        if (rest or start == len(here)) and (found := match(rest, here[start:], trial)) is not None:
            comparison.here, comparison.there = trial.here, trial.there
            return here[:first] + [LEFT_OUT] + found
    return None


def check(text, answers=None):
    """What differs between the document and a session, or its answers: texts for people, none if nothing."""
    fences, comparison, wrong = read(text), Comparison(), []
    steps = [step for steps in fences for step in steps]
    for step, here in zip(steps, answers or play(fences)):
        if match(step.answer, here, comparison) is None:
            wrong.append(f"docs/gdb.md:{step.line}: (gdb) {step.command}\n" + "".join(f"- {line}\n" for line in step.answer)
                         + "".join(f"+ {line}\n" for line in here))
    return wrong


def renew(text, answers=None):
    """The document with new answers; what it leaves out stays left out."""
    fences = read(text)
    steps = [step for steps in fences for step in steps]
    for step, here in zip(steps, answers or play(fences)):
        step.answer = left_out_again(step.answer, here)
    return write(text, fences)


def left_out_again(there, here):
    """Lines before the first "..." are counted from above, those behind it from below."""
    if LEFT_OUT not in there:
        return here
    found = match(there, here, Comparison())
    if found:
        return found
    first, last = there.index(LEFT_OUT), len(there) - there[::-1].index(LEFT_OUT)
    below = len(there) - last
    return here[:first] + [LEFT_OUT] + (here[-below:] if below else [])


def main():
    text = DOCUMENT.read_text(encoding="utf-8")
    if sys.argv[1:] == ["check"]:
        wrong = check(text)
        print("\n".join(wrong) or f"{sum(map(len, read(text)))} commands are answered as docs/gdb.md says")
        return 1 if wrong else 0
    DOCUMENT.write_text(renew(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
