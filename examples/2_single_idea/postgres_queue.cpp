// SPDX-License-Identifier: BSL-1.0

// Shows a job queue in a table of one's own: each worker takes some row that nobody else has, does its work
// by statements in the same transaction, and marks the row. Workers are coroutines on one thread, which no
// statement blocks. Needs: a PostgreSQL server, 15 or later, whose URL is the argument; without one it says
// so and does nothing. It makes two tables in a schema of its own.
// Run with: postgres_queue postgresql://localhost/test

#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/format.hpp>
#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>
#include <future>
#include <string>
#include <string_view>
#include <vector>

namespace asio = boost::asio;
namespace il = interlock;

struct Job {
    std::int64_t id{0};
    std::string queue;
    std::string text;
    bool done{false};
};
BOOST_DESCRIBE_STRUCT(Job, (), (id, queue, text, done))

constexpr std::string_view ddl[] = {
    "DROP SCHEMA IF EXISTS interlock_queue CASCADE", "CREATE SCHEMA interlock_queue",
    "CREATE TABLE interlock_queue.jobs (id bigint PRIMARY KEY, queue text NOT NULL, text text NOT NULL,"
    " done boolean NOT NULL DEFAULT false, version bigint NOT NULL DEFAULT 1)",
    "CREATE TABLE interlock_queue.mails (job bigint PRIMARY KEY REFERENCES interlock_queue.jobs, text text "
    "NOT NULL)",
    "INSERT INTO interlock_queue.jobs (id, queue, text) SELECT n, 'mail', 'mail ' || n FROM "
    "generate_series(1, 20) n"};

using Jobs = il::TransactionService<Job, il::PessimisticRowLock, il::postgres::FreeRows<Job>>;

// #region worker
asio::awaitable<int> worker(Jobs jobs)
{
    auto send = [](Job& job, il::postgres::AsyncTransaction& tx) -> asio::awaitable<void> {
        co_await tx.async_exec(
            "INSERT INTO interlock_queue.mails VALUES ($1, upper($2))", job.id, job.text,
            asio::use_awaitable);
        job.done = true;
    };
    for (int sent = 0;; ++sent) {
        auto const one = co_await jobs.async_try_do_in_transaction("mail", send, asio::use_awaitable);
        if (one.errc() == il::Errc::not_found)  // nothing is left, or all that is left is in work
            co_return sent;
        if (!one)
            throw il::Error(one.failure());
    }
}
// #endregion worker

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("postgres_queue: name a server, like postgresql://localhost/test\n");
        return 77;
    }
    il::postgres::Pool const pool{argv[1]};
    il::postgres::run_script(pool, ddl).value();
    // #region queue
    il::postgres::StateRepository<Job> const table{pool, {.table = "interlock_queue.jobs", .key = "id"}};
    il::postgres::FreeRows free{table, {.where = "queue = $1 AND NOT done", .order_by = "id"}};
    il::TransactionService jobs{il::PessimisticRowLock{}, free};  // a key names a queue, not a row
    // #endregion queue

    asio::io_context context;
    std::vector<std::future<int>> workers;
    for (int i = 0; i < 4; ++i)
        workers.push_back(asio::co_spawn(context, worker(jobs), asio::use_future));
    context.run();
    int sent = 0;
    for (auto& one : workers)
        sent += one.get();
    fmt::print("{} mails sent by {} workers\n", sent, workers.size());
    return sent == 20 ? 0 : 1;
}
