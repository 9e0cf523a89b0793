#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Draws what `--csv FILE` of a benchmark wrote: one SVG for each workload, with a panel for each figure.

usage: plot.py RESULTS.csv DIRECTORY

Bars are medians of the rounds. Whiskers reach from the smallest round to the greatest, and with more than ten
rounds from the first quarter to the third. A dashed line is what the bar it crosses has to reach, or must not
exceed. Needs nothing but Python 3.
"""

import argparse
import csv
import datetime
import html
import pathlib
import re
import statistics

STYLE = """
svg { font: 13px system-ui, sans-serif; }
text { fill: #1f2328; }
.title { font-size: 16px; font-weight: 600; }
.small { font-size: 11px; fill: #59636e; }
.back { fill: #ffffff; }
.ours { fill: #2f6fd0; } .other { fill: #9aa4af; }
.whisker { stroke: #1f2328; } .axis { stroke: #d1d9e0; }
.target { stroke: #c4432b; stroke-width: 2; stroke-dasharray: 4 3; } \
.wanted { font-size: 11px; fill: #c4432b; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .small { fill: #9198a1; } .back { fill: #0d1117; }
  .ours { fill: #5b9bf5; } .other { fill: #656c76; }
  .whisker { stroke: #f0f6fc; } .axis { stroke: #3d444d; }
  .target { stroke: #ff8a70; } .wanted { fill: #ff8a70; }
}
"""
WIDTH, NAMES, BAR, ROW = 880, 224, 440, 40


def spread(values):
    if len(values) <= 10:
        return min(values), max(values)
    quarters = statistics.quantiles(values, n=4)
    return quarters[0], quarters[2]


def read(path):
    """({comment: text}, {(workload, setting): (unit, {contestant: figures})},
    {(workload, setting): targets})"""
    said, tables, targets = {}, {}, {}
    for row in csv.reader(open(path, newline="", encoding="utf-8"), skipinitialspace=False):
        if not row:
            continue
        if row[0].startswith("# target"):
            workload, setting, contestant, rival, sign, value = row[1:]
            targets.setdefault((workload, setting), set()).add((contestant, rival, sign, float(value)))
        elif row[0].startswith("# "):
            name, _, text = row[0][2:].partition(" ")
            said[name] = text
        else:
            workload, setting, contestant, _, figure, unit = row
            _, figures = tables.setdefault((workload, setting), (unit, {}))
            figures.setdefault(contestant, []).append(float(figure))
    return said, tables, targets


def short(number):
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"


def panel(top, heading, unit, figures, targets):
    """Its elements, and where it ends."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    wanted = {}
    for contestant, rival, sign, value in sorted(targets):
        at = value if not rival else value * medians[rival] if rival in medians else None
        if at is not None and contestant in medians:
            sign = {">=": "≥", "<=": "≤"}[sign]
            label = f"{sign} {value:g}" + (f" × {rival}" if rival else "")
            wanted.setdefault(contestant, []).append((at, label))
    greatest = max([*(spread(values)[1] for values in figures.values()),
                    *(at for all_ in wanted.values() for at, _ in all_)])
    scale = BAR / (greatest or 1)
    rounds = max(len(values) for values in figures.values())
    text = html.escape
    out = [f'<text x="16" y="{top + 14}">{text(heading)}</text>' if heading else ""]
    of = f"median of {rounds} rounds" if rounds > 1 else "one run"
    out.append(f'<text class="small" x="{NAMES}" y="{top + 14}">{text(unit)}, {of}</text>')
    y = top + 26
    out.append(f'<line class="axis" x1="{NAMES}" x2="{NAMES}" y1="{y}" y2="{y + ROW * len(figures) - 8}"/>')
    for name, values in figures.items():
        (low, high), middle = (figure * scale for figure in spread(values)), medians[name] * scale
        kind = "ours" if name.startswith(("interlock", "held", "waiter")) or name[0].isdigit() else "other"
        out.append(f'<text x="{NAMES - 8}" y="{y + 15}" text-anchor="end">{text(name)}</text>')
        width = max(middle, 0.5)
        out.append(f'<rect class="{kind}" x="{NAMES}" y="{y}" width="{width:.1f}" height="20" rx="2"/>')
        if rounds > 1:
            for x1, x2, y1, y2 in ((low, high, 10, 10), (low, low, 6, 14), (high, high, 6, 14)):
                out.append(
                    f'<line class="whisker" x1="{NAMES + x1:.1f}" x2="{NAMES + x2:.1f}"'
                    f' y1="{y + y1}" y2="{y + y2}"/>')
        x = NAMES + max(high, middle) + 8
        out.append(f'<text x="{x:.1f}" y="{y + 15}">{short(medians[name])}</text>')
        labels = wanted.get(name, [])
        for at, _ in labels:
            x = NAMES + at * scale
            out.append(f'<line class="target" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 4}" y2="{y + 24}"/>')
        if labels:
            label = ", ".join(label for _, label in labels)
            out.append(f'<text class="wanted" x="{NAMES}" y="{y + 32}">has to be {text(label)}</text>')
        y += ROW
    return out, y


def draw(title, panels, footer):
    elements, y = [], 48
    for heading, unit, figures, targets in panels:
        drawn, y = panel(y, heading, unit, figures, targets)
        elements += drawn
        y += 18
    height = y + 14
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}">',
        f"<title>{html.escape(title)}</title>", f"<style>{STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text class="title" x="16" y="28">{html.escape(title)}</text>',
        *filter(None, elements),
        f'<text class="small" x="16" y="{height - 12}">{html.escape(footer)}</text>', "</svg>", ""])


def main():
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("results", metavar="RESULTS.csv")
    arguments.add_argument("directory", metavar="DIRECTORY", type=pathlib.Path)
    arguments.add_argument("--machine", help="in the last line; otherwise the number of its cores")
    options = arguments.parse_args()
    said, tables, targets = read(options.results)
    machine = options.machine or f"{said.get('cores', 'unknown number of')} shared cores"
    date = said.get("date") or datetime.date.today().isoformat()
    pictures = {}
    for (workload, setting), (unit, figures) in tables.items():
        title, _, heading = setting.partition(": ")
        wanted = targets.get((workload, setting), ())
        pictures.setdefault((workload, title), []).append((heading, unit, figures, wanted))
    options.directory.mkdir(parents=True, exist_ok=True)
    for (workload, title), panels in pictures.items():
        name = re.sub(r"[^a-z0-9]+", "_", f"{workload} {title}".lower()).strip("_") + ".svg"
        footer = f"{machine}, {date}; benchmark_{workload}"
        (options.directory / name).write_text(draw(f"{workload}: {title}", panels, footer), encoding="utf-8")
        print(options.directory / name)


main()
