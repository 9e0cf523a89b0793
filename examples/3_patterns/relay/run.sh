# shellcheck shell=bash
#
# Sourced by examples/run. `show BROKER [STORE [EVENTS]]` does not run the program alone, but beside a broker
# of its own: see show.sh.

relay_folder=$root/examples/3_patterns/relay

require_for_program() {
    local broker=${2:-}
    if [[ ${1:-} == show ]]; then
        if [[ $broker != redis && $broker != rabbitmq ]]; then
            echo "examples/run: relay show needs the name of a broker: redis or rabbitmq" >&2
            exit 2
        fi
    elif [[ "$*" == *amqp:* ]]; then
        require "librabbitmq-dev" "the client of RabbitMQ" has_header amqp.h
        return
    else
        return 0
    fi
    source "$relay_folder/$broker.sh"
    broker_require
}

run_program() {
    if [[ ${2:-} == show ]]; then
        step "$relay_folder/show.sh" "$1" "${@:3}"
    else
        exec "$@"
    fi
}
