"""Kernels whose compiler checks them as they run: what each must catch, and that mm/ has nothing to be caught.

`make sanitize` builds them and runs this; `make test` does not. See docs/sanitizers.md.
"""

import re

import pytest

import machine
from machine import ROOT

OWN = {kind: ROOT / f"sanitize/{kind}_test.c" for kind in ("ubsan",)}
FILES = [*(ROOT / "tests/mm").glob("*_test.c")]
CPUS = 1, 2, 4


def names(*files):
    return sorted("/".join(pair) for path in files
                  for pair in re.findall(r"^TEST\((\w+), (\w+)\)", path.read_text(), re.MULTILINE))


def kernel(kind):
    return ROOT / f"build/tessera-{kind}.elf"


@pytest.fixture(scope="module", params=[pytest.param((kind, cpus), marks=pytest.mark.xdist_group(f"{kind}-{cpus}"),
                                                     id=f"{kind}-{cpus}") for kind in OWN for cpus in CPUS])
def tested(request, tmp_path_factory):
    """(kind, text, records, exit status) of the whole suite."""
    kind, cpus = request.param
    run = machine.run(tmp_path_factory.mktemp(kind), KERNEL=kernel(kind), CPUS=cpus, TIMEOUT=120,
                      APPEND=f"test exit seed={cpus}")
    return kind, *run


def test_suite(tested):
    """Every test of mm/, and every planted bug, ran once, and none failed."""
    kind, text, records, status = tested
    results = {r["name"]: r["result"] for r in records if r["t"] == "test"}
    failed = [line for line in text.splitlines() if line.startswith(("#", "not ok", "PANIC"))]
    assert sorted(results) == names(OWN[kind], *FILES), failed
    assert set(results.values()) <= {"pass", "skip"} and status == 0, "\n".join(failed)
    skipped = [name for name, result in results.items() if result == "skip"]
    assert not [name for name in skipped if name.startswith(kind)], "a planted bug was not tried"
