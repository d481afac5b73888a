"""tools/regrade: submissions of every shape, hostile ones among them; one report each; a class at once; Gradescope."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile

import gradescope
import grading
import lab as labs
import pytest
import regrading
import report
import rules
import submission

FILE = "mm/vmarea.c"
WANTED = [FILE]
TEXT = "int mine;\n"
TOML = """
number = 8
name = "Regrade"
starter = 0
hidden = ["words/all_good"]
[write]
"mm/vmarea.c" = ["is_lower"]
[points]
"vmarea/exact_aligned_gap" = 60
"words/defaults" = 30
"words/all_good" = 10
"""


# What was handed in

def tar_of(files, compress=lambda data: data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text, *kind in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            if kind:
                entry.type, entry.linkname, entry.size = *kind, 0
            archive.addfile(entry, io.BytesIO(text))
    return compress(out.getvalue())


def zip_of(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text, *mode in files:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (mode[0] if mode else 0) << 16
            archive.writestr(entry, text)
    return out.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


MINE = ("tree/" + FILE, TEXT.encode())


KINDS = {
    "a.zip": lambda: zip_of([MINE]), "a.tar": lambda: tar_of([MINE]), "a.tar.gz": lambda: tar_of([MINE], gzip.compress),
    "a.tar.bz2": lambda: tar_of([MINE], bz2.compress), "a.tar.xz": lambda: tar_of([MINE], lzma.compress),
    "without.kind": lambda: tar_of([MINE], gzip.compress), "a.c": TEXT.encode, "crlf.c": lambda: b"int mine;\r\n",
    "windows.zip": lambda: zip_of([("tree\\mm\\vmarea.c", TEXT.encode())]),
    "deeper.zip": lambda: zip_of([("tree/old/" + FILE, b"old"), MINE, ("__MACOSX/mm/vmarea.c", b"junk"), (".git/mm/vmarea.c", b"junk")]),
    "evil.zip": lambda: zip_of([("../../" + FILE, TEXT.encode())]), "root.tar": lambda: tar_of([("/" + FILE, TEXT.encode())]),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_read(name, tmp_path):
    path = put(tmp_path / "in" / name, KINDS[name]())
    before = sorted(tmp_path.rglob("*"))
    assert submission.read(path, WANTED) == {FILE: TEXT}
    assert sorted(tmp_path.rglob("*")) == before and regrading.student_of(path) in (name.split(".")[0], name)


def test_a_folder_is_read_and_links_in_it_are_not_followed(tmp_path):
    secret = put(tmp_path / "secret", b"secret")
    put(tmp_path / "a/tree" / FILE, TEXT.encode())
    (tmp_path / "b/mm").mkdir(parents=True)
    (tmp_path / "b" / FILE).symlink_to(secret)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/mm").symlink_to(tmp_path / "a/tree/mm")
    (tmp_path / "d/mm").mkdir(parents=True)
    os.mkfifo(tmp_path / "d" / FILE)
    (tmp_path / "e").symlink_to(secret)
    assert submission.read(tmp_path / "a", WANTED) == {FILE: TEXT}
    for name in "bcd":
        with pytest.raises(submission.SubmissionError, match="none of the files"):
            submission.read(tmp_path / name, WANTED)
    with pytest.raises(submission.SubmissionError):
        submission.read(tmp_path / "e", WANTED)


BAD = {
    "empty": (lambda: b"", "no folder and no archive"),
    "gzip of nothing": (lambda: b"\x1f\x8b" + bytes(50), "cannot be read"),
    "zip of nothing": (lambda: b"PK\x03\x04" + bytes(50), "no archive"),
    "half a zip": (lambda: zip_of([MINE])[:-10], "no archive"),
    "half a tar": (lambda: tar_of([MINE], gzip.compress)[:-20], "cannot be read"),
    "noise": (lambda: bytes(n * n % 251 for n in range(5000)), "no archive"),
    "another file": (lambda: zip_of([("x", b"")]), "none of the files that the lab is about is in it: mm/vmarea.c"),
    "nearly": (lambda: zip_of([("x" + FILE, b"")]), "none of the files"),
    "two": (lambda: zip_of([("a/" + FILE, b""), ("b/" + FILE, b"")]), "more than once"),
    "a NUL": (lambda: zip_of([(FILE, b"\0")]), "a NUL"),
    "too large": (lambda: zip_of([(FILE, b"A" * ((1 << 20) + 1))]), "larger than 1024 KiB"),
    "a link in a zip": (lambda: zip_of([(FILE, b"/etc/passwd", stat.S_IFLNK | 0o777)]), "none of the files"),
    "a link in a tar": (lambda: tar_of([(FILE, b"", tarfile.SYMTYPE, "/etc/passwd")]), "none of the files"),
    "a hard link": (lambda: tar_of([(FILE, b"", tarfile.LNKTYPE, "/etc/passwd")]), "none of the files"),
    "a fifo": (lambda: tar_of([(FILE, b"", tarfile.FIFOTYPE, "")]), "none of the files"),
    "a device": (lambda: tar_of([(FILE, b"", tarfile.CHRTYPE, "")]), "none of the files"),
    "a bomb": (lambda: tar_of([("big", bytes(300 << 20)), MINE], lambda data: gzip.compress(data, 1)), "unpacks to more than 256 MiB"),
    "many": (lambda: zip_of([(f"{n}", b"") for n in range(50_001)]), "more than 50000 files"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_submission_says_why(name, tmp_path):
    content, says = BAD[name]
    with pytest.raises(submission.SubmissionError, match=says):
        submission.read(put(tmp_path / "handed-in.bin", content()), WANTED)


def test_a_zip_that_unpacks_to_much_is_read_no_further_than_needed(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(FILE, "w", force_zip64=True) as file:
            for _ in range(200):
                file.write(bytes(1 << 20))
    with pytest.raises(submission.SubmissionError, match="larger than"):
        submission.read(path, WANTED)


# The rules, on text alone: test_cheats.py has them at work

OURS = "#include <mm/vmarea.h>\n\n#define OURS 1\n\n/* Audit. */\nstatic int audit(void)\n{\n\treturn OURS;\n}\n\nint yours(void)\n{\n\treturn 0;\n}\n"
HEADERS = ["include/mm/vmarea.h", "include/kernel/string.h"]


@pytest.mark.parametrize("line, complaint", [
    ("#include <kernel/string.h>", None), ("#define MORE(x) (x)", None), ("#ifdef MORE", None), ("# define OURS  1", None),
    ('#include "/etc/passwd"', "#include"), ("#include <stdio.h>", "#include"), ("#include <mm/../../x.h>", "#include"),
    ("#inc\\\nlude </etc/passwd>", "#include"), ("# /* */ include MORE", "#include"), ("%:include <x>", "#include"),
    ("#include_next <x>", "not allowed"), ("#import <x>", "not allowed"), ('#line 1 "/etc/passwd"', "not allowed"),
    ('# 1 "/etc/passwd"', "not allowed"), ("#pragma GCC dependency", "not allowed"), ("#embed </etc/passwd>", "not allowed"),
    ("#if __LINE__ == 7", "not allowed"), ('char *s = "\\\n#include x";', None), ("/*\n#include <x>\n*/", None),
])
def test_directives(line, complaint):
    found = rules.directives(FILE, f"{OURS}{line}\n", OURS, HEADERS)
    assert (not found) if complaint is None else (len(found) == 1 and complaint in found[0]), found


def test_a_header_gives_functions_only():
    header = "#pragma once\n#define N 1\nstatic inline int f(void)\n{\n\treturn N;\n}\nstatic inline int g(void)\n{\n\treturn N;\n}\n"
    theirs = header.replace("return N;", "return helper();", 1).replace("static inline int f", "static inline int helper(void)\n{\n\treturn 7;\n}\n\n"
                                                                        "static inline int f").replace("return N;", "return 0;").replace("N 1", "N 2")
    text, _ = rules.merge_header(header, theirs, ["f"])
    assert "return helper();" in text and "return 7;" in text and "#define N 1\n" in text and text.count("return N;") == 1
    assert rules.directives("x.h", header.replace("return N;", "#undef EXPECT\n\treturn N;", 1), header, [])


def test_what_is_not_the_students_stays_and_what_he_added_comes_along():
    theirs = OURS.replace("return OURS;", "return 2;").replace("int yours(void)\n{\n\treturn 0;", "static int n;\n\nint yours(void)\n{\n\treturn n;")
    text, changed = rules.merge(OURS, theirs, ["yours"])
    assert changed == ["audit"] and "return OURS;" in text and "static int n;" in text and "return n;" in text
    reformatted = OURS.replace("\treturn OURS;", "    return   OURS; /* mine */")
    assert rules.merge(OURS, reformatted, ["yours"]) == (OURS, [])


# From submission to points

@pytest.fixture(scope="module")
def pristine(built, tmp_path_factory):
    path = tmp_path_factory.mktemp("lab") / "lab.toml"
    path.write_text(TOML.replace("is_lower", a_function(built)))
    return regrading.Pristine(built, labs.Lab(path))


def a_function(tree):
    """Any function of the file that is not needed to boot would do; this one is small."""
    return re.search(r"^(?:static )?[^\n#/]*\b(\w+)\([^;{]*\)\n\{", (tree / FILE).read_text(encoding="utf-8"), re.MULTILINE)[1]


@pytest.fixture(scope="module")
def ours(built):
    return (built / FILE).read_text(encoding="utf-8")


def test_from_an_archive_to_points_and_reports(pristine, ours, tmp_path):
    path = put(tmp_path / "in/=Ann, O'Neil.zip", zip_of([("ann/" + FILE, ours.encode())]))
    outcome = regrading.regrade(pristine, path, regrading.student_of(path))
    written = regrading.write(outcome, tmp_path / "out")
    assert written.name == "_Ann__O_Neil.csv"
    rows = list(csv.reader(written.open(newline="", encoding="utf-8")))
    assert rows == [["student", "points", "max", "odd", "note", "vmarea/exact_aligned_gap", "words/defaults", "words/all_good"],
                    ["'=Ann, O'Neil", "100", "100", "", "", "60", "30", "10"]]
    told = (tmp_path / "out/_Ann__O_Neil.txt").read_text()
    assert "100 of 100 points" in told and "words/defaults" in told and "words/all_good" not in told
    assert "words/all_good" in (tmp_path / "out/_Ann__O_Neil.staff.txt").read_text()
    assert json.loads((tmp_path / "out/_Ann__O_Neil.json").read_text())["student"] == "=Ann, O'Neil"
    assert len(list((tmp_path / "out").iterdir())) == 4


UNGRADED = {
    "empty": (b"", "no folder and no archive"), "none of it": (zip_of([(FILE, b"int x;\n")]), "mm/vmarea.c"),
    "no text": (zip_of([(FILE, b"\xff\xfe\xfd")]), "mm/vmarea.c"),
}


@pytest.mark.parametrize("name", UNGRADED)
def test_what_cannot_be_graded_earns_nothing_and_says_why(name, pristine, tmp_path):
    content, says = UNGRADED[name]
    outcome = regrading.regrade(pristine, put(tmp_path / "bob.bin", content), "bob")
    assert report.points(outcome.results) == 0 and set(outcome.results) == set(pristine.lab.points)
    assert says in regrading.student_report(outcome)


def test_a_mistake_is_told_as_the_compiler_tells_it(pristine, ours, tmp_path):
    name = pristine.lab.write[FILE][0]
    broken = re.sub(rf"(\b{name}\([^;{{]*\)\n\{{\n)", r"\1\tnonsense;\n", ours, count=1)
    outcome = regrading.regrade(pristine, put(tmp_path / "a" / FILE, broken.encode()).parents[1], "eve")
    assert report.points(outcome.results) == 0 and outcome.notes == ["it does not compile"]
    assert "undeclared" in regrading.student_report(outcome) and str(tmp_path) not in regrading.student_report(outcome)


def test_nothing_of_a_submission_is_left_behind(pristine, ours, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    state = sorted((str(path), path.stat().st_mtime_ns) for path in pristine.tree.rglob("*") if path.is_file())
    regrading.regrade(pristine, put(tmp_path / "a" / FILE, ours.encode()).parents[1], "eve")
    assert not list((tmp_path / "tmp").iterdir())
    assert sorted((str(path), path.stat().st_mtime_ns) for path in pristine.tree.rglob("*") if path.is_file()) == state


@pytest.mark.parametrize("name", ["../x", "/etc/x", ".hidden", "-rf", "a b\nc", "x" * 300, "", "…", "a/../../b"])
def test_a_students_name_is_no_path(name):
    safe = regrading.file_name(name)
    assert re.fullmatch(r"[\w@+][\w.@+-]{0,99}", safe) and "/" not in safe


@pytest.mark.parametrize("text, cell", [("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x"), ("Ann", "Ann"), ("a\nb", "a b"), ("", "")])
def test_a_cell_is_no_formula(text, cell):
    assert regrading.cell(text) == cell


def test_one_csv_of_many(tmp_path):
    for name, points in (("b", 1), ("a", 2)):
        put(tmp_path / f"{name}.csv", f"student,points\r\n{name},{points}\r\n".encode())
    out = io.StringIO()
    assert regrading.join(sorted(tmp_path.glob("*.csv")), out) == 2
    assert out.getvalue().splitlines() == ["student,points", "a,2", "b,1"]
    put(tmp_path / "c.csv", b"student,other\r\nc,3\r\n")
    with pytest.raises(grading.GradeError, match=r"c\.csv has other columns"):
        regrading.join(sorted(tmp_path.glob("*.csv")), io.StringIO())
    with pytest.raises(grading.GradeError, match="no CSV files"):
        regrading.join([], io.StringIO())


def regrade(*words, **variables):
    return subprocess.run([labs.TREE / "tools/regrade", *map(str, words)], env=grading.environment() | variables, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)


def test_wrong_use_is_told():
    for words, says in (((1,), "submissions"), ((99, __file__), "there is no lab '99'"), ((1, "nobody-there"), "nobody-there is not there"),
                        ((1, "a", "b", "--name", "x"), "for one submission"), ((1, __file__, "--pristine", "/"), "is not a tree of lab 1"),
                        (("csv",), "no CSV files")):
        done = regrade(*words)
        assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr, done.stderr


# A class, and Gradescope

@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return bundle_of("1", tmp_path_factory.mktemp("autograder"))


def bundle_of(number, root):
    """What Gradescope makes of the zip of a lab: unpacked and set up."""
    gradescope.write(labs.lab_by_number(number), root / "one.zip")
    gradescope.write(labs.lab_by_number(number), root / "two.zip")
    assert (root / "one.zip").read_bytes() == (root / "two.zip").read_bytes()
    subprocess.run([sys.executable, "-c", f"import zipfile; z = zipfile.ZipFile({str(root / 'one.zip')!r})\n"
                    f"for i in z.infolist():\n  p = z.extract(i, {str(root / 'source')!r})\n  __import__('os').chmod(p, i.external_attr >> 16)"],
                   check=True)
    subprocess.run([root / "source/setup.sh"], env=grading.environment() | {"NO_INSTALL": "1"}, check=True, stdout=subprocess.DEVNULL)
    return root


@pytest.mark.long
@pytest.mark.xdist_group("bundle")
def test_gradescope(bundle):
    lab = labs.lab_by_number("1")
    for file, text in labs.sources(lab).items():
        put(bundle / "submission" / file, text.encode())
    subprocess.run([bundle / "source/run_autograder"], env=grading.environment() | {"AUTOGRADER": str(bundle)}, check=True)
    results = json.loads((bundle / "results/results.json").read_text())
    assert results["score"] == 100 == sum(test["score"] for test in results["tests"])
    assert {test["name"] for test in results["tests"] if test["visibility"] == "hidden"} == set(lab.hidden)
    (bundle / "results/results.json").unlink()
    (bundle / "source/tessera/build/tessera-check.elf").rename(bundle / "kernel")  # a fault of ours
    done = subprocess.run([bundle / "source/run_autograder"], env=grading.environment() | {"AUTOGRADER": str(bundle)}, check=False,
                          capture_output=True, text=True)
    (bundle / "kernel").rename(bundle / "source/tessera/build/tessera-check.elf")
    assert done.returncode == 2 and not (bundle / "results/results.json").exists() and "is not built" in done.stderr


@pytest.mark.long
@pytest.mark.xdist_group("bundle")
def test_forty_at_once_do_not_get_in_each_others_way(bundle, tmp_path):
    """By GNU parallel, on four jobs: solutions, starters, and what does not compile, in all shapes."""
    lab = labs.lab_by_number("1")
    solution, starter = labs.sources(lab), labs.starter_files(lab)[0]
    broken = {file: text + "int x = nonsense;\n" for file, text in solution.items()}
    for n in range(40):
        files = (solution, starter, broken, solution)[n % 4]
        entries = [(f"tree{n}/{file}", text.encode()) for file, text in files.items()]
        if n % 3:
            put(tmp_path / f"in/s{n:02}.{'zip' if n % 3 == 1 else 'tgz'}", zip_of(entries) if n % 3 == 1 else tar_of(entries, gzip.compress))
        else:
            for name, text in entries:
                put(tmp_path / f"in/s{n:02}" / name, text)
    assert shutil.which("parallel"), "GNU parallel: Debian's package is called so"
    subprocess.run(["parallel", "-j4", bundle / "source/tessera/tools/regrade", "1", "{}", "--out", tmp_path / "out",
                    "--pristine", bundle / "source/tessera", ":::", *sorted((tmp_path / "in").iterdir())], check=True)
    rows = list(csv.DictReader(regrade("csv", tmp_path / "out").stdout.splitlines()))
    assert [row["student"] for row in rows] == [f"s{n:02}" for n in range(40)]
    for n, row in enumerate(rows):
        assert row["points"] == str((100, lab.starter, 0, 100)[n % 4]), row
        assert row["note"] == ("it does not compile" if n % 4 == 2 else "") and row["odd"] == ""
    texts = [re.sub(r"s\d\d", "", (tmp_path / f"out/s{n:02}.staff.txt").read_text()) for n in range(40)]
    assert [len(set(texts[k::4])) for k in range(3)] == [1, 1, 1]


def test_stat_is_only_of_the_path(tmp_path):
    with pytest.raises(submission.SubmissionError, match="neither a folder nor a file"):
        os.mkfifo(tmp_path / "fifo")
        submission.read(pathlib.Path(tmp_path / "fifo"), WANTED)
