#!/usr/bin/env bash
#
# show.sh PROGRAM BROKER [STORE [EVENTS]]
#
# PROGRAM: the built relay. BROKER: redis or rabbitmq. Starts a broker of its own, lets the program record
# EVENTS sales in STORE (memory:) and hand them on, kills the broker in the middle and starts it again; where
# the store outlives the program, that is killed, too, and run again. Then two receivers, one of them in
# another language, must have each event, in the order of its stream, and a duplicate only under the same id.

set -euo pipefail

here=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
program=$1 broker=$2 store=${3:-memory:} events=${4:-4000}
source "$here/$broker.sh"

fail() {
    echo "show.sh: $*" >&2
    exit 1
}

folder=$(mktemp -d "${TMPDIR:-/tmp}/interlock-relay-XXXXXX")
relay_pid=
cleanup() {
    [[ -z $relay_pid ]] || kill -9 "$relay_pid" 2>/dev/null || true
    broker_stop
    rm -rf "$folder"
}
trap cleanup EXIT

python() {
    /usr/bin/python3 "$here/receive.py" "$broker_url" "$@"
}

broker_prepare "$folder/broker"
broker_start
echo "$broker is at $broker_url"
python=yes
if ! /usr/bin/python3 -c "import $([[ $broker == redis ]] && echo redis || echo pika)" 2>/dev/null; then
    echo "there is no python3 with a client of $broker, so the receiver in another language is left out"
    python=no
fi
# Who wants to hear of events says so before they are sent: a broker with queues keeps them for those it
# knows.
"$program" receive --broker "$broker_url" --idle 1 >"$folder/first.txt" || fail "$(<"$folder/first.txt")"
[[ $python == no ]] || python 0 >/dev/null

# A receiver that has not reached its broker has not heard that there is nothing.
nobody=redis://127.0.0.1:1
[[ $broker == redis ]] || nobody=amqp://127.0.0.1:1
! "$program" receive --broker "$nobody" --idle 1 >/dev/null 2>&1 \
    || fail "a broker that is not there is as an empty one"

name=show_$$
until_sent() {
    while [[ $(grep -c '^sent' "$folder/relay.txt") -lt $1 ]] && kill -0 "$relay_pid" 2>/dev/null; do
        sleep 0.02
    done
    kill -0 "$relay_pid" 2>/dev/null || fail "it ended before it was hurt: $(<"$folder/relay.txt")"
}
# relay TIMES VICTIM: records and sends; when it has said `sent` so often, the victim is killed: the broker or
# the program. Before that the broker is disturbed.
relay() {
    : >"$folder/relay.txt"
    # At a terminal the program says on it how far it is.
    local errors=$folder/relay.txt
    [[ ! -t 2 ]] || errors=/dev/stderr
    "$program" --broker "$broker_url" --store "$store" --name "$name" --events "$events" \
        >>"$folder/relay.txt" 2>>"$errors" &
    relay_pid=$!
    local times=$1 victim=$2
    until_sent "$((times - 1))"
    broker_disturb
    until_sent "$times"
    echo "$(tail -n 1 "$folder/relay.txt"): now the $victim is killed"
    if [[ $victim == broker ]]; then
        broker_kill
        sleep 0.5
        broker_start
        wait "$relay_pid" || fail "$(<"$folder/relay.txt")"
    else
        kill -9 "$relay_pid"
        wait "$relay_pid" 2>/dev/null || true
    fi
    relay_pid=
}

[[ $store == memory:* ]] || relay 2 program
relay 2 broker
tail -n 1 "$folder/relay.txt"
[[ $(tail -n 1 "$folder/relay.txt") == "recorded $events, sent "*", parked 0" ]] || fail "that is not all"

"$program" receive --broker "$broker_url" --expect "$events" --idle 20000 | tee "$folder/one.txt" \
    || fail "the receiver misses something"
[[ $python == no ]] || python "$events" | sed 's/^/python: /' | tee "$folder/two.txt" \
    || fail "the receiver in another language misses something"
# That what is missing is noticed: there is not one event more.
! "$program" receive --broker "$broker_url" --queue late --expect $((events + 1)) --idle 500 >/dev/null \
    || fail "an event came that nobody recorded"
