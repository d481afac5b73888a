"""answers - grade a sheet of answers about a machine (lab 0).

    results = grade(tree, lab, tests)       # {name: Result}

The student's machine is started from the tree's kernel, comes to its prompt, and ends; of it there is left a core, RAM
and control registers. In that the answers are worked out from outside, by two readers that share no code: ByHand,
entry by entry, and the walk that the tests of the kernel use. Then each answer is compared. One that is wrong is compared
with what the known mistakes make of this machine (byhand.py), so that the student hears what he did, and never what is right.

Of a sheet that is no TOML as a whole each `name = value` is read by itself: a slip costs that answer only.
"""

import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import tomllib

import byhand
import lab as labs
import machine
import outside
import seeds

sys.path.insert(0, str(labs.TREE / "tools/gdb"))
from tessera.core import Core  # noqa: E402  pylint: disable=wrong-import-position

FILE = "answers.toml"
KERNEL = "build/tessera-check.elf"
WRONG = "labs/0-walk/wrong"  # in a student's tree, too: the grader knows the mistakes by it
IMAGE_BASE = 0xFFFFFFFF80000000
LENGTH = {"index": 4, "tables": 3, "frames": 4, "distances": 3, "rights": 4, "missing": 4}
RIGHTS = {"---", "r--", "rw-", "r-x", "rwx", "--x", "-w-", "-wx"}
MAX_BITS = 64
EMPTY = "it is not answered yet"


# What stands on a sheet

def read(text):
    """{key: value, or a ValueError that says what is wrong with it}"""
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError):  # tomllib's error is a ValueError
        found = piecewise(text)
    return {key: checked(key, found.get(key, "")) for key in byhand.QUESTIONS}


def piecewise(text):
    """Each answer by itself."""
    found = {}
    for piece in re.split(r"^(?=[ \t]*\w+[ \t]*=)", text, flags=re.MULTILINE):
        name = re.match(r"[ \t]*(\w+)[ \t]*=", piece)
        if not name:
            continue
        try:
            value = tomllib.loads(piece)[name[1]]
        except RecursionError:
            value = ValueError("it is nested too deep")
        except ValueError as error:
            value = ValueError(no_toml(piece.split("=", 1)[1].split("#")[0].split("\n\n")[0].strip(), error))
        found[name[1]] = ValueError("it is there twice") if name[1] in found else value
    return found


def no_toml(value, error):
    """What is wrong with a line that TOML does not take."""
    if re.search(r"(?<![0-9a-fx])(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{3,}", value.lower()):
        return f"{value[:80]} is no number: hexadecimal needs 0x before it"
    return f"{value[:80]} cannot be read: {error}"


def checked(key, value):
    """As the question wants it, or a ValueError."""
    try:
        if isinstance(value, ValueError):
            return value
        if value in ("", []):
            return ValueError(EMPTY)
        if key not in LENGTH:
            return one(key, value)
        if not isinstance(value, list) or len(value) != LENGTH[key]:
            return ValueError(f"{str(value)[:80]} is no list of {LENGTH[key]}: write [ , ] with commas between them")
        return [one(key, item) for item in value]
    except ValueError as error:
        return error


def one(key, value):
    """A number, or rights."""
    if key == "rights":
        if str(value).lower() not in RIGHTS:
            raise ValueError(f'{str(value)[:80]!r} is no rights: they are three letters, as "r--" or "rw-"')
        return value.lower()
    if isinstance(value, str):
        try:
            value = int(value.strip(), 0)
        except ValueError:
            raise ValueError(f"{value[:80]!r} is no number: write 0x1f for hexadecimal, 31 for decimal") from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{str(value)[:80]!r} is no number: write 0x1f for hexadecimal, 31 for decimal")
    if value.bit_length() > MAX_BITS:
        raise ValueError(f"it has {value.bit_length()} bits, and an x86-64 address or entry has {MAX_BITS}")
    return value


# The machine

def boot(tree, login):
    """(what is asked for, a function that reads RAM, CR3) of a student's machine."""
    with tempfile.TemporaryDirectory(prefix="answers-") as folder:
        environ = {name: value for name, value in os.environ.items() if name not in machine.load_run().VARIABLES}
        environ |= {"BOOT": "direct", "CPUS": "1", "MEM": "64M", "KERNEL": KERNEL, "APPEND": seeds.words(login),
                    "RUNDIR": folder, "CORE": "1", "TIMEOUT": "120"}
        done = subprocess.run(["tools/run"], cwd=tree, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        try:
            core = Core(f"{folder}/core")
            asked = core.read(machine.Elf(pathlib.Path(tree, KERNEL)).symbols["lab_asked"] - IMAGE_BASE, 8 * len(byhand.FIELDS))
        except (OSError, ValueError, KeyError) as problem:
            raise labs.LabError(f"the machine of {login} does not come to its prompt ({problem}):\n{done.stdout[-2000:]}") from None
    facts = byhand.asked_for(asked), core.read, core.registers(0).cr3
    if done.returncode or not facts[0].window:
        raise labs.LabError(f"the machine of {login} does not come to its prompt:\n{done.stdout[-2000:]}")
    return facts


class Ram:
    """RAM as the other reader wants it."""

    def __init__(self, read_ram):
        self.read = read_ram

    def table(self, pa):
        return list(struct.unpack("<512Q", self.read(pa, 4096)))


def truth(asked, read_ram, cr3):
    """{key: what is right}, on which both readers agree."""
    right = read(byhand.ByHand(asked, read_ram, cr3).sheet())
    other = {leaf.va: leaf for leaf in outside.readers.walk(Ram(read_ram), cr3, 4)[0]}

    def pa(va, size=4096):
        return other[va & -size].pa + va % size
    pages = [other[asked.area + n * 4096].pa >> 12 for n in range(4)]
    seen = {"physical": pa(asked.byte), "huge": pa(asked.huge, 1 << 21), "frames": pages,
            "distances": [b - a for a, b in zip(pages, pages[1:])], "word": int.from_bytes(read_ram(pa(asked.byte), 8), "little"),
            "rights": [other[asked.other + n * 4096].prot for n in range(4)], "block": pa(asked.block, 1 << 21),
            "maps": next(leaf.va + asked.frame % 4096 for leaf in other.values()
                         if asked.other <= leaf.va < asked.other + (8 << 12) and leaf.pa == asked.frame & -4096)}
    differ = [key for key, value in seen.items() if right[key] != value]
    if differ or any(isinstance(value, ValueError) for value in right.values()):
        raise labs.LabError(f"two readers of one machine disagree on {differ}: {right} and {seen}")
    return right


# Grading

def test_of(key):
    return f"walk/{key}"


def judge(key, given, right, known):
    """A Result. known: [(what it is, its sheet)]"""
    if isinstance(given, ValueError) and str(given) == EMPTY:
        return machine.Result("fail", EMPTY, None)  # without its name, so that all of them are told together
    if isinstance(given, ValueError):
        return machine.Result("fail", f"{FILE}, {key}: {given}", None)
    if given == right:
        return machine.Result("pass", "", None)
    told = f"{FILE}, {key}: {byhand.written(key, given)} is wrong"
    what = next((says for says, sheet in known if sheet[key] == given), None) or mixed_up(given, right)
    return machine.Result("fail", f"{told}: it is {what}" if what else told, None)


def mixed_up(given, right):
    """Are these the digits of what is right, to the other base?"""
    pairs = list(zip(given, right)) if isinstance(given, list) else [(given, right)]
    if any(isinstance(a, str) for a, _ in pairs):
        return None
    if all(a == b or f"{a}" == f"{b:x}" for a, b in pairs):
        return "a hexadecimal number without 0x before it"
    if all(a == b or f"{a:x}" == f"{b}" for a, b in pairs):
        return "a decimal number with 0x before it"
    return None


def grade(tree, tests, login=None, text=None, told=lambda name, result: None):
    """{name: Result} of these tests. Without login and text they are the tree's."""
    login = login or seeds.of_tree(tree)
    if not login:
        raise labs.LabError(f"{tree} is nobody's tree of this lab: make lab LAB=0 OUT=folder SEED=login makes one, to grade there")
    if text is None:
        path = pathlib.Path(tree, FILE)
        if not path.is_file():
            raise labs.LabError(f"{FILE} is not there: `git checkout {FILE}` brings the empty one back")
        text = path.read_text(encoding="utf-8", errors="replace")
    facts = boot(tree, login)
    right, given, results = truth(*facts), read(text), {}
    known = [(mistake.says, read(byhand.made(mistake, *facts).sheet())) for mistake in byhand.mistakes(pathlib.Path(tree, WRONG))]
    known.sort(key=lambda mistake: -sum(given[key] == mistake[1][key] != right[key] for key in byhand.QUESTIONS))  # who explains most
    for key in (key for key in byhand.QUESTIONS if test_of(key) in tests):
        results[test_of(key)] = judge(key, given[key], right[key], known)
        told(test_of(key), results[test_of(key)])
    return results


def fill(tree, name):
    """Write the sheet of the solution, or of a mistake, into a tree that is built."""
    facts = boot(tree, seeds.of_tree(tree))
    wrong = [mistake for mistake in byhand.mistakes(pathlib.Path(tree, WRONG)) if mistake.name == name]
    student = byhand.made(wrong[0], *facts) if wrong else byhand.ByHand(*facts)
    pathlib.Path(tree, FILE).write_text(student.sheet(), encoding="utf-8")
