# SPDX-License-Identifier: BSL-1.0
"""A line for whoever waits at a terminal, as interlock::Progress writes it; silent elsewhere."""

import math
import sys
import time


def rough_time(seconds):
    for most, unit, length in ((100, "s", 1), (6000, "min", 60)):
        if seconds < most:
            return f"{math.ceil(seconds / length):,} {unit}"
    return f"{math.ceil(seconds / 3600):,} h"


class Progress:
    def __init__(self, what, total, unit, out=sys.stderr):
        self.what, self.total, self.unit, self.out = what, total, unit, out
        self.silent = not out.isatty()
        self.begun = time.monotonic()
        self.next = self.begun + 2

    def show(self, done, more=""):
        """So many of `total` are done; `more`: what else is worth a word."""
        now = time.monotonic()
        if self.silent or now < self.next:
            return
        self.next = now + 0.2
        rate = 1 if self.unit == "s" else done / (now - self.begun)
        line = f"{self.what}: {done:,.0f} of {self.total:,.0f} {self.unit}"
        if self.unit != "s":
            line += f", {rate:,.{0 if rate >= 10 else 1}f}/s"
        if self.total > done and rate > 0:
            line += f", {rough_time((self.total - done) / rate)} left"
        self.out.write(f"\r{line}{more}\x1b[K")
        self.out.flush()

    def hide(self):
        if not self.silent:
            self.out.write("\r\x1b[K")
            self.out.flush()
