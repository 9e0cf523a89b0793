// SPDX-License-Identifier: BSL-1.0

// Keys of which the server takes more than one text: blanks of char(n), capitals of uuid and citext, time
// zones, zeros of numbers. However it is spelled, a row has one lock, and an operation has one record.
//
// How it works: a table for each type of key has one row. Everything is asked for by two spellings.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"
#include "support/threads.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace postgres_foreign_keys_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::sql;

struct Part {
    std::string id;
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Part, (), (id, n))

/// The same without a comparison: policies cannot keep the loaded value to compare with.
struct Moved {
    std::string id;
    int n{0};
    friend bool operator==(Moved const&, Moved const&) = delete;
};
BOOST_DESCRIBE_STRUCT(Moved, (), (id, n))

struct Spelled {
    std::string type;
    std::string one;
    std::string other;
};

std::vector<Spelled> const& spellings()
{
    static std::vector<Spelled> const all{
        {"char(8)", "AB12", "AB12  "},
        {"uuid", "7f1c9a52-0d1e-4b9c-8a37-0c2f5e6d7b81", "{7F1C9A520D1E4B9C8A370C2F5E6D7B81}"},
        {"citext", "ann@example.org", "Ann@Example.ORG"},
        {"timestamptz", "2024-01-05 12:00:00+00", "2024-01-05 14:00:00+02"},
        {"timestamp", "2024-01-05 12:00:00", "Jan 5 2024 12:00 PM"},
        {"date", "2024-01-05", "5 January 2024"},
        {"numeric", "1.5", "1.500"},
        {"numeric(10, 4)", "7", "7.00"},
        {"int", "7", "007"},
        {"bigint", "-7", "-07"},
        {"float8", "0", "-0"},
        {"real", "1.5", "1.50"},
        {"inet", "10.0.0.1", "10.0.0.1/32"},
        {"macaddr", "08:00:2b:01:02:03", "08002B010203"},
        {"interval", "1 day", "24:00:00"},
        {"boolean", "t", "yes"},
        {"varbit", "101", "B101"},
        {"jsonb", R"({"a": 1, "b": 2})", R"({"b":2,"a":1.0})"},
        {"numeric[]", "{1,2.5}", "{1.0,2.50}"},
        {"int4range", "[1,3)", "[1,2]"},
        {"no_case", "straße", "STRASSE"},
        {"bit(4)", "0101", "b0101"},
        {"money", "1", "$1.00"},
        {"cidr", "10.0.0.0/8", "10/8"},
        {"timetz", "12:00:00+00", "12:00Z"},
        {"oid", "7", "007"},
        {"macaddr8", "08:00:2b:01:02:03:04:05", "08002B0102030405"},
        {"pg_lsn", "0/16", "0/00000016"},
        {"tsvector", "a b", "'b' 'a' 'a'"},
        {"int4multirange", "{[1,3)}", "{[1,2]}"},
        {"uuid[]", "{7f1c9a52-0d1e-4b9c-8a37-0c2f5e6d7b81}", "{7F1C9A520D1E4B9C8A370C2F5E6D7B81}"},
        {"device_id", "7f1c9a52-0d1e-4b9c-8a37-0c2f5e6d7b81", "7F1C9A52-0D1E-4B9C-8A37-0C2F5E6D7B81"},
    };
    return all;
}

/// A table whose key has the type, with a row of one spelling.
std::string table_of(postgres::Pool const& pool, Spelled const& key)
{
    static bool const made = [] {
        sql(
            {"CREATE EXTENSION citext", "CREATE DOMAIN device_id AS uuid CHECK (VALUE IS NOT NULL)",
             "CREATE COLLATION no_case (provider = icu, locale = 'de-u-ks-level1', deterministic = false)"});
        return true;
    }();
    static_cast<void>(made);
    auto const table = pool.options().name_space + "_parts";
    auto const type = key.type == "no_case" ? std::string("text COLLATE no_case") : key.type;
    sql(
        {"CREATE TABLE " + table + " (id " + type +
             " PRIMARY KEY, n int NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 1)",
         "INSERT INTO " + table + " (id) VALUES ('" + key.one + "')"});
    return table;
}

TEST_CASE("a row is found and changed by any spelling of its key", "[postgres][foreign_keys]")
{
    auto const count = [](auto& part) { return ++part.n; };
    for (auto const& key : spellings()) {
        INFO(key.type);
        auto const pool = fresh_pool();
        auto const table = table_of(pool, key);
        postgres::StateRepository<Part> const parts{pool, {.table = table, .key = "id"}};
        postgres::StateRepository<Moved> const moved{pool, {.table = table, .key = "id"}};
        auto const loaded = parts.load(key.other);
        REQUIRE(loaded);
        CHECK(parts.compare_and_set(key.other, 1, Part{key.other, 1}).value() == 2);
        CHECK(parts.compare_and_set(key.other, 2, loaded->value).value() == 3);
        TransactionService const optimistic{OptimisticVersioning{.remember = 100}, parts};
        CHECK(optimistic.try_do_in_transaction(key.other, count).value() == 1);
        CHECK(optimistic.try_do_in_transaction(key.one, count).value() == 2);
        CHECK(optimistic.try_do_in_transaction(key.other, count).value() == 3);
        for (auto const& spelling : {key.one, key.other}) {
            CHECK(TransactionService{PessimisticRowLock{}, parts}.try_do_in_transaction(spelling, count));
            CHECK(TransactionService{SetNxLock{}, parts}.try_do_in_transaction(spelling, count));
            CHECK(TransactionService{OptimisticVersioning{}, moved}.try_do_in_transaction(spelling, count));
            CHECK(TransactionService{PessimisticRowLock{}, moved}.try_do_in_transaction(spelling, count));
        }
        auto const now = parts.load(key.one).value();
        CHECK(now.value.n == 11);
        CHECK(parts.erase(key.other, now.version));
        CHECK(parts.load(key.one).errc() == Errc::not_found);
    }
}

TEST_CASE("one operation has one record, however its key is spelled", "[postgres][foreign_keys]")
{
    auto const count = [](Part& part) { return ++part.n; };
    for (auto const& key : spellings()) {
        INFO(key.type);
        auto const pool = fresh_pool();
        postgres::StateRepository<Part> const parts{pool, {.table = table_of(pool, key), .key = "id"}};
        auto const twice = [&](auto policy, std::string const& name) {
            INFO(name);
            TransactionService const service{policy, parts};
            OperationId const id{name};
            auto const first = service.try_do_in_transaction(id, key.one, count);
            auto const second = service.try_do_in_transaction(id, key.other, count);
            REQUIRE(first);
            REQUIRE(second);
            CHECK(second.replayed());
            CHECK(*second == *first);
        };
        twice(OptimisticVersioning{}, "optimistic");
        twice(PessimisticRowLock{}, "row lock");
        twice(SetNxLock{}, "lease");
        CHECK(parts.load(key.one).value().value.n == 3);
    }
}

TEST_CASE("a row has one lock, and a fence, however its key is spelled", "[postgres][foreign_keys]")
{
    for (auto const& key : spellings()) {
        INFO(key.type);
        auto const pool = fresh_pool();
        postgres::StateRepository<Part> const parts{pool, {.table = table_of(pool, key), .key = "id"}};
        LockStateService const locks{parts};
        LockStateService const others{parts};
        auto mine = locks.try_acquire(key.one);
        REQUIRE(mine);
        CHECK_FALSE(others.try_acquire(key.other));
        CHECK(parts.force_release(key.other).value() == Removal::removed);
        auto const theirs = others.try_acquire(key.other);
        REQUIRE(theirs);
        CHECK(theirs->fencing_token() > mine->fencing_token());
    }
}

TEST_CASE("a missing row is locked once, however its key is spelled", "[postgres][foreign_keys]")
{
    for (auto const row_lock : {postgres::RowLock::for_update, postgres::RowLock::advisory}) {
        auto const pool = fresh_pool();
        auto const table = table_of(pool, {"uuid", "00000000-0000-4000-8000-000000000000", ""});
        postgres::StateRepository<Part> const parts{
            pool, {.table = table, .key = "id", .row_lock = row_lock}};
        TransactionService const outer{PessimisticRowLock{.missing = Missing::create}, parts};
        std::string const one = "7f1c9a52-0d1e-4b9c-8a37-0c2f5e6d7b81";
        std::string const other = "7F1C9A52-0D1E-4B9C-8A37-0C2F5E6D7B81";
        Errc inner{};
        auto const done = outer.try_do_in_transaction(Part{one, 1}, [&](Part& part) {
            TransactionService const nested{
                PessimisticRowLock{.wait = Wait::no, .missing = Missing::create}, parts};
            std::thread{[&] {
                inner = nested.try_do_in_transaction(Part{other, 1}, [](Part& p) { ++p.n; }).errc();
            }}.join();
            ++part.n;
        });
        CHECK(done);
        CHECK(inner == Errc::lock_busy);
        CHECK(interlock_test::postgres_server().command("SELECT count(*) FROM " + table) == "2");
    }
}

TEST_CASE("an operation that does change the key is refused", "[postgres][foreign_keys]")
{
    auto const pool = fresh_pool();
    auto const table = table_of(pool, {"char(8)", "AB12", ""});
    sql({"INSERT INTO " + table + " VALUES ('CD34', 5, 1)"});
    postgres::StateRepository<Part> const parts{pool, {.table = table, .key = "id"}};
    auto const rename = [](Part& part) { part = {"CD34", 9}; };
    auto const refused = [&](auto policy) {
        return TransactionService{policy, parts}.try_do_in_transaction("AB12", rename).errc();
    };
    CHECK(refused(OptimisticVersioning{}) == Errc::invalid_argument);
    CHECK(refused(PessimisticRowLock{}) == Errc::invalid_argument);
    CHECK(refused(SetNxLock{}) == Errc::invalid_argument);
    // A state under a key that is not its own: the server says so.
    auto const foreign = parts.compare_and_set("AB12", 1, Part{"CD34", 9});
    CHECK(foreign.errc() == Errc::invalid_argument);
    CHECK(
        foreign.detail().find("the state's key is not the key that it is stored under") != std::string::npos);
    CHECK(parts.compare_and_set("AB12", 7, Part{"CD34", 9}).errc() == Errc::version_conflict);
    CHECK(parts.compare_and_set("ZZ", 1, Part{"CD34", 9}).errc() == Errc::not_found);
    CHECK(parts.load("AB12").value().value.n == 0);
    CHECK(parts.load("CD34").value().value.n == 5);
    // The spelling of the call, or of the table, are both the key's.
    auto const respell = [](Part& part) { part = {"AB12", 3}; };
    CHECK(TransactionService{OptimisticVersioning{}, parts}.try_do_in_transaction("AB12", respell));
    CHECK(parts.load("AB12").value().value.n == 3);
}

/// A key of two columns, each of which has several spellings.
struct Slot {
    std::string device;
    std::string code;
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Slot, (), (device, code, n))

}  // namespace postgres_foreign_keys_test

template <>
struct interlock::StateTraits<postgres_foreign_keys_test::Slot>
    : interlock::DefaultStateTraits<postgres_foreign_keys_test::Slot> {
    using key_type = std::tuple<std::string, std::string>;
    static key_type key(postgres_foreign_keys_test::Slot const& slot) { return {slot.device, slot.code}; }
};

namespace postgres_foreign_keys_test {

TEST_CASE("a key of several columns is one, however they are spelled", "[postgres][foreign_keys]")
{
    auto const pool = fresh_pool();
    auto const table = pool.options().name_space + "_slots";
    sql(
        {"CREATE TABLE " + table +
         " (device uuid, code char(4), n int NOT NULL, "
         "version bigint NOT NULL DEFAULT 1, PRIMARY KEY (device, code))"});
    postgres::StateRepository<Slot> const slots{pool, {.table = table, .key = "device, code"}};
    std::string const device = "7f1c9a52-0d1e-4b9c-8a37-0c2f5e6d7b81";
    std::string const same = "7F1C9A52-0D1E-4B9C-8A37-0C2F5E6D7B81";
    std::tuple const one{device, std::string("a")};
    std::tuple const other{same, std::string("a  ")};
    std::tuple const third{device, std::string("b")};
    REQUIRE(slots.insert(Slot{device, "a", 0}));
    CHECK(slots.insert(Slot{same, "a ", 0}).errc() == Errc::already_exists);
    REQUIRE(slots.insert(Slot{device, "b", 0}));
    auto const count = [](Slot& slot) { return ++slot.n; };
    TransactionService const service{SetNxLock{}, slots};
    OperationId const id{"count"};
    CHECK(service.try_do_in_transaction(id, one, count).value() == 1);
    CHECK(service.try_do_in_transaction(id, other, count).replayed());
    CHECK_FALSE(service.try_do_in_transaction(id, third, count).replayed());
    LockStateService const locks{slots};
    auto const held = locks.try_acquire(Slot{device, "a"});
    REQUIRE(held);
    CHECK_FALSE(LockStateService{slots}.try_acquire(Slot{same, "a  "}));
    CHECK(LockStateService{slots}.try_acquire(Slot{device, "b"}));
}

/// Every form of a call on several keys, with two spellings of one row. None of them changes anything, or
/// waits until its deadline.
template <class Policy, class R>
void check_named_twice(Policy policy, R const& parts, std::string const& one, std::string const& other)
{
    TransactionService const service{policy, parts};
    auto const both = [](Part& a, Part& b) { a.n = b.n = 5; };
    auto const first = [](Part& a, Part&) { a.n = 5; };
    auto const all = [](std::span<Part> range) { range.front().n = range.back().n = 5; };
    CallOptions const options{.deadline = 120s};
    auto const begin = std::chrono::steady_clock::now();
    auto const refused = [&](auto const& outcome) {
        CHECK(outcome.errc() == Errc::invalid_argument);
        CHECK_THAT(outcome.detail(), Catch::Matchers::StartsWith("a key is named twice: "));
        CHECK_THAT(outcome.detail(), Catch::Matchers::EndsWith(", by different spellings"));
    };
    std::vector<std::string> const range{one, other};
    refused(service.try_do_in_transaction(keys(one, other), both, options));
    refused(service.try_do_in_transaction(keys(one, other), first, options));
    refused(service.try_do_in_transaction(range, all, options));
    refused(service.try_do_in_transaction(keys(Part{one, 1}, Part{other, 1}), both, options));
    refused(service.try_do_in_transaction(OperationId{"pair"}, keys(other, one), both, options));
    refused(service.async_try_do_in_transaction(range, all, options, boost::asio::use_future).get());
    CHECK(std::chrono::steady_clock::now() - begin < 60s);
}

TEST_CASE("two spellings of one row are refused in one call", "[postgres][foreign_keys]")
{
    for (auto const& key : {spellings()[0], spellings()[1], spellings()[2], spellings()[6]}) {
        INFO(key.type);
        auto const pool = fresh_pool();
        auto const table = table_of(pool, key);
        postgres::StateRepository<Part> const parts{pool, {.table = table, .key = "id"}};
        StateRepository<Part> const any{parts};
        auto const check_all = [&] {
            check_named_twice(OptimisticVersioning{.missing = Missing::create}, parts, key.one, key.other);
            check_named_twice(PessimisticRowLock{.missing = Missing::create}, parts, key.one, key.other);
            check_named_twice(SetNxLock{.missing = Missing::create}, parts, key.one, key.other);
            check_named_twice(SetNxLock{.missing = Missing::create}, any, key.one, key.other);
            SetNxLock const at_once{.wait = Wait::no, .missing = Missing::create};
            check_named_twice(at_once, parts, key.one, key.other);
        };
        check_all();
        CHECK(parts.load(key.one).value().value.n == 0);
        sql({"DELETE FROM " + table});
        check_all();
        CHECK(parts.load(key.one).errc() == Errc::not_found);
        // No lock is left, and no record of the operation id.
        CHECK(LockStateService{parts}.try_acquire(key.other));
        sql({"INSERT INTO " + table + " (id) VALUES ('" + key.one + "')"});
        TransactionService const service{SetNxLock{}, parts};
        CHECK(service.try_do_in_transaction(OperationId{"pair"}, key.one, [](Part&) {}));
    }
}

TEST_CASE(
    "a lock that somebody else has is waited for, however many keys there are", "[postgres][foreign_keys]")
{
    auto const pool = fresh_pool();
    auto const& uuid = spellings()[1];
    auto const table = table_of(pool, uuid);
    std::string const third = "00000000-0000-4000-8000-000000000000";
    sql({"INSERT INTO " + table + " (id) VALUES ('" + third + "')"});
    postgres::StateRepository<Part> const parts{pool, {.table = table, .key = "id"}};
    TransactionService const service{SetNxLock{}, parts};
    auto const both = [](Part& a, Part& b) { return ++a.n + ++b.n; };
    auto held = LockStateService{parts}.try_acquire(uuid.other);
    REQUIRE(held);
    auto const busy = service.try_do_in_transaction(keys(third, uuid.one), both, {.deadline = 300ms});
    CHECK(busy.errc() == Errc::deadline_exceeded);
    CHECK(busy.cause() == Errc::lock_busy);
    CHECK(held->release());
    CHECK(service.try_do_in_transaction(keys(third, uuid.one), both).value() == 2);
}

struct Numbered {
    std::uint32_t id{0};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Numbered, (), (id, n))

TEST_CASE("records show keys as the server spells them", "[postgres][foreign_keys]")
{
    auto const count = [](auto& part) { return ++part.n; };
    auto const shown = [](auto const& repository) {
        std::vector<Key> found;
        repository
            .for_each_operation(
                [&](Key const& key, OperationId const&, OperationRecord const&) { found.push_back(key); })
            .value();
        REQUIRE(found.size() == 1);
        return found[0];
    };
    for (auto const& [type, one, other, said] : std::vector<std::array<std::string, 4>>{
             {"int", "7", "007", "7"},
             {"char(8)", "AB", "AB  ", "AB"},
             {"uuid", "7f1c9a52-0d1e-4b9c-8a37-0c2f5e6d7b81", "7F1C9A52-0D1E-4B9C-8A37-0C2F5E6D7B81",
              "7f1c9a52-0d1e-4b9c-8a37-0c2f5e6d7b81"},
             {"timestamptz", "2024-01-05 12:00:00+00", "2024-01-05 14:00:00+02", "2024-01-05T12:00:00Z"}}) {
        INFO(type);
        auto const pool = fresh_pool();
        postgres::StateRepository<Part> const parts{
            pool, {.table = table_of(pool, {type, one, other}), .key = "id"}};
        TransactionService const service{OptimisticVersioning{}, parts};
        REQUIRE(service.try_do_in_transaction(OperationId{"x"}, other, count));
        CHECK(shown(parts).bytes() == said);
        CHECK(parts.load(std::string(shown(parts).bytes())).value().value.n == 1);
    }
    // By an unsigned number and by a signed one, the row has one record.
    auto const pool = fresh_pool();
    auto const table = table_of(pool, {"bigint", "7", ""});
    postgres::StateRepository<Numbered> const numbered{pool, {.table = table, .key = "id"}};
    postgres::StateRepository<Part> const parts{pool, {.table = table, .key = "id"}};
    OperationId const id{"x"};
    REQUIRE(TransactionService{SetNxLock{}, numbered}.try_do_in_transaction(id, std::uint32_t{7}, count));
    CHECK(TransactionService{SetNxLock{}, parts}.try_do_in_transaction(id, "07", count).replayed());
    CHECK(KeyTraits<std::uint32_t>::decode(shown(numbered).bytes()) == 7);
    CHECK(shown(parts).bytes() == "7");
}

TEST_CASE("who waits by another spelling is woken", "[postgres][foreign_keys]")
{
    for (auto const& key : {spellings()[0], spellings()[1], spellings()[2], spellings()[7], spellings()[8]}) {
        INFO(key.type);
        auto const pool = fresh_pool();
        auto const table = table_of(pool, key);
        postgres::StateRepository<Part> const parts{pool, {.table = table, .key = "id"}};
        auto const second = fresh_pool();  // of another client
        LockStateService const locks{parts, {.ttl = 20s}};
        LockStateService const waiting{
            postgres::StateRepository<Part>{pool, {.table = table, .key = "id"}}, {.ttl = 20s}};
        auto held = locks.try_acquire(key.one);
        REQUIRE(held);
        std::thread release{[&] {
            std::this_thread::sleep_for(300ms);
            static_cast<void>(held->release());
        }};
        auto const begin = std::chrono::steady_clock::now();
        CHECK(waiting.acquire(key.other, {.deadline = 15s}));
        CHECK(std::chrono::steady_clock::now() - begin < 5s);
        release.join();
    }
}

TEST_CASE(
    "a call within an operation on its own row is told so, however it spells the key",
    "[postgres][foreign_keys]")
{
    for (auto const& key : {Spelled{"char(8)", "AB12", "AB12  "}, Spelled{"citext", "a1", "A1"}}) {
        INFO(key.type);
        auto const pool = fresh_pool();
        postgres::StateRepository<Part> const parts{pool, {.table = table_of(pool, key), .key = "id"}};
        sql({"INSERT INTO " + pool.options().name_space + "_parts (id) VALUES ('zz')"});
        auto const check = [&](auto const& policy, char const* name) {
            INFO(name);
            TransactionService const service{policy, parts};
            TransactionService const other{
                policy, postgres::StateRepository<Part>{
                            pool, {.table = pool.options().name_space + "_parts", .key = "id"}}};
            Errc nested{};
            Errc deep{};
            Errc of_two{};
            Errc acquired{};
            bool free = false;
            auto const add = [](Part& p) { ++p.n; };
            auto const started = std::chrono::steady_clock::now();
            auto const done = service.try_do_in_transaction(key.one, [&](Part& part) {
                ++part.n;
                nested = other.try_do_in_transaction(key.other, add).errc();
                of_two = other.try_do_in_transaction(keys("zz", key.other), [](Part&, Part&) {}).errc();
                acquired = interlock_test::error_thrown_by(
                    [&] { return LockStateService{parts}.acquire(key.other); });
                free = other
                           .try_do_in_transaction(
                               "zz",
                               [&](Part& p) {
                                   ++p.n;
                                   deep = service.try_do_in_transaction(key.other, add).errc();
                               })
                           .has_value();
            });
            CHECK(done);
            CHECK(nested == Errc::would_deadlock);
            CHECK(deep == Errc::would_deadlock);
            CHECK(of_two == Errc::would_deadlock);
            CHECK(acquired == Errc::would_deadlock);
            CHECK(free);
            CHECK(std::chrono::steady_clock::now() - started < 20s);  // a call's own deadline is 30 s
        };
        check(SetNxLock{}, "lease");
        check(PessimisticRowLock{}, "row lock");
        check(OptimisticVersioning{}, "optimistic");
        CHECK(parts.load(key.one).value().value.n == 3);
        CHECK(parts.load("zz").value().value.n == 3);
    }
}

TEST_CASE(
    "an asynchronous call within an operation on its own row is told so, too", "[postgres][foreign_keys]")
{
    Spelled const key{"citext", "a1", "A1"};
    auto const pool = fresh_pool();
    TransactionService const service{
        SetNxLock{}, postgres::StateRepository<Part>{pool, {.table = table_of(pool, key), .key = "id"}}};
    Errc nested{};
    service.do_in_transaction(key.one, [&](Part&, TransactionContext& context) {
        auto done = service.async_try_do_in_transaction(
            key.other, [](Part& p) { ++p.n; }, {.within = &context}, boost::asio::use_future);
        nested = done.get().errc();
    });
    CHECK(nested == Errc::would_deadlock);
}

/// A type, a key that a column of it can hold, and one that it cannot, though the type's input would make the
/// first of the second.
std::vector<Spelled> const& cut_keys()
{
    static std::vector<Spelled> const all = [] {
        std::string const long_name(63, 'n');
        return std::vector<Spelled>{
            {"name", long_name, long_name + "x"},
            {"long_name", long_name, long_name + "x"},
            {"name[]", "{" + long_name + ",b}", "{" + long_name + "x,b}"},
            {"\"char\"", "a", "ab"},
            {"\"char\"[]", "{a,b}", "{a,bc}"},
            {"varchar(3)", "abc", "abc "},
            {"varchar(3)", "äöü", "äöü  "},
            {"short_code", "abc", "abc "},
            {"varchar(3)[]", "{abc}", "{\"abc \"}"},
            {"char(3)", "abc", "abcd"},
            {"bit(4)", "0101", "01011"},
            {"varbit(4)", "0101", "01011"},
            {"numeric(4,1)", "1.1", "1.06"},
            {"price", "1.10", "1.104"},
            {"numeric(4,1)[]", "{1.1}", "{1.06}"},
            {"timestamptz(0)", "2024-01-05 12:00:00+00", "2024-01-05 12:00:00.3+00"},
            {"timestamp(1)", "2024-01-05 12:00:00.3", "2024-01-05 12:00:00.29"},
            {"time(0)", "12:00:00", "12:00:00.1"},
            {"timetz(0)", "12:00:00+00", "12:00:00.1+00"},
            {"interval(0)", "1 second", "1.2 seconds"},
            {"interval day", "1 day", "1 day 5 hours"},
            {"timestamp(0)[]", "{2024-01-05}", "{2024-01-05 00:00:00.2}"},
        };
    }();
    return all;
}

TEST_CASE(
    "two spellings of one row in a call on several tables are refused, and so is a call within it",
    "[postgres][foreign_keys][joint]")
{
    auto const& key = spellings()[0];
    auto const pool = fresh_pool();
    auto const table = table_of(pool, key);
    auto const boxes = pool.options().name_space + "_boxes";
    sql(
        {"CREATE TABLE " + boxes + " (LIKE " + table + " INCLUDING ALL)",
         "INSERT INTO " + boxes + " (id) VALUES ('" + key.one + "')"});
    postgres::StateRepository<Part> const parts{pool, {.table = table, .key = "id"}};
    postgres::StateRepository<Part> const other{pool, {.table = boxes, .key = "id"}};
    JointRepository const both{other, parts};
    auto const check = [&](auto const& policy, char const* name) {
        INFO(name);
        TransactionService const service{policy, both};
        TransactionService const alone{policy, parts};
        auto const started = std::chrono::steady_clock::now();
        auto const three = [](Part& a, Part& b, Part& c) { a.n += ++b.n + ++c.n; };
        auto const add = [](Part& part) { ++part.n; };
        auto const twice = service.try_do_in_transaction(
            keys(in(parts, key.one), in(other, key.one), in(parts, key.other)), three);
        CHECK(twice.errc() == Errc::invalid_argument);
        CHECK(twice.failure().message().find("named twice") != std::string::npos);
        std::vector<Errc> nested;
        CHECK(service.try_do_in_transaction(in(parts, key.one), [&](Part&) {
            nested.push_back(alone.try_do_in_transaction(key.other, add).errc());
            nested.push_back(service.try_do_in_transaction(in(parts, key.other), add).errc());
            nested.push_back(service.try_do_in_transaction(in(other, key.other), add).errc());
        }));
        CHECK(alone.try_do_in_transaction(key.other, [&](Part&) {
            nested.push_back(service.try_do_in_transaction(in(parts, key.one), add).errc());
        }));
        auto const would = Errc::would_deadlock;
        CHECK(nested == std::vector{would, would, Errc::ok, would});
        CHECK(std::chrono::steady_clock::now() - started < 20s);  // a call's own deadline is 30 s
    };
    check(OptimisticVersioning{}, "optimistic");
    check(SetNxLock{}, "lease");
    check(PessimisticRowLock{}, "row lock");
    CHECK(parts.load(key.one).value().value.n == 0);
    CHECK(other.load(key.one).value().value.n == 3);
}

TEST_CASE("a key that its column would cut or round names no row", "[postgres][foreign_keys]")
{
    sql(
        {"CREATE DOMAIN long_name AS name", "CREATE DOMAIN short_code AS varchar(3) CHECK (VALUE <> '')",
         "CREATE DOMAIN amount AS numeric(6,2)", "CREATE DOMAIN price AS amount CHECK (VALUE > 0)"});
    auto const count = [](Part& part) { return ++part.n; };
    for (auto const& key : cut_keys()) {
        INFO(key.type << " " << key.other);
        auto const pool = fresh_pool();
        auto const table = pool.options().name_space + "_parts";
        sql(
            {"CREATE TABLE " + table + " (id " + key.type +
                 " PRIMARY KEY, n int NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 1)",
             "INSERT INTO " + table + " (id) VALUES ('" + key.one + "')"});
        postgres::StateRepository<Part> const parts{pool, {.table = table, .key = "id"}};
        CHECK(parts.load(key.other).errc() == Errc::not_found);
        CHECK(parts.compare_and_set(key.other, 1, Part{key.other, 1}).errc() == Errc::not_found);
        CHECK(parts.erase(key.other, 1).errc() == Errc::not_found);
        auto const use = [&](auto policy) {
            TransactionService const service{policy, parts};
            OperationId const id{"count"};
            CHECK(service.try_do_in_transaction(key.other, count).errc() == Errc::not_found);
            auto const before = service.try_do_in_transaction(key.one, count);
            REQUIRE(before);
            CHECK(service.try_do_in_transaction(id, key.other, count).errc() == Errc::not_found);
            policy.missing = Missing::create;
            TransactionService const creating{policy, parts};
            for (int i = 0; i < 2; ++i) {
                auto const refused =
                    creating.try_do_in_transaction(Part{key.other, 0}, count, {.deadline = 20s});
                CHECK(refused.errc() == Errc::invalid_argument);
                CHECK_THAT(refused.detail(), Catch::Matchers::EndsWith(table + ".id"));
            }
            CHECK(service.try_do_in_transaction(key.one, count).value() == *before + 1);
        };
        use(OptimisticVersioning{});
        use(PessimisticRowLock{});
        use(SetNxLock{});
        CHECK(parts.insert(Part{key.other, 0}).errc() == Errc::invalid_argument);
        CHECK(parts.insert(Part{key.one, 0}).errc() == Errc::already_exists);
        auto const held = LockStateService{parts}.try_acquire(key.one);
        CHECK(held);
        CHECK(LockStateService{parts}.try_acquire(key.other));
        CHECK_FALSE(LockStateService{parts}.try_acquire(key.one));
        CHECK(
            interlock_test::postgres_server().command("SELECT count(*) || ' ' || sum(n) FROM " + table) ==
            "1 6");
        sql({"DELETE FROM " + table});
        CHECK(parts.insert(Part{key.other, 0}).errc() == Errc::invalid_argument);
        CHECK(parts.insert(Part{key.one, 0}));
        CHECK(parts.load(key.one));
    }
}

TEST_CASE("a key column that has become wider takes what it then can hold", "[postgres][foreign_keys]")
{
    auto const pool = fresh_pool();
    auto const table = pool.options().name_space + "_parts";
    sql(
        {"CREATE TABLE " + table +
         " (id numeric(8,1) PRIMARY KEY, n int NOT NULL, version bigint NOT NULL DEFAULT 1)"});
    postgres::StateRepository<Part> const parts{pool, {.table = table, .key = "id"}};
    std::string key = "1.5";
    int scale = 1;
    auto const widen = [&] {
        CHECK(parts.insert(Part{key + "1", 0}).errc() == Errc::invalid_argument);
        key += '1';
        sql({"ALTER TABLE " + table + " ALTER id TYPE numeric(8," + std::to_string(++scale) + ")"});
        return Part{key, 0};
    };
    auto const count = [](Part& part) { return ++part.n; };
    CHECK(parts.insert(Part{key, 0}));
    CHECK(parts.insert(widen()));
    auto const create = [&](auto policy) {
        policy.missing = Missing::create;
        CHECK(TransactionService{policy, parts}.try_do_in_transaction(widen(), count));
        CHECK(TransactionService{policy, parts}.try_do_in_transaction(OperationId{"x"}, widen(), count));
    };
    create(OptimisticVersioning{});
    create(PessimisticRowLock{});
    CHECK(parts.load(key).value().value.n == 1);
}

TEST_CASE("a column that cuts is told within a key of several columns", "[postgres][foreign_keys]")
{
    auto const pool = fresh_pool();
    auto const table = pool.options().name_space + "_slots";
    sql(
        {"CREATE TABLE " + table +
         " (device uuid, code name, n int NOT NULL, version bigint NOT NULL DEFAULT 1, "
         "PRIMARY KEY (device, code))"});
    postgres::StateRepository<Slot> const slots{pool, {.table = table, .key = "device, code"}};
    std::string const device = "7f1c9a52-0d1e-4b9c-8a37-0c2f5e6d7b81";
    std::string const code(63, 'c');
    REQUIRE(slots.insert(Slot{device, code, 0}));
    CHECK(slots.insert(Slot{device, code + "d", 0}).errc() == Errc::invalid_argument);
    std::tuple const one{device, code};
    std::tuple const other{device, code + "d"};
    auto const count = [](Slot& slot) { return ++slot.n; };
    TransactionService const service{SetNxLock{}, slots};
    OperationId const id{"count"};
    CHECK(service.try_do_in_transaction(id, one, count).value() == 1);
    CHECK(service.try_do_in_transaction(id, other, count).errc() == Errc::not_found);
    CHECK(service.try_do_in_transaction(keys(one, other), [](Slot&, Slot&) {}).errc() == Errc::not_found);
    LockStateService const locks{slots};
    auto const held = locks.acquire(Slot{device, code, 0});  // the call before may still give it back
    CHECK(held);
    CHECK_FALSE(LockStateService{slots}.try_acquire(Slot{device, code, 0}));
    CHECK(LockStateService{slots}.acquire(Slot{device, code + "d", 0}));
}

}  // namespace postgres_foreign_keys_test
