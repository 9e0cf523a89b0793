// SPDX-License-Identifier: BSL-1.0

// Shows where metrics come from: an observer is told of every end, conflict and retry, and costs nothing when
// absent.
// Needs: nothing.
// Run with: observer

#include <interlock/core/format.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <string>
#include <vector>

namespace il = interlock;

struct Counter {
    std::string name;
    int value = 0;
};
BOOST_DESCRIBE_STRUCT(Counter, (), (name, value))

/// Called on whatever thread the event happens on, so its members are atomic. It must outlive the services it
/// watches.
class Metrics final : public il::Observer {
public:
    void on_transaction(il::TransactionEvent const& event) noexcept override
    {
        ++transactions;
        attempts += event.attempts;
        if (event.result != il::Errc::ok)
            ++failures;
    }
    void on_conflict(il::RetryEvent const&) noexcept override { ++conflicts; }
    void on_acquire(il::AcquireEvent const& event) noexcept override
    {
        if (event.handed_on)
            ++handed_on;
    }

    std::atomic<int> transactions{0}, attempts{0}, failures{0}, conflicts{0}, handed_on{0};
};

template <class Policy>
int count(Policy policy, Metrics& metrics)
{
    il::memory::StateRepository<Counter> counters;
    counters.insert({"clicks", 0}).value();
    il::TransactionService service{policy, counters, {.observer = &metrics}};
    std::vector<std::future<void>> workers;
    for (int i = 0; i < 4; ++i)
        workers.push_back(std::async(std::launch::async, [&] {
            for (int n = 0; n < 5000; ++n)
                service.do_in_transaction("clicks", [](Counter& c) { ++c.value; });
        }));
    for (auto& worker : workers)
        worker.get();
    static_cast<void>(service.try_do_in_transaction("no such counter", [](Counter&) {}));
    return counters.load("clicks").value().value.value;
}

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    Metrics optimistic;
    check(count(il::OptimisticVersioning{}, optimistic) == 20000);
    fmt::print(
        "optimistic: {} calls, {} attempts, {} conflicts\n", optimistic.transactions.load(),
        optimistic.attempts.load(), optimistic.conflicts.load());
    check(optimistic.transactions == 20001 && optimistic.failures == 1);
    check(optimistic.attempts == optimistic.transactions + optimistic.conflicts);

    Metrics locked;
    check(count(il::SetNxLock{}, locked) == 20000);
    fmt::print(
        "lock: {} calls, {} conflicts, {} locks handed on without asking the store\n",
        locked.transactions.load(), locked.conflicts.load(), locked.handed_on.load());
    check(locked.transactions == 20001 && locked.conflicts == 0);
}
