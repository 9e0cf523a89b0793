# shellcheck shell=bash
#
# Sourced by tests/run and examples/run: installs Debian packages, those that are missing only.
#
#   require "<packages, the first known one is taken>" "<what it is for>" <command: is it there?>
#   wish ...: the same, but where there is no such package, it is done without
#   install_required

required_packages=()
required_reasons=()
required_checks=()
required_kinds=()

require() {
    required_packages+=("$1")
    required_reasons+=("$2")
    required_checks+=("${*:3}")
    required_kinds+=(required)
}

wish() {
    require "$@"
    required_kinds[-1]=wished
}

# has_header <header> [<minimum> <macro>]: is <header> there, with at least <minimum> as the value of <macro>?
has_header() {
    local file="/usr/include/$1"
    [[ -f $file ]] || file="/usr/local/include/$1"
    [[ -f $file ]] || return 1
    [[ $# -eq 1 ]] || awk -v name="$3" -v minimum="$2" \
        '$1 == "#define" && $2 == name { found = $3 >= minimum } END { exit !found }' "$file"
}

run_as_root() {
    local code=0 command=("$@")
    if [[ $EUID -ne 0 ]]; then
        if ! command -v sudo >/dev/null; then
            echo "not root, and there is no sudo, so this cannot be run: $*" >&2
            return 1
        fi
        command=(sudo "$@")
    fi
    "${command[@]}" || code=$?
    if [[ $code -ne 0 ]]; then
        echo "this command failed with exit code $code: ${command[*]}" >&2
    fi
    return $code
}

install_required() {
    local missing=() packages=() index candidate chosen
    for index in "${!required_packages[@]}"; do
        eval "${required_checks[index]}" >/dev/null 2>&1 || missing+=("$index")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0

    if ! command -v apt-get >/dev/null; then
        echo "there is no apt-get; please install:" >&2
        local code=0
        for index in "${missing[@]}"; do
            echo "  ${required_packages[index]}: ${required_reasons[index]} (${required_kinds[index]})" >&2
            [[ ${required_kinds[index]} == wished ]] || code=1
        done
        return $code
    fi
    run_as_root apt-get update -q || return
    for index in "${missing[@]}"; do
        chosen=
        for candidate in ${required_packages[index]}; do
            # Not grep -q: it ends at the first hit, and what is still being written to it then fails.
            if apt-cache policy "$candidate" | grep '^ *Candidate: [^(]' >/dev/null; then
                chosen=$candidate
                break
            fi
        done
        if [[ -z $chosen && ${required_kinds[index]} == wished ]]; then
            echo "no such package here, so it is done without: ${required_packages[index]}"
            required_checks[index]=true
            continue
        elif [[ -z $chosen ]]; then
            echo "no such package here: ${required_packages[index]} (${required_reasons[index]})" >&2
            return 1
        fi
        echo "installing $chosen: ${required_reasons[index]}"
        packages+=("$chosen")
    done
    [[ ${#packages[@]} -gt 0 ]] || return 0
    run_as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        "${packages[@]}" || return
    for index in "${missing[@]}"; do
        if ! eval "${required_checks[index]}" >/dev/null 2>&1; then
            echo "installed, but still not usable:" \
                "${required_packages[index]} (${required_reasons[index]})" >&2
            return 1
        fi
    done
}

# Both scripts need these.
require_toolchain() {
    require "g++" "the compiler" command -v g++
    require "cmake" "the build system" command -v cmake
    require "ninja-build" "runs the build" command -v ninja
    require "libboost1.81-dev libboost-dev" "Boost.Asio and Boost.Describe, 1.81 or newer" \
        has_header boost/version.hpp 108100 BOOST_VERSION
    require "libfmt-dev" "formatting" has_header fmt/core.h
}

# The stores that need a client library. Each says in components/<store>.sh what it needs:
# require_to_build_<store>, require_to_test_<store>, and a regular expression, <store>_urls.
client_stores=()
for store_file in "$(dirname -- "${BASH_SOURCE[0]}")"/components/*.sh; do
    source "$store_file"
    client_stores+=("$(basename "$store_file" .sh)")
done
