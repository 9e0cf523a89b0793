// SPDX-License-Identifier: BSL-1.0

// Shows idempotency keys on Redis: a payment request that arrives three times, on several machines perhaps,
// is executed once, and everybody gets the first answer. Needs: a Redis server, 7.0 or later, whose URL is
// the argument; without one it says so and does nothing.
// Run with: redis_idempotency redis://localhost

#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <string>

namespace il = interlock;
using namespace std::chrono_literals;

struct Account {
    std::string id;
    int balance = 0;
};
BOOST_DESCRIBE_STRUCT(Account, (), (id, balance))

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("redis_idempotency: name a server, like redis://localhost\n");
        return 77;
    }
    il::redis::Client const client{argv[1]};
    il::redis::StateRepository<Account> const accounts{client, {.name_space = "examples.accounts"}};
    il::redis::IdempotencyStore const keys{client, {.name_space = "examples.keys"}};
    // The lease is how long a crashed owner keeps others waiting: shorter than the patience of whoever calls.
    il::TransactionService const payments{
        il::IdempotencyKeys{il::SetNxLock{.missing = il::Missing::create}, keys, {.lease = 5s}}, accounts};

    auto const tag = fmt::format("{:016x}", il::SystemRuntime::random_bits());
    auto const account = "account " + tag;
    std::string const body = R"({"pay": 30})";
    il::IdempotentRequest const request{"key " + tag, il::Scope("ann"), il::fingerprint(body)};
    int executed = 0;
    auto const pay = [&](Account& a) {
        ++executed;
        return a.balance -= 30;
    };
    for (int arrival = 1; arrival <= 3; ++arrival) {
        auto const answer = payments.do_in_transaction(request, account, pay);
        check(answer.value() == -30);
        check(answer.replayed() == (arrival > 1));
    }
    check(executed == 1);
    check(accounts.load(account)->value.balance == -30);

    // The same key for another request is refused, and changes nothing.
    il::IdempotentRequest const other{
        "key " + tag, il::Scope("ann"), il::fingerprint(std::string(R"({"pay": 31})"))};
    check(payments.try_do_in_transaction(other, account, pay).errc() == il::Errc::idempotency_mismatch);
    fmt::print("paid once\n");
}
