#!/usr/bin/python3
"""plot.py RESULTS PICTURE - instructions against size, and against the number of live areas, as an SVG.

RESULTS is the JSON that compare.py writes. Runs under the system's own Python, which has Debian's matplotlib.
"""

import json
import math
import pathlib
import sys

import matplotlib
matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullLocator  # noqa: E402

SIZES = {f"vmalloc_{n}p": n for n in (1, 4, 16, 64, 256, 1024)}
LIVE = {"vmalloc_1p": "0", "live_1k_1p": "1,000", "live_16k_1p": "16,000", "live_128k_1p": "128,000",
        "million_live_1p": "1,000,000"}
LINES = {"tessera": ("Tessera", "#1f5fa8"), "lean": ("lean Linux", "#c7422f"), "stock": ("stock Linux", "#8a6d00")}
INK, FAINT = "#333333", "#e4e4e4"
STYLE = {"font.size": 10, "svg.fonttype": "path", "svg.hashsalt": "tessera", "axes.edgecolor": INK,
         "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "text.color": INK}
LABEL_HEIGHT = 0.055  # of the axes' height


def apart(heights):
    """The same, moved so far that labels there do not touch; {name: height in 0 .. 1}."""
    places, lowest = {}, 0
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        places[name] = lowest = max(height, lowest)
        lowest += LABEL_HEIGHT
    return places


def draw(axes, rows, ops):
    """A line for each kernel, named at its end; x counts from 0."""
    lines = {kind: [(x, rows[op][kind]) for x, op in enumerate(ops) if rows.get(op, {}).get(kind)] for kind in LINES}
    lines = {kind: points for kind, points in lines.items() if points}
    figures = [y for points in lines.values() for _, y in points]
    low, high = math.floor(math.log10(min(figures))), math.ceil(math.log10(max(figures)))
    for kind, points in lines.items():
        axes.plot(*zip(*points), color=LINES[kind][1], linewidth=2, marker="o", markersize=4.5, clip_on=False)
    axes.set_yscale("log")
    axes.set_ylim(10 ** low, 10 ** high)
    heights = apart({kind: (math.log10(points[-1][1]) - low) / (high - low) for kind, points in lines.items()})
    for kind, height in heights.items():
        name, color = LINES[kind]
        axes.text(1.03, height, f"{name} {lines[kind][-1][1]:,}", transform=axes.transAxes, va="center", color=color,
                  fontweight="bold")
    top = max(lines, key=lambda kind: lines[kind][0][1])
    for kind, points in lines.items():
        axes.annotate(f"{points[0][1]:,}", points[0], xytext=(0, 8 if kind == top else -14), ha="center",
                      textcoords="offset points", color=LINES[kind][1], annotation_clip=False)


def dress(axes, ticks, title, what):
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=12)
    axes.set_xlabel(what, labelpad=6)
    axes.set_xlim(0, len(ticks) - 1)
    axes.set_xticks(range(len(ticks)), ticks)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color=FAINT, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_position(("outward", 12))


def main():
    results, picture = map(pathlib.Path, sys.argv[1:])
    about = json.loads(results.read_text(encoding="utf-8"))
    rows = {row["op"]: row for row in about["rows"]}
    plt.rcParams.update(STYLE)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 4.8))
    draw(left, rows, list(SIZES))
    dress(left, [f"{n:,}" for n in SIZES.values()], "Instructions to allocate, touch and free an area", "pages of the area")
    draw(right, rows, list(LIVE))
    dress(right, list(LIVE.values()), "The same for one page, beside other live areas", "live areas")
    releases = ", ".join(f"{LINES[kind][0]} {about[kind]}" for kind in LINES if kind in about)
    figure.text(0.012, 0.015, f"Guest instructions, counted by QEMU; one CPU, {(about['frames'] + 128) >> 8} MiB of RAM; "
                f"{releases}. make bench-linux", fontsize=8, color="#777777")
    figure.tight_layout(rect=(0, 0.03, 1, 1), w_pad=3)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
