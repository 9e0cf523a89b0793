// SPDX-License-Identifier: BSL-1.0

// Shows the same services on a Redis server, where every process and machine shares the states: optimistic
// versioning, a lock with a lease, counters, and what is left to do when a reply gets lost. Needs: a Redis
// server, 7.0 or later, whose URL is the argument; without one it says so and does nothing.
// Run with: 9_redis redis://localhost

#include <interlock/backends/redis/counters.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/format.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <string>

namespace il = interlock;
using namespace std::chrono_literals;

struct Account {
    std::string id;
    int balance{0};
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
        fmt::print("9_redis: name a server, like redis://localhost\n");
        return 77;
    }

    // #region redis
    // One client per server: it holds the connections, and repositories share it. Nothing is sent yet.
    il::redis::Client const client{argv[1]};
    // States of different types need different name spaces.
    il::redis::StateRepository<Account> const accounts{client, {.name_space = "tutorial.accounts"}};
    // #endregion redis

    // What the server is, as far as promises depend on it. `misconfigured` says what keeps locks from being
    // safe there.
    auto const server = client.server_check();
    if (!server) {
        fmt::print("9_redis: {}\n", server.failure());
        return 1;
    }
    fmt::print("redis {}, survives a restart: {}\n", server->version, server->append_only);

    for (auto const* id : {"ann", "bob"}) {  // a fresh start, whoever ran this before
        if (auto const old = accounts.load(id))
            static_cast<void>(accounts.erase(id, old->version));
        check(accounts.insert({id, 100}).has_value());
    }

    // ---- versions: load, change, compare-and-set; two round trips, no lock
    il::TransactionService optimistic{il::OptimisticVersioning{}, accounts};
    check(optimistic.do_in_transaction("ann", [](Account& a) { return a.balance -= 30; }) == 70);

    // ---- a lock: acquire and read in one trip, write, check the fence and release in another
    // #region redis
    il::TransactionService locking{il::SetNxLock{.lock = {.ttl = 5s}}, accounts};
    // #endregion redis
    locking.do_in_transaction(il::keys("ann", "bob"), [](Account& from, Account& to) {
        from.balance -= 20;
        to.balance += 20;
    });

    // ---- a name for the operation: asked again, after a lost reply, say, it is answered and not done again
    auto const id = il::OperationId{fmt::format("deposit-{:016x}", il::SystemRuntime::random_bits())};
    auto const deposit = [](Account& a) { return a.balance += 5; };
    check(optimistic.do_in_transaction(id, "bob", deposit) == 125);
    auto const again = optimistic.try_do_in_transaction(id, "bob", deposit);
    check(again.has_value() && again.replayed() && *again == 125);

    // ---- a counter that the server changes by itself: once per id, never below its floor, in one round trip
    // #region counters
    il::redis::Counters const seats{client, {.name_space = "tutorial.seats"}};
    auto const flight = il::Key{fmt::format("flight-{:016x}", il::SystemRuntime::random_bits())};
    seats.atomic_once(il::OperationId{"opened"}, flight, il::increment(2)).value();
    auto const booked =
        seats.atomic_once(il::OperationId{"ann's booking"}, flight, il::decrement(2, 0)).value();
    auto const refused =
        seats.atomic_once(il::OperationId{"bob's booking"}, flight, il::decrement(1, 0)).value();
    check(booked && booked.value == 0 && !refused);
    // #endregion counters
    auto const retried =
        seats.atomic_once(il::OperationId{"ann's booking"}, flight, il::decrement(2, 0)).value();
    check(retried && retried.replayed && seats.load(flight).value() == 0);

    fmt::print(
        "ann has {}, bob has {}\n", accounts.load("ann")->value.balance, accounts.load("bob")->value.balance);
    check(accounts.load("ann")->value.balance == 50);
    check(accounts.load("bob")->value.balance == 125);
}
