"""make lab: what a student gets and does not get; what is told when something is wrong."""

import copy
import os
import subprocess
import sys

import lab as labs
import pytest
from small import SOURCE, TREE, WRONG, write


def in_tree(out, name):
    return (out / name).read_text(encoding="utf-8")


def test_a_starter_has_stubs_and_nothing_that_gives_answers_away(master, tmp_path):
    out = tmp_path / "lab2"
    labs.make_tree(labs.lab_by_number("2", master), out, tree=master)
    text = in_tree(out, "mm/box.c")
    assert "\t(void)n;\n\t(void)fn;\n\t(void)out;\n\t(void)name;\n\tYOURS_TO_WRITE(2, put);\n}" in text
    assert "next" not in text and "/* Put one in; false: it is full. */" in text
    assert "return pebbles == ROOM;" in text  # of lab 1: complete
    names = subprocess.run(["git", "-C", out, "ls-files"], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(names) == ["LAB.md", "Makefile", "lab.toml", "labs/2-put/put_test.c", "labs/support/lab.h",
                             "labs/support/this_lab.h", "labs/support/this_lab.mk", "mm/box.c"]
    assert os.access(out / "Makefile", os.X_OK)
    assert not subprocess.run(["git", "-C", out, "status", "--short"], capture_output=True, check=True).stdout
    assert subprocess.run(["git", "-C", out, "log", "--format=%s"], capture_output=True, text=True,
                          check=True).stdout == "lab 2, Put: the starter\n"
    assert labs.lab_of(out).number == 2 and labs.lab_of(master) is None


def test_all_stubs_of_the_real_labs_can_be_made():
    for lab in labs.labs():
        texts, _ = labs.starter_files(lab)
        for file, name in lab.functions:
            assert labs.is_stub(texts[file], name) is not bool(lab.begin)
        for file, names in lab.gone.items():
            assert not [name for name in names if f"{name}(" in texts[file]]


def test_a_stub_that_only_stubs_called_is_not_dropped():
    lab = next(lab for lab in labs.labs() if lab.number == 1)
    text = "static int a(void)\n{\n\treturn b;\n}\n\n/* It calls. */\nint f(void)\n{\n\treturn a() + a();\n}\n"
    both, one = (labs.stub_out(lab_that_writes(lab, names), {"mm/x.c": text})["mm/x.c"] for names in (["a", "f"], ["a"]))
    assert both.startswith("__attribute__((used)) /* nobody calls it yet */\nstatic int a(void)\n{\n\tYOURS_TO_WRITE(1, a);\n}\n")
    assert "used" not in one and both.count("used") == 1


def lab_that_writes(lab, names):
    """That lab, but of functions of mm/x.c."""
    other = copy.copy(lab)
    other.write, other.gone = {"mm/x.c": names}, {}
    return other


BEGIN = """/* What it begins with. */

/* Slow. */
static int count(void)
{
	return pebbles + 0;
}

static int is_full(void)
{
	return count() == ROOM;
}
"""


def begin_with(master, text):
    """Lab 2 as one that begins with this text."""
    path = master / "labs/2-put/lab.toml"
    write(path, path.read_text(encoding="utf-8").replace("starter = 0", 'starter = 60\nbegin = "simple.c"').replace('["put"]', '["put", "is_full"]'))
    write(master / "labs/2-put/simple.c", text)
    write(master / "labs/2-put/put.h", "/* what that test includes */\n")
    write(master / "labs/2-put/lab.mk", "MINE := 1\n")
    return labs.lab_by_number("2", master)


def test_a_lab_may_begin_with_something_that_works(master, tmp_path):
    out = tmp_path / "lab2"
    labs.make_tree(begin_with(master, BEGIN), out, tree=master)
    text = in_tree(out, "mm/box.c")
    assert "/* Slow. */\nstatic int count(void)" in text and "return count() == ROOM;" in text
    assert "What it begins with" not in text and "YOURS_TO_WRITE" not in text and "return pebbles == ROOM" not in text
    assert "return 1;\n}" in text and "next(int" not in text  # put: as the master's; [gone] is gone
    assert in_tree(out, "labs/2-put/put.h") and in_tree(out, "labs/2-put/lab.mk") and not (out / "labs/2-put/simple.c").exists()


@pytest.mark.parametrize("old, new, told", [
    ("is_full", "next", "simple.c: it has next, which is not in \\[write\\]: nobody could hand it in"),
    ("is_full", "was_full", "simple.c: it has none of the functions that it should replace"),
])
def test_a_begin_that_does_not_fit_is_told(master, old, new, told):
    lab = begin_with(master, BEGIN.replace(old, new))
    lab.gone.clear()
    with pytest.raises(labs.LabError, match=told):
        labs.starter_files(lab, tree=master)


def test_a_begin_that_is_not_there_is_told(master):
    lab = begin_with(master, BEGIN)
    (master / "labs/2-put/simple.c").unlink()
    with pytest.raises(labs.LabError, match="begin = 'simple.c', but there is no .*labs/2-put/simple.c"):
        labs.starter_files(lab, tree=master)


def kept(master, tmp_path, change):
    """The starter of lab 2 that keeps a tree of lab 1, changed so."""
    mine = tmp_path / "mine"
    labs.make_tree(labs.lab_by_number("1", master), mine, tree=master)
    write(mine / "mm/box.c", change(in_tree(mine, "mm/box.c")))
    texts, notes = labs.starter_files(labs.lab_by_number("2", master), mine, master)
    return texts["mm/box.c"], notes


def test_keep_takes_what_the_student_wrote_and_added(master, tmp_path):
    mine = "\treturn pebbles >= my_room();\n"
    text, notes = kept(master, tmp_path, lambda text: text.replace("\tYOURS_TO_WRITE(1, is_full);\n", mine).replace(
        "static int is_full(void)\n{", "#define MINE 9\n\nstatic int my_room(void)\n{\n\treturn MINE;\n}\n\nstatic int is_full(void)\n{"))
    assert mine in text and "static int my_room(void)" in text and "#define MINE 9" in text and not notes
    assert "YOURS_TO_WRITE(2, put)" in text and "next" not in text


def test_keep_leaves_what_was_not_the_students(master, tmp_path):
    text, _ = kept(master, tmp_path, lambda text: text.replace("\tYOURS_TO_WRITE(1, is_full);\n", "\treturn 0;\n").replace(
        "if (is_full())", "if (0)"))
    assert "if (0)" not in text and "\treturn 0;\n}" in text


def test_keep_of_a_stub_takes_the_function_complete_and_says_so(master, tmp_path):
    text, notes = kept(master, tmp_path, lambda text: text)
    assert "return pebbles == ROOM;" in text
    assert notes == [f"mm/box.c: is_full (lab 1) is not written in {tmp_path}/mine: taken complete"]


def test_a_wrong_solution_is_the_master_with_other_functions(master):
    lab = labs.lab_by_number("1", master)
    wrong, = lab.wrong()
    assert (wrong.name, wrong.loses, wrong.hints) == ("one-more", {"box/full"}, {"too-full"})
    assert wrong.thought == "there is room for one more"
    text = labs.wrong_files(lab, wrong, master)["mm/box.c"]
    assert "static int spare = 1;\n/* Mine. */\nstatic int is_full(void)\n{\n\treturn pebbles == ROOM + spare;" in text
    assert text.startswith(SOURCE[:SOURCE.index("static int is_full(void)\n{")])


@pytest.mark.parametrize("old, new, told", [
    ("loses: box/f*", "looses: box/f*", "the head comment must say loses:, hint: and thought:"),
    ("loses: box/f*", "loses: box/g*", "it is to lose box/g\\*, but no test of lab 1, Full is called so"),
    ("hint: too-full", "hint: too-empty", "it is to draw the hint too-empty, which lab 1, Full does not have"),
])
def test_a_wrong_solution_with_a_wrong_head_is_told(master, old, new, told):
    write(master / "labs/1-full/wrong/one-more.c", WRONG.replace(old, new))
    with pytest.raises(labs.LabError, match=told):
        labs.lab_by_number("1", master).wrong()


@pytest.mark.parametrize("old, new, told", [
    ("= 40", "= 41", "the points are 101 in sum; they must be 100"),
    ("starter = 0", "", "'starter' is missing"),
    ('says = "full"', 'says = "(full"', "is no regular expression"),
    ('test = "box/*"', 'test = "bax/*"', "hint too-full is for bax/\\*, but no test with points is called so"),
    ("starter = 0", "starter = 0\nhidden = [\"box/none\"]", "hidden test box/none has no points"),
    ("number = 1", "number = 2", "have the same number, 2"),
    ("number = 1", "number 1", "lab.toml: Expected '=' after a key"),
])
def test_a_wrong_lab_toml_is_told(master, old, new, told):
    path = master / "labs/1-full/lab.toml"
    write(path, path.read_text(encoding="utf-8").replace(old, new))
    with pytest.raises(labs.LabError, match=told):
        labs.labs(master)


def test_a_function_that_is_not_there_is_told_with_its_file(master):
    path = master / "labs/1-full/lab.toml"
    write(path, path.read_text(encoding="utf-8").replace("is_full", "was_full"))
    with pytest.raises(labs.LabError, match="mm/box.c: there are 0 definitions of 'was_full'"):
        labs.starter_files(labs.lab_by_number("1", master), tree=master)


def make_lab(**variables):
    done = subprocess.run([TREE / "tools/lab"], env={"PATH": os.environ["PATH"], **variables}, capture_output=True,
                          text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("variables, told", [
    ({}, "which lab? say LAB=".replace("? say", "?; say")),
    ({"LAB": "99", "OUT": "{tmp}/x"}, "there is no lab '99'; say LAB="),
    ({"LAB": "1"}, "where to? OUT=folder names the new tree"),
    ({"LAB": "1", "OUT": "{tmp}/full"}, "is not empty, and nothing in it shall be lost"),
    ({"LAB": "1", "OUT": "{tmp}/full/file"}, "is a file: name a folder"),
    ({"LAB": "1", "OUT": "{tmp}/none/x"}, "there is no folder {tmp}/none; make it first"),
    ({"LAB": "1", "OUT": "{tmp}/x", "KEEP": "{tmp}/none"}, "KEEP={tmp}/none is no folder"),
    ({"LAB": "1", "OUT": "{tmp}/x", "KEEP": "{tmp}/full"}, "is not the tree of a lab: it has no lab.toml"),
    ({"LAB": "1", "OUT": "{tmp}/x", "KEEP": "{tmp}/lab1"}, "is a tree of lab 1, Frames, not of one before lab 1, Frames"),
])
def test_what_make_lab_cannot_do_it_says_and_leaves_all_as_it_was(tmp_path, variables, told):
    write(tmp_path / "full/file", "mine\n")
    write(tmp_path / "lab1/lab.toml", (TREE / "labs/1-frames/lab.toml").read_text(encoding="utf-8"))
    status, said = make_lab(**{name: value.format(tmp=tmp_path) for name, value in variables.items()})
    assert status == 1 and told.format(tmp=tmp_path) in said and said.count("\n") == 1
    assert (tmp_path / "full/file").read_text(encoding="utf-8") == "mine\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "lab1"]


def test_a_lab_tree_makes_no_labs(tmp_path):
    out = tmp_path / "lab1"
    status, said = make_lab(LAB="1", OUT=str(out))
    assert status == 0 and "lab 1, Frames: " in said and "mm/page_alloc.c: " in said
    done = subprocess.run([out / "tools/lab"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "this is a tree of lab 1, Frames; only Tessera's own tree makes others" in done.stderr


def test_in_a_lab_tree_what_is_the_lecturers_is_told_not_listed_and_harms_nothing(tmp_path):
    out = tmp_path / "lab1"
    make_lab(LAB="1", OUT=str(out))
    books = (out / "labs/support/insns.json").read_text(encoding="utf-8")
    make = ["make", "-s", "-C", str(out)]
    listed = subprocess.run([*make, "help"], capture_output=True, text=True, check=True).stdout
    ours = subprocess.run(["make", "-s", "-C", TREE, "help"], capture_output=True, text=True, check=True).stdout
    assert "make grade " in listed and "make lab " in ours
    for goal in ("lab", "gradescope", "labs-count", "labs-check", "mutants", "coverage"):
        done = subprocess.run([*make, goal], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and f"make {goal} works in Tessera's own tree only" in done.stderr
        assert f"make {goal} " not in listed and f"make {goal} " in ours
    done = subprocess.run([sys.executable, "-B", out / "tools/labs/count.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "this is a tree of lab 1, Frames" in done.stderr
    assert (out / "labs/support/insns.json").read_text(encoding="utf-8") == books


def test_in_a_lab_tree_no_page_leads_to_what_is_not_there(tmp_path):
    out = tmp_path / "lab1"
    make_lab(LAB="1", OUT=str(out))
    for page in [out / "README.md", *(out / "docs").glob("*.md")]:
        for link in labs.LINK.finditer(page.read_text(encoding="utf-8")):
            assert ":" in link[2] or (page.parent / link[2].partition("#")[0]).exists(), f"{page.name}: {link[0]}"


def test_no_lab_tree_has_another_labs_answers(tmp_path):
    out = tmp_path / "lab1"
    make_lab(LAB="1", OUT=str(out))
    names = {str(path.relative_to(out)) for path in out.rglob("*") if ".git" not in path.parts}
    assert [name for name in names if name.startswith("labs/1-frames/")] == ["labs/1-frames/drill_test.c"]
    assert not [name for name in names if name.startswith(("labs/2-", "tests/mutants", "tests/labs", ".ci"))]
    assert {"LAB.md", "lab.toml", "labs/support/lab.c", "tools/labs/lab.py", "mm/page_alloc.c", "tools/run"} <= names


def test_in_a_students_tree_hints_are_out_of_sight_and_drawn_all_the_same(master, tmp_path):
    """Of all labs: no word of a hint can be read, and nothing else of lab.toml is missing."""
    labs.make_tree(labs.lab_by_number("1", master), tmp_path / "lab1", tree=master)
    theirs = labs.lab_of(tmp_path / "lab1")
    assert theirs.hint("box/put", "it is full").text == "count again" and "count again" not in in_tree(tmp_path / "lab1", "lab.toml")
    place = {"path": None, "folder": None}
    for lab in labs.labs():
        write(tmp_path / "lab.toml", labs.lab_files(lab)["lab.toml"])
        text, theirs = in_tree(tmp_path, "lab.toml"), labs.Lab(tmp_path / "lab.toml")
        assert len(lab.hints) > 5 and not [hint.id for hint in lab.hints if hint.text[:40] in text or f"id = \"{hint.id}" in text]
        assert vars(theirs) | place == vars(lab) | place


def test_packed_hints_that_are_damaged_are_told(tmp_path):
    text = labs.lab_files(labs.lab_by_number("1"))["lab.toml"]
    for old, new in (("hints = \"\"\"\neN", "hints = \"\"\"\nfN"), ("hints = ", "hunts = ")):
        write(tmp_path / "lab.toml", text.replace(old, new))
        with pytest.raises(labs.LabError, match="packed hints are damaged .*git checkout lab.toml|'hints' is missing"):
            labs.lab_of(tmp_path)


@pytest.mark.parametrize("message, hint", [
    ("PANIC #DF double fault, error code 0x0, at take_block+0x4", "recursion"), ("PANIC spin_lock: CPU 0 holds 'window' already", "lock-held"),
    ("PANIC spin_lock: CPU 0 waits for 'window' while it holds 'page_alloc'\n  take the other first", "lock-order"),
    ("x is full of PANIC #DF", "too-full"), ("PANIC something else", None)])
def test_where_the_lab_has_no_hint_one_for_all_labs_may_fit(master, message, hint):
    found = labs.lab_by_number("1", master).hint("box/full", message)
    assert (found and found.id) == hint
