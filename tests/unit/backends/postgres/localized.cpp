// SPDX-License-Identifier: BSL-1.0

// A server and a client library that speak German: what a failure is goes by its code, in every language.

#include <interlock/backends/postgres/detail/connecting.hpp>
#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"

#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace postgres_localized_test {

using namespace interlock;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using interlock_test::ended;
using interlock_test::PostgresServer;
using interlock_test::Stock;
using postgres::detail::state_of_refusal;

/// A folder with the locale de_DE.UTF-8, which the process and its children find. `tests/run` installs what
/// it is made of.
std::string const& german_locale()
{
    static std::string const made = [] {
        std::string pattern = (std::filesystem::temp_directory_path() / "interlock-locale-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        std::filesystem::permissions(
            pattern, std::filesystem::perms::others_read | std::filesystem::perms::others_exec,
            std::filesystem::perm_options::add);
        static_cast<void>(
            std::system(("localedef -i de_DE -f UTF-8 '" + pattern + "/de_DE.UTF-8' 2>/dev/null").c_str()));
        REQUIRE(std::filesystem::exists(pattern + "/de_DE.UTF-8"));
        ::setenv("LOCPATH", pattern.c_str(), 1);
        return pattern;
    }();
    return made;
}

/// The language of the process, until the end of the scope.
class Speaks {
public:
    explicit Speaks(std::string const& locale) : before_(std::setlocale(LC_ALL, nullptr))
    {
        std::setlocale(LC_ALL, locale.c_str());
    }
    Speaks(Speaks const&) = delete;
    Speaks& operator=(Speaks const&) = delete;
    ~Speaks() { std::setlocale(LC_ALL, before_.c_str()); }

private:
    std::string before_;
};

struct GermanServer {
    GermanServer() : server(settings())
    {
        server.command("CREATE ROLE secret LOGIN PASSWORD 'x'");
        server.command("CREATE ROLE outsider LOGIN");
        server.command("CREATE DATABASE closed");
        server.command("REVOKE CONNECT ON DATABASE closed FROM PUBLIC");
        server.command("CREATE DATABASE off ALLOW_CONNECTIONS false");
        server.command("CREATE ROLE lonely LOGIN CONNECTION LIMIT 0");
        std::ofstream{server.directory() + "/data/pg_hba.conf"}
            << "local all secret scram-sha-256\nlocal all unwanted reject\nlocal all all trust\n";
        server.command("SELECT pg_reload_conf()");
    }
    static std::vector<std::string> settings()
    {
        static_cast<void>(german_locale());
        return {
            "max_connections=8", "superuser_reserved_connections=0", "max_wal_senders=0",
            "lc_messages=de_DE.UTF-8"};
    }
    std::string url(std::string const& who, std::string const& database = "postgres") const
    {
        return "postgresql://" + who + "@/" + database + "?host=" + server.directory() +
               "&port=" + std::to_string(server.port());
    }
    Outcome<Versioned<Stock>> load(std::string const& who, std::string const& database = "postgres") const
    {
        return postgres::StateRepository<Stock>{postgres::Pool{url(who, database)}}.load("x");
    }

    PostgresServer server;
};

TEST_CASE("why a server refuses a connection is told by its code", "[postgres][localized]")
{
    german_locale();
    GermanServer const german;
    CHECK(german.server.command("SHOW lc_messages") == "de_DE.UTF-8");
    for (std::string const language : {"C", "de_DE.UTF-8"}) {
        CAPTURE(language);
        Speaks const speaks{language};
        struct Refusal {
            std::string who;
            std::string database;
            Errc code;
            std::string says;
        };
        for (auto const& refusal : std::vector<Refusal>{
                 {"secret:wrong", "postgres", Errc::misconfigured, "28P01"},
                 {"secret:", "postgres", Errc::misconfigured, "password"},
                 {"nobody_here", "postgres", Errc::misconfigured, "28000"},
                 {"unwanted", "postgres", Errc::misconfigured, "28000"},
                 {"interlock", "nowhere", Errc::misconfigured, "3D000"},
                 {"outsider", "closed", Errc::misconfigured, "42501"},
                 {"outsider", "off", Errc::misconfigured, "55000"},
                 {"lonely", "postgres", Errc::overloaded, "53300"},
                 {"interlock", "postgres", Errc::misconfigured, "create_schema"}}) {
            CAPTURE(refusal.who, refusal.database);
            auto const outcome = german.load(refusal.who, refusal.database);
            CHECK(outcome.errc() == refusal.code);
            if (refusal.says != "create_schema")
                CHECK_THAT(outcome.detail(), ContainsSubstring(refusal.says));
            CHECK_THAT(outcome.detail(), !ContainsSubstring("wrong"));
        }
        std::vector<std::unique_ptr<postgres::Pool>> pools;
        Errc last = Errc::ok;
        for (int i = 0; i < 12 && last != Errc::overloaded; ++i) {
            pools.push_back(std::make_unique<postgres::Pool>(german.url("outsider")));
            last = postgres::StateRepository<Stock>{*pools.back()}.load("x").errc();
        }
        CHECK(last == Errc::overloaded);
    }
}

TEST_CASE("what the client library finds itself is known in every language", "[postgres][localized]")
{
    german_locale();
    PostgresServer const server;
    for (std::string const language : {"C", "de_DE.UTF-8"}) {
        CAPTURE(language);
        Speaks const speaks{language};
        auto const load = [](std::string const& url) {
            return postgres::StateRepository<Stock>{postgres::Pool{url}}.load("x");
        };
        CHECK(load(server.tcp_url() + "?sslmode=require").errc() == Errc::misconfigured);
        CHECK(
            load(server.tcp_url() + "?sslmode=verify-full&sslrootcert=/nowhere").errc() ==
            Errc::misconfigured);
        CHECK(load("postgresql://u@127.0.0.1:1/d").errc() == Errc::unavailable);
        CHECK(load("postgresql://u@/d?host=/nowhere").errc() == Errc::unavailable);
        CHECK(load("postgresql://u@no-such-host.invalid/d?sslmode=disable").errc() == Errc::unavailable);
        // The language of the rest of the process stays what it was.
        CHECK(std::setlocale(LC_MESSAGES, nullptr) == language);
    }
}

TEST_CASE("failures of statements go by their code in every language", "[postgres][localized]")
{
    german_locale();
    GermanServer const german;
    auto const url = german.url("interlock") + "&name_space=" + interlock_test::fresh_name_space();
    postgres::Pool const pool{url};
    postgres::create_schema(pool).value();
    postgres::StateRepository<Stock> const stock{pool};
    CHECK(stock.insert(Stock{"x", 1}));
    CHECK(stock.insert(Stock{"x", 1}).errc() == Errc::already_exists);
    TransactionService const service{PessimisticRowLock{}, stock};
    struct Failing {
        std::string sql;
        Errc code;
    };
    for (auto const& failing : std::vector<Failing>{
             {"SELECT 1 / 0", Errc::invalid_argument},
             {"SELECT nothing", Errc::misconfigured},
             {"DO 'BEGIN RAISE unique_violation; END'", Errc::constraint_violated},
             {"DO 'BEGIN RAISE EXCEPTION ''tut nichts''; END'", Errc::constraint_violated}}) {
        CAPTURE(failing.sql);
        auto const outcome = ended([&] {
            service.do_in_transaction("x", [&](Stock&, postgres::Transaction& tx) { tx.exec(failing.sql); });
        });
        CHECK(outcome.errc() == failing.code);
    }
    auto const sleeps = [](Stock&, postgres::Transaction& tx) { tx.exec("SELECT pg_sleep(20)"); };
    auto const slow = ended([&] { service.do_in_transaction("x", sleeps, {.deadline = 300ms}); });
    CHECK(slow.errc() == Errc::deadline_exceeded);
}

TEST_CASE("the state of a refusal is the last word of the client library", "[postgres][localized]")
{
    CHECK(state_of_refusal("connection to server on socket \"/s\" failed: FATAL:  28P01\n") == "28P01");
    CHECK(state_of_refusal("Verbindung zu Server fehlgeschlagen: FATAL:  3D000\n") == "3D000");
    CHECK(state_of_refusal("to a failed: Connection refused\nto b failed: FATAL:  57P03\n") == "57P03");
    CHECK(state_of_refusal("to a failed: FATAL:  57P03\nto b failed: Connection refused\n").empty());
    CHECK(state_of_refusal("").empty());
    CHECK(state_of_refusal("28P01").empty());
    CHECK(state_of_refusal("password: 28P01").empty());
    CHECK(state_of_refusal("FATAL:  28p01\n").empty());
    CHECK(state_of_refusal("could not connect to \"FATAL:  28P01\"\n").empty());
}

}  // namespace postgres_localized_test
