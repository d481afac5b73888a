"""rules - what a student's files may not do to the grader, looked for before and after they are compiled.

What is handed in is laid over a tree of ours function by function (merge), compiled, and runs with all the rights of a
kernel. These rules keep it to C, and to what mm/ may call, so that to cheat takes more than a line. Each says what is
not allowed and where; none is about style. docs/teaching.md says what they cannot see.

    directives()    before anything is compiled: only includes that the file of ours has or could have, no #line
    words()         in the preprocessed text: no assembler, no tricks with the stack
    unchanged()     there, too: the functions that are not the student's are as they were
    objects()       in the object file: no unusual section, and no symbol that the headers of mm/ do not declare
"""

import pathlib
import re
import shlex
import subprocess

import confine
import csource

PLAIN = {"define", "undef", "if", "ifdef", "ifndef", "elif", "else", "endif", "error", "warning", ""}
OBJECTS = "build/obj/tessera-check"
LIMITS = confine.Limits(cpu=30, wall=300, file=16 << 20, memory=1 << 30)  # of the preprocessor
NO_LINES = "-Wno-builtin-macro-redefined", "-D__LINE__=0"  # or BUG_ON, which quotes it, would differ below a new line
ASSEMBLER = {"asm", "__asm", "__asm__"}
STACK = {f"__builtin_{name}" for name in (
    "frame_address", "setjmp", "longjmp", "eh_return", "unwind_init", "apply", "apply_args", "return",
    "extract_return_addr", "frob_return_addr", "stack_address", "stack_save", "stack_restore", "dwarf_cfa",
    "init_dwarf_reg_size_table")}
SECTIONS = re.compile(r"(\.rela)?\.(text(\.(unlikely|hot|startup|exit))?|data(\.rel\.ro(\.local)?)?|bss|rodata(\.(str|cst)[\d.]+)?"
                      r"|debug_\w+|eh_frame|comment|note\.GNU-stack|note\.gnu\.property|symtab|strtab|shstrtab)|(\.rela)?lab_stubs")


def merge(pristine, text, names):
    """The file of ours with the student's functions, and whatever else he added to it.

    (the text, the other functions that he changed: those stay as they were)
    """
    known = {d.name: d for d in csource.definitions(pristine) if d.kind not in csource.DECLARATIONS}
    mine, theirs = pristine.splitlines(), text.splitlines()
    changed = [d.name for d in csource.definitions(text) if d.kind == "function" and d.name in known and d.name not in names
               and bare(theirs[d.start:d.end]) != bare(mine[known[d.name].start:known[d.name].end])]
    texts = {"": pristine}
    csource.graft(texts, text, lambda d, is_known:
                  d.name in names or not is_known or d.kind not in ("function", *csource.DECLARATIONS))
    return texts[""], changed


def merge_header(pristine, text, names):
    """The same of a header, which tests include, too: functions only."""
    texts = {"": pristine}
    csource.graft(texts, text, lambda d, known: d.kind == "function" and (d.name in names or not known))
    return texts[""], []


def bare(lines):
    """Without comments and blanks."""
    return re.sub(r"\s+", "", without_comments("\n".join(lines)))


def without_comments(text):
    """C text with a blank for each comment; strings are kept, lines are joined where a backslash ends them."""
    text = re.sub(r"\\[ \t]*\n", "", text)
    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/',
                  lambda m: m[0] if m[0][0] in "\"'" else " ", text, flags=re.DOTALL)


def directives(file, text, pristine, headers):
    """Complaints about the preprocessor's lines. They come before it is ever asked to read them."""
    allowed = {f"<{'/'.join(name.split('/')[-2:])}>" for name in headers}
    known = {" ".join(line.split()) for line in without_comments(pristine).splitlines()}
    header, found = file.endswith(".h"), []
    for line in without_comments(text).splitlines():
        directive = re.match(r"\s*(?:#|%:|\?\?=)\s*(\w*)(.*)", line)
        if not directive or " ".join(line.split()) in known:
            continue
        word, rest = directive[1], directive[2].strip()
        if header:
            found.append(f"{file}: #{word} in a header: only functions are taken from it")
        elif word == "include":
            found += [f"{file}: #include {rest}: mm/ includes {' '.join(sorted(allowed))}"] * (rest not in allowed)
        elif word not in PLAIN or "__LINE__" in rest:
            found.append(f"{file}: #{word} {rest}: this directive is not allowed")
    return found


# After the preprocessor

def preprocess(tree, file, out):
    """Its output for a file, with marks of where each line comes from; None if it fails, as then compiling will tell."""
    command = shlex.split(pathlib.Path(tree, "build/FLAGS").read_text(encoding="utf-8").splitlines()[0])
    flags = [word for word in command[1:] if not word.startswith("-ffile-prefix-map")]
    done = confine.run([command[0], "-E", "-DCHECKING=1", *NO_LINES, *flags, file, "-o", out], tree, LIMITS)
    return pathlib.Path(out).read_text(encoding="utf-8", errors="replace") if done.status == 0 else None


def own_lines(output, file):
    """Those that come from the file itself."""
    current, lines = "", []
    for line in output.splitlines():
        mark = re.match(r'# \d+ "((?:\\.|[^"\\])*)"', line)
        if mark:
            current = mark[1]
        elif current == file:
            lines.append(line)
    return "\n".join(lines)


def without_strings(text):
    return re.sub(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'', '""', text)


def words(file, output):
    """Complaints about what is no C, or no C for mm/."""
    used = set(re.findall(r"\b\w+\b", without_strings(own_lines(output, file))))
    return [f"{file}: '{word}': assembler has no place in mm/" for word in sorted(used & ASSEMBLER)] + \
        [f"{file}: '{word}': what plays with the stack has no place in mm/" for word in sorted(used & STACK)]


def unchanged(file, output, pristine_output, names):
    """Complaints about functions that are not the student's, and do not come out of the preprocessor as ours do."""
    ours, theirs = own_lines(pristine_output, file), re.sub(r"\s+", "", own_lines(output, file))
    lines, found = ours.splitlines(), []
    for d in csource.definitions(ours):
        body = re.sub(r"\s+", "", "\n".join(lines[d.start:d.end]))
        if d.kind == "function" and d.name not in names and body not in theirs:
            found.append(f"{file}: {d.name}() is not yours to write, but is no longer what it was: is there a macro, or an #if?")
    return found


# After the compiler

def nm(path, *options):
    done = subprocess.run(["nm", *options, path], capture_output=True, text=True, errors="replace", check=True)
    return {line.split()[-1] for line in done.stdout.splitlines()}


def declared(headers):
    """Every name in these headers."""
    text = "\n".join(without_comments(path.read_text(encoding="utf-8")) for path in headers)
    return set(re.findall(r"\b[A-Za-z_]\w*\b", text))


def objects(file, path, names):
    """Complaints about an object that was made of a student's file. names: all that the headers of mm/ have."""
    found = [f"{file}: it uses {name}, which no header of mm/ declares" for name in sorted(nm(path, "-u") - names)]
    done = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, errors="replace", check=True)
    for name in re.findall(r"^\s*\[\s*\d+\] (\S+)\s+[A-Z]", done.stdout, re.MULTILINE):
        if not SECTIONS.fullmatch(name):
            found.append(f"{file}: it makes a section {name}")
    return found


def included(depfile):
    """What a compiler's list of dependencies (-MMD) names."""
    text = pathlib.Path(depfile).read_text(encoding="utf-8").replace("\\\n", " ")
    return sorted(set(text.split("\n", 1)[0].split(":", 1)[1].split()))


def headers_of_mm(tree):
    """All that mm/ includes, in a tree that is compiled."""
    depfiles = sorted(pathlib.Path(tree, OBJECTS, "mm").glob("*.d"))
    return sorted({name for dep in depfiles for name in included(dep) if name.endswith(".h")})


def look(tree, files):
    """Complaints about the files of a tree that is compiled, as far as they can be found without another one beside it."""
    tree, found = pathlib.Path(tree), []
    headers = headers_of_mm(tree)
    names = declared([tree / name for name in headers])
    for file in (file for file in files if file.endswith(".c")):
        text = (tree / file).read_text(encoding="utf-8", errors="replace")
        output = preprocess(tree, file, tree / "build/preprocessed")
        found += directives(file, text, "", headers) + (words(file, output) if output is not None else [])
        found += objects(file, tree / OBJECTS / f"{file}.o", names)
    return found
