"""grading - the points of a tree: build it, run the tests of its lab, say what each earned and why.

    results = grade(tree, lab)          # {name: Test}, in the order of lab.toml

Points come from QEMU alone. The same tree gets the same points everywhere, every time: what a test sees depends on the
kernel's bytes and on nothing of the host (machine.py). Each test has a boot of its own, which costs a fraction of a second:
nothing that another one broke or left behind costs it points, or saves it some. All of these boots are the same until the
test begins, so where one does not come that far none does.

The tests on the host come first, as they take a moment only; they are for the student, and earn nothing.
"""

import collections
import json
import os
import pathlib
import re
import signal
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import answers
import confine
import machine
from report import NO_TESTS

KERNEL = "build/tessera-check.elf"
HOST_TESTS = "build/host-tests"
CPUS = 4
INSNS = "labs/support/insns.json"  # what each test takes in the master, for limits
UNKNOWN_INSNS = 50_000_000  # of a test that is not listed there
ROOM = 4  # times as much as in the master, and the shortest limit at least, is allowed
TOO_FEW = 8  # a test that passes in less than this part of what it takes was not really run
FAILED_CHECK = re.compile(r"^# ((?:\S+_test\.c:\d+|PANIC|leak): .*)", re.MULTILINE)  # the runner prints it before it is a verdict
BUILD_LIMITS = confine.Limits(cpu=300, wall=1200, file=256 << 20)
HOST_LIMITS = confine.Limits(cpu=12, wall=120, file=1 << 30)  # its RAM is a file; a lab takes 0.1 to 1.3 seconds
PER_SECOND = 1_000_000_000 >> machine.SHIFT  # instructions in a virtual second

# hint: its id, or None; advice: its text; said: on the console meanwhile; marks: what looks like meddling.
Test = collections.namedtuple("Test", "passed message hint advice name points max hidden insns said marks")


class GradeError(Exception):
    """Nothing was graded, and not because of the student: what is wrong, and what to do."""


class BuildError(Exception):
    """It does not compile: what the compiler said."""


def cpus_here():
    return len(os.sched_getaffinity(0))


def environment():
    """For make and what it runs: without what a make around us left there."""
    ours = "MFLAGS WERROR KERNEL ISO APPEND CHECK KASAN UBSAN BOOT RUNDIR TEST LAB V FLAGS SOURCES".split()
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name not in ours}


def build(tree, *goals, jobs=None, limits=BUILD_LIMITS):
    """What was said; BuildError if it failed."""
    done = confine.run(["make", "-s", f"-j{jobs or cpus_here()}", "CHECK=0", *goals], tree, limits, environment())
    text = "\n".join(line for line in done.text.splitlines() if not re.match(r"  [A-Z]+ +\S+$", line))
    if "internal compiler error: File size limit" in text:
        text = f"The compiler was stopped when it had written {limits.file >> 20} MiB: what is so large?"
    if done.status or done.why:
        raise BuildError(f"{text}\nThe compiler {done.why}." if done.why else text)
    return text


# What a test may take

def known_insns(tree):
    path = pathlib.Path(tree, INSNS)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def allowed(insns):
    """Virtual seconds, of those that the watchdog knows."""
    return next((s for s in reversed(machine.LIMITS) if s * PER_SECOND >= ROOM * insns), machine.LIMITS[0])


# QEMU

class Grader:
    """One kernel and the tests to be run in it; results by name."""

    def __init__(self, tree, tests, told=lambda name, result, said: None):
        self.elf = machine.Elf(pathlib.Path(tree, KERNEL))
        self.place = {name: n for n, name in enumerate(self.elf.tests())}
        missing = [test for test in tests if test not in self.place]
        if missing:
            raise GradeError(f"lab.toml has points for tests that the kernel does not have: {', '.join(missing)}\n  (those in a "
                             "lab's own folder are only in its trees: `make lab LAB=n OUT=folder`, and `make grade` there)")
        self.insns = known_insns(tree)
        self.tests, self.results, self.said, self.marks = tests, {}, {}, {}
        self.told, self.lock, self.stuck = told, threading.Lock(), None  # stuck: a boot that did not come to its test

    def run(self, jobs):
        """The longest first, so that none is left over at the end."""
        tests = sorted(self.tests, key=lambda test: (-self.insns.get(test, UNKNOWN_INSNS), test))
        with ThreadPoolExecutor(jobs) as pool:
            for done in [pool.submit(self.run_test, test) for test in tests]:
                done.result()

    def run_test(self, test):
        """In a boot of its own, unless another one has shown that none comes to its test."""
        boot = self.stuck or self.boot(test)
        if not boot.began:
            self.stuck = boot
        if boot.marks or boot.ended in ("flood", "changed"):  # then nothing of it counts
            why = boot.why or "somebody else than the runner wrote records of tests"
            result = machine.Result("fail", "\n  ".join([why, *boot.marks]), 0)
        elif not boot.began:
            result = machine.Result("fail", f"{NO_TESTS} {self.death(boot, None)}", 0)
        else:
            result = boot.results.get(test) or machine.Result("fail", self.death(boot, test), 0)
        self.settle(test, result, boot)

    def boot(self, test):
        with tempfile.TemporaryDirectory(prefix="grade-") as folder:
            boot = machine.Machine(self.elf, [self.place[test]], [self.allowed(test)], folder, CPUS).run()
        if boot.ended in ("failed", "killed"):
            raise GradeError(f"{boot.why}\n  (that is not the student's fault; nothing was graded)")
        return boot

    def allowed(self, test):
        return allowed(self.insns.get(test, UNKNOWN_INSNS))

    def settle(self, test, result, boot):
        said = "".join(boot.said.values())
        mark = self.doubt(test, result, said) if result.result == "pass" else ""
        if mark:
            result = machine.Result("fail", mark, result.insns)
            boot.marks.append(mark)
        with self.lock:
            self.results[test], self.said[test], self.marks[test] = result, said, boot.marks + boot.odd
            self.told(test, result, said)

    def doubt(self, test, result, said):
        """Why a test cannot have passed, though its record says so; or ""."""
        takes, complaint = self.insns.get(test, 0), FAILED_CHECK.search(said)
        if result.insns < takes // TOO_FEW:
            return f"{test} passed after {result.insns} instructions, where it takes {takes}: something ended it before it was done"
        if complaint:
            return f"{test} passed, though on the console it said: {complaint[1]}"
        return ""

    def death(self, boot, test):
        """How a machine died, in words that hints may look for."""
        seconds = self.allowed(test) if test else machine.BOOT_LIMIT
        text = {"endless": f"it did not end within {seconds * PER_SECOND // 1_000_000} million instructions",
                "reset": "the machine was reset: a triple fault, an exception that could not even be reported",
                "off": "the machine was switched off in the middle of it",
                "end": "the kernel ended its work without a word of this test",
                "panic": ""}[boot.ended]
        return "\n  ".join(part for part in (text, *boot.why.splitlines()) if part)


def run_answers(tree, lab, tests, told=lambda name, result: None, login=None, text=None):
    """{name: Test} of a lab that asks for answers: those in the tree, or these, for this student's machine."""
    results = answers.grade(tree, tests, login, text, told)
    return {test: judged(lab, test, result) for test, result in results.items()}


def run_kernel(tree, lab, tests, jobs=None, told=lambda name, result, said="": None):
    """{name: Test}. told(name, Result, said) hears of each at once."""
    if lab.answers:
        return run_answers(tree, lab, tests, told)
    grader = Grader(tree, tests, told)
    twice = [name for name, number in collections.Counter(grader.elf.tests()).items() if number > 1]
    if twice:
        return fail_all(lab, tests, f"two tests are called {twice[0]}: one of them is none of ours")
    grader.run(jobs or cpus_here())
    return {test: judged(lab, test, grader.results[test], grader.said[test], grader.marks[test]) for test in tests}


def judged(lab, test, result, said="", marks=()):
    passed = result.result == "pass"
    message = f"it was skipped: {result.why}" if result.result == "skip" else result.why
    hint = None if passed else lab.hint(test, message)
    return Test(passed, message, hint and hint.id, hint and hint.text, test, lab.points[test] if passed else 0,
                lab.points[test], test in lab.hidden, result.insns, said, list(marks))


def fail_all(lab, tests, why):
    """All of them, for one reason."""
    return {test: judged(lab, test, machine.Result("fail", why, 0)) for test in tests}


def grade(tree, lab, tests=None, jobs=None, told=lambda name, result, said="": None):
    """Build the kernel, run the lab's tests or these of them: {name: Test}. told(name, Result, said) hears of each at once."""
    tests = list(lab.points) if tests is None else tests
    try:
        build(tree, KERNEL, jobs=jobs)
    except BuildError as error:
        return fail_all(lab, tests, f"it does not compile:\n{error}")
    return run_kernel(tree, lab, tests, jobs, told)


# The host

def run_host(tree, tests, told=lambda name, result: None):
    """{name: Result} of those that run on the host; told hears of each at once. If one ends all, each runs by itself.
    Not if it never ends: the others would, too, each until its limit."""
    results, died, endless = host_run(tree, tests, told)
    for test in [test for test in tests if died and test not in results]:
        found = {}
        if not endless:
            found, died, endless = host_run(tree, [test], told)
        if endless or died and test not in found:
            found = {test: machine.Result("fail", died, 0)}
            told(test, found[test])
        results |= found
    return results


def host_run(tree, tests, told):
    """(results, how it died or "", did it never end?) of one process."""
    parser = HostParser(tests, told)
    done = confine.run([HOST_TESTS, ",".join(tests)], tree, HOST_LIMITS, environment(), parser.line)
    if parser.seen == parser.plan:
        return parser.results, "", False
    endless = any(word in done.why for word in ("CPU", "did not end"))
    why = f"it did not end within {HOST_LIMITS.cpu} seconds of CPU time: this test, or one that ran with it\n" \
          "  what QEMU says of it counts; `make grade HOST=0` asks only that" if endless else \
          done.why or how_it_ended(done.status)
    return parser.results, "\n".join(parser.notes[-40:] + [why]), endless


def how_it_ended(status):
    """A wild pointer is reported by who catches the fault; with no stack left nobody can."""
    if status >= 0:
        return f"the program ended with status {status}"
    return f"the program was killed by {signal.Signals(-status).name}" + \
        ": its stack was used up, by deep recursion" * (-status == signal.SIGSEGV)


class HostParser:
    """KTAP as it comes."""

    def __init__(self, tests, told):
        self.tests, self.told, self.results, self.notes, self.plan, self.seen = tests, told, {}, [], None, 0

    def line(self, line):
        plan = re.fullmatch(r"1\.\.(\d+)", line)
        verdict = re.match(r"(not ok|ok) \d+ (\S+)(?: # SKIP (.*))?", line)
        if plan:
            self.plan = int(plan[1])
        elif verdict:
            self.seen += 1
            result = "fail" if verdict[1] == "not ok" else "pass" if verdict[3] is None else "skip"
            if verdict[2] in self.tests:
                self.results[verdict[2]] = machine.Result(result, "\n".join(self.notes) if result == "fail" else "", 0)
                self.told(verdict[2], self.results[verdict[2]])
            self.notes = []
        elif len(self.notes) < 1000 and not line.startswith("KTAP"):
            self.notes.append(line.removeprefix("# "))
