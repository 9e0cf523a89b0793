# shellcheck shell=bash
#
# Sourced by cmake/packages.sh: the Debian packages of the Redis store, to build with it and to test it.

# A URL of this store matches it.
redis_urls='redis|unix:'

require_to_build_redis() {
    require "pkg-config" "finds client libraries that have no CMake package" command -v pkg-config
    require "libhiredis-dev" "the codec of the Redis backend" has_header hiredis/hiredis.h
}

require_to_test_redis() {
    require "libssl-dev" "TLS of the Redis backend, and the certificates of its tests" \
        has_header openssl/ssl.h
    require "redis-server" "tests of the Redis backend start servers of their own on private sockets" \
        command -v redis-server
    wish "python3-redis" "a program in another language that hears of events" \
        /usr/bin/python3 -c "'import redis'"
}

# The tests run once more on each of these servers that is installed, and find its name in
# INTERLOCK_REDIS_SERVER.
redis_also_on=(valkey-server)
redis_server_variable=INTERLOCK_REDIS_SERVER
