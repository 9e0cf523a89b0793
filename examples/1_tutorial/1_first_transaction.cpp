// SPDX-License-Identifier: BSL-1.0

// Shows the smallest useful program: a state, a store, a policy, and an operation that is applied as a whole
// or not at all.
// Needs: nothing.
// Run with: 1_first_transaction

#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <string>

namespace il = interlock;

// The state is your own struct. Describing it is enough for it to be stored; its first member is its key.
struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct SoldOut {
    std::string sku;
};

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::StateRepository<Stock> stock;                                             // where
    il::TransactionService service{il::OptimisticVersioning{.max_attempts = 10}, stock};  // how
    stock.insert({"sku-1", 2}).value();

    auto take_one = [](Stock& s) {
        if (s.quantity == 0)
            throw SoldOut{s.sku};  // rolls back, reaches the caller unchanged
        return --s.quantity;       // committed, then returned
    };

    check(service.do_in_transaction("sku-1", take_one) == 1);
    check(service.do_in_transaction("sku-1", take_one) == 0);
    try {
        service.do_in_transaction("sku-1", take_one);
        check(false);
    } catch (SoldOut const& sold_out) {
        fmt::print("{} is sold out\n", sold_out.sku);
    }

    // What throws leaves nothing behind.
    try {
        service.do_in_transaction("sku-1", [](Stock& s) {
            s.quantity = -5;
            throw SoldOut{s.sku};
        });
    } catch (SoldOut const&) {
    }
    check(stock.load("sku-1").value().value.quantity == 0);

    // A key that has no value is an error of the library: it knows a code, and what became of the change.
    try {
        service.do_in_transaction("sku-2", take_one);
        check(false);
    } catch (il::Error const& error) {
        check(error.errc() == il::Errc::not_found && error.effect() == il::Effect::not_applied);
        fmt::print("sku-2: {}\n", error.what());
    }
}
