// SPDX-License-Identifier: BSL-1.0

// What it saves that only changed members are written, and what an insert costs that is looked at.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/describe/class.hpp>

#include "../support/pqxx.hpp"
#include "contestants.hpp"

#include <atomic>
#include <memory>
#include <string>

namespace {

namespace il = interlock;

struct WideRow {
    std::int64_t id{0};
    int n{0};
    std::string name{"name"};
    std::string city{"city"};
    std::string country{"country"};
    std::string text{};
};
BOOST_DESCRIBE_STRUCT(WideRow, (), (id, n, name, city, country, text))

struct NewRow {
    std::int64_t id{0};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(NewRow, (), (id, n))

il::postgres::Pool pool_of(Plan const& plan)
{
    auto options = il::postgres::Options::parse(plan.url).value();
    options.max_connections = plan.threads;
    return il::postgres::Pool{std::move(options)};
}

double change_wide_rows(Plan const& plan, il::postgres::Write write)
{
    auto const pool = pool_of(plan);
    il::postgres::StateRepository<WideRow> const rows{
        pool, {.table = "wide_rows", .key = "id", .write = write}};
    il::TransactionService const service{il::OptimisticVersioning{}, rows, {.combine = 1}};
    auto const increment = [](WideRow& row) { ++row.n; };
    return per_second(
        plan,
        [&](std::size_t) {
            return [&](std::int64_t id) {
                service.do_in_transaction(id, increment, {.deadline = std::chrono::seconds{60}});
            };
        },
        [&] { return pool.query("SELECT sum(n) FROM wide_rows").value<long>(); });
}

std::int64_t next_id()
{
    static std::atomic<std::int64_t> last{0};
    return ++last;
}

double insert_rows(Plan const& plan, char const* table)
{
    auto const pool = pool_of(plan);
    il::postgres::StateRepository<NewRow> const rows{pool, {.table = table, .key = "id"}};
    auto const count = std::string("SELECT count(*) FROM ") + table;
    return per_second(
        plan,
        [&](std::size_t) {
            return [&](std::int64_t) { rows.insert(NewRow{next_id(), 1}, std::chrono::seconds{60}).value(); };
        },
        [&] { return pool.query(count).value<long>(); });
}

double insert_bare(Plan const& plan, std::string const& table)
{
    return per_second(
        plan,
        [&](std::size_t) {
            auto connection = std::make_shared<pqxx::connection>(plan.url);
            connection->prepare("insert", "INSERT INTO " + table + " VALUES ($1, 1, 1) RETURNING version");
            return [connection](std::int64_t) {
                pqxx::nontransaction now{*connection};
                bench::run_prepared(now, "insert", next_id());
            };
        },
        [&] {
            auto const pool = pool_of(plan);
            return pool.query("SELECT count(*) FROM " + table).value<long>();
        });
}

}  // namespace

double changed_members(Plan const& plan)
{
    return change_wide_rows(plan, il::postgres::Write::changed);
}
double all_members(Plan const& plan)
{
    return change_wide_rows(plan, il::postgres::Write::all);
}
double interlock_insert(Plan const& plan)
{
    return insert_rows(plan, "new_rows");
}
double bare_insert(Plan const& plan)
{
    return insert_bare(plan, "new_rows");
}
double interlock_checked_insert(Plan const& plan)
{
    return insert_rows(plan, "watched_rows");
}
double bare_watched_insert(Plan const& plan)
{
    return insert_bare(plan, "watched_rows");
}
