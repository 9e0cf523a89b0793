# shellcheck shell=bash
#
# What examples/run does for dlock besides.

require_for_program() {
    require "libcli11-dev" "the command line of dlock" has_header CLI/CLI.hpp
    # It may be told its store by the environment.
    for store in "${client_stores[@]}"; do
        urls=${store}_urls
        [[ ! "${DLOCK_STORE:-}" =~ ${!urls} ]] || "require_to_build_$store"
    done
}
