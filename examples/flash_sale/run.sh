# shellcheck shell=bash
#
# What examples/run does for flash_sale besides.

require_for_program() {
    require "libcli11-dev" "the command line of flash_sale" has_header CLI/CLI.hpp
}
