// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/patterns/batch_subscription.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "../support/pqxx.hpp"
#include "ours.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace il = interlock;

/// What was done for a job.
struct Effect {
    std::string job;
    int count{0};
};
BOOST_DESCRIBE_STRUCT(Effect, (), (job, count))

/// Effects are rows of a table of ours, one statement for each batch, in the transaction of the cursor.
class Postgres {
    using Cursors = il::postgres::StateRepository<il::Cursor>;
    using Places = il::TransactionService<il::Cursor, il::PessimisticRowLock, Cursors>;

public:
    Postgres(il::postgres::Pool const& pool, std::string address, std::string const& table, std::size_t batch)
        : address_(std::move(address)), table_(table), events{pool, {.partitions = 4}},
          effects{pool, {.table = table, .key = "job"}}, cursors{pool},
          add_(
              "INSERT INTO " + table + " (job, count) SELECT unnest($1::text[]), 1 ON CONFLICT (job) DO " +
              "UPDATE SET count = " + table + ".count + 1, version = " + table + ".version + 1"),
          batches_{
              events,
              Places{il::PessimisticRowLock{.missing = il::Missing::create}, cursors},
              "batches",
              {.batch = batch}}
    {
        il::postgres::create_schema(pool).value();
        events.create_schema().value();
    }

    std::size_t handle_batch(unsigned partition) const
    {
        auto const handler = [this](
                                 std::span<il::Event const> batch, il::postgres::Transaction& transaction) {
            std::string jobs;
            for (auto const& event : batch)
                jobs += (jobs.empty() ? "{" : ",") + std::to_string(pipeline::job_of(event));
            transaction.exec(add_, jobs + "}");
        };
        return batches_.step(partition, handler).value();
    }
    void move_to(unsigned partition, il::Position position) const
    {
        cursors.insert(il::Cursor{il::cursor_id("batches", partition), position, events.partitions(), {}})
            .value();
    }

    /// How often each of so many jobs had its effect.
    std::vector<int> counts(long jobs) const
    {
        std::vector<int> all(static_cast<std::size_t>(jobs));
        pqxx::connection connection{address_};
        auto const rows = pqxx::nontransaction{connection}.exec("SELECT job::bigint, count FROM " + table_);
        for (auto const& row : rows)
            all.at(row[0].as<std::size_t>()) = row[1].as<int>();
        return all;
    }

private:
    std::string address_;
    std::string table_;

public:
    il::postgres::EventRepository events;
    il::postgres::StateRepository<Effect> effects;
    Cursors cursors;

private:
    std::string add_;
    il::BatchSubscription<il::postgres::EventRepository, Places> batches_;
};

}  // namespace

void on_postgres(Plan const& plan)
{
    auto options = il::postgres::Options::parse(plan.address).value();
    options.name_space = "jobs" + plan.run;
    auto const table = "effects_" + plan.run;
    {
        pqxx::connection connection{plan.address};
        pqxx::nontransaction{connection}.exec(
            "CREATE TABLE IF NOT EXISTS " + table +
            " (job text PRIMARY KEY, count int NOT NULL, version bigint NOT NULL DEFAULT 1)");
    }
    pipeline::Ours<Postgres>{
        Postgres{il::postgres::Pool{options}, plan.address, table, pipeline::batch_of(plan)}}
        .carry_out(plan);
}
