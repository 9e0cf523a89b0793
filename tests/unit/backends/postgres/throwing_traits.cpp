// SPDX-License-Identifier: BSL-1.0

// `ColumnTraits` of the user's own that throw: before anything is sent, the call is refused and names the
// member; a row that they do not read is corrupt; a commit that was answered stays applied.

#include <interlock/backends/postgres/column_traits.hpp>
#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/postgres_tables.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace postgres_throwing_traits_test {

struct Grade {
    std::string text;
    friend bool operator==(Grade const&, Grade const&) = default;
};

}  // namespace postgres_throwing_traits_test

template <>
struct interlock::postgres::ColumnTraits<postgres_throwing_traits_test::Grade> {
    static std::string to_text(postgres_throwing_traits_test::Grade const& grade)
    {
        if (grade.text == "bad")
            throw std::runtime_error("no such grade");
        return grade.text;
    }
    static std::optional<postgres_throwing_traits_test::Grade> from_text(std::string_view text)
    {
        if (text == "worse")
            throw std::runtime_error("no such grade");
        return postgres_throwing_traits_test::Grade{std::string(text)};
    }
};

namespace postgres_throwing_traits_test {

using namespace interlock;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using interlock_test::fresh_pool;
using interlock_test::single_value;
using interlock_test::sql;

struct Exam {
    std::int64_t id{0};
    Grade grade{};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Exam, (), (id, grade, n))

postgres::StateRepository<Exam> exams(postgres::Pool const& pool)
{
    sql(
        {"DROP TABLE IF EXISTS exams CASCADE",
         "CREATE TABLE exams (id bigint PRIMARY KEY, grade text NOT NULL, n int NOT NULL DEFAULT 0, "
         "version bigint NOT NULL DEFAULT 1)",
         "INSERT INTO exams (id, grade) VALUES (1, 'good')"});
    return postgres::StateRepository<Exam>{pool, {.table = "exams", .key = "id"}};
}

TEST_CASE("a member whose ColumnTraits throw is refused before anything is sent", "[postgres][traits]")
{
    auto const pool = fresh_pool();
    auto const rows = exams(pool);
    int runs = 0;
    auto const spoil = [&](Exam& exam) {
        ++runs;
        exam.grade.text = "bad";
    };
    auto const is_refused = [&](auto const& outcome) {
        CAPTURE(outcome.message());
        CHECK(outcome.errc() == Errc::invalid_argument);
        CHECK(outcome.effect() == Effect::not_applied);
        CHECK_THAT(outcome.detail(), ContainsSubstring("exams.grade"));
        CHECK_THAT(outcome.detail(), ContainsSubstring("to_text throws"));
        runs = 0;
    };
    std::int64_t const id = 1;
    for (bool const with_id : {false, true}) {
        CAPTURE(with_id);
        auto const call = [&](auto const& service) {
            is_refused(
                with_id ? service.try_do_in_transaction(OperationId{"id"}, id, spoil)
                        : service.try_do_in_transaction(id, spoil));
        };
        call(TransactionService{OptimisticVersioning{}, rows});
        call(TransactionService{OptimisticVersioning{.remember = 3}, rows});
        call(TransactionService{PessimisticRowLock{}, rows});
        call(TransactionService{SetNxLock{}, rows});
    }
    is_refused(TransactionService(OptimisticVersioning{}, rows)
                   .async_try_do_in_transaction(id, spoil, boost::asio::use_future)
                   .get());
    is_refused(rows.insert(Exam{2, {"bad"}, 0}));
    is_refused(rows.compare_and_set(id, 1, Exam{1, {"bad"}, 0}));
    IdempotentRequest const request{"k", Scope("exams")};
    postgres::IdempotencyStore const store{pool};
    is_refused(TransactionService(IdempotencyKeys{OptimisticVersioning{}, store}, rows)
                   .try_do_in_transaction(request, id, spoil));
    is_refused(
        TransactionService(
            IdempotencyInTransaction{PessimisticRowLock{}, postgres::TransactionalIdempotencyStore{pool}},
            rows)
            .try_do_in_transaction(IdempotentRequest{"l", Scope("exams")}, id, spoil));
    CHECK(single_value("SELECT string_agg(id || grade || version, ',') FROM exams") == "1good1");
}

TEST_CASE(
    "a row that ColumnTraits cannot read is corrupt, and what was committed is applied", "[postgres][traits]")
{
    auto const rows = exams(fresh_pool());
    std::int64_t const id = 1;
    auto const add = [](Exam& exam) { ++exam.n; };
    sql(
        {"CREATE OR REPLACE FUNCTION worsen() RETURNS trigger LANGUAGE plpgsql AS "
         "$$ BEGIN NEW.grade := 'worse'; RETURN NEW; END $$",
         "CREATE TRIGGER worsen BEFORE UPDATE ON exams FOR EACH ROW EXECUTE FUNCTION worsen()"});
    auto const is_applied = [&](auto const& service) {
        sql(
            {"ALTER TABLE exams DISABLE TRIGGER worsen", "UPDATE exams SET grade = 'good', n = 0",
             "ALTER TABLE exams ENABLE TRIGGER worsen"});
        auto const outcome = service.try_do_in_transaction(id, add);
        CAPTURE(outcome.message());
        CHECK(outcome);
        CHECK(single_value("SELECT grade || n FROM exams") == "worse1");
        CHECK(rows.load(id).errc() == Errc::corrupt_state);
        CHECK_THAT(rows.load(id).detail(), ContainsSubstring("exams.grade"));
        CHECK(service.try_do_in_transaction(id, add, {.deadline = 2s}).errc() == Errc::corrupt_state);
    };
    is_applied(TransactionService{OptimisticVersioning{}, rows});
    is_applied(TransactionService{OptimisticVersioning{.remember = 3}, rows});
    is_applied(TransactionService{PessimisticRowLock{}, rows});
    is_applied(TransactionService{SetNxLock{}, rows});
}

}  // namespace postgres_throwing_traits_test
