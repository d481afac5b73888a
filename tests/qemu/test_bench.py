"""What the calls of mm/ cost, in instructions, is within the limits of bench/check.py. Exact, so no matter of luck."""

import json
import os
import subprocess
import sys

import pytest
from machine import ROOT


def test_instruction_limits(tmp_path):
    compiler = subprocess.run([*os.environ.get("CC", "gcc").split(), "--version"], capture_output=True, text=True, check=True)
    if "clang" in compiler.stdout or "12." not in compiler.stdout.splitlines()[0]:
        pytest.skip("the limits are for what gcc 12 makes")
    env = dict(os.environ, BOOT="direct", CPUS="1", KERNEL=str(ROOT / "build/tessera.elf"), APPEND="bench exit",
               QEMUFLAGS="-icount shift=0,sleep=off", RUNDIR=str(tmp_path))
    run = subprocess.run([ROOT / "tools/run"], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    check = subprocess.run([sys.executable, ROOT / "bench/check.py", tmp_path / "records.jsonl"], capture_output=True,
                           text=True, check=False)
    assert check.returncode == 0, check.stdout
    ops = [json.loads(line).get("op") for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert "million_live_1p" in ops
