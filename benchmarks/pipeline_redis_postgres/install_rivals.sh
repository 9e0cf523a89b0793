#!/usr/bin/env bash
#
# Installs what benchmark_pipeline_redis_postgres is compared with, from npm: BullMQ, pg-boss and
# graphile-worker. What cannot be had is left out, and the program says so.

set -euo pipefail

here=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
if [[ $# -ne 1 || $1 == -* ]]; then
    echo "usage: install_rivals.sh DIRECTORY (of the build: build/release/benchmarks/queues)" >&2
    exit 2
fi

mkdir -p -- "$1"
cp -- "$here/package.json" "$1/"
if ! command -v npm >/dev/null; then
    echo "the queues are left out: there is no npm (nodejs, npm)" >&2
elif ! (cd -- "$1" && npm install --no-audit --no-fund --no-package-lock); then
    echo "the queues are left out: npm could not install them" >&2
fi
