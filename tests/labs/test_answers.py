"""Lab 0: sheets of answers. What is read of them, who judges, what a neighbour's are worth.

The machine of most tests is written down here, number by number, so that nobody's arithmetic is checked by itself.
"""

import csv
import pathlib
import re
import subprocess
import types

import answers
import byhand
import grading
import guide
import lab as labs
import pytest
import regrading
import seeds
from test_regrade import bundle_of, put, regrade

LAB = labs.lab_by_number("0")
DIRECT, NX, LEAF, TABLE = 0xFFFF888000000000, 1 << 63, 0x163, 0x23
# Tables, by physical address: {index: entry}. CR3 is 0x1000. A is 0xffffc98080605678: 403, 2, 3, 5.
TABLES = {
    0x1000: {273: 0x8000 | TABLE, 403: 0x2000 | TABLE},
    0x2000: {2: 0x3000 | TABLE},
    0x3000: {3: 0x4000 | TABLE, 4: 0x400000 | LEAF | 0x80 | NX},
    0x4000: {0: 7 << 31 | 0xC, 1: 0x51000 | LEAF | NX, 2: 0x77000 | LEAF | NX, 3: 0x52000 | LEAF | NX, 4: 0x53000 | LEAF | NX,
             5: 0x66000 | LEAF | NX, 0x100: 9 << 31 | 0xC, 0x101: 0x61000 | LEAF | NX, 0x102: 0x62000 | LEAF & ~2 | NX, 0x103: 0x63000 | LEAF & ~2,
             0x104: 0x64000 | LEAF | NX},
    0x8000: {0: LEAF | 0x80 | NX},
    0x66000: {0x678 // 8: 0x1122334455667788},
}
BASE = 0xFFFFC98080600000
ASKED = types.SimpleNamespace(
    example=BASE + 0x1000, byte=BASE + 0x5678, area=BASE + 0x1000, other=BASE + 0x101000, frame=0x64ABC, block=DIRECT + 0x12345,
    huge=BASE + 0x323456, hole1=BASE, hole2=BASE + (1 << 21) * 9, hole3=BASE + (1 << 30), hole4=BASE - (1 << 39),
    window=0xFFFFC90000000000, last=0xFFFFDDFFFFFFFFFF)
RIGHT = """index = [403, 2, 3, 5]
tables = [0x2023, 0x3023, 0x4023]
leaf = 0x8000000000066163
physical = 0x66678
word = 0x1122334455667788
frames = [0x51, 0x77, 0x52, 0x53]
distances = [38, -37, 1]
direct = 0xffff888000066678
block = 0x12345
maps = 0xffffc98080704abc
rights = ["rw-", "r--", "r-x", "rw-"]
missing = [1, 2, 3, 4]
note = 7
huge = 0x523456
window = 0x150000000000
"""
# What each mistake makes of it; of those that go astray in all that follows, the first.
WRONG = {
    "ten-bits-a-level": ("index", "[1010, 384, 513, 517]"), "index-from-the-left": ("index", "[5, 3, 2, 403]"),
    "keeps-the-flags": ("physical", "0x667db"),
    "keeps-bit-63": ("physical", "0x8000000000066678"), "forgets-the-offset": ("physical", "0x66000"),
    "subtracts-always": ("physical", "0x410080605678"), "low-bits-of-the-address": ("physical", "0xc98080605678"),
    "virtual-for-physical": ("physical", "0xffff888000066678"), "ends-a-level-early": ("leaf", "0x4023"),
    "reads-a-page-as-a-table": ("huge", None), "offset-of-twelve-bits": ("huge", "0x400456"),
    "reads-bytes-from-the-left": ("word", "0x8877665544332211"), "frames-are-addresses": ("frames", "[0x51000, 0x77000, 0x52000, 0x53000]"),
    "takes-page-0-for-the-guard": ("frames", "[0x77, 0x52, 0x53, 0x66]"), "maps-by-the-direct-map": ("maps", "0xffff888000064abc"),
    "forgets-nx": ("rights", '["rwx", "r-x", "r-x", "rwx"]'), "counts-levels-from-the-root": ("missing", "[4, 3, 2, 1]"),
    "note-in-half-the-bits": ("note", "3"), "window-to-the-last-byte": ("window", "0x14ffffffffff"),
    "writes-0x-before-decimals": ("index", "[0x403, 0x2, 0x3, 0x5]"),
}


def read_ram(pa, length):
    out = b""
    for at in range(pa & -8, pa + length, 8):
        out += TABLES.get(at & -4096, {}).get(at % 4096 // 8, 0).to_bytes(8, "little")
    return out[pa % 8:pa % 8 + length]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A tree whose machine is that one, whoever asks."""
    for path in (LAB.folder / "wrong").glob("*.py"):
        put(tmp_path / answers.WRONG / path.name, path.read_bytes())
    put(tmp_path / seeds.FILE, seeds.seed_mk("ada").encode())
    monkeypatch.setattr(answers, "boot", lambda tree, login: (ASKED, read_ram, 0x1000))
    return tmp_path


def graded(tree, text):
    put(tree / answers.FILE, text.encode())
    return {name.removeprefix("walk/"): test for name, test in grading.run_kernel(tree, LAB, list(LAB.points)).items()}


def with_answer(key, value):
    return "".join(f"{key} = {value}\n" if line.startswith(f"{key} = ") else line for line in RIGHT.splitlines(keepends=True))


def test_what_is_right_is_right(machine):
    results = graded(machine, RIGHT)
    assert all(test.passed for test in results.values()) and sum(test.points for test in results.values()) == 100
    assert byhand.ByHand(ASKED, read_ram, 0x1000).sheet() == RIGHT


def test_the_two_readers_must_agree(machine, monkeypatch):
    monkeypatch.setattr(byhand.ByHand, "offset", lambda self, va, level: va & 0xFF)
    with pytest.raises(labs.LabError, match="two readers of one machine disagree"):
        graded(machine, RIGHT)


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_is_known_and_costs_its_answer(name, machine):
    key, value = WRONG[name]
    wrong = next(wrong for wrong in LAB.wrong() if wrong.name == name)
    made = byhand.made(next(m for m in byhand.mistakes(LAB.folder / "wrong") if m.name == name), ASKED, read_ram, 0x1000)
    if value:
        assert f"\n{key} = {value}\n" in f"\n{made.sheet()}"
        results = graded(machine, with_answer(key, value))
        assert [k for k, test in results.items() if not test.passed] == [key]
        assert results[key].hint in wrong.hints, results[key].message
    assert f"walk/{key}" in wrong.loses


def test_no_mistake_is_untested():
    assert set(WRONG) == {path.stem for path in (LAB.folder / "wrong").glob("*.py")}


def test_of_several_mistakes_the_one_that_explains_most_is_told(machine):
    """Distances of 1 come of an end at the PD, too."""
    student = next(m for m in byhand.mistakes(LAB.folder / "wrong") if m.name == "subtracts-always")
    results = graded(machine, byhand.made(student, ASKED, read_ram, 0x1000).sheet())
    assert {test.hint for test in results.values() if not test.passed} == {"only-direct-map"}, results


@pytest.mark.parametrize("key, value, says", (
    ("physical", '""', "not answered yet"), ("physical", '"somewhere"', "'somewhere' is no number"), ("physical", "1.5", "'1.5' is no number"),
    ("physical", "true", "'True' is no number"), ("physical", "66678", "a hexadecimal number without 0x before it"),
    ("physical", "6a678", "6a678 is no number: hexadecimal needs 0x"), ("physical", "0x66678 0x1", "cannot be read"),
    ("physical", "[" * 50_000, "nested|cannot be read"), ("physical", "0x1" + "0" * 20, "it has 81 bits"), ("physical", "9" * 5000, "cannot be read"),
    ("physical", "[0x66678]", "is no number"), ("frames", "0x51", "is no list of 4"), ("frames", "[0x51, 0x77]", "is no list of 4"),
    ("frames", '[0x51, 0x77, 0x52, "?"]', "'\\?' is no number"), ("rights", '["rw", "r--", "r-x", "rw-"]', "'rw' is no rights"),
    ("note", "7\nnote = 8", "it is there twice"), ("note", "0x7b", "is wrong$"), ("note", "0x7 \0", "cannot be read"),
    ("missing", "{}", "is no list of 4"), ("index", "[403, 2, 3, 5", "cannot be read")))
def test_what_cannot_be_read_costs_only_itself(key, value, says, machine):
    results = graded(machine, with_answer(key, value))
    lost = [k for k, test in results.items() if not test.passed]
    assert lost == [key] and re.search(says, results[key].message), (lost, results[key].message)
    assert results[key].hint and "Traceback" not in results[key].message and len(results[key].message) < 500


def test_numbers_may_be_strings_and_rights_large(machine):
    results = graded(machine, with_answer("physical", '" 0x66678 "').replace('"rw-", "r--"', '"RW-", "r--"').replace("note = 7", "note = 0x7"))
    assert all(test.passed for test in results.values())


def test_an_empty_or_missing_sheet(machine):
    assert {test.hint for test in graded(machine, "").values()} == {"unanswered"}
    (machine / answers.FILE).unlink()
    with pytest.raises(labs.LabError, match="answers.toml is not there"):
        grading.run_kernel(machine, LAB, list(LAB.points))


def test_what_is_right_is_never_told(machine):
    """But by the student himself."""
    results = graded(machine, "".join(f"{line.split(' = ')[0]} = 1\n" for line in RIGHT.splitlines()))
    said = " ".join(test.message + test.advice for test in results.values())
    assert not [line for line in RIGHT.splitlines() if line.split(" = ")[1] in said.split() or line.split(" = ")[1] in said and "x" in line]


def test_logins_and_machines():
    assert seeds.login(" Ada@uni.example ") == "ada@uni.example" and seeds.words("ada") == seeds.words(seeds.login("ADA"))
    assert len({seeds.words(f"s{n}") for n in range(1000)}) == 1000
    for word in ("", "a b", "x" * 65, "a\nb", "$(x)", "é"):
        with pytest.raises(ValueError, match="is no login"):
            seeds.login(word)


def test_make_lab_wants_a_login(tmp_path):
    for word, says in (("", "SEED=login"), ("a b", "is no login")):
        done = subprocess.run(["make", "-s", "-C", labs.TREE, "lab", "LAB=0", f"OUT={tmp_path}/x", f"SEED={word}"], check=False,
                              env=grading.environment(), capture_output=True, text=True)
        assert done.returncode and says in done.stderr and not (tmp_path / "x").exists()
    done = subprocess.run(["make", "-s", "-C", labs.TREE, "lab", "LAB=0", f"OUT={tmp_path}/x", "SEED=Ada"], check=False,
                          env=grading.environment(), capture_output=True, text=True)
    assert done.returncode == 0 and seeds.of_tree(tmp_path / "x") == "ada"
    assert (tmp_path / "x/answers.toml").read_text() == (LAB.folder / "answers.toml").read_text()


def test_a_mistake_that_is_none(tmp_path):
    for code, says in (("def stroll(self):\n    return 1\n", "stroll is no step"), ("x = 1\n", "changes no step")):
        with pytest.raises(ValueError, match=says):
            byhand.read_mistake(put(tmp_path / "m.py", f'"""\nis: it\n"""\n{code}'.encode()))


# With the kernel

@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return bundle_of("0", tmp_path_factory.mktemp("autograder0"))


@pytest.mark.long
@pytest.mark.xdist_group("answers")
def test_a_neighbours_answers_are_worth_nothing(bundle, tmp_path):
    """Whatever the sheet, or a tree around it, says of whose it is."""
    tree = bundle / "source/tessera"
    pristine = regrading.Pristine(tree, labs.lab_of(tree))
    put(tmp_path / "bob/answers.toml", byhand.ByHand(*answers.boot(tree, "bob")).sheet().encode())
    put(tmp_path / "bob" / seeds.FILE, seeds.seed_mk("bob").encode())
    put(tmp_path / "ada.toml", (tmp_path / "bob/answers.toml").read_bytes())
    points = {path: sum(test.points for test in regrading.regrade(pristine, tmp_path / path, login).results.values())
              for path, login in (("bob", "Bob"), ("ada.toml", "ada"), ("bob/", "eve"))}
    assert points["bob"] == 100 and points["ada.toml"] <= 12 and points["bob/"] <= 12, points


@pytest.mark.long
@pytest.mark.xdist_group("answers")
def test_the_handout_types_what_takes_place(tmp_path):
    """`make gdb` stops where all is there, and what is typed then is answered as the handout says, on ada's machine."""
    tree = tmp_path / "lab0"
    subprocess.run(["make", "-s", "-C", labs.TREE, "lab", "LAB=0", f"OUT={tree}", "SEED=ada"], check=True, env=grading.environment())
    subprocess.run(["make", "-s", "-C", tree, "all"], check=True, env=grading.environment(), stdout=subprocess.DEVNULL)
    steps = [step for fence in guide.read((tree / "LAB.md").read_text()) for step in fence]
    session = guide.Session("$ make gdb", tmp_path / "run", tree)
    watchdog = subprocess.Popen(["sh", "-c", f"sleep {guide.SECONDS}; kill -9 $0", str(session.make.pid)])
    try:
        assert any("lab_ready" in line for line in session.answer()) and len(steps) > 12
        for step in steps:
            assert session.answer(step.command) == step.answer, step.command
    finally:
        watchdog.kill()
        watchdog.wait()
        session.close()


@pytest.mark.long
@pytest.mark.xdist_group("answers")
def test_each_of_thirty_students_has_a_machine(bundle):
    """In which both readers find all that is asked for, and hardly anything where the others have it."""
    sheets = [answers.truth(*answers.boot(bundle / "source/tessera", f"s{n}")) for n in range(30)]
    for key in set(byhand.QUESTIONS) - {"rights", "missing", "note"}:
        assert len({str(sheet[key]) for sheet in sheets}) == len(sheets), key
    assert len({str(sheet["missing"]) for sheet in sheets}) > 10 < len({str(sheet["rights"]) for sheet in sheets})


@pytest.mark.long
@pytest.mark.xdist_group("answers")
def test_a_class_and_gradescope(bundle, tmp_path):
    tree = bundle / "source/tessera"
    sheet = byhand.ByHand(*answers.boot(tree, "ada")).sheet()
    put(tmp_path / "ada.toml", sheet.encode())
    put(tmp_path / "eve/lab0/answers.toml", sheet.replace("note = ", "note = ?").encode())
    regrade("0", tmp_path / "ada.toml", tmp_path / "eve", "--pristine", tree, "--out", tmp_path / "out")
    rows = {row["student"]: row for row in csv.DictReader(regrade("csv", tmp_path / "out").stdout.splitlines())}
    assert rows["ada"]["points"] == "100" and int(rows["eve"]["points"]) <= 12 and "machine of eve" in rows["eve"]["note"]
    put(bundle / "submission/answers.toml", sheet.encode())
    put(bundle / "submission_metadata.json", b'{"users": [{"email": "Ada@uni.example", "name": "Ada L.", "id": 7}]}')
    subprocess.run([bundle / "source/run_autograder"], env=grading.environment() | {"AUTOGRADER": str(bundle)}, check=True)
    assert '"score": 100' in (bundle / "results/results.json").read_text()
    done = regrade("0", tmp_path / "ada.toml", "--name", "no login", "--pristine", tree)
    assert done.returncode == 2 and "is no login" in done.stderr and "--name" in done.stderr


@pytest.mark.long
@pytest.mark.xdist_group("answers")
def test_the_machine_hangs_on_the_seed_alone(bundle):
    """A kernel with another image, as another compiler makes it: the same machine."""
    tree = pathlib.Path(bundle / "source/tessera")
    before = byhand.ByHand(*answers.boot(tree, "ada")).sheet()
    put(tree / "labs/support/larger.c", b"extern char lab_larger[];\nchar lab_larger[900000] = { 1 };\n")
    try:
        subprocess.run(["make", "-s", "-C", tree, "EXTRA_SOURCES=labs/support/larger.c", "build/tessera-check.elf"], check=True,
                       env=grading.environment(), stdout=subprocess.DEVNULL)
        assert byhand.ByHand(*answers.boot(tree, "ada")).sheet() == before
    finally:
        (tree / "labs/support/larger.c").unlink()
        grading.build(tree, grading.KERNEL)
