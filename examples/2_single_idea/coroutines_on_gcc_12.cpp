// SPDX-License-Identifier: BSL-1.0

// Shows: five traps of g++ 12 in coroutines, and how to write each instead. The compiler destroys some
// temporaries of a `co_await` expression twice; g++ 13 and later and clang do not. The library refuses the
// first two at compile time under g++ 12 where they are its own arguments; in the calls of other libraries,
// and in the other three forms, nobody warns.
// Needs: nothing.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe.hpp>
#include <fmt/format.h>

#include <array>
#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace il = interlock;
namespace asio = boost::asio;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

namespace {

using Stocks = il::memory::StateRepository<Stock>;
using Service = il::TransactionService<Stock, il::OptimisticVersioning, Stocks>;

asio::awaitable<int> left_of(Stocks const& stocks, std::string sku)
{
    auto const found = co_await stocks.async_load(sku, asio::use_awaitable);
    co_return found ? found->value.quantity : 0;
}

asio::awaitable<int> five_traps(Service const& service, Stocks const& stocks)
{
    auto const amount = std::make_shared<int>(3);

    // #region lambda
    // Not: co_await service.async_do_in_transaction("sku-1", [amount](Stock& s) { … }, asio::use_awaitable);
    // A lambda that captures what has a destructor gets a name first.
    auto const take = [amount](Stock& s) { s.quantity -= *amount; };
    co_await service.async_do_in_transaction("sku-1", take, asio::use_awaitable);
    // #endregion lambda

    // #region aggregate
    // Not: co_await stocks.async_insert(Stock{"sku-2", 5}, asio::use_awaitable);
    // An aggregate with a string in it gets a name first. A class with a constructor would be safe.
    Stock const more{"sku-2", 5};
    static_cast<void>(co_await stocks.async_insert(more, asio::use_awaitable));
    // #endregion aggregate

    // #region array
    // Not: co_await stocks.async_load(std::array<std::string, 2>{"sku-1", "sku-2"}, asio::use_awaitable);
    // A braced array gets a name first; g++ 12 may refuse to compile it, or destroy its strings twice.
    std::array<std::string, 2> const both{"sku-1", "sku-2"};
    auto const page = co_await stocks.async_load(both, asio::use_awaitable);
    // #endregion array

    // #region ternary
    // Not: int const left = page ? co_await left_of(stocks, "sku-1") : co_await left_of(stocks, "sku-2");
    // Two co_awaits in one conditional expression become two statements.
    int left = 0;
    if (page)
        left = co_await left_of(stocks, "sku-1");
    else
        left = co_await left_of(stocks, "sku-2");
    // #endregion ternary

    // #region range
    // Not: for (auto const& seat : *co_await stocks.async_load(both, asio::use_awaitable)) …
    // What a loop runs over gets a name first. (That temporary dies too early in every C++20 compiler.)
    auto const all = co_await stocks.async_load(both, asio::use_awaitable);
    for (auto const& one : all.value())
        left += one ? one->value.quantity : 0;
    // #endregion range
    co_return left;
}

}  // namespace

int main()
{
    Stocks const stocks;
    stocks.insert({"sku-1", 10}).value();
    Service const service{il::OptimisticVersioning{}, stocks};
    asio::io_context io;
    int left = 0;
    asio::co_spawn(io, five_traps(service, stocks), [&](std::exception_ptr error, int result) {
        if (error)
            std::rethrow_exception(error);
        left = result;
    });
    io.run();
    fmt::print("{}\n", left);
    return left == 7 + 7 + 5 ? 0 : 1;
}
