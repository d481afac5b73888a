#!/usr/bin/env python3
"""compare.py RECORDS CONSOLE RESULTS - Tessera's figures and Linux's, side by side. `make bench-linux` calls it.

RECORDS is what Tessera's `bench` recorded, CONSOLE what the module bench/linux said on Linux's console. The table
goes to the terminal and, as JSON, to RESULTS.
"""

import json
import pathlib
import re
import sys

NOTES = """\
One operation is an allocation, a touch of its first byte and the freeing, on one CPU in steady state; n of
them a repetition, and the median of three. Instructions, exact: interrupts and kernel threads are in them.
Tessera  fences each area with guards on both sides and records it there; addresses and frames both wait
         for the flush; double frees are caught. It has no NUMA, no cgroups, no swapping.
Linux    keeps a vm_struct, a vmap_area in trees and an array of pages for each area; only addresses wait
         for the flush, which a kernel thread does. NUMA policy, cgroup and watermark checks are in the path;
         mitigations and init_on_alloc are off. Its per-CPU list holds 517 frames in 256 MiB, 13,857 in 1 GiB
         (MEM=1G): larger areas go to the buddy allocator frame by frame.
Neither clears the memory."""


def tessera(path):
    """(frames of RAM, {operation: (n, instructions)})"""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    frames = next(record["frames"] for record in records if record["t"] == "boot")
    return frames, {r["op"]: (r["n"], r["insns_per_op"]) for r in records if r["t"] == "bench"}


def linux(path):
    """(release, {operation: (n, instructions)})"""
    text = path.read_text(encoding="utf-8", errors="replace")
    release = re.search(r"\] bench on (\S+)$", text, re.MULTILINE)
    if not release or not re.search(r"\] bench done$", text, re.MULTILINE):
        sys.exit(f"compare: {path} holds no whole run of the module: it says what happened")
    found = re.findall(r"\] bench (\S+) (\d+) (\d+)$", text, re.MULTILINE)
    return release[1], {op: (int(n), int(cost)) for op, n, cost in found}


def rows(ours, theirs):
    """A row for each operation that either side measured, in their order."""
    for op in {**ours, **theirs}:
        n, cost = ours.get(op) or (theirs[op][0], None)
        other_n, other = theirs.get(op) or (n, None)
        if n != other_n:
            sys.exit(f"compare: {op} ran {n} times in Tessera and {other_n} times in Linux: build both from one source")
        ratio = round(other / cost, 2) if cost and other else None
        yield {"op": op, "n": n, "tessera": cost, "linux_stock": other, "ratio": ratio}


def main():
    records, console, results = map(pathlib.Path, sys.argv[1:])
    frames, ours = tessera(records)
    release, theirs = linux(console)
    table = list(rows(ours, theirs))
    if not table:
        sys.exit(f"compare: no figures in {records} and {console}")
    print(f"\nInstructions an operation, {(frames + 128) >> 8} MiB of RAM, Linux {release}\n")
    print(f"{'operation':22} {'n':>7} {'Tessera':>10} {'Linux':>10}  Linux/Tessera")
    for row in table:
        cells = {key: "-" if value is None else value for key, value in row.items()}
        print("{op:22} {n:>7} {tessera:>10} {linux_stock:>10}  {ratio:>13}".format(**cells))
    print("\n" + NOTES)
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps({"unit": "instructions", "frames": frames, "linux": release, "rows": table}, indent=1)
                       + "\n", encoding="utf-8")
    print(f"as JSON: {results}")


if __name__ == "__main__":
    main()
