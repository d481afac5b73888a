"""Submissions that cheat earn nothing by it.

All are built on one honest solution, which loses some tests (cheats/honest.c): what it does not pass, none of them may
pass. Each goes through regrade, which refuses most of them before they run; and, to see that this is not all there is
between a cheat and points, each is also compiled without any of regrade's rules and run.
"""

import json
import pathlib
import re
import shutil
import subprocess

import csource
import grading
import lab as labs
import machine
import pytest
import regrading

CHEATS = pathlib.Path(__file__).resolve().parent / "cheats"
FILE = "mm/page_alloc.c"
TOML = '''
number = 1
name = "Cheats"
starter = 0
[write]
"mm/page_alloc.c" = ["free_buddy", "page_stats"]
[points]
"page_alloc/blocks" = 20
"page_alloc/orders" = 20
"page_alloc/random_blocks" = 20
"page_alloc/coalesce" = 20
"page_alloc/bulk" = 20
'''
# What regrade says of each; of those that it runs, what looks odd. None: it runs, and nothing can be seen but the points.
REFUSED = {
    "fake-records": r"it uses serial_write, which no header of mm/ declares",
    "exits-early": r"it uses grade_order",
    "overwrites-the-counter": r"it uses tests_failed",
    "loops-for-ever": "it did not end within 250 million instructions",
    "switches-the-watchdog-off": r"assembler has no place",
    "floods-the-serial-line": r"it uses serial_write",
    "fills-the-disk": r"does not compile:(.|\n)*The compiler was stopped when it had written 64 MiB",
    "patches-the-check": r"assembler has no place",
    "patches-the-check-in-c": r"it uses test_fail",
    "leaves-the-test": r"assembler has no place(.|\n)*__builtin_frame_address",
    "makes-a-test": r"it makes a section tests",
    "resets-the-verdict": r"it uses __bss_end",
    "reads-a-file": r'#include "/etc/passwd": mm/ includes <',
}
# Without rules: what is seen of it in QEMU, in marks or messages.
SEEN = {
    "fake-records": "a record that the runner did not sign says of page_alloc/coalesce: pass",
    "exits-early": "the machine was switched off in the middle of it",
    "overwrites-the-counter": None,
    "loops-for-ever": "it did not end within 250 million instructions",
    "switches-the-watchdog-off": "the watchdog was switched off",
    "floods-the-serial-line": "MiB or more to a serial port",
    "patches-the-check": "the kernel's code or constants were changed while it ran, at test_fail+0x0",
    "patches-the-check-in-c": "the kernel's code or constants were changed while it ran, at test_fail+0x0",
    "leaves-the-test": "something ended it before it was done",
    "makes-a-test": "two tests are called page_alloc/coalesce",
    "resets-the-verdict": "passed, though on the console it said: tests/mm/page_alloc_test.c:",
}
SLOW = {"switches-the-watchdog-off", "floods-the-serial-line"}  # one test of theirs is enough


@pytest.fixture(scope="module")
def pristine(built, tmp_path_factory):
    """Its function is the solution. All workers share what is built, and must not write there while another one reads."""
    toml = tmp_path_factory.mktemp("cheats") / "lab.toml"
    toml.write_text(TOML)
    return regrading.Pristine(built, labs.Lab(toml))


def cheat_text(name):
    """A submission's file: the master's, but for what the cheat brings."""
    texts = {FILE: (labs.TREE / FILE).read_text(encoding="utf-8")}
    csource.graft(texts, (CHEATS / f"{name}.c").read_text(encoding="utf-8"))
    return texts[FILE]


def submission(folder, name, **files):
    for file, text in {FILE: cheat_text(name), **files}.items():
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / name


def passed(results):
    return {name for name, test in results.items() if test.passed}


def run_without_rules(pristine, name, folder):
    """Nothing but machine.py between the cheat and its points."""
    tree = folder / "tree"
    subprocess.run(["cp", "-a", pristine.tree, tree], check=True)
    (tree / FILE).write_text(cheat_text(name), encoding="utf-8")
    grading.build(tree, grading.KERNEL)
    return grading.run_kernel(tree, pristine.lab, list(pristine.lab.points)[:1 if name in SLOW else None])


@pytest.fixture(scope="module")
def honest(pristine, tmp_path_factory):
    """What the solution without any cheat passes: something, but not all."""
    outcome = regrading.regrade(pristine, submission(tmp_path_factory.mktemp("honest"), "honest"), "honest")
    assert not outcome.odd and not outcome.notes
    names = passed(outcome.results)
    assert names and names < set(pristine.lab.points)
    return names


def test_the_solution_earns_all(pristine, tmp_path):
    solution = tmp_path / "solution/mm"
    solution.mkdir(parents=True)
    shutil.copy(labs.TREE / FILE, solution)
    outcome = regrading.regrade(pristine, solution.parent, "solution")
    assert passed(outcome.results) == set(pristine.lab.points) and not outcome.odd and not outcome.notes


def test_each_cheat_is_here():
    assert set(REFUSED) == {path.stem for path in CHEATS.glob("*.c")} - {"honest"} == set(SEEN) | {"fills-the-disk", "reads-a-file"}


@pytest.mark.parametrize("name", REFUSED)
def test_regrade_gives_nothing_for(name, pristine, honest, tmp_path):
    outcome = regrading.regrade(pristine, submission(tmp_path, name), name)
    assert passed(outcome.results) <= (set() if outcome.complaints else honest)
    said = regrading.student_report(outcome, hidden=True)
    assert re.search(REFUSED[name], said), said
    assert "root:" not in said


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) if name.startswith("switches") else name for name in SEEN])
def test_the_machine_gives_nothing_for(name, pristine, honest, tmp_path):
    results = run_without_rules(pristine, name, tmp_path)
    print({test.name: (test.passed, test.insns) for test in results.values()})
    assert passed(results) <= honest
    said = json.dumps([[test.message, test.marks] for test in results.values()])
    assert SEEN[name] is None or SEEN[name] in said, said


def test_edited_tests_change_nothing(pristine, honest, tmp_path):
    """Neither tests without a check nor a runner that passes all, a macro in the build, or another lab.toml."""
    test = (labs.TREE / "tests/mm/page_alloc_test.c").read_text(encoding="utf-8")
    hollow = test.replace("EXPECT(", "(void)(").replace("EXPECT_EQ(", "(void)!memcmp(")
    runner = (labs.TREE / "tests/runner.c").read_text(encoding="utf-8").replace("verdict = FAIL", "verdict = PASS")
    path = submission(tmp_path, "honest", **{
        "tests/mm/page_alloc_test.c": hollow, "tests/runner.c": runner, "lab.toml": TOML.replace("= 20", "= 100"),
        "include/mm/page_alloc.h": "#define EXPECT(x)\n"})
    outcome = regrading.regrade(pristine, path, "edits the tests")
    assert passed(outcome.results) == honest and not outcome.odd


def test_an_edited_grader_changes_nothing(pristine, honest, tmp_path):
    """Nothing that lies beside the one file is ever read, let alone run."""
    trap = tmp_path / "trap"
    script = f"#!/bin/sh\ntouch {trap}\nexit 0\n"
    path = submission(tmp_path, "honest", **{
        "Makefile": f"all build/tessera-check.elf:\n\ttouch {trap}\n", "tools/grade": script, "tools/run": script,
        "tools/labs/grading.py": f"open({str(trap)!r}, 'w')\n", "tools/labs/sitecustomize.py": f"open({str(trap)!r}, 'w')\n",
        "setup.sh": script, "build/tessera-check.elf": script})
    outcome = regrading.regrade(pristine, path, "edits the grader")
    assert passed(outcome.results) == honest and not outcome.odd and not trap.exists()


def test_other_functions_of_the_file_stay_ours(pristine, honest, tmp_path):
    """What looks at the free lists is hollowed out: by an edit, which has no effect; by a macro, which is seen."""
    text = cheat_text("honest")
    audit = next(d for d in csource.definitions(text) if d.kind == "function" and d.name.endswith("_check"))
    path = submission(tmp_path, "honest", **{FILE: csource.with_body(text, audit.name, lambda signature: [])})
    outcome = regrading.regrade(pristine, path, "edits the audit")
    assert passed(outcome.results) == honest
    assert outcome.notes == [f"{FILE}: {audit.name}() is not yours to write, and was left as it was"]
    trick = text.replace("static struct page *free_buddy", f"#define {audit.name}(...) unused_{audit.name}(__VA_ARGS__)\n"
                         "static struct page *free_buddy", 1)
    outcome = regrading.regrade(pristine, submission(tmp_path, "honest", **{FILE: trick}), "hides the audit")
    assert not passed(outcome.results) and f"{audit.name}() is not yours to write, but is no longer" in outcome.odd[0]


def test_a_signature_is_of_its_key_place_and_words():
    """The vector of the paper, and that each part of a record counts."""
    assert machine.sip_hash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5
    key, record = bytes(16), {"name": "a/b", "result": "pass", "cycles": 7}
    record["signed"] = f"{machine.sip_hash(key, machine.signed_text(1, record)):016x}"
    assert machine.is_signed(key, 1, record)
    assert not machine.is_signed(key, 2, record) and not machine.is_signed(bytes(15) + b"x", 1, record)
    for change in ({"name": "a/c"}, {"result": "fail"}, {"cycles": 8}, {"why": "x"}, {"signed": "nonsense"}, {"signed": None}):
        assert not machine.is_signed(key, 1, record | change)
