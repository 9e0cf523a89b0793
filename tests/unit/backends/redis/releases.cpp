// SPDX-License-Identifier: BSL-1.0

// Two releases of a program run side by side on one Redis: see support/releases.hpp.

#include "support/releases.hpp"

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/codec/json_state_traits.hpp>
#include <interlock/core/lock_state_service.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>

#include "support/redis.hpp"

#include <string>
#include <string_view>

namespace redis_releases_test {

struct Basket {
    std::string id;
    int items{0};
};
BOOST_DESCRIBE_STRUCT(Basket, (), (id, items))

}  // namespace redis_releases_test

template <>
struct interlock::StateTraits<redis_releases_test::Basket>
    : interlock::JsonStateTraits<redis_releases_test::Basket> {};

namespace redis_releases_test {

using namespace interlock;
using interlock_test::check_keeps;
using interlock_test::check_refusal;
using interlock_test::check_turns;
namespace r1 = interlock_test::first_release;
namespace r2 = interlock_test::next_release;

TEST_CASE("a release keeps in Redis what the next one has added", "[redis][releases]")
{
    redis::Client const client{interlock_test::redis_options()};
    redis::StateRepository<r1::Cart> const old_store{client};
    redis::StateRepository<r2::Cart> const new_store{client};
    check_keeps(OptimisticVersioning{}, old_store, new_store);
    check_turns(OptimisticVersioning{}, old_store, new_store);
    check_turns(OptimisticVersioning{.remember = 10}, old_store, new_store);
    check_turns(SetNxLock{}, old_store, new_store);
    check_refusal(redis::StateRepository<r1::Retyped>{client}, new_store);
}

TEST_CASE("a release keeps it under leases and with a cache", "[redis][releases]")
{
    for (int i = 0; i < 2; ++i) {
        redis::Client const client{interlock_test::redis_options()};
        redis::StateRepository<r1::Cart> const old_store{client};
        redis::StateRepository<r2::Cart> const new_store{client};
        if (i == 0)
            check_keeps(SetNxLock{}, old_store, new_store);
        else
            check_keeps(OptimisticVersioning{.remember = 10}, old_store, new_store);
    }
}

TEST_CASE("asynchronous calls keep it as well", "[redis][releases]")
{
    redis::Client const client{interlock_test::redis_options()};
    redis::StateRepository<r1::Cart> const old_store{client};
    redis::StateRepository<r2::Cart> const new_store{client};
    new_store.insert(r2::Cart{"a-key-that-is-longer-than-a-short-string", 1, {}, "X", 9}).value();
    TransactionService const versioned{OptimisticVersioning{}, old_store};
    TransactionService const leases{SetNxLock{}, old_store};
    std::string const key = "a-key-that-is-longer-than-a-short-string";
    auto const add = [](r1::Cart& c) { ++c.items; };
    for (int i = 0; i < 3; ++i) {
        versioned.async_do_in_transaction(key, add, boost::asio::use_future).get();
        leases.async_do_in_transaction(key, add, boost::asio::use_future).get();
    }
    auto const state = new_store.load(key).value().value;
    CHECK((state.items == 7 && state.coupon == "X" && state.priority == 9));
}

TEST_CASE("Redis gives a state of version 0.1 to a struct that has grown", "[redis][releases]")
{
    auto options = interlock_test::redis_options();
    redis::Client const client{options};
    redis::StateRepository<r2::Cart> const store{client};
    // {"id": "old", "items": 3, "lines": [{"nut", 2}]} of first_release::Cart.
    std::string const value =
        "0000000000000004" +
        std::string("\x01\xc4\x04\x98\xbe\x03\x6f\x6c\x64\x06\x01\x03\x6e\x75\x74\x04", 16);
    interlock_test::redis_server().command(
        {"SET", redis::detail::KeySpace{options.name_space, 1}.name("value", "old").text(), value});
    auto const read = store.load("old");
    REQUIRE(read);
    CHECK((read->version == 4 && read->value.items == 3 && read->value.priority == 5));
    REQUIRE(read->value.lines.size() == 1);
    CHECK((read->value.lines[0].pieces == 2 && read->value.lines[0].discount == 0));
    store.compare_and_set("old", 4, read->value).value();
}

TEST_CASE("a state in JSON is read and written by others, too", "[redis][releases][json]")
{
    auto options = interlock_test::redis_options();
    redis::Client const client{options};
    redis::StateRepository<Basket> const store{client};
    auto& server = interlock_test::redis_server();
    auto const name = redis::detail::KeySpace{options.name_space, 1}.name("value", "b").text();
    auto const add = [](Basket& basket) { return ++basket.items; };
    TransactionService const versioned{OptimisticVersioning{}, store};
    TransactionService const leases{SetNxLock{}, store};
    store.insert(Basket{"b", 1}).value();
    CHECK(server.command({"GETRANGE", name, "16", "-1"}) == R"({"id":"b","items":1})");
    // A program in another language keeps the sixteen digits of the version in front, and counts them up.
    server.command({"SET", name, R"(0000000000000007{"colour": "red", "items": 5, "id": "b"})"});
    CHECK(versioned.do_in_transaction("b", add) == 6);
    CHECK(leases.do_in_transaction("b", add) == 7);
    CHECK(server.command({"GETRANGE", name, "16", "-1"}) == R"({"id":"b","items":7,"colour":"red"})");
    CHECK(store.load("b").value().version == 9);
    server.command({"SET", name, R"(0000000000000010{"id":"b","items":"many"})"});
    for (auto const& outcome :
         {versioned.try_do_in_transaction("b", add), leases.try_do_in_transaction("b", add)}) {
        INFO(outcome.message());
        CHECK(outcome.errc() == Errc::corrupt_state);
        CHECK(outcome.detail().find("\"items\" is not a number") != std::string::npos);
        CHECK(outcome.detail().find("many") == std::string::npos);
    }
    CHECK(LockStateService{store}.try_acquire("b"));
}

}  // namespace redis_releases_test
