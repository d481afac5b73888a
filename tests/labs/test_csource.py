"""Definitions are found, cut and replaced whole, with their comments."""

import csource
import pytest
from small import SOURCE, TREE


def text_of(definition, text=SOURCE):
    return text.splitlines()[definition.comment:definition.end]


def test_every_definition_is_found_once():
    found = [(d.name, d.kind) for d in csource.definitions(SOURCE)]
    assert sorted(found) == [("ROOM", "macro"), ("is_full", "function"), ("is_full", "prototype"), ("lids", "variable"),
                             ("next", "function"), ("pebbles", "variable"), ("put", "function")]


def test_a_definition_has_its_comment_and_its_end():
    assert text_of(csource.find(SOURCE, "next")) == SOURCE.splitlines()[9:14]
    macro = csource.find(SOURCE, "ROOM", ("macro",))
    assert text_of(macro) == ["#define ROOM \\", "\t10"]


def test_every_function_of_mm_ends_with_its_brace():
    for path in [*TREE.glob("mm/*.c"), *TREE.glob("include/mm/*.h")]:
        text = path.read_text(encoding="utf-8")
        for d in csource.definitions(text):
            if d.kind == "function":
                lines = text.splitlines()
                assert lines[d.end - 1] == "}" and "{" in lines[d.start:d.end], f"{path}: {d.name}"
                assert d.name in " ".join(lines[d.start:d.end])
                assert d.comment == d.start or lines[d.comment].startswith("/*")


def test_a_body_is_replaced_and_the_rest_stays():
    seen = []
    text = csource.with_body(SOURCE, "put", lambda signature: seen.append(signature) or ["\treturn 7;"])
    assert text.count("\n") == SOURCE.count("\n") - 3
    assert "/* Put one in; false: it is full. */\nint put(int n, int (*fn)(void), char out[4],\n\tconst char *name)\n{\n\treturn 7;\n}\n" in text
    assert csource.parameters(seen[0], "put") == ["n", "fn", "out", "name"]
    assert csource.parameters("int f(void)", "f") == []


def test_what_is_cut_leaves_no_trace():
    text = csource.without(SOURCE, ["next", "ROOM"])
    assert "The one behind" not in text and "ROOM \\" not in text and "\n\n\n" not in text
    assert "static int is_full(void);\n\n/* Put one in" in text
    assert csource.without(SOURCE, ["is_full"]).count("is_full") == 1  # the call; its prototype is gone, too


def test_a_name_that_is_not_there_is_told():
    for function in (csource.find, lambda t, n: csource.without(t, [n]), lambda t, n: csource.with_body(t, n, lambda s: [])):
        with pytest.raises(csource.SourceError, match="'nobody'"):
            function(SOURCE, "nobody")


def test_a_graft_replaces_what_is_known_and_brings_the_rest_along():
    texts = {"mm/box.c": SOURCE, "mm/other.c": "int other;\n"}
    new = '#include <stdbool.h>\n\n/* How many. */\n#define HALF 5\n\nstatic int helper(void)\n{\n\treturn HALF;\n}\n\n' \
          '/* Better. */\nstatic int next(int n)\n{\n\treturn n + helper();\n}\n\nstatic int behind;\n'
    assert csource.graft(texts, new) == ["next"]
    text = texts["mm/box.c"]
    assert texts["mm/other.c"] == "int other;\n"
    assert "#include <stddef.h>\n#include <stdbool.h>\n" in text
    assert text.index("#define HALF 5") < text.index("static int helper") < text.index("/* Better. */") < \
        text.index("static int behind;") < text.index("/* Put one in")
    assert "The one behind" not in text and text.count("static int next(") == 1


def test_a_graft_of_nothing_known_is_refused():
    with pytest.raises(csource.SourceError, match="none of the functions"):
        csource.graft({"mm/box.c": SOURCE}, "int stranger(void)\n{\n\treturn 0;\n}\n")
