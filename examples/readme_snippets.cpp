// SPDX-License-Identifier: BSL-1.0

// Shows the other C++ blocks of the README: each is one of the regions below.
// Needs: nothing.
// Run with: readme_snippets

#include <interlock/core/format.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace il = interlock;
using namespace std::chrono_literals;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

// #region sold_out
int sell(auto const& service, std::string const& sku)
{
    return service.do_in_transaction(sku, [](Stock& s) {
        if (s.quantity == 0)
            throw std::runtime_error(s.sku + " is sold out");  // rolls back, reaches the caller unchanged
        return --s.quantity;                                   // committed, then returned
    });
}
// #endregion sold_out

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

void policies()
{
    il::memory::StateRepository<Stock> stock;
    stock.insert({"sku-1", 4}).value();
    // #region policies
    il::TransactionService optimistic{il::OptimisticVersioning{.max_attempts = 10}, stock};
    il::TransactionService pessimistic{il::PessimisticRowLock{.wait = il::Wait::no}, stock};
    il::TransactionService locked{il::SetNxLock{.lock = {.ttl = 10s}}, stock};
    // #endregion policies
    check(sell(optimistic, "sku-1") == 3);
    check(sell(pessimistic, "sku-1") == 2);
    check(sell(locked, "sku-1") == 1);
}

void once_per_night()
{
    il::memory::StateRepository<Stock> stock;
    stock.insert({"report", 0}).value();
    il::TransactionService const service{il::SetNxLock{}, stock};
    std::string const date = "2026-11-30";
    int runs = 0;
    auto const work = [&](Stock& report) {
        ++runs;
        return ++report.quantity;
    };
    for (bool const second : {false, true}) {
        // #region once_per_night
        auto const made = service.try_do_in_transaction(
            il::OperationId{"report/" + date}, "report", work, {.deadline = 8h});
        // #endregion once_per_night
        check(*made == 1 && made.replayed() == second);
    }
    check(runs == 1);
}

// #region members
struct Shop {
    il::memory::StateRepository<Stock> stock;
    il::TransactionServiceFor<il::OptimisticVersioning, decltype(stock)> service{{}, stock};
    il::LockStateServiceFor<decltype(stock)> locks{stock, {.ttl = 10s}};
};
// #endregion members

void members()
{
    Shop const shop;
    shop.stock.insert({"sku-1", 4}).value();
    check(sell(shop.service, "sku-1") == 3);
    check(bool{shop.locks.acquire("sku-1", {.deadline = 1s})});
}

void run_time_choice()
{
    std::string const url = "memory:";
    // #region run_time_choice
    il::StateRepository<Stock> stock = il::open<Stock>(url, il::memory::backend);
    il::TransactionService<Stock> service{il::PessimisticRowLock{}, stock};
    // #endregion run_time_choice
    stock.insert({"sku-1", 1}).value();
    check(sell(service, "sku-1") == 0);
}

int honest_outcome(std::string const& request_id)
{
    il::memory::StateRepository<Stock> stock;
    il::TransactionService service{il::OptimisticVersioning{}, stock};
    stock.insert({"sku-1", 1}).value();
    auto take_one = [](Stock& s) { return --s.quantity; };
    auto const try_later = [](il::Errc code) { return -static_cast<int>(code); };
    auto const ask_again = [](std::string const&) { return -1; };
    // #region outcome
    il::OperationId const id{request_id};  // the same for every retry of this request
    il::Outcome<int> outcome = service.try_do_in_transaction(id, "sku-1", take_one, {.deadline = 200ms});
    switch (outcome.effect()) {
    case il::Effect::applied: return *outcome;
    case il::Effect::not_applied: return try_later(outcome.errc());
    case il::Effect::unknown: return ask_again(request_id);  // never with a new id
    }
    // #endregion outcome
    return -1;
}

void failures(std::string const& sku)
{
    il::memory::StateRepository<Stock> stock;
    il::TransactionService service{il::OptimisticVersioning{}, stock};
    auto take_one = [](Stock& s) { return --s.quantity; };
    bool told = false;
    // #region failures
    if (auto const outcome = service.try_do_in_transaction(sku, take_one); !outcome)
        fmt::print(stderr, "{}\n", outcome.failure());  // without fmt: outcome.failure().message()
    try {
        service.do_in_transaction(sku, take_one);
    } catch (il::Error const& error) {
        told = error.errc() == il::Errc::not_found;  // error.what() is the same sentence
    }
    // #endregion failures
    check(told);
}

void idempotency_keys()
{
    il::memory::StateRepository<Stock> stock;
    stock.insert({"sku-1", 5}).value();
    std::string const key = "key-1", user = "ann", body = "{}";
    // #region idempotency_keys
    il::memory::IdempotencyStore keys;
    il::TransactionService service{il::IdempotencyKeys{il::PessimisticRowLock{}, keys}, stock};

    il::IdempotentRequest const request{key, il::Scope(user), il::fingerprint(body)};
    il::Answer<int> answer =
        service.do_in_transaction(request, "sku-1", [](Stock& s) { return --s.quantity; });
    answer.replayed();  // true for a retry; the value is the first one's
    // #endregion idempotency_keys
    check(*answer == 4 && !answer.replayed());
    check(service.do_in_transaction(request, "sku-1", [](Stock& s) { return --s.quantity; }).replayed());
}

void two_states()
{
    il::memory::StateRepository<Stock> stock;
    il::TransactionService service{il::PessimisticRowLock{}, stock};
    stock.insert({"here", 5}).value();
    stock.insert({"there", 0}).value();
    // #region two_states
    service.do_in_transaction(il::keys("here", "there"), [](Stock& from, Stock& to) {
        --from.quantity;
        ++to.quantity;
    });
    // #endregion two_states
    check(stock.load("there").value().value.quantity == 1);
}

void many_keys()
{
    il::memory::StateRepository<Stock> stock;
    il::TransactionService service{il::PessimisticRowLock{}, stock};
    for (auto const* sku : {"sku-1", "sku-2", "sku-3"})
        stock.insert({sku, 5}).value();
    // #region many_keys
    std::vector<std::string> const lines{"sku-3", "sku-1", "sku-2"};  // from the request
    service.do_in_transaction(lines, [](std::span<Stock> stocks) {
        for (Stock& s : stocks)
            --s.quantity;
    });
    // #endregion many_keys
    check(stock.load("sku-2").value().value.quantity == 4);
}

int main()
{
    policies();
    once_per_night();
    members();
    run_time_choice();
    check(honest_outcome("request-1") == 0);
    failures("nobody has it");
    idempotency_keys();
    two_states();
    many_keys();
}
