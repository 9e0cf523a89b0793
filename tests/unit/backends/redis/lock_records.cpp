// SPDX-License-Identifier: BSL-1.0

// Lock records beside those of version 0.1, which knows no holders' cards, and cards that go with many calls
// in one command. What version 0.1 does to a record is done here by hand.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace redis_lock_records_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::owner;
using interlock_test::redis_options;
using interlock_test::redis_server;
using interlock_test::Stock;
using Repository = redis::StateRepository<Stock>;
Key const x{"x"};

struct World {
    std::string text_of(OwnerToken token) const
    {
        auto const bytes = token.bytes();
        return {bytes.data(), bytes.size()};
    }
    /// As version 0.1 does who finds the lock taken, once it has subscribed.
    void wait_as_version_0_1(OwnerToken token) const
    {
        auto const size = redis_server().command({"STRLEN", lock});
        redis_server().command({"SETRANGE", lock, size, text_of(token)});
    }
    redis::Options options = redis_options();
    Repository repository{redis::Client{options}};
    redis::detail::KeySpace keys{options.name_space, 1};
    std::string lock = keys.name("lock", "x").text();
};

TEST_CASE("a lock record of version 0.1 is inspected, renewed, left and broken", "[redis][releases]")
{
    World const w;
    auto const& repository = w.repository;
    std::string const line = "0000000000000007" + w.text_of(owner(2));
    redis_server().command(
        {"SET", w.lock, w.text_of(owner(1)) + "00000000000010250000000000001030" + line, "PX", "60000"});
    auto info = repository.inspect(x).value().value();
    CHECK((info.holder.empty() && !info.since && !info.held_for));
    CHECK(info.token == FencingToken{1025});
    CHECK(info.waiters == 1);
    CHECK(repository.renew(x, owner(1), 60s));
    CHECK(repository.carry_out(verb::Create{x, owner(3), 60s, "third"}, {}).errc() == Errc::lock_busy);
    CHECK(repository.remove(x, owner(1)).value() == Removal::removed);

    // It is the first one's in line, who names itself when it asks.
    info = repository.inspect(x).value().value();
    CHECK(info.holder.empty());
    auto const grant = repository.carry_out(verb::Create{x, owner(2), 60s, "second"}, {}).value();
    CHECK(grant.first == info.token);
    info = repository.inspect(x).value().value();
    CHECK((info.holder == "second" && info.since && info.token == grant.first));
    CHECK(repository.break_lock(x, info).value() == Removal::removed);
    CHECK_FALSE(repository.inspect(x).value());
}

TEST_CASE("whoever waits as version 0.1 does harms no record with a card", "[redis][releases]")
{
    World const w;
    auto const& repository = w.repository;
    auto const version = repository.insert(Stock{"x", 1}).value();
    std::string const name = "host:1:a program";  // sixteen bytes
    auto const take = [&] { return repository.carry_out(verb::Create{x, owner(1), 60s, name}, {}).value(); };
    auto const check_whole = [&](Grant const& grant) {
        auto const info = repository.inspect(x).value().value();
        CHECK((info.holder == name && info.since && info.token == grant.first));
        CHECK(repository.renew(x, owner(1), 60s));
    };
    auto grant = take();
    w.wait_as_version_0_1(owner(2));
    check_whole(grant);
    auto const fence = Fence{owner(1), grant.first};
    Stock const value{"x", 2};
    std::array changes{
        Change<Stock>{.key = &x, .version = version, .value = &value, .fence = &fence, .release = true}};
    CHECK(repository.commit(changes, nullptr));
    CHECK_FALSE(repository.inspect(x).value());

    // One of this version behind it mends the line, and the lock goes to the first.
    grant = take();
    w.wait_as_version_0_1(owner(2));
    BlockingWaiter<SystemRuntime> waiter{SystemRuntime{}};
    repository.subscribe(x, owner(3), waiter);
    CHECK(repository.carry_out(verb::Create{x, owner(3), 60s, "third"}, {}).errc() == Errc::lock_busy);
    check_whole(grant);
    CHECK(repository.inspect(x).value().value().waiters == 2);
    CHECK(repository.remove(x, owner(1)).value() == Removal::removed);
    auto const next = repository.carry_out(verb::Create{x, owner(2), 60s}, {}).value();
    CHECK(next.first > grant.first);
    CHECK(repository.inspect(x).value().value().waiters == 1);
    // It leaves the line before its turn.
    CHECK(repository.remove(x, owner(3)).value() == Removal::taken);
    repository.unsubscribe(x, waiter);
    CHECK(repository.inspect(x).value().value().waiters == 0);
    CHECK(repository.remove(x, owner(2)).value() == Removal::removed);
}

TEST_CASE("a counter of tokens that is ahead of the clock makes no wrong times", "[redis][inspect]")
{
    World const w;
    auto const& repository = w.repository;
    auto const counter = w.keys.counter(0).text();
    auto const now_of = [&] {
        auto const time = redis_server().command({"EVAL", "return redis.call('TIME')[1]", "0"});
        return std::chrono::sys_seconds{std::chrono::seconds{std::stoll(time)}};
    };
    for (auto const ahead : {0h, 100h}) {
        auto const seconds = (now_of().time_since_epoch() + ahead).count() - 1'735'689'600;
        redis_server().command({"HSET", counter, "token", std::to_string(seconds * 4'194'304)});
        auto const grant = repository.carry_out(verb::Create{x, owner(1), 60s, "a"}, {}).value();
        auto const info = repository.inspect(x).value().value();
        CHECK(info.since.value() > now_of() - 5min);
        CHECK(info.since.value() < now_of() + 5min);
        CHECK(info.held_for.value() < 5min);
        CHECK(
            repository.carry_out(verb::Remove{x, owner(1), grant.first, "a"}, {}).value() ==
            Removal::removed);
    }
}

TEST_CASE("calls that leave together keep their cards apart", "[redis][inspect]")
{
    World const w;
    auto const& repository = w.repository;
    for (auto const ahead : {false, true}) {
        if (ahead)
            redis_server().command({"HSET", w.keys.counter(0).text(), "token", "8000000000000000"});
        constexpr std::size_t count = 40;
        std::vector<Key> names;
        std::vector<std::string> holders;
        for (std::size_t i = 0; i < count; ++i) {
            names.emplace_back("k" + std::to_string(i));
            holders.push_back(std::string(i % 5 * 7, static_cast<char>('a' + i % 26)));
        }
        BlockingWaiter<SystemRuntime> waiter{SystemRuntime{}};
        auto const until = SystemRuntime::now() + 20s;
        auto const wait = [&](auto& calls) {
            for (auto& call : calls)
                for (;;) {
                    if (auto outcome = call->poll()) {
                        CHECK(*outcome);
                        break;
                    }
                    waiter.wait_until(until);
                }
        };
        std::vector<StartedCall<Grant>> creates;
        for (std::size_t i = 0; i < count; ++i)
            creates.push_back(repository.start(
                verb::Create{names[i], owner(i + 1), 60s, holders[i]}, Deadline{until}, waiter));
        wait(creates);
        for (std::size_t i = 0; i < count; ++i) {
            auto const info = repository.inspect(names[i]).value().value();
            CHECK(info.holder == holders[i]);
            CHECK(info.since.has_value() == !holders[i].empty());
            CHECK(info.held_for.value_or(0s) < 5min);
        }
        std::vector<StartedCall<Removal>> removals;
        for (std::size_t i = 0; i < count; ++i)
            removals.push_back(
                repository.start(verb::Remove{names[i], owner(i + 1)}, Deadline{until}, waiter));
        wait(removals);
        for (auto const& name : names)
            CHECK_FALSE(repository.inspect(name).value());
    }
}

TEST_CASE("what is no lock record of ours is told apart", "[redis][inspect]")
{
    World const w;
    for (std::string const text :
         {"", "short", "a text of thirty-two bytes, yes.",
          "0123456789abcdef0000000000001025"
          "0000000000001025hzz0000000000000"}) {
        redis_server().command({"SET", w.lock, text, "PX", "60000"});
        CHECK(w.repository.inspect(x).errc() == Errc::corrupt_state);
    }
    redis_server().command({"DEL", w.lock});
    redis_server().command({"RPUSH", w.lock, "a"});
    CHECK(w.repository.inspect(x).errc() == Errc::corrupt_state);
    std::size_t count = 0;
    CHECK(w.repository.for_each_lock([&](Key const&, LockInfo const&) { ++count; }));
    CHECK(count == 0);
}

}  // namespace redis_lock_records_test
