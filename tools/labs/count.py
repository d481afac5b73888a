#!/usr/bin/env python3
"""count - how many instructions each test takes in the master: labs/support/insns.json. `make labs-count` calls it.

The grader allows a test a few times as many, and does not believe one that passes with far fewer. So the figures need
not be exact: tests/labs says when one is wrong by more than a half.
"""

import json
import sys

sys.dont_write_bytecode = True
import grading  # noqa: E402  pylint: disable=wrong-import-position
import lab as labs  # noqa: E402  pylint: disable=wrong-import-position
import machine  # noqa: E402  pylint: disable=wrong-import-position


class Counter(grading.Grader):
    """As patient as the watchdog can be."""

    def __init__(self, tree):
        super().__init__(tree, sorted(set(machine.Elf(tree / grading.KERNEL).tests())))
        self.insns = {}

    def allowed(self, test):
        return machine.LIMITS[0]


def count(tree=labs.TREE):
    """{test: instructions} of all that pass in a kernel that is built."""
    counter = Counter(tree)
    counter.run(grading.cpus_here())
    return {name: result.insns for name, result in sorted(counter.results.items()) if result.result == "pass"}


def main():
    if labs.lab_of(labs.TREE):
        sys.exit(f"labs-count: this is a tree of {labs.lab_of(labs.TREE).title}; what Tessera's own tree takes is the measure")
    grading.build(labs.TREE, grading.KERNEL)
    insns = count()
    if not insns:
        sys.exit(f"labs-count: no test passed, so {grading.INSNS} stays as it was: `make kernel-test` says why")
    (labs.TREE / grading.INSNS).write_text(json.dumps(insns, indent=0) + "\n", encoding="utf-8")
    print(f"{grading.INSNS}: {len(insns)} tests")


if __name__ == "__main__":
    main()
