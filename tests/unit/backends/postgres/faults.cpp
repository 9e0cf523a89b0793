// SPDX-License-Identifier: BSL-1.0

// Lost replies, ended sessions, owners that are gone and moved clocks: what a call answers then, and whether
// the answer is true.
//
// How it works: a `CuttingProxy` between client and server drops the request or the reply at a place that the
// case names (the prepared COMMIT, say). `Behind` has a repository through the proxy and another one around
// it; the second one tells what the server really did.

#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include "support/catch.hpp"
#include "support/cutting_proxy.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

namespace postgres_faults_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::Account;
using interlock_test::CuttingProxy;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::PostgresServer;
using interlock_test::run_threads;
using interlock_test::Stock;
using Cut = CuttingProxy::Cut;

/// What a client sends to commit: the name of the prepared statement.
std::string commit_on_the_wire()
{
    return postgres::detail::Statement{"COMMIT"}.name() + '\0';
}

/// A stock of ten behind a proxy, and a way around it.
struct Behind {
    explicit Behind(PostgresServer& server = postgres_server())
        : pool(fresh_pool(server)), proxy(server.port())
    {
        static_cast<void>(direct.insert(Stock{"x", 10}).value());
        static_cast<void>(direct.insert(Stock{"y", 10}).value());
        // The statements are prepared by now, so that a cut hits their execution.
        TransactionService{PessimisticRowLock{}, stock}.do_in_transaction(
            "y", [](Stock& s) { --s.quantity; });
    }
    int left() const { return direct.load("x").value().value.quantity; }

    postgres::Pool pool;
    postgres::StateRepository<Stock> direct{pool};
    CuttingProxy proxy;
    postgres::Pool through{
        "postgresql://interlock@127.0.0.1:" + std::to_string(proxy.port()) +
        "/postgres?name_space=" + pool.options().name_space};
    postgres::StateRepository<Stock> stock{through};
};

TEST_CASE("a COMMIT whose reply is lost is looked for, and is found to be applied", "[postgres][faults]")
{
    Behind const b;
    TransactionService const service{PessimisticRowLock{}, b.stock};
    int runs = 0;
    const_cast<CuttingProxy&>(b.proxy).cut(Cut::reply, commit_on_the_wire());
    auto const one = service.try_do_in_transaction(
        "x",
        [&](Stock& s) {
            ++runs;
            return --s.quantity;
        },
        {.deadline = 20s});
    REQUIRE(one);
    CHECK(*one == 9);
    CHECK(runs == 1);
    CHECK(b.proxy.cuts() == 1);
    CHECK(b.left() == 9);

    // With a statement of the operation's own, the COMMIT goes alone.
    const_cast<CuttingProxy&>(b.proxy).cut(Cut::reply, commit_on_the_wire());
    auto const own = service.try_do_in_transaction(
        "x",
        [&](Stock& s, postgres::Transaction& tx) {
            ++runs;
            return (s.quantity -= tx.exec("SELECT 1").value<int>());
        },
        {.deadline = 20s});
    REQUIRE(own);
    CHECK(*own == 8);
    CHECK(runs == 2);
    CHECK(b.proxy.cuts() == 2);
    CHECK(b.left() == 8);
}

TEST_CASE("a COMMIT that never arrived is looked for, and the operation runs again", "[postgres][faults]")
{
    Behind const b;
    auto& proxy = const_cast<CuttingProxy&>(b.proxy);
    proxy.cut(Cut::request, commit_on_the_wire());
    auto const once =
        TransactionService{PessimisticRowLock{.max_attempts = 1}, b.stock}.try_do_in_transaction(
            "x", [](Stock& s) { return --s.quantity; }, {.deadline = 20s});
    CHECK(once.errc() == Errc::unavailable);
    CHECK(once.effect() == Effect::not_applied);
    CHECK(b.left() == 10);
    proxy.cut(Cut::request, commit_on_the_wire());
    int runs = 0;
    CHECK(
        TransactionService{PessimisticRowLock{}, b.stock}.do_in_transaction(
            "x",
            [&](Stock& s) {
                ++runs;
                return --s.quantity;
            },
            {.deadline = 20s}) == 9);
    CHECK(runs == 2);
    CHECK(proxy.cuts() == 2);
    CHECK(b.left() == 9);
}

TEST_CASE("a COMMIT of two tables whose reply is lost is looked for", "[postgres][faults]")
{
    Behind const b;
    auto& proxy = const_cast<CuttingProxy&>(b.proxy);
    auto const table = b.pool.options().name_space + "_accounts";
    postgres_server().command(
        "CREATE TABLE " + table +
        " (id bigint PRIMARY KEY, balance bigint NOT NULL, note text NOT NULL, version bigint NOT NULL)");
    postgres::StateRepository<Account> const accounts{b.through, {.table = table, .key = "id"}};
    static_cast<void>(accounts.insert(Account{1, 100, ""}).value());
    auto const both = keys(in(b.stock, "x"), in(accounts, 1));
    int left = 10;
    auto const under = [&](auto policy) {
        TransactionService const service{policy, JointRepository{b.stock, accounts}};
        int runs = 0;
        auto const buy = [&](Stock& s, Account& a) {
            ++runs;
            --a.balance;
            return --s.quantity;
        };
        CHECK(service.do_in_transaction(both, buy, {.deadline = 20s}) == --left);
        for (auto const cut : {Cut::reply, Cut::request}) {
            CAPTURE(policy.name, static_cast<int>(cut));
            runs = 0;
            proxy.cut(cut, commit_on_the_wire());
            CHECK(service.do_in_transaction(both, buy, {.deadline = 20s}) == --left);
            CHECK(runs == (cut == Cut::reply ? 1 : 2));
            CHECK(b.left() == left);
            CHECK(accounts.load(1).value().value.balance == 90 + left);
        }
    };
    under(OptimisticVersioning{});
    under(PessimisticRowLock{});
    CHECK(proxy.cuts() == 4);
}

TEST_CASE(
    "a COMMIT that nobody can be asked about is unknown, and its operation id tells later",
    "[postgres][faults]")
{
    Behind const b;
    auto& proxy = const_cast<CuttingProxy&>(b.proxy);
    TransactionService const service{PessimisticRowLock{}, b.stock};
    auto const take = [](Stock& s) { return --s.quantity; };
    for (auto const cut : {Cut::reply, Cut::request}) {
        auto const before = b.left();
        OperationId const id{cut == Cut::reply ? "arrived" : "did not"};
        proxy.cut(cut, commit_on_the_wire());
        auto const began = std::chrono::steady_clock::now();
        std::thread door([&] { CHECK(interlock_test::eventually([&] { return proxy.cuts() > 0; })); });
        // The door closes while the commit is on its way: before it the connection that is cut is open
        // already.
        Outcome<int> outcome = service.try_do_in_transaction(
            id, "x",
            [&](Stock& s) {
                proxy.close_the_door(true);
                return --s.quantity;
            },
            {.deadline = 700ms});
        door.join();
        CHECK(outcome.errc() == Errc::outcome_unknown);
        CHECK(outcome.cause() == Errc::unavailable);
        CHECK(std::chrono::steady_clock::now() - began < 3s);
        proxy.close_the_door(false);
        auto const answer = service.try_do_in_transaction(id, "x", take, {.deadline = 20s});
        REQUIRE(answer);
        CHECK(*answer == before - 1);
        CHECK(answer.replayed() == (cut == Cut::reply));
        CHECK(b.left() == before - 1);
    }
}

TEST_CASE("an idempotent request whose COMMIT is lost is looked for by its record", "[postgres][faults]")
{
    Behind const b;
    auto& proxy = const_cast<CuttingProxy&>(b.proxy);
    TransactionService const service{
        IdempotencyInTransaction{PessimisticRowLock{}, postgres::TransactionalIdempotencyStore{b.through}},
        b.stock};
    auto const prepared = IdempotentRequest("prepared", Scope("s"));
    service.do_in_transaction(prepared, "y", [](Stock& s) { return --s.quantity; });
    for (auto const cut : {Cut::reply, Cut::request}) {
        auto const before = b.left();
        IdempotentRequest const request(cut == Cut::reply ? "arrived" : "did not", Scope("s"));
        proxy.cut(cut, commit_on_the_wire());
        int runs = 0;
        auto const answer = service.do_in_transaction(
            request, "x",
            [&](Stock& s) {
                ++runs;
                return --s.quantity;
            },
            {.deadline = 20s});
        CHECK(answer.value() == before - 1);
        CHECK(runs == (cut == Cut::reply ? 1 : 2));
        CHECK(b.left() == before - 1);
    }
    CHECK(proxy.cuts() == 2);
}

TEST_CASE(
    "a transaction whose status the server has forgotten is unknown, unless a record tells",
    "[postgres][faults]")
{
    PostgresServer server;
    // It says so of transactions that are too old, or that a promoted replica never got. Here, of all.
    for (char const* setup :
         {"CREATE SCHEMA forgetful",
          "CREATE FUNCTION forgetful.pg_xact_status(xid8) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'",
          "ALTER DATABASE postgres SET search_path = forgetful, pg_catalog, public"})
        server.command(setup);
    Behind const b{server};
    auto& proxy = const_cast<CuttingProxy&>(b.proxy);
    TransactionService const bare{PessimisticRowLock{}, b.stock};
    TransactionService const recorded{
        IdempotencyInTransaction{PessimisticRowLock{}, postgres::TransactionalIdempotencyStore{b.through}},
        b.stock};
    recorded.do_in_transaction(
        IdempotentRequest("prepared", Scope("s")), "y", [](Stock& s) { return --s.quantity; });
    int runs = 0;
    auto const take = [&](Stock& s) {
        ++runs;
        return --s.quantity;
    };
    proxy.cut(Cut::reply, commit_on_the_wire());
    CHECK(bare.try_do_in_transaction("x", take, {.deadline = 20s}).errc() == Errc::outcome_unknown);
    CHECK(runs == 1);
    CHECK(b.left() == 9);
    proxy.cut(Cut::reply, commit_on_the_wire());
    CHECK(
        recorded.do_in_transaction(IdempotentRequest("k", Scope("s")), "x", take, {.deadline = 20s})
            .value() == 8);
    CHECK(runs == 2);
    CHECK(b.left() == 8);
    proxy.cut(Cut::request, commit_on_the_wire());
    CHECK(
        recorded.do_in_transaction(IdempotentRequest("l", Scope("s")), "x", take, {.deadline = 20s})
            .value() == 7);
    CHECK(runs == 4);
    CHECK(b.left() == 7);
    CHECK(proxy.cuts() == 3);
}

TEST_CASE(
    "a single statement whose reply is lost is unknown, unless an operation id tells", "[postgres][faults]")
{
    Behind const b;
    auto& proxy = const_cast<CuttingProxy&>(b.proxy);
    TransactionService const service{OptimisticVersioning{}, b.stock};
    CHECK(service.do_in_transaction("y", [](Stock& s) { return --s.quantity; }) == 8);  // prepared
    namespace detail = postgres::detail;
    auto const ns = b.pool.options().name_space;
    // The update of a row without an operation id: whoever sends its name.
    detail::TypeShape shape;
    shape.storable = true;
    auto const table = detail::table_of({}, ns, shape);
    auto const update = [&](bool with_operation) {
        return detail::Statement{detail::change_text(
                                     table, ns, detail::RowAction::update, detail::Fencing::none,
                                     with_operation, detail::Refusal::reply)}
                   .name() +
               '\0';
    };
    for (auto const cut : {Cut::reply, Cut::request}) {
        proxy.cut(cut, update(false));
        auto const before = b.left();
        auto const unknown =
            service.try_do_in_transaction("x", [](Stock& s) { return --s.quantity; }, {.deadline = 20s});
        CHECK(unknown.errc() == Errc::outcome_unknown);
        CHECK(b.left() == (cut == Cut::reply ? before - 1 : before));
    }
    CHECK(proxy.cuts() == 2);

    service.do_in_transaction(OperationId{"prepare"}, "y", [](Stock& s) { return --s.quantity; });
    for (auto const cut : {Cut::reply, Cut::request}) {
        proxy.cut(cut, update(true));
        auto const before = b.left();
        OperationId const id{cut == Cut::reply ? "arrived" : "did not"};
        auto const told =
            service.try_do_in_transaction(id, "x", [](Stock& s) { return --s.quantity; }, {.deadline = 20s});
        REQUIRE(told);
        CHECK(*told == before - 1);
        CHECK(b.left() == before - 1);
    }
    CHECK(proxy.cuts() == 4);
}

TEST_CASE("a server that falls silent is given up by the deadline", "[postgres][faults]")
{
    Behind const b;
    auto& proxy = const_cast<CuttingProxy&>(b.proxy);
    TransactionService const service{PessimisticRowLock{}, b.stock};
    proxy.cut(Cut::silence, commit_on_the_wire());
    auto began = std::chrono::steady_clock::now();
    auto const silent =
        service.try_do_in_transaction("x", [](Stock& s) { return --s.quantity; }, {.deadline = 300ms});
    CHECK(std::chrono::steady_clock::now() - began < 2s);
    CHECK(silent.errc() == Errc::outcome_unknown);
    CHECK(silent.cause() == Errc::deadline_exceeded);
    // A read has nothing to be in doubt about.
    static_cast<void>(b.stock.load("y").value());
    proxy.cut(
        Cut::silence,
        postgres::detail::Statement{
            "SELECT t.version, t.data FROM " + b.pool.options().name_space +
            "_state t WHERE t.key = $1::bytea"}
                .name() +
            '\0');
    began = std::chrono::steady_clock::now();
    CHECK(b.stock.load(Key{"x"}, 200ms).errc() == Errc::deadline_exceeded);
    CHECK(std::chrono::steady_clock::now() - began < 2s);
    CHECK(proxy.cuts() == 2);
}

TEST_CASE(
    "sessions that the server ended while they were idle are replaced without an error", "[postgres][faults]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    auto version = stock.insert(Stock{"x", 1}).value();
    for (int i = 0; i < 5; ++i) {
        run_threads(4, [&](std::size_t) { static_cast<void>(stock.load("x").value()); });
        CHECK(pool.idle_count() >= 1);
        postgres_server().command(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'interlock'");
        CHECK(interlock_test::eventually([&] {
            return postgres_server().command(
                       "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'interlock'") == "0";
        }));
        auto const written = stock.compare_and_set("x", version, Stock{"x", i});
        REQUIRE(written);
        version = *written;
    }
}

TEST_CASE(
    "a transaction whose session was ended is not applied, and nothing of it is sent again",
    "[postgres][faults]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    static_cast<void>(stock.insert(Stock{"x", 1}).value());
    TransactionService const once{PessimisticRowLock{.max_attempts = 1}, stock};
    int runs = 0;
    auto const kill = [&] {
        postgres_server().command(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'interlock'");
        std::this_thread::sleep_for(20ms);
    };
    auto const ended = once.try_do_in_transaction("x", [&](Stock& s) {
        ++runs;
        kill();
        return ++s.quantity;
    });
    CHECK((ended.errc() == Errc::unavailable || ended.errc() == Errc::outcome_unknown));
    CHECK(stock.load("x").value().value.quantity == 1);
    CHECK(runs == 1);
    CHECK(TransactionService{PessimisticRowLock{}, stock}.do_in_transaction("x", [&](Stock& s) {
        if (++runs == 2)
            kill();
        return ++s.quantity;
    }) == 2);
    CHECK(runs == 3);
    CHECK(stock.load("x").value().value.quantity == 2);
}

TEST_CASE(
    "a row that is deleted while somebody waits for its lock is not_found, and is not made again",
    "[postgres][faults]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    static_cast<void>(stock.insert(Stock{"x", 1}).value());
    std::atomic<bool> ran{false};
    std::optional<Outcome<void>> waited;
    {
        Key const x{"x"};
        std::array const key{&x};
        auto holder = stock.load_for_update(key, Wait::until_deadline, 20s).value();
        std::thread waiting([&] {
            waited.emplace(TransactionService{PessimisticRowLock{}, stock}.try_do_in_transaction(
                "x", [&](Stock&) { ran = true; }, {.deadline = 20s}));
        });
        CHECK(interlock_test::eventually([&] {
            return postgres_server().command(
                       "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'") != "0";
        }));
        std::array changes{
            Change<Stock>{.key = &x, .kind = ChangeKind::erase, .version = holder.state(0)->version}};
        REQUIRE(holder.commit(changes, nullptr, 20s));
        waiting.join();
    }
    CHECK(waited->errc() == Errc::not_found);
    CHECK_FALSE(ran);
    CHECK(stock.load("x").errc() == Errc::not_found);
}

TEST_CASE(
    "the row lock of an owner that fell silent is free when its transaction's time is over",
    "[postgres][faults]")
{
    Behind const b;
    Key const x{"x"};
    std::array const key{&x};
    auto const began = std::chrono::steady_clock::now();
    auto silent = b.stock.load_for_update(key, Wait::until_deadline, 1500ms);  // and is never heard of again
    REQUIRE(silent);
    TransactionService const others{PessimisticRowLock{}, b.direct};
    CHECK(others.do_in_transaction("x", [](Stock& s) { return --s.quantity; }, {.deadline = 20s}) == 9);
    auto const taken = std::chrono::steady_clock::now() - began;
    CHECK(taken >= 1500ms);
    CHECK(taken < 3500ms);
    std::array none{
        Change<Stock>{.key = &x, .kind = ChangeKind::verify, .version = silent->state(0)->version}};
    auto const late = silent->commit(none, nullptr, 5s);
    CHECK(late.errc() == Errc::deadline_exceeded);
    CHECK(late.effect() == Effect::not_applied);
}

/// A network of two ends: this process's, with the address .1, and that of threads which `enter`, with .2.
class Network {
public:
    Network()
    {
        good_ = ::geteuid() == 0 && shell("ip netns add " + name_ + " 2> /dev/null") &&
                shell("ip link add " + name_ + "a type veth peer name " + name_ + "b netns " + name_) &&
                shell("ip addr add 10.199.77.1/24 dev " + name_ + "a") &&
                shell("ip link set " + name_ + "a up") &&
                shell("ip -n " + name_ + " addr add 10.199.77.2/24 dev " + name_ + "b") &&
                shell("ip -n " + name_ + " link set " + name_ + "b up");
    }
    Network(Network const&) = delete;
    Network& operator=(Network const&) = delete;
    ~Network() { static_cast<void>(shell("ip netns del " + name_ + " 2> /dev/null")); }

    bool good() const noexcept { return good_; }
    bool enter() const
    {
        int const fd = ::open(("/run/netns/" + name_).c_str(), O_RDONLY | O_CLOEXEC);
        bool const inside = ::setns(fd, CLONE_NEWNET) == 0;
        ::close(fd);
        return inside;
    }
    /// Whatever is sent gets lost, and nobody is told.
    bool swallow() const { return shell("ip link set " + name_ + "a down"); }

private:
    static bool shell(std::string const& command) { return std::system(command.c_str()) == 0; }
    std::string name_{"il" + std::to_string(::getpid() % 100'000)};
    bool good_{false};
};

TEST_CASE("the row lock of an owner that cannot be reached any more is free soon", "[postgres][faults]")
{
    Network const network;
    if (!network.good()) {
        WARN("not tested: no right to make a network");
        SUCCEED();
        return;
    }
    PostgresServer const server{{"listen_addresses=127.0.0.1,10.199.77.1"}};
    std::ofstream{server.directory() + "/data/pg_hba.conf", std::ios::app}
        << "host all all 10.199.77.0/24 trust\n";
    server.command("SELECT pg_reload_conf()");
    auto const here = fresh_pool(server);
    postgres::StateRepository<Stock> const stock{here};
    static_cast<void>(stock.insert(Stock{"x", 10}).value());
    std::atomic<bool> locked{false};
    std::atomic<bool> over{false};
    std::thread there([&] {
        REQUIRE(network.enter());
        auto options = postgres::Options::parse(
                           "postgresql://interlock@10.199.77.1:" + std::to_string(server.port()) +
                           "/postgres?sslmode=disable&name_space=" + here.options().name_space)
                           .value();
        Key const x{"x"};
        std::array const key{&x};
        auto const tx =
            postgres::StateRepository<Stock>{postgres::Pool{options}}.load_for_update(key, Wait::no, 2min);
        CHECK(tx);
        locked = true;
        while (!over)
            std::this_thread::sleep_for(10ms);
    });
    while (!locked)
        std::this_thread::sleep_for(1ms);
    auto const began = std::chrono::steady_clock::now();
    CHECK(network.swallow());
    TransactionService const others{PessimisticRowLock{}, stock};
    CHECK(others.do_in_transaction("x", [](Stock& s) { return --s.quantity; }, {.deadline = 1min}) == 9);
    auto const freed = std::chrono::steady_clock::now() - began;
    CHECK(freed > 5s);
    CHECK(freed < 15s);
    over = true;
    there.join();
}

TEST_CASE("a row transaction is four statements in two trips", "[postgres][faults][cost]")
{
    PostgresServer const server{{"log_statement=all", "log_min_messages=error"}};
    auto const pool = fresh_pool(server);
    postgres::StateRepository<Stock> const stock{pool};
    static_cast<void>(stock.insert(Stock{"x", 0}).value());
    TransactionService const service{PessimisticRowLock{}, stock};
    service.do_in_transaction("x", [](Stock& s) { ++s.quantity; });
    auto const statements = [&] {
        auto const log = server.log();
        std::size_t count = 0;
        for (std::size_t at = 0; (at = log.find("execute ", at)) != std::string::npos; ++at)
            ++count;
        return count;
    };
    auto const before = statements();
    for (int i = 0; i < 10; ++i)
        service.do_in_transaction("x", [](Stock& s) { ++s.quantity; });
    CHECK(statements() - before == 40);
    auto const then = statements();
    service.do_in_transaction("x", [](Stock& s) { ++s.quantity; }, {.deadline = 1500ms});  // other bounds
    CHECK(statements() - then == 5);
}

TEST_CASE(
    "a jump of the server's clock ends a lease early or late, and the fence holds",
    "[postgres][faults][lease]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    static_cast<void>(stock.insert(Stock{"x", 10}).value());
    // What is stored is moved, which is to the server as if its clock had been moved the other way.
    auto const clock_jumps = [&](std::string const& by) {
        postgres_server().command(
            "UPDATE " + pool.options().name_space + "_lock SET expires = expires - interval '" + by + "'");
    };
    Key const x{"x"};
    OwnerToken const former{{1, 2}};
    OwnerToken const next{{3, 4}};
    auto const first = stock.create(x, former, 10s).value();
    auto const version = stock.load(x).value().version;
    clock_jumps("1 hour");
    auto const second = stock.create(x, next, 10s);
    REQUIRE(second);
    CHECK(second->first > first.first);
    Stock const value{"x", 9};
    Fence const old{former, first.first};
    std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value, .fence = &old}};
    auto const fenced = stock.commit(changes, nullptr, 5s);
    CHECK(fenced.errc() == Errc::fenced_out);
    CHECK(stock.renew(x, former, 10s).errc() == Errc::lock_lost);
    CHECK(stock.load(x).value().value.quantity == 10);

    clock_jumps("-1 hour");  // the lease seems to last longer: busy, and released all the same
    auto const busy = stock.create(x, former, 10s);
    CHECK(busy.errc() == Errc::lock_busy);
    CHECK(stock.remove(x, next).value() == Removal::removed);
    CHECK(stock.create(x, former, 10s));

    // A whole section: its commit leaves no trace.
    CHECK(stock.remove(x, former).value() == Removal::removed);
    TransactionService const service{SetNxLock{.lock = {.ttl = 5s}}, stock};
    auto const section = service.try_do_in_transaction(
        "x",
        [&](Stock& s) {
            clock_jumps("1 hour");
            CHECK(stock.create(x, former, 10s));
            return --s.quantity;
        },
        {.deadline = 20s});
    CHECK(section.errc() == Errc::fenced_out);
    CHECK(section.effect() == Effect::not_applied);
    CHECK(stock.load(x).value().value.quantity == 10);
}

}  // namespace postgres_faults_test
