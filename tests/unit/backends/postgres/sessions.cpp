// SPDX-License-Identifier: BSL-1.0

// Sessions, pools, servers and tables that are not as they should be: what is refused, what is replaced, and
// what does not matter.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace postgres_sessions_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::PostgresServer;
using interlock_test::Stock;

TEST_CASE("other settings of the role do not matter", "[postgres][faults][pool]")
{
    auto const pool = fresh_pool();
    auto const role = pool.options().name_space + "_odd";
    postgres_server().command("CREATE ROLE " + role + " LOGIN SUPERUSER");
    for (char const* setting :
         {"default_transaction_isolation = 'serializable'", "bytea_output = 'escape'",
          "extra_float_digits = -5", "statement_timeout = 500", "DateStyle = 'German'"})
        postgres_server().command("ALTER ROLE " + role + " SET " + setting);
    auto url = postgres_server().tcp_url() + "?name_space=" + pool.options().name_space;
    url.replace(url.find("interlock@"), 9, role);
    postgres::StateRepository<Stock> const stock{postgres::Pool{url}};
    auto const version = stock.insert(Stock{"a\\b\x01", 1});
    REQUIRE(version);
    CHECK(stock.load("a\\b\x01").value().value.quantity == 1);
    TransactionService{PessimisticRowLock{}, stock}.do_in_transaction(
        "a\\b\x01", [](Stock&, postgres::Transaction& tx) {
            CHECK(tx.exec("SELECT 0.1::double precision").value<double>() == 0.1);
            CHECK(tx.exec("SHOW transaction_isolation").value<std::string>() == "read committed");
            CHECK(tx.exec("SHOW client_connection_check_interval").value<std::string>() == "2s");
            CHECK(tx.exec("SHOW tcp_keepalives_idle").value<int>() == 10);
            CHECK(tx.exec("SHOW idle_in_transaction_session_timeout").value<std::string>() != "0");
        });
}

struct Tags {
    std::string id;
    std::vector<std::optional<std::string>> tags;
};
BOOST_DESCRIBE_STRUCT(Tags, (), (id, tags))

TEST_CASE("an empty element of an array is no text, whatever the role has set", "[postgres][faults][pool]")
{
    auto const pool = fresh_pool();
    auto const name = pool.options().name_space + "_tags";
    postgres_server().command("CREATE ROLE " + name + " LOGIN SUPERUSER");
    postgres_server().command("ALTER ROLE " + name + " SET array_nulls = off");
    postgres_server().command(
        "CREATE TABLE " + name + " (id text PRIMARY KEY, tags text[], version bigint NOT NULL)");
    auto url = postgres_server().tcp_url() + "?name_space=" + pool.options().name_space;
    url.replace(url.find("interlock@"), 9, name);
    postgres::StateRepository<Tags> const tags{postgres::Pool{url}, {.table = name, .key = "id"}};
    REQUIRE(tags.insert(Tags{"x", {std::nullopt, "NULL"}}));
    auto const right = [&] {
        return postgres_server().command("SELECT tags[1] IS NULL AND tags[2] = 'NULL' FROM " + name) == "t";
    };
    CHECK(right());
    // Nor whatever the operation has set.
    TransactionService const service{PessimisticRowLock{}, tags};
    for (auto const* statement :
         {"SET LOCAL array_nulls = off", "SET array_nulls = off",
          "SELECT set_config('array_nulls', 'off', true)",
          "DO $$ BEGIN PERFORM set_config('array_nulls', 'off', false); END $$"}) {
        INFO(statement);
        CHECK(service.try_do_in_transaction("x", [&](Tags& t, postgres::Transaction& tx) {
            tx.exec(statement);
            t.tags = {std::nullopt, "NULL", statement};
        }));
        CHECK(right());
    }
}

TEST_CASE("who may only read is told so", "[postgres][faults][pool]")
{
    auto const pool = fresh_pool();
    auto const name = pool.options().name_space + "_reader";
    postgres_server().command("CREATE ROLE " + name + " LOGIN SUPERUSER");
    postgres_server().command("ALTER ROLE " + name + " SET default_transaction_read_only = on");
    auto url = postgres_server().tcp_url() + "?name_space=" + pool.options().name_space;
    postgres::StateRepository<Stock> const own{postgres::Pool{url}};
    url.replace(url.find("interlock@"), 9, name);
    postgres::StateRepository<Stock> const stock{postgres::Pool{url}};
    REQUIRE(own.insert(Stock{"x", 1}));
    CHECK(stock.load(Key{"x"}));
    auto const named = [](auto const& outcome) {
        INFO(outcome.detail());
        CHECK(outcome.detail().find("default_transaction_read_only") != std::string::npos);
    };
    named(stock.insert(Stock{"y", 1}));
    auto const change = [](Stock& s) { ++s.quantity; };
    CallOptions const soon{.deadline = 1s};
    named(TransactionService{PessimisticRowLock{}, stock}.try_do_in_transaction("x", change, soon));
    named(TransactionService{OptimisticVersioning{}, stock}.try_do_in_transaction("x", change, soon));
    named(TransactionService{SetNxLock{}, stock}.try_do_in_transaction("x", change, soon));
    // An operation that says so itself.
    named(TransactionService{PessimisticRowLock{}, own}.try_do_in_transaction(
        "x",
        [](Stock& s, postgres::Transaction& tx) {
            tx.exec("SET TRANSACTION READ ONLY");
            ++s.quantity;
        },
        soon));
    CHECK(own.load(Key{"x"}).value().value.quantity == 1);
}

TEST_CASE("a pool without a free connection says overloaded by the deadline", "[postgres][faults][pool]")
{
    auto options = fresh_pool().options();
    options.max_connections = 2;
    postgres::Pool const pool{options};
    postgres::StateRepository<Stock> const stock{pool};
    static_cast<void>(stock.insert(Stock{"x", 1}).value());
    static_cast<void>(stock.insert(Stock{"y", 1}).value());
    Key const x{"x"};
    Key const y{"y"};
    std::array const first{&x};
    std::array const second{&y};
    {
        auto const a = stock.load_for_update(first, Wait::no, 10s);
        auto const b = stock.load_for_update(second, Wait::no, 10s);
        REQUIRE(a);
        REQUIRE(b);
        auto const began = std::chrono::steady_clock::now();
        CHECK(stock.load(x, 100ms).errc() == Errc::overloaded);
        CHECK(std::chrono::steady_clock::now() - began < 2s);
        CHECK(pool.connection_count() == 2);
    }
    CHECK(stock.load(x, 10s));
    CHECK(pool.idle_count() == 2);
}

TEST_CASE(
    "a forked child is misconfigured, and leaves its parent's sessions alone", "[postgres][faults][pool]")
{
    auto pool = std::make_optional(fresh_pool());
    auto stock = std::make_optional(postgres::StateRepository<Stock>{*pool});
    static_cast<void>(stock->insert(Stock{"x", 1}).value());
    auto const sessions = [] {
        return postgres_server().command(
            "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE application_name = "
            "'interlock'");
    };
    auto const before = sessions();
    auto const child = ::fork();
    if (child == 0) {
        auto const told = stock->load("x").errc() == Errc::misconfigured;
        stock.reset();
        pool.reset();
        ::_exit(told ? 0 : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(stock->load("x"));
    CHECK(sessions() == before);
}

TEST_CASE("a child names its statements, whatever the parent was doing at the fork", "[postgres][fork]")
{
    namespace detail = postgres::detail;
    detail::Statement const before{"SELECT 'before the fork'"};
    std::atomic<bool> stop{false};
    std::atomic<int> asked{0};
    std::thread asking([&] {
        for (; !stop; ++asked)
            static_cast<void>(detail::Statement{"SELECT 1"});
    });
    REQUIRE(interlock_test::eventually([&] { return asked > 0; }));
    int status = 0;
    for (int i = 0; i < 1000 && status == 0; ++i) {
        auto const child = ::fork();
        if (child == 0) {
            ::alarm(3);
            // A connection of the child prepares both, so they need two names.
            bool const mistaken = detail::Statement{"SELECT 'in the child'"}.name() == before.name();
            ::_exit(mistaken || before.text() != "SELECT 'before the fork'" ? 1 : 0);
        }
        ::waitpid(child, &status, 0);
    }
    stop = true;
    asking.join();
    CHECK(status == 0);
}

TEST_CASE(
    "client and server are both set up to notice that the other one is gone", "[postgres][faults][pool]")
{
    namespace detail = postgres::detail;
    auto options = postgres::Options::parse(postgres_server().tcp_url()).value();
    auto const until = interlock::detail::add(SystemRuntime::now(), 20s);
    detail::PoolState<SystemRuntime> state{{}, options};
    auto session = state.take(until).value();
    auto const ours = [&](int level, int name) {
        int value = -1;
        socklen_t size = sizeof value;
        CHECK(::getsockopt(session->socket(), level, name, &value, &size) == 0);
        return value;
    };
    CHECK(ours(SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(ours(IPPROTO_TCP, TCP_KEEPIDLE) == 10);
    CHECK(ours(IPPROTO_TCP, TCP_KEEPINTVL) == 3);
    CHECK(ours(IPPROTO_TCP, TCP_KEEPCNT) == 3);
    CHECK(ours(IPPROTO_TCP, TCP_USER_TIMEOUT) == 10'000);
    detail::Batch ask;
    ask.add(
        "SELECT current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'), "
        "current_setting('tcp_keepalives_count'), current_setting('tcp_user_timeout'), "
        "current_setting('client_connection_check_interval')");
    auto const theirs = session->run(ask, until, detail::Connection::Bounded::by_caller);
    REQUIRE(theirs.replies[0].rows() == 1);
    for (std::size_t i = 0; auto const* value : {"10", "3", "3", "10000", "2s"})
        CHECK(theirs.replies[0].text(0, i++) == value);
}

TEST_CASE("a replica is refused, and commits that are not durable are reported", "[postgres][faults][pool]")
{
    PostgresServer server;
    auto const pool = fresh_pool(server);
    postgres::StateRepository<Stock> const stock{pool};
    auto check = stock.server_check().value();
    CHECK(check.version >= 150000);
    CHECK(check.synchronous_commit == "on");
    CHECK_FALSE(check.fsync);  // of the tests' servers
    server.command("ALTER SYSTEM SET synchronous_commit = off");
    server.command("SELECT pg_reload_conf()");
    CHECK(
        interlock_test::eventually([&] { return stock.server_check().value().synchronous_commit == "off"; }));
    static_cast<void>(stock.insert(Stock{"x", 1}).value());

    server.stop_immediately();
    std::ofstream{server.directory() + "/data/standby.signal"};
    server.start();
    auto const refused = stock.load("x");
    CHECK(refused.errc() == Errc::unavailable);
    CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("is a replica"));
    CHECK(stock.compare_and_set("x", 1, Stock{"x", 2}).errc() == Errc::unavailable);
    std::filesystem::permissions(server.directory() + "/data/standby.signal", std::filesystem::perms::all);
    CHECK(server.command("SELECT pg_promote()") == "t");
    CHECK(interlock_test::eventually([&] { return stock.insert(Stock{"y", 1}).has_value(); }));
}

TEST_CASE("tables that are not as they should be are misconfigured", "[postgres][faults][schema]")
{
    auto const pool = fresh_pool();
    auto const ns = pool.options().name_space;
    auto const table = ns + "_drift";
    postgres_server().command(
        "CREATE TABLE " + table +
        " (sku text PRIMARY KEY, quantity int NOT NULL, version bigint NOT NULL DEFAULT 1)");
    postgres::StateRepository<Stock> const stock{pool, {.table = table, .key = "sku"}};
    static_cast<void>(stock.insert(Stock{"x", 1}).value());
    TransactionService const service{PessimisticRowLock{}, stock};
    auto const row_lock = [&] {
        return service.try_do_in_transaction("x", [](Stock& s) { return ++s.quantity; });
    };
    CHECK(row_lock());

    // A type that holds the same texts goes on without a word, although the plans were made for another.
    postgres_server().command("ALTER TABLE " + table + " ALTER quantity TYPE numeric");
    CHECK(stock.load("x").value().value.quantity == 2);
    CHECK(row_lock());
    // One that does not is seen at the value.
    postgres_server().command("ALTER TABLE " + table + " ALTER quantity TYPE text USING 'three'");
    CHECK(stock.load("x").errc() == Errc::corrupt_state);
    postgres_server().command("ALTER TABLE " + table + " ALTER quantity TYPE int USING 3");
    CHECK(row_lock().value() == 4);

    postgres_server().command(
        "CREATE FUNCTION " + ns +
        "_no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$");
    postgres_server().command(
        "CREATE TRIGGER no BEFORE UPDATE ON " + table + " FOR EACH ROW EXECUTE FUNCTION " + ns + "_no()");
    auto const raised = row_lock();
    CHECK(raised.errc() == Errc::constraint_violated);
    CHECK(raised.effect() == Effect::not_applied);
    CHECK_THAT(raised.detail(), Catch::Matchers::ContainsSubstring("not today"));
    postgres_server().command("DROP TRIGGER no ON " + table);
    CHECK(row_lock().value() == 5);

    postgres_server().command("ALTER TABLE " + table + " RENAME quantity TO amount");
    CHECK(stock.load("x").errc() == Errc::misconfigured);
    CHECK(row_lock().errc() == Errc::misconfigured);
    postgres_server().command("DROP TABLE " + table);
    CHECK(stock.load("x").errc() == Errc::misconfigured);
    postgres_server().command("DROP TABLE " + ns + "_lock");
    CHECK(stock.create(Key{"x"}, OwnerToken{{1, 2}}, 1s).errc() == Errc::misconfigured);
}

TEST_CASE(
    "a row that a policy of the table hides does not pass for missing, nor a lock for free",
    "[postgres][faults]")
{
    auto const pool = fresh_pool();
    auto const ns = pool.options().name_space;
    auto const role = ns + "_tenant";
    postgres::StateRepository<Stock> const all{pool};
    static_cast<void>(all.insert(Stock{"x", 1}).value());
    Key const x{"x"};
    CHECK(all.create(x, OwnerToken{{1, 2}}, 10s));
    postgres_server().command("CREATE ROLE " + role + " LOGIN");
    postgres_server().command("GRANT ALL ON ALL TABLES IN SCHEMA public TO " + role);
    postgres_server().command("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO " + role);
    auto url = postgres_server().tcp_url() + "?name_space=" + ns;
    url.replace(url.find("interlock@"), 9, role);
    postgres::StateRepository<Stock> const tenant{postgres::Pool{url}};
    CHECK(tenant.load("x"));
    for (auto const* table : {"_state", "_lock"}) {
        postgres_server().command("ALTER TABLE " + ns + table + " ENABLE ROW LEVEL SECURITY");
        postgres_server().command("CREATE POLICY hidden ON " + ns + table + " USING (key <> 'x')");
    }
    CHECK(tenant.load("x").errc() == Errc::misconfigured);
    CHECK(tenant.insert(Stock{"x", 5}).errc() == Errc::misconfigured);
    CHECK(tenant.create(x, OwnerToken{{3, 4}}, 10s).errc() == Errc::misconfigured);
    CHECK(all.renew(x, OwnerToken{{1, 2}}, 10s));
}

TEST_CASE("a pooler that shares sessions between clients is refused", "[postgres][faults][pool]")
{
    PostgresServer const server;
    for (std::string const mode : {"transaction", "session"}) {
        CAPTURE(mode);
        auto const directory = server.directory() + "/" + mode;
        std::filesystem::create_directory(directory);
        std::filesystem::permissions(directory, std::filesystem::perms::all);
        auto const port = std::to_string(server.port());
        std::ofstream{directory + "/ini"}
            << "[databases]\npostgres = host=" << server.directory() << " port=" << port
            << " user=interlock\n"
            << "[pgbouncer]\nlisten_addr =\nlisten_port = " << port << "\nunix_socket_dir = " << directory
            << "\nauth_type = any\npool_mode = " << mode << "\npidfile = " << directory << "/pid\n";
        auto const user = ::geteuid() == 0 ? "-u $(stat -c %U '" + server.directory() + "') " : std::string();
        REQUIRE(std::system(("pgbouncer -q -d " + user + directory + "/ini").c_str()) == 0);
        pid_t pid = 0;
        CHECK(
            interlock_test::eventually([&] { return std::ifstream{directory + "/pid"} >> pid && pid > 0; }));
        postgres::Pool const pool{"postgresql://interlock@/postgres?host=" + directory + "&port=" + port};
        CHECK(interlock_test::eventually(
            [&] { return std::filesystem::exists(directory + "/.s.PGSQL." + port); }));
        auto const made = postgres::create_schema(pool, 10s);
        if (mode == "session") {
            CHECK(made);
            postgres::StateRepository<Stock> const stock{pool};
            TransactionService const service{PessimisticRowLock{.missing = Missing::create}, stock};
            CHECK(service.do_in_transaction("x", [](Stock& s) { return ++s.quantity; }) == 1);
        } else {
            CHECK(made.errc() == Errc::misconfigured);
            CHECK_THAT(made.detail(), Catch::Matchers::ContainsSubstring("pooler"));
        }
        if (pid > 0)
            ::kill(pid, SIGKILL);
    }
}

}  // namespace postgres_sessions_test
