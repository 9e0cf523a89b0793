#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0

"""check_timeline.py FILE [COMMAND]...

The command, if there is one, writes the timeline FILE. It is JSON that a viewer of Chrome's trace format
draws rightly: each row has a name, the slices of a row never overlap, whatever begins also ends, and each
arrow leads from within one slice to where another one begins.
"""

import collections
import json
import pathlib
import subprocess
import sys


def expect(good, what):
    if not good:
        sys.exit(f"check_timeline: {what}")


def main():
    file, command = pathlib.Path(sys.argv[1]), sys.argv[2:]
    if command:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        subprocess.run(command, check=False)  # a torture that is so short may find that too little happened
    events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    named = {e["pid"] for e in events if e["name"] == "process_name"}
    rows, ends = collections.defaultdict(list), collections.Counter()
    for event in events:
        expect(event["pid"] in named, f"a row without a name: {event}")
        if event["ph"] == "X":
            rows[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] in "be":
            ends[event["cat"], event["id2"]["local"]] += 1 if event["ph"] == "b" else -1
    holds = 0
    for row, slices in rows.items():
        slices.sort()
        holds += len(slices)
        for before, after in zip(slices, slices[1:]):
            expect(after[0] >= before[1], f"in row {row} {before} and {after} overlap")
    expect(all(n == 0 for n in ends.values()), "what begins does not end")

    tails = {e["id"]: e for e in events if e["ph"] == "s"}
    heads = [e for e in events if e["ph"] == "f"]
    expect(len(tails) == len(heads), f"{len(tails)} arrows begin, and {len(heads)} end")
    begins = {(row, begin) for row, slices in rows.items() for begin, _ in slices}
    for head in heads:
        expect(head["id"] in tails, f"an arrow from nowhere: {head}")
        row = head["pid"], head["tid"]
        tail = tails[head["id"]]["ts"]
        # Of a holder who was killed there is no slice.
        if (row, head["ts"]) in begins and any(begin <= tail for begin, _ in rows[row]):
            expect(any(begin <= tail <= end for begin, end in rows[row]), f"an arrow out of nothing: {head}")
    print(f"{len(events)} events, {len(rows)} rows, {holds} slices, {len(heads)} arrows")
    expect(holds > 0, "there is nothing to see")


if __name__ == "__main__":
    main()
