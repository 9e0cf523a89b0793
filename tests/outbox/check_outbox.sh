#!/usr/bin/env bash
#
# check_outbox.sh <outbox> <backend>
#
# The outbox, as its user runs it: what it refuses, and whether each sale is shipped once, left alone and with
# workers that are killed. Without its inbox a killed worker's parcels are sent again: so the count is seen to
# be able to fail.

set -euo pipefail

program=$1 backend=$2

fail() {
    echo "check_outbox: $*" >&2
    exit 1
}

# refused <pattern> <argument>...: exit code 2, and a sentence that matches.
refused() {
    local pattern=$1 code=0 said
    shift
    said=$("$program" "$@" 2>&1) || code=$?
    [[ $code == 2 && $said =~ $pattern ]] || fail "$*: exit code $code, said '$said', expected '$pattern'"
}

refused '--kill needs a store that outlives a process' --kill 1
refused "--sales: 'many' is not a number" --sales many
refused "--sales: '0' is not a number" --sales 0
refused "--processes: '65' is not a number" --processes 65
refused '--sales needs a value' --sales
refused "unknown option '--sale'" --sale 10
refused '--careless takes no value' --careless=yes
refused 'a URL begins with' --backend oracle://localhost

# ships <sales> <argument>...: all of them, once.
ships() {
    local sales=$1 said code=0
    shift
    said=$("$program" --backend "$backend" --sales "$sales" "$@") || code=$?
    [[ $code == 0 && $said == "sold $sales, shipped $sales, doubled 0, lost 0" ]] \
        || fail "$*: exit code $code: $said"
}

ships 7 --processes 1
ships 1500 --processes 3
ships 1500 --processes 3 --kill 3

# What was handled since the cursor was written last is handled again.
for sales in 1000 2000 4000 8000; do
    code=0
    said=$("$program" --backend "$backend" --sales $sales --processes 2 --kill 3 --careless) || code=$?
    [[ $said =~ ^"sold $sales, shipped $sales, doubled "([0-9]+)", lost 0"$ ]] || fail "careless: $said"
    [[ ${BASH_REMATCH[1]} == 0 ]] || break
done
[[ $code == 1 ]] || fail "careless: nothing was doubled, exit code $code: $said"
