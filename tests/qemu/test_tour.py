"""The tour: what it claims, by its records, and what it shows, by recomputing it from its own text."""

import re

import pytest

RUNS = {"direct": {}, "la57": {"LA57": 1}, "32M": {"MEM": "32M"}, "shuffle": {"APPEND": "shuffle=3"},
        "small-window": {"APPEND": "vmalloc=16M"}, "iso": {"BOOT": "iso"}}


def tour(run, APPEND="", **variables):
    ended = run(APPEND=f"tour exit {APPEND}", **variables)
    assert ended.status == 0, ended.text
    return ended


@pytest.mark.parametrize("shape", RUNS)
def test_claims_hold(run, shape):
    ended = tour(run, **RUNS[shape])
    claims = {r["claim"]: r["ok"] for r in ended.records if r["t"] == "tour"}
    assert claims and set(claims.values()) == {"true"}
    assert len(claims) == ended.text.count("[true]") >= 12 and "NOT TRUE" not in ended.text
    assert max(map(len, ended.text[ended.text.index("===="):].splitlines()[:-1])) <= 80, "more than 80 columns"
    assert re.search(r"^order.*\n((?! *0 ).*[1-9].*\n)*? +0 +4 KiB +([1-9]\d*) +\2\n( +\d+ +\d+ .iB +0 +0\n){10}",
                     ended.text, re.MULTILINE), "no table shows memory shattered into single frames"
    maps = [r for r in ended.records if r["t"] == "map"]
    frames = [int(r["pa"], 16) >> 12 for r in maps]
    assert [int(b["va"], 16) - int(a["va"], 16) for a, b in zip(maps, maps[1:])] == [4096] * 15
    assert len(set(frames)) == 16
    assert sum(b - a == 1 for a, b in zip(frames, frames[1:])) <= 1, f"not scattered: {frames}"
    text = re.findall(r"^0x([0-9a-f]{16}) 0x([0-9a-f]{11}) 4 KiB rw- +(-|[+-]\d+) ", ended.text, re.MULTILINE)
    assert [(int(va, 16), int(pa, 16) >> 12) for va, pa, _ in text] == \
        [(int(r["va"], 16), frame) for r, frame in zip(maps, frames)]
    assert [int(d) for _, _, d in text[1:]] == [b - a for a, b in zip(frames, frames[1:])]
    faults = [r for r in ended.records if r["t"] == "fault"]
    assert [(f["why"], f["access"]) for f in faults] == [("guard", "write")]
    assert int(faults[0]["va"], 16) == int(maps[-1]["va"], 16) + 4096


def largest(ended):
    number, unit = re.search(r"tried .*?([\d.]+) ([KMG])iB", ended.text).groups()
    return float(number) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[unit]


def test_the_limit_is_ram_or_the_window(run):
    small, large = tour(run, MEM="64M"), tour(run, MEM="128M")
    assert "RAM ends first" in small.text
    assert 0.9 * (64 << 20) < largest(small) < 64 << 20
    assert 0.9 * (128 << 20) < largest(large) < 128 << 20
    window = tour(run, MEM="128M", APPEND="vmalloc=16M")
    assert "window ends first" in window.text
    assert 15 << 20 < largest(window) < 16 << 20, "not the window less the guards"


def test_cost_is_measured(run):
    text = tour(run).text
    rows = re.findall(r"^ +(\d+) ([KM]?i?B) +(\d+) +(\d+) +\d+\.\d +(\d+) +(\d+)$", text, re.MULTILINE)
    assert [(n, u) for n, u, *_ in rows][0] == ("64", "B") and [(n, u) for n, u, *_ in rows][-1] == ("4", "MiB")
    assert all(int(k) > 0 and int(v) > 0 for _, _, k, v, _, _ in rows)
    assert int(rows[-1][5]) == 1024, "4 MiB by vmalloc takes 1,024 TLB entries"


def test_walks_of_neighbours(run):
    text = tour(run, LA57="1").text
    rows = re.findall(r"^  (PML5|PML4|PDPT|PD|PT) +\[ *(\d+)\] 0x(\w{16})  \[ *(\d+)\] 0x(\w{16})", text, re.MULTILINE)
    assert [r[0] for r in rows] == ["PML5", "PML4", "PDPT", "PD", "PT"]
    assert all(left == right for _, i, left, j, right in rows[:4])
    assert int(rows[4][3]) == int(rows[4][1]) + 1 and rows[4][2] != rows[4][4]
