// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "contestants.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace interlock;
namespace asio = boost::asio;
using Store = redis::StateRepository<Stock>;

constexpr std::chrono::seconds patience{60};

void rethrow(std::exception_ptr failed)
{
    if (failed)
        std::rethrow_exception(failed);
}

template <class Locks>
asio::awaitable<void> lock_again_and_again(Locks locks, std::string key, Meter& meter, std::size_t i)
{
    AcquireOptions const options{.deadline = patience};
    do {
        auto lock = co_await locks.async_acquire(key, options, asio::use_awaitable);
        meter.granted(i);
        co_await locks.async_release(std::move(lock), asio::use_awaitable);
    } while (meter.ended(i));
}

/// Runs `waiters` coroutines on one thread and one connection. `key(i)` is the key of the i-th coroutine.
template <Assurance Level, class KeyOf>
void coroutines(Plan const& plan, char const* kind, std::size_t waiters, bool with_waits, KeyOf key)
{
    asio::io_context io{1};
    LockStateService<Stock, Store, Level> const locks{Store{redis::Client{io, plan.options(kind)}}};
    auto const run = [&](Meter& meter, std::string const& prefix) {
        for (std::size_t i = 0; i < waiters; ++i)
            asio::co_spawn(io, lock_again_and_again(locks, prefix + key(i), meter, i), rethrow);
        io.restart();
        io.run();
    };
    Meter warm{waiters, std::min(plan.seconds, 0.1)};
    warm.start_now();
    run(warm, "warm");
    Meter meter{waiters, plan.seconds, with_waits};
    meter.start_when_told();
    run(meter, "key");
    meter.print();
}

std::string one(std::size_t)
{
    return {};
}
std::string each(std::size_t i)
{
    return std::to_string(i);
}

constexpr std::size_t callers = 64;

/// The value that all callers increment. At the end it must be exact.
class Counted {
public:
    explicit Counted(redis::Client client) : service_(SetNxLock{}, Store{std::move(client)})
    {
        static_cast<void>(service_.repository().insert(Stock{key, 0}).value());
    }
    auto const& service() const noexcept { return service_; }
    void expect(long sections) const
    {
        if (auto const value = service_.repository().load(key).value().value.quantity; value != sections)
            throw std::runtime_error(
                "lost updates: " + std::to_string(value) + " of " + std::to_string(sections));
    }

    static inline std::string const key = "sku";

private:
    TransactionService<Stock, SetNxLock, Store> service_;
};

constexpr auto add_one = [](Stock& stock) { ++stock.quantity; };

asio::awaitable<void> increment_again_and_again(Counted const& counted, Meter& meter, std::size_t i)
{
    CallOptions const options{.deadline = patience};
    do
        co_await counted.service().async_do_in_transaction(
            Counted::key, add_one, options, asio::use_awaitable);
    while (meter.ended(i));
}

}  // namespace

void distinct_fenced(Plan const& plan, Arguments const&)
{
    coroutines<Assurance::fenced>(plan, "distinct", 512, false, each);
}
void distinct_efficiency(Plan const& plan, Arguments const&)
{
    coroutines<Assurance::efficiency>(plan, "efficiency", 512, false, each);
}
void one_key(Plan const& plan, Arguments const&)
{
    coroutines<Assurance::fenced>(plan, "one", callers, false, one);
}
void processes(Plan const& plan, Arguments const&)
{
    coroutines<Assurance::fenced>(plan, "processes", 16, true, one);
}

void section(Plan const& plan, Arguments const&)
{
    asio::io_context io{1};
    Counted const counted{redis::Client{io, plan.options("section")}};
    auto const run = [&](Meter& meter) {
        for (std::size_t i = 0; i < callers; ++i)
            asio::co_spawn(io, increment_again_and_again(counted, meter, i), rethrow);
        io.restart();
        io.run();
    };
    Meter warm{callers, std::min(plan.seconds, 0.1)};
    warm.start_now();
    run(warm);
    Meter meter{callers, plan.seconds};
    meter.start_when_told();
    run(meter);
    counted.expect(warm.total() + meter.total());
    meter.print();
}

void section_threads(Plan const& plan, Arguments const&)
{
    Counted const counted{redis::Client{plan.options("threads")}};
    std::mutex mutex;
    auto const run = [&](Meter& meter) {
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < callers; ++i)
            threads.emplace_back([&, i] {
                bool more = true;
                while (more) {
                    counted.service().do_in_transaction(Counted::key, add_one, {.deadline = patience});
                    std::lock_guard lock(mutex);
                    more = meter.ended(i);
                }
            });
        for (auto& thread : threads)
            thread.join();
    };
    Meter warm{callers, std::min(plan.seconds, 0.1)};
    warm.start_now();
    run(warm);
    Meter meter{callers, plan.seconds};
    meter.start_when_told();
    run(meter);
    counted.expect(warm.total() + meter.total());
    meter.print();
}
