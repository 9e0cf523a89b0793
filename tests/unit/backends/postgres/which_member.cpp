// SPDX-License-Identifier: BSL-1.0

// A value does not fit its column: the failure names the member, on every path, and never the value.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
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
};
BOOST_DESCRIBE_STRUCT(
    Person, (), (id, name, country, score, ref, height, born, data, rate, mood, even, numbers))

TEST_CASE("the member whose value is refused is named", "[postgres][foreign][which_member]")
{
    auto const pool = fresh_pool();
    sql(
        {"CREATE TYPE mood_w AS ENUM ('good', 'bad')", "CREATE DOMAIN even_w AS int CHECK (VALUE % 2 = 0)",
         "CREATE TABLE \"Persons\" (id bigint PRIMARY KEY, name text NOT NULL, country varchar(2) NOT NULL, "
         "score int NOT NULL, ref uuid NOT NULL, height int NOT NULL, born date NOT NULL, data jsonb NOT "
         "NULL, "
         "rate numeric(3, 2) NOT NULL, mood mood_w NOT NULL, even even_w NOT NULL, numbers int[] NOT NULL, "
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
    };
    TransactionService const optimistic{OptimisticVersioning{}, persons};
    TransactionService const row_lock{PessimisticRowLock{}, persons};
    TransactionService const lease{SetNxLock{}, persons};
    for (auto const& [member, change] : cases) {
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
