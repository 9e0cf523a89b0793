// SPDX-License-Identifier: BSL-1.0

// Shows a request that arrives several times, as requests do, and is executed once: each copy gets the first
// one's answer.
// Needs: nothing.
// Run with: 5_idempotent_request

#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <future>
#include <string>
#include <vector>

namespace il = interlock;

struct Account {
    std::string owner;
    int balance = 0;
};
BOOST_DESCRIBE_STRUCT(Account, (), (owner, balance))

struct Response {
    int status = 0;
    std::string body;
    friend bool operator==(Response const&, Response const&) = default;
};
BOOST_DESCRIBE_STRUCT(Response, (), (status, body))

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::StateRepository<Account> accounts;
    accounts.insert({"ann", 100}).value();

    // Around any policy. A copy that comes while the first is being executed waits for its answer.
    il::memory::IdempotencyStore keys;
    il::IdempotencyKeys once{il::PessimisticRowLock{}, keys, {.duplicates = il::Duplicates::wait}};
    il::TransactionService payments{once, accounts};

    // What the client sent along, who he is, and what he asks for.
    auto const pay = [&](std::string const& idempotency_key, int amount) {
        il::IdempotentRequest const request{
            idempotency_key, il::Scope("ann"), il::fingerprint(std::to_string(amount))};
        return payments.do_in_transaction(request, "ann", [&](Account& account) {
            if (account.balance < amount)
                // An answer, too: asking again gets it again.
                throw il::FinalRejection("insufficient funds");
            account.balance -= amount;
            return Response{201, fmt::format("paid, {} left", account.balance)};
        });
    };

    auto const first = pay("key-1", 30);
    auto const retry = pay("key-1", 30);
    fmt::print("first: {} {}\nretry: {} {}\n", first->status, first->body, retry->status, retry->body);
    check(!first.replayed() && retry.replayed() && *first == *retry);

    // All at once.
    std::vector<std::future<il::Answer<Response>>> clicks;
    for (int i = 0; i < 8; ++i)
        clicks.push_back(std::async(std::launch::async, [&] { return pay("key-2", 20); }));
    int executed = 0;
    for (auto& click : clicks) {
        auto const answer = click.get();
        check(answer->body == "paid, 50 left");
        executed += answer.replayed() ? 0 : 1;
    }
    check(executed == 1);

    // The same key for something else is a mistake of the client, never executed.
    try {
        pay("key-1", 31);
        check(false);
    } catch (il::Error const& error) {
        check(error.errc() == il::Errc::idempotency_mismatch);
        fmt::print("other content: {}\n", error.what());
    }

    // A final rejection stays one, even when it could be served by now.
    for (int i = 0; i < 2; ++i) {
        try {
            pay("key-3", 60);
            check(false);
        } catch (il::FinalRejection const& rejection) {
            check(rejection.what() == std::string("insufficient funds"));
        }
        il::TransactionService{il::PessimisticRowLock{}, accounts}.do_in_transaction(
            "ann", [](Account& account) { account.balance += 100; });
    }
    check(accounts.load("ann").value().value.balance == 100 - 30 - 20 + 200);
}
