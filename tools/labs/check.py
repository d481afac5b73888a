#!/usr/bin/env python3
"""check - prove the labs: does the grader give each tree what it deserves? `make labs-check` calls it.

    LAB=n       only this lab
    WRONG=name  only its starter, solution or wrong solution of this name
    V=1         all that is said of the tests that fail, to write hints by
    UPDATE=1    write what each wrong solution lost into its head comment: then look at the diff, is it right?
    JOBS=n      how many trees at once; as many as there are CPUs

For every lab: the solution earns 100 points; the starter compiles without a warning, boots to a prompt that lists
what is to be written, and earns exactly what lab.toml says; each wrong solution loses exactly the tests that it names,
and draws the hints that it names. The kernel is compiled once; then each job has a copy of that tree, in which only
what differs is compiled anew.
"""

import collections
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True
import lab as labs  # noqa: E402  pylint: disable=wrong-import-position
import answers  # noqa: E402  pylint: disable=wrong-import-position
import grading  # noqa: E402  pylint: disable=wrong-import-position

OUT = labs.TREE / "build/labs"
VERBOSE = os.environ.get("V", "0") != "0"
UPDATE = os.environ.get("UPDATE", "0") != "0"
Variant = collections.namedtuple("Variant", "lab name texts wrong")  # wrong: None for starter and solution
Row = collections.namedtuple("Row", "lab variant points lost hints faults seconds results")


def variants(lab):
    """All trees of a lab that are to be graded."""
    yield Variant(lab, "solution", labs.sources(lab), None)
    yield Variant(lab, "starter", labs.starter_files(lab)[0], None)
    for wrong in lab.wrong():
        yield Variant(lab, wrong.name, labs.wrong_files(lab, wrong), wrong)


def write(variant, tree):
    """Make of a tree another one; what is as it was keeps its date."""
    names = labs.write_tree(variant.lab, tree, variant.texts)
    for path in (tree / "labs").rglob("*"):
        if path.is_file() and str(path.relative_to(tree)) not in names:
            path.unlink()  # a test of another lab


def make(tree, *goals):
    """What make said, and whether it failed."""
    done = subprocess.run(["make", "-s", "-C", tree, *goals], env=grading.environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    said = [line for line in done.stdout.splitlines() if not line.startswith("  ")]
    return "\n".join(said), done.returncode != 0


def prompt_faults(variant, tree):
    """Does a starter's monitor say what is missing, and where?"""
    environ = grading.environment() | {"BOOT": "direct", "KERNEL": "build/tessera-check.elf", "APPEND": "", "RUNDIR": "build/prompt"}
    said = subprocess.run(["tools/run"], cwd=tree, env=environ, input="lab\nhelp\n", capture_output=True, text=True,
                          errors="replace", check=False).stdout
    prompt = said.find("tessera> ")
    if prompt < 0:
        return [f"it does not come to a prompt: {said[-300:]}"]
    return [f"its prompt does not list {name} of {file}" for file, name in variant.lab.functions if not variant.lab.begin
            if not any(line.split()[:1] == [name] and f"{file}:" in line for line in said[:prompt].splitlines())]


def faults_of(variant, results, points, lost, hints):
    """What is not as it should be."""
    lab, wrong = variant.lab, variant.wrong
    if not wrong:
        due = 100 if variant.name == "solution" else lab.starter
        return [f"has {points} points, not {due}: " + " ".join(sorted(lost))] if points != due else []
    faults = [f"{test} is lost, which wrong/{wrong.name} does not name: {results[test].message}"
              for test in sorted(lost - wrong.loses)]
    faults += [f"{test} passed" for test in sorted(wrong.loses - lost)]
    return faults + [f"the hint {hint} is not drawn" for hint in sorted(wrong.hints - hints)]


def grade(variant, trees):
    """Build and grade one tree: a row of the table."""
    began, tree = time.monotonic(), trees.get()
    try:
        write(variant, tree)
        goals = ["all", "build/host-tests"] if variant.name == "starter" else ["build/tessera-check.elf", "build/host-tests"]
        said, failed = make(tree, *goals)
        faults = [f"does not compile:\n{said}"] if failed else []
        faults += [f"is not compiled without warnings:\n{said}"] if said and not failed and not variant.wrong else []
        if variant.lab.answers and variant.name != "starter" and not failed:
            answers.fill(tree, variant.name)
        results = {} if failed else grading.grade(tree, variant.lab, jobs=1)
        if variant.name == "starter" and not failed:
            faults += prompt_faults(variant, tree)
    finally:
        trees.put(tree)
    points = sum(test.points for test in results.values())
    lost = {test for test in variant.lab.points if test not in results or not results[test].passed}
    hints = {test.hint for test in results.values() if test.hint}
    faults += faults_of(variant, results, points, lost, hints) if not failed else []
    return Row(variant.lab, variant.name, points, lost, hints, faults, time.monotonic() - began, results)


def base_tree(variant):
    """A tree in which everything is compiled."""
    tree = OUT / "base"
    write(variant, tree)
    said, failed = make(tree, f"-j{jobs()}", "all", "build/host-tests")
    if failed:
        raise labs.LabError(f"{tree}, the solution of {variant.lab.title}, does not compile:\n{said}")
    return tree


def tell(row):
    """A line of the table, and what is wrong."""
    ok = "ok" if not row.faults else "WRONG"
    note = f"  loses {' '.join(sorted(row.lost))}; {' '.join(sorted(row.hints)) or 'no hint'}" if row.lost else ""
    note = "  loses all" if len(row.lost) == len(row.lab.points) else note
    print(f"{row.lab.number}  {row.variant:28} {row.points:4}  {ok:6}{row.seconds:6.1f} s{note}", flush=True)
    for fault in row.faults:
        print(f"       {fault}", flush=True)
    if VERBOSE:
        for name, test in row.results.items():
            if not test.passed:
                print(f"       {name} [{test.hint or 'no hint'}]\n         " + test.message.replace("\n", "\n         "))


def update(row):
    """Its loses: as it is now."""
    path = next(row.lab.folder.glob(f"wrong/{row.variant}.*"), None)
    wrong = next((w for w in row.lab.wrong() if w.name == row.variant), None)
    if not wrong or not row.lost or wrong.loses == row.lost:
        return
    tests = "*" if len(row.lost) == len(row.lab.points) else " ".join(sorted(row.lost))
    star = " * " if path.suffix == ".c" else ""
    lines = textwrap.wrap(f"loses: {tests}", 100, initial_indent=star, subsequent_indent=star + "  ", break_on_hyphens=False)
    text = re.sub(rf"^{re.escape(star)}loses:.*?(?=^{re.escape(star)}[a-z]+:)", "\n".join(lines) + "\n", path.read_text(encoding="utf-8"), 1,
                  re.DOTALL | re.MULTILINE)
    path.write_text(text, encoding="utf-8")


def jobs():
    return labs.number_asked("JOBS", os.cpu_count())


def chosen():
    word, wanted = os.environ.get("LAB", ""), os.environ.get("WRONG", "")
    found = [v for lab in ([labs.lab_by_number(word)] if word else labs.labs()) for v in variants(lab)
             if not wanted or v.name == wanted]
    if not found:
        raise labs.LabError(f"WRONG={wanted}: there is no such wrong solution")
    return found


def main():
    began, at_once, todo, trees = time.monotonic(), jobs(), chosen(), queue.Queue()
    base = base_tree(next((v for v in todo if v.name == "solution"), None) or
                     Variant(todo[0].lab, "solution", labs.sources(todo[0].lab), None))
    for number in range(min(at_once, len(todo))):
        tree = OUT / f"tree{number}"
        shutil.rmtree(tree, ignore_errors=True)
        subprocess.run(["cp", "-a", base, tree], check=True)
        trees.put(tree)
    rows = []
    print(f"lab {'tree':27} points")
    with ThreadPoolExecutor(trees.qsize()) as pool:
        for row in pool.map(lambda variant: grade(variant, trees), todo):
            tell(row)
            if UPDATE:
                update(row)
            rows.append(row)
    (OUT / "table.json").write_text(json.dumps([{"lab": r.lab.number, "tree": r.variant, "points": r.points, "lost": sorted(r.lost),
                                                 "hints": sorted(r.hints), "faults": r.faults} for r in rows], indent=1))
    wrong = sum(bool(row.faults) for row in rows)
    print(f"{len(rows) - wrong} trees graded as they should be, {wrong} not, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except labs.LabError as problem:
        print(f"labs-check: {problem}", file=sys.stderr)
        sys.exit(1)
