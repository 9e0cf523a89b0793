#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Draws a part of a timeline (flash_sale --timeline, TimelineObserver) as an SVG, as a viewer of such files
does: a group of rows for each key, a row for each process, slices for who holds, lines for who waits, arrows
from one holder to the next.

usage: timeline.py RUN.json PICTURE.svg [--keys N] [--from MS] [--length MS]

Needs nothing but Python 3.
"""

import argparse
import collections
import html
import json
import pathlib

STYLE = """
svg { font: 12px system-ui, sans-serif; }
text { fill: #1f2328; } .small { font-size: 11px; fill: #59636e; } .key { font-weight: 600; }
.back { fill: #ffffff; } .grid { stroke: #d1d9e0; stroke-width: 1; }
.held { fill: #2f6fd0; } .on { fill: #1a7f37; } .lost { fill: #c4432b; }
.wait { stroke: #9a6700; stroke-width: 2; } .vain { stroke: #c4432b; stroke-width: 2; }
.arrow { stroke: #59636e; stroke-width: 1; fill: none; } .tip { fill: #59636e; }
.moment { stroke: #c4432b; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .small { fill: #9198a1; } .back { fill: #0d1117; } .grid { stroke: #3d444d; }
  .held { fill: #5b9bf5; } .on { fill: #3fb950; } .lost { fill: #ff8a70; } .wait { stroke: #d29922; }
  .vain, .moment { stroke: #ff8a70; } .arrow { stroke: #9198a1; } .tip { fill: #9198a1; }
}
"""
WIDTH, LEFT, ROW, LANE, MOST_LANES = 1000, 150, 20, 5, 8


class Picture:
    def __init__(self, start, length):
        self.start, self.length, self.parts, self.y = start, length, [], 26

    def x(self, ts):
        return LEFT + (WIDTH - LEFT - 20) * (ts - self.start) / self.length

    def seen(self, ts, end):
        return end >= self.start and ts <= self.start + self.length

    def clip(self, ts):
        return min(max(ts, self.start), self.start + self.length)

    def add(self, text):
        self.parts.append(text)

    def grid(self, zero):
        step = next(s for s in (10 ** p * m for p in range(0, 9) for m in (1, 2, 5)) if self.length / s <= 10)
        ts = self.start - (self.start - zero) % step + step
        while ts < self.start + self.length:
            self.add(f'<line class="grid" x1="{self.x(ts):.1f}" x2="{self.x(ts):.1f}" y1="20" y2="{self.y}"/>'
                     f'<text class="small" x="{self.x(ts):.1f}" y="14" text-anchor="middle">'
                     f'{(ts - zero) / 1000:g} ms</text>')
            ts += step

    def svg(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.y + 10}">'
                f'<style>{STYLE}</style><rect class="back" width="100%" height="100%"/>'
                + "\n".join(self.parts) + "</svg>\n")


def lanes_of(spans):
    """Those who wait at the same time, below each other: (lane, span)."""
    free, placed = [], []
    for span in sorted(spans):
        for lane, end in enumerate(free):
            if end <= span[0]:
                break
        else:
            lane = len(free)
            free.append(0)
        free[lane] = span[1]
        placed.append((lane, span))
    return placed


def draw_row(picture, events, name):
    """One process in the group of one key."""
    picture.add(f'<text class="small" x="{LEFT - 8}" y="{picture.y + 14}" text-anchor="end">'
                f'{html.escape(name)}</text>')
    y = picture.y
    for event in events:
        if event["ph"] == "X" and picture.seen(event["ts"], event["ts"] + event["dur"]):
            kind = {"held": "held", "held, handed on": "on"}.get(event["name"], "lost")
            left, right = picture.clip(event["ts"]), picture.clip(event["ts"] + event["dur"])
            width = max(picture.x(right) - picture.x(left), 1)
            told = f'{event["name"]}, {event["dur"] / 1000:.3f} ms, {json.dumps(event.get("args", {}))}'
            picture.add(f'<rect class="{kind}" x="{picture.x(left):.1f}" y="{y + 2}" width="{width:.1f}" '
                        f'height="{ROW - 4}" rx="1"><title>{html.escape(told)}</title></rect>')
            if event.get("cat") == "fault":
                picture.add(f'<text class="small" x="{picture.x(right) + 4:.1f}" y="{y + 14}">'
                            f'{html.escape(event["name"])}</text>')
        elif event["ph"] == "i" and picture.seen(event["ts"], event["ts"]):
            picture.add(f'<line class="moment" x1="{picture.x(event["ts"]):.1f}" '
                        f'x2="{picture.x(event["ts"]):.1f}" y1="{y}" y2="{y + ROW}">'
                        f'<title>{html.escape(event["name"])}</title></line>')
    begun, waits = {}, []
    for event in events:
        if event.get("cat") == "waiting" and event["ph"] in "be":
            if event["ph"] == "b":
                begun[event["id2"]["local"]] = event
            else:
                begin = begun.pop(event["id2"]["local"])
                if picture.seen(begin["ts"], event["ts"]):
                    waits.append((begin["ts"], event["ts"], begin["name"]))
    picture.y += ROW
    deepest = -1
    for lane, (begin, end, what) in lanes_of(waits):
        if lane < MOST_LANES:
            at = picture.y + 2 + lane * LANE
            kind = "wait" if what == "waiting" else "vain"
            left, right = picture.x(picture.clip(begin)), picture.x(picture.clip(end))
            picture.add(f'<line class="{kind}" y1="{at}" y2="{at}" x1="{left:.1f}" x2="{right:.1f}"/>')
            deepest = max(deepest, lane)
    picture.y += (deepest + 1) * LANE + 6
    return y


def draw_arrows(picture, events, rows):
    tails = {e["id"]: e for e in events if e["ph"] == "s"}
    for head in (e for e in events if e["ph"] == "f"):
        tail = tails.get(head["id"])
        if tail is None or not picture.seen(tail["ts"], head["ts"]):
            continue
        y = rows[head["tid"]] + ROW / 2
        x1, x2 = picture.x(picture.clip(tail["ts"])), picture.x(picture.clip(head["ts"]))
        picture.add(f'<path class="arrow" d="M{x1:.1f} {y} Q{(x1 + x2) / 2:.1f} {y - 14} {x2:.1f} {y}"/>'
                    f'<path class="tip" d="M{x2:.1f} {y} l-4 -5 l-2 4 z"/>')


def busiest(events, zero, length):
    """Where the most rows, and then the most holders, are within `length` ms."""
    holds = [(e["ts"] - zero, e["pid"], e["tid"]) for e in events if e["ph"] == "X"]
    last = max((at for at, _, _ in holds), default=0) / 1000
    best, found, start = (0, 0), 0.0, 0.0
    while start <= last:
        inside = [(p, t) for at, p, t in holds if 1000 * start <= at < 1000 * (start + length)]
        if (len(set(inside)), len(inside)) > best:
            best, found = (len(set(inside)), len(inside)), start
        start += length / 3
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("picture")
    parser.add_argument("--keys", type=int, default=3)
    parser.add_argument("--from", dest="start", type=float, help="default: where most happens")
    parser.add_argument("--length", type=float, default=20)
    options = parser.parse_args()
    events = json.loads(pathlib.Path(options.run).read_text(encoding="utf-8"))["traceEvents"]
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    zero = min(e["ts"] for e in events if "ts" in e)
    held = collections.Counter(e["pid"] for e in events if e["ph"] == "X")
    shown = sorted((pid for pid, _ in held.most_common(options.keys)), key=names.get)
    if 0 in names:  # the faults of a torture
        shown = [0] + [pid for pid in shown if pid != 0]
        threads[0, 0] = ""
    if options.start is None:
        of_keys = [e for e in events if e["pid"] in shown and e["pid"] != 0]
        options.start = busiest(of_keys, zero, options.length)
    picture = Picture(zero + 1000 * options.start, 1000 * options.length)
    for pid in shown:
        picture.add(f'<text class="key" x="8" y="{picture.y + 14}">{html.escape(names[pid])}</text>')
        rows = {}
        for tid in sorted(t for p, t in threads if p == pid):
            mine = [e for e in events if e["pid"] == pid and e["tid"] == tid and "ts" in e]
            rows[tid] = draw_row(picture, mine, threads[pid, tid])
        draw_arrows(picture, [e for e in events if e["pid"] == pid], rows)
        picture.y += 8
    picture.grid(zero)
    picture.add(f'<g transform="translate({LEFT}, {picture.y + 4})">'
                '<rect class="held" width="12" height="10"/><text class="small" x="16" y="10">held</text>'
                '<rect class="on" x="60" width="12" height="10"/>'
                '<text class="small" x="76" y="10">held, then handed on without a trip</text>'
                '<line class="wait" x1="300" x2="320" y1="5" y2="5"/>'
                '<text class="small" x="326" y="10">waiting</text></g>')
    picture.y += 16
    pathlib.Path(options.picture).write_text(picture.svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
