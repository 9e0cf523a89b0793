// SPDX-License-Identifier: BSL-1.0

// Which rows and keys are locked, for whom, and for how long; and queues whose workers skip locked rows.
//
// How it works: while an operation holds its rows, the case looks from a second connection. That connection's
// statements give up on a lock after 20 ms (`impatient`), so "locked" is told apart from "done" and from an
// error without any guess about timing.

#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

namespace postgres_row_locks_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::run_threads;
using interlock_test::Stock;
using postgres::Isolation;
using postgres::RowLock;
using postgres::Transaction;

/// A row of the user's, and a table that refers to it.
struct Job {
    std::int64_t id{0};
    std::string queue;
    bool done{false};
    std::string worker;
};
BOOST_DESCRIBE_STRUCT(Job, (), (id, queue, done, worker))

struct Jobs {
    explicit Jobs(RowLock row_lock = RowLock::for_update, Isolation isolation = Isolation::read_committed)
        : repository(pool, {.table = table, .key = "id", .row_lock = row_lock, .isolation = isolation})
    {
        postgres_server().command(
            "CREATE TABLE " + table +
            " (id bigint PRIMARY KEY, queue text NOT NULL, done boolean NOT NULL, "
            "worker text NOT NULL, version bigint NOT NULL DEFAULT 1)");
        postgres_server().command(
            "CREATE TABLE " + table + "_notes (job bigint NOT NULL REFERENCES " + table + ", note text)");
    }
    void add(std::int64_t id, std::string queue = "mail") const
    {
        repository.insert(Job{.id = id, .queue = std::move(queue), .done = false, .worker = {}}).value();
    }
    auto free(std::string where = "queue = $1 AND NOT done") const
    {
        return postgres::FreeRows{repository, {.where = std::move(where), .order_by = "id"}};
    }
    std::string ask(std::string const& sql) const { return postgres_server().command(sql); }

    postgres::Pool pool{fresh_pool()};
    std::string table{pool.options().name_space + "_jobs"};
    postgres::StateRepository<Job> repository;
};

/// What a statement of a second connection comes to that gives up on locks at once.
std::string impatient(std::string const& sql)
{
    try {
        postgres_server().command("DO $$ BEGIN SET LOCAL lock_timeout = '20ms'; " + sql + "; END $$");
        return "done";
    } catch (std::runtime_error const& error) {
        return std::string(error.what()).find("lock timeout") != std::string::npos ? "locked" : error.what();
    }
}

TEST_CASE(
    "FOR NO KEY UPDATE lets a foreign key refer to the locked row, FOR UPDATE does not",
    "[postgres][row_locks]")
{
    for (auto const row_lock : {RowLock::for_update, RowLock::for_no_key_update, RowLock::advisory}) {
        CAPTURE(static_cast<int>(row_lock));
        Jobs const jobs{row_lock};
        jobs.add(1);
        TransactionService const service{PessimisticRowLock{}, jobs.repository};
        service.do_in_transaction(std::int64_t{1}, [&](Job& job) {
            job.worker = "w";
            CHECK(
                impatient("INSERT INTO " + jobs.table + "_notes VALUES (1, 'seen')") ==
                (row_lock == RowLock::for_no_key_update ? "done" : "locked"));
            CHECK(impatient("UPDATE " + jobs.table + " SET worker = 'other' WHERE id = 1") == "locked");
            CHECK(impatient("PERFORM 1 FROM " + jobs.table + " WHERE id = 1 FOR UPDATE") == "locked");
            // Readers wait for nobody.
            CHECK(impatient("PERFORM 1 FROM " + jobs.table + " WHERE id = 1") == "done");
        });
        CHECK(jobs.repository.load(std::int64_t{1}).value().value.worker == "w");
    }
}

TEST_CASE(
    "a call that does not wait is refused at once, and one that waits gives up by the deadline",
    "[postgres][row_locks]")
{
    for (auto const row_lock : {RowLock::for_update, RowLock::advisory}) {
        CAPTURE(static_cast<int>(row_lock));
        Jobs const jobs{row_lock};
        jobs.add(1);
        TransactionService const service{PessimisticRowLock{}, jobs.repository, {.combine = 1}};
        TransactionService const now{PessimisticRowLock{.wait = Wait::no}, jobs.repository};
        for (std::int64_t const id : {1, 2}) {  // 2 has no row
            CAPTURE(id);
            Key const key{KeyTraits<std::int64_t>::encode(id)};
            std::array const rows{&key};
            auto const held = jobs.repository.load_for_update(rows, Wait::until_deadline, 20s);
            REQUIRE(held);
            auto began = std::chrono::steady_clock::now();
            auto const refused = now.try_do_in_transaction(id, [](Job&) {}, {.deadline = 20s});
            CHECK(refused.errc() == Errc::lock_busy);
            CHECK(refused.effect() == Effect::not_applied);
            CHECK(std::chrono::steady_clock::now() - began < 5s);
            began = std::chrono::steady_clock::now();
            auto const late = service.try_do_in_transaction(id, [](Job&) {}, {.deadline = 200ms});
            CHECK(late.errc() == Errc::deadline_exceeded);
            CHECK(std::chrono::steady_clock::now() - began >= 150ms);
            CHECK(std::chrono::steady_clock::now() - began < 5s);
        }
    }
}

TEST_CASE(
    "the transaction's bounds are its deadline's, and its isolation is the repository's",
    "[postgres][row_locks]")
{
    std::pair<Isolation, std::string> const levels[] = {
        {Isolation::read_committed, "read committed"},
        {Isolation::repeatable_read, "repeatable read"},
        {Isolation::serializable, "serializable"}};
    for (auto const& level : levels) {
        auto const isolation = level.first;
        Jobs const jobs{RowLock::for_update, isolation};
        jobs.add(1);
        jobs.add(2);
        TransactionService const service{PessimisticRowLock{}, jobs.repository};
        service.do_in_transaction(
            std::int64_t{1},
            [&](Job&, Transaction& tx) {
                CHECK(tx.exec("SHOW transaction_isolation").value<std::string>() == level.second);
                auto const asked =
                    tx.exec("SELECT extract(epoch FROM current_setting('lock_timeout')::interval)");
                auto const bound = asked.value<double>();
                CHECK(bound > 5);
                CHECK(bound <= 14.1);  // of the same order as the deadline
                // What another commits meanwhile is seen, or not, as the level says.
                auto const count = [&] {
                    return tx.exec("SELECT count(*) FROM " + jobs.table + " WHERE worker = 'other'")
                        .value<int>();
                };
                CHECK(count() == 0);
                jobs.ask("UPDATE " + jobs.table + " SET worker = 'other' WHERE id = 2");
                CHECK(count() == (isolation == Isolation::read_committed ? 1 : 0));
            },
            {.deadline = 7s});
    }
}

// ---- advisory locks -----------------------------------------------------------------------------

std::string const granted = " FROM pg_locks WHERE locktype = 'advisory' AND granted";

int advisory_locks()
{
    return std::stoi(postgres_server().command("SELECT count(*)" + granted));
}

TEST_CASE(
    "a key without a row is locked by an advisory lock that ends with the transaction",
    "[postgres][row_locks]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool, {.row_lock = RowLock::advisory}};
    TransactionService const service{PessimisticRowLock{.missing = Missing::create}, stock, {.combine = 1}};
    std::atomic<int> inside{0};
    std::atomic<int> together{0};
    run_threads(4, [&](std::size_t) {
        for (int n = 0; n < 5; ++n)
            service.do_in_transaction(
                "new",
                [&](Stock& s) {
                    together += inside.fetch_add(1) == 0 ? 0 : 1;
                    ++s.quantity;
                    --inside;
                },
                {.deadline = 30s});
    });
    CHECK(together == 0);
    CHECK(stock.load("new").value().value.quantity == 20);
    CHECK(advisory_locks() == 0);
    // Also when its holder's session is killed: nothing to expire.
    Key const key{"other"};
    std::array const rows{&key};
    auto held = stock.load_for_update(rows, Wait::until_deadline, 20s);
    REQUIRE(held);
    CHECK(advisory_locks() == 1);
    postgres_server().command("SELECT count(pg_terminate_backend(pid))" + granted);
    CHECK(eventually([&] { return stock.load_for_update(rows, Wait::no, 20s).has_value(); }));
    // An operation that fails leaves nothing behind.
    CHECK_THROWS_AS(
        service.do_in_transaction(
            "other",
            [](Stock& s) {
                ++s.quantity;
                throw std::runtime_error("mine");
            }),
        std::runtime_error);
    CHECK(stock.load("other").errc() == Errc::not_found);
    CHECK(advisory_locks() == 0);
}

TEST_CASE("an advisory lock keeps the other kinds of writers out as well", "[postgres][row_locks]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const advisory{pool, {.row_lock = RowLock::advisory}};
    postgres::StateRepository<Stock> const plain{pool};
    REQUIRE(plain.insert(Stock{"x", 0}));
    TransactionService const by_hash{PessimisticRowLock{.max_attempts = 1}, advisory};
    TransactionService const by_row{PessimisticRowLock{.max_attempts = 1}, plain};
    TransactionService const by_version{OptimisticVersioning{.max_attempts = 1000}, plain};
    std::atomic<int> failed{0};
    auto const add_twenty = [&](auto const& service) {
        for (int n = 0; n < 20; ++n)
            failed +=
                service.try_do_in_transaction("x", [](Stock& s) { ++s.quantity; }, {.deadline = 30s}) ? 0 : 1;
    };
    run_threads(3, [&](std::size_t i) {
        if (i == 0)
            add_twenty(by_hash);
        else if (i == 1)
            add_twenty(by_row);
        else
            add_twenty(by_version);
    });
    CHECK(failed == 0);
    CHECK(plain.load("x").value().value.quantity == 60);
}

TEST_CASE("two keys with one hash exclude each other, and nothing else happens", "[postgres][row_locks]")
{
    // Searched for: the hash is of 64 bits, so nobody meets such keys by chance.
    std::string const a = "2yVD_EHl0dG";
    std::string const b = "_riGk5jAP7M";
    REQUIRE(
        postgres::detail::stable_hash("forged_state", a) == postgres::detail::stable_hash("forged_state", b));
    postgres::Pool const pool{postgres_server().url() + "&name_space=forged"};
    postgres::create_schema(pool).value();
    // Without it, too, a key that has no row is locked by its hash.
    for (auto const row_lock : {RowLock::advisory, RowLock::for_update}) {
        CAPTURE(static_cast<int>(row_lock));
        postgres::StateRepository<Stock> const stock{pool, {.row_lock = row_lock}};
        postgres_server().command("DELETE FROM forged_state");
        TransactionService const service{PessimisticRowLock{.missing = Missing::create}, stock};
        TransactionService const now{PessimisticRowLock{.wait = Wait::no, .missing = Missing::create}, stock};
        auto const add = [](Stock& s) { ++s.quantity; };
        auto const add_both = [](Stock& first, Stock& second) {
            ++first.quantity;
            ++second.quantity;
        };
        service.do_in_transaction(a, [&](Stock& s) {
            ++s.quantity;
            CHECK(now.try_do_in_transaction(b, add, {.deadline = 20s}).errc() == Errc::lock_busy);
            CHECK(
                service.try_do_in_transaction(b, add, {.deadline = 100ms}).errc() == Errc::deadline_exceeded);
            CHECK(now.try_do_in_transaction("another", add, {.deadline = 20s}).has_value());
        });
        // In one transaction, and in both orders at once: no deadlock.
        std::atomic<int> failed{0};
        run_threads(4, [&](std::size_t i) {
            for (int n = 0; n < 10; ++n) {
                auto const pair = i % 2 == 0 ? keys(a, b) : keys(b, a);
                failed += service.try_do_in_transaction(pair, add_both, {.deadline = 30s}) ? 0 : 1;
            }
        });
        CHECK(failed == 0);
        CHECK(stock.load(a).value().value == Stock{a, 41});
        CHECK(stock.load(b).value().value == Stock{b, 40});
    }
}

// ---- free rows ----------------------------------------------------------------------------------

TEST_CASE("workers of one queue get a row each without waiting", "[postgres][row_locks][free_rows]")
{
    Jobs const jobs;
    for (std::int64_t id = 1; id <= 3; ++id)
        jobs.add(id);
    jobs.add(4, "print");
    auto const free = jobs.free();
    TransactionService const service{PessimisticRowLock{}, free};
    auto const finish = [](Job& job) {
        job.done = true;
        return job.id;
    };
    // Three at once: each inside of its own transaction while the others are inside of theirs.
    std::atomic<int> inside{0};
    std::mutex mutex;
    std::set<std::int64_t> taken;
    run_threads(3, [&](std::size_t) {
        auto const id = service.do_in_transaction(
            "mail",
            [&](Job& job) {
                ++inside;
                eventually([&] { return inside == 3; });
                return finish(job);
            },
            {.deadline = 30s});
        std::lock_guard const lock(mutex);
        taken.insert(id);
    });
    CHECK(inside == 3);
    CHECK(taken == std::set<std::int64_t>{1, 2, 3});
    auto const none = service.try_do_in_transaction("mail", finish);
    CHECK(none.errc() == Errc::not_found);
    CHECK_THAT(none.detail(), Catch::Matchers::ContainsSubstring(jobs.table));
    CHECK(service.do_in_transaction("print", finish) == 4);
    CHECK(jobs.ask("SELECT count(*) FROM " + jobs.table + " WHERE done AND version = 2") == "4");
}

// Without a line break behind it, a comment takes the rest of the statement with it: the limit, the lock.
TEST_CASE("conditions and orders may end with a comment", "[postgres][row_locks][free_rows]")
{
    Jobs const jobs;
    for (std::int64_t id = 1; id <= 2; ++id)
        jobs.add(id);
    postgres::StateRepository<Job> const open_jobs{
        jobs.pool, {.table = jobs.table, .key = "id", .where = "NOT done -- whatever is left"}};
    postgres::FreeRows const first_come{
        open_jobs, {.where = "queue = $1 -- of one queue", .order_by = "id -- first come, first served"}};
    TransactionService const service{PessimisticRowLock{}, first_come};
    auto const take = [](Job& job) { return job.id; };
    std::int64_t second = 0;
    auto const first = service.do_in_transaction("mail", [&](Job& job) {
        std::thread([&] { second = service.do_in_transaction("mail", take, {.deadline = 20s}); }).join();
        return job.id;
    });
    CHECK(first == 1);
    CHECK(second == 2);
    CHECK(open_jobs.load(std::int64_t{1}).has_value());
    TransactionService const versions{OptimisticVersioning{}, open_jobs};
    CHECK(versions.try_do_in_transaction(std::int64_t{1}, [](Job& job) { job.done = true; }));
    CHECK(open_jobs.load(std::int64_t{1}).errc() == Errc::not_found);
}

TEST_CASE(
    "a row that somebody else has locked is skipped without waiting", "[postgres][row_locks][free_rows]")
{
    Jobs const jobs;
    jobs.add(1);
    jobs.add(2);
    auto const free = jobs.free();
    TransactionService const service{PessimisticRowLock{.missing = Missing::create}, free};
    TransactionService const named{PessimisticRowLock{}, jobs.repository};
    named.do_in_transaction(std::int64_t{1}, [&](Job&) {
        CHECK(service.do_in_transaction("mail", [&](Job& job) {
            // Both rows are held now. What is asked next must not wait: its deadline is far.
            auto const began = std::chrono::steady_clock::now();
            Key const mail{"mail"};
            std::array const rows{&mail};
            CHECK(free.load_for_update(rows, Wait::until_deadline, 20s).errc() == Errc::not_found);
            CHECK(std::chrono::steady_clock::now() - began < 5s);
            return job.id;
        }) == 2);
    });
    CHECK(jobs.ask("SELECT count(*) FROM " + jobs.table) == "2");
    CHECK(service.do_in_transaction("mail", [](Job& job) { return job.id; }) == 1);  // free again, in order
}

TEST_CASE("a worker that fails or dies leaves its row as it was", "[postgres][row_locks][free_rows]")
{
    Jobs const jobs;
    jobs.add(1);
    auto const free = jobs.free();
    TransactionService const service{PessimisticRowLock{.max_attempts = 1}, free};
    CHECK_THROWS_AS(
        service.do_in_transaction(
            "mail",
            [](Job& job, Transaction& tx) {
                job.done = true;
                tx.exec("SELECT 1");
                throw std::runtime_error("mine");
            }),
        std::runtime_error);
    auto const killed = service.try_do_in_transaction("mail", [](Job& job, Transaction& tx) {
        job.done = true;
        static_cast<void>(tx.try_exec("SELECT pg_terminate_backend(pg_backend_pid())"));
    });
    CHECK(killed.errc() == Errc::unavailable);
    CHECK(eventually([&] {
        return service.try_do_in_transaction("mail", [](Job& job) { return job.done = true; }).has_value();
    }));
    CHECK(jobs.ask("SELECT version FROM " + jobs.table) == "2");
}

TEST_CASE("many workers do every job once", "[postgres][row_locks][free_rows]")
{
    Jobs const jobs{RowLock::for_no_key_update};
    for (std::int64_t id = 1; id <= 60; ++id)
        jobs.add(id);
    auto const free = jobs.free("NOT done");  // names no key
    TransactionService const service{PessimisticRowLock{}, free};
    std::atomic<int> done{0};
    run_threads(6, [&](std::size_t i) {
        while (service.try_do_in_transaction(
            "any",
            [&](Job& job, Transaction& tx) {
                tx.exec("INSERT INTO " + jobs.table + "_notes VALUES ($1, $2)", job.id, std::to_string(i));
                job.done = true;
            },
            {.deadline = 30s}))
            ++done;
    });
    CHECK(done == 60);
    CHECK(jobs.ask("SELECT count(*) FROM " + jobs.table + "_notes") == "60");
    CHECK(jobs.ask("SELECT count(DISTINCT job) FROM " + jobs.table + "_notes") == "60");
}

TEST_CASE(
    "free rows with wrong options are refused with a text that says what is wrong",
    "[postgres][row_locks][free_rows]")
{
    Jobs const jobs;
    jobs.add(1);
    auto const service = [](auto const& free) { return TransactionService{PessimisticRowLock{}, free}; };
    CHECK_THROWS_AS(
        (postgres::FreeRows{postgres::StateRepository<Stock>{jobs.pool}, {.where = "true"}}), Error);
    CHECK_THROWS_AS((postgres::FreeRows{jobs.repository, {}}), Error);
    auto const nonsense = jobs.free("no_such_column = $1");
    CHECK(service(nonsense).try_do_in_transaction("mail", [](Job&) {}).errc() == Errc::misconfigured);
    auto const two = jobs.free("true); COMMIT; SELECT (true");
    CHECK(service(two).try_do_in_transaction("mail", [](Job&) {}).errc() == Errc::misconfigured);
    auto const free = jobs.free();
    CHECK(
        service(free).try_do_in_transaction(std::string("a\0b", 3), [](Job&) {}).errc() ==
        Errc::invalid_argument);
    auto const hostile = "'; DROP TABLE " + jobs.table + "; --";
    CHECK(service(free).try_do_in_transaction(hostile, [](Job&) {}).errc() == Errc::not_found);
    auto const renamed = service(free).try_do_in_transaction("mail", [](Job& job) { job.id = 7; });
    CHECK(renamed.errc() == Errc::invalid_argument);
    CHECK(jobs.ask("SELECT id FROM " + jobs.table) == "1");
}

TEST_CASE("a transaction of two tables is isolated as the one that asks for most", "[postgres][row_locks]")
{
    Jobs const jobs;
    jobs.add(1);
    for (auto const& [isolation, name] : {
             std::pair{Isolation::repeatable_read, "repeatable read"},
             std::pair{Isolation::serializable, "serializable"},
         }) {
        postgres::StateRepository<Stock> const stock{jobs.pool, {.isolation = isolation}};
        static_cast<void>(stock.insert(Stock{name, 10}).value());
        std::string seen;
        auto const look = [&](Job& job, Stock& s, Transaction& tx) {
            seen = tx.exec("SHOW transaction_isolation")[0][0].text();
            job.done = !job.done;
            --s.quantity;
        };
        TransactionService const one{PessimisticRowLock{}, JointRepository{jobs.repository, stock}};
        one.do_in_transaction(keys(in(jobs.repository, 1), in(stock, name)), look);
        CHECK(seen == name);
        seen.clear();
        TransactionService const other{PessimisticRowLock{}, JointRepository{stock, jobs.repository}};
        other.do_in_transaction(
            keys(in(stock, name), in(jobs.repository, 1)),
            [&](Stock& s, Job& job, Transaction& tx) { look(job, s, tx); });
        CHECK(seen == name);
    }
}

TEST_CASE(
    "an operation on rows of two tables executes statements of its own in their transaction",
    "[postgres][row_locks]")
{
    Jobs const jobs;
    jobs.add(1);
    postgres::StateRepository<Stock> const stock{jobs.pool};
    static_cast<void>(stock.insert(Stock{"x", 10}).value());
    TransactionService const service{PessimisticRowLock{}, JointRepository{jobs.repository, stock}};
    auto const both = keys(in(jobs.repository, 1), in(stock, "x"));
    auto const do_it = [&](Job& job, Stock& s, Transaction& tx) {
        job.done = true;
        --s.quantity;
        tx.exec("INSERT INTO " + jobs.table + "_notes VALUES ($1, $2)", job.id, "used");
    };
    auto const found = [&] {
        return jobs.ask("SELECT count(*) FROM " + jobs.table + "_notes") + "," +
               std::to_string(stock.load("x").value().value.quantity);
    };

    service.do_in_transaction(both, do_it);
    CHECK(found() == "1,9");
    CHECK(jobs.repository.load(1).value().value.done);

    SECTION("and nothing is left of it when the operation throws")
    {
        CHECK_THROWS_AS(
            service.do_in_transaction(
                both,
                [&](Job& job, Stock& s, Transaction& tx) {
                    do_it(job, s, tx);
                    throw std::runtime_error("no");
                }),
            std::runtime_error);
        CHECK(found() == "1,9");
    }
    SECTION("or when one of the statements fails")
    {
        CHECK_THROWS_AS(
            service.do_in_transaction(
                both,
                [&](Job& job, Stock& s, Transaction& tx) {
                    do_it(job, s, tx);
                    tx.exec("INSERT INTO " + jobs.table + "_notes VALUES (77, 'no such job')");
                }),
            Error);
        auto const failed = service.try_do_in_transaction(both, [&](Job& job, Stock& s, Transaction& tx) {
            do_it(job, s, tx);
            try {
                tx.exec("INSERT INTO " + jobs.table + "_notes VALUES (77, 'no such job')");
            } catch (Error const&) {  // goes on, though the server will not commit this any more
            }
        });
        CHECK(failed.errc() == Errc::constraint_violated);
        CHECK(found() == "1,9");
    }
    SECTION("and a search path that the operation changes makes no name mean another table")
    {
        auto const elsewhere = jobs.pool.options().name_space + "_elsewhere";
        jobs.ask("CREATE SCHEMA " + elsewhere);
        jobs.ask("CREATE TABLE " + elsewhere + "." + jobs.table + " (LIKE " + jobs.table + ")");
        auto const moved = service.try_do_in_transaction(both, [&](Job& job, Stock& s, Transaction& tx) {
            do_it(job, s, tx);
            tx.exec("SET LOCAL search_path = " + elsewhere + ", public");
        });
        CHECK(moved.errc() == Errc::invalid_argument);
        CHECK(found() == "1,9");
    }
    SECTION("both rows are locked while it runs, and both are let go")
    {
        service.do_in_transaction(both, [&](Job& job, Stock& s, Transaction& tx) {
            CHECK(impatient("UPDATE " + jobs.table + " SET done = true WHERE id = 1") == "locked");
            CHECK(
                impatient(
                    "UPDATE " + jobs.pool.options().name_space +
                    "_state SET version = version WHERE key = 'x'") == "locked");
            do_it(job, s, tx);
        });
        CHECK(found() == "2,8");
        CHECK(impatient("UPDATE " + jobs.table + " SET done = true WHERE id = 1") == "done");
    }
    SECTION("a table that changes under warm connections costs one more run at most")
    {
        jobs.ask("ALTER TABLE " + jobs.table + " ALTER COLUMN worker TYPE varchar(40)");
        service.do_in_transaction(both, do_it);
        CHECK(found() == "2,8");
    }
}

}  // namespace postgres_row_locks_test
