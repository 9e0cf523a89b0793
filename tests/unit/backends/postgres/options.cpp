// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/postgres/options.hpp>
#include <interlock/backends/postgres/pool.hpp>

#include "support/catch.hpp"

#include <cstdlib>
#include <string>

namespace postgres_options_test {

using namespace interlock;
using postgres::Options;
using postgres::detail::setting;
using postgres::detail::settings_of;

TEST_CASE("a postgres URL is read by libpq, except for the name space", "[postgres][options]")
{
    auto const options =
        Options::parse(
            "postgresql://me:s%40cret@db.example.org:5433/shop?name_space=orders&connect_timeout=3")
            .value();
    CHECK(options.name_space == "orders");
    auto const settings = settings_of(options);
    CHECK(setting(settings, "host") == "db.example.org");
    CHECK(setting(settings, "port") == "5433");
    CHECK(setting(settings, "dbname") == "shop");
    CHECK(setting(settings, "password") == "s@cret");
    CHECK(setting(settings, "connect_timeout") == "3");
    CHECK(setting(settings, "application_name") == "interlock");
    CHECK(postgres::detail::endpoint_of(settings) == "db.example.org:5433/shop");
    CHECK(Options::parse("postgres://h/d?name_space=a").value().url == "postgres://h/d");
    // Libpq knows no a_name.
    CHECK(Options::parse("postgres://h/d?a_name=1&name_space=a").errc() == Errc::invalid_argument);
    CHECK(
        Options::parse("postgresql:///d?name_space=a&host=/run/x").value().url ==
        "postgresql:///d?host=/run/x");
    CHECK(
        setting(
            settings_of(Options::parse("postgresql:///d?application_name=till").value()),
            "application_name") == "till");
}

TEST_CASE(
    "the server's certificate is verified unless the host is this machine or the URL says otherwise",
    "[postgres][options]")
{
    auto const mode = [](char const* url) {
        return setting(settings_of(Options::parse(url).value()), "sslmode");
    };
    ::unsetenv("PGHOST");
    CHECK(mode("postgresql://db.example.org/d") == "verify-full");
    CHECK(mode("postgresql://10.0.0.1/d") == "verify-full");
    CHECK(mode("postgresql://localhost,db.example.org/d") == "verify-full");
    CHECK(mode("postgresql://localhost/d?hostaddr=10.0.0.1") == "verify-full");
    CHECK(mode("postgresql://db.example.org/d?sslmode=require") == "require");
    for (char const* local :
         {"postgresql:///d", "postgresql://localhost/d", "postgresql://127.0.0.1/d", "postgresql://[::1]/d",
          "postgresql:///d?host=/run/postgresql"}) {
        CAPTURE(local);
        CHECK(mode(local).empty());
    }
    ::setenv("PGHOST", "db.example.org", 1);
    CHECK(mode("postgresql:///d") == "verify-full");
    ::unsetenv("PGHOST");
}

TEST_CASE(
    "dead peers are noticed, and of several servers the one that accepts writes is taken",
    "[postgres][options]")
{
    auto const settings = settings_of(Options::parse("postgresql://a,b/d").value());
    CHECK(setting(settings, "target_session_attrs") == "read-write");
    CHECK(setting(settings, "keepalives_idle") == "10");
    CHECK(setting(settings, "tcp_user_timeout") == "10000");
    CHECK(setting(settings, "client_encoding") == "UTF8");
    CHECK(
        setting(
            settings_of(Options::parse("postgresql://a/d?keepalives_idle=3").value()), "keepalives_idle") ==
        "3");
}

TEST_CASE("a bad postgres URL is refused without a word of its password", "[postgres][options]")
{
    for (std::string const url :
         {"postgresql:", "mysql://u:hunter2@h/d", "hunter2", "postgresql://u:hunter2%zz@h",
          "postgresql://u:hunter2@h:hunter2x/d?x=hunter2", "postgresql://u:hunter2@h/d?name_space=Upper",
          "postgresql://u:hunter2@h/d?name_space=", "postgresql://h/d?name_space=a;b",
          "postgresql://h/d?name_space=1a", "postgresql://h/d?nonsense=hunter2",
          "postgresql://u:hunter2@h/d?host"}) {
        CAPTURE(url);
        auto const parsed = Options::parse(url);
        CHECK(parsed.errc() == Errc::invalid_argument);
        CHECK_FALSE(parsed.detail().empty());
        CHECK(parsed.detail().find("hunter2") == std::string::npos);
    }
    CHECK(Options::parse(std::string("postgresql://h\0x/d", 18)).errc() == Errc::invalid_argument);
}

TEST_CASE(
    "a postgres URL that says a parameter twice is refused: the last one would win without a word",
    "[postgres][options]")
{
    auto const text = [](std::string const& url) { return Options::parse(url).detail(); };
    CHECK(text("postgresql://h/d?schema=a&schema=b") == "postgres URL: schema is said twice");
    CHECK(
        text("postgresql://h/d?name_space=a&sslmode=require&name_space=a") ==
        "postgres URL: name_space is said twice");
    CHECK(text("postgresql://h/d?dbname=e") == "postgres URL: dbname is said twice");
    CHECK(text("postgresql://h/?dbname=d&dbname=e") == "postgres URL: dbname is said twice");
    CHECK(text("postgresql://h/d?host=/run/x") == "postgres URL: host is said twice");
    CHECK(text("postgresql://h:5433/d?port=5434") == "postgres URL: port is said twice");
    CHECK(text("postgresql://u@h/d?user=v") == "postgres URL: user is said twice");
    CHECK(text("postgresql://u:hunter2@h/d?password=hunter2") == "postgres URL: password is said twice");
    CHECK(text("postgresql://h/d?ssl=true&sslmode=disable") == "postgres URL: sslmode is said twice");
    CHECK(text("postgresql://h/d?%64bname=e") == "postgres URL: dbname is said twice");
    // Of options one is all that libpq takes, too, so that a setting in the first one would be lost.
    CHECK(
        text("postgresql://h/d?options=-cx.a%3D1&options=-cx.b%3D2") ==
        "postgres URL: options is said twice");

    CHECK(text("postgresql://h/d?retention=48h") == "postgres URL: libpq has no setting \"retention\"");
    CHECK(text("postgresql://u:pa/ss?zq=x@h/d").find("zq") == std::string::npos);

    // Said in one place each.
    for (char const* url :
         {"postgresql://u:p@/d?host=/run/x&port=5433", "postgresql:///?dbname=d&user=u&password=p",
          "postgresql://h/d?hostaddr=10.0.0.1", "postgresql://a:1,b:2/d?ssl=true",
          "postgresql://u:p?schema=a&schema=b@h/d"}) {
        CAPTURE(url);
        CHECK(Options::parse(url));
    }
    // A URL in the options themselves is looked at likewise.
    Options options;
    options.url = "postgresql://h/d?dbname=e";
    CHECK(options.validate().detail() == "postgres URL: dbname is said twice");
}

TEST_CASE("options out of range are refused by name", "[postgres][options]")
{
    Options options;
    CHECK(options.validate());
    options.max_connections = 0;
    CHECK(options.validate().errc() == Errc::invalid_argument);
    CHECK_THROWS_AS(postgres::Pool{options}, Error);
    options = {};
    options.name_space = "a b";
    CHECK(options.validate().errc() == Errc::invalid_argument);
    options = {};
    options.connect_timeout = std::chrono::seconds{0};
    CHECK(options.validate().errc() == Errc::invalid_argument);
    options = {};
    options.tcp_user_timeout = std::chrono::milliseconds{0};
    CHECK(options.validate().errc() == Errc::invalid_argument);
    CHECK_THROWS_AS(postgres::Pool{"mysql://u:hunter2@h"}, Error);
}

}  // namespace postgres_options_test
