// SPDX-License-Identifier: BSL-1.0

// Asynchronous calls from pools of threads, strands and foreign executors: the results are the same on all of
// them, and each completion runs where its handler says.
//
// How it works: many coroutines add to the same three states and count the steps at which they found
// themselves on another executor than their own; that count must be zero, and the sum must be right. Stores
// that hang or throw are wrappers of a memory store.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
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
    "pools of every size give the same results, with and without strands", "[core][executors]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const threads = GENERATE(std::size_t{1}, std::size_t{2}, std::size_t{16});
    auto const strands = GENERATE(false, true);
    check_pool<TestType>(Memory{}, threads, strands);
    check_pool<TestType>(BlockingRepository<Memory>{Memory{}}, threads, strands);
}

TEMPLATE_TEST_CASE(
    "a handler's own executor is where it completes, whoever makes progress", "[core][executors]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
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
        asio::co_spawn(pool, add_in_turn(service, Anywhere{}), [&](std::exception_ptr e, int) {
            completed += e ? 0 : 1;
        });
        service.async_do_in_transaction(
            "a", add, patient,
            asio::bind_executor(asio::any_io_executor(foreign.get_executor()), [&](std::exception_ptr e) {
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
    // Every third of 20 rounds, begun with "a".
    CHECK(repository.load("a")->value.quantity == callers + callers * 7);
}

TEST_CASE(
    "an execution context at the address of a destroyed one is not taken for that one", "[core][executors]")
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
            "a", add,
            asio::bind_executor(context->get_executor(), [&](std::exception_ptr e) { called += e ? 0 : 1; }));
        context->run();
        // This one is still there when its context ends, and is never called.
        auto const lock = locks.acquire("a");
        locks.async_acquire(
            "a", asio::bind_executor(context->get_executor(), [&](auto, auto) { called += 1000; }));
        context.reset();
    }
    CHECK(called == 20);
    CHECK(locks.try_acquire("a"));
}

using RowLocks = TransactionService<Stock, PessimisticRowLock, BlockingRepository<Memory>>;

/// A blocking store of which the first `count` calls that lock a row do not return until the gate is open.
struct Crowded {
    explicit Crowded(int count)
    {
        static_cast<void>(store.inner().insert(Stock{"free", 0}).value());
        for (int i = 0; i < count; ++i)
            static_cast<void>(store.inner().insert(Stock{"locked" + std::to_string(i), 0}).value());
        store.before_calls([this, count](std::string_view call) {
            if (call == "load_for_update" && locking++ < count)
                gate.pass();
        });
        for (int i = 0; i < count; ++i) {
            auto const add = [](Stock& s) { ++s.quantity; };
            service.async_try_do_in_transaction(
                "locked" + std::to_string(i), add, {.deadline = 60s},
                asio::bind_executor(
                    pool, [this](std::exception_ptr, Outcome<void> o) { applied += o.has_value(); }));
        }
        pressed = gate.wait_for(count);
    }
    ~Crowded()
    {
        gate.open();
        pool.join();
    }
    Crowded(Crowded const&) = delete;
    Crowded& operator=(Crowded const&) = delete;

    BlockingRepository<Memory> store{Memory{}};
    RowLocks service{PessimisticRowLock{}, store};
    asio::thread_pool pool{2};
    interlock_test::Gate gate;
    std::atomic<int> locking{0};
    std::atomic<int> applied{0};
    bool pressed{false};
};

auto const add_free = [](Stock& s) { return ++s.quantity; };

TEST_CASE(
    "calls that wait for locked rows do not take the thread that a call for a free row needs",
    "[core][executors][threads]")
{
    Crowded crowd{8};
    REQUIRE(crowd.pressed);
    auto const answer =
        crowd.service.async_do_in_transaction("free", add_free, {.deadline = 30s}, asio::use_future);
    auto waited = crowd.service.async_try_do_in_transaction(
        "free", add_free, {.deadline = 30s}, asio::bind_executor(crowd.pool, asio::use_future));
    CHECK(answer.wait_for(20s) == std::future_status::ready);
    CHECK(waited.get());
    CHECK(crowd.applied == 0);
}

TEST_CASE("a store call that gets no thread by its deadline is never made", "[core][executors][threads]")
{
    Crowded crowd{16};
    REQUIRE(crowd.pressed);
    auto const begin = std::chrono::steady_clock::now();
    auto ended = crowd.service.async_try_do_in_transaction(
        "free", add_free, {.deadline = 200ms}, asio::bind_executor(crowd.pool, asio::use_future));
    auto const outcome = ended.get();
    CHECK(outcome.errc() == Errc::deadline_exceeded);
    CHECK(std::chrono::steady_clock::now() - begin < 5s);

    asio::cancellation_signal signal;
    std::promise<Errc> promise;
    crowd.service.async_try_do_in_transaction(
        "free", add_free, {.deadline = 60s},
        asio::bind_cancellation_slot(
            signal.slot(), asio::bind_executor(crowd.pool, [&](std::exception_ptr, Outcome<int> o) {
                promise.set_value(o.errc());
            })));
    std::this_thread::sleep_for(50ms);
    signal.emit(asio::cancellation_type::terminal);
    CHECK(promise.get_future().get() == Errc::cancelled);
    CHECK(std::chrono::steady_clock::now() - begin < 20s);

    LockStateService const locks{crowd.store};
    std::promise<error_code> acquired;
    locks.async_acquire(
        "free", {.deadline = 200ms},
        asio::bind_executor(crowd.pool, [&](error_code error, auto) { acquired.set_value(error); }));
    CHECK(acquired.get_future().get() == Errc::deadline_exceeded);

    CHECK(crowd.locking == 16);
    crowd.gate.open();
    CHECK(interlock_test::eventually([&] { return crowd.applied == 16; }));
    CHECK(crowd.store.inner().load("free")->value.quantity == 0);
}

TEST_CASE(
    "a store call that runs on a thread already is not taken back at the deadline",
    "[core][executors][threads]")
{
    for (std::string_view const slow : {"load", "compare_and_set"}) {
        CAPTURE(slow);
        BlockingRepository<Memory> const store{Memory{}};
        store.inner().insert(Stock{"x", 0}).value();
        store.before_calls([=](std::string_view call) {
            if (call == slow)
                std::this_thread::sleep_for(500ms);
        });
        TransactionService const service{OptimisticVersioning{}, store};
        Outcome<int> outcome = 0;
        auto const took = interlock_test::time_of([&] {
            outcome = service
                          .async_try_do_in_transaction(
                              "x", [](Stock& s) { return ++s.quantity; }, {.deadline = 100ms},
                              boost::asio::use_future)
                          .get();
        });
        // Behind its deadline, but not before it is known what it came to.
        CHECK(took >= 500ms);
        CHECK(store.inner().load("x")->value.quantity == (outcome ? 1 : 0));
    }
}

TEST_CASE("a store that hangs does not cost another store its locks", "[core][executors][threads]")
{
    BlockingRepository<Memory> const hung{Memory{}};
    BlockingRepository<Memory> const healthy{Memory{}};
    LockStateService const of_hung{hung, LockOptions{.ttl = 1s}};
    LockStateService const of_healthy{healthy, LockOptions{.ttl = 2s}};
    interlock_test::Gate gate;
    std::vector<Lock<Stock>> held;
    for (int i = 0; i < 32; ++i)
        held.push_back(of_hung.acquire("lock" + std::to_string(i)));
    auto const lock = of_healthy.acquire("lock");
    hung.before_calls([&](std::string_view call) {
        if (call == "renew")
            gate.pass();
    });
    REQUIRE(gate.wait_for(4));
    std::this_thread::sleep_for(4s);
    CHECK(lock.status() == LockStatus::held);
    gate.open();
    hung.before_calls({});
}

TEST_CASE(
    "an exception that leaves a store ends the call, and not the executor", "[core][executors][threads]")
{
    BlockingRepository<Memory> const store{Memory{}};
    static_cast<void>(store.inner().insert(Stock{"free", 0}).value());
    TransactionService const service{OptimisticVersioning{.max_attempts = 2}, store};
    asio::io_context io;
    auto const outcome_of = [&](std::string_view throws) {
        store.before_calls([throws](std::string_view call) {
            if (call == throws)
                throw std::runtime_error("out of the traits");
        });
        std::optional<Outcome<int>> outcome;
        service.async_try_do_in_transaction(
            "free", add_free, {.deadline = 30s},
            asio::bind_executor(io, [&](std::exception_ptr e, Outcome<int> o) {
                CHECK_FALSE(e);
                outcome = std::move(o);
            }));
        io.restart();
        CHECK_NOTHROW(io.run());
        REQUIRE(outcome);
        CHECK(service.try_do_in_transaction("free", add_free).errc() == outcome->errc());
        store.before_calls({});
        return std::pair{outcome->errc(), outcome->cause()};
    };
    CHECK(outcome_of("load") == std::pair{Errc::corrupt_state, Errc::ok});
    // Sent, or not.
    CHECK(outcome_of("compare_and_set") == std::pair{Errc::outcome_unknown, Errc::corrupt_state});
    LockStateService const locks{store};
    store.before_calls([](std::string_view call) {
        if (call == "create")
            throw std::runtime_error("out of the traits");
    });
    std::optional<error_code> error;
    locks.async_acquire("free", asio::bind_executor(io, [&](error_code e, auto) { error = e; }));
    io.restart();
    CHECK_NOTHROW(io.run());
    CHECK(error);
    CHECK(*error);
}

TEST_CASE(
    "an exception of a completion handler leaves by its executor, after the call has ended",
    "[core][executors]")
{
    Memory const repository;
    static_cast<void>(repository.insert(Stock{"a", 0}).value());
    TransactionService const service{OptimisticVersioning{}, repository};
    asio::io_context io;
    service.async_try_do_in_transaction(
        "a", add_free,
        asio::bind_executor(io, [](std::exception_ptr, Outcome<int>) { throw std::runtime_error("mine"); }));
    CHECK_THROWS_AS(io.run(), std::runtime_error);
    CHECK(repository.load("a")->value.quantity == 1);
    CHECK(service.do_in_transaction("a", add_free) == 2);
    io.restart();
    CHECK(io.run() == 0);
}

}  // namespace executors_test
