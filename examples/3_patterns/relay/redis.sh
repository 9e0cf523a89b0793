# shellcheck shell=bash
#
# Sourced: a Redis server of our own as a broker, in a folder of its own, on a socket there. The functions are
# those of rabbitmq.sh.

broker_require() {
    require "redis-server" "the broker" command -v redis-server
    wish "python3-redis" "a receiver in another language" /usr/bin/python3 -c "'import redis'"
}

broker_prepare() {
    broker_folder=$1
    mkdir -p "$broker_folder"
    broker_url=unix://$broker_folder/socket
}

broker_start() {
    # What it has said that it keeps is on its disk: without this a broker loses what it confirmed.
    redis-server --port 0 --unixsocket "$broker_folder/socket" --dir "$broker_folder" --save '' \
        --appendonly yes --appendfsync always --loglevel warning >>"$broker_folder/server.txt" 2>&1 &
    broker_pid=$!
    local attempt
    for attempt in {1..600}; do
        [[ $(redis-cli -s "$broker_folder/socket" ping 2>/dev/null) != PONG ]] || return 0
        sleep 0.1
    done
    echo "redis-server does not answer:" >&2
    tail -n 20 "$broker_folder/server.txt" >&2
    return 1
}

broker_disturb() {  # it closes all connections
    redis-cli -s "$broker_folder/socket" client kill type normal >/dev/null
}

broker_kill() {
    kill -9 "$broker_pid" 2>/dev/null || true
    wait "$broker_pid" 2>/dev/null || true
    rm -f "$broker_folder/socket"
}

broker_stop() {
    [[ -z ${broker_pid:-} ]] || broker_kill
}
