// SPDX-License-Identifier: BSL-1.0

// A shop that is busy on Redis and on PostgreSQL for a while, and whose metrics Prometheus can read: so that
// the panels of the dashboard have something to show. It is built by make.sh, for pictures only.
//
//     busy_shop redis://localhost postgresql://localhost 120 metrics.txt

#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/runtime/progress.hpp>
#include <interlock/interlock.hpp>
#include <interlock/observability/observed_repository.hpp>
#include <interlock/observability/prometheus.hpp>

#include <boost/describe/class.hpp>

#include <prometheus/text_serializer.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace il = interlock;
using namespace std::chrono_literals;

namespace {

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

il::CallOptions const patience{.deadline = 3s, .name = "sell"};

/// Whole or not at all, since somebody reads it at any time.
void write_metrics(il::PrometheusObserver const& metrics, std::string const& path)
{
    std::ofstream{path + ".new"} << prometheus::TextSerializer{}.Serialize(metrics.Collect());
    std::filesystem::rename(path + ".new", path);
}

std::string sku(unsigned i)
{
    return "sku-" + std::to_string(i % 3);
}

void sell(Stock& stock)
{
    std::this_thread::sleep_for(1ms);  // a business that thinks
    --stock.quantity;
}

/// Calls `once` with 0, 1, 2... until the end, a little after each other.
template <class F>
std::jthread worker(std::atomic<bool> const& over, F once)
{
    return std::jthread{[&over, once] {
        for (unsigned i = 0; !over; ++i) {
            once(i);
            std::this_thread::sleep_for(3ms);
        }
    }};
}

void be_busy(
    std::string const& redis_url, std::string const& postgres_url, std::chrono::seconds time,
    std::string const& path)
{
    il::PrometheusObserver metrics;
    auto redis_options = il::redis::Options::parse(redis_url).value();
    redis_options.observer = &metrics;
    il::redis::Client const client{redis_options};
    il::ObservedRepository const stock{il::redis::StateRepository<Stock>{client}, metrics};
    auto pool_options = il::postgres::Options::parse(postgres_url).value();
    pool_options.observer = &metrics;
    il::postgres::Pool const pool{pool_options};
    il::postgres::create_schema(pool).value();
    il::ObservedRepository const rows{il::postgres::StateRepository<Stock>{pool}, metrics};
    for (unsigned i = 0; i < 3; ++i) {
        static_cast<void>(stock.insert(Stock{sku(i), 1'000'000}));
        static_cast<void>(rows.insert(Stock{sku(i), 1'000'000}));
    }

    il::ServiceOptions const watched{.observer = &metrics};
    il::SetNxLock const lock{.lock = {.ttl = 600ms}};
    il::TransactionService const optimistic{il::OptimisticVersioning{}, stock, watched};
    il::TransactionService const locked{lock, stock, watched};
    il::TransactionService const row_locked{il::PessimisticRowLock{}, rows, watched};
    il::TransactionService const once{
        il::IdempotencyKeys{il::OptimisticVersioning{}, il::redis::IdempotencyStore{client}}, stock, watched};
    il::LockStateService const long_locks{stock, il::LockOptions{.ttl = 600ms, .observer = &metrics}};

    std::atomic<bool> over{false};
    std::vector<std::jthread> workers;
    for (unsigned w = 0; w < 3; ++w) {
        workers.push_back(worker(over, [&](unsigned i) {
            static_cast<void>(optimistic.try_do_in_transaction(sku(i), sell, patience));
        }));
        workers.push_back(worker(over, [&](unsigned i) {
            static_cast<void>(locked.try_do_in_transaction(sku(i), sell, patience));
        }));
        workers.push_back(worker(over, [&](unsigned i) {
            static_cast<void>(row_locked.try_do_in_transaction(sku(i), sell, patience));
        }));
    }
    workers.push_back(worker(over, [&](unsigned i) {
        auto const key = "order-" + std::to_string(i / 2);  // each is asked for twice
        il::IdempotentRequest const request{key, il::Scope{"shop"}};
        static_cast<void>(once.try_do_in_transaction(request, sku(i), sell, patience));
    }));
    // A lock that is held for long is renewed; now and then an operator takes it away.
    workers.push_back(worker(over, [&](unsigned i) {
        if (auto held = long_locks.acquire_outcome("report", il::Wait::no, {.deadline = 1s})) {
            std::this_thread::sleep_for(500ms);
            if (i % 8 == 7)
                static_cast<void>(stock.force_release(il::Key{std::string("report")}));
            std::this_thread::sleep_for(500ms);
        }
    }));

    auto const end = std::chrono::steady_clock::now() + time;
    il::Progress progress{std::cerr, "busy shop", static_cast<std::uint64_t>(time.count()), "s"};
    while (std::chrono::steady_clock::now() < end) {
        write_metrics(metrics, path);
        std::this_thread::sleep_for(500ms);
        auto const left = std::chrono::ceil<std::chrono::seconds>(end - std::chrono::steady_clock::now());
        progress.show(static_cast<std::uint64_t>((time - left).count()));
    }
    over = true;
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 5) {
        std::cerr << "usage: busy_shop REDIS POSTGRESQL SECONDS FILE\n";
        return 2;
    }
    try {
        be_busy(argv[1], argv[2], std::chrono::seconds{std::atoi(argv[3])}, argv[4]);
        return 0;
    } catch (std::exception const& error) {
        std::cerr << "busy_shop: " << error.what() << '\n';
        return 1;
    }
}
