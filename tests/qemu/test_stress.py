"""Many CPUs allocate, check and free at random, at once: tests/stress.c. Longer runs are typed by hand, as

    make run BOOT=direct CPUS=8 MEM=512M APPEND="stress=2000000 exit"    # or stress=60s; seed=N for another run
"""

import pytest

from machine import ROOT

CHECKED = ROOT / "build/tessera-check.elf"
SHAPES = {
    "default": dict(APPEND="stress=60000 exit seed=1"),
    "checking": dict(APPEND="stress=40000 exit seed=2", KERNEL=CHECKED),
    "eager": dict(APPEND="stress=1500 tlb=eager exit seed=3", KERNEL=CHECKED),
    "little-memory": dict(APPEND="stress=6000 exit seed=4", MEM="16M", LA57=1),
    "shuffled": dict(APPEND="stress=20000 shuffle=7 exit seed=5", KERNEL=CHECKED, LA57=1),
}


@pytest.mark.xdist_group("busy")  # one after the other: they keep all of the host's CPUs busy
@pytest.mark.parametrize("shape", SHAPES)
def test_stress(run, shape):
    ended = run(CPUS=4, **SHAPES[shape])
    assert ended.status == 0, ended.text
    (record,) = [r for r in ended.records if r["t"] == "stress"]
    wanted = int(SHAPES[shape]["APPEND"].split("=")[1].split()[0])
    assert (record["ops"], record["cpus"], record["failures"]) == (wanted, 4, 0)
    assert record["freed_elsewhere"] > wanted / 10 and record["shootdowns"] > 0
    if "little" not in shape:
        assert record["refused"] < wanted / 100


@pytest.mark.xdist_group("busy")
def test_stress_for_a_time(run):
    ended = run(CPUS=2, APPEND="stress=1s exit")
    (record,) = [r for r in ended.records if r["t"] == "stress"]
    assert ended.status == 0 and record["ops"] > 100 and 1 <= record["seconds"] < 20, ended.text


def test_stress_is_the_same_again(run):
    """On one CPU, counted in instructions, a run is determined by its seed."""
    def once(seed):
        ended = run(CPUS=1, APPEND=f"stress=3000 exit seed={seed}", QEMUFLAGS="-icount shift=0,sleep=off")
        assert ended.status == 0, ended.text
        return {k: v for k, v in ended.records[-2].items() if k not in ("seconds", "seed")}

    first = once(1)
    assert first["t"] == "stress" and first == once(1) != once(2)


@pytest.mark.xdist_group("busy")
@pytest.mark.parametrize("cpus", [3, 4])
def test_shootdowns(run, cpus):
    ended = run(CPUS=cpus, APPEND="test=shootdown exit", KERNEL=CHECKED)
    assert ended.status == 0, ended.text
    assert not [r for r in ended.records if r["t"] == "test" and r["result"] != "pass"]
