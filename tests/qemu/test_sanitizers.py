"""Kernels whose compiler checks them as they run: what each must catch, and that mm/ has nothing to be caught.

`make sanitize` builds them and runs this; `make test` does not. See docs/sanitizers.md.
"""

import re

import pytest

import machine
from machine import ROOT

OWN = {kind: ROOT / f"sanitize/{kind}_test.c" for kind in ("ubsan", "kasan")}
FILES = [*(ROOT / "tests/mm").glob("*_test.c")]
MACHINES = {"1": dict(CPUS=1), "2": dict(CPUS=2), "4": dict(CPUS=4), "la57": dict(CPUS=2, LA57=1, APPEND="test exit tlb=eager")}
LIMIT = 900  # seconds, as everything is slow on a busy host


def names(*files):
    return sorted("/".join(pair) for path in files
                  for pair in re.findall(r"^TEST\((\w+), (\w+)\)", path.read_text(), re.MULTILINE))


def kernel(kind):
    return ROOT / f"build/tessera-{kind}.elf"


def params():
    return [pytest.param((kind, name), marks=pytest.mark.xdist_group(f"{kind}-{name}"), id=f"{kind}-{name}")
            for kind in OWN for name in MACHINES]


@pytest.mark.parametrize("which", params())
def test_suite(which, tmp_path, monkeypatch):
    """Every test of mm/, and every planted bug, ran once, and none failed."""
    kind, name = which
    monkeypatch.setattr(machine, "LIMIT", LIMIT)
    words = {"APPEND": f"test exit seed={name}"} | MACHINES[name]
    text, records, status = machine.run(tmp_path, KERNEL=kernel(kind), TIMEOUT=200, **words)
    results = {r["name"]: r["result"] for r in records if r["t"] == "test"}
    failed = [line for line in text.splitlines() if line.startswith(("#", "not ok", "PANIC", "BUG", "  ", "run:"))]
    assert sorted(results) == names(OWN[kind], *FILES), "\n".join(failed)
    assert set(results.values()) <= {"pass", "skip"} and status == 0, "\n".join(failed)
    skipped = [test for test, result in results.items() if result == "skip"]
    assert not [test for test in skipped if test.startswith(kind)], "a planted bug was not tried"
    print(kind, name, len(results), "tests,", len(skipped), "skipped")
