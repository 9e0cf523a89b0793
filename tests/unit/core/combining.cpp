// SPDX-License-Identifier: BSL-1.0

// Operations that wait for the same state share a commit: exact results, shared outcomes, and nothing for
// those that have more to them than the state.

#include "unit/core/combining.hpp"

#include <interlock/core/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace combining_test {

namespace asio = boost::asio;
using interlock_test::run_threads;

template <class Policy>
void exact_for_threads(Policy policy)
{
    Slow const store;
    TransactionService const service{policy, store, unhurried};
    std::mutex mutex;
    std::multiset<int> answers;
    run_threads(16, [&](std::size_t) {
        for (int i = 0; i < 25; ++i) {
            int const answer = service.do_in_transaction("x", add_one);
            std::lock_guard const lock(mutex);
            answers.insert(answer);
        }
    });
    CHECK(store.quantity() == 400);
    REQUIRE(answers.size() == 400);
    int expected = 0;  // each saw what the one before left
    CHECK(std::all_of(answers.begin(), answers.end(), [&](int answer) { return answer == ++expected; }));
    CHECK(store.story->begun < 200);
    CHECK(store.story->commits < 200);
}

TEST_CASE("operations of many threads share loads and commits, and every one counts", "[core][combining]")
{
    SECTION("optimistic")
    {
        exact_for_threads(OptimisticVersioning{});
    }
    SECTION("row lock")
    {
        exact_for_threads(PessimisticRowLock{});
    }
    SECTION("lock")
    {
        exact_for_threads(SetNxLock{});
    }
}

TEST_CASE("asynchronous operations share them, too", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    asio::thread_pool pool(3);
    std::atomic<int> applied{0};
    for (int i = 0; i < 300; ++i)
        service.async_try_do_in_transaction(
            "x", add_one, {.deadline = 60s},
            asio::bind_executor(
                pool, [&](std::exception_ptr e, Outcome<int> outcome) { applied += !e && outcome; }));
    pool.join();
    CHECK(applied == 300);
    CHECK(store.quantity() == 300);
    CHECK(store.story->commits < 100);
}

TEST_CASE(
    "with combine = 1, with an id or with a context each operation has a commit of its own",
    "[core][combining]")
{
    Slow const store;
    SECTION("opted out")
    {
        TransactionService const service{SetNxLock{}, store, {.combine = 1}};
        run_threads(8, [&](std::size_t) { service.do_in_transaction("x", add_one); });
        CHECK(store.story->commits == 8);
    }
    SECTION("with an id")
    {
        TransactionService const service{SetNxLock{}, store};
        run_threads(8, [&](std::size_t i) {
            service.do_in_transaction(OperationId{"op " + std::to_string(i)}, "x", add_one);
        });
        CHECK(store.story->commits == 8);
    }
    SECTION("with more than the state")
    {
        TransactionService const service{SetNxLock{}, store};
        run_threads(8, [&](std::size_t) {
            service.do_in_transaction("x", [](Stock& s, TransactionContext&) { ++s.quantity; });
        });
        CHECK(store.story->commits == 8);
    }
    CHECK(store.quantity() == 8);
}

TEST_CASE(
    "an operation that throws leaves no trace, and its exception is about what was committed",
    "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    std::atomic<int> thrown{0};
    std::atomic<int> wrong{0};
    in_one_batch(store, service, 12, [&](int i) {
        try {
            service.do_in_transaction("x", [&](Stock& s) {
                ++s.quantity;
                if (i % 2)
                    throw std::runtime_error(std::to_string(s.quantity));
            });
        } catch (std::runtime_error const& error) {
            ++thrown;
            auto const seen = std::stoi(error.what());
            wrong += seen < 2 || seen > 8;
        }
    });
    CHECK(thrown == 6);
    CHECK(wrong == 0);
    CHECK(store.quantity() == 7);
    CHECK(store.story->commits <= 4);
}

TEST_CASE("one that changes its key is refused alone", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    std::atomic<int> refused{0};
    in_one_batch(store, service, 9, [&](int i) {
        auto const outcome = service.try_do_in_transaction("x", [&](Stock& s) {
            ++s.quantity;
            if (i % 3 == 0)
                s.sku = "y";
        });
        refused += outcome.errc() == Errc::invalid_argument;
    });
    CHECK(refused == 3);
    CHECK(store.quantity() == 7);
}

TEST_CASE("a batch that lost to somebody else runs again, as a whole", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    std::atomic<int> runs{0};
    std::atomic<bool> once{false};
    in_one_batch(store, service, 10, [&](int) {
        service.do_in_transaction("x", [&](Stock& s) {
            ++runs;
            if (!once.exchange(true))
                store.story->intrude = true;
            return ++s.quantity;
        });
    });
    CHECK(store.quantity() == 1011);
    CHECK(runs > 10);
}

TEST_CASE("an unknown commit is unknown for all that ran in it, and nobody tries again", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    std::atomic<int> unknown{0};
    std::atomic<int> runs{0};
    std::atomic<bool> once{false};
    in_one_batch(store, service, 10, [&](int) {
        auto const outcome = service.try_do_in_transaction("x", [&](Stock& s) {
            ++runs;
            if (!once.exchange(true))
                store.story->lose_reply = true;
            return ++s.quantity;
        });
        unknown += outcome.errc() == Errc::outcome_unknown && outcome.cause() == Errc::unavailable;
    });
    CHECK(unknown > 1);
    CHECK(runs == 10);
    CHECK(store.quantity() == 11);
}

TEST_CASE("who must be done earlier than the leader does not wait for its commit", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    std::atomic<int> late{0};
    in_one_batch(store, service, 6, [&](int i) {
        auto const begin = std::chrono::steady_clock::now();
        static_cast<void>(service.try_do_in_transaction(
            "x", add_one, {.deadline = i % 2 ? Deadline{50ms} : Deadline{60s}}));
        late += i % 2 && std::chrono::steady_clock::now() - begin > 10s;
    });
    CHECK(late == 0);
    CHECK(store.quantity() == 4);
}

TEST_CASE(
    "a thread that blocks while it leads does not wait for ever for work of its own", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store};
    asio::io_context io;
    int done = 0;
    asio::post(io, [&] {
        // The asynchronous operation queues behind the blocking one, whose thread is the only one to run it.
        service.do_in_transaction("x", [&](Stock& s) {
            ++s.quantity;
            service.async_try_do_in_transaction(
                "x", add_one, asio::bind_executor(io, [&](std::exception_ptr, Outcome<int> o) {
                    done += static_cast<bool>(o);
                }));
            std::this_thread::sleep_for(50ms);
        });
    });
    io.run();
    CHECK(done == 1);
    CHECK(store.quantity() == 2);
}

template <class Service>
void refused_at_once(Slow const& store, Service const& service)
{
    std::optional<Errc> refused;
    auto const begin = std::chrono::steady_clock::now();
    service.do_in_transaction("x", [&](Stock& s) {
        ++s.quantity;
        std::thread other(
            [&] { refused = service.try_do_in_transaction("x", add_one, {.deadline = 60s}).errc(); });
        other.join();  // before this operation ends
    });
    CHECK(refused == Errc::lock_busy);
    CHECK(std::chrono::steady_clock::now() - begin < 20s);
    CHECK(store.quantity() == 1);
}

TEST_CASE("who would not wait for a lock does not wait for a turn either", "[core][combining]")
{
    Slow const store;
    SECTION("row lock")
    {
        refused_at_once(
            store, TransactionService{PessimisticRowLock{.wait = Wait::no, .max_attempts = 1}, store});
    }
    SECTION("lock")
    {
        refused_at_once(store, TransactionService{SetNxLock{.wait = Wait::no}, store});
    }
    SECTION("chosen at run time")
    {
        refused_at_once(
            store, TransactionService<Stock>{SetNxLock{.wait = Wait::no}, StateRepository<Stock>{store}});
    }
}

TEST_CASE("no more wait for their turn than the policy's limit says", "[core][combining]")
{
    Slow const store;
    TransactionService const service{SetNxLock{.lock = {.max_waiters = 3}}, store, unhurried};
    std::atomic<int> applied{0};
    std::atomic<int> overloaded{0};
    std::vector<std::thread> others;
    service.do_in_transaction("x", [&](Stock& s) {
        ++s.quantity;
        for (int i = 0; i < 10; ++i)
            others.emplace_back([&] {
                auto const outcome = service.try_do_in_transaction("x", add_one, {.deadline = 60s});
                applied += outcome.has_value();
                overloaded += outcome.errc() == Errc::overloaded;
            });
        CHECK(interlock_test::eventually([&] { return overloaded == 7; }));
    });
    for (auto& other : others)
        other.join();
    CHECK(applied == 3);
    CHECK(overloaded == 7);
    CHECK(store.quantity() == 4);
    // Nobody is counted for ever.
    run_threads(4, [&](std::size_t) { service.do_in_transaction("x", add_one); });
    CHECK(store.quantity() == 8);
}

TEST_CASE("operations that are nested crosswise do not wait for each other", "[core][combining]")
{
    Slow const store;
    store.inner().insert(Stock{"y", 0}).value();
    TransactionService const service{OptimisticVersioning{}, store};
    std::atomic<int> inside{0};
    auto const begin = std::chrono::steady_clock::now();
    run_threads(2, [&](std::size_t i) {
        service.do_in_transaction(i == 0 ? "x" : "y", [&](Stock& s) {
            ++inside;
            interlock_test::eventually([&] { return inside >= 2; }, 1s);
            service.do_in_transaction(i == 0 ? "y" : "x", [](Stock& other) { other.quantity += 10; });
            ++s.quantity;
        });
    });
    CHECK(std::chrono::steady_clock::now() - begin < 20s);
    CHECK(store.inner().load("x").value().value.quantity >= 11);
    CHECK(store.inner().load("y").value().value.quantity >= 11);
}

TEST_CASE("an execution context that goes away takes its operations out of the batch", "[core][combining]")
{
    for (int round = 0; round < 30; ++round) {
        Slow const store;
        TransactionService const service{OptimisticVersioning{}, store};
        std::atomic<int> applied{0};
        asio::thread_pool pool(2);
        {
            asio::io_context io;
            for (int i = 0; i < 20; ++i) {
                service.async_try_do_in_transaction(
                    "x", add_one, asio::bind_executor(io, [](std::exception_ptr, Outcome<int>) {}));
                service.async_try_do_in_transaction(
                    "x", add_one, {.deadline = 60s},
                    asio::bind_executor(
                        pool, [&](std::exception_ptr e, Outcome<int> o) { applied += !e && o; }));
            }
            io.run_for(std::chrono::milliseconds{round / 4});
        }
        pool.join();
        int const quantity = store.quantity();
        CHECK(quantity >= applied);
        CHECK(quantity <= 40);
        CHECK(applied >= 1);
        service.do_in_transaction("x", add_one);
    }
}

}  // namespace combining_test
