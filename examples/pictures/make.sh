#!/usr/bin/env bash
#
# make.sh BUILD REDIS POSTGRESQL [PICTURE]...
#
# Makes the pictures of the guides anew, or those that are named: timeline, chart, dashboard, page. BUILD: the
# folder with the built programs (build/examples after examples/run). REDIS, POSTGRESQL: URLs of servers that
# may be used for it. It is not run by the tests: the pictures are to be looked at.
#
# Needs python3; for the dashboard g++, prometheus-cpp-dev and prometheus; for the page chromium.

set -euo pipefail

here=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -P -- "$here/../.." && pwd)
build=$1 redis=$2 postgres=$3
shift 3
wanted=${*:-timeline chart dashboard page}
work=$(mktemp -d "${TMPDIR:-/tmp}/interlock-pictures-XXXXXX")
started=()
clean_up() {
    [[ ${#started[@]} -eq 0 ]] || kill "${started[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT

timeline() {
    "$build/flash_sale" --backend "$redis" --policy lock --generate 3000 --skus 3 --workers 3 --processes 3 \
        --timeline "$work/run.json"
    python3 "$here/timeline.py" "$work/run.json" "$root/examples/flash_sale/timeline.svg" \
        --length 12
}

chart() {
    "$build/flash_sale" --policy all --generate 200000 --chart "$root/examples/flash_sale/chart.svg"
}

# Prometheus reads a file that the shop writes, by way of a web server of Python's.
dashboard() {
    local seconds=150 port=19191 at=19190
    g++ -std=c++20 -O1 -I "$root/include" -I /usr/include/postgresql "$here/busy_shop.cpp" \
        -o "$work/busy_shop" -lprometheus-cpp-core -lfmt -lpqxx -lpq -lhiredis -lssl -lcrypto -lpthread
    mkdir "$work/www"
    python3 -m http.server --bind 127.0.0.1 --directory "$work/www" "$port" >/dev/null 2>&1 &
    started+=($!)
    cat >"$work/prometheus.yml" <<EOF
global: {scrape_interval: 1s}
scrape_configs:
  - {job_name: shop, metrics_path: /metrics.txt, static_configs: [{targets: ["127.0.0.1:$port"]}]}
EOF
    prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" \
        --web.listen-address="127.0.0.1:$at" --log.level=error &
    started+=($!)
    "$work/busy_shop" "$redis" "$postgres" "$seconds" "$work/www/metrics.txt" &
    local shop=$! at_redis=(-u "$redis")
    [[ $redis != unix:* ]] || at_redis=(-s "${redis#unix://}")
    # Something for the panels about trouble: now and then Redis hangs up on everybody.
    while kill -0 "$shop" 2>/dev/null; do
        sleep 12
        redis-cli "${at_redis[@]}" client kill type normal >/dev/null || true
    done
    wait "$shop"
    python3 "$here/dashboard.py" "$root/examples/4_programs/dashboard/interlock.json" \
        "$root/examples/4_programs/dashboard/dashboard.svg" --prometheus "http://127.0.0.1:$at" --minutes 2
}

page() {
    python3 "$root/tests/payments/page.py" "$build/payments" postgres \
        "$root/examples/4_programs/payments/page.png"
}

for picture in $wanted; do
    "$picture"
done
