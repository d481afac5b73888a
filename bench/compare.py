#!/usr/bin/env python3
"""compare.py - Tessera's figures and Linux's, in instructions, side by side. `make bench-linux` calls it.

It runs Tessera, Debian's Linux and, with LEAN=1, the lean one, at the same time: each counts its own instructions, so
that none disturbs another. The table goes to the terminal, as JSON to build/bench/results.json, as a picture to
build/bench/plot.svg. docs/bench.md says how to read them.
"""

import subprocess
import sys

import check
from machines import IS_BUILT, NAMES, OUT, Machine, announce, linuxes, write_json

PYTHON = "/usr/bin/python3"  # Debian's modules load only under the system's own Python
TIMES_LEANER = 10  # what is promised of each vmalloc row, against the lean Linux
ENOUGH = "vmalloc", "fill", "million", "live", "pressure"  # how these rows begin

NOTES = """\
One operation is an allocation, a touch of its first byte and the freeing, on one CPU in steady state; n of them a
repetition, and the median of three. Instructions, exact: interrupts, kernel threads and the measuring loop (`empty`)
are in them. cold_*: the first call ever, in Linux the module's first. remote_free_1p needs two CPUs, with which neither
Linux came up under -icount in QEMU 7.2: compare throughput_remote_* of `make bench-smp`.
Tessera  takes addresses, and frames as ready-made page-table entries, from its CPU's stock; what is freed waits there,
         addresses and frames both, until one flush serves the whole batch. Guards on both sides of each area, its
         descriptor in the page table and the detection of double frees are in the figures; so are the flushes.
         It has no NUMA, no cgroups, no swapping, no processes.
Linux    keeps a vm_struct, a vmap_area in trees and an array of pages for each area, and takes frames one by one; only
         addresses wait for the flush, which a kernel thread does. In stock, NUMA policy, cgroup and watermark checks
         are in the path; mitigations, init_on_alloc and transparent huge pages are off. Lean is Debian's source with
         tinyconfig, SMP and SLUB, compiled with -O2: bench/linux/lean.config.
         Its list of frames of each CPU grows with RAM: in 256 MiB an area of 1024 pages overflows it, and costs twice
         as much as in the 1 GiB that all have here (MEM=256M shows it).
None clears the memory."""


def row(op, machines):
    n = next(m.figures[op][0] for m in machines if op in m.figures)
    if any(m.figures.get(op, (n,))[0] != n for m in machines):
        sys.exit(f"compare: {op} did not run equally often in all kernels: build them from one source")
    return {"op": op, "n": n} | {m.kind: m.figures.get(op, (n, None))[1] for m in machines}


def with_ratios(cells, theirs):
    ours = cells.get("tessera")
    return cells | {f"{kind}/tessera": round(cells[kind] / ours, 2) if ours and cells[kind] else None for kind in theirs}


def measure():
    """(rows, what machine it was)"""
    kinds = ["tessera", *linuxes(lean=IS_BUILT["lean"]())]
    announce(kinds, "half a minute")
    started = [Machine("tessera", part="remote_free", cpus=2)] + [Machine(kind) for kind in kinds]
    remote, *machines = [machine.wait() for machine in started]
    machines[0].figures |= remote.figures
    ops = dict.fromkeys(op for machine in machines for op in machine.figures)
    rows = [with_ratios(row(op, machines), kinds[1:]) for op in ops]
    bounds = check.limits({cells["op"]: cells["tessera"] for cells in rows})
    for cells in rows:
        cells["limit"] = bounds.get(cells["op"])
    about = {"unit": "instructions", "frames": machines[0].about["frames"]}
    return rows, about | {m.kind: m.about["release"] for m in machines[1:]}


def print_table(rows, theirs):
    columns = ["n", "tessera", *theirs, *(f"{kind}/tessera" for kind in theirs), "limit"]
    titles = [column.replace("tessera", "Tessera") for column in columns]
    widths = [max(len(title), 8) + 1 for title in titles]
    print(f"{'operation':22}" + "".join(f"{title:>{width}}" for title, width in zip(titles, widths)))
    for cells in rows:
        texts = ["-" if cells[c] is None else f"{cells[c]:.1f}" if "/" in c else f"{cells[c]:,}" for c in columns]
        print(f"{cells['op']:22}" + "".join(f"{text:>{width}}" for text, width in zip(texts, widths)))


def print_verdict(rows):
    """Which rows of vmalloc are not as much leaner than the lean Linux as is promised."""
    of_vmalloc = [r for r in rows if r["op"].startswith(ENOUGH) and r.get("lean/tessera")]
    less = [r["op"] for r in of_vmalloc if r["lean/tessera"] < TIMES_LEANER]
    if of_vmalloc:
        print(f"\nTessera is at least {TIMES_LEANER} times leaner than lean Linux in {len(of_vmalloc) - len(less)} of "
              f"{len(of_vmalloc)} rows of vmalloc" + f"; not in {', '.join(less)}: see docs/bench.md" * bool(less))


def main():
    rows, about = measure()
    theirs = [kind for kind in ("lean", "stock") if kind in about]
    print(f"\nInstructions an operation, {(about['frames'] + 128) >> 8} MiB of RAM, "
          + ", ".join(f"{NAMES[kind]} {about[kind]}" for kind in theirs) + "\n")
    print_table(rows, theirs)
    print_verdict(rows)
    print("\n" + NOTES)
    results = write_json("results.json", about | {"rows": rows})
    subprocess.run([PYTHON, "-B", "bench/plot.py", results, OUT / "plot.svg"], check=True)
    print(f"as JSON: {results}; as a picture: {OUT / 'plot.svg'}")


if __name__ == "__main__":
    main()
