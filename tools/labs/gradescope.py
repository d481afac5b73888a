#!/usr/bin/env python3
"""gradescope - a zip that Gradescope makes an autograder of. `make gradescope LAB=n` calls it.

In it: a tree of the lab as students get it, with tools/regrade; setup.sh, which installs what that needs and compiles
the tree, once; run_autograder, which lays one submission over it and writes results.json. The same input gives the same bytes.
https://gradescope-autograders.readthedocs.io/en/latest/specs/
"""

import os
import pathlib
import sys
import zipfile

sys.dont_write_bytecode = True
import lab as labs  # noqa: E402  pylint: disable=wrong-import-position

# What a student's tree lacks of the lecturer's tools.
TOOLS = ("tools/regrade", "tools/labs/regrading.py", "tools/labs/submission.py", "tools/labs/rules.py")
DATE = (1980, 1, 1, 0, 0, 0)

SETUP = """\
#!/bin/sh
# Installs what is missing, with apt, and compiles the tree over which submissions are laid.
set -e
cd "$(dirname "$0")/tessera"
tools/deps gradescope
make -s -j"$(nproc)" CHECK=0 build/tessera-check.elf
"""

RUN = """\
#!/bin/sh
# Grades what is in /autograder/submission. If something is wrong here, and not with that, there is no results.json,
# and Gradescope says that the autograder failed.
root=${{AUTOGRADER:-/autograder}}
cd "$(dirname "$0")" && mkdir -p "$root/results" &&
exec tessera/tools/regrade {number} "$root/submission" --pristine tessera --jobs "$(nproc)" \\
	--gradescope "$root/results/results.json" --metadata "$root/submission_metadata.json"
"""


def contents(lab):
    """{name in the zip: (content, may it be executed?)}"""
    changed = labs.starter_files(lab)[0]
    texts = labs.lab_files(lab) | changed
    files = labs.student_files() | {name: labs.TREE / name for name in TOOLS}
    inside = {f"tessera/{name}": (path.read_bytes(), os.access(path, os.X_OK))
              for name, path in files.items() if name not in texts}
    inside |= {f"tessera/{name}": (text.encode(), False) for name, text in texts.items()}
    return inside | {"setup.sh": (SETUP.encode(), True), "run_autograder": (RUN.format(number=lab.number).encode(), True)}


def write(lab, out):
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (content, executable) in sorted(contents(lab).items()):
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


def main():
    lab = labs.lab_by_number(os.environ.get("LAB", ""))
    out = pathlib.Path(os.environ.get("OUT") or labs.TREE / f"build/gradescope-lab{lab.number}.zip").absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    write(lab, out)
    print(f"{lab.title}: {out} is ready; choose it in Gradescope under Configure Autograder,\n"
          "and a base image with Python 3.11 or later")


if __name__ == "__main__":
    try:
        main()
    except (labs.LabError, OSError) as problem:
        print(f"gradescope: {problem}", file=sys.stderr)
        sys.exit(1)
