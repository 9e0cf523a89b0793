// SPDX-License-Identifier: BSL-1.0

// g++ 12 destroys some temporaries of a co_await expression twice. Here are the forms in which user code
// passes an operation: each is either refused by the library, as `compile_fail/unnamed_*.cpp` checks, or
// right. A wrong one shows in the counts, and under AddressSanitizer.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace coroutine_temporaries_test {

namespace asio = boost::asio;
using namespace interlock;
using interlock_test::Stock;

#if defined(__GNUC__) && __GNUC__ == 12 && !defined(__clang__)
constexpr bool trap = true;
#else
constexpr bool trap = false;
#endif

struct World {
    World() { static_cast<void>(repository.insert(Stock{name, 10}).value()); }
    // Longer than what a string keeps in itself, so that a second destruction is seen.
    std::string name = std::string(100, 'x');
    memory::StateRepository<Stock> repository;
    TransactionService<Stock, OptimisticVersioning, memory::StateRepository<Stock>> service{
        OptimisticVersioning{}, repository};
    std::shared_ptr<int> three = std::make_shared<int>(3);
};

template <class F>
void run(World& world, F coroutine)
{
    asio::io_context io;
    std::exception_ptr failed;
    bool done = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await coroutine();
            done = true;
        },
        [&](std::exception_ptr e) { failed = e; });
    io.run();
    if (failed)
        std::rethrow_exception(failed);
    CHECK(done);
    CHECK(world.three.use_count() == 1);
    CHECK(world.repository.load(world.name)->value.quantity == 7);
}

TEST_CASE("an operation that has a name works in every asynchronous form", "[core][coroutine_temporaries]")
{
    World world;
    auto const& service = world.service;
    SECTION("moved")
    {
        run(world, [&]() -> asio::awaitable<void> {
            auto take = [three = world.three](Stock& s) { s.quantity -= *three; };
            co_await service.async_do_in_transaction(world.name, take, asio::use_awaitable);
        });
    }
    SECTION("the awaitable named first")
    {
        run(world, [&]() -> asio::awaitable<void> {
            auto take = [three = world.three](Stock& s) { s.quantity -= *three; };
            auto pending = service.async_do_in_transaction(world.name, take, asio::use_awaitable);
            co_await std::move(pending);
        });
    }
    SECTION("the awaitable named first, the operation not, in a function of its own")
    {
        run(world, [&]() -> asio::awaitable<void> {
            auto const start = [&] {
                auto take = [three = world.three](Stock& s) { s.quantity -= *three; };
                return service.async_do_in_transaction(world.name, take, asio::use_awaitable);
            };
            co_await start();
        });
    }
    SECTION("a coroutine")
    {
        run(world, [&]() -> asio::awaitable<void> {
            auto take = [three = world.three](Stock& s) -> asio::awaitable<void> {
                s.quantity -= *three;
                co_return;
            };
            co_await service.async_do_in_transaction(world.name, take, asio::use_awaitable);
        });
    }
    SECTION("with a vector inside")
    {
        run(world, [&]() -> asio::awaitable<void> {
            auto take = [three = world.three, v = std::vector<int>(100, 1)](Stock& s) {
                s.quantity -= *three * v[0];
            };
            co_await service.async_do_in_transaction(world.name, take, asio::use_awaitable);
        });
    }
    SECTION("a std::function")
    {
        run(world, [&]() -> asio::awaitable<void> {
            std::function<void(Stock&)> const take = [three = world.three](Stock& s) {
                s.quantity -= *three;
            };
            co_await service.async_do_in_transaction(world.name, take, asio::use_awaitable);
        });
    }
}

TEST_CASE(
    "an operation without a name works if it captures by reference only", "[core][coroutine_temporaries]")
{
    World world;
    run(world, [&]() -> asio::awaitable<void> {
        co_await world.service.async_do_in_transaction(
            world.name, [&](Stock& s) { s.quantity -= *world.three; }, asio::use_awaitable);
    });
}

TEST_CASE(
    "options, ids, keys and strings may be written inside of a co_await expression",
    "[core][coroutine_temporaries]")
{
    using namespace std::chrono_literals;
    World world;
    auto const& service = world.service;
    SECTION("a string as key")
    {
        run(world, [&]() -> asio::awaitable<void> {
            co_await service.async_do_in_transaction(
                std::string(100, 'x'), [](Stock& s) { s.quantity -= 3; }, asio::use_awaitable);
        });
    }
    SECTION("braced options")
    {
        run(world, [&]() -> asio::awaitable<void> {
            co_await service.async_do_in_transaction(
                world.name, [](Stock& s) { s.quantity -= 3; }, {.deadline = 60s}, asio::use_awaitable);
        });
    }
    SECTION("an operation id")
    {
        run(world, [&]() -> asio::awaitable<void> {
            for (int i = 0; i < 2; ++i)
                co_await service.async_do_in_transaction(
                    OperationId{std::string(100, 'i')}, world.name, [](Stock& s) { s.quantity -= 3; },
                    asio::use_awaitable);
        });
    }
    SECTION("several keys")
    {
        static_cast<void>(world.repository.insert(Stock{std::string(100, 'y'), 0}).value());
        run(world, [&]() -> asio::awaitable<void> {
            co_await service.async_do_in_transaction(
                keys(std::string(100, 'x'), std::string(100, 'y')),
                [](Stock& x, Stock& y) { y.quantity = x.quantity -= 3; }, asio::use_awaitable);
        });
    }
}

TEST_CASE(
    "the library refuses exactly those arguments that the compiler destroys twice",
    "[core][coroutine_temporaries]")
{
    auto const three = std::make_shared<int>(3);
    auto capturing = [three](Stock& s) { s.quantity -= *three; };
    auto by_reference = [&three](Stock& s) { s.quantity -= *three; };
    using Capturing = decltype(capturing);
    using ByReference = decltype(by_reference);
    CHECK(detail::safe_operation<Capturing> == !trap);
    CHECK(detail::safe_operation<Capturing&>);
    CHECK(detail::safe_operation<Capturing const&>);
    CHECK(detail::safe_operation<ByReference>);
    CHECK(detail::safe_operation<std::function<void(Stock&)>> == !trap);  // refused with the rest: no harm
    CHECK(detail::safe_argument<Stock> == !trap);
    CHECK(detail::safe_argument<Stock&>);
    CHECK(detail::safe_argument<std::string>);
    CHECK(detail::safe_argument<Keys<std::string, std::string>>);
    Stock stock{"x", 3};
    capturing(stock);
    by_reference(stock);
    CHECK(stock.quantity == -3);
}

}  // namespace coroutine_temporaries_test
