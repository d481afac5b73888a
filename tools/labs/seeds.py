"""seeds - a machine for each student, where a lab's answers are not to be a neighbour's (lab 0).

A student's login makes a number, the number the kernel's words, and these all that is to be found in his machine. Who
grades takes the login from whom he grades, never from what was handed in.
"""

import hashlib
import pathlib
import re

NOBODY = "nobody"  # whose machine a tree has that is nobody's: the lecturer's, to grade by
FILE = "labs/0-walk/seed.mk"


def login(word):
    """As it is meant, whatever the shift key did; ValueError: it is none."""
    word = word.strip().lower()
    if not re.fullmatch(r"[\w.@+-]{1,64}", word, re.ASCII):
        raise ValueError(f"{word!r} is no login: one is 1 to 64 letters, digits and . @ + - _")
    return word


def number(name):
    """For seed=; never 0."""
    return int(hashlib.sha256(f"tessera lab 0 {name}".encode()).hexdigest()[:12], 16) | 1


def words(name):
    """What the kernel is told. The window is 20 TiB and a few pages, another number for each."""
    seed = number(name)
    return f"seed={seed} vmalloc={(20 << 40) + ((seed >> 8 & 0xFFFFFFF | 1) << 12):#x}"


def seed_mk(name):
    """The file of a student's tree that says whose it is."""
    return f"# Whose machine this is, and the kernel's words that make it. tools/lab wrote it.\nSEED := {name}\nAPPEND ?= {words(name)}\n"


def of_tree(tree):
    """Whose machine a tree has; None: it has none."""
    path = pathlib.Path(tree, FILE)
    found = re.search(r"^SEED := (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE) if path.is_file() else None
    return found[1] if found else None
