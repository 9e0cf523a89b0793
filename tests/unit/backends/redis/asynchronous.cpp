// SPDX-License-Identifier: BSL-1.0

// Locks and transactions over the one connection that all asynchronous calls of a client share.
//
// How it works: an io_context that one thread runs, a real server, and counters of the connection
// (`statistics()`), which tell how many commands and writes there were. Faults are made from outside: the
// server is paused, killed, or its connections are ended, while calls are under way.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace redis_asynchronous_test {

using namespace interlock;
using namespace std::chrono_literals;
namespace asio = boost::asio;
using interlock_test::eventually;
using interlock_test::redis_options;
using interlock_test::RedisServer;
using interlock_test::Stock;
using Repository = redis::StateRepository<Stock>;

TEST_CASE(
    "five hundred coroutines lock and unlock over one connection, in few writes", "[redis][asynchronous]")
{
    asio::io_context io;
    redis::Client const client{io, redis_options()};
    LockStateService const locks{Repository{client}, {.ttl = 30s}};
    // The server has been asked whether it is fit, and knows both scripts.
    auto first = locks.acquire("first");
    CHECK(locks.release(first));
    int held = 0;
    for (int i = 0; i < 500; ++i)
        asio::co_spawn(
            io,
            [&, i]() -> asio::awaitable<void> {
                auto const key = "key " + std::to_string(i);
                auto lock = co_await locks.async_acquire(key, asio::use_awaitable);
                held += lock.status() == LockStatus::held && lock.fencing_token() > FencingToken{};
                co_await locks.async_release(std::move(lock), asio::use_awaitable);
            },
            [](std::exception_ptr e) {
                if (e)
                    std::rethrow_exception(e);
            });
    io.run();
    CHECK(held == 500);
    auto const done = client.statistics();
    CHECK(done.commands <= 1000 / 4);  // those of one turn were folded
    CHECK(done.writes <= 1000 / 8);
    CHECK(client.connection_count() == 1);  // of the question at the beginning
    CHECK(locks.try_acquire("key 7"));
}

TEST_CASE("a release while the server is away is tried again until it is back", "[redis][asynchronous]")
{
    RedisServer server{{"--appendonly", "yes"}};
    auto const o = redis_options(server);
    asio::io_context io;
    redis::Client const client{io, o};
    LockStateService const locks{Repository{client}, {.ttl = 60s}};
    auto lock = locks.acquire("x");
    server.kill();
    int released = -1;
    locks.async_release(std::move(lock), asio::bind_executor(io.get_executor(), [&](error_code error) {
                            released = error ? 0 : 1;
                        }));
    io.run_for(300ms);
    CHECK(released == -1);
    server.start();
    Repository const other{redis::Client{o}};
    CHECK(other.create(Key{"x"}, interlock_test::owner(1), 60s).errc() == Errc::lock_busy);
    CHECK(eventually([&] {
        io.restart();
        io.run_for(10ms);
        return released != -1;
    }));
    CHECK(released == 1);
    CHECK(other.create(Key{"x"}, interlock_test::owner(1), 60s));
}

// ---- several calls in one command ---------------------------------------------------------------

namespace {

template <class X>
Outcome<X> end_of(asio::io_context& io, StoreCall<X>& call)
{
    for (;;) {
        if (auto outcome = call.poll())
            return *std::move(outcome);
        if (io.run_one() == 0)
            io.restart();
    }
}

/// What so many calls for the locks `0`, `1`, ... came to, which were all started before the first one left.
template <class X, class Start>
std::vector<Outcome<X>> together(asio::io_context& io, int calls, Start start)
{
    std::vector<interlock_test::CountingWaiter> waiters(static_cast<std::size_t>(calls));
    std::vector<StartedCall<X>> started;
    for (int i = 0; i < calls; ++i)
        started.push_back(start(Key{std::to_string(i)}, i, waiters[static_cast<std::size_t>(i)]));
    std::vector<Outcome<X>> outcomes;
    for (auto& call : started)
        outcomes.push_back(end_of(io, *call));
    return outcomes;
}

OwnerToken owner(int n)
{
    return OwnerToken{{static_cast<std::uint64_t>(n) + 1, 7}};
}

/// A server, a context that this thread runs, and two clients: `repository` starts its calls on the context,
/// `other` is somebody else.
struct OneCommand {
    auto create()
    {
        return [this](Key const& key, int i, Waiter& waiter) {
            return repository.start(verb::CreateAndLoad<Stock>{key, owner(i), 30s}, 20s, waiter);
        };
    }
    auto create_alone()
    {
        return [this](Key const& key, int i, Waiter& waiter) {
            return repository.start(verb::Create{key, owner(i), 30s}, 20s, waiter);
        };
    }
    auto remove()
    {
        return [this](Key const& key, int i, Waiter& waiter) {
            return repository.start(verb::Remove{key, owner(i)}, 20s, waiter);
        };
    }
    RedisServer server;
    redis::Options o{redis_options(server)};
    asio::io_context io;
    redis::Client client{io, o};
    Repository repository{client};
    Repository other{redis::Client{o}};
    redis::detail::KeySpace keys{o.name_space, 1};
};

bool all_removed(std::vector<Outcome<Removal>> const& outcomes)
{
    return std::all_of(
        outcomes.begin(), outcomes.end(), [](auto const& one) { return one.value() == Removal::removed; });
}

}  // namespace

TEST_CASE("calls that leave as one command end each with an outcome of its own", "[redis][asynchronous]")
{
    OneCommand w;
    w.other.insert(Stock{"1", 11}).value();
    static_cast<void>(w.other.create(Key{"2"}, owner(1000), 30s).value());
    w.server.command({"RPUSH", w.keys.name("lock", "3").text(), "x"});
    w.server.command({"RPUSH", w.keys.name("value", "4").text(), "x"});
    w.server.command({"SET", w.keys.name("lock", "5").text(), "by hand"});

    constexpr int count = 300;  // more than go into one
    auto const before = w.client.statistics().commands;
    auto const granted = together<GrantAndState<Stock>>(w.io, count, w.create());
    CHECK(w.client.statistics().commands - before <= 4);
    std::uint64_t latest = 0;
    for (int i = 0; i < count; ++i) {
        CAPTURE(i);
        auto const& one = granted[static_cast<std::size_t>(i)];
        switch (i) {
        case 2:
            CHECK(one.errc() == Errc::lock_busy);
            CHECK(one.failure().retry_after() > 20s);
            continue;
        case 3:
        case 4: CHECK(one.errc() == Errc::corrupt_state); continue;
        case 5: CHECK(one.errc() == Errc::lock_busy); continue;
        default: break;
        }
        REQUIRE(one);
        CHECK(one->grant.first > FencingToken{});
        latest = std::max(latest, one->grant.first.value());
        CHECK(one->state.has_value() == (i == 1));
    }
    CHECK(granted[1]->state->value.quantity == 11);
    CHECK(w.other.create(Key{"299"}, owner(1001), 30s).errc() == Errc::lock_busy);
    CHECK(
        w.other.create(Key{"later"}, owner(1001), 30s)->first.value() >= latest + redis::detail::token_block);

    // Asked again by their owners, and by a server that has forgotten the script.
    w.server.command({"SCRIPT", "FLUSH"});
    auto const again = together<GrantAndState<Stock>>(w.io, count, w.create());
    for (int i = 0; i < count; ++i) {
        CAPTURE(i);
        auto const& one = again[static_cast<std::size_t>(i)];
        CHECK(one.errc() == granted[static_cast<std::size_t>(i)].errc());
        if (one)
            CHECK(one->grant.first == granted[static_cast<std::size_t>(i)]->grant.first);
    }

    auto const removed = together<Removal>(w.io, count, w.remove());
    for (int i = 0; i < count; ++i) {
        CAPTURE(i);
        auto const& one = removed[static_cast<std::size_t>(i)];
        if (i == 3)
            CHECK(one.errc() == Errc::corrupt_state);
        else
            CHECK(
                one.value() == (i == 2 || i == 5 ? Removal::taken
                                : i == 4         ? Removal::gone
                                                 : Removal::removed));
    }
}

TEST_CASE(
    "acquires without a value that leave as one command end each with an outcome of its own",
    "[redis][asynchronous]")
{
    OneCommand w;
    // Connected, and the server knows the scripts: else each call is sent again by itself.
    static_cast<void>(together<Grant>(w.io, 100, w.create_alone()));
    CHECK(all_removed(together<Removal>(w.io, 100, w.remove())));
    auto const alike = together<Grant>(w.io, 100, w.create_alone());
    for (auto const& one : alike)
        CHECK(one.value().first == alike[0].value().first);
    CHECK(all_removed(together<Removal>(w.io, 100, w.remove())));

    static_cast<void>(w.other.create(Key{"0"}, owner(1000), 30s).value());
    static_cast<void>(w.other.create(Key{"7"}, owner(1000), 30s).value());
    auto const mine = w.repository.create(Key{"8"}, owner(8), 30s).value();
    w.server.command({"RPUSH", w.keys.name("lock", "9").text(), "x"});
    auto const mixed = together<Grant>(w.io, 100, w.create_alone());
    for (int i = 0; i < 100; ++i) {
        CAPTURE(i);
        auto const& one = mixed[static_cast<std::size_t>(i)];
        if (i == 0 || i == 7)
            CHECK(one.errc() == Errc::lock_busy);
        else if (i == 8)
            CHECK(one.value().first == mine.first);
        else if (i == 9)
            CHECK(one.errc() == Errc::corrupt_state);
        else
            CHECK(one.value().first > mine.first);
    }
    // All in vain: nothing is written, and no token used up.
    auto const token = w.server.command({"HGET", w.keys.counter(0).text(), "token"});
    for (auto const &one : together<Grant>(w.io, 100, [&](Key const& key, int, Waiter& waiter) {
             return w.repository.start(verb::Create{key, owner(2000), 30s}, 20s, waiter);
         }))
        CHECK_FALSE(one);
    CHECK(w.server.command({"HGET", w.keys.counter(0).text(), "token"}) == token);
    auto const left = together<Removal>(w.io, 100, w.remove());
    CHECK(left[0].value() == Removal::taken);
    CHECK(left[9].errc() == Errc::corrupt_state);
    CHECK(left[10].value() == Removal::removed);
}

TEST_CASE("one lock may be asked for, and removed, twice in one command", "[redis][asynchronous]")
{
    OneCommand w;
    Key const key{"twice"};
    auto const ask = [&](Key const&, int i, Waiter& waiter) {
        return w.repository.start(verb::Create{i == 3 ? Key{"alone"} : key, owner(i % 2), 30s}, 20s, waiter);
    };
    auto const twice = together<Grant>(w.io, 4, ask);  // the first and the third for the same owner
    CHECK(twice[0]);
    CHECK(twice[1].errc() == Errc::lock_busy);
    CHECK(twice[2].value().first == twice[0].value().first);
    CHECK(twice[3]);
    auto const leave = [&](Key const&, int i, Waiter& waiter) {
        return w.repository.start(verb::Remove{i == 3 ? Key{"alone"} : key, owner(i % 2)}, 20s, waiter);
    };
    auto const gone = together<Removal>(w.io, 4, leave);
    CHECK(gone[0].value() == Removal::removed);
    CHECK(gone[1].value() != Removal::removed);
    CHECK(gone[2].value() == Removal::gone);
    CHECK(gone[3].value() == Removal::removed);
    CHECK(w.other.create(key, owner(9), 30s).value().first > twice[0].value().first);
}

TEST_CASE(
    "an acquire that was given up leaves the others of its command what is theirs", "[redis][asynchronous]")
{
    OneCommand w;
    auto const create = w.create();
    interlock_test::CountingWaiter waiter;
    auto first = create(Key{"a"}, 1, waiter);
    auto given_up = create(Key{"b"}, 2, waiter);
    auto last = create(Key{"c"}, 3, waiter);
    given_up.reset();
    CHECK(end_of(w.io, *last));
    CHECK(end_of(w.io, *first));
    CHECK(w.other.create(Key{"b"}, owner(9), 30s));
}

TEST_CASE(
    "acquires whose states are together beyond the reply limit are all answered", "[redis][asynchronous]")
{
    RedisServer server;
    auto o = redis_options(server);
    Repository const other{redis::Client{o}};
    // Written by somebody with a larger limit; the states of eight are more than one reply may have, one has
    // more by itself.
    o.max_reply_bytes = std::size_t{64} << 10;
    asio::io_context io;
    redis::Client const client{io, o};
    Repository const repository{client, {.max_value_bytes = 100}};
    constexpr int count = 50;
    // The server knows the script.
    static_cast<void>(other.create_and_load(Key{"first"}, owner(0), 30s).value());
    for (int i = 0; i < count; ++i)
        other.insert(Stock{std::to_string(i), 1}).value();
    for (int i = 0; i < count; ++i)
        if (i % 5 != 0)
            other
                .compare_and_set(
                    Key{std::to_string(i)}, other.load(Key{std::to_string(i)}).value().version,
                    Stock{std::string(i == 7 ? 80'000 : 9'000, 'x'), i})
                .value();
    auto const before = client.statistics().commands;
    auto const granted =
        together<GrantAndState<Stock>>(io, count, [&](Key const& key, int i, Waiter& waiter) {
            return repository.start(verb::CreateAndLoad<Stock>{key, owner(i), 30s}, 20s, waiter);
        });
    auto const commands = client.statistics().commands - before;
    CHECK(commands > 20);  // one for all, and one for each of those that it had no room for
    CHECK(commands < count);
    for (int i = 0; i < count; ++i) {
        CAPTURE(i);
        auto const& one = granted[static_cast<std::size_t>(i)];
        if (i == 7) {
            CHECK(one.errc() == Errc::corrupt_state);
            CHECK(
                server.command(
                    {"EXISTS", redis::detail::KeySpace{o.name_space, 1}.name("lock", "7").text()}) == "0");
            continue;
        }
        REQUIRE(one);
        CHECK(one->state->value.quantity == (i % 5 == 0 ? 1 : i));
    }
    CHECK(client.statistics().reconnects == 0);
    CHECK(repository.create_and_load(Key{"7"}, owner(1), 30s).errc() == Errc::corrupt_state);
    CHECK(repository.load(Key{"7"}).errc() == Errc::corrupt_state);
}

TEST_CASE("a key that the user may not touch costs those that leave with it nothing", "[redis][asynchronous]")
{
    OneCommand w;
    auto const head = w.keys.head() + "0}:";
    w.server.command({"ACL", "SETUSER", "less", "on", ">password", "+@all", "&*", "~" + head + "counter"});
    w.server.command({"ACL", "SETUSER", "less", "~" + head + "lock:1:1", "~" + head + "lock:1:3"});
    auto less = w.o;
    less.user = "less";
    less.password = "password";
    w.repository = Repository{redis::Client{w.io, less}};
    for (int round = 0; round < 2; ++round) {  // the server knows the script, or not
        auto const granted = together<Grant>(w.io, 4, w.create_alone());
        for (std::size_t i = 0; i < 4; ++i)
            CHECK(granted[i].errc() == (i % 2 == 1 ? Errc::ok : Errc::misconfigured));
        auto const removed = together<Removal>(w.io, 4, w.remove());
        for (std::size_t i = 0; i < 4; ++i)
            CHECK(removed[i].errc() == (i % 2 == 1 ? Errc::ok : Errc::misconfigured));
    }
}

TEST_CASE("folded calls whose connection is lost are all unknown", "[redis][asynchronous]")
{
    RedisServer server;
    auto const o = redis_options(server);
    asio::io_context io;
    redis::Client const client{io, o};
    Repository const repository{client};
    auto const create = [&](Key const& key, int i, Waiter& waiter) {
        return repository.start(verb::Create{key, owner(i), 30s}, 20s, waiter);
    };
    CHECK(together<Grant>(io, 1, create).at(0));  // connected
    server.pause();
    std::vector<interlock_test::CountingWaiter> waiters(100);
    std::vector<StartedCall<Grant>> calls;
    for (int i = 0; i < 100; ++i)
        calls.push_back(create(Key{std::to_string(i)}, i, waiters[static_cast<std::size_t>(i)]));
    io.restart();
    io.run_for(200ms);  // written
    server.kill();
    for (auto& call : calls)
        CHECK(end_of(io, *call).errc() == Errc::outcome_unknown);
}

TEST_CASE(
    "a call keeps its deadline while a server that stopped answering is given up", "[redis][asynchronous]")
{
    RedisServer server;
    auto o = redis_options(server);
    o.max_in_flight = 1;
    o.reply_timeout = 300ms;
    o.connect_timeout = 20s;
    redis::Client const client{o};
    Repository const repository{client};
    auto const end = [](auto& call) {
        for (;; std::this_thread::sleep_for(1ms))
            if (auto const outcome = call->poll())
                return outcome->errc();
    };
    interlock_test::CountingWaiter waiter;
    auto first = repository.start(verb::Load<Stock>{Key{"a"}}, 20s, waiter);
    CHECK(end(first) == Errc::not_found);
    server.pause();
    auto const begin = std::chrono::steady_clock::now();
    auto in_flight = repository.start(verb::Load<Stock>{Key{"a"}}, 60s, waiter);
    auto behind = repository.start(verb::Load<Stock>{Key{"a"}}, 500ms, waiter);
    CHECK(end(behind) != Errc::ok);
    CHECK(std::chrono::steady_clock::now() - begin < 10s);  // not when connecting anew is given up
    server.resume();
    CHECK(end(in_flight) == Errc::unavailable);
}

template <class Service>
int count_to(asio::io_context& io, Service const& service, int callers, std::optional<OperationId> same = {})
{
    int failed = 0;
    for (int i = 0; i < callers; ++i)
        asio::co_spawn(
            io,
            [&, i]() -> asio::awaitable<void> {
                OperationId const id = same ? *same : OperationId{"op " + std::to_string(i)};
                auto const add = [](Stock& s) { return ++s.quantity; };
                auto [error, outcome] = co_await service.async_try_do_in_transaction(
                    id, std::string("hot"), add, {.deadline = 60s}, asio::as_tuple(asio::use_awaitable));
                failed += error != nullptr || !outcome;
            },
            asio::detached);
    io.run();
    io.restart();
    return failed;
}

TEST_CASE("asynchronous transactions lose no update and take no threads", "[redis][asynchronous]")
{
    asio::io_context io;
    redis::Client const client{io, redis_options()};
    Repository const repository{client};
    repository.insert(Stock{"hot", 0}).value();
    auto const quantity = [&] { return repository.load("hot").value().value.quantity; };

    SECTION("optimistic")
    {
        TransactionService const service{OptimisticVersioning{}, repository};
        CHECK(count_to(io, service, 64) == 0);
        CHECK(quantity() == 64);
    }
    // The first call asks the server whether it is fit; until that is known the pool of threads is used.
    auto const warm = [](auto const& service) { service.do_in_transaction("hot", [](Stock&) {}); };
    SECTION("lock")
    {
        TransactionService const service{SetNxLock{}, repository};
        warm(service);
        CHECK(count_to(io, service, 200) == 0);
        CHECK(quantity() == 200);
    }
    SECTION("one operation id is one effect")
    {
        TransactionService const service{SetNxLock{}, repository};
        warm(service);
        CHECK(count_to(io, service, 50, OperationId{"only once"}) == 0);
        CHECK(quantity() == 1);
    }
    SECTION("chosen at run time")
    {
        TransactionService<Stock> const service{SetNxLock{}, StateRepository<Stock>{repository}};
        warm(service);
        CHECK(count_to(io, service, 100) == 0);
        CHECK(quantity() == 100);
    }
    CHECK(client.connection_count() <= 1);
    CHECK(client.statistics().commands > 0);
}

TEST_CASE(
    "asynchronous transactions on several keys lose no update, and their exceptions arrive",
    "[redis][asynchronous]")
{
    asio::io_context io;
    redis::Client const client{io, redis_options()};
    Repository const repository{client};
    repository.insert(Stock{"a", 10}).value();
    repository.insert(Stock{"b", 0}).value();
    std::string story;
    auto const run = [&](auto const& service) {
        auto const move = [](Stock& a, Stock& b) {
            if (a.quantity == 0)
                throw std::runtime_error("empty");
            --a.quantity;
            ++b.quantity;
        };
        int moved = 0;
        int empty = 0;
        for (int i = 0; i < 14; ++i)
            service.async_try_do_in_transaction(
                keys(i % 2 ? "a" : "a", "b"), move, {.deadline = 60s},
                asio::bind_executor(io, [&](std::exception_ptr e, Outcome<void> outcome) {
                    moved += e == nullptr && outcome;
                    empty += e != nullptr;
                }));
        io.run();
        io.restart();
        CHECK(moved == 10);
        CHECK(empty == 4);
        CHECK(repository.load("a").value().value.quantity == 0);
        CHECK(repository.load("b").value().value.quantity == 10);
    };
    SECTION("optimistic")
    {
        run(TransactionService{OptimisticVersioning{}, repository});
    }
    SECTION("lock")
    {
        run(TransactionService{SetNxLock{}, repository});
    }
}

TEST_CASE(
    "a write to a server that stops answering is unknown, and is found out by its operation id",
    "[redis][asynchronous]")
{
    RedisServer server;
    asio::io_context io;
    redis::Client const client{io, redis_options(server)};
    Repository const repository{client};
    repository.insert(Stock{"x", 1}).value();
    TransactionService const service{OptimisticVersioning{}, repository};
    auto const add = [](Stock& s) { ++s.quantity; };
    // Commit is sent, then nothing comes back.
    auto const stop = [&](Stock& s) {
        ++s.quantity;
        server.pause();
    };
    auto lost =
        service.async_try_do_in_transaction(std::string("x"), stop, {.deadline = 300ms}, asio::use_future);
    std::optional<Outcome<void>> outcome;
    service.async_try_do_in_transaction(
        std::string("x"), stop, {.deadline = 300ms},
        asio::bind_executor(io, [&](std::exception_ptr, Outcome<void> o) { outcome.emplace(std::move(o)); }));
    while (!outcome)
        io.run_one();
    server.resume();
    REQUIRE(outcome);
    CHECK((outcome->errc() == Errc::outcome_unknown || outcome->errc() == Errc::deadline_exceeded));
    static_cast<void>(lost.wait_for(5s));
    io.restart();
    // The connection is of use again.
    std::optional<Outcome<void>> again;
    service.async_try_do_in_transaction(
        std::string("x"), add, {.deadline = 20s},
        asio::bind_executor(io, [&](std::exception_ptr, Outcome<void> o) { again.emplace(std::move(o)); }));
    io.run();
    REQUIRE(again);
    CHECK(*again);
}

TEST_CASE("cancelling an acquire gives back what may have been granted", "[redis][asynchronous]")
{
    asio::io_context io;
    redis::Client const client{io, redis_options()};
    LockStateService const locks{Repository{client}, {.ttl = 30s}};
    locks.try_acquire("first").value();
    for (int round = 0; round < 20; ++round) {
        asio::cancellation_signal signal;
        std::optional<error_code> result;
        bool held = false;
        locks.async_acquire(
            std::string("c"), asio::bind_cancellation_slot(
                                  signal.slot(), asio::bind_executor(io, [&](error_code e, Lock<Stock> lock) {
                                      result = e;
                                      held = static_cast<bool>(lock);
                                  })));
        for (int i = 0; i < round; ++i)
            io.run_one_for(1ms);
        signal.emit(asio::cancellation_type::terminal);
        io.run();
        io.restart();
        REQUIRE(result);
        CHECK(held == !*result);
    }
    // Nobody holds it: long before its lease would end.
    CHECK(eventually([&] {
        io.run_for(1ms);
        io.restart();
        return locks.try_acquire("c").has_value();
    }));
}

TEST_CASE("an execution context may be destroyed while calls are under way", "[redis][asynchronous]")
{
    auto held = std::make_shared<int>(1);
    std::weak_ptr<int> const watch = held;
    auto settings = redis_options();
    bool polled = false;
    {
        std::optional<redis::Client> client;
        {
            asio::io_context io;
            client.emplace(io, settings);
            Repository const repository{*client};
            repository.insert(Stock{"x", 1}).value();
            TransactionService const service{SetNxLock{}, repository};
            service.do_in_transaction("x", [](Stock& s) { ++s.quantity; });
            for (int i = 0; i < 10; ++i)
                service.async_try_do_in_transaction(
                    std::string(i % 2 ? "x" : "y"), [](Stock& s) { ++s.quantity; }, {.deadline = 20s},
                    asio::bind_executor(
                        io, [held, &polled](std::exception_ptr, Outcome<void>) { CHECK(!polled); }));
            io.poll();
            polled = true;
        }
        held.reset();
        CHECK(watch.expired());
        Repository const repository{*client};  // blocking calls do not need it
        CHECK(repository.load("x"));
    }
}

TEST_CASE("a client without an executor of its own uses the process's", "[redis][asynchronous]")
{
    redis::Client const client{redis_options()};
    Repository const repository{client};
    repository.insert(Stock{"x", 0}).value();
    TransactionService const service{SetNxLock{}, repository};
    std::vector<std::future<int>> results;
    for (int i = 0; i < 20; ++i)
        results.push_back(service.async_do_in_transaction(
            std::string("x"), [](Stock& s) { return ++s.quantity; }, asio::use_future));
    for (auto& result : results)
        result.get();
    CHECK(repository.load("x").value().value.quantity == 20);
}

}  // namespace redis_asynchronous_test
