// SPDX-License-Identifier: BSL-1.0

// Law P7 in front of a PostgreSQL server that has stopped: each public call, blocking or asynchronous, ends
// by its deadline, none says that it was applied, and what was under way costs the connection.
//
// How it works: `Stopped` sends SIGSTOP to all processes of a real server. They exist, the kernel takes our
// bytes, and nothing answers. The cases are tables of rows: each row prepares a call while the server runs,
// the server is stopped, the call is made, and its time and its outcome are checked. Each row runs with a
// pool that has its connections already, and with one that must open them.

#include <interlock/backends/postgres/counters.hpp>
#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <signal.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace postgres_stopped_server_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::error_thrown_by;
using interlock_test::PostgresServer;
using interlock_test::Stock;
using interlock_test::time_of;
using interlock_test::told_to_handler;

constexpr auto deadline = 600ms;
constexpr auto margin = 2s;  // for a busy machine

/// All processes of a server stand still while this lives.
class Stopped {
public:
    explicit Stopped(PostgresServer const& server)
    {
        std::ifstream file(server.directory() + "/data/postmaster.pid");
        pid_t postmaster = 0;
        if (!(file >> postmaster))
            throw std::runtime_error("no postmaster");
        stop(postmaster);  // first: it makes no more of them
        for (auto const& entry : std::filesystem::directory_iterator("/proc"))
            if (auto const pid = entry.path().filename().string();
                pid.find_first_not_of("0123456789") == std::string::npos)
                if (parent_of(pid) == postmaster)
                    stop(static_cast<pid_t>(std::stol(pid)));
    }
    Stopped(Stopped const&) = delete;
    Stopped& operator=(Stopped const&) = delete;
    ~Stopped()
    {
        for (auto const pid : pids_)
            ::kill(pid, SIGCONT);
    }

private:
    void stop(pid_t pid)
    {
        if (::kill(pid, SIGSTOP) == 0)
            pids_.push_back(pid);
    }
    static pid_t parent_of(std::string const& pid)
    {
        std::ifstream file("/proc/" + pid + "/stat");
        std::string text;
        std::getline(file, text);                // which does not throw when the process has just gone
        auto const name_ends = text.rfind(')');  // then: a space, the state, a space, the parent
        return name_ends == std::string::npos ? 0 : static_cast<pid_t>(std::stol(text.substr(name_ends + 4)));
    }
    std::vector<pid_t> pids_;
};

PostgresServer& server()
{
    static PostgresServer one;
    return one;
}

/// Made once: the tables.
postgres::Pool const& setup()
{
    static postgres::Pool const pool = [] {
        auto made = interlock_test::fresh_pool(server());
        server().command(
            "CREATE TABLE stopped_jobs (sku text PRIMARY KEY, quantity int NOT NULL, version bigint NOT "
            "NULL)");
        return made;
    }();
    return pool;
}

std::string fresh_key()
{
    static int count = 0;
    return "k" + std::to_string(count++);
}

/// What one call has to do with: a row of its own, and a pool that has its connections already (`warm`), or
/// not.
struct World {
    explicit World(bool warm)
        : version(postgres::StateRepository<Stock>{setup()}.insert(Stock{name, 10}).value())
    {
        server().command("INSERT INTO stopped_jobs VALUES ('" + name + "', 1, 1)");
        if (warm)
            stock.load(name).value();
    }
    void stop()
    {
        if (!stopped)
            stopped.emplace(server());
    }

    std::string name{fresh_key()};
    Key key{name};
    Version version;
    postgres::Pool pool{setup().options()};
    postgres::StateRepository<Stock> stock{pool};
    postgres::StateRepository<Stock> jobs{pool, {.table = "stopped_jobs", .key = "sku"}};
    postgres::Counters counters{pool};
    postgres::IdempotencyStore claims{pool};
    postgres::TransactionalIdempotencyStore records{pool};
    IdempotentRequest request{name, Scope("tenant"), fingerprint(name)};
    OwnerToken owner{{7, 7}};
    std::optional<Stopped> stopped;
};

/// Called when the server has stopped; returns what the call came to.
using Call = std::function<Errc()>;

struct Row {
    std::string name;
    std::function<Call(World&)> prepare;  // while the server still runs
    std::chrono::nanoseconds by{deadline};
};

void check(std::vector<Row> const& rows, bool warm)
{
    for (auto const& row : rows) {
        CAPTURE(row.name, warm);
        World w{warm};
        auto call = row.prepare(w);
        w.stop();
        auto came_to = Errc::ok;
        auto const took = time_of([&] { came_to = call(); });
        CHECK(took < row.by + margin);
        CAPTURE(came_to);
        CHECK(
            (came_to == Errc::deadline_exceeded || came_to == Errc::unavailable ||
             came_to == Errc::outcome_unknown));
        w.stopped.reset();
        call = nullptr;
    }
}

/// A row that needs nothing before the server stops.
template <class F>
Row at_once(std::string name, F call)
{
    return {std::move(name), [call](World& w) { return Call{[&w, call] { return call(w); }}; }};
}

Errc commit_of(World& w, OperationCommit const* operation, bool two)
{
    Key const other{w.name + "-other"};
    Stock const value{w.name, 5};
    Stock const other_value{w.name + "-other", 5};
    std::vector<Change<Stock>> changes{Change<Stock>{.key = &w.key, .version = w.version, .value = &value}};
    if (two)
        changes.push_back(Change<Stock>{.key = &other, .value = &other_value});
    return w.stock.commit(changes, operation, deadline).errc();
}

std::vector<Row> calls_for_values()
{
    return {
        at_once("load", [](World& w) { return w.stock.load(w.key, deadline).errc(); }),
        at_once(
            "insert", [](World& w) { return w.stock.insert(Key{"new"}, Stock{"new", 1}, deadline).errc(); }),
        at_once(
            "compare_and_set",
            [](World& w) {
                return w.stock.compare_and_set(w.key, w.version, Stock{w.name, 1}, deadline).errc();
            }),
        at_once("erase", [](World& w) { return w.stock.erase(w.key, w.version, deadline).errc(); }),
        at_once("commit of one", [](World& w) { return commit_of(w, nullptr, false); }),
        at_once("commit of two", [](World& w) { return commit_of(w, nullptr, true); }),
        at_once(
            "commit with a record",
            [](World& w) {
                OperationId const id{"id"};
                OperationCommit const operation{&w.key, &id, 1, "answer"};
                return commit_of(w, &operation, false);
            }),
        at_once(
            "commit of two with a record",
            [](World& w) {
                OperationId const id{"id"};
                OperationCommit const operation{&w.key, &id, 1, "answer"};
                return commit_of(w, &operation, true);
            }),
        at_once(
            "find_operation",
            [](World& w) { return w.stock.find_operation(w.key, OperationId{"id"}, deadline).errc(); }),
        at_once(
            "forbid_operation",
            [](World& w) { return w.stock.forbid_operation(w.key, OperationId{"id"}, 1, deadline).errc(); }),
        at_once(
            "for_each_operation",
            [](World& w) { return w.stock.for_each_operation([](auto const&...) {}, deadline).errc(); }),
        at_once(
            "load_for_update",
            [](World& w) {
                std::array const keys{&w.key};
                return w.stock.load_for_update(keys, Wait::until_deadline, deadline).errc();
            }),
        at_once(
            "load_for_update without waiting",
            [](World& w) {
                std::array const keys{&w.key};
                return w.stock.load_for_update(keys, Wait::no, deadline).errc();
            }),
        at_once("free rows", [](World& w) {
            postgres::FreeRows const free{w.jobs, {.where = "quantity = 1 AND sku = $1"}};
            std::array const keys{&w.key};
            return free.load_for_update(keys, Wait::no, deadline).errc();
        })};
}

std::vector<Row> calls_for_locks()
{
    return {
        at_once("create", [](World& w) { return w.stock.create(w.key, w.owner, 10s, deadline).errc(); }),
        at_once(
            "create_and_load",
            [](World& w) { return w.stock.create_and_load(w.key, w.owner, 10s, deadline).errc(); }),
        at_once("renew", [](World& w) { return w.stock.renew(w.key, w.owner, 10s, deadline).errc(); }),
        at_once("remove", [](World& w) { return w.stock.remove(w.key, w.owner, deadline).errc(); }),
        at_once("force_release", [](World& w) { return w.stock.force_release(w.name, deadline).errc(); }),
        at_once("verify_fencing", [](World& w) { return w.stock.verify_fencing(deadline).errc(); }),
        at_once("server_check", [](World& w) { return w.stock.server_check(deadline).errc(); })};
}

std::vector<Row> other_calls()
{
    return {
        at_once("create_schema", [](World& w) { return postgres::create_schema(w.pool, deadline).errc(); }),
        at_once(
            "run_script",
            [](World& w) {
                std::array<std::string_view, 1> const script{"SELECT 1"};
                return postgres::run_script(w.pool, script, deadline).errc();
            }),
        at_once("purge", [](World& w) { return postgres::purge(w.pool, 10, deadline).errc(); }),
        at_once(
            "counter change",
            [](World& w) {
                return w.counters.atomic_once(OperationId{w.name}, w.key, {.amount = 1}, deadline).errc();
            }),
        at_once("counter load", [](World& w) { return w.counters.load(w.key, deadline).errc(); }),
        at_once(
            "claim",
            [](World& w) {
                return w.claims.claim(w.request, w.owner, 10s, AfterLease::take_over, deadline).errc();
            }),
        at_once(
            "complete",
            [](World& w) { return w.claims.complete(w.request, w.owner, "answer", false, deadline).errc(); }),
        at_once(
            "give_back", [](World& w) { return w.claims.give_back(w.request, w.owner, deadline).errc(); }),
        at_once("find a record", [](World& w) { return w.records.find(w.request, deadline).errc(); }),
        at_once("reject", [](World& w) { return w.records.reject(w.request, "no", deadline).errc(); })};
}

TEST_CASE(
    "every call of a repository or a store ends by its deadline when the server has stopped",
    "[postgres][stopped_server]")
{
    for (bool const warm : {false, true})
        for (auto const& rows : {calls_for_values(), calls_for_locks(), other_calls()})
            check(rows, warm);
}

TEST_CASE(
    "every step of an open transaction ends by its deadline when the server has stopped",
    "[postgres][stopped_server]")
{
    using Open = postgres::StateRepository<Stock>::transaction_type;
    auto const with = [](std::string name, auto use) {
        return Row{std::move(name), [use](World& w) {
                       std::array const keys{&w.key};
                       auto opened = w.stock.load_for_update(keys, Wait::until_deadline, deadline);
                       for (int more = 0; more < 10 && !opened; ++more)  // on a busy machine
                           opened = w.stock.load_for_update(keys, Wait::until_deadline, deadline);
                       auto tx = std::make_shared<Open>(std::move(opened).value());
                       return Call{[&w, use, tx = std::move(tx)]() mutable {
                           auto const came_to = use(w, *tx);
                           tx.reset();
                           return came_to;
                       }};
                   }};
    };
    auto const commit = [](World& w, Open& tx, OperationCommit const* operation) {
        Stock const value{w.name, 5};
        std::array changes{Change<Stock>{.key = &w.key, .version = w.version, .value = &value}};
        return tx.commit(changes, operation, deadline).errc();
    };
    check(
        {with("exec", [](World&, Open& tx) { return error_thrown_by([&] { tx.exec("SELECT 1"); }); }),
         with("try_exec", [](World&, Open& tx) { return tx.try_exec("SELECT 1").errc(); }),
         with("commit", [=](World& w, Open& tx) { return commit(w, tx, nullptr); }),
         with(
             "commit with a record",
             [=](World& w, Open& tx) {
                 OperationId const id{"id"};
                 OperationCommit const operation{&w.key, &id, 1, "answer"};
                 return commit(w, tx, &operation);
             }),
         with(
             "rollback",
             [](World& w, Open& tx) {
                 tx.rollback();
                 CHECK(w.pool.connection_count() == 0);  // closed, not given back
                 return Errc::unavailable;
             }),
         with("destructor", [](World&, Open&) { return Errc::unavailable; }),
         with(
             "claim in the transaction",
             [](World& w, Open& tx) { return w.records.claim(tx, w.request).errc(); })},
        true);
}

enum class When { before, before_the_commit, before_the_rollback };

/// What an operation throws. It has nothing in it: how a future shares an exception between threads,
/// ThreadSanitizer cannot see.
struct Mine {};

/// A transaction of a service, blocking or not, before or while which the server stops.
template <class Ask>
void add(std::vector<Row>& rows, std::string const& name, When when, Ask ask)
{
    rows.push_back({name, [=](World& w) {
                        return Call{[&w, when, ask] {
                            if (when != When::before)
                                w.stopped.reset();
                            auto const operation = [world = &w, when](Stock& s) {
                                if (when != When::before)
                                    world->stop();
                                if (when == When::before_the_rollback)
                                    throw Mine{};
                                return ++s.quantity;
                            };
                            try {
                                return ask(w, operation, CallOptions{.deadline = deadline});
                            } catch (Mine const&) {
                                return Errc::unavailable;
                            }
                        }};
                    }});
}

/// The answer of an asynchronous call; `ok` when there is none, which is what no row expects.
template <class Future>
Errc answer_of(Future future)
{
    if (future.wait_for(20s) != std::future_status::ready)
        return Errc::ok;
    return future.get().errc();
}

template <class Make>
void add_both_ways(std::vector<Row>& rows, std::string const& name, When when, Make make)
{
    using boost::asio::use_future;
    auto const full = name + (when == When::before              ? ""
                              : when == When::before_the_commit ? ", stopped by the operation"
                                                                : ", stopped by the operation, which throws");
    add(rows, full, when, [=](World& w, auto const& operation, CallOptions options) {
        return make(w).try_do_in_transaction(w.name, operation, options).errc();
    });
    add(rows, full + ", asynchronous", when, [=](World& w, auto const& operation, CallOptions options) {
        return answer_of(make(w).async_try_do_in_transaction(w.name, operation, options, use_future));
    });
    add(rows, full + ", with an id", when, [=](World& w, auto const& operation, CallOptions options) {
        return make(w).try_do_in_transaction(OperationId{"id"}, w.name, operation, options).errc();
    });
    add(rows, full + ", with an id, asynchronous", when,
        [=](World& w, auto const& operation, CallOptions options) {
            return answer_of(make(w).async_try_do_in_transaction(
                OperationId{"id"}, w.name, operation, options, use_future));
        });
}

template <class Make>
void add_requests(std::vector<Row>& rows, std::string const& name, When when, Make make)
{
    using boost::asio::use_future;
    auto const full = name + (when == When::before              ? ""
                              : when == When::before_the_commit ? ", stopped by the operation"
                                                                : ", stopped by the operation, which throws");
    add(rows, full, when, [=](World& w, auto const& operation, CallOptions options) {
        return make(w).try_do_in_transaction(w.request, w.name, operation, options).errc();
    });
    add(rows, full + ", asynchronous", when, [=](World& w, auto const& operation, CallOptions options) {
        return answer_of(
            make(w).async_try_do_in_transaction(w.request, w.name, operation, options, use_future));
    });
}

TEST_CASE(
    "every policy's transaction ends by its deadline when the server has stopped",
    "[postgres][stopped_server]")
{
    std::vector<Row> rows;
    for (auto const when : {When::before, When::before_the_commit, When::before_the_rollback}) {
        add_both_ways(rows, "optimistic versioning", when, [](World& w) {
            return TransactionService{OptimisticVersioning{}, w.stock};
        });
        add_both_ways(rows, "row lock", when, [](World& w) {
            return TransactionService{PessimisticRowLock{}, w.stock};
        });
        add_both_ways(rows, "lock", when, [](World& w) { return TransactionService{SetNxLock{}, w.stock}; });
        add_requests(rows, "idempotency in the transaction", when, [](World& w) {
            return TransactionService{IdempotencyInTransaction{PessimisticRowLock{}, w.records}, w.stock};
        });
        add_requests(rows, "idempotency keys", when, [](World& w) {
            return TransactionService{IdempotencyKeys{OptimisticVersioning{}, w.claims}, w.stock};
        });
        if (when == When::before)  // in the other cases the operation has its connection
            check(rows, false);
    }
    check(rows, true);
}

TEST_CASE("a wait for a lock ends by its deadline when the server has stopped", "[postgres][stopped_server]")
{
    std::vector<Row> rows{
        at_once(
            "acquire",
            [](World& w) {
                LockStateService const locks{w.stock};
                return error_thrown_by([&] { return locks.acquire(w.name, {.deadline = deadline}); });
            }),
        at_once(
            "acquire, asynchronous",
            [](World& w) {
                LockStateService const locks{w.stock};
                return told_to_handler([&](auto handler) {
                    locks.async_acquire(w.name, AcquireOptions{.deadline = deadline}, std::move(handler));
                });
            }),
    };
    check(rows, false);
    check(rows, true);
}

TEST_CASE(
    "every call about a held lock ends by the default deadline when the server has stopped",
    "[postgres][stopped_server]")
{
    constexpr auto by_default = 5s;
    using Locks = LockStateService<Stock, postgres::StateRepository<Stock>>;
    auto const with = [=](std::string name, auto use) {
        return Row{
            std::move(name),
            [use](World& w) {
                auto locks = std::make_shared<Locks>(w.stock, LockOptions{.ttl = 60s});
                auto lock = std::make_shared<Locks::lock_type>(locks->acquire(w.name));
                return Call{[&w, use, locks, lock] { return use(w, *locks, *lock); }};
            },
            by_default};
    };
    check(
        {with("release", [](World&, Locks& locks, auto& lock) { return locks.release(lock).errc(); }),
         with(
             "release, asynchronous",
             [](World&, Locks& locks, auto& lock) {
                 return told_to_handler(
                     [&](auto handler) { locks.async_release(std::move(lock), std::move(handler)); });
             }),
         with(
             "write", [](World& w, Locks& locks,
                         auto& lock) { return locks.write(lock, w.version, Stock{w.name, 5}).errc(); }),
         with(
             "try_acquire",
             [](World& w, Locks& locks, auto&) {
                 return error_thrown_by([&] { return locks.try_acquire(w.name + "-other"); });
             })},
        true);
}

TEST_CASE(
    "a rollback does not wait beyond the deadline for a backend that does not answer",
    "[postgres][stopped_server][rollback]")
{
    auto fastest = std::chrono::nanoseconds{1h};
    for (int i = 0; i < 5; ++i) {  // the machine may be busy, but not every time
        World w{true};
        TransactionService const service{PessimisticRowLock{}, w.stock};
        service.do_in_transaction(w.name, [](Stock& s) { return ++s.quantity; });
        pid_t backend = 0;
        auto const took = time_of([&] {
            CHECK_THROWS_AS(
                service.try_do_in_transaction(
                    w.name,
                    [&](Stock&, postgres::Transaction& tx) {
                        backend = tx.exec("SELECT pg_backend_pid()").value<int>();
                        ::kill(backend, SIGSTOP);
                        throw std::runtime_error("mine");
                    },
                    {.deadline = 300ms}),
                std::runtime_error);
        });
        if (backend != 0)
            ::kill(backend, SIGCONT);
        fastest = std::min(fastest, took);
        CHECK(w.pool.connection_count() == 0);  // closed, not given back
        // What was not rolled back by us is rolled back by the server.
        CHECK(
            service.do_in_transaction(w.name, [](Stock& s) { return ++s.quantity; }, {.deadline = 20s}) ==
            12);
    }
    CHECK(fastest < 800ms);
}

TEST_CASE(
    "a wait for somebody else's row ends by its deadline, and so does the wait of its holder",
    "[postgres][stopped_server]")
{
    World w{true};
    std::array const keys{&w.key};
    auto held = w.stock.load_for_update(keys, Wait::until_deadline, 30s).value();
    std::optional<Errc> waited;
    auto const took = time_of([&] {
        std::thread waiting(
            [&] { waited = w.stock.load_for_update(keys, Wait::until_deadline, deadline).errc(); });
        CHECK(interlock_test::eventually([&] {
            return server().command("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") ==
                   "1";
        }));
        w.stop();
        waiting.join();
    });
    CHECK(waited == Errc::deadline_exceeded);
    CHECK(took < deadline + 2 * margin);
}

}  // namespace postgres_stopped_server_test
