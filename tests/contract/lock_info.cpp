// SPDX-License-Identifier: BSL-1.0

// The laws of `InspectableRepository` in core/contracts/store.hpp, on every backend: what a lock record says
// of its holder, and how an operator ends an acquisition.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/open.hpp>

#include <boost/asio/use_future.hpp>

#include "contract/backends.hpp"
#include "support/catch.hpp"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>

namespace contract {
namespace {

// What is the same for all handles is tried on one of each store.
using OneOfEach = std::tuple<std::tuple_element_t<0, Backends>>;

using namespace interlock;
using namespace std::chrono_literals;

TEMPLATE_LIST_TEST_CASE(
    "a lock record says who holds it, since when and for how long", "[contract][inspect]", Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    static_assert(InspectableRepository<std::remove_cvref_t<decltype(repository)>>);
    auto const x = key("x");
    CHECK_FALSE(repository.inspect(x, soon).value());
    CHECK_FALSE(repository.inspect("x", soon).value());  // a key as users say it
    auto const grant = repository.carry_out(verb::Create{x, owner(1), 60s, "a"}, soon).value();
    auto const first = repository.inspect(x, soon).value();
    REQUIRE(first);
    CHECK(first->holder == "a");
    CHECK(first->token == grant.first);
    CHECK(first->remaining <= 60s);
    CHECK(first->remaining > 30s);
    REQUIRE(first->held_for);
    CHECK(*first->held_for >= 0s);
    CHECK(*first->held_for < 30s);
    CHECK(first->waiters == 0);

    // Neither a renewal nor a write changes who holds it and since when, and it asks no lock for that.
    std::this_thread::sleep_for(20ms);
    CHECK(repository.renew(x, owner(1), 120s, soon));
    auto const fence = Fence{owner(1), FencingToken{grant.first.value() + 1}};
    Stock const value{"x", 1};
    std::array changes{Change<Stock>{.key = &x, .value = &value, .fence = &fence}};
    CHECK(repository.commit(changes, nullptr, soon));
    auto const later = backend.other().inspect(x, soon).value();
    REQUIRE(later);
    CHECK(later->holder == "a");
    CHECK(later->token == grant.first);
    CHECK(later->since == first->since);
    CHECK(*later->held_for >= *first->held_for + 15ms);
    CHECK(later->remaining > 60s);

    // Asked again with the same owner, it is the same acquisition.
    CHECK(repository.carry_out(verb::Create{x, owner(1), 60s, "a"}, soon).value().first == grant.first);
    CHECK(repository.inspect(x, soon).value()->since == first->since);
    CHECK(repository.remove(x, owner(1), soon).value() == Removal::removed);
    CHECK_FALSE(repository.inspect(x, soon).value());
    CHECK(
        repository.inspect(Key{std::string(Key::max_size + 1, 'k')}, soon).errc() == Errc::invalid_argument);
}

TEMPLATE_LIST_TEST_CASE(
    "a holder without a name, and one of any bytes, are inspected", "[contract][inspect]", Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    auto const x = key("x");
    auto grant = repository.create(x, owner(1), 60s, soon).value();
    auto info = repository.inspect(x, soon).value();
    REQUIRE(info);
    CHECK(info->holder.empty());
    CHECK(info->token == grant.first);
    CHECK(repository.remove(x, owner(1), soon).value() == Removal::removed);

    std::string const odd{"h1\0\xff\n0123456789\"'", 17};
    for (auto const& name : {odd, std::string(1, 'z'), std::string(HolderName::max_size, '7')}) {
        grant = repository.carry_out(verb::Create{x, owner(2), 60s, name}, soon).value();
        info = repository.inspect(x, soon).value();
        REQUIRE(info);
        CHECK(info->holder == name);
        CHECK(info->token == grant.first);
        CHECK(repository.renew(x, owner(2), 60s, soon));
        CHECK(
            repository.carry_out(verb::Remove{x, owner(2), grant.first, name}, soon).value() ==
            Removal::removed);
    }
    std::string const long_name(HolderName::max_size + 1, 'a');
    CHECK(
        repository.carry_out(verb::Create{x, owner(3), 60s, long_name}, soon).errc() ==
        Errc::invalid_argument);
    CHECK_FALSE(repository.inspect(x, soon).value());
}

TEMPLATE_LIST_TEST_CASE(
    "an operator breaks the acquisition that was seen and no later one", "[contract][inspect]", Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    auto const operators = backend.other();
    auto const x = key("x");
    auto const version = repository.insert(x, Stock{"x", 1}, soon).value();
    LockInfo const nobody{.token = FencingToken{5}};
    CHECK(operators.break_lock(x, nobody, soon).value() == Removal::gone);
    auto const grant = repository.carry_out(verb::Create{x, owner(1), 60s, "a"}, soon).value();
    auto const seen = operators.inspect(x, soon).value().value();
    CHECK(operators.break_lock(x, nobody, soon).value() == Removal::taken);
    CHECK(repository.renew(x, owner(1), 60s, soon));  // the same acquisition after a renewal
    CHECK(operators.break_lock(x, seen, soon).value() == Removal::removed);
    CHECK(operators.break_lock(x, seen, soon).value() == Removal::gone);

    // The former holder hears of it, and its late write is refused.
    CHECK(repository.renew(x, owner(1), 60s, soon).errc() == Errc::lock_lost);
    auto const fence = Fence{owner(1), grant.first};
    Stock const late{"x", 2};
    std::array changes{Change<Stock>{.key = &x, .version = version, .value = &late, .fence = &fence}};
    CHECK(repository.commit(changes, nullptr, soon).errc() == Errc::fenced_out);

    // The next one is not touched by what was seen before it.
    CHECK(repository.carry_out(verb::Create{x, owner(2), 60s, "b"}, soon));
    CHECK(operators.break_lock(x, seen, soon).value() == Removal::taken);
    CHECK(repository.renew(x, owner(2), 60s, soon));
    CHECK(repository.commit(changes, nullptr, soon).errc() == Errc::fenced_out);
    CHECK(operators.inspect(x, soon).value()->holder == "b");
    CHECK(repository.load(x, soon).value().value.quantity == 1);
}

TEMPLATE_LIST_TEST_CASE("whoever breaks or inspects a lock need not block", "[contract][inspect]", Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    auto const x = key("x");
    CHECK(repository.carry_out(verb::Create{x, owner(1), 60s, "a"}, soon));
    auto const seen = repository.async_inspect(x, soon, boost::asio::use_future).get().value();
    REQUIRE(seen);
    CHECK(seen->holder == "a");
    CHECK(
        repository.async_break_lock(x, *seen, soon, boost::asio::use_future).get().value() ==
        Removal::removed);
    CHECK_FALSE(repository.async_inspect(x, boost::asio::use_future).get().value());
    CHECK(repository.async_break_lock("x", *seen, boost::asio::use_future).get().value() == Removal::gone);
}

TEMPLATE_LIST_TEST_CASE("every lock that is held is listed with its key", "[contract][inspect]", OneOfEach)
{
    TestType const backend;
    auto const repository = backend.repository();
    std::map<std::string, std::string> expected;
    for (int i = 0; i < 1200; ++i) {
        std::string const name = i == 0 ? std::string("odd:1:\0*?[x]", 12) : "k" + std::to_string(i);
        auto const holder = i % 7 == 0 ? std::string{} : "holder " + std::to_string(i);
        auto const k = key(name);
        REQUIRE(repository.carry_out(
            verb::Create{k, owner(static_cast<std::uint64_t>(i) + 1), 600s, holder}, soon));
        if (i % 3 == 0)
            REQUIRE(repository.insert(k, Stock{name, i}, soon));
        if (i % 100 == 99)
            REQUIRE(
                repository.remove(k, owner(static_cast<std::uint64_t>(i) + 1), soon).value() ==
                Removal::removed);
        else
            expected.emplace(name, holder);
    }
    std::map<std::string, std::string> found;
    // The visitor may use the store.
    CHECK(backend.other().for_each_lock(
        [&](Key const& k, LockInfo const& info) {
            found.emplace(std::string(k.bytes()), info.holder);
            if (found.size() == 1)
                CHECK(repository.inspect(k, soon).value()->token == info.token);
        },
        soon));
    CHECK(found == expected);
}

TEMPLATE_LIST_TEST_CASE(
    "a lock service says who it is, unless it is told not to", "[contract][inspect]", OneOfEach)
{
    TestType const backend;
    auto const repository = backend.repository();
    auto const holder_of = [&](LockOptions const& options) {
        LockStateService const locks{repository, options};
        auto const lock = locks.acquire("x", {.deadline = soon});
        auto const info = repository.inspect("x", soon).value().value();
        CHECK(info.token <= lock.fencing_token());
        return info.holder;
    };
    CHECK(holder_of({.holder = "nightly"}) == "nightly");
    CHECK(holder_of({.holder = ""}).empty());
    auto const own = holder_of({});
    CHECK_THAT(own, Catch::Matchers::ContainsSubstring(":" + std::to_string(::getpid()) + ":"));
    LockStateService const locks{repository, {.holder = std::string(HolderName::max_size + 1, 'x')}};
    CHECK(locks.acquire_outcome("x", Wait::no, {.deadline = soon}).errc() == Errc::invalid_argument);
}

TEMPLATE_LIST_TEST_CASE(
    "handing a lock on within a service keeps its holder and its beginning", "[contract][inspect]", OneOfEach)
{
    TestType const backend;
    auto const repository = backend.repository();
    LockStateService const locks{repository, {.holder = "both"}};
    auto first = locks.acquire("x", {.deadline = soon});
    auto const before = repository.inspect("x", soon).value().value();
    FencingToken second{};
    std::thread next{[&] { second = locks.acquire("x", {.deadline = soon}).fencing_token(); }};
    while (locks.waiter_count() == 0)
        std::this_thread::sleep_for(1ms);
    std::optional<LockInfo> after;
    auto const token = first.fencing_token();
    first = {};
    next.join();
    CHECK(second > token);
    // The second one may be gone by now; while it was there, the record was the one that was seen.
    after = repository.inspect("x", soon).value();
    if (after)
        CHECK(after->since == before.since);
    CHECK(before.token <= token);
}

TEMPLATE_LIST_TEST_CASE(
    "those who wait at the store are counted, and the next holder names itself", "[contract][inspect]",
    OneOfEach)
{
    TestType const backend;
    auto const repository = backend.repository();
    LockStateService const locks{backend.other(), {.holder = "second"}};
    CHECK(repository.carry_out(verb::Create{key("x"), owner(1), 60s, "first"}, soon));
    std::string next;
    bool released = false;
    std::thread waiter{[&] {
        auto lock = locks.acquire("x", {.deadline = soon});
        next = repository.inspect("x", soon).value().value().holder;
        released = lock.release().has_value();
    }};
    auto const until = std::chrono::steady_clock::now() + 10s;
    std::size_t waiters = 0;
    while (waiters == 0 && std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(5ms);
        waiters = repository.inspect("x", soon).value().value().waiters;
    }
    CHECK(waiters == 1);
    auto const seen = repository.inspect("x", soon).value().value();
    CHECK(seen.holder == "first");
    CHECK(repository.break_lock("x", seen, soon).value() == Removal::removed);
    waiter.join();
    CHECK(next == "second");
    CHECK(released);
    CHECK_FALSE(repository.inspect("x", soon).value());
}

TEMPLATE_LIST_TEST_CASE(
    "whoever releases a lock that was broken is told that it was lost", "[contract][inspect]", Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    LockStateService const locks{repository, {.ttl = 60s}};
    auto const break_it = [&] {
        auto const seen = repository.inspect("x", soon).value().value();
        CHECK(repository.break_lock("x", seen, soon).value() == Removal::removed);
    };
    auto lock = locks.acquire("x", {.deadline = soon});
    break_it();
    CHECK(lock.release().errc() == Errc::lock_lost);

    auto another = locks.acquire("x", {.deadline = soon});
    break_it();
    std::promise<boost::system::error_code> told;
    locks.async_release(std::move(another), [&](boost::system::error_code error) { told.set_value(error); });
    CHECK(told.get_future().get() == Errc::lock_lost);

    auto third = locks.acquire("x", {.deadline = soon});
    CHECK(third.release());
}

TEMPLATE_LIST_TEST_CASE(
    "a store chosen at run time is inspected as any other", "[contract][inspect]", OneOfEach)
{
    TestType const backend;
    StateRepository<Stock> const chosen = backend.repository();
    LockStateService<Stock> const locks{chosen, {.holder = "chosen"}};
    auto const lock = locks.acquire("x", {.deadline = soon});
    auto const seen = chosen.inspect("x", soon).value().value();
    CHECK(seen.holder == "chosen");
    std::size_t count = 0;
    CHECK(chosen.for_each_lock([&](Key const&, LockInfo const&) { ++count; }));
    CHECK(count == 1);
    CHECK(chosen.break_lock("x", seen, soon).value() == Removal::removed);
    CHECK(chosen.async_inspect("x", boost::asio::use_future).get().has_value());
}

}  // namespace
}  // namespace contract
