"""report - results of grading, for people and for programs.

    text()          for a terminal: each failed test with what was done, expected and got, a hint, and how to see it again
    as_json()       all that is known; JSON=file
    junit()         what CI systems read; JUNIT=file
    gradescope()    results.json of a Gradescope autograder; GRADESCOPE=file
"""

import os
import pathlib
import re
import sys
import subprocess
import textwrap
import xml.etree.ElementTree as xml

import machine

WIDTH = 110
STAFF = "for the staff: what looks odd"
SAID_LINES = 24  # of the console, around a failure
GOT_LINES = 12
CALLERS = 6
KERNEL = "build/tessera-check.elf"
MISSING = re.compile(r"(PANIC )?lab \d+: \w+ is yours to write")
NOT_COMPILED = "it does not compile"
BEFORE_ALL = "so it is before all tests"  # of a drill (tests/runner.c): then no test is called
NO_TESTS = "the kernel does not get as far as its tests:"  # so begins what is said then; hints look for it, too


def colours(stream=sys.stdout):
    """The function that colours a text; it does so only on a terminal whose owner wants it. https://no-color.org"""
    wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    codes = {"good": 32, "bad": 31, "dim": 2, "strong": 1}
    return lambda kind, text: f"\033[{codes[kind]}m{text}\033[m" if wanted else text


# What a message says

def expected_and_got(message):
    """(what was expected, what came) of a failure, in the runner's words (tests/runner.c)."""
    message = re.sub(r"^\S+\.[ch]:\d+: ", "", message)
    equal = re.fullmatch(r"(.*) == (.*) was (0x\w+) and (0x\w+)", message)
    panic = re.match(r"a panic that says '(.*)' was expected, but:\n(.*)", message, re.DOTALL)
    leak = re.match(r"leak: (.*) before, (.*) after", message)
    if equal:
        left, right, a, b = equal.groups()
        return f"{left} == {right}", f"{left} is {number(a)}" + ("" if is_number(right) else f", {right} is {number(b)}")
    if message.endswith(" was false"):
        return message.removesuffix(" was false"), "that is false"
    if panic:
        return f"a panic that says '{panic[1]}'", panic[2]
    if leak:
        return f"{leak[1]}, as before the test", leak[2]
    if message.startswith("PANIC"):
        return "no panic", message
    return "", message


def is_number(text):
    return re.fullmatch(r"-?(0x[0-9a-f]+|[0-9]+)[ul]*", text) is not None


def number(text):
    """Small ones in decimal, too."""
    value = int(text, 16)
    return f"{value} ({text})" if 9 < value < 1 << 32 else f"-{(1 << 64) - value} ({text})" if value >> 40 == 0xFFFFFF else text \
        if value > 9 else str(value)


def source_lines(tree, message, before=4):
    """The lines that lead to the one where a test failed, which has a mark."""
    where = re.match(r"(\S+\.[ch]):(\d+): ", message)
    path = where and pathlib.Path(tree, where[1])
    if not path or not path.is_file():
        return []
    lines, at = path.read_text(encoding="utf-8", errors="replace").splitlines(), int(where[2])
    brace = max((n for n in range(min(at, len(lines))) if lines[n] == "{"), default=0)  # lines count from 0 here
    name = re.match(r"TEST\(\w+, (\w+)\)", lines[brace - 1]) or re.search(r"(\w+)\(", lines[brace - 1])
    shown = range(max(brace + 2, at - before), min(at, len(lines)) + 1)
    return [f"{where[1]}, {name[1] if name else '?'}"] + [
        f"{n}{' >' if n == at else '  '} {lines[n - 1].expandtabs(4)}" for n in shown]


def said_lines(said, message):
    """What the kernel printed of a fault, where it tells more than the message."""
    lines = [line for line in said.splitlines() if not line.startswith(("# ", "KTAP"))]
    first = next((n for n, line in enumerate(lines) if line.startswith(("EXCEPTION", "FAULT", "PANIC"))), None)
    return [] if first is None or "PANIC" not in message else lines[first:first + SAID_LINES]


def callers(said, message, tree):
    """Who called, of a panic: functions, innermost first, and where in the source, if addr2line knows."""
    told = re.search(r"^# called from (.+)|called from, innermost first:\n((?:  0x[0-9a-f]+ \S+\n)+)", said, re.MULTILINE)
    if not told or "PANIC" not in message:
        return []
    found = [(name, int(offset, 16)) for name, offset in re.findall(r"([A-Za-z_][\w.]*)\+(0x[0-9a-f]+)", told[0])]
    found = [place for place in found if place[0] not in ("panic", "trap", "trap_entry")]
    end = next((n for n, place in enumerate(found) if place[0] in ("panic_caught", "survives", "run_test")), len(found))
    found = found[:min(end, CALLERS)]
    lines, wide = places(found, pathlib.Path(tree)), max((len(name) for name, _ in found), default=0)
    return [f"{name:{wide}}  {line}".rstrip() for (name, _), line in zip(found, lines)]


def places(found, tree):
    """file:line of each (function, offset), or ""."""
    nothing = [""] * len(found)
    try:
        elf = machine.Elf(tree / KERNEL)
        starts = [[start for start, size, name in elf.functions if name == wanted and offset < size] for wanted, offset in found]
        words = [f"{start[0] + offset:#x}" if len(start) == 1 else "0" for start, (_, offset) in zip(starts, found)]
        said = subprocess.run(["addr2line", "-e", tree / KERNEL, *words], capture_output=True, text=True, check=True).stdout
    except (OSError, ValueError, subprocess.CalledProcessError):
        return nothing
    lines = [os.path.normpath(line.split(" ")[0]) for line in said.splitlines()]
    return [line if (tree / line.partition(":")[0]).is_file() else "" for line in lines] if len(lines) == len(found) else nothing


def without_sleepers(got):
    """Where each CPU was, in one line for all that slept: they wait for work, and tell nothing."""
    asleep = re.findall(r"^  CPU (\d+) was at cpu_sleep\+.*\n?", got, re.MULTILINE)
    if not asleep:
        return got
    rest = re.sub(r"^  CPU \d+ was at cpu_sleep\+.*\n?", "", got, flags=re.MULTILINE).rstrip("\n")
    return f"{rest}\n  CPU{'s' * (len(asleep) > 1)} {', '.join(asleep)} slept"


def first_lines(got):
    """What came of it; an audit of what was destroyed may say thousands of things."""
    got = re.sub(r"^(  CPU .*?) < panic_caught\+.*", r"\1", got, flags=re.MULTILINE)  # there a test, or a check, begins
    lines = without_sleepers(got).splitlines()
    left = len(lines) - GOT_LINES
    return lines if left < 2 else lines[:GOT_LINES] + [f"... and {left} lines more"]


def again(test, lab_word):
    """(the command that runs just this again, the same under gdb or "")"""
    if test.insns is None:  # no test in the kernel: an answer
        return f"make grade{lab_word} TEST={test.name}", "make gdb"
    variables = "BOOT=direct CHECK=1 CPUS=4 MEM=64M"
    if test.message.startswith(NO_TESTS):  # any boot shows it, and no test is ever called
        return f"make run {variables} APPEND=exit", f"make gdb BREAK={where_it_died(test.message)} {variables}"
    function, rerun = stop_in(test), f"make grade{lab_word} TEST={test.name}"
    if MISSING.match(test.message) or test.message.startswith(NOT_COMPILED):  # there is nothing yet to look at
        return rerun, ""
    return rerun, f"make gdb BREAK={function} {variables} APPEND=\"test={test.name}\""


def stop_in(test):
    """The function to stop in: the test, unless it is never called, or what panics tells more."""
    if test.message.startswith("PANIC"):
        return "panic"
    if BEFORE_ALL in test.message:
        return "drill"
    if re.search(r"CPU 0 was at .*\b(check_before|take_stock|drill)\+", test.message):
        return where_it_died(test.message)
    return "test_" + test.name.replace("/", "_")


def where_it_died(message):
    """The function to stop in: the one that CPU 0 did not leave; where what panics is told; or where mm/ begins."""
    place = re.search(r"^  CPU 0 was at ([a-z_]\w*)", message, re.MULTILINE)
    return place[1] if place else "panic" if "PANIC" in message else "mm_init"


# Text

def failure(test, tree, lab_word, colour, fields=("did", "again", "gdb")):
    """The block of a test that failed."""
    expected, got = expected_and_got(test.message)
    rerun, gdb = again(test, lab_word)
    source = source_lines(tree, test.message)
    rows = [("did", source) if "did" in fields else ("", []), ("expected", expected.splitlines()), ("got", first_lines(got)),
            ("callers", callers(test.said, test.message, tree)), ("said", said_lines(test.said, test.message)),
            ("hint", textwrap.wrap(" ".join(test.advice.split()), WIDTH - 10) if test.advice else []),
            ("again", [rerun] if "again" in fields else []), ("in gdb", [gdb] if gdb and "gdb" in fields else [])]
    lines = [colour("bad", f"{'FAIL':5} {test.name}") + f"  {test.points} of {test.max} points"]
    for name, content in rows:
        lines += [f"  {name if n == 0 else '':9} {line}" for n, line in enumerate(content)]
    return "\n".join(lines)


def cause(message, written):
    """The same for tests that fail for one reason: an endless loop is caught elsewhere each time, a panic names other pages."""
    if message.startswith(("it did not end", f"{NO_TESTS} it did not end")):
        calls = [re.findall(r"([A-Za-z_]\w*)\+0x", line) for line in message.splitlines() if " was at " in line]
        own = next((name for line in calls for name in reversed(line) if name in written), None)
        return "endless", own or message
    return re.sub(r"\b(0x[0-9a-f]+|\d+)\b", "#", message) if message.startswith("PANIC") else message


def text(results, tree, lab, lab_word="", colour=lambda kind, words: words):
    """All of it. What failed comes last, where the eye is, and the sum behind it."""
    blocks = [f"{colour('good', 'pass ')} {test.name}  {test.points} of {test.max} points"
              for test in results.values() if test.passed]
    failed = [test for test in results.values() if not test.passed]
    same = {}
    for test in failed:
        same.setdefault(cause(test.message, {name for _, name in lab.functions}), []).append(test)
    if failed and all(test.message.startswith(NOT_COMPILED) for test in failed):
        return f"{failed[0].message[0].upper()}{failed[0].message[1:]}\n\n" + total(results, lab, colour)
    for tests in same.values():
        blocks.append("\n" + failure(tests[0], tree, lab_word, colour))
        if len(tests) > 1:
            blocks.append(colour("bad", "FAIL ") + " for the same reason: " + textwrap.fill(
                ", ".join(f"{test.name} ({test.max})" for test in tests[1:]), WIDTH, initial_indent=" " * 29, subsequent_indent=" " * 6).strip())
    return "\n".join([*blocks, table(results)]) + "\n" + total(results, lab, colour)


TABLE = "# | "  # so begins what tests print for a table below all results


def table(results):
    """Each row once: of several tests that print a row of one name, the first one's counts."""
    lines = [line.removeprefix(TABLE) for test in results.values() for line in test.said.splitlines() if line.startswith(TABLE)]
    rows = {}
    for line in lines:
        rows.setdefault(line.split(" ", 1)[0], line.rstrip())
    return "".join(f"\n{row}" for row in rows.values()) + "\n" * bool(rows)


def points(results):
    return sum(test.points for test in results.values())


def total(results, lab, colour=lambda kind, words: words):
    most, passed = sum(test.max for test in results.values()), sum(test.passed for test in results.values())
    line = f"{lab.title}: {points(results)} of {most} points, {passed} of {len(results)} tests"
    marks = sorted({mark for test in results.values() for mark in test.marks})
    odd = "".join(f"\nodd: {mark}" for mark in marks)
    return colour("strong", line) + colour("bad", odd) if odd else colour("strong", line)


# For programs

def as_json(results, lab, seconds, host=None):
    """docs/teaching.md has the fields."""
    return {"version": 1, "lab": lab.number, "name": lab.name, "points": points(results),
            "max": sum(test.max for test in results.values()), "seconds": round(seconds, 1),
            "marks": sorted({mark for test in results.values() for mark in test.marks}),
            "tests": [{"name": t.name, "result": "pass" if t.passed else "fail", "points": t.points, "max": t.max,
                       "hidden": t.hidden, "message": t.message, "hint": t.hint, "insns": t.insns} for t in results.values()],
            "host": [{"name": name, "result": r.result, "message": r.why} for name, r in (host or {}).items()]}


XML_BAD = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")


def junit(results, lab, seconds):
    """One suite, a case a test."""
    failed = sum(not test.passed for test in results.values())
    suite = xml.Element("testsuite", name=f"lab {lab.number}", tests=str(len(results)), failures=str(failed), errors="0",
                        time=f"{seconds:.1f}")
    for test in results.values():
        group, _, name = test.name.partition("/")
        case = xml.SubElement(suite, "testcase", classname=group, name=name)
        if not test.passed:
            message = XML_BAD.sub("?", test.message)
            xml.SubElement(case, "failure", message=message.splitlines()[0] if message else "").text = message
    root = xml.Element("testsuites")
    root.append(suite)
    return xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def gradescope(results, tree, lab, seconds):
    """https://gradescope-autograders.readthedocs.io/en/latest/specs/#output-format"""
    tests = [{"name": t.name, "score": t.points, "max_score": t.max, "status": "passed" if t.passed else "failed",
              "output": "" if t.passed else failure(t, tree, "", lambda kind, words: words), "output_format": "text",
              "visibility": "hidden" if t.hidden else "visible"} for t in results.values()]
    marks = sorted({mark for test in results.values() for mark in test.marks})
    if marks:
        tests.append({"name": STAFF, "score": 0, "max_score": 0, "output": "\n".join(marks),
                      "output_format": "text", "visibility": "hidden"})
    return {"score": points(results), "execution_time": round(seconds), "output": total(results, lab).splitlines()[0],
            "output_format": "text", "visibility": "visible", "stdout_visibility": "hidden", "tests": tests}
