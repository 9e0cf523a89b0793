#!/usr/bin/env bash
#
# check_processes.sh <flash_sale> <ledger_checker> <empty folder> <backend> <policies> <command that ends all
# sessions>
#
# The policies are one argument, separated by blanks. The command is given the backend; it may be missing.
#
# Several processes at one stock, first left alone, then with one of them killed half-way, then with a server
# that ends all their sessions again and again. What they sold is compared by a program that shares no code
# with them.

set -euo pipefail

here=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
program=$1 checker=$2 work=$3 backend=$4 end_sessions=${6:-}
read -r -a policies <<<"$5"
rm -rf "$work"
mkdir -p "$work"
cd "$work"

fail() {
    echo "check_processes: $*" >&2
    if [[ -s err ]]; then cat err >&2; fi
    exit 1
}

# member <name> <line of JSON>: a number.
member() {
    grep -o "\"$1\":[0-9]*" <<<"$2" | cut -d: -f2
}

# audited <rows> <policy> <line of JSON>: every order was answered, sold once, and the files agree.
audited() {
    local rows=$1 policy=$2 line=$3 name answered
    for name in oversold_units lost_updates unknown failed violations sold_twice; do
        [[ $(member $name "$line") == 0 ]] || fail "$policy: $name: $line"
    done
    answered=$(($(member accepted "$line") + $(member sold_out "$line") + $(member duplicates "$line")))
    [[ $answered == "$rows" ]] || fail "$policy: $answered answers to $rows orders: $line"
    [[ $(member processes "$line") == 3 ]] || fail "$policy: $line"
    "$checker" orders.csv stock.csv "ledger-$policy.csv" "final-$policy.csv" \
        || fail "$policy: the ledger is wrong"
}

# ---- what is refused

code=0
"$program" --processes 2 2>err || code=$?
[[ $code == 2 ]] && grep -q -- '--processes needs a store' err || fail "memory: exit code $code"
"$program" --processes 1 --generate 100 --json >out || fail "one process on memory"

# ---- left alone

rows=1500
"$checker" --make $rows orders.csv stock.csv
sale=(--backend "$backend" --orders orders.csv --stock stock.csv --processes 3 --json)
for mode in "" --async; do
    "$program" "${sale[@]}" $mode --ledger ledger.csv --final-stock final.csv >out 2>err \
        || fail "exit code $?"
    [[ $(wc -l <out) == "${#policies[@]}" ]] || fail "$(wc -l <out) lines of JSON, expected ${#policies[@]}"
    while read -r line; do
        policy=$(grep -o '"policy":"[a-z]*' <<<"$line" | cut -d'"' -f4)
        pids=$(sed -n "s/^flash_sale: $policy: processes //p" err)
        [[ $(wc -w <<<"$pids") == 3 ]] || fail "$policy: three pids expected, not '$pids'"
        [[ $(member processes_lost "$line") == 0 ]] || fail "$policy: $line"
        [[ $policy == unguarded ]] || audited $rows "$policy" "$line"
    done <out
done

# ---- one is killed

# await_sellers <policy> <pid of the sale>: until its processes, whose pids go into `pids`, are at work.
await_sellers() {
    until pids=$(sed -n 's/^flash_sale: .*: processes //p' err) && [[ -n $pids ]]; do
        kill -0 "$2" 2>/dev/null || fail "$1: ended before it printed pids"
        sleep 0.02
    done
    sleep 0.3
}

# killed <policy> <mode>...: kills one of three processes half-way, with more orders when they were too fast.
# What it had drawn until then is in the timeline.
killed() {
    local policy=$1 rows=5000 code pids line
    for _ in 1 2 3 4 5; do
        "$checker" --make $rows orders.csv stock.csv
        : >err  # the pids of the sale before are not to be killed
        "$program" "${sale[@]}" --policy "$@" \
            --ledger "ledger-$policy.csv" --final-stock "final-$policy.csv" --timeline run.json \
            >out 2>err &
        await_sellers $policy $!
        read -r _ victim _ <<<"$pids"
        kill -KILL "$victim" 2>/dev/null || true  # it may have finished
        code=0
        wait $! || code=$?
        [[ $code == 0 ]] || fail "$policy: exit code $code after a process was killed"
        ! compgen -G "run.json.*" >/dev/null || fail "$policy: parts of the timeline are left"
        [[ $policy != lock ]] || python3 "$here/../support/check_timeline.py" run.json \
            || fail "$policy: the timeline cannot be drawn"
        line=$(<out)
        if [[ $policy == unguarded ]]; then
            [[ $(member unknown "$line") == 0 ]] || return 0
        else
            audited $rows "$policy" "$line"
            if [[ $(member processes_lost "$line") -ge 1 ]]; then
                grep -q 'takes its orders over' err || fail "$policy: nobody took the orders over"
                return 0
            fi
        fi
        rows=$((rows * 2))
    done
    fail "$policy: no process could be killed in time"
}
killed optimistic
killed lock
[[ " ${policies[*]} " != *" pessimistic "* ]] || killed pessimistic
killed lock --async
killed idempotent
killed unguarded

# ---- the server ends all sessions, again and again

# terminated <policy> <mode>...: with more orders when they were too fast.
terminated() {
    local policy=$1 rows=4000 code pids
    for _ in 1 2 3 4 5; do
        "$checker" --make $rows orders.csv stock.csv
        : >err
        "$program" "${sale[@]}" --policy "$@" \
            --ledger "ledger-$policy.csv" --final-stock "final-$policy.csv" >out 2>err &
        await_sellers $policy $!
        for _ in 1 2 3 4; do
            "$end_sessions" "$backend" >/dev/null 2>&1
            sleep 0.1
        done
        if kill -0 $! 2>/dev/null; then
            code=0
            wait $! || code=$?
            [[ $code == 0 ]] || fail "$policy: exit code $code after sessions were ended"
            audited $rows "$policy" "$(<out)"
            return 0
        fi
        wait $! || true  # they were through before, and their last look at the stock may have been cut short
        rows=$((rows * 2))
    done
    fail "$policy: sessions could not be ended in time"
}
if [[ -n $end_sessions ]]; then
    for policy in "${policies[@]}"; do
        [[ $policy != unguarded ]] || continue
        terminated $policy
        terminated $policy --async
    done
fi
