# shellcheck shell=bash
#
# Sourced: a RabbitMQ server of our own, in a folder of its own, on ports of its own of 127.0.0.1. A server
# that the system runs is not touched.
#
#   broker_require          what must be installed, see cmake/packages.sh
#   broker_prepare FOLDER   makes the folder and chooses ports; broker_url is where it will be
#   broker_start            starts it, again after a kill, and waits until it answers
#   broker_disturb          stops it for longer than the relay waits for a confirmation
#   broker_kill             SIGKILL, as the system would end it
#   broker_stop             for good

broker_require() {
    require "librabbitmq-dev" "the client of RabbitMQ" has_header amqp.h
    require "rabbitmq-server" "the broker" test -x /usr/lib/rabbitmq/bin/rabbitmq-server
    require "python3-pika" "a receiver in another language" /usr/bin/python3 -c "'import pika'"
}

free_port() {
    /usr/bin/python3 -c '
import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])'
}

broker_prepare() {
    broker_folder=$1
    mkdir -p "$broker_folder/home"
    local port
    port=$(free_port)
    broker_url=amqp://guest:guest@127.0.0.1:$port
    echo '[].' >"$broker_folder/enabled_plugins"
    cat >"$broker_folder/rabbitmq.conf" <<END
listeners.tcp.1 = 127.0.0.1:$port
log.file.level = warning
END
    broker_environment=(
        "HOME=$broker_folder/home"
        "RABBITMQ_NODENAME=interlock$port@localhost"
        "RABBITMQ_MNESIA_BASE=$broker_folder/data"
        "RABBITMQ_LOG_BASE=$broker_folder/log"
        "RABBITMQ_CONFIG_FILE=$broker_folder/rabbitmq.conf"
        "RABBITMQ_ENABLED_PLUGINS_FILE=$broker_folder/enabled_plugins"
        "RABBITMQ_PID_FILE=$broker_folder/pid"
        "RABBITMQ_DIST_PORT=$(free_port)"
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}"
        "ERL_EPMD_PORT=$(free_port)"
        "ERL_EPMD_ADDRESS=127.0.0.1"
    )
    # Erlang's registry of nodes, which the server would start by itself and leave behind.
    env "${broker_environment[@]}" epmd >"$broker_folder/epmd.txt" 2>&1 &
    epmd_pid=$!
}

broker_start() {
    rm -f "$broker_folder/pid"
    env "${broker_environment[@]}" /usr/lib/rabbitmq/bin/rabbitmq-server \
        >>"$broker_folder/server.txt" 2>&1 &
    local address=${broker_url##*@} attempt
    for attempt in {1..600}; do
        # A server that answers to the first bytes of the protocol is ready.
        if /usr/bin/python3 - "${address%:*}" "${address#*:}" <<'END' 2>/dev/null
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 1) as s:
    s.settimeout(2)
    s.sendall(b"AMQP\x00\x00\x09\x01")
    sys.exit(0 if s.recv(1) else 1)
END
        then
            broker_pid=$(<"$broker_folder/pid")
            return 0
        fi
        sleep 0.2
    done
    echo "rabbitmq-server does not answer:" >&2
    tail -n 20 "$broker_folder/server.txt" >&2
    return 1
}

broker_disturb() {
    kill -STOP "$broker_pid"
    sleep 7
    kill -CONT "$broker_pid"
}

broker_kill() {
    kill -9 "$broker_pid" 2>/dev/null || true
    while kill -0 "$broker_pid" 2>/dev/null; do sleep 0.05; done
}

broker_stop() {
    [[ -z ${broker_pid:-} ]] || broker_kill
    [[ -z ${epmd_pid:-} ]] || kill "$epmd_pid" 2>/dev/null || true
}
