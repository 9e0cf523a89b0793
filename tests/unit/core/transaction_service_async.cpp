// SPDX-License-Identifier: BSL-1.0

// What `async_do_in_transaction` promises beyond its blocking twin: completion tokens, cancellation,
// executors that go away, and stores that block.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"
#include "support/vanishing_context.hpp"
#include "unit/core/transaction_service.hpp"

#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace transaction_service_test {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock_test::BlockingRepository;
using interlock_test::eventually;
using interlock_test::Gate;

template <class F>
void run_on(asio::io_context& io, F coroutine)
{
    std::exception_ptr failed;
    asio::co_spawn(io, std::move(coroutine), [&](std::exception_ptr e) { failed = e; });
    io.restart();
    io.run();
    if (failed)
        std::rethrow_exception(failed);
}

template <class R, class P>
void check_async(R const& repository, Repository const& store, P policy)
{
    TransactionService const service{std::move(policy), repository};
    asio::io_context io;
    bool done = false;
    run_on(io, [&]() -> asio::awaitable<void> {
        auto const got1 = co_await service.async_do_in_transaction("sku-1", decrement, asio::use_awaitable);
        CHECK(got1 == 9);
        auto later = [&io](Stock& s) -> asio::awaitable<int> {
            asio::steady_timer timer(io, 1ms);
            co_await timer.async_wait(asio::use_awaitable);
            co_return --s.quantity;
        };
        auto const got2 = co_await service.async_do_in_transaction("sku-1", later, asio::use_awaitable);
        CHECK(got2 == 8);
        auto nothing = [](Stock& s) -> asio::awaitable<void> {
            --s.quantity;
            co_return;
        };
        co_await service.async_do_in_transaction("sku-1", nothing, {.deadline = 60s}, asio::use_awaitable);
        auto throws = [](Stock& s) -> asio::awaitable<int> {
            s.quantity = -1;
            co_await asio::this_coro::executor;
            throw std::out_of_range("mine");
        };
        bool thrown = false;
        try {
            co_await service.async_do_in_transaction("sku-1", throws, asio::use_awaitable);
        } catch (std::out_of_range const&) {
            thrown = true;
        }
        CHECK(thrown);
        auto outcome = co_await service.async_try_do_in_transaction("sku-0", decrement, asio::use_awaitable);
        CHECK(outcome.errc() == Errc::not_found);
        OperationId const id{"op"};
        auto first =
            co_await service.async_try_do_in_transaction(id, "sku-1", decrement, asio::use_awaitable);
        auto second =
            co_await service.async_try_do_in_transaction(id, "sku-1", decrement, asio::use_awaitable);
        CHECK(first.value() == 6);
        CHECK(second.value() == 6);
        CHECK(second.replayed());
        auto both = [](Stock& a, Stock& b) { return --a.quantity + --b.quantity; };
        auto const got3 =
            co_await service.async_do_in_transaction(keys("sku-2", "sku-1"), both, asio::use_awaitable);
        CHECK(got3 == 14);
        auto no_default = [](Stock& s) { return std::make_unique<int>(s.quantity); };
        auto const got4 = *co_await service.async_do_in_transaction("sku-1", no_default, asio::use_awaitable);
        CHECK(got4 == 5);
        done = true;
    });
    CHECK(done);
    CHECK(quantity(store) == 5);

    bool called = false;
    service.async_do_in_transaction(
        "sku-1", decrement, asio::bind_executor(io, [&](std::exception_ptr e, int left) {
            called = true;
            CHECK_FALSE(e);
            CHECK(left == 4);
            CHECK(io.get_executor().running_in_this_thread());
        }));
    CHECK_FALSE(called);
    io.restart();
    io.run();
    CHECK(called);
    CHECK(service.async_do_in_transaction("sku-1", decrement, asio::use_future).get() == 3);
    CHECK(store.key_count() == 2);
}

TEMPLATE_TEST_CASE(
    "the asynchronous calls do what the blocking calls do", "[core][transaction_service]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const store = stocked();
    SECTION("on an immediate store")
    {
        check_async(store, store, TestType{});
    }
    SECTION("on a blocking store")
    {
        check_async(BlockingRepository{store}, store, TestType{});
    }
}

TEMPLATE_TEST_CASE(
    "cancelling before the commit rolls back, and the operation is awaited", "[core][transaction_service]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked();
    auto const service = service_of(TestType{}, repository);
    asio::io_context io;
    asio::cancellation_signal signal;
    bool ended = false;
    std::optional<Errc> result;
    auto operation = [&](Stock& s) -> asio::awaitable<int> {
        s.quantity = -1;
        asio::steady_timer timer(io, 60s);
        try {
            co_await timer.async_wait(asio::use_awaitable);
        } catch (...) {
            ended = true;
            throw;
        }
        co_return 0;
    };
    service.async_try_do_in_transaction(
        "sku-1", operation, {.deadline = 60s},
        asio::bind_cancellation_slot(
            signal.slot(), asio::bind_executor(io, [&](std::exception_ptr e, Outcome<int> outcome) {
                CHECK(ended);
                CHECK_FALSE(e);
                result = outcome.errc();
            })));
    asio::steady_timer timer(io, 20ms);
    timer.async_wait([&](error_code) { signal.emit(asio::cancellation_type::terminal); });
    io.run();
    REQUIRE(result);
    CHECK(*result == Errc::cancelled);
    CHECK(quantity(repository) == 10);
    CHECK(service.do_in_transaction("sku-1", decrement) == 9);
}

TEST_CASE(
    "an asynchronous operation that passes its context is told that it would deadlock with itself",
    "[core][transaction_service]")
{
    auto const repository = stocked();
    TransactionService const service{SetNxLock{}, repository};
    asio::io_context io;
    std::optional<Errc> inner;
    run_on(io, [&]() -> asio::awaitable<void> {
        auto operation = [&](Stock&, TransactionContext& context) -> asio::awaitable<void> {
            auto again = co_await service.async_try_do_in_transaction(
                "sku-1", decrement, {.deadline = 60s, .within = context}, asio::use_awaitable);
            inner = again.errc();
        };
        co_await service.async_do_in_transaction("sku-1", operation, asio::use_awaitable);
    });
    CHECK(inner == Errc::would_deadlock);
}

TEST_CASE(
    "an asynchronous call on a blocking store calls it from the pool only", "[core][transaction_service]")
{
    BlockingRepository const repository{stocked()};
    auto const here = std::this_thread::get_id();
    std::mutex mutex;
    std::vector<std::string> called_here;
    repository.before_calls([&](std::string_view member) {
        std::lock_guard const lock(mutex);
        if (std::this_thread::get_id() == here)
            called_here.emplace_back(member);
    });
    asio::io_context io;
    int done = 0;
    auto count = asio::bind_executor(io, [&](std::exception_ptr e, int) { done += e ? 0 : 1; });
    TransactionService const locks{SetNxLock{}, repository};
    TransactionService const rows{PessimisticRowLock{}, repository};
    TransactionService const optimistic{OptimisticVersioning{}, repository};
    locks.async_do_in_transaction("sku-1", decrement, count);
    rows.async_do_in_transaction("sku-2", decrement, count);
    optimistic.async_do_in_transaction(OperationId{"op"}, "sku-2", decrement, count);
    io.run();
    CHECK(done == 3);
    CHECK(called_here == std::vector<std::string>{});
}

TEMPLATE_TEST_CASE(
    "an execution context that is destroyed destroys its pending transactions", "[core][transaction_service]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked();
    auto const alive = std::make_shared<int>(0);
    {
        auto service = std::optional{service_of(TestType{}, repository)};
        asio::io_context io;
        auto operation = [&io, alive](Stock& s) -> asio::awaitable<int> {
            asio::steady_timer timer(io, 60s);
            co_await timer.async_wait(asio::use_awaitable);
            co_return --s.quantity;
        };
        for (int i = 0; i < 3; ++i)
            service->async_do_in_transaction(
                "sku-1", operation, asio::bind_executor(io, [alive](std::exception_ptr, int) {}));
        service.reset();  // the service may go first
        for (int i = 0; i < 20; ++i)
            io.poll();
        CHECK(alive.use_count() > 1);
    }
    CHECK(alive.use_count() == 1);
    CHECK(repository.waiter_count() == 0);
    auto const service = service_of(TestType{}, repository);
    CHECK(service.do_in_transaction("sku-1", decrement) == 9);
}

TEST_CASE(
    "an execution context may be destroyed while a blocking store is being asked",
    "[core][transaction_service]")
{
    BlockingRepository const repository{stocked()};
    TransactionService const service{PessimisticRowLock{}, repository};
    interlock_test::vanish_during(
        repository, "load_for_update", [&](asio::io_context& io, auto const& alive) {
            service.async_do_in_transaction(
                "sku-1", decrement, asio::bind_executor(io, [alive](std::exception_ptr, int) {}));
        });
    CHECK(service.do_in_transaction("sku-1", decrement) == 9);
}

}  // namespace transaction_service_test
