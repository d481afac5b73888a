#!/usr/bin/env python3
"""check.py RECORDS - are the figures that `bench` recorded within their limits? `make bench` calls it.

Exit status 1, and which, if one is not. The figures are exact, so this is no matter of luck: it is one of the tests.
"""

import json
import pathlib
import sys

# Instructions an operation at most: one CPU, tlb=lazy, the default build, under `make bench`.
LIMITS = {
    "vmalloc_1p": 260, "vmalloc_4p": 280, "vmalloc_16p": 360, "vmalloc_64p": 660, "vmalloc_256p": 1900,
    "vmalloc_1024p": 6800, "vmalloc_random_1_100p": 560, "vmalloc_long_busy": 1200, "vmalloc_full_fit": 260,
    "page_o0": 60, "page_o4": 250, "page_o9": 250, "kmalloc_64": 70, "vmap_16p": 400, "vmalloc_to_page": 40,
    "fill_drain_in_order": 500, "fill_drain_reverse": 500, "fill_drain_random": 500,
}
# At most so many times another figure of the same run.
TIMES = {"million_live_1p": (1.3, "vmalloc_1p")}


def limits(figures):
    """{operation: limit} for all that have one; figures: {operation: instructions}."""
    return LIMITS | {op: int(times * figures.get(of, 0)) for op, (times, of) in TIMES.items()}


def main():
    lines = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    figures = {r["op"]: r["insns_per_op"] for r in map(json.loads, lines) if r["t"] == "bench"}
    bounds = limits(figures)
    missing = [op for op in bounds if op not in figures]
    over = [op for op, most in bounds.items() if figures.get(op, 0) > most]
    for op in over:
        print(f"{op:22} {figures[op]:18}, more than its limit, {bounds[op]}")
    for op in missing:
        print(f"{op:22} was not measured")
    print(f"{len(bounds) - len(over) - len(missing)} of {len(bounds)} limits are kept (bench/check.py lists them)")
    return bool(over or missing)


if __name__ == "__main__":
    sys.exit(main())
