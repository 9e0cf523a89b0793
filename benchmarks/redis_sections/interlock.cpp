// SPDX-License-Identifier: BSL-1.0

#include "contestants.hpp"

#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace interlock;
using Store = redis::StateRepository<Stock>;

Store repository(Plan const& plan, char const* kind)
{
    return Store{redis::Client{plan.options(kind)}};
}

std::vector<std::string> names()
{
    std::vector<std::string> out;
    for (int i = 0; i < keys_per_run; ++i)
        out.push_back("sku-" + std::to_string(i));
    return out;
}

template <class Policy>
double sections(Plan const& plan, char const* kind)
{
    TransactionService const service{Policy{}, repository(plan, kind)};
    auto const keys = names();
    for (auto const& key : keys)
        static_cast<void>(service.repository().insert(Stock{key, 0}).value());
    return per_second(plan.seconds, [&](int i) {
        service.do_in_transaction(keys[static_cast<std::size_t>(i)], [](Stock& stock) { ++stock.quantity; });
    });
}

}  // namespace

double interlock_lock(Plan const& plan)
{
    LockStateService const locks{repository(plan, "lock")};
    auto const keys = names();
    return per_second(plan.seconds, [&](int i) {
        auto lock = locks.acquire(keys[static_cast<std::size_t>(i)]);
        if (!locks.release(lock))
            throw std::runtime_error("a release failed");
    });
}

double interlock_efficiency_lock(Plan const& plan)
{
    EfficiencyLockStateService<Stock, Store> const locks{repository(plan, "efficiency")};
    auto const keys = names();
    return per_second(plan.seconds, [&](int i) {
        auto lock = locks.acquire(keys[static_cast<std::size_t>(i)]);
        if (!locks.release(lock))
            throw std::runtime_error("a release failed");
    });
}

double interlock_section(Plan const& plan) { return sections<SetNxLock>(plan, "section"); }
double interlock_optimistic(Plan const& plan) { return sections<OptimisticVersioning>(plan, "optimistic"); }

double interlock_hot_lock(Plan const& plan)
{
    LockStateService const locks{repository(plan, "hotlock")};
    std::atomic<long> sum{0};
    return per_second_of_many(
        plan.seconds,
        [&] {
            return [&] {
                auto lock = locks.acquire("sku", {.deadline = std::chrono::seconds{60}});
                sum.store(sum.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // exact under the lock only
                if (!locks.release(lock))
                    throw std::runtime_error("a release failed");
            };
        },
        [&] { return sum.load(); });
}

double interlock_hot_section(Plan const& plan)
{
    TransactionService const service{SetNxLock{}, repository(plan, "hot")};
    static_cast<void>(service.repository().insert(Stock{"sku", 0}).value());
    return per_second_of_many(
        plan.seconds,
        [&] {
            return [&] {
                service.do_in_transaction(
                    "sku", [](Stock& stock) { ++stock.quantity; }, {.deadline = std::chrono::seconds{60}});
            };
        },
        [&] { return static_cast<long>(service.repository().load("sku")->value.quantity); });
}
