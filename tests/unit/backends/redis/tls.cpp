// SPDX-License-Identifier: BSL-1.0

// TLS with a real server, over blocking and asynchronous connections; and what a call says when the session
// does not come about.
//
// How it works: the tests are their own certificate authority (`Authority`) and issue good certificates and
// bad ones: expired, for another name, by a stranger. A `Middleman` between client and server listens, cuts a
// session within a reply, or damages bytes. Each write is tried both by the calling thread and by an
// executor.

#include <interlock/backends/redis/connection.hpp>
#include <interlock/backends/redis/tls.hpp>
#include <interlock/core/open.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/certificates.hpp"
#include "support/middleman.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace redis_tls_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::Authority;
using interlock_test::Certificate;
using interlock_test::CountingWaiter;
using interlock_test::eventually;
using interlock_test::fresh_name_space;
using interlock_test::Middleman;
using interlock_test::RedisServer;
using interlock_test::run_threads;
using interlock_test::Stock;
using interlock_test::time_of;
using redis::Access;
using redis::Command;
using Repository = redis::StateRepository<Stock>;

OwnerToken const me{{1, 2}};
OwnerToken const you{{3, 4}};
Key const x{"x"};

/// Whom the tests trust.
Authority& authority()
{
    static Authority one;
    return one;
}

std::vector<std::string> with(Certificate const& certificate, bool demands = false)
{
    return {"--tls-port",          "@PORT@",           "--tls-cert-file",
            certificate.file,      "--tls-key-file",   certificate.key_file,
            "--tls-ca-cert-file",  authority().file(), "--tls-auth-clients",
            demands ? "yes" : "no"};
}

/// Its certificate is for localhost and 127.0.0.1.
RedisServer& server()
{
    static RedisServer one(with(authority().issue("DNS:localhost,IP:127.0.0.1")));
    return one;
}

redis::Options to(std::uint16_t port)
{
    auto options = RedisServer::as_worker({});
    options.port = port;
    options.name_space = fresh_name_space();
    options.tls_options.ca_file = authority().file();
    return options;
}

/// The same write, by the calling thread and by an executor.
Outcome<void> write_blocking(redis::Options const& options, Deadline deadline = 10s)
{
    auto done = Repository{redis::Client{options}}.insert(x, Stock{"x", 1}, deadline);
    if (!done)
        return std::move(done).failure();
    return success();
}
Outcome<void> write_async(redis::Options const& options, Deadline deadline = 10s)
{
    boost::asio::io_context io;
    redis::Connection const connection{io, options};
    std::optional<Outcome<redis::Reply>> result;
    connection.async_execute(
        Command{"SET", "v1:{" + options.name_space + "}", 1}, Access::write, deadline,
        [&](Outcome<redis::Reply> done) { result = std::move(done); });
    io.run();
    if (!*result)
        return std::move(*result).failure();
    return success();
}

/// Both are refused with this code, and with words that contain `what`; nothing was written.
void check_refused(redis::Options const& options, Errc code, std::string const& what, Deadline deadline = 10s)
{
    for (auto const& refused : {write_blocking(options, deadline), write_async(options, deadline)}) {
        CAPTURE(refused.detail());
        CHECK(refused.errc() == code);
        CHECK(effect_of(refused.errc()) == Effect::not_applied);
        CHECK(refused.detail().find(what) != std::string::npos);
        CHECK(refused.detail().find("hunter2") == std::string::npos);
    }
}

TEST_CASE("redis tls: a trusted server is reached by name and by address", "[redis][tls]")
{
    for (auto const* host : {"localhost", "127.0.0.1"}) {
        CAPTURE(host);
        auto options = to(server().port());
        options.host = host;
        options = redis::with_tls(options);
        CHECK(write_blocking(options).errc() == Errc::ok);
        CHECK(write_async(options).errc() == Errc::ok);
        CHECK(Repository{redis::Client{options}}.load(x).value().value.quantity == 1);
    }
    auto const port = std::to_string(server().port());
    auto const url = "rediss://worker:password@localhost:" + port + "?ca_file=" + authority().file();
    CHECK(write_blocking(redis::with_tls(url)).errc() == Errc::ok);
    auto elsewhere = to(server().port());
    elsewhere.host = "127.0.0.1";
    for (auto const* name : {"localhost", "localhost."}) {
        elsewhere.tls_options.server_name = name;
        CHECK(write_async(redis::with_tls(elsewhere)).errc() == Errc::ok);
        elsewhere.name_space = fresh_name_space();
    }
    // The system's own authorities do not know ours.
    check_refused(
        redis::with_tls("rediss://localhost:" + port), Errc::misconfigured, "not signed by anybody trusted");
}

TEST_CASE(
    "redis tls: without the component a call says what is missing, and nothing is sent in the clear",
    "[redis][tls]")
{
    Middleman const listener{std::string{}};
    auto options = to(listener.port());
    options.tls = true;
    options.password = "hunter2";
    check_refused(options, Errc::misconfigured, "TLS");
    CHECK(listener.heard().empty());
    CHECK(open<Stock>("rediss://localhost", redis::tls_backend).load("x").errc() == Errc::misconfigured);
}

TEST_CASE("redis tls: a server that cannot prove who it is gets nothing", "[redis][tls]")
{
    Authority unknown{"somebody else"};
    Authority namesake;
    struct Row {
        Certificate certificate;
        char const* what;
    };
    Row const rows[]{
        {authority().issue("DNS:other.example,DNS:*.localhost,IP:127.0.0.2"), "not for the name localhost"},
        {unknown.issue("DNS:localhost,IP:127.0.0.1"), "not signed by anybody trusted"},
        {namesake.issue("DNS:localhost,IP:127.0.0.1"), "not signed by anybody trusted"},
        {authority().issue("DNS:localhost,IP:127.0.0.1", -2 * Authority::day, -Authority::day),
         "has expired"},
        {authority().issue("DNS:localhost,IP:127.0.0.1", Authority::day, 2 * Authority::day),
         "not valid yet"},
    };
    for (auto const& row : rows) {
        RedisServer const one(with(row.certificate));
        auto options = to(one.port());
        options.password = "hunter2";
        options = redis::with_tls(options);
        check_refused(options, Errc::misconfigured, row.what);
        if (&row == &rows[0]) {
            options.host = "127.0.0.1";
            check_refused(redis::with_tls(options), Errc::misconfigured, "not for the address 127.0.0.1");
            options.tls_options.server_name = "other.example";
            options = RedisServer::as_worker(options);
            CHECK(write_blocking(redis::with_tls(options)).errc() == Errc::ok);
        }
        // The ugly way out; the certificate is not looked at.
        options = RedisServer::as_worker(options);
        options.tls_options.verification = redis::TlsVerification::dangerously_disabled;
        options = redis::with_tls(options);
        options.name_space = fresh_name_space();
        CHECK(write_blocking(options).errc() == Errc::ok);
        CHECK(write_async(options).errc() == Errc::ok);
        CHECK(one.command({"DBSIZE"}) != "0");
    }
}

TEST_CASE("redis tls: a server may demand a certificate", "[redis][tls]")
{
    RedisServer const strict(with(authority().issue("DNS:localhost"), true));
    auto options = to(strict.port());
    auto const without = redis::with_tls(options);
    for (auto const& refused : {write_blocking(without, 1s), write_async(without, 1s)}) {
        CAPTURE(refused.detail());
        // Whether its words arrive before the end of the connection is a matter of luck.
        CHECK(effect_of(refused.errc()) == Effect::not_applied);
        CHECK(refused.detail().find("client certificate") != std::string::npos);
    }
    Authority unknown;
    for (auto* const signer : {&unknown, &authority()}) {
        auto const certificate = signer->issue("DNS:client");
        options.tls_options.certificate_file = certificate.file;
        options.tls_options.private_key_file = certificate.key_file;
        auto const presenting = redis::with_tls(options);
        if (signer == &unknown) {
            CHECK(effect_of(write_blocking(presenting, 1s).errc()) == Effect::not_applied);
            CHECK(effect_of(write_async(presenting, 1s).errc()) == Effect::not_applied);
            CHECK(strict.command({"DBSIZE"}) == "0");
        } else {
            CHECK(write_blocking(presenting).errc() == Errc::ok);
            CHECK(write_async(presenting).errc() == Errc::ok);
        }
    }
}

TEST_CASE("redis tls: files that are of no use are named when the options are made", "[redis][tls]")
{
    auto const fails = [](auto change) {
        auto options = to(1);
        change(options.tls_options);
        try {
            static_cast<void>(redis::with_tls(options));
        } catch (Error const& error) {
            return std::pair{error.errc(), std::string(error.what())};
        }
        return std::pair{Errc::ok, std::string{}};
    };
    auto const one = authority().issue("DNS:a");
    auto const other = authority().issue("DNS:b");
    CHECK(fails([](auto&) {}).first == Errc::ok);
    auto const missing = fails([](auto& o) { o.ca_file = "/nowhere/ca.pem"; });
    CHECK(missing.first == Errc::misconfigured);
    CHECK(missing.second.find("/nowhere/ca.pem") != std::string::npos);
    CHECK(fails([&](auto& o) { o.ca_file = one.key_file; }).first == Errc::misconfigured);
    CHECK(fails([&](auto& o) { o.certificate_file = one.file; }).first == Errc::invalid_argument);
    auto const mixed =
        fails([&](auto& o) { o.certificate_file = one.file, o.private_key_file = other.key_file; });
    CHECK(mixed.first == Errc::misconfigured);
    CHECK(mixed.second.find("private_key_file") != std::string::npos);
    // No passphrase is asked for at the terminal.
    auto const locked = one.key_file + ".locked";
    std::ofstream{locked}
        << "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    CHECK(fails([&](auto& o) {
              o.certificate_file = one.file, o.private_key_file = locked;
          }).first == Errc::misconfigured);
    auto local = to(1);
    local.unix_path = "/run/redis.sock";
    CHECK_THROWS_AS(redis::with_tls(local), Error);
    // What was made for TLS does not go without.
    auto changed = redis::with_tls(to(1));
    changed.tls = false;
    CHECK_THROWS_AS(redis::Client{changed}, Error);
}

TEST_CASE("redis tls: a server that does not speak TLS is found out in time", "[redis][tls]")
{
    {
        Middleman const noise{std::string{"-ERR unknown command\r\n"}};
        auto options = to(noise.port());
        check_refused(redis::with_tls(options), Errc::misconfigured, "no TLS");
        // The name is for the server to choose its certificate by; an address is none.
        CHECK(noise.heard().find("localhost") != std::string::npos);
        options.host = "127.0.0.1";
        Middleman const other{std::string{"-ERR unknown command\r\n"}};
        options.port = other.port();
        check_refused(redis::with_tls(options), Errc::misconfigured, "no TLS");
        CHECK_FALSE(other.heard().empty());
        CHECK(other.heard().find("127.0.0.1") == std::string::npos);
    }
    Middleman const silent{std::string{}};
    auto options = to(silent.port());
    options.password = "hunter2";
    options.connect_timeout = 100ms;
    auto const took =
        time_of([&] { check_refused(redis::with_tls(options), Errc::unavailable, "TLS handshake", 400ms); });
    CHECK(took < 3s);
    options.connect_timeout = 10s;
    auto const bounded =
        time_of([&] { CHECK(write_blocking(redis::with_tls(options), 100ms).errc() == Errc::unavailable); });
    CHECK(bounded < 3s);
    // A server without TLS, which waits for the end of a line that never comes.
    RedisServer const plain({"--port", "@PORT@"});
    options.port = plain.port();
    options.connect_timeout = 200ms;
    auto const refused = write_blocking(redis::with_tls(options), 1s);
    CHECK(effect_of(refused.errc()) == Effect::not_applied);
    CHECK(refused.detail().find("TLS") != std::string::npos);
}

TEST_CASE("redis tls: a session that ends within a reply leaves a write unknown", "[redis][tls]")
{
    for (std::ptrdiff_t const after : {0, 1, 5, 20}) {
        CAPTURE(after);
        Middleman between{server().port()};
        auto const options = redis::with_tls(to(between.port()));
        Repository const repository{redis::Client{options}};
        auto const version = repository.insert(x, Stock{"x", 1}).value();
        between.cut_next_reply(after);
        auto const lost = repository.compare_and_set(x, version, Stock{"x", 2}, Deadline{10s});
        CHECK(lost.errc() == Errc::outcome_unknown);
        CHECK(lost.cause() == Errc::unavailable);
        CHECK(repository.load(x).value().value.quantity == 2);  // and it was applied
        between.cut_next_reply(after);
        CHECK(repository.load(x, Deadline{10s}).errc() == Errc::unavailable);
        CHECK(repository.load(x).value().value.quantity == 2);

        boost::asio::io_context io;
        redis::Connection const connection{io, options};
        std::vector<Outcome<redis::Reply>> results;
        auto const call = [&](Command command, Access access) {
            connection.async_execute(std::move(command), access, 10s, [&](Outcome<redis::Reply> done) {
                results.push_back(std::move(done));
            });
            io.restart();
            io.run();
        };
        auto const name = "v1:" + options.name_space;
        call(Command{"HINCRBY", name, "n", 1}, Access::write);
        between.cut_next_reply(after);
        call(Command{"HINCRBY", name, "n", 1}, Access::write);
        call(Command{"HGET", name, "n"}, Access::read);
        between.cut_next_reply(after);
        call(Command{"HGET", name, "n"}, Access::read);
        REQUIRE(results.size() == 4);
        CHECK(results[0]);
        CHECK(results[1].errc() == Errc::outcome_unknown);
        CHECK(results[1].cause() == Errc::unavailable);
        CHECK(results[2].value().root().text() == "2");
        CHECK(results[3].errc() == Errc::unavailable);
        CHECK(connection.statistics().reconnects == 1);
    }
}

TEST_CASE(
    "redis tls: a server that closes the session properly within a reply leaves a write unknown, too",
    "[redis][tls]")
{
    RedisServer const one(with(authority().issue("DNS:localhost")));
    auto const options = redis::with_tls(to(one.port()));
    Repository const repository{redis::Client{options}};
    static_cast<void>(repository.insert(x, Stock{"x", 1}).value());
    boost::asio::io_context io;
    redis::Connection const connection{io, options};
    std::vector<Outcome<redis::Reply>> results;
    auto const set = [&] {
        connection.async_execute(
            Command{"SET", "v1:a", 1}, Access::write, 10s,
            [&](Outcome<redis::Reply> done) { results.push_back(std::move(done)); });
        io.restart();
        io.run();
    };
    set();
    for (bool const blocking : {true, false}) {
        CAPTURE(blocking);
        one.command({"CLIENT", "PAUSE", "10000", "WRITE"});  // taken in, not executed
        std::optional<Errc> got;
        run_threads(2, [&](std::size_t i) {
            if (i == 1) {
                std::this_thread::sleep_for(100ms);
                one.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
            } else if (blocking) {
                got = repository.insert(Key{"y"}, Stock{"y", 1}, Deadline{10s}).errc();
            } else {
                set();
                got = results.back().errc();
            }
        });
        CHECK(got == Errc::outcome_unknown);
        one.command({"CLIENT", "UNPAUSE"});
    }
    CHECK(repository.load(x));
    set();
    CHECK(results.back());
}

TEST_CASE("redis tls: of a lost batch only the commands that had left are unknown", "[redis][tls]")
{
    RedisServer one(with(authority().issue("DNS:localhost")));
    boost::asio::io_context io;
    redis::Connection const connection{io, redis::with_tls(to(one.port()))};
    constexpr std::size_t count = 400;
    std::vector<Outcome<redis::Reply>> results(count, Outcome<redis::Reply>{Errc::ok});
    std::size_t done = 0;
    connection.async_execute(Command{"PING"}, Access::read, [&](Outcome<redis::Reply>) { ++done; });
    io.run();
    one.pause();
    std::string const large(std::size_t{64} << 10, 'x');
    for (std::size_t i = 0; i < count; ++i)
        connection.async_execute(
            Command{"SETRANGE", "v1:batch" + std::to_string(i), 0, large}, Access::write, 20s,
            [&, i](Outcome<redis::Reply> result) {
                results[i] = std::move(result);
                ++done;
            });
    io.restart();
    io.run_for(200ms);  // as much as the system takes
    CHECK(done == 1);
    one.kill();
    one.start();
    io.restart();
    io.run();
    REQUIRE(done == count + 1);
    std::size_t sent = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (results[i].errc() == Errc::outcome_unknown) {
            CHECK(sent == i);  // those before it had left, too
            ++sent;
        } else {
            CHECK(results[i].value().root().integer() == static_cast<std::int64_t>(large.size()));
        }
    }
    CHECK(sent > 0);
    CHECK(sent < count);
    CHECK(connection.statistics().reconnects == 1);
}

TEST_CASE("redis tls: a reply that was damaged on the way is a loss, not an answer", "[redis][tls]")
{
    Middleman between{server().port()};
    auto const options = redis::with_tls(to(between.port()));
    Repository const repository{redis::Client{options}};
    auto const version = repository.insert(x, Stock{"x", 1}).value();
    between.damage_next_reply();
    auto const lost = repository.compare_and_set(x, version, Stock{"x", 2}, Deadline{10s});
    CHECK(lost.errc() == Errc::outcome_unknown);
    CHECK(lost.cause() == Errc::unavailable);
    CHECK(lost.detail().find("TLS") != std::string::npos);
    between.damage_next_reply();
    // Of the new connection, before anything was sent.
    CHECK(repository.load(x, Deadline{10s}).errc() == Errc::unavailable);
    CHECK(repository.load(x).value().value.quantity == 2);

    boost::asio::io_context io;
    redis::Connection const connection{io, options};
    std::vector<Outcome<redis::Reply>> results;
    for (int i = 0; i < 3; ++i) {
        if (i == 1)
            between.damage_next_reply();
        connection.async_execute(
            Command{"HINCRBY", "v1:" + options.name_space, "n", 1}, Access::write, 10s,
            [&](Outcome<redis::Reply> done) { results.push_back(std::move(done)); });
        io.restart();
        io.run();
    }
    CHECK(results[0]);
    CHECK(results[1].errc() == Errc::outcome_unknown);
    CHECK(results[2].value().root().integer() == 3);
}

TEST_CASE("redis tls: large commands and replies, idle connections, and reconnecting work", "[redis][tls]")
{
    auto const options = redis::with_tls(to(server().port()));
    boost::asio::io_context io;
    redis::Connection const connection{io, options};
    std::string const large(3'000'000, 'x');
    std::size_t right = 0;
    for (int i = 0; i < 4; ++i)
        connection.async_execute(
            Command{"SET", "v1:" + options.name_space + ":" + std::to_string(i), large}, Access::write, 20s,
            [&](Outcome<redis::Reply> done) { right += done ? 1 : 0; });
    for (int i = 0; i < 1000; ++i)
        connection.async_execute(
            Command{"PING", i}, Access::read, 20s, [&right, i](Outcome<redis::Reply> done) {
                right += done && done->root().text() == std::to_string(i) ? 1 : 0;
            });
    connection.async_execute(
        Command{"GET", "v1:" + options.name_space + ":3"}, Access::read, 20s,
        [&](Outcome<redis::Reply> done) { right += done && done->root().text() == large ? 1 : 0; });
    io.run();
    CHECK(right == 1005);
    CHECK(connection.statistics().reconnects == 0);
    auto const cut = [&] { server().command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}); };
    cut();
    std::optional<Outcome<redis::Reply>> after;
    connection.async_execute(
        Command{"HINCRBY", "v1:" + options.name_space, "n", 1}, Access::write, 10s,
        [&](Outcome<redis::Reply> done) { after = std::move(done); });
    io.restart();
    io.run();
    CHECK(after->value().root().integer() == 1);

    redis::StateRepository<std::string, std::string> const texts{
        redis::Client{options}, {.max_value_bytes = 8 << 20}};
    auto const version = texts.insert("t", large).value();
    CHECK(texts.load("t").value().value == large);
    cut();
    CHECK(texts.compare_and_set(Key{"t"}, version, std::string("small"), Deadline{10s}));
    CHECK(texts.load("t").value().value == "small");
}

TEST_CASE("redis tls: locks, wake-ups and transactions work", "[redis][tls]")
{
    auto const options = redis::with_tls(to(server().port()));
    Repository const repository{redis::Client{options}};
    Repository const other{redis::Client{options}};
    CHECK(repository.verify_fencing());
    auto const version = repository.insert(x, Stock{"x", 0}).value();

    auto const grant = repository.create(x, me, 30s).value();
    CountingWaiter waiter;
    other.subscribe(x, you, waiter);
    CHECK(eventually([&] { return waiter.count() > 0; }));  // it listens now
    CHECK(other.create(x, you, 10s).errc() == Errc::lock_busy);
    auto const before = waiter.count();
    Fence const fence{me, grant.first};
    Stock const value{"x", 1};
    std::array changes{
        Change<Stock>{.key = &x, .version = version, .value = &value, .fence = &fence, .release = true}};
    CHECK(repository.commit(changes, nullptr));
    CHECK(eventually([&] { return waiter.count() > before; }));
    other.unsubscribe(x, waiter);
    CHECK(other.create(x, you, 10s).value().first > grant.first);
    CHECK(repository.commit(changes, nullptr).errc() == Errc::fenced_out);
    CHECK(other.remove(x, you).value() == Removal::removed);

    // The wake-ups come back when their connection was lost.
    server().command({"CLIENT", "KILL", "TYPE", "pubsub"});
    auto const lost = waiter.count();
    other.subscribe(x, you, waiter);
    CHECK(eventually([&] { return waiter.count() > lost; }));
    other.unsubscribe(x, waiter);

    auto const url = "rediss://worker:password@localhost:" + std::to_string(server().port()) +
                     "?name_space=" + options.name_space;
    auto const erased = open<Stock>(url, redis::TlsBackend{options.tls_options});
    TransactionService const optimistic{OptimisticVersioning{}, repository};
    TransactionService const locking{SetNxLock{}, other};
    TransactionService const by_url{SetNxLock{}, erased};
    run_threads(4, [&](std::size_t i) {
        for (int n = 0; n < 20; ++n) {
            auto const increment = [](Stock& stock) { ++stock.quantity; };
            if (i == 3)
                locking.async_do_in_transaction("x", increment, boost::asio::use_future).get();
            else if (i == 0)
                optimistic.do_in_transaction("x", increment);
            else if (i == 1)
                locking.do_in_transaction("x", increment);
            else
                by_url.do_in_transaction("x", increment);
        }
    });
    CHECK(repository.load("x").value().value.quantity == 81);
    auto const keys = open_idempotency_store(url, redis::TlsBackend{options.tls_options});
    CHECK(keys.claim(IdempotentRequest("k", Scope("s")), me, 10s, AfterLease::refuse));
}

}  // namespace redis_tls_test
