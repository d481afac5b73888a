"""Tests of the tools that make labs and of what they make."""

import pathlib
import subprocess
import sys

import pytest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "tools/labs")]

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
