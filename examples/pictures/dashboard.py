#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Asks a Prometheus for what each panel of the dashboard shows, and draws it: to see, where there is no
Grafana, that every query gives data, in sensible units.

usage: dashboard.py DASHBOARD.json PICTURE.svg [--prometheus http://localhost:9090] [--minutes 2]

Prints how many series each query gave. Exit code 1: a panel has none. Needs nothing but Python 3.
"""

import argparse
import html
import json
import math
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

STYLE = """
svg { font: 11px system-ui, sans-serif; } .title { font-weight: 600; font-size: 12px; }
text { fill: #1f2328; } .small { font-size: 10px; fill: #59636e; }
.row { font-weight: 600; font-size: 14px; } .stat { font-size: 30px; font-weight: 600; }
.back { fill: #ffffff; } .panel { fill: none; stroke: #d1d9e0; } .grid { stroke: #eaeef2; }
.s0 { stroke: #2f6fd0; } .s1 { stroke: #1a7f37; } .s2 { stroke: #c4432b; } .s3 { stroke: #9a6700; }
.s4 { stroke: #8250df; } .s5 { stroke: #bf3989; } .s6 { stroke: #57606a; } .s7 { stroke: #0a7ea4; }
path { fill: none; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .small { fill: #9198a1; } .back { fill: #0d1117; } .panel { stroke: #3d444d; }
  .grid { stroke: #21262d; }
}
"""
COLUMN, WIDTH = 42, 1008  # Grafana's grid has 24 columns
UNITS = {"s": [(1, "s"), (1e-3, "ms"), (1e-6, "µs")], "ops": [(1, "/s")], "short": [(1, "")]}


def said(value, unit):
    """A number in its unit, as people read it."""
    for size, name in UNITS[unit]:
        if abs(value) >= size or (size, name) == UNITS[unit][-1]:
            number = f"{value / size:,.0f}" if value / size >= 100 else f"{value / size:.3g}"
            return f"{number} {name}".strip().replace(" /s", "/s")
    return ""


class Prometheus:
    def __init__(self, url, minutes):
        self.url, self.end, self.minutes = url, time.time(), minutes
        self.begin = self.end - 60 * minutes

    def ask(self, kind, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{kind}?{query}", timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    def filled_in(self, expression):
        """With what Grafana puts in the place of its variables."""
        for name, value in (("$__rate_interval", "15s"), ("$__range", f"{self.minutes:g}m"), ("$job", ".*")):
            expression = expression.replace(name, value)
        return re.sub(r"\[([\d.]+)m\]", lambda m: f"[{round(60 * float(m[1]))}s]", expression)

    def series(self, target):
        """[(name, [(time, value)])]: a query over the whole time."""
        step = max(1, round(60 * self.minutes / 120))
        found = self.ask("query_range", query=self.filled_in(target["expr"]),
                         start=self.begin, end=self.end, step=step)
        named = []
        for one in found:
            name = re.sub(r"\{\{(\w+)\}\}", lambda m: one["metric"].get(m[1], ""),
                          target.get("legendFormat", ""))
            points = [(t, float(v)) for t, v in one["values"] if math.isfinite(float(v))]
            if points:
                named.append((name or "?", points))
        return named

    def value(self, target):
        found = self.ask("query", query=self.filled_in(target["expr"]), time=self.end)
        return float(found[0]["value"][1]) if found else None


def draw_series(prometheus, named, unit, box):
    x, y, width, height = box
    legend = 13 * min(len(named), 8)
    bottom, top = y + height - 10 - legend, y + 28
    most = max((v for _, points in named for _, v in points), default=0) or 1
    out = []
    for part in (0, 0.5, 1):
        at = bottom - part * (bottom - top)
        out.append(f'<line class="grid" x1="{x + 52}" x2="{x + width - 8}" y1="{at:.1f}" y2="{at:.1f}"/>'
                   f'<text class="small" x="{x + 48}" y="{at + 3:.1f}" text-anchor="end">'
                   f'{said(part * most, unit)}</text>')
    for i, (name, points) in enumerate(named[:8]):
        path = " L".join(
            f"{x + 52 + (t - prometheus.begin) / (60 * prometheus.minutes) * (width - 60):.1f},"
            f"{bottom - v / most * (bottom - top):.1f}" for t, v in points)
        at = bottom + 14 + 13 * i
        out.append(f'<path class="s{i}" d="M{path}"/><path class="s{i}" d="M{x + 10},{at - 3} h14"/>'
                   f'<text x="{x + 30}" y="{at}">{html.escape(name)}</text>'
                   f'<text class="small" x="{x + width - 10}" y="{at}" text-anchor="end">'
                   f'{said(points[-1][1], unit)}</text>')
    return out


def draw(prometheus, panel, y):
    """The panel, and whether it has something to show."""
    place = panel["gridPos"]
    x, width, height = place["x"] * COLUMN, place["w"] * COLUMN - 8, place["h"] * 24 - 8
    if panel["type"] == "row":
        return [f'<text class="row" x="{x + 4}" y="{y + 16}">{html.escape(panel["title"])}</text>'], True
    unit = panel["fieldConfig"]["defaults"]["unit"]
    out = [f'<rect class="panel" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>'
           f'<text class="title" x="{x + 10}" y="{y + 17}">{html.escape(panel["title"])}</text>']
    if panel["type"] == "stat":
        value = prometheus.value(panel["targets"][0])
        print(f'{panel["title"]}: {value}')
        shown = "?" if value is None else said(round(value), unit)
        out.append(f'<text class="stat" x="{x + width / 2}" y="{y + height / 2 + 20}" text-anchor="middle">'
                   f'{shown}</text>')
        return out, value is not None
    named = []
    for target in panel["targets"]:
        found = prometheus.series(target)
        print(f'{panel["title"]}: {len(found)} series: {", ".join(name for name, _ in found)}')
        named += found
    return out + draw_series(prometheus, named, unit, (x, y, width, height)), bool(named)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dashboard")
    parser.add_argument("picture")
    parser.add_argument("--prometheus", default="http://localhost:9090")
    parser.add_argument("--minutes", type=float, default=2)
    options = parser.parse_args()
    prometheus = Prometheus(options.prometheus, options.minutes)
    panels = json.loads(pathlib.Path(options.dashboard).read_text(encoding="utf-8"))["panels"]
    parts, empty, bottom = [], [], 0
    for panel in panels:
        place = panel["gridPos"]
        drawn, good = draw(prometheus, panel, place["y"] * 24 + 8)
        parts += drawn
        bottom = max(bottom, (place["y"] + place["h"]) * 24 + 8)
        if not good:
            empty.append(panel["title"])
    pathlib.Path(options.picture).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-4 0 {WIDTH} {bottom}"><style>{STYLE}</style>'
        '<rect class="back" x="-4" width="100%" height="100%"/>' + "\n".join(parts) + "</svg>\n",
        encoding="utf-8")
    if empty:
        sys.exit("nothing to show: " + ", ".join(empty))


if __name__ == "__main__":
    main()
