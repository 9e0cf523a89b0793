// SPDX-License-Identifier: BSL-1.0

// Shows how to test code that uses the library: give it a memory store, and one that fails where you say.
// Needs: nothing.
// Run with: testing_your_code

#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

// ---- the code under test: it takes the store chosen at run time, so a test can choose another one

// #region code
std::string_view order_page(il::StateRepository<Stock> const& stock, std::string const& sku)
{
    il::OptimisticVersioning const policy{.max_attempts = 3, .backoff = {.immediate = 3}};
    il::TransactionService service{policy, stock};
    auto const sold =
        service.try_do_in_transaction(sku, [](Stock& s) { return s.quantity > 0 && s.quantity-- > 0; });
    if (sold)
        return *sold ? "thank you" : "sold out";
    return sold.effect() == il::Effect::unknown ? "we will write to you" : "please try again";
}
// #endregion code

// ---- the tests

// #region scripted
/// Fails its next writes as it is told to, then is a memory store again.
class Scripted : public il::memory::StateRepository<Stock> {
    using Base = il::memory::StateRepository<Stock>;

public:
    void fail_next(il::Failure failure) { script_->push_back(std::move(failure)); }

    using Base::carry_out;  // all other verbs
    il::Outcome<il::Version> carry_out(
        il::verb::CompareAndSet<Stock> const& write, il::Deadline deadline) const
    {
        if (script_->empty())
            return Base::carry_out(write, deadline);
        il::Outcome<il::Version> failed{std::move(script_->front())};
        script_->pop_front();
        return failed;
    }

private:
    std::shared_ptr<std::deque<il::Failure>> script_{std::make_shared<std::deque<il::Failure>>()};
};
// #endregion scripted

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    // #region tests
    Scripted stock;
    stock.insert({"sku-1", 2}).value();
    check(order_page(stock, "sku-1") == "thank you");

    stock.fail_next(il::Errc::version_conflict);  // somebody was faster, once
    check(order_page(stock, "sku-1") == "thank you");
    check(order_page(stock, "sku-1") == "sold out");

    check(order_page(stock, "no such sku") == "please try again");

    auto const two = stock.load("sku-1").value();
    stock.compare_and_set(il::Key{std::string("sku-1")}, two.version, {"sku-1", 1}).value();
    for (int i = 0; i < 3; ++i)
        stock.fail_next(il::Errc::version_conflict);  // somebody was always faster
    check(order_page(stock, "sku-1") == "please try again");

    stock.fail_next(il::Failure::unknown(il::Errc::unavailable));  // the reply was lost
    check(order_page(stock, "sku-1") == "we will write to you");
    // #endregion tests

    check(stock.load("sku-1").value().value.quantity == 1);
    fmt::print("all pages are as they should be\n");
}
