"""simple - grading.grade() until there is one: QEMU runs of the kernel's tests, as often as one of them ends a run."""

import json
import os
import subprocess


def run(tree, tests):
    """(results, why the machine died or "") of one boot."""
    environ = os.environ | {"BOOT": "direct", "KERNEL": "build/tessera-check.elf", "RUNDIR": "build/simple", "MEM": "64M",
                            "APPEND": " ".join(f"test={test}" for test in tests) + " exit"}
    subprocess.run(["tools/run"], cwd=tree, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    results, why = {}, "the machine died or hung without a word"
    for line in (tree / "build/simple/records.jsonl").read_text(errors="replace").splitlines():
        record = json.loads(line)
        if record["t"] == "test" and record["name"] in tests:
            results[record["name"]] = record["result"], record.get("why", "")
        elif record["t"] == "panic":
            why = "PANIC " + record["what"]
    return results, why


def grade(tree, lab):
    """{test: (passed, message, hint's id or None)}"""
    results = {}
    while left := [test for test in lab.points if test not in results]:
        found, why = run(tree, left)
        results |= found
        left = [test for test in left if test not in results]
        if left:
            results[left[0]] = "fail", why
    graded = {}
    for test, (result, why) in results.items():
        hint = lab.hint(test, why) if result != "pass" else None
        graded[test] = result == "pass", why, hint and hint.id
    return graded
