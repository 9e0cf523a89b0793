# shellcheck shell=bash
#
# Sourced by cmake/packages.sh: the Debian packages of the PostgreSQL store, to build with it and to test it.

# A URL of this store matches it.
postgres_urls='postgres'

require_to_build_postgres() {
    require "pkg-config" "finds client libraries that have no CMake package" command -v pkg-config
    require "libpqxx-dev" "the client library of the PostgreSQL backend" has_header pqxx/version
}

require_to_test_postgres() {
    require "postgresql" "tests of the PostgreSQL backend start servers of their own on private sockets" \
        "compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb"
    require "pgbouncer" "a pooler between the PostgreSQL backend and its server, to be noticed" \
        command -v pgbouncer
    require "locales" "a server and a client library that speak German" \
        test -e /usr/share/i18n/locales/de_DE
}
