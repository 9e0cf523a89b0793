// SPDX-License-Identifier: BSL-1.0

// How long a job out of a queue may take: as long as its call says, or else as the queue says; and what is
// said when it took longer.

#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <thread>

namespace postgres_long_jobs_test {

using namespace interlock;
using namespace std::chrono_literals;

struct Job {
    std::int64_t id{0};
    bool done{false};
};
BOOST_DESCRIBE_STRUCT(Job, (), (id, done))

struct Queue {
    explicit Queue(std::chrono::nanoseconds job)
        : pool(interlock_test::fresh_pool()), table((fill(pool), pool), {.table = "jobs_long", .key = "id"}),
          service(
              PessimisticRowLock{},
              postgres::FreeRows{table, {.where = "NOT done", .order_by = "id", .job = job}})
    {}
    static void fill(postgres::Pool const& pool)
    {
        std::array<std::string_view, 3> const statements{
            "DROP TABLE IF EXISTS jobs_long",
            "CREATE TABLE jobs_long (id bigint PRIMARY KEY, done boolean NOT NULL DEFAULT false, version "
            "bigint NOT NULL DEFAULT 1)",
            "INSERT INTO jobs_long VALUES (1), (2), (3)"};
        postgres::run_script(pool, statements).value();
    }
    postgres::Pool pool;
    postgres::StateRepository<Job> table;
    TransactionService<Job, PessimisticRowLock, postgres::FreeRows<Job>> service;
};

auto work(std::chrono::milliseconds time)
{
    return [time](Job& job) {
        std::this_thread::sleep_for(time);
        job.done = true;
    };
}

TEST_CASE("a job takes longer than other calls may, without a word about it", "[postgres][queue]")
{
    Queue const queue{1min};
    CHECK(queue.service.try_do_in_transaction("q", work(5500ms)));
    CHECK(queue.table.load(1).value().value.done);
}

TEST_CASE("a job that takes too long is not applied, and the caller is told what to set", "[postgres][queue]")
{
    Queue const queue{400ms};
    auto const late = queue.service.try_do_in_transaction("q", work(700ms));
    CHECK(late.errc() == Errc::deadline_exceeded);
    CHECK(late.effect() == Effect::not_applied);
    CHECK(late.failure().detail().find("name a longer one") != std::string_view::npos);
    CHECK_FALSE(queue.table.load(1).value().value.done);
    // What the call names counts, in both directions.
    CHECK(queue.service.try_do_in_transaction("q", work(700ms), {.deadline = 20s}));
    auto const short_one = queue.service.try_do_in_transaction("q", work(200ms), {.deadline = 100ms});
    CHECK(short_one.errc() == Errc::deadline_exceeded);
    // The same without blocking.
    auto const async_late =
        queue.service.async_try_do_in_transaction("q", work(700ms), boost::asio::use_future).get();
    CHECK(async_late.errc() == Errc::deadline_exceeded);
    CHECK(async_late.failure().detail().find("name a longer one") != std::string_view::npos);
    CHECK(queue.service
              .async_try_do_in_transaction(
                  "q", work(700ms), CallOptions{.deadline = 20s}, boost::asio::use_future)
              .get());
}

TEST_CASE("a row that is named has the deadline of all calls", "[postgres][queue]")
{
    Queue const queue{1min};
    TransactionService const rows{PessimisticRowLock{}, queue.table};
    auto const late = rows.try_do_in_transaction(std::int64_t{1}, work(5500ms));
    CHECK(late.errc() == Errc::deadline_exceeded);
    CHECK(late.failure().detail().find("name a longer one") != std::string_view::npos);
}

TEST_CASE("a queue whose jobs may take no time is refused", "[postgres][queue]")
{
    CHECK_THROWS_AS(Queue{0s}, Error);
}

}  // namespace postgres_long_jobs_test
