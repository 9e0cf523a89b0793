// SPDX-License-Identifier: BSL-1.0

// Servers as they are sold: functions and settings that a service forbids, poolers, standbys, and passwords
// of any characters.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "support/catch.hpp"
#include "support/cutting_proxy.hpp"
#include "support/own_names.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace postgres_offered_servers_test {

using namespace interlock;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using interlock_test::eventually;
using interlock_test::fresh_name_space;
using interlock_test::PostgresServer;
using interlock_test::Stock;

auto const add_one = [](Stock& stock) { ++stock.quantity; };

/// Puts a function of ours, which raises, in the place of one of the server's.
void forbid(PostgresServer const& server, std::string const& name, std::string const& parameters)
{
    server.command("ALTER FUNCTION pg_catalog." + name + parameters + " RENAME TO " + name + "_real");
    auto const answer = name == "pg_walfile_name" ? "text" : "pg_lsn";
    server.command(
        "CREATE FUNCTION pg_catalog." + name + parameters + " RETURNS " + answer +
        " LANGUAGE plpgsql AS 'BEGIN RAISE object_not_in_prerequisite_state USING MESSAGE = "
        "''not for you''; END'");
}

void check_works(postgres::Pool const& pool)
{
    REQUIRE(postgres::create_schema(pool, 10s));
    postgres::StateRepository<Stock> const stock{pool};
    CHECK(stock.load("x").errc() == Errc::not_found);
    TransactionService const rows{PessimisticRowLock{.missing = Missing::create}, stock};
    CHECK(rows.try_do_in_transaction("x", add_one));
    CHECK(LockStateService{stock}.acquire("x"));
}

TEST_CASE("functions and views that a service forbids are done without", "[postgres][offered]")
{
    PostgresServer const server;
    auto const url = server.tcp_url() + "?name_space=";
    std::string const forbidden =
        GENERATE("the place in the log", "the name of the log's file", "the statistics");
    CAPTURE(forbidden);
    if (forbidden == "the place in the log")
        forbid(server, "pg_current_wal_lsn", "()");
    else if (forbidden == "the name of the log's file")
        forbid(server, "pg_walfile_name", "(pg_lsn)");
    else
        server.command("ALTER VIEW pg_catalog.pg_stat_bgwriter RENAME TO pg_stat_bgwriter_real");
    check_works(postgres::Pool{url + fresh_name_space()});
    // Without a name of its life the server is not asked what became of a lost COMMIT.
    interlock_test::CuttingProxy proxy{server.port()};
    auto const direct = postgres::Options::parse(url + fresh_name_space()).value();
    postgres::create_schema(postgres::Pool{direct}).value();
    auto through = direct;
    auto const port = ":" + std::to_string(server.port());
    through.url.replace(through.url.find(port), port.size(), ":" + std::to_string(proxy.port()));
    postgres::StateRepository<Stock> const stock{postgres::Pool{through}};
    TransactionService const rows{PessimisticRowLock{.missing = Missing::create}, stock};
    CHECK(rows.try_do_in_transaction("x", add_one));
    proxy.cut(interlock_test::CuttingProxy::Cut::reply, postgres::detail::Statement{"COMMIT"}.name() + '\0');
    auto const lost = rows.try_do_in_transaction("x", add_one, {.deadline = 3s});
    CHECK(lost.errc() == Errc::outcome_unknown);
}

TEST_CASE("a role that may not execute the log's functions is served", "[postgres][offered]")
{
    PostgresServer const server;
    server.command("CREATE ROLE tenant LOGIN");
    server.command("GRANT ALL ON SCHEMA public TO tenant");
    server.command("REVOKE EXECUTE ON FUNCTION pg_current_wal_lsn() FROM PUBLIC");
    server.command("REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) FROM PUBLIC");
    server.command("REVOKE SELECT ON pg_stat_bgwriter FROM PUBLIC");
    auto url = server.url() + "&name_space=" + fresh_name_space();
    url.replace(url.find("interlock@"), 9, "tenant");
    check_works(postgres::Pool{url});
}

TEST_CASE("settings that a service forbids are done without, unless they are needed", "[postgres][offered]")
{
    PostgresServer const server;
    server.command("ALTER FUNCTION pg_catalog.set_config(text, text, bool) RENAME TO set_config_real");
    auto const forbid_setting = [&](std::string const& pattern) {
        server.command(
            "CREATE OR REPLACE FUNCTION pg_catalog.set_config(n text, v text, b bool) RETURNS text "
            "LANGUAGE plpgsql AS $$ BEGIN IF n LIKE '" +
            pattern +
            "' THEN RAISE insufficient_privilege USING MESSAGE = 'not for you'; END IF; "
            "RETURN set_config_real(n, v, b); END $$");
    };
    forbid_setting("tcp_%");
    check_works(postgres::Pool{server.url() + "&name_space=" + fresh_name_space()});
    forbid_setting("client_connection_check_interval");
    check_works(postgres::Pool{server.url() + "&name_space=" + fresh_name_space()});
    forbid_setting("bytea_output");
    auto const refused = postgres::create_schema(postgres::Pool{server.url()}, 10s);
    CHECK_FALSE(refused);
    CHECK_THAT(refused.detail(), ContainsSubstring("bytea_output"));
}

/// Commands of the server's user.
void run(PostgresServer const& server, std::string const& words)
{
    auto const as =
        ::geteuid() == 0 ? "runuser -u $(stat -c %U '" + server.directory() + "') -- " : std::string();
    CAPTURE(words);
    REQUIRE(std::system(("cd /; " + as + words + " > /dev/null 2>&1").c_str()) == 0);
}

TEST_CASE("of several hosts the primary is taken, also after a failover", "[postgres][offered]")
{
    PostgresServer primary;
    auto const directory = primary.directory();
    auto const port = std::to_string(primary.port());
    auto const standby_port = std::to_string(interlock_test::free_port());
    auto const data = directory + "/standby";
    run(primary, PostgresServer::binary("pg_basebackup") + " -h " + directory + " -p " + port +
                     " -U interlock -c fast -R -D " + data);
    run(primary, PostgresServer::binary("pg_ctl") + " -D " + data + " -w -o '-k " + directory +
                     " -c listen_addresses=127.0.0.1 -c max_connections=200 -p " + standby_port + "' -l " +
                     directory + "/log2 start");
    std::string const one = "postgresql://interlock@127.0.0.1:";
    auto const alone = postgres::create_schema(postgres::Pool{one + standby_port + "/postgres"}, 5s);
    CHECK(alone.errc() == Errc::unavailable);
    CHECK_THAT(alone.detail(), ContainsSubstring("is a replica"));
    auto const twice = postgres::create_schema(
        postgres::Pool{one + standby_port + ",127.0.0.1:" + standby_port + "/postgres"}, 5s);
    CHECK(twice.errc() == Errc::unavailable);
    CHECK_THAT(twice.detail(), ContainsSubstring("replica"));

    postgres::Pool const pool{one + standby_port + ",127.0.0.1:" + port + "/postgres"};
    check_works(pool);
    postgres::StateRepository<Stock> const stock{pool};
    TransactionService const rows{PessimisticRowLock{.missing = Missing::create}, stock};
    std::this_thread::sleep_for(500ms);  // the standby has what was committed
    primary.stop_immediately();
    run(primary, PostgresServer::binary("pg_ctl") + " -D " + data + " -w promote");
    CHECK(eventually([&] { return bool(rows.try_do_in_transaction("y", add_one, {.deadline = 1s})); }, 15s));
    run(primary, PostgresServer::binary("pg_ctl") + " -D " + data + " -m immediate stop");
}

/// A machine that lets in, and never says anything.
class SilentServer {
public:
    /// `port` 0: a free one.
    explicit SilentServer(int port = 0)
    {
        REQUIRE(socket_ >= 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
        address.sin_port = ::htons(static_cast<std::uint16_t>(port));
        socklen_t size = sizeof address;
        REQUIRE(::bind(socket_, reinterpret_cast<sockaddr*>(&address), size) == 0);
        REQUIRE(::listen(socket_, 100) == 0);
        REQUIRE(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
        port_ = ::ntohs(address.sin_port);
    }
    SilentServer(SilentServer const&) = delete;
    SilentServer& operator=(SilentServer const&) = delete;
    ~SilentServer() { ::close(socket_); }
    std::string port() const { return std::to_string(port_); }

private:
    int socket_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    int port_{0};
};

TEST_CASE("a host that does not answer hides no other", "[postgres][offered]")
{
    SilentServer const silent_server;
    auto const silent = "127.0.0.1:" + silent_server.port();
    auto const refusing = "127.0.0.1:" + std::to_string(interlock_test::free_port());
    auto const good = "localhost:" + std::to_string(interlock_test::postgres_server().port());
    auto const hosts = GENERATE_COPY(
        silent + "," + good, silent + "," + silent + "," + good, refusing + "," + silent + "," + good,
        silent + "," + refusing + "," + good, silent + "," + good + "," + silent);
    CAPTURE(hosts);
    auto options = postgres::Options::parse("postgresql://interlock@" + hosts + "/postgres").value();
    options.connect_timeout = 4s;
    postgres::Pool const pool{options};
    CHECK(postgres::create_schema(pool, 5s));
    options =
        postgres::Options::parse("postgresql://interlock@" + silent + "," + silent + "/postgres").value();
    options.connect_timeout = 300ms;
    auto const alone = postgres::create_schema(postgres::Pool{options}, 5s);
    CHECK(alone.errc() == Errc::unavailable);
}

/// Creates the library's tables at `places`, within 2 s. What became of it, and how long it took.
struct Attempt {
    explicit Attempt(std::string const& places)
    {
        auto options =
            postgres::Options::parse("postgresql://interlock@" + places + "/postgres?sslmode=disable")
                .value();
        options.connect_timeout = 2s;
        auto const began = std::chrono::steady_clock::now();
        outcome = postgres::create_schema(postgres::Pool{options}, 5s);
        took = std::chrono::steady_clock::now() - began;
    }
    Outcome<void> outcome{Failure{Errc::cancelled}};
    std::chrono::nanoseconds took{};
};

TEST_CASE("an address of a host that does not answer hides no other address of it", "[postgres][offered]")
{
    // The addresses of a name are tried in the order of their numbers here.
    PostgresServer const server{{"listen_addresses=127.0.0.3"}};
    std::ofstream{server.directory() + "/data/pg_hba.conf", std::ios::app}
        << "host all all 127.0.0.0/8 trust\n";
    server.command("SELECT pg_reload_conf()");
    SilentServer const silent{server.port()};
    auto const port = ":" + std::to_string(server.port());
    std::vector<std::pair<std::string, Attempt>> attempts;
    auto const try_all = [&] {
        for (auto const& places :
             {"shop" + port, "gone" + port + ",shop" + port, "shop" + port + ",gone" + port, "gone" + port})
            attempts.emplace_back(places, Attempt{places});
    };
    if (!interlock_test::with_own_names(
            "127.0.0.1 shop\n127.0.0.2 shop\n127.0.0.3 shop\n127.0.0.1 gone\n", try_all)) {
        SUCCEED();
        return;
    }
    for (auto const& [places, attempt] : attempts) {
        CAPTURE(places, attempt.outcome.message());
        CHECK(attempt.outcome.has_value() == (places.find("shop") != std::string::npos));
    }
    CHECK(attempts.back().second.outcome.errc() == Errc::unavailable);
}

TEST_CASE("a name server that does not answer delays no call beyond its deadline", "[postgres][offered]")
{
    auto const number = "127.0.0.1:" + std::to_string(interlock_test::postgres_server().port());
    std::vector<Attempt> attempts;
    auto const try_all = [&] {
        for (auto const& places :
             {std::string{"db.example"}, number, "db.example," + number,
              std::string{"db.example,other.example"}})
            attempts.emplace_back(places);
    };
    if (!interlock_test::with_own_names("127.0.0.1 localhost\n", try_all)) {
        SUCCEED();
        return;
    }
    for (std::size_t i = 0; i < attempts.size(); ++i) {
        auto const& outcome = attempts[i].outcome;
        CAPTURE(i, outcome.message());
        CHECK(attempts[i].took < 3s);
        CHECK(outcome.has_value() == (i == 1 || i == 2));
        if (!outcome) {
            CHECK(outcome.errc() == Errc::unavailable);
            CHECK_THAT(outcome.detail(), ContainsSubstring("example"));
            CHECK_THAT(outcome.detail(), ContainsSubstring("was not looked up in time"));
        }
    }
}

TEST_CASE("a pooler that takes no options of the URL is refused in words", "[postgres][offered]")
{
    PostgresServer const server;
    auto const directory = server.directory() + "/pooler";
    std::filesystem::create_directory(directory);
    std::filesystem::permissions(directory, std::filesystem::perms::all);
    auto const port = std::to_string(server.port());
    std::ofstream{directory + "/ini"}
        << "[databases]\npostgres = host=" << server.directory() << " port=" << port << " user=interlock\n"
        << "[pgbouncer]\nlisten_addr =\nlisten_port = " << port << "\nunix_socket_dir = " << directory
        << "\nauth_type = any\npool_mode = session\nserver_reset_query = DISCARD ALL\npidfile = " << directory
        << "/pid\n";
    auto const user = ::geteuid() == 0 ? "-u $(stat -c %U '" + server.directory() + "') " : std::string();
    REQUIRE(std::system(("pgbouncer -q -d " + user + directory + "/ini").c_str()) == 0);
    CHECK(eventually([&] { return std::filesystem::exists(directory + "/.s.PGSQL." + port); }));
    auto const url = "postgresql://interlock@/postgres?host=" + directory + "&port=" + port;
    auto const answers = [&] { return bool(postgres::create_schema(postgres::Pool{url}, 2s)); };
    REQUIRE(eventually(answers, 20s));
    auto const refused =
        postgres::create_schema(postgres::Pool{url + "&options=-c%20statement_timeout%3D5s"}, 10s);
    CHECK(refused.errc() == Errc::misconfigured);
    CHECK_THAT(refused.detail(), ContainsSubstring("options"));
    auto const nowhere = postgres::create_schema(
        postgres::Pool{"postgresql://interlock@/nowhere?host=" + directory + "&port=" + port}, 5s);
    CHECK_FALSE(nowhere);
    CHECK_THAT(nowhere.detail(), ContainsSubstring("refuses"));
    for (int i = 0; i < 3; ++i)  // the same session of the server, after its reset
        check_works(postgres::Pool{url + "&name_space=" + fresh_name_space()});
    pid_t pid = 0;
    std::ifstream{directory + "/pid"} >> pid;
    if (pid > 0)
        ::kill(pid, SIGKILL);
}

TEST_CASE("why nobody answers is told, in words that name nobody", "[postgres][offered]")
{
    auto const loaded = [](char const* url) {
        return postgres::StateRepository<Stock>{postgres::Pool{url}}.load("x", 20s);
    };
    CHECK_THAT(
        loaded("postgresql://ann@127.0.0.1:1/shop").detail(),
        ContainsSubstring("127.0.0.1:1/shop: Connection refused"));
    CHECK_THAT(
        loaded("postgresql://ann@/shop?host=/nonesuch").detail(),
        ContainsSubstring(": No such file or directory"));
    // What stands in the URL is named, without its value.
    for (auto const& [setting, says] : std::vector<std::pair<std::string, std::string>>{
             {"sslmode=hunter2", "invalid sslmode value"},
             {"port=77777", "invalid port number"},
             {"service=hunter2", "definition of service"},
             {"port=1,2", "could not match"}}) {
        CAPTURE(setting);
        auto const refused = loaded(("postgresql://ann@127.0.0.1/shop?" + setting).c_str());
        CHECK(refused.errc() == Errc::misconfigured);
        CHECK_THAT(refused.detail(), ContainsSubstring("refuses the connection: " + says));
        CHECK_THAT(refused.detail(), !ContainsSubstring("hunter2"));
    }
    PostgresServer const& server = interlock_test::postgres_server();
    for (auto const& [setting, says] : std::vector<std::pair<std::string, std::string>>{
             {"channel_binding=require", "channel binding required"},
             {"target_session_attrs=standby", "server is not in hot standby mode"},
             {"target_session_attrs=read-only", "session is not read-only"}}) {
        CAPTURE(setting);
        auto const refused = loaded((server.tcp_url() + "?" + setting).c_str());
        CHECK(refused.errc() == Errc::misconfigured);
        CHECK_THAT(refused.detail(), ContainsSubstring("refuses the connection: " + says));
    }
}

TEST_CASE("a password may have any characters", "[postgres][offered]")
{
    PostgresServer const server;
    std::ofstream{server.directory() + "/data/pg_hba.conf"}
        << "local all interlock trust\nlocal all all scram-sha-256\n";
    server.command("SELECT pg_reload_conf()");
    auto const escaped = [](std::string const& text) {
        std::string out;
        for (char const c : text) {
            char digits[4];
            std::snprintf(
                digits, sizeof digits, "%%%02X", static_cast<unsigned>(static_cast<unsigned char>(c)));
            out += digits;
        }
        return out;
    };
    auto const url = [&](std::string const& who) {
        return "postgresql://" + who + "@/postgres?host=" + server.directory() +
               "&port=" + std::to_string(server.port());
    };
    std::string token = "host:5432/?Action=connect&X-Amz-Signature=%2F";
    while (token.size() < 1200)
        token += "0123456789abcdef";
    for (auto const& [role, password] : std::vector<std::pair<std::string, std::string>>{
             {"r1", "a@b:c/d%e#f?g&h i'j\\k=l"},
             {"r2", "p\xC3\xA4ssw\xC3\xB6rt"},
             {"r3", token},
             {"o'dd \"na@me:%", "x y"}}) {
        CAPTURE(role);
        auto const quoted = [](std::string text, char quote) {
            for (std::size_t i = 0; (i = text.find(quote, i)) != std::string::npos; i += 2)
                text.insert(i, 1, quote);
            return quote + text + quote;
        };
        server.command("SET password_encryption = 'scram-sha-256'");
        server.command("CREATE ROLE " + quoted(role, '"') + " LOGIN PASSWORD " + quoted(password, '\''));
        auto const load = [](std::string const& from) {
            return postgres::StateRepository<Stock>{postgres::Pool{from}}.load("x");
        };
        // Whoever comes in learns that there is no table.
        CHECK_THAT(load(url(escaped(role) + ":" + escaped(password))).detail(), ContainsSubstring("42P01"));
        CHECK_THAT(
            load(url(escaped(role) + ":" + escaped(password))).detail(), ContainsSubstring("create_schema"));
        CHECK_THAT(load(url(escaped(role) + ":wrong")).detail(), ContainsSubstring("28P01"));
        ::setenv("PGPASSWORD", password.c_str(), 1);
        CHECK_THAT(load(url(escaped(role))).detail(), ContainsSubstring("42P01"));
        ::unsetenv("PGPASSWORD");
    }
}

TEST_CASE("a time-out that the role has does not end the greeting of a slow server", "[postgres][offered]")
{
    PostgresServer const server;
    server.command("ALTER FUNCTION pg_catalog.pg_is_in_recovery() RENAME TO pg_is_in_recovery_real");
    server.command(
        "CREATE FUNCTION pg_catalog.pg_is_in_recovery() RETURNS bool LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(1); RETURN false; END'");
    server.command("CREATE ROLE hurried LOGIN SUPERUSER");
    server.command("ALTER ROLE hurried SET statement_timeout = 500");
    auto url = server.tcp_url() + "?name_space=" + fresh_name_space();
    url.replace(url.find("interlock@"), 9, "hurried");
    check_works(postgres::Pool{url});
}

TEST_CASE("what is wrong with a postgres URL is named with its place", "[postgres][offered]")
{
    struct Row {
        std::string url;
        std::string says;
    };
    for (auto const& row : std::vector<Row>{
             {"postgresql://u:hunter2%zz@h/d", "'%' at character 23"},
             {"postgresql://u:hunter2%@h/d", "'%' at character 23"},
             {"postgresql://u:hunter2@h/d\n", "(%0A) at character 27"},
             {"postgresql://u:hunter2\t@h/d", "(%09) at character 23"},
             {"postgresql://u:hun@ter2@h/d", "%40"},
             {"postgresql://u:hunter2/x@h/d", "%2F"},
             {"postgresql://u:hunter2@my host/d", "blank"},
             {"postgresql://u:hunter2@h/d?name_space=a&x%", "'%' at character 42"}}) {
        CAPTURE(row.says);
        auto const parsed = postgres::Options::parse(row.url);
        CHECK(parsed.errc() == Errc::invalid_argument);
        CHECK_THAT(parsed.detail(), ContainsSubstring(row.says));
        CHECK_THAT(parsed.detail(), !ContainsSubstring("hunter2"));
    }
    CHECK(postgres::Options::parse("postgresql://u:hunter2?@h/d?name_space=a").value().name_space == "a");
}

}  // namespace postgres_offered_servers_test
