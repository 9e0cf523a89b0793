// SPDX-License-Identifier: BSL-1.0

// Shows store and policy chosen at run time, by a configuration file for one: the same types, whatever was
// chosen.
// Needs: nothing for "memory:"; another backend joins as another argument of open().
// Run with: run_time_choice [memory: [optimistic|pessimistic|lock]]

#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

il::AnyPolicy policy_by_name(std::string const& name)
{
    if (name == "optimistic")
        return il::OptimisticVersioning{};
    if (name == "pessimistic")
        return il::PessimisticRowLock{};
    if (name == "lock")
        return il::SetNxLock{};
    throw std::runtime_error("no such policy: " + name);
}

/// Code that takes the plain types is compiled once, for every store and policy.
int take(il::TransactionService<Stock> const& service, std::string const& sku, int quantity)
{
    return service.do_in_transaction(sku, [&](Stock& s) { return s.quantity -= quantity; });
}

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main(int argc, char** argv)
{
    std::string const url = argc > 1 ? argv[1] : "memory:";
    std::string const policy = argc > 2 ? argv[2] : "optimistic";

    il::StateRepository<Stock> stock = il::open<Stock>(url, il::memory::backend);
    il::TransactionService<Stock> service{policy_by_name(policy), stock};
    stock.insert({"sku-1", 10}).value();
    fmt::print("{} left, kept in '{}' by '{}'\n", take(service, "sku-1", 3), stock.store_name(), policy);
    check(stock.load("sku-1").value().value.quantity == 7);

    // Nobody gets "in memory" by accident: there is no default, and what is not known is refused by name.
    try {
        il::open<Stock>("floppy:", il::memory::backend);
        check(false);
    } catch (il::Error const& error) {
        fmt::print("{}\n", error.what());
        check(error.errc() == il::Errc::invalid_argument);
    }
}
