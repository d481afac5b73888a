"""Tests of the tools that make labs and of what they make."""

import fcntl
import pathlib
import subprocess
import sys

import pytest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "tools/labs"), str(HERE.parent / "gdb")]

import grading  # noqa: E402  pylint: disable=wrong-import-position
import lab as labs  # noqa: E402  pylint: disable=wrong-import-position
from small import SOURCE, TOML, WRONG, write  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture
def master(tmp_path):
    """A small Tessera with two labs."""
    tree = tmp_path / "master"
    write(tree / "mm/box.c", SOURCE)
    write(tree / "Makefile", "all:\n")
    write(tree / "tests/mutants/own.txt", "bugs\n")
    write(tree / "labs/support/lab.h", "#pragma once\n")
    write(tree / "labs/1-full/lab.toml", TOML.format(number=1, name="Full", write='["is_full"]', gone="[]"))
    write(tree / "labs/1-full/README.md", "# Full\n")
    write(tree / "labs/1-full/wrong/one-more.c", WRONG)
    write(tree / "labs/2-put/lab.toml", TOML.format(number=2, name="Put", write='["put"]', gone='["next"]'))
    write(tree / "labs/2-put/put_test.c", "/* a test that only this lab needs */\n")
    (tree / "Makefile").chmod(0o755)
    subprocess.run(["git", "init", "-q", tree], check=True)
    subprocess.run(["git", "-C", tree, "add", "-A"], check=True)
    write(tree / "scratch.txt", "not ours\n")
    return tree


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The master in a place of its own, and its kernel. One for all workers: nobody may change it."""
    shared = tmp_path_factory.getbasetemp()
    shared = (shared.parent if shared.name.startswith("popen-") else shared) / "built"
    shared.mkdir(exist_ok=True)
    with open(shared / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            for name, path in labs.student_files().items():
                labs.put(shared / "tree" / name, path.read_bytes(), path.stat().st_mode & 1)
            grading.build(shared / "tree", grading.KERNEL)
            (shared / "done").touch()
    return shared / "tree"
