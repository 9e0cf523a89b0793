#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0

"""check_progress.py PROGRAM [ARGUMENT]...

The program takes longer than anybody waits. At a terminal it says after two seconds how far it is, with a
rate and the time left; elsewhere it says nothing. It is ended once that was seen.
"""

import os
import pty
import re
import select
import subprocess
import sys
import time

LINE = re.compile(rb"\r[^\r\n]+: [\d,]+ of [\d,]+ \w+, [\d,.]+/s, [\d,]+ (s|min|h) left\x1b\[K")


def start(stderr):
    return subprocess.Popen(
        sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)


def read_until(descriptor, pattern, seconds):
    """What came until `pattern` or the time was there."""
    seen, end = b"", time.monotonic() + seconds
    while time.monotonic() < end and not pattern.search(seen):
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                more = os.read(descriptor, 4096)
            except OSError:  # a terminal says so that nobody writes any more
                more = b""
            if not more:
                break
            seen += more
    return seen


def end(process):
    process.kill()
    process.wait()


def main():
    parent, child = pty.openpty()
    begun = time.monotonic()
    at_terminal = start(child)
    os.close(child)
    seen = read_until(parent, LINE, 240)
    took = time.monotonic() - begun
    end(at_terminal)
    if not LINE.search(seen):
        sys.exit(f"at a terminal it said {seen!r}")
    if took < 2:
        sys.exit(f"it said something after {took:.1f} s already")

    # As long as it took at a terminal, and a little more.
    out, into = os.pipe()
    in_pipe = start(into)
    os.close(into)
    seen = read_until(out, LINE, took + 1)
    over = in_pipe.poll()
    end(in_pipe)
    if seen or over is not None:
        sys.exit(f"in a pipe it said {seen!r}, and ended with {over}")


if __name__ == "__main__":
    main()
