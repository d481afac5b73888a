"""csource - C text as a list of definitions: find one by name, cut it, put another in its place.

universal-ctags says where each definition begins and ends; a comment directly above belongs to it. So mm/ needs no
markers: `take_block` is enough to find what a lab is about. Lines count from 0 here, and stretches exclude their end.
"""

import collections
import json
import re
import subprocess

# Names that ctags would take for the function's own.
MACROS = "-Iprintf_like+,aligned_to+,__attribute__+"
DECLARATIONS = "prototype", "externvar"
Definition = collections.namedtuple("Definition", "name kind comment start end")  # lines; comment: where it begins


class SourceError(Exception):
    """What was looked for is not there."""


def definitions(text):
    """All of a C text at its outermost level, in their order."""
    try:
        done = subprocess.run(["ctags", "--language-force=C", "--kinds-C=+px", "--output-format=json", "--fields=+neK",
                               MACROS, "-f", "-", "--_interactive=default"], input=request(text), capture_output=True,
                              check=True)
    except FileNotFoundError:
        raise SourceError("universal-ctags is not installed, which finds functions: `make deps` installs it") from None
    tags = [json.loads(line) for line in done.stdout.splitlines()]
    lines = text.splitlines()
    found = sorted({span(lines, tag) for tag in tags if tag["_type"] == "tag" and "scope" not in tag},
                   key=lambda d: (d.start, -d.end))
    outer = []
    for one in found:
        if not outer or one.start >= outer[-1].end or one.start == outer[-1].start and one.end == outer[-1].end:
            outer.append(one)
        elif is_nameless(outer[-1]) and one.kind in ("variable", "externvar", "typedef"):
            outer[-1] = outer[-1]._replace(name=one.name, kind=one.kind)  # struct { … } one;
    return [d._replace(name=" ".join(" ".join(lines[d.start:d.end]).split())) if is_nameless(d) else d for d in outer]


def is_nameless(definition):
    """ctags calls it by a number that means nothing."""
    return definition.name.startswith("__anon")


def request(text):
    """ctags reads one command a line, and then the text."""
    raw = text.encode()
    head = json.dumps({"command": "generate-tags", "filename": "text.c", "size": len(raw)})
    return head.encode() + b"\n" + raw


def span(lines, tag):
    """The definition that a tag is of: with what stands on lines before its name, and its comment."""
    start = tag["line"] - 1
    while start and continues(lines[start - 1]) and not lines[max(start - 2, 0)].endswith("\\"):
        start -= 1
    end = tag.get("end", tag["line"])
    while tag["kind"] == "macro" and lines[end - 1].endswith("\\"):
        end += 1
    while tag["kind"] in ("variable", "externvar", "prototype", "typedef") and not re.search(r";\s*(/\*.*)?$", lines[end - 1]):
        end += 1
    return Definition(tag["name"], tag["kind"], comment_above(lines, start), start, end)


def continues(line):
    """Does what stands here go on in the next line?"""
    bare = re.sub(r"/\*.*?\*/", "", line).strip()
    return bare != "" and not line.startswith((" *", "#", "/*")) and not bare.endswith((";", "}", "*/", "\\"))


def comment_above(lines, start):
    """The first line of the comment that ends directly above; or start."""
    at = start - 1
    if at < 0 or not lines[at].endswith("*/") or not lines[at].startswith(("/*", " *")):
        return start
    while at and not lines[at].startswith("/*"):
        at -= 1
    return at


def find(text, name, kinds=("function",)):
    """One definition; SourceError if there is none or more."""
    found = [d for d in definitions(text) if d.name == name and d.kind in kinds]
    if len(found) != 1:
        raise SourceError(f"there are {len(found)} definitions of '{name}', not one")
    return found[0]


def cut(text, stretches, fill=lambda old: []):
    """Without these (start, end) stretches of lines, and without the blank line that was behind each that leaves nothing."""
    lines = text.splitlines()
    for start, end in sorted(stretches, reverse=True):
        new = fill(lines[start:end])
        if not new and lines[end:end + 1] == [""]:
            end += 1
        lines[start:end] = new
    return "\n".join(lines) + "\n"


def without(text, names):
    """Cut definitions of these names, with their comments and prototypes."""
    known = definitions(text)
    for name in names:
        if not any(d.name == name for d in known):
            raise SourceError(f"there is no '{name}'")
    return cut(text, {(d.comment, d.end) for d in known if d.name in names})


def with_body(text, name, body):
    """The function's comment and signature stay; body(signature) gives the lines between its braces."""
    lines, one = text.splitlines(), find(text, name)
    brace = next((at for at in range(one.start, one.end) if lines[at] == "{"), None)
    if brace is None or lines[one.end - 1] != "}":
        raise SourceError(f"'{name}' is laid out in a way that is not ours: braces in a line of their own")
    signature = " ".join(lines[one.start:brace])
    lines[brace + 1:one.end - 1] = body(signature)
    return "\n".join(lines) + "\n"


def parameters(signature, name):
    """The names of a function's parameters."""
    inside = signature[signature.index(name) + len(name):].lstrip()[1:].rstrip()[:-1]
    parts, depth = [""], 0
    for c in inside:
        depth += (c == "(") - (c == ")")
        if c == "," and not depth:
            parts.append("")
        else:
            parts[-1] += c
    names = [re.search(r"\(\s*\*\s*(\w+)", part) or re.search(r"(\w+)\s*(\[[^]]*\]\s*)*$", part) for part in parts]
    return [found[1] for found in names if found and found[1] != "void"]


def graft(texts, new, chosen=lambda definition, known: True):
    """Put definitions of the text `new` into texts, a dictionary of files by path.

    One whose name a file has replaces that one there; one that is nowhere comes directly before the next that
    replaced something, as it did in `new`; so do its #includes, in the files that lack them. chosen() may pass over
    definitions: it is told whether the name is known in texts. Returns the names that replaced something.
    """
    where = {}
    for path, text in texts.items():
        for d in definitions(text):
            if d.kind not in DECLARATIONS:
                where.setdefault(d.name, path)
    lines, before, last, placed, taken = new.splitlines(), [], None, [], set()
    for d in definitions(new):
        if not chosen(d, d.name in where) or (d.start, d.end) in taken:  # int a, b; are two in one line
            continue
        taken.add((d.start, d.end))
        body = lines[d.comment:d.end]
        if d.kind in DECLARATIONS and any(" ".join(lines[d.start:d.end]) in " ".join(t.splitlines()) for t in texts.values()):
            continue
        if d.name not in where or d.kind in DECLARATIONS:
            before += body + ([""] if d.kind in ("function", "struct", "union", "enum") else [])
            continue
        texts[where[d.name]] = replace(texts[where[d.name]], d.name, before + body)
        before, last = [], d.name
        placed.append(d.name)
    if before and last:
        texts[where[last]] = replace(texts[where[last]], last, [""] + before, behind=True)
    elif before:
        raise SourceError("it has none of the functions that it should replace")
    for path in {where[name] for name in placed}:
        texts[path] = with_includes(texts[path], [line for line in lines if line.startswith("#include")])
    return placed


def replace(text, name, new, behind=False):
    """Other lines in a definition's place, or behind it."""
    lines = text.splitlines()
    d = next(d for d in definitions(text) if d.name == name and d.kind not in DECLARATIONS)
    lines[d.end if behind else d.comment:d.end] = new
    return "\n".join(lines).rstrip("\n") + "\n"


def with_includes(text, includes):
    """text with what it does not include yet."""
    lines = text.splitlines()
    missing = [line for line in includes if line not in lines]
    at = max((n for n, line in enumerate(lines) if line.startswith("#include")), default=-1) + 1
    lines[at:at] = missing
    return "\n".join(lines) + "\n"
