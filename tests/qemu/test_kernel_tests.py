"""The tests that run inside the kernel, one pytest result for each, in both kernels and two orders."""

import re

import pytest

import machine
from machine import ROOT

NAMES = sorted("/".join(pair) for path in (ROOT / "tests/mm").glob("*_test.c")
               for pair in re.findall(r"^TEST\((\w+), (\w+)\)", path.read_text(), re.MULTILINE))
RUNS = {
    "default": dict(APPEND="test exit seed=1"),
    "checking": dict(APPEND="test exit seed=2", KERNEL=ROOT / "build/tessera-check.elf"),
    "checking-la57": dict(APPEND="test exit", KERNEL=ROOT / "build/tessera-check.elf", LA57=1, MEM="64M"),
}


@pytest.fixture(scope="module", params=[pytest.param(r, marks=pytest.mark.xdist_group(r)) for r in RUNS])
def tested(request, tmp_path_factory):
    """(text, records, exit status) of a run that has ended."""
    return machine.run(tmp_path_factory.mktemp(request.param), **RUNS[request.param])


@pytest.mark.parametrize("name", NAMES)
def test_in_kernel(tested, name):
    text, records, _ = tested
    results = [r["result"] for r in records if r["t"] == "test" and r["name"] == name]
    assert len(results) == 1, "it did not run exactly once"
    if results == ["skip"]:
        pytest.skip("skipped by the kernel")
    said = re.search(rf"(?m)((?:^#.*\n)*)^not ok \d+ {re.escape(name)}", text)
    assert results == ["pass"], said and said[0]


def test_ktap_and_records_agree(tested):
    text, records, status = tested
    results = re.findall(r"^(not ok|ok) (\d+) (?:- )?([^ #\n]+)( # SKIP)?", text, re.MULTILINE)
    assert re.search(rf"KTAP version 1\n1\.\.{len(NAMES)}\n", text)
    assert [int(n) for _, n, _, _ in results] == list(range(1, len(NAMES) + 1))
    ktap = [(name, "skip" if skip else {"ok": "pass", "not ok": "fail"}[ok]) for ok, _, name, skip in results]
    assert ktap == [(r["name"], r["result"]) for r in records if r["t"] == "test"]
    failed = sum(result == "fail" for _, result in ktap)
    end = records[-1]
    assert (end["t"], end["tests"], end["failed"]) == ("end", len(NAMES), failed)
    assert (end["status"], status) == (("fail", 1) if failed else ("pass", 0))


def test_seed_is_the_order(run):
    def order(words):
        return [r["name"] for r in run(APPEND=f"test=vmarea exit {words}").records if r["t"] == "test"]

    one, same, other = order("seed=5"), order("seed=5"), order("seed=6")
    assert one == same != other
    assert sorted(one) == sorted(other)
    assert set(one) == {name for name in NAMES if "vmarea" in name}
