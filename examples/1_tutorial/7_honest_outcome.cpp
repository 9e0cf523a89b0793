// SPDX-License-Identifier: BSL-1.0

// Shows what to do when the answer of the store is lost on its way: the outcome is unknown, and says so; with
// an operation id it becomes known, and asking again is always safe.
// Needs: nothing; a store that loses replies is made here.
// Run with: 7_honest_outcome

#include <interlock/core/format.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace il = interlock;
using namespace std::chrono_literals;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

/// A store behind a bad network: it applies the next write, but the reply is lost.
class FarAway : public il::memory::StateRepository<Stock> {
    using Base = il::memory::StateRepository<Stock>;

public:
    void lose_next_reply() { *lost_ = true; }

    using Base::carry_out;  // all other verbs
    il::Outcome<il::Version> carry_out(
        il::verb::CompareAndSet<Stock> const& write, il::Deadline deadline) const
    {
        return reply(Base::carry_out(write, deadline));
    }
    il::Outcome<il::CommitResult> carry_out(
        il::verb::Commit<Stock> const& commit, il::Deadline deadline) const
    {
        return reply(Base::carry_out(commit, deadline));
    }

private:
    template <class R>
    il::Outcome<R> reply(il::Outcome<R> outcome) const
    {
        if (std::exchange(*lost_, false))
            return il::Failure::unknown(il::Errc::unavailable);
        return outcome;
    }
    std::shared_ptr<bool> lost_{std::make_shared<bool>(false)};
};

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

/// What a server tells its client. No exceptions: everything but what the operation throws is in the outcome.
std::string_view advice(il::Outcome<int> const& outcome)
{
    switch (outcome.effect()) {
    case il::Effect::applied: return "done";
    case il::Effect::not_applied: return "nothing happened, try again if you like";
    case il::Effect::unknown: break;
    }
    return "ask again with the same id, never with a new one";
}

int main()
{
    FarAway stock;
    il::TransactionService service{il::OptimisticVersioning{}, stock};
    stock.insert({"sku-1", 10}).value();
    auto take_one = [](Stock& s) { return --s.quantity; };

    // Surely nothing happened.
    auto outcome = service.try_do_in_transaction("sku-9", take_one);
    fmt::print("no such sku: {}: {}\n", outcome.failure(), advice(outcome));
    check(outcome.effect() == il::Effect::not_applied);

    // Without an id nobody can tell, so the library does not pretend to, and does not try again.
    stock.lose_next_reply();
    outcome = service.try_do_in_transaction("sku-1", take_one, {.deadline = 200ms});
    fmt::print("without an id: {}: {}\n", outcome.failure(), advice(outcome));
    check(outcome.errc() == il::Errc::outcome_unknown && outcome.cause() == il::Errc::unavailable);
    check(stock.load("sku-1").value().value.quantity == 9);  // it was applied, as it happens

    // With an id the library asks the store what became of it.
    il::OperationId const id{"request-4711"};
    stock.lose_next_reply();
    outcome = service.try_do_in_transaction(id, "sku-1", take_one, {.deadline = 200ms});
    fmt::print("with an id: {} left: {}\n", *outcome, advice(outcome));
    check(outcome && *outcome == 8);

    // And whoever comes with the same id, after a crash, or from another machine, gets the same answer.
    outcome = service.try_do_in_transaction(id, "sku-1", take_one);
    check(outcome && *outcome == 8 && outcome.replayed());
    check(stock.load("sku-1").value().value.quantity == 8);
}
