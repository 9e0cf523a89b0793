#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Draws the picture of the first page: a holder is paused beyond its lease, and its late write bounces off
the fence.

usage: paused_holder.py paused_holder.svg

Three time lines run downwards: worker A, the store, worker B. Needs nothing but Python 3.
"""

import pathlib
import sys

STYLE = """
svg { font: 14px system-ui, sans-serif; }
text { fill: #1f2328; } .small { font-size: 12px; fill: #59636e; } \
.head { font-weight: 600; font-size: 15px; }
.back { fill: #ffffff; } .line { stroke: #d1d9e0; stroke-width: 2; }
.a { stroke: #2f6fd0; fill: #2f6fd0; } .b { stroke: #1a7f37; fill: #1a7f37; }
.bar { stroke: none; } .pause { fill: #d1d9e0; }
.arrow { stroke-width: 2; fill: none; } .refused { stroke: #c4432b; fill: #c4432b; } \
.refusal { fill: #c4432b; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .small { fill: #9198a1; } .back { fill: #0d1117; } .line { stroke: #3d444d; }
  .a { stroke: #5b9bf5; fill: #5b9bf5; } .b { stroke: #3fb950; fill: #3fb950; } .pause { fill: #3d444d; }
  .refused { stroke: #ff8a70; fill: #ff8a70; } .refusal { fill: #ff8a70; }
}
"""
WIDTH, HEIGHT = 860, 470
A, STORE, B = 190, 460, 740
parts = []


def text(x, y, words, kind="", anchor="middle"):
    parts.append(f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{words}</text>')


def bar(x, top, bottom, kind):
    height = bottom - top
    parts.append(f'<rect x="{x - 5}" y="{top}" width="10" height="{height}" rx="3" class="bar {kind}"/>')


def arrow(x1, x2, y, kind, words, below=False):
    """From one time line to another; a little slanted, since a message takes time."""
    end = y + 14
    tip = -9 if x2 > x1 else 9
    gap = 7 if x2 > x1 else -7
    parts.append(f'<path d="M{x1 + gap} {y} L{x2 - gap} {end}" class="arrow {kind}"/>')
    parts.append(f'<path d="M{x2 - gap} {end} l{tip} -6 l0 10 z" class="{kind}"/>')
    text((x1 + x2) / 2, end + 16 if below else y - 4, words)


def main():
    for x, name in ((A, "worker A"), (STORE, "the store"), (B, "worker B")):
        text(x, 30, name, "head")
        parts.append(f'<line x1="{x}" y1="42" x2="{x}" y2="{HEIGHT - 20}" class="line"/>')
    bar(A, 82, 150, "a")
    bar(A, 150, 330, "pause")
    bar(A, 330, 394, "a")
    bar(STORE, 86, 236, "a")
    bar(STORE, 258, 440, "b")
    bar(B, 272, 440, "b")
    arrow(A, STORE, 72, "a", "lock → token 33")
    text(A - 16, 150, "paused: a suspend, a", "small", "end")
    text(A - 16, 166, "debugger, a full disk", "small", "end")
    text(STORE - 14, 232, "A's lease is over", "small", "end")
    arrow(B, STORE, 244, "b", "lock → token 34")
    arrow(B, STORE, 300, "b", "write, token 34: applied")
    text(A - 16, 334, "wakes up, knows nothing", "small", "end")
    arrow(A, STORE, 344, "refused", "late write, token 33")
    arrow(STORE, A, 384, "refused", '<tspan class="refusal">fenced_out</tspan>: the record names B', True)
    text(A - 16, 402, "learns that it lost", "small", "end")
    picture = "\n".join(parts)
    pathlib.Path(sys.argv[1]).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="A holder that was paused beyond its lease writes late, and the store refuses the write">'
        "\n"
        f"<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" class="back"/>\n{picture}\n</svg>\n')


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
