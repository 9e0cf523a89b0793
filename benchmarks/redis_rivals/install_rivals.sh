#!/usr/bin/env bash
#
# Installs what benchmark_redis_rivals is compared with: redis-py from the distribution, redlock and ioredis
# from npm. What cannot be had is left out, and the program says so.

set -euo pipefail

here=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
if [[ $# -ne 1 || $1 == -* ]]; then
    echo "usage: install_rivals.sh DIRECTORY (of the build: build/release/benchmarks/rivals)" >&2
    exit 2
fi
source "$here/../../cmake/packages.sh"

require "python3-redis" "redis-py's Lock" '/usr/bin/python3 -c "import redis"'
install_required || echo "redis-py is left out" >&2

mkdir -p -- "$1"
cp -- "$here/package.json" "$1/"
if ! command -v npm >/dev/null; then
    echo "redlock is left out: there is no npm (nodejs, npm)" >&2
elif ! (cd -- "$1" && npm install --no-audit --no-fund --no-package-lock); then
    echo "redlock is left out: npm could not install it" >&2
fi
