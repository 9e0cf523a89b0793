// SPDX-License-Identifier: BSL-1.0

// A value does not fit its column: the failure names the member, on every path, and never the value.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace postgres_which_member_test {

using namespace interlock;
using interlock_test::fresh_pool;
using interlock_test::sql;

struct Person {
    std::int64_t id{0};
    std::string name{"ann"};
    std::string country{"DE"};
    std::int64_t score{1};
    std::string ref{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"};
    std::optional<int> height{1};
    std::string born{"2000-01-01"};
    std::string data{"{}"};
    double rate{0.5};
    std::string mood{"good"};
    int even{2};
    std::vector<std::string> numbers{};
    std::vector<std::string> codes{};
};
BOOST_DESCRIBE_STRUCT(
    Person, (), (id, name, country, score, ref, height, born, data, rate, mood, even, numbers, codes))

TEST_CASE("the member whose value is refused is named", "[postgres][foreign][which_member]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TYPE mood_w AS ENUM ('good', 'bad')", "CREATE DOMAIN even_w AS int CHECK (VALUE % 2 = 0)",
         "CREATE TABLE \"Persons\" (id bigint PRIMARY KEY, name text NOT NULL, country varchar(2) NOT NULL, "
         "score int NOT NULL, ref uuid NOT NULL, height int NOT NULL, born date NOT NULL, data jsonb NOT "
         "NULL, "
         "rate numeric(3, 2) NOT NULL, mood mood_w NOT NULL, even even_w NOT NULL, numbers int[] NOT NULL, "
         "codes varchar(5)[] NOT NULL, "
         "version bigint NOT NULL DEFAULT 1)"});
    postgres::StateRepository<Person> const persons{pool, {.table = "\"Persons\"", .key = "id"}};
    CHECK(persons.insert(Person{.id = 1}));
    CHECK(persons.insert(Person{.id = 2}));
    using Change = std::function<void(Person&)>;
    struct Case {
        char const* member;
        Change change;
    };
    std::vector<Case> const cases{
        {"country", [](Person& p) { p.country = "secret"; }},
        {"score", [](Person& p) { p.score = 5'000'000'000; }},
        {"ref", [](Person& p) { p.ref = "secret"; }},
        {"height", [](Person& p) { p.height.reset(); }},
        {"name", [](Person& p) { p.name = "secret\xff\xfe"; }},
        {"name", [](Person& p) { p.name = std::string("secret\0b", 8); }},
        {"born", [](Person& p) { p.born = "secret"; }},
        {"born", [](Person& p) { p.born = "2023-02-30"; }},
        {"data", [](Person& p) { p.data = "{secret"; }},
        {"rate", [](Person& p) { p.rate = 10.5; }},
        {"mood", [](Person& p) { p.mood = "secret"; }},
        {"even", [](Person& p) { p.even = 3; }},
        {"numbers", [](Person& p) { p.numbers = {"1", "secret"}; }},
        {"codes", [](Person& p) { p.codes = {"ab", "secret"}; }},
    };
    TransactionService const optimistic{OptimisticVersioning{}, persons};
    TransactionService const row_lock{PessimisticRowLock{}, persons};
    TransactionService const lease{SetNxLock{}, persons};
    for (auto const& pair : cases) {
        // Lambdas cannot name parts of a structured binding with clang 14.
        auto const& member = pair.member;
        auto const& change = pair.change;
        INFO(member);
        auto const named = [&](auto const& outcome) {
            INFO(outcome.detail());
            CHECK((outcome.errc() == Errc::invalid_argument || outcome.errc() == Errc::constraint_violated));
            CHECK(outcome.detail().find(std::string("Persons\".") + member) != std::string::npos);
            CHECK(outcome.detail().find("secret") == std::string::npos);
        };
        std::int64_t const one = 1;
        named(optimistic.try_do_in_transaction(one, change));
        named(optimistic.try_do_in_transaction(OperationId{"a"}, one, change));
        named(row_lock.try_do_in_transaction(one, change));
        named(row_lock.try_do_in_transaction(OperationId{"b"}, one, change));
        named(lease.try_do_in_transaction(one, change));
        named(lease.try_do_in_transaction(OperationId{"c"}, one, change));
        auto const second = [&](Person& a, Person& b) { a.name += "x", change(b); };
        named(row_lock.try_do_in_transaction(keys(one, std::int64_t{2}), second));
        named(optimistic.try_do_in_transaction(keys(one, std::int64_t{2}), second));
        Person fresh{.id = 3};
        change(fresh);
        named(persons.insert(fresh));
        CHECK(persons.load(std::int64_t{3}).errc() == Errc::not_found);
    }
    CHECK(persons.load(std::int64_t{1}).value().version == 1);
}

}  // namespace postgres_which_member_test

// Keys whose column takes less than their C++ type has: a text that is no uuid, a number out of range. Every
// call names the column, and never the value. And keys of bytes, which are no text.

namespace postgres_key_types_test {

using namespace interlock;
using boost::asio::use_future;
using interlock_test::fresh_pool;
using interlock_test::sql;

struct Part {
    std::string id;
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Part, (), (id, n))

struct Numbered {
    std::int64_t id{0};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Numbered, (), (id, n))

/// A key of two columns.
struct Slot {
    std::int64_t shelf{0};
    std::string device;
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Slot, (), (shelf, device, n))

}  // namespace postgres_key_types_test

template <>
struct interlock::StateTraits<postgres_key_types_test::Slot>
    : interlock::DefaultStateTraits<postgres_key_types_test::Slot> {
    using key_type = std::tuple<std::int64_t, std::string>;
    static key_type key(postgres_key_types_test::Slot const& slot) { return {slot.shelf, slot.device}; }
    static postgres_key_types_test::Slot from_key(key_type const& key)
    {
        return {std::get<0>(key), std::get<1>(key)};
    }
};

namespace postgres_key_types_test {

/// Every call by `bad`, which is the key of `state`; `good` is another key. `column`: the one that is to be
/// named; `value`: what must not be shown.
template <class R, class K, class T>
void check_named(
    R const& parts, K const& bad, K const& good, T const& state, std::string const& column,
    std::string const& value)
{
    INFO(column << " " << value);
    auto const named = [&](char const* call, auto const& outcome) {
        INFO(call << ": " << outcome.detail());
        CHECK((outcome.errc() == Errc::invalid_argument || outcome.errc() == Errc::constraint_violated));
        CHECK(outcome.detail().find(column) != std::string::npos);
        CHECK(outcome.detail().find(value) == std::string::npos);
    };
    named("load", parts.load(bad));
    named("load all", parts.load(std::vector<K>{good, bad}));
    named("async load", parts.async_load(bad, use_future).get());
    named("insert", parts.insert(state));
    named("async insert", parts.async_insert(state, use_future).get());
    named("compare_and_set", parts.compare_and_set(bad, 1, state));
    named("erase", parts.erase(bad, 1));
    LockStateService const locks{parts};
    named("acquire", locks.acquire_outcome(state, Wait::no, {}));
    named("async acquire", locks.async_acquire_outcome(state, Wait::until_deadline, {}, use_future).get());
    named("force_release", parts.force_release(bad));
    auto const count = [](T& part) { return ++part.n; };
    auto const both = [](T& a, T& b) { return ++a.n + ++b.n; };
    auto const all = [](std::span<T> range) { return static_cast<int>(range.size()); };
    std::vector<K> const range{good, bad};
    auto const by = [&](auto policy) {
        TransactionService const service{policy, parts};
        named("operation", service.try_do_in_transaction(bad, count));
        named("operation id", service.try_do_in_transaction(OperationId{"a"}, bad, count));
        named("of a state", service.try_do_in_transaction(state, count));
        named("pair", service.try_do_in_transaction(keys(good, bad), both));
        named("range", service.try_do_in_transaction(range, all));
        named("async", service.async_try_do_in_transaction(bad, count, use_future).get());
        named("async range", service.async_try_do_in_transaction(range, all, use_future).get());
    };
    by(OptimisticVersioning{.missing = Missing::create});
    by(PessimisticRowLock{.missing = Missing::create});
    by(SetNxLock{.missing = Missing::create});
}

TEST_CASE("a key that its column refuses names the column", "[postgres][foreign][key_types]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TABLE kt_parts (id uuid PRIMARY KEY, n int NOT NULL, version bigint NOT NULL DEFAULT 1)",
         "CREATE TABLE kt_numbers (id int PRIMARY KEY, n int NOT NULL, version bigint NOT NULL DEFAULT 1)",
         "CREATE TABLE kt_texts (id text PRIMARY KEY, n int NOT NULL, version bigint NOT NULL DEFAULT 1)",
         "CREATE TABLE kt_slots (shelf int, device uuid, n int NOT NULL, version bigint NOT NULL DEFAULT 1, "
         "PRIMARY KEY (shelf, device))"});
    std::string const good = "00000000-0000-4000-8000-000000000000";
    std::string const secret = "secret";
    postgres::StateRepository<Part> const parts{pool, {.table = "kt_parts", .key = "id"}};
    check_named(parts, secret, good, Part{secret, 1}, "kt_parts.id", secret);
    postgres::StateRepository<Part> const texts{pool, {.table = "kt_texts", .key = "id"}};
    auto const no_text = secret + "\xff\xfe";
    check_named(texts, no_text, good, Part{no_text, 1}, "kt_texts.id", secret);
    auto const cut = secret + '\0' + "b";
    check_named(texts, cut, good, Part{cut, 1}, "kt_texts.id", secret);
    postgres::StateRepository<Numbered> const numbers{pool, {.table = "kt_numbers", .key = "id"}};
    std::int64_t const large = 5'000'000'000;
    check_named(numbers, large, std::int64_t{1}, Numbered{large, 1}, "kt_numbers.id", "5000000000");
    using Pair = std::tuple<std::int64_t, std::string>;
    postgres::StateRepository<Slot> const slots{pool, {.table = "kt_slots", .key = "shelf, device"}};
    check_named(slots, Pair{1, secret}, Pair{1, good}, Slot{1, secret, 1}, "kt_slots.device", secret);
    check_named(
        slots, Pair{large, good}, Pair{1, good}, Slot{large, good, 1}, "kt_slots.shelf", "5000000000");
}

TEST_CASE("a key of bytes is any bytes", "[postgres][foreign][key_types]")
{
    auto const pool = fresh_pool();
    sql({"CREATE TABLE kt_bytes (id bytea PRIMARY KEY, n int NOT NULL, version bigint NOT NULL DEFAULT 1)"});
    postgres::StateRepository<Part> const parts{pool, {.table = "kt_bytes", .key = "id"}};
    LockStateService const locks{parts};
    LockStateService const others{parts};
    auto const count = [](Part& part) { return ++part.n; };
    for (auto const& id :
         {std::string("plain"), std::string("\\x41"), std::string("a\0b", 3), std::string("\xff\x80"),
          std::string("C:\\new"), std::string("A")}) {
        INFO(id);
        CHECK(parts.load(id).errc() == Errc::not_found);
        REQUIRE(parts.insert(Part{id, 1}));
        CHECK(parts.load(id).value().value.id == id);
        CHECK(
            TransactionService{OptimisticVersioning{}, parts}.try_do_in_transaction(id, count).value() == 2);
        CHECK(TransactionService{PessimisticRowLock{}, parts}.try_do_in_transaction(id, count).value() == 3);
        TransactionService const lease{SetNxLock{}, parts};
        CHECK(lease.try_do_in_transaction(OperationId{"once"}, id, count).value() == 4);
        CHECK(lease.try_do_in_transaction(OperationId{"once"}, id, count).replayed());
        auto held = locks.try_acquire(id);
        REQUIRE(held);
        CHECK_FALSE(others.try_acquire(id));
        CHECK(held->release());
    }
    CHECK(interlock_test::postgres_server().command("SELECT count(*) FROM kt_bytes") == "6");
    auto const all = [](std::span<Part> range) { return range.size(); };
    TransactionService const service{PessimisticRowLock{}, parts};
    CHECK(service.try_do_in_transaction(std::vector<std::string>{"A", "\\x41"}, all).value() == 2);
    auto const now = parts.load("A").value();
    CHECK(parts.erase("A", now.version));
    CHECK(parts.load("\\x41"));
}

}  // namespace postgres_key_types_test
