"""docs/gdb.md is a session that took place: what is typed there is typed here, and gdb answers the same."""

import re

import pytest

import guide

TEXT = guide.DOCUMENT.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def answers():
    """Of one real session."""
    return guide.play(guide.read(TEXT))


@pytest.mark.xdist_group("guide")
def test_gdb_answers_as_the_guide_says(answers):
    assert len(answers) > 60
    wrong = guide.check(TEXT, answers)
    assert not wrong, "`make docs-gdb` writes what gdb says now:\n" + "\n".join(wrong)


def renamed(old, new):
    """The document with one number put for another everywhere."""
    assert old in TEXT
    return TEXT.replace(old, new)


FRAME = re.search(r"mapped now, to 0x([0-9a-f]+)000,", TEXT)[1]  # of the area's first page
CODE = re.search(r"^\(gdb\) mm walk kernel_main\n0x([0-9a-f]{16}): paging is off", TEXT, re.MULTILINE)[1]


@pytest.mark.xdist_group("guide")
@pytest.mark.parametrize("other", [renamed(FRAME, "123"), renamed(CODE, "ffffffff80123450"), re.sub(r"(\.[ch]):\d+", r"\1:7", TEXT)],
                         ids=["frame", "code", "lines"])
def test_what_may_differ_may_differ_everywhere(answers, other):
    assert guide.check(other, answers) == []


@pytest.mark.xdist_group("guide")
@pytest.mark.parametrize("old, new", [
    ("guard: vmalloc, 4 pages", "guard: vmalloc, 5 pages"), ("$3 = true", "$3 = false"), ("rwx direct", "rw- direct"),
    (f"mapped now, to 0x{FRAME}000", "mapped now, to 0x777000"),
    ("0xffffc90000017000-0xffffc9000001afff", "0xffffc90000017000-0xffffc9000001bfff"),
    ("(gdb) mm watch -d\n", "(gdb) mm watch -d\nno more\n"), ("  next   compare its size with the indexes used\n", ""),
    (CODE, "ffffc90000123450"), ("P W A D G NX", "P W A G NX"), ("Continuing.\n", "Continuing.\n...\n| never said\n"),
])
def test_what_may_not_differ_is_told(answers, old, new):
    assert old in TEXT
    wrong = guide.check(TEXT.replace(old, new, 1), answers)
    assert wrong and re.match(r"docs/gdb.md:\d+: \(gdb\) ", wrong[0]), wrong


@pytest.mark.xdist_group("guide")
def test_renewed_it_is_the_same_but_for_its_numbers(answers):
    """Prose, commands and what is left out stay; and what was just written is right."""
    stale = TEXT.replace("$3 = true", "what it once said").replace("(gdb) mm watch -d\n", "(gdb) mm watch -d\nwas nothing\n")
    for text in TEXT, stale:
        new = guide.renew(text, answers)
        assert guide.check(new, answers) == []
        assert guide.FENCE.sub("", new) == guide.FENCE.sub("", TEXT)
        assert [s.command for f in guide.read(new) for s in f] == [s.command for f in guide.read(text) for s in f]
    assert guide.renew(TEXT, answers).count("\n...\n") == TEXT.count("\n...\n")
