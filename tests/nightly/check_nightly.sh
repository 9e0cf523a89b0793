#!/usr/bin/env bash
#
# check_nightly.sh <nightly> <backend>
#
# Three processes start the same night. One of them is killed while it works, the next one is stopped for
# longer than its lease: each part is done, and none twice but the one that a stopped process was at, which it
# could not know.

set -euo pipefail

program=$1 backend=$2 parts=60 ttl=1
work=$(mktemp -d)
report=$work/report

fail() {
    echo "check_nightly: $*" >&2
    cat "$report" >&2 || true
    exit 1
}

# worker: the process that wrote the last line. What has written nothing yet is waited for.
worker() {
    local i
    for ((i = 0; i < 1200; ++i)); do
        [[ ! -s $report ]] || break
        sleep 0.05
    done
    tail -n 1 "$report" | sed 's/.* process //'
}

# next_worker <process>: the one that has gone on after that one.
next_worker() {
    local i now
    for ((i = 0; i < 1200; ++i)); do
        now=$(worker)
        [[ $now == "$1" ]] || break
        sleep 0.05
    done
    [[ $now != "$1" ]] || fail "nobody went on after process $1"
    echo "$now"
}

pids=()
for _ in 1 2 3; do
    "$program" "$backend" 2026-11-29 $parts "$report" $ttl >>"$work/said" 2>>"$work/errors" &
    pids+=($!)
done
trap 'kill -KILL "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

first=$(worker)
kill -KILL "$first"
second=$(next_worker "$first")
kill -STOP "$second"
third=$(next_worker "$second")
kill -CONT "$second"
ended=0
for pid in "${pids[@]}"; do
    code=0
    wait "$pid" || code=$?
    if [[ $pid == "$first" ]]; then
        [[ $code == 137 ]] || fail "the killed process ended with $code"
    else
        [[ $code == 0 ]] || fail "process $pid ended with $code: $(cat "$work/errors")"
        ended=$((ended + 1))
    fi
done
[[ $ended == 2 && $third != "$first" ]] || fail "$ended processes ended"

finished=$(awk '{ print $2 }' "$report" | sort -nu | wc -l)
[[ $finished == "$parts" ]] || fail "$finished of $parts parts were done"
lines=$(wc -l <"$report")
((lines <= parts + 2)) || fail "$lines lines for $parts parts"
[[ $(grep -c "2026-11-29: $parts of $parts parts are done" "$work/said") == 2 ]] || fail "$(cat "$work/said")"
