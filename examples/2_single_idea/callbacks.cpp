// SPDX-License-Identifier: BSL-1.0

// Shows an asynchronous call that ends in a callback: with an exception pointer and the result, on the
// executor of its choice, exactly once.
// Needs: nothing.
// Run with: callbacks

#include <interlock/interlock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>

namespace asio = boost::asio;
namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::StateRepository<Stock> stock;
    stock.insert({"sku-1", 1}).value();
    auto const take_one = [](Stock& s) {
        if (s.quantity == 0)
            throw std::runtime_error("sold out");
        return --s.quantity;
    };

    asio::io_context context;
    int called = 0;
    {
        il::TransactionService service{il::PessimisticRowLock{}, stock};
        // Operation and callback both run in context.run(), not here and not in a thread of the library.
        service.async_do_in_transaction(
            "sku-1", take_one, asio::bind_executor(context, [&](std::exception_ptr error, int left) {
                check(!error && left == 0);
                fmt::print("the last one is sold\n");
                ++called;

                service.async_do_in_transaction(
                    "sku-1", take_one, asio::bind_executor(context, [&](std::exception_ptr refused, int) {
                        try {
                            check(refused != nullptr);
                            std::rethrow_exception(refused);
                        } catch (std::runtime_error const& sold_out) {
                            fmt::print("{}\n", sold_out.what());  // what the operation threw, unchanged
                        }
                        ++called;
                    }));
            }));
        check(called == 0);
        context.run();
    }
    check(called == 2);

    // A service may go before its call has ended: the call keeps what it needs.
    il::TransactionService{il::OptimisticVersioning{}, stock}.async_try_do_in_transaction(
        "sku-1", [](Stock& s) { return s.quantity; },
        asio::bind_executor(context, [&](std::exception_ptr error, il::Outcome<int> outcome) {
            check(!error && *outcome == 0);
            ++called;
        }));
    context.restart();
    context.run();
    check(called == 3);
}
