// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/interlock.hpp>

#include "contestants.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <utility>
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
Sections sections(Plan const& plan, char const* kind)
{
    TransactionService const service{Policy{}, repository(plan, kind)};
    auto keys = names();
    for (auto const& key : keys)
        static_cast<void>(service.repository().insert(Stock{key, 0}).value());
    return [service, keys = std::move(keys)](int i) {
        service.do_in_transaction(name_of(keys, i), [](Stock& stock) { ++stock.quantity; });
    };
}

template <class Locks>
Sections locking(Locks const& locks)
{
    return [locks, keys = names()](int i) {
        auto lock = locks.acquire(name_of(keys, i));
        if (!locks.release(lock))
            throw std::runtime_error("a release failed");
    };
}

}  // namespace

Sections interlock_lock(Plan const& plan)
{
    return locking(LockStateService{repository(plan, "lock")});
}

Sections interlock_efficiency_lock(Plan const& plan)
{
    return locking(EfficiencyLockStateService<Stock, Store>{repository(plan, "efficiency")});
}

Sections interlock_section(Plan const& plan)
{
    return sections<SetNxLock>(plan, "section");
}
Sections interlock_optimistic(Plan const& plan)
{
    return sections<OptimisticVersioning>(plan, "optimistic");
}

double interlock_hot_lock(Plan const& plan)
{
    LockStateService const locks{repository(plan, "hotlock")};
    std::atomic<long> sum{0};
    return per_second_of_many(
        plan.seconds,
        [&] {
            return [&] {
                auto lock = locks.acquire("sku", {.deadline = std::chrono::seconds{60}});
                // The sum is exact only because the lock is held.
                sum.store(sum.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
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
