"""regrading - grade what strangers hand in, each beside the others, none in the way of another.

Of a submission only the functions that the lab asks for are taken, and what else the student defined for them; they
are laid over a pristine tree, so whatever he did to tests, tools or Makefile has no effect (submission.py, rules.py).
Compiler and kernel run under limits (confine.py, machine.py). Nothing of a submission ever runs on this machine itself: the
tests on the host are left out, points come from QEMU anyway.
"""

import csv
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import confine
import csource
import grading
import lab as labs
import report
import rules
import seeds
import submission

BUILD_LIMITS = confine.Limits(cpu=60, wall=600, file=64 << 20, memory=2 << 30)
COLUMNS = ("student", "points", "max", "odd", "note")  # then a column for each test


class Pristine:
    """A tree of the lab as students get it, with everything compiled."""

    def __init__(self, tree, lab):
        self.tree, self.lab = pathlib.Path(tree), lab
        self.headers = rules.headers_of_mm(tree)
        if not self.headers or not (self.tree / grading.KERNEL).exists():
            raise grading.GradeError(f"{tree} is not built: make -C {tree} {grading.KERNEL}")
        self.names = rules.declared([self.tree / name for name in self.headers])

    def text(self, file):
        return (self.tree / file).read_text(encoding="utf-8")


def pristine_of_master(lab, folder=None):
    """Made when first asked for, and anew when the master has changed. Many may ask at once."""
    folder = pathlib.Path(folder or labs.TREE / "build/regrade")
    folder.mkdir(parents=True, exist_ok=True)
    tree, stamp = folder / f"lab{lab.number}", folder / f"lab{lab.number}.stamp"
    with open(folder / f"lab{lab.number}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        changed = labs.starter_files(lab)[0]
        state = fingerprint(lab, changed)
        if not stamp.exists() or stamp.read_text(encoding="ascii") != state or not (tree / grading.KERNEL).exists():
            stamp.unlink(missing_ok=True)
            shutil.rmtree(tree, ignore_errors=True)
            labs.write_tree(lab, tree, changed)
            try:
                grading.build(tree, grading.KERNEL)
            except grading.BuildError as error:
                raise grading.GradeError(f"{tree}, the pristine tree, does not compile:\n{error}") from None
            stamp.write_text(state, encoding="ascii")
    return Pristine(tree, lab)


def fingerprint(lab, changed):
    digest = hashlib.sha256()
    for name, path in sorted(labs.student_files().items()):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    for name, text in sorted({**labs.lab_files(lab), **changed}.items()):
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()


# One submission

class Outcome:
    """What came of one submission."""

    def __init__(self, pristine, student):
        self.pristine, self.lab, self.student = pristine, pristine.lab, student
        self.results, self.notes, self.complaints, self.seconds = {}, [], [], 0.0

    def refuse(self, why):
        self.results = grading.fail_all(self.lab, list(self.lab.points), why)

    @property
    def odd(self):
        """What a person should look at."""
        return sorted(set(self.complaints) | {mark for test in self.results.values() for mark in test.marks})


def regrade(pristine, path, student, jobs=1):
    """An Outcome, whatever is in the submission. Only GradeError, which is our own fault, comes through."""
    began, outcome = time.monotonic(), Outcome(pristine, student)
    with tempfile.TemporaryDirectory(prefix="regrade-") as folder:
        tree = pathlib.Path(folder, "tree")
        try:
            handed_in = submission.read(path, pristine.lab.taken)
            if pristine.lab.answers:
                answered(outcome, handed_in[pristine.lab.answers])
                return outcome
            texts = merged(outcome, handed_in)
            subprocess.run(["cp", "-a", "--reflink=auto", f"{pristine.tree}/.", tree], check=True)
            compiled(outcome, tree, texts)
            if outcome.complaints:
                outcome.refuse("it was not graded:\n" + "\n".join(outcome.complaints))
            else:
                outcome.results = grading.run_kernel(tree, pristine.lab, list(pristine.lab.points), jobs)
        except submission.SubmissionError as error:
            outcome.refuse(f"it was not graded: {error}")
            outcome.notes.append(str(error))
        except grading.BuildError as error:
            outcome.refuse(f"it does not compile:\n{error}")
            outcome.notes.append("it does not compile")
        finally:
            outcome.seconds = time.monotonic() - began
    return outcome


def answered(outcome, text):
    """A sheet of answers, about the machine of the student who is named to us: whose the sheet says does not count."""
    pristine = outcome.pristine
    try:
        login = seeds.login(outcome.student)
    except ValueError as problem:
        raise grading.GradeError(f"{problem}\n  each student has a machine of his own, made from his login: --name says it") from None
    outcome.notes.append(f"graded by the machine of {login}: make lab LAB={pristine.lab.number} SEED={login}")
    outcome.results = grading.run_answers(pristine.tree, pristine.lab, list(pristine.lab.points), login=login, text=text)


def merged(outcome, texts):
    """{file: what is to be compiled}"""
    pristine, result = outcome.pristine, {}
    for file, text in texts.items():
        ours, names = pristine.text(file), pristine.lab.write[file]
        there = {d.name for d in csource.definitions(text) if d.kind == "function"} & set(names)
        if not there:
            raise submission.SubmissionError(f"{file} has none of the functions that are yours to write: {', '.join(names)}")
        outcome.notes += [f"{file}: {name}() is missing" for name in names if name not in there]
        outcome.complaints += rules.directives(file, text, ours, pristine.headers)
        try:
            result[file], changed = (rules.merge_header if file.endswith(".h") else rules.merge)(ours, text, names)
        except csource.SourceError as error:
            raise submission.SubmissionError(f"{file}: {error}: {', '.join(names)}") from None
        outcome.notes += [f"{file}: {name}() is not yours to write, and was left as it was" for name in changed]
    missing = [file for file in pristine.lab.write if file not in texts]
    outcome.notes += [f"{file} was not handed in" for file in missing]
    return result


def compiled(outcome, tree, texts):
    """Lay the files over the tree, look at them, compile them, look at the objects. Stops at the first step that complains."""
    pristine = outcome.pristine
    sources = [file for file in texts if file.endswith(".c")]
    for file, text in texts.items():
        (tree / file).write_text(text, encoding="utf-8")
    if not outcome.complaints:
        for file in sources:
            look_at_text(outcome, tree, file)
    if not outcome.complaints:
        grading.build(tree, grading.KERNEL, jobs=1, limits=BUILD_LIMITS)
        for file in sources:
            outcome.complaints += rules.objects(file, tree / rules.OBJECTS / f"{file}.o", pristine.names)


def look_at_text(outcome, tree, file):
    output = rules.preprocess(tree, file, tree / "build/preprocessed")
    if output is not None:
        ours = rules.preprocess(outcome.pristine.tree, file, tree / "build/preprocessed")
        outcome.complaints += rules.words(file, output)
        outcome.complaints += rules.unchanged(file, output, ours, outcome.lab.write[file])


# What is left of it

def file_name(student):
    """A name that is none but a file's."""
    return re.sub(r"[^\w.@+-]", "_", student)[:100].lstrip(".-") or "nameless"


def cell(text):
    """For a CSV that is opened in a spreadsheet, which would take = + - @ for a formula."""
    text = " ".join(str(text).split())
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text


def student_report(outcome, hidden=False):
    """What the student gets; with hidden=True what the lecturer gets."""
    shown = {name: test for name, test in outcome.results.items() if hidden or not test.hidden}
    lines = [f"{outcome.student}: {report.points(outcome.results)} of "
             f"{sum(test.max for test in outcome.results.values())} points", ""]
    lines += [f"note: {note}" for note in outcome.notes] + [f"odd: {odd}" for odd in outcome.odd if hidden]
    return "\n".join(lines) + "\n" + report.text(shown, outcome.pristine.tree, outcome.lab) + "\n"


def csv_row(outcome):
    head = [cell(outcome.student), report.points(outcome.results), sum(t.max for t in outcome.results.values()),
            cell("; ".join(outcome.odd)), cell("; ".join(outcome.notes))]
    return head + [outcome.results[name].points for name in outcome.lab.points]


def write(outcome, folder):
    """NAME.csv, NAME.txt and NAME.json; each is there whole or not at all."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name(outcome.student)
    as_json = report.as_json(outcome.results, outcome.lab, outcome.seconds)
    as_json |= {"student": outcome.student, "notes": outcome.notes, "odd": outcome.odd}
    put(folder / f"{name}.txt", student_report(outcome))
    put(folder / f"{name}.staff.txt", student_report(outcome, hidden=True))
    put(folder / f"{name}.json", json.dumps(as_json, indent=1) + "\n")
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", delete=False, newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*COLUMNS, *outcome.lab.points], csv_row(outcome)])
    os.chmod(file.name, 0o644)
    os.replace(file.name, folder / f"{name}.csv")
    return folder / f"{name}.csv"


def put(path, text):
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False, encoding="utf-8") as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def join(paths, out):
    """One CSV of many, by student. They must be of one lab."""
    rows, head = [], None
    for path in paths:
        with open(path, newline="", encoding="utf-8") as file:
            first, *rest = list(csv.reader(file)) or [[]]
        if head not in (None, first):
            raise grading.GradeError(f"{path} has other columns than the files before it: is it of another lab?")
        head, rows = first, rows + rest
    if head is None:
        raise grading.GradeError("no CSV files of single students were named, or are in the folder")
    csv.writer(out).writerows([head, *sorted(rows)])
    return len(rows)


def student_of(path):
    """The name of a folder or of an archive without what says its kind."""
    name = pathlib.Path(os.path.abspath(path)).name
    return re.sub(r"\.(zip|tar|tgz|tbz2|txz|c|h|toml)$", "", re.sub(r"\.(gz|bz2|xz)$", "", name)) or name
