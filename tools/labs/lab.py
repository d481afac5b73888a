"""lab - what a lab is, and how a student's tree is made of the master's.

A lab is a folder labs/N-name with lab.toml, README.md (the handout), wrong/*.c (wrong solutions, to prove the grader
by) and, if only this lab needs them, tests NAME_test.c. Nothing in mm/ knows of it: a starter tree is the master's with
the bodies of some functions taken out, a solution tree is one in which they were left.

Format of lab.toml:

    number = 1
    name = "Frames"
    starter = 0                             # points that the untouched starter has, exactly
    hidden = ["page_alloc/race"]            # tests which a student's Gradescope page does not show
    begin = "simple.c"                      # may be left out: see below
    [write]                                 # the student's functions: file = names
    "mm/page_alloc.c" = ["take_block", "put_block"]
    [gone]                                  # what would give the answer away, and is cut: file = names
    "mm/page_alloc.c" = ["free_buddy"]
    [points]                                # test = points; the sum is 100
    "page_alloc/coalesce" = 10
    [[hint]]                                # of those whose test (fnmatch) and says (regex, in the failure's text) fit, the first
    id = "wrong-buddy"
    test = "page_alloc/*"
    says = "unsound"
    text = "what it likely is, and what to do about it"

In a student's tree the hints are packed: see hints.py.

Without begin the starter has a stub for each function in [write]. With it, it begins with something that works: this file
in the lab's folder has whole definitions of functions in [write], and of others that only they need, as wrong/NAME.c
has. Those of [write] that it lacks stay as they are in the master: they are given, but the student may change them.

What only the trees of this lab need, tests and what they include, lies in the lab's folder, too: NAME_test.c, NAME.h, and
lab.mk, which labs/support/lab.mk includes.

Format of wrong/NAME.c: a head comment with these, each from the begin of a line (tests may be fnmatch patterns,
lines may go on), then C: whole definitions. One that the master has replaces it, others come before the next that does.

    /*
     * loses: page_alloc/coalesce page_alloc/blocks
     * hint: wrong-buddy
     * thought: two neighbours of one size are buddies
     */

Where a lab asks for answers about a machine instead of functions (lab 0), lab.toml says answers = "answers.toml", [write] is
empty, answers.toml in the folder is the empty sheet, and wrong solutions are wrong/*.py: see byhand.py.

It must lose all that loses: names and nothing else, and draw each hint. Where it destroys memory, tests must see it before that, or
it must be certain that they fail however that ends.
"""

import collections
import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import tomllib

import csource
import hints
import rules
import seeds

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
Wrong = collections.namedtuple("Wrong", "name loses hints thought text")

# What a student's tree lacks: other labs, what quotes mm/ or plants bugs in it, and the lecturer's tools.
LEFT_OUT = ("labs/*", "tests/labs/*", "tests/mutants/*", "tests/coverage/*", ".ci/*", "docs/teaching.md",
            "tools/labs/check.py", "tools/labs/simple.py", "tools/regrade", "tools/labs/regrade*", "tools/labs/gradescope*")
KEPT = ("labs/support/*",)
LINK = re.compile(r"\[([^]\n]*)\]\(([^)\s]+)\)")


class LabError(Exception):
    """Something is wrong with what was asked for, or with a lab: the message says what and what to do."""


def number_asked(name, default):
    """What a variable says, if it says anything."""
    value = os.environ.get(name) or str(default)
    if not re.fullmatch("[1-9][0-9]{0,5}", value):
        raise LabError(f"{name}={value}: {name} must be a number from 1 to 999999")
    return int(value)


class Lab:
    """One lab.toml. Without a folder of its own (in a student's tree) it has no wrong solutions."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.folder = self.path.parent
        try:
            data = tomllib.loads(self.path.read_text(encoding="utf-8"))
            self.number, self.name, self.starter = data["number"], data["name"], data["starter"]
            self.write, self.points = data["write"], data["points"]
            self.gone, self.hidden = data.get("gone", {}), data.get("hidden", [])
            self.answers = data.get("answers")  # the file with them; None: functions are to be written
            self.begin = data.get("begin")  # the file with what works already; None: stubs
            self.hints = hints.of(data)
        except KeyError as key:
            raise LabError(f"{path}: {key} is missing; tools/labs/lab.py shows the format") from None
        except ValueError as error:  # no TOML, or damaged
            raise LabError(f"{path}: {error}") from None
        self.check()

    def check(self):
        """What can be seen without building anything."""
        if sum(self.points.values()) != 100:
            raise LabError(f"{self.path}: the points are {sum(self.points.values())} in sum; they must be 100")
        for test in self.hidden:
            if test not in self.points:
                raise LabError(f"{self.path}: hidden test {test} has no points")
        for hint in self.hints:
            if not fnmatch.filter(self.points, hint.test):
                raise LabError(f"{self.path}: hint {hint.id} is for {hint.test}, but no test with points is called so")
            try:
                re.compile(hint.says)
            except re.error as error:
                raise LabError(f"{self.path}: hint {hint.id}: {hint.says!r} is no regular expression: {error}") from None

    @property
    def title(self):
        return f"lab {self.number}, {self.name}"

    @property
    def functions(self):
        """(file, function) of all that the student writes."""
        return [(file, name) for file, names in self.write.items() for name in names]

    def hint(self, test, message):
        """The first hint that fits a failure, the lab's own before those for all labs; None."""
        return next((h for h in self.hints + hints.GENERAL if fnmatch.fnmatchcase(test, h.test) and re.search(h.says, message)), None)

    def wrong(self):
        """The wrong solutions, in the order of their names."""
        return [read_wrong(self, path) for path in sorted((self.folder / "wrong").glob("*.py" if self.answers else "*.c"))]

    @property
    def taken(self):
        """The files that are taken from what a student hands in."""
        return [self.answers] if self.answers else list(self.write)


def read_wrong(lab, path):
    """One wrong/NAME.c, or NAME.py."""
    text = path.read_text(encoding="utf-8")
    head = re.match(r"/\*\n(.*?)\*/\n" if path.suffix == ".c" else r'"""\n(.*?)"""\n', text, re.DOTALL)
    fields = {}
    for line in head[1].splitlines() if head else []:
        line = line.strip().removeprefix("*").strip()
        name, colon, rest = line.partition(":")
        if colon and name in ("loses", "hint", "is", "thought"):
            fields[name] = rest.strip()
        elif fields:
            fields[list(fields)[-1]] = (fields[list(fields)[-1]] + " " + line).strip()
    if not {"loses", "hint", "thought"} <= set(fields) or not all(fields.values()):
        raise LabError(f"{path}: the head comment must say loses:, hint: and thought:; tools/labs/lab.py shows the format")
    for hint in fields["hint"].split():
        if hint not in {h.id for h in lab.hints}:
            raise LabError(f"{path}: it is to draw the hint {hint}, which {lab.title} does not have")
    return Wrong(path.stem, tests_of(lab, path, fields["loses"]), set(fields["hint"].split()), fields["thought"], text)


def tests_of(lab, path, patterns):
    """The tests that these patterns name."""
    tests = set()
    for pattern in patterns.split():
        named = fnmatch.filter(lab.points, pattern)
        if not named:
            raise LabError(f"{path}: it is to lose {pattern}, but no test of {lab.title} is called so")
        tests.update(named)
    return tests


def labs(tree=TREE):
    """All labs of the master, by number."""
    found = sorted((Lab(path) for path in (tree / "labs").glob("*/lab.toml")), key=lambda lab: lab.number)
    for a, b in zip(found, found[1:]):
        if a.number == b.number:
            raise LabError(f"{a.path} and {b.path} have the same number, {a.number}")
    return found


def lab_by_number(word, tree=TREE):
    """The lab that LAB=word names."""
    known = labs(tree)
    lab = next((lab for lab in known if str(lab.number) == word), None)
    if not lab:
        told = f"there is no lab {word!r}" if word else "which lab?"
        raise LabError(f"{told}; say " + ", ".join(f"LAB={lab.number} ({lab.name})" for lab in known))
    return lab


def lab_of(tree):
    """The lab that a student's tree is of; None for the master's or any other folder."""
    path = pathlib.Path(tree) / "lab.toml"
    return Lab(path) if path.is_file() else None


# The files of a tree, as {path: text or bytes}

def student_files(tree=TREE):
    """The master's tracked files, but for what a student does not get: {path: absolute path}."""
    done = subprocess.run(["git", "-C", tree, "ls-files", "-z"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{tree} is no git repository, so nobody knows which of its files belong to it: clone Tessera with git")
    names = [name for name in done.stdout.split("\0") if name and (tree / name).is_file()]
    return {name: tree / name for name in names if any(fnmatch.fnmatchcase(name, kept) for kept in KEPT)
            or not any(fnmatch.fnmatchcase(name, out) for out in LEFT_OUT)}


def sources(lab, tree=TREE):
    """The texts of those files that the lab is about: the solution."""
    return {file: (tree / file).read_text(encoding="utf-8") for file in {**lab.write, **lab.gone}}


def stub_out(lab, texts):
    """Take the student's functions, and what would give them away, out of texts; or put in what he begins with."""
    for file, names in lab.gone.items():
        texts[file] = named(file, csource.without, texts[file], names)
    if lab.begin:
        return begin_with(lab, texts)
    for file, name in lab.functions:
        texts[file] = named(file, csource.with_body, texts[file], name,
                            lambda signature, name=name: stub_body(lab, signature, name))
    for file, name in lab.functions:
        texts[file] = kept_by_compilers(file, texts[file], name)
    return texts


def begin_with(lab, texts):
    """The functions of lab.begin in the place of the master's."""
    path = lab.folder / lab.begin
    if not path.is_file():
        raise LabError(f"{lab.path}: begin = {lab.begin!r}, but there is no {path}")
    placed = named(path, csource.graft, texts, path.read_text(encoding="utf-8"))
    foreign = set(placed) - {name for _, name in lab.functions}
    if foreign:
        raise LabError(f"{path}: it has {', '.join(sorted(foreign))}, which is not in [write]: nobody could hand it in")
    return texts


def named(file, function, *args):
    """Say which file it is that lacks something."""
    try:
        return function(*args)
    except csource.SourceError as error:
        raise LabError(f"{file}: {error}") from None


def stub_body(lab, signature, name):
    unused = csource.parameters(signature, name)
    return [f"\t(void){parameter};" for parameter in unused] + [f"\tYOURS_TO_WRITE({lab.number}, {name});"]


def kept_by_compilers(file, text, name):
    """A static function that only other stubs called would be dropped, and the prompt could not list it."""
    named_in = len(re.findall(rf"\b{re.escape(name)}\b", rules.without_comments(text)))
    lines, at = text.splitlines(), csource.find(text, name).start
    if file.endswith(".c") and lines[at].startswith("static") and named_in == 2:  # its head, and what its stub says
        lines[at:at] = ["__attribute__((used)) /* nobody calls it yet */"]
    return "\n".join(lines) + "\n"


def is_stub(text, name):
    return bool(re.search(rf"\bYOURS_TO_WRITE\(\d+, {re.escape(name)}\)", text))


def wrong_files(lab, wrong, tree=TREE):
    """The files of a wrong solution that differ from the master's: {path: text}."""
    texts = sources(lab, tree)
    try:
        csource.graft(texts, wrong.text)
    except csource.SourceError as error:
        raise LabError(f"{lab.folder}/wrong/{wrong.name}.c: {error}") from None
    return texts


def starter_files(lab, keep=None, tree=TREE):
    """The files of a starter that differ from the master's: {path: text}; and what was told about keep."""
    texts, notes = sources(lab, tree), []
    if keep:
        earlier = [other for other in labs(tree) if other.number < lab.number]
        for other in earlier:
            texts |= {file: text for file, text in sources(other, tree).items() if file not in texts}
        for file, text in list(texts.items()):
            texts[file], told = named(file, take_over, pathlib.Path(keep), file, text, earlier)
            notes += told
    return stub_out(lab, texts), notes


def take_over(keep, file, text, earlier):
    """text with the functions of earlier labs that the student wrote, and whatever he added for them."""
    wanted = [(lab, name) for lab in earlier for name in lab.write.get(file, [])]
    given_away = {name for lab in earlier for name in lab.gone.get(file, [])}
    if not wanted or not (keep / file).is_file():
        return text, [f"{file} is not in {keep}: taken complete"] * bool(wanted)
    theirs, notes = (keep / file).read_text(encoding="utf-8"), []
    written = set()
    for lab, name in wanted:
        if is_stub(theirs, name):
            notes.append(f"{file}: {name} (lab {lab.number}) is not written in {keep}: taken complete")
        else:
            written.add(name)
    texts = {file: text}
    if written:
        csource.graft(texts, theirs, lambda d, known: d.name in written | given_away or not known)
    return texts[file], notes


# Writing a tree

def lab_files(lab, tree=TREE):
    """What every tree of this lab has and the master has not: {path: text}."""
    kinds = ("*.c", "*.mk", "wrong/*.py") if lab.answers else ("*_test.c", "*.h", "lab.mk")
    own = {str(path.relative_to(tree)): path.read_text(encoding="utf-8") for kind in kinds for path in sorted(lab.folder.glob(kind))}
    if lab.answers:
        own |= {lab.answers: (lab.folder / lab.answers).read_text(encoding="utf-8"), seeds.FILE: seeds.seed_mk(seeds.NOBODY)}
    stamp = f"/* Which lab this tree is of; written by tools/lab. */\n#define LAB {lab.number}\n#define LAB_NAME \"{lab.name}\"\n"
    handout = lab.folder / "README.md"
    return own | {
        "lab.toml": hints.pack(lab.path.read_text(encoding="utf-8"), lab.hints),
        "labs/support/this_lab.h": stamp,
        "labs/support/this_lab.mk": f"LAB_FILES := {' '.join(file for file in lab.write if file.endswith('.c'))}\n",
        "LAB.md": handout.read_text(encoding="utf-8") if handout.exists() else f"# Lab {lab.number}: {lab.name}\n",
    }


def without_dead_links(name, text, names):
    """A page without links to files that are not in names: a row of a table goes, elsewhere the words stay."""
    def is_dead(link):
        path = os.path.normpath(os.path.join(os.path.dirname(name), link[2].partition("#")[0]))
        return ":" not in link[2] and path != "." and not any(n == path or n.startswith(path + "/") for n in names)

    lines = [line for line in text.splitlines(keepends=True)
             if not (line.startswith("|") and any(map(is_dead, LINK.finditer(line))))]
    return LINK.sub(lambda link: link[1] if is_dead(link) else link[0], "".join(lines))


def write_tree(lab, out, changed, tree=TREE):
    """Write a whole tree to out: the master's files with those in changed in their place. Only what differs is written."""
    files = student_files(tree)
    texts = lab_files(lab, tree) | changed
    for name, path in files.items():
        if name.endswith(".md") and name not in texts:
            put(out / name, without_dead_links(name, path.read_text(encoding="utf-8"), set(files) | set(texts)).encode(), False)
        elif name not in texts:
            put(out / name, path.read_bytes(), os.access(path, os.X_OK))
    for name, text in texts.items():
        put(out / name, text.encode(), False)
    return set(files) | set(texts)


def put(path, content, executable):
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755 if executable else 0o644)


def commit(out, subject):
    """The tree's own history begins here."""
    git = ["git", "-C", out, "-c", "user.name=Tessera", "-c", "user.email=tessera@localhost", "-c", "commit.gpgsign=false",
           "-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", subject]):
        done = subprocess.run(git + command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"git {command[0]} failed in {out}:\n{done.stderr}")


def make_tree(lab, out, keep=None, tree=TREE, login=None):
    """A student's tree, whole or not at all. Returns what there is to tell."""
    changed, notes = starter_files(lab, keep, tree)
    if login:
        changed[seeds.FILE] = seeds.seed_mk(login)
    begun = out.with_name(f".{out.name}.begun-{os.getpid()}")
    try:
        write_tree(lab, begun, changed, tree)
        commit(begun, f"{lab.title}: the starter")
        if out.is_dir():
            out.rmdir()  # it is empty
        begun.rename(out)
    finally:
        shutil.rmtree(begun, ignore_errors=True)
    return notes
