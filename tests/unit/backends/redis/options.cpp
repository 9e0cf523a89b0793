// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/options.hpp>

#include "support/catch.hpp"

#include <string>

namespace redis_options_test {

using namespace interlock;
using redis::Options;

TEST_CASE("a redis URL says where, who and what", "[redis][options]")
{
    auto const plain = Options::parse("redis://example.org").value();
    CHECK(plain.host == "example.org");
    CHECK(plain.port == 6379);
    CHECK(plain.database == 0);
    CHECK(plain.user.empty());
    CHECK(plain.password.empty());
    CHECK_FALSE(plain.tls);

    auto const full =
        Options::parse("redis://me:s%40c%2Fret%25@[::1]:7000/12?name_space=shop.a&client_name=till").value();
    CHECK(full.user == "me");
    CHECK(full.password == "s@c/ret%");
    CHECK(full.host == "::1");
    CHECK(full.port == 7000);
    CHECK(full.database == 12);
    CHECK(full.name_space == "shop.a");
    CHECK(full.client_name == "till");
    CHECK(full.endpoint() == "[::1]:7000");

    CHECK(Options::parse("redis://:pw@h").value().password == "pw");
    CHECK(Options::parse("redis://:p@w@h/").value().password == "p@w");
    CHECK(Options::parse("rediss://h").value().tls);

    auto const secured = Options::parse(
        "rediss://h?ca_file=/etc/my%20ca.pem&ca_path=/etc/cas&certificate_file=/c&private_key_file=/"
        "k&server_name=db.example");
    CHECK(secured.value().tls_options.ca_file == "/etc/my ca.pem");
    CHECK(secured.value().tls_options.ca_path == "/etc/cas");
    CHECK(secured.value().tls_options.certificate_file == "/c");
    CHECK(secured.value().tls_options.private_key_file == "/k");
    CHECK(secured.value().tls_options.server_name == "db.example");
    CHECK(secured.value().tls_options.verification == redis::TlsVerification::full);
    redis::TlsOptions otherwise;
    otherwise.ca_file = "/ca";
    otherwise.server_name = "a.example";
    auto const both = Options::parse("rediss://h?server_name=b.example", otherwise).value().tls_options;
    CHECK(both.ca_file == "/ca");
    CHECK(both.server_name == "b.example");
    CHECK(
        Options::parse("rediss://h?verification=dangerously_disabled").value().tls_options.verification ==
        redis::TlsVerification::dangerously_disabled);

    auto const local = Options::parse("unix:///run/my%20redis.sock?db=3").value();
    CHECK(local.unix_path == "/run/my redis.sock");
    CHECK(local.database == 3);
    CHECK(local.endpoint() == "unix:/run/my redis.sock");
    CHECK(Options::parse("unix://me:pw@/run/s").value().user == "me");
}

TEST_CASE("a bad redis URL is refused without a word of its password", "[redis][options]")
{
    for (std::string const url :
         {"redis:",
          "redis:/h",
          "http://h",
          "redis://",
          "redis://:6379",
          "redis://h:0",
          "redis://h:65536",
          "redis://h:port",
          "redis://h:",
          "redis://h/x",
          "redis://h/-1",
          "redis://h/1/2",
          "redis://[::1",
          "redis://[::1]x",
          "redis://h?db",
          "redis://h?color=red",
          "redis://h?db=x",
          "redis://h?name_space=",
          "redis://h?name_space=a%7Bb",
          "redis://h#frag",
          "redis://h%zz",
          "unix://",
          "unix:///",
          "unix://relative/path",
          "unix:///a%00b",
          "redis://h?client_name=two%20words",
          "redis://user@h",
          "redis://h?ca_file=/ca",
          "rediss://h?ca_file=",
          "rediss://h?ca_file=a%00b",
          "rediss://h?verification=none",
          "rediss://h?certificate_file=/c",
          "redis://h?db=1&db=1",
          "redis://h/1?db=2",
          "unix:///s?prefix=a:&prefix=b:",
          "unix:///s?verification=full"}) {
        CAPTURE(url);
        auto const parsed = Options::parse(url);
        CHECK(parsed.errc() == Errc::invalid_argument);
        CHECK_FALSE(parsed.detail().empty());
    }
    for (std::string const url :
         {"redis://u:hunter2%zz@h", "redis://u:hunter2@h:hunter2", "redis://u:hunter2@",
          "redis://hunter2:hunter2", "hunter2", "redis://u:hunter2@h/hunter2",
          "redis://u:hunter2@h?x=hunter2", "hunter2://u:hunter2@h", "redis://u:hunter2@h#hunter2"}) {
        CAPTURE(url);
        auto const parsed = Options::parse(url);
        CHECK(parsed.errc() == Errc::invalid_argument);
        CHECK(parsed.detail().find("hunter2") == std::string::npos);
        CHECK_THROWS_AS(redis::Client{url}, Error);
    }
    CHECK(Options::parse(std::string("redis://h\0x", 11)).errc() == Errc::invalid_argument);
}

TEST_CASE("a redis URL says everything once", "[redis][options]")
{
    auto const text = [](std::string_view url) {
        return std::string(Options::parse(url).failure().detail());
    };
    CHECK(text("redis://h/1?db=2") == "redis URL: db is said twice");
    CHECK(
        text("redis://h?retention=48h").starts_with("redis URL: unknown parameter \"retention\"; known are"));
    CHECK(text("redis://:pa?zq=word@h").find("zq") == std::string::npos);
    CHECK(text("redis://h?name_space=a&db=1&name_space=b") == "redis URL: name_space is said twice");
    CHECK(text("rediss://h?ca_file=") == "redis URL: ca_file is empty, or contains a NUL");
    CHECK_THAT(text("redis://::1"), Catch::Matchers::ContainsSubstring("brackets"));
    CHECK(Options::parse("unix:///s/1?db=2").value().database == 2);
}

TEST_CASE("redis options out of range are refused before any connection", "[redis][options]")
{
    auto const refused = [](auto change) {
        Options options;
        change(options);
        return options.validate().errc() == Errc::invalid_argument;
    };
    CHECK(Options{}.validate());
    CHECK(refused([](Options& o) { o.host.clear(); }));
    CHECK(refused([](Options& o) { o.port = 0; }));
    CHECK(refused([](Options& o) { o.host.push_back('\0'); }));
    CHECK(refused([](Options& o) { o.unix_path = std::string("/s\0s", 4); }));
    CHECK(refused([](Options& o) { o.unix_path = std::string(108, '/'); }));
    CHECK_FALSE(refused([](Options& o) { o.unix_path = std::string(107, '/'); }));
    CHECK(refused([](Options& o) { o.database = -1; }));
    CHECK(refused([](Options& o) { o.user = "u"; }));
    CHECK(refused([](Options& o) { o.name_space = std::string(65, 'a'); }));
    CHECK(refused([](Options& o) { o.name_space = "a{b}"; }));
    CHECK(refused([](Options& o) { o.client_name = "a b"; }));
    CHECK(refused([](Options& o) { o.connect_timeout = {}; }));
    CHECK(refused([](Options& o) { o.max_connections = 0; }));
    CHECK(refused([](Options& o) { o.tls = true, o.unix_path = "/s"; }));
    CHECK(refused([](Options& o) { o.tls_options.certificate_file = "/c"; }));
    CHECK(refused([](Options& o) { o.tls_options.private_key_file = "/k"; }));
    CHECK(refused([](Options& o) { o.max_reply_bytes = 1; }));
}

}  // namespace redis_options_test
