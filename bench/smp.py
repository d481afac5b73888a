#!/usr/bin/env python3
"""smp.py - how many areas 1, 2 and 4 CPUs allocate and free a second, here and on Linux. `make bench-smp` calls it.

By the clock, with CPUs that really run at once (QEMU's MTTCG, no -icount): each kernel is booted BOOTS times with 4
CPUs, in turn, each boot runs each race a few times, and the median counts. Clocks depend on the host and on what else
it does; so that is said, too. Events (flushes, interrupts, …) are counted by Tessera itself. As JSON:
build/bench/smp.json. docs/bench.md says how to read this.
"""

import os
import statistics
import sys
import time

from machines import NAMES, Machine, announce, linuxes, write_json

BOOTS, CPUS = 3, 4
EVENTS = "locks", "flushes", "shootdowns", "ipis"
ONE_PAGE = "throughput_1p_4cpu"
TIMES_LINUX, TIMES_ONE_CPU = 8, 2.5  # at least: pairs a second of ONE_PAGE against stock Linux's, and one CPU's
PER_1000 = {"locks": 5, "shootdowns": 1}  # at most, in 1,000 pairs of the one-page races


class Host:
    """How many CPUs of this machine others left us, since begin()."""

    def begin(self):
        self.at, self.own, self.busy = time.monotonic(), self.own_seconds(), self.busy_seconds()
        return self

    @staticmethod
    def own_seconds():
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    @staticmethod
    def busy_seconds():
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    def free_cpus(self):
        others = self.busy_seconds() - self.busy - (self.own_seconds() - self.own)
        return os.cpu_count() - max(0, others) / (time.monotonic() - self.at)


def measure():
    """({kind: {op: [repetition]}}, kHz of the clock)"""
    races, khz = {kind: {} for kind in ("tessera", *linuxes())}, []
    announce(races, "a minute" if len(races) < 3 else "some minutes: the lean Linux is slow at this")
    for _ in range(BOOTS):
        for kind, of_kind in races.items():
            machine = Machine(kind, part="throughput", cpus=CPUS, exact=False).wait()
            khz += [machine.about["khz"]] if "khz" in machine.about else []
            for race in machine.races:
                of_kind.setdefault(race["op"], []).append(race)
    return races, statistics.median(khz)


def pairs_a_second(repetitions, khz):
    """(median, least, most)"""
    rates = [r["n"] / r["cycles"] * khz * 1000 for r in repetitions if r["cycles"]]
    return tuple(round(f(rates)) for f in (statistics.median, min, max)) if rates else None


def events_per_1000(repetitions):
    found = [event for event in EVENTS if event in repetitions[0]]
    pairs = sum(r["n"] for r in repetitions)
    return {event: round(1000 * sum(r[event] for r in repetitions) / pairs, 3) for event in found}


def summary(races, khz):
    for op, ours in races["tessera"].items():
        rates = {kind: pairs_a_second(of_kind[op], khz) for kind, of_kind in races.items() if op in of_kind}
        alone = races["tessera"].get(op.rsplit("_", 1)[0] + "_1cpu")
        yield {"op": op, "cpus": ours[0]["cpus"], "n": ours[0]["n"], "pairs_a_second": rates,
               "ratio": {kind: round(rates["tessera"][0] / rate[0], 2) for kind, rate in rates.items()
                         if kind != "tessera" and rate},
               "times_one_cpu": alone and round(rates["tessera"][0] / pairs_a_second(alone, khz)[0], 2),
               "per_1000_pairs": events_per_1000(ours)}


def print_rates(rows, kinds):
    theirs = kinds[1:]
    print(f"{'':23}{'pairs a second':>{14 * len(kinds)}}{'Tessera/Linux':>{11 * len(theirs) + 3}}   times one CPU")
    print(f"{'race':23}" + "".join(f"{NAMES[k]:>14}" for k in kinds) + " " * 3 + "".join(f"{k:>11}" for k in theirs)
          + f"{'Tessera':>16}")
    for row in rows:
        rates = [row["pairs_a_second"].get(kind) for kind in kinds]
        print(f"{row['op']:23}" + "".join(f"{rate[0] if rate else '-':>14,}" for rate in rates) + " " * 3
              + "".join(f"{row['ratio'].get(kind, '-'):>11}" for kind in theirs) + f"{row['times_one_cpu'] or '-':>16}")


def print_events(rows):
    events = list(rows[0]["per_1000_pairs"])
    print(f"\n{'in 1,000 pairs, Tessera':23}" + "".join(f"{event:>14}" for event in events))
    for row in rows:
        print(f"{row['op']:23}" + "".join(f"{row['per_1000_pairs'][event]:>14}" for event in events))


def verdict_of_clock(rows):
    """What was promised and is not so, a line each."""
    row = next(row for row in rows if row["op"] == ONE_PAGE)
    if row["ratio"]["stock"] < TIMES_LINUX:
        yield f"{ONE_PAGE}: {row['ratio']['stock']} times stock Linux's pairs a second, less than {TIMES_LINUX}"
    if row["times_one_cpu"] < TIMES_ONE_CPU:
        yield f"{ONE_PAGE}: {row['times_one_cpu']} times one CPU's, less than {TIMES_ONE_CPU}"


def verdict_of_events(rows):
    for row in rows:
        for event, most in PER_1000.items():
            if row["op"].startswith("throughput_1p") and row["per_1000_pairs"].get(event, 0) > most:
                yield f"{row['op']}: {row['per_1000_pairs'][event]} {event} in 1,000 pairs, more than {most}"


def main():
    host = Host().begin()
    races, khz = measure()
    free = host.free_cpus()
    rows = list(summary(races, khz))
    print(f"\nThis machine has {os.cpu_count()} CPUs; others left {free:.1f} of them free meanwhile. "
          f"Each machine: {CPUS} CPUs. Medians.\n")
    print_rates(rows, list(races))
    print_events(rows)
    path = write_json("smp.json", {"unit": "pairs a second: median, least, most", "host_cpus": os.cpu_count(),
                                   "free_cpus": round(free, 1), "khz": khz, "rows": rows})
    print(f"\nas JSON: {path}")
    missed = list(verdict_of_events(rows))
    if round(free) < CPUS:
        print(f"not judged by the clock: that needs {CPUS} free CPUs all the while, or they wait for each other's turn")
    else:
        missed += verdict_of_clock(rows)
    print("\n".join(missed) or "nothing is below what is promised (bench/smp.py)")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
