// SPDX-License-Identifier: BSL-1.0

// Goes through everything that a metric counts, and prints what Prometheus would read.

#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/interlock.hpp>
#include <interlock/observability/observed_repository.hpp>
#include <interlock/observability/prometheus.hpp>

#include "support/states.hpp"

#include <prometheus/text_serializer.h>

#include <chrono>
#include <cstdio>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::Stock;

void sell(PrometheusObserver& metrics)
{
    ObservedRepository const stock{memory::StateRepository<Stock>{}, metrics};
    stock.insert(Stock{"sku-1", 400}).value();
    TransactionService const optimistic{OptimisticVersioning{}, stock, {.observer = &metrics}};
    TransactionService const locked{SetNxLock{}, stock, {.observer = &metrics}};
    CallOptions const sell{.name = "sell"};
    int runs = 0;
    optimistic.do_in_transaction(
        "sku-1",
        [&](Stock& s) {
            if (++runs == 1) {  // somebody else is first
                auto const now = stock.load("sku-1").value();
                stock.compare_and_set("sku-1", now.version, now.value).value();
            }
            --s.quantity;
        },
        sell);
    locked.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; }, sell);
    static_cast<void>(optimistic.try_do_in_transaction("sku-2", [](Stock&) {}, sell));
    try {
        locked.do_in_transaction("sku-1", [](Stock&) { throw std::runtime_error("sold out"); }, sell);
    } catch (std::runtime_error const&) {
    }
    static_cast<void>(optimistic.try_do_in_transaction("sku-1", [](Stock& s) { ++s.quantity; }));
    // One label that is no UTF-8, and Prometheus takes nothing of all this.
    CallOptions const odd{.name = "sell \xff \"x\"\n"};
    static_cast<void>(optimistic.try_do_in_transaction("sku-1", [](Stock& s) { ++s.quantity; }, odd));
}

void hold_locks(PrometheusObserver& metrics)
{
    memory::StateRepository<Stock> const stock;
    stock.insert(Stock{"sku-1", 400}).value();
    LockStateService const locks{stock, LockOptions{.ttl = 300ms, .observer = &metrics}};
    {
        auto first = locks.acquire("sku-1");
        auto second = std::async(std::launch::async, [&] { return locks.acquire("sku-1"); });
        while (locks.waiter_count() == 0)
            std::this_thread::sleep_for(1ms);
        static_cast<void>(first.release());
        auto handed_on = second.get();
        std::this_thread::sleep_for(250ms);  // it is renewed
    }
    LockStateService const others{stock, LockOptions{.observer = &metrics}};
    {
        auto const held = others.acquire("sku-1");
        static_cast<void>(locks.try_acquire("sku-1"));
        try {
            static_cast<void>(locks.acquire("sku-1", {.deadline = 60ms}));
        } catch (Error const&) {
        }
    }
    auto lock = locks.acquire("sku-1");
    stock.force_release("sku-1").value();
    static_cast<void>(locks.write(lock, stock.load("sku-1").value().version, Stock{"sku-1", 1}));
    while (lock.status() != LockStatus::lost)
        std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(50ms);
    static_cast<void>(lock.release());
}

void ask_twice(PrometheusObserver& metrics)
{
    memory::StateRepository<Stock> const stock;
    stock.insert(Stock{"sku-1", 400}).value();
    memory::IdempotencyStore const keys;
    TransactionService const service{
        IdempotencyKeys{OptimisticVersioning{}, keys}, stock, {.observer = &metrics}};
    for (int i = 0; i < 2; ++i)
        static_cast<void>(service.do_in_transaction(
            IdempotentRequest{"key-1", Scope("ann"), fingerprint("5")}, "sku-1",
            [](Stock& s) { return --s.quantity; }));
    static_cast<void>(service.try_do_in_transaction(
        IdempotentRequest{"key-1", Scope("ann"), fingerprint("6")}, "sku-1",
        [](Stock& s) { return --s.quantity; }));
}

/// What needs a server, or one that loses replies: the stores' own tests make these events.
void tell_of_servers(PrometheusObserver& metrics)
{
    StoreInfo const store{"elsewhere", "table", "elsewhere_sql"};
    metrics.on_unknown({Errc::unavailable, Effect::unknown});
    metrics.on_unknown({Errc::unavailable, Effect::applied});
    metrics.on_connection({ConnectionEvent::Kind::opened, store});
    metrics.on_connection({ConnectionEvent::Kind::lost, store});
    metrics.on_pool_wait({store, Errc::ok, 3ms, 8, 2});
    metrics.on_pool_wait({store, Errc::overloaded, 5s, 8, 2});
}

}  // namespace

int main()
{
    PrometheusObserver metrics;
    sell(metrics);
    hold_locks(metrics);
    ask_twice(metrics);
    tell_of_servers(metrics);
    std::fputs(prometheus::TextSerializer{}.Serialize(metrics.Collect()).c_str(), stdout);
    return 0;
}
