// SPDX-License-Identifier: BSL-1.0

// Asynchronous calls from pools of threads, strands and foreign executors: the same results, and every completion where
// its handler says.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/states.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace executors_test {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::BlockingRepository;
using interlock_test::Stock;

using Memory = memory::StateRepository<Stock>;

constexpr int callers = 16;
constexpr int rounds = 20;
std::array<std::string, 3> const names{"a", "b", "c"};

/// Whether this is a thread of `executor`.
template <class Executor>
struct On {
    explicit On(Executor e) : executor(std::move(e)) {}
    Executor executor;
    bool operator()() const { return executor.running_in_this_thread(); }
};
struct Anywhere {
    bool operator()() const { return true; }
};

template <class Service, class Here>
asio::awaitable<int> add_in_turn(Service const& service, Here here)
{
    int elsewhere = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
        auto const add = [](Stock& s) { return ++s.quantity; };
        CallOptions const patient{.deadline = 60s};
        co_await service.async_do_in_transaction(names[i % names.size()], add, patient, asio::use_awaitable);
        elsewhere += here() ? 0 : 1;
    }
    co_return elsewhere;
}

/// `executor` for the coroutines of all callers or, with strands, a strand of it for each.
template <class Policy, class Repository>
void check_pool(Repository repository, std::size_t threads, bool strands)
{
    for (auto const& name : names)
        static_cast<void>(repository.insert(Key{name}, Stock{name, 0}, Deadline{}).value());
    TransactionService const service{Policy{}, repository};
    asio::thread_pool pool(threads);
    std::vector<std::future<int>> ends;
    for (int i = 0; i < callers; ++i) {
        if (strands) {
            auto const strand = asio::make_strand(pool.get_executor());
            ends.push_back(asio::co_spawn(strand, add_in_turn(service, On{strand}), asio::use_future));
        } else {
            auto const executor = pool.get_executor();
            ends.push_back(asio::co_spawn(executor, add_in_turn(service, On{executor}), asio::use_future));
        }
    }
    int elsewhere = 0;
    for (auto& end : ends)
        elsewhere += end.get();
    pool.join();
    CHECK(elsewhere == 0);
    int sum = 0;
    for (auto const& name : names)
        sum += repository.load(Key{name}, Deadline{})->value.quantity;
    CHECK(sum == callers * rounds);
}

TEMPLATE_TEST_CASE(
    "pools of every size give the same results, with and without strands", "[core][executors]", OptimisticVersioning,
    PessimisticRowLock, SetNxLock)
{
    auto const threads = GENERATE(std::size_t{1}, std::size_t{2}, std::size_t{16});
    auto const strands = GENERATE(false, true);
    check_pool<TestType>(Memory{}, threads, strands);
    check_pool<TestType>(BlockingRepository<Memory>{Memory{}}, threads, strands);
}

TEMPLATE_TEST_CASE(
    "a handler's own executor is where it completes, whoever makes progress", "[core][executors]", OptimisticVersioning,
    PessimisticRowLock, SetNxLock)
{
    Memory const repository;
    for (auto const& name : names)
        static_cast<void>(repository.insert(Stock{name, 0}).value());
    TransactionService const service{TestType{}, repository};
    asio::thread_pool pool(2);
    asio::io_context foreign;
    auto work = asio::make_work_guard(foreign);
    std::atomic<int> completed{0};
    int elsewhere = 0;  // written where all handlers run: on this thread
    for (int i = 0; i < callers; ++i) {
        auto const add = [](Stock& s) { ++s.quantity; };
        CallOptions const patient{.deadline = 60s};
        // Half of them from the pool, whose threads then hold the key that the others wait for.
        asio::co_spawn(
            pool, add_in_turn(service, Anywhere{}), [&](std::exception_ptr e, int) { completed += e ? 0 : 1; });
        service.async_do_in_transaction(
            "a", add, patient, asio::bind_executor(asio::any_io_executor(foreign.get_executor()), [&](std::exception_ptr e) {
                elsewhere += foreign.get_executor().running_in_this_thread() && !e ? 0 : 1;
                if (++completed == 2 * callers)
                    work.reset();
            }));
    }
    auto const end = std::chrono::steady_clock::now() + 60s;
    while (completed < 2 * callers && std::chrono::steady_clock::now() < end)
        foreign.run_one_for(10ms);
    pool.join();
    CHECK(completed == 2 * callers);
    CHECK(elsewhere == 0);
    CHECK(repository.load("a")->value.quantity == callers + callers * 7);  // every third of 20 rounds, begun with "a"
}

TEST_CASE("a context at the address of an earlier one is another one", "[core][executors]")
{
    Memory const repository;
    static_cast<void>(repository.insert(Stock{"a", 0}).value());
    TransactionService const service{PessimisticRowLock{}, repository};
    LockStateService const locks{repository};
    std::optional<asio::io_context> context;
    int called = 0;
    for (int i = 0; i < 20; ++i) {
        context.emplace();
        auto const add = [](Stock& s) { ++s.quantity; };
        service.async_do_in_transaction(
            "a", add, asio::bind_executor(context->get_executor(), [&](std::exception_ptr e) { called += e ? 0 : 1; }));
        context->run();
        // This one is still there when its context ends, and is never called.
        auto const lock = locks.acquire("a");
        locks.async_acquire("a", asio::bind_executor(context->get_executor(), [&](auto, auto) { called += 1000; }));
        context.reset();
    }
    CHECK(called == 20);
    CHECK(locks.try_acquire("a"));
}

}  // namespace executors_test
