// SPDX-License-Identifier: BSL-1.0

// The ends of an asynchronous connection: it is lost, refused, given up, forked or destroyed, and what
// becomes of the commands that were on their way.
//
// How it works: most cases talk to a real server, which is paused or killed while replies are due. A few talk
// to an `Impostor`, which takes the place of a server and says what no server should.

#include <interlock/backends/redis/connection.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>

#include "support/catch.hpp"
#include "support/redis_server.hpp"
#include "support/threads.hpp"
#include "unit/backends/redis/connection.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace redis_connection_test {

using interlock_test::eventually;
using interlock_test::redis_server;
using interlock_test::RedisServer;
using interlock_test::time_of;
using redis::Evaluation;

TEST_CASE(
    "redis connection: of a lost batch only the commands that had left are unknown", "[redis][connection]")
{
    RedisServer server;
    asio::io_context io;
    Connection const connection{io, server.operator_options()};
    Results results;
    connection.async_execute(Command{"PING"}, Access::read, results.next(100));
    io.run();
    server.pause();
    std::string const large(std::size_t{64} << 10, 'x');
    for (std::size_t i = 0; i < 64; ++i)
        connection.async_execute(
            Command{"APPEND", "batch" + std::to_string(i), large}, Access::write, 20s, results.next(i));
    io.restart();
    io.run_for(100ms);  // as much as the system takes
    CHECK(results.done.size() == 1);
    server.kill();
    server.start();
    io.restart();
    io.run();
    REQUIRE(results.done.size() == 65);
    std::size_t sent = 0;
    for (std::size_t i = 0; i < 64; ++i) {
        if (results[i].errc() == Errc::outcome_unknown) {
            CHECK(sent == i);  // those before it had left, too
            ++sent;
        } else {
            CHECK(results[i].value().root().integer() == static_cast<std::int64_t>(large.size()));
        }
    }
    CHECK(sent > 0);
    CHECK(sent < 32);
    CHECK(connection.statistics().reconnects == 1);
}

TEST_CASE(
    "redis connection: a loss is unknown for writes and unavailable for reads, and the connection is made "
    "anew",
    "[redis][connection]")
{
    RedisServer server;
    Loop loop;
    Connection const connection{loop.context, server.operator_options()};
    CHECK(call(connection, Command{"SET", "a", 1}));

    // While it was idle: nothing is lost.
    server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    CHECK(call(connection, Command{"INCR", "a"}).value().root().integer() == 2);
    CHECK(connection.statistics().reconnects == 1);

    // With replies due.
    server.command({"CLIENT", "PAUSE", "20000", "ALL"});
    auto const before = connection.statistics().commands;
    auto write = connection.async_execute(Command{"INCR", "a"}, Access::write, 20s, asio::use_future);
    auto read = connection.async_execute(Command{"GET", "a"}, Access::read, 20s, asio::use_future);
    REQUIRE(eventually([&] { return connection.statistics().commands == before + 2; }));
    std::this_thread::sleep_for(50ms);
    server.kill();
    auto const written = write.get();
    CHECK(written.errc() == Errc::outcome_unknown);
    CHECK(written.cause() == Errc::unavailable);
    CHECK(read.get().errc() == Errc::unavailable);

    // Nobody is there: waits, in vain or not.
    auto const nobody = call(connection, Command{"SET", "b", 1}, Access::write, 100ms);
    CHECK(nobody.errc() == Errc::unavailable);
    CHECK(nobody.detail().find("cannot connect") != std::string::npos);
    auto patient = connection.async_execute(Command{"SET", "b", 1}, Access::write, 20s, asio::use_future);
    std::this_thread::sleep_for(50ms);
    server.start();
    CHECK(patient.get());
    CHECK(call(connection, Command{"GET", "b"}, Access::read).value().root().text() == "1");
    CHECK(connection.statistics().reconnects == 2);
}

TEST_CASE("redis connection: the last handle may go while commands are in flight", "[redis][connection]")
{
    RedisServer server;
    asio::io_context io;
    std::optional<Connection> connection{std::in_place, io, server.operator_options()};
    Results results;
    connection->async_execute(Command{"PING"}, Access::read, results.next(0));
    io.run();
    server.command({"CLIENT", "PAUSE", "20000", "ALL"});
    connection->async_execute(Command{"SET", "a", 1}, Access::write, results.next(1));
    connection->async_execute(Command{"GET", "a"}, Access::read, results.next(2));
    REQUIRE(run_until(io, [&] { return connection->statistics().commands == 3; }));
    connection->async_execute(Command{"SET", "b", 1}, Access::write, results.next(3));
    auto late = connection->async_execute(Command{"PING"}, Access::read, asio::deferred);
    auto const took = time_of([&] { connection.reset(); });
    CHECK(took < 1s);
    CHECK(results.done.size() == 1);
    std::move(late)(results.next(4));
    io.restart();
    io.run();
    REQUIRE(results.done.size() == 5);
    CHECK(results[1].errc() == Errc::outcome_unknown);
    CHECK(results[1].cause() == Errc::cancelled);
    CHECK(results[2].errc() == Errc::cancelled);
    CHECK(results[3].errc() == Errc::cancelled);
    CHECK(results[4].errc() == Errc::cancelled);
}

TEST_CASE(
    "redis connection: a context that is destroyed destroys its handlers, whichever object lives longer",
    "[redis][connection]")
{
    RedisServer server;
    auto const alive = std::make_shared<int>(0);
    bool called = false;
    for (bool const handle_first : {true, false})
        for (bool const connected : {true, false}) {
            auto io = std::make_unique<asio::io_context>();
            std::optional<Connection> connection{std::in_place, *io, server.operator_options()};
            if (connected) {
                connection->async_execute(Command{"PING"}, Access::read, asio::detached);
                io->run();
                server.pause();
            }
            for (int i = 0; i < 10; ++i)
                connection->async_execute(
                    Command{"INCR", "a"}, Access::write,
                    [alive, &called, c = *connection](Result) { called = true; });
            if (connected)
                REQUIRE(run_until(*io, [&] { return connection->statistics().commands == 11; }));
            connection->async_execute(
                Command{"PING"}, Access::read, [alive, &called](Result) { called = true; });
            if (handle_first)
                connection.reset();
            io.reset();
            CHECK(alive.use_count() == 1);
            if (connection) {
                connection->statistics();
                connection.reset();
            }
            server.resume();
        }
    CHECK_FALSE(called);

    // Another context's handlers are told.
    Loop other;
    auto io = std::make_unique<asio::io_context>();
    Connection const connection{*io, server.operator_options()};
    auto pending = connection.async_execute(
        Command{"INCR", "a"}, Access::write, asio::bind_executor(other.context, asio::use_future));
    io.reset();
    CHECK(pending.get().errc() == Errc::cancelled);
}

TEST_CASE(
    "redis connection: a server that is loading is asked again until the deadline", "[redis][connection]")
{
    RedisServer server{{"--appendonly", "yes"}};
    asio::io_context io;
    Connection const connection{io, server.operator_options()};
    Results results;
    connection.async_execute(Command{"SET", "n", 1}, Access::write, results.next(0));
    io.run();
    REQUIRE(results[0]);
    server.fill(3000);
    server.kill();
    server.start(
        {"--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024"},
        RedisServer::Until::listening);
    redis::Script const script{"return redis.call('INCR', KEYS[1])"};
    connection.async_evaluate(Evaluation{script, 1, "n"}, Access::write, 20s, results.next(1));
    for (std::size_t i = 2; i < 100; ++i)
        connection.async_execute(Command{"INCR", "n"}, Access::write, 20s, results.next(i));
    connection.async_execute(Command{"GET", "n"}, Access::read, 100ms, results.next(100));
    asio::cancellation_signal signal;
    connection.async_execute(
        Command{"INCR", "other"}, Access::write, 20s,
        asio::bind_cancellation_slot(signal.slot(), results.next(101)));
    io.restart();
    CHECK(run_until(io, [&] { return results.done.size() == 2; }));
    CHECK(effect_of(results[100].errc()) == Effect::not_applied);
    signal.emit(asio::cancellation_type::terminal);
    io.restart();
    io.run();  // does not run out of work while it waits
    CHECK(results.done.size() == 102);
    // Waiting, or asking.
    CHECK((results[101].errc() == Errc::cancelled || results[101].errc() == Errc::outcome_unknown));
    std::uint64_t sum = 0;
    for (std::size_t i = 1; i < 100; ++i)
        sum += results[i] ? static_cast<std::uint64_t>(results[i]->root().integer()) : 0;
    CHECK(sum == (2 + 100) * 99 / 2);  // each once
    CHECK(connection.statistics().reconnects == 1);
    CHECK(server.command({"GET", "n"}) == "100");
}

TEST_CASE(
    "redis connection: a server that turns out to be a replica is left once, with all commands that are due",
    "[redis][connection]")
{
    RedisServer server;
    asio::io_context io;
    auto options = server.operator_options();
    options.reconnect = {.initial = 20ms, .cap = 100ms, .immediate = 1};
    Connection const connection{io, options};
    Results results;
    std::size_t next = 0;
    auto const call = [&](Command command, Access access) {
        connection.async_execute(std::move(command), access, 10s, results.next(next++));
    };
    auto const run = [&] {
        io.restart();
        io.run();
    };
    call(Command{"SET", "a", 1}, Access::write);
    run();
    server.command({"REPLICAOF", "127.0.0.1", "1"});
    for (int i = 0; i < 20; ++i) {
        call(Command{"INCR", "a"}, Access::write);
        call(Command{"GET", "a"}, Access::read);
    }
    run();
    REQUIRE(results.done.size() == 41);
    for (std::size_t i = 1; i < 41; i += 2) {
        CHECK(results[i].errc() == Errc::unavailable);
        CHECK(results[i].detail().find("replica") != std::string::npos);
        CHECK(results[i + 1].value().root().text() == "1");
    }
    CHECK(connection.statistics().reconnects == 1);
    // No storm: the more often it was in vain, the longer it takes.
    auto const took = time_of([&] {
        for (int i = 0; i < 10; ++i) {
            call(Command{"INCR", "a"}, Access::write);
            run();
        }
    });
    CHECK(took > 50ms);
    CHECK(connection.statistics().reconnects <= 21);
    server.command({"REPLICAOF", "NO", "ONE"});
    call(Command{"INCR", "a"}, Access::write);
    run();
    CHECK(results.done.back().second.value().root().integer() == 2);
    // Promoted between the two attempts: the command goes through.
    server.command({"REPLICAOF", "127.0.0.1", "1"});
    call(Command{"INCR", "a"}, Access::write);
    // Keeps the old connection for a while.
    call(Command{"XREAD", "BLOCK", 300, "STREAMS", "nothing", "$"}, Access::read);
    std::thread promote([&] {
        std::this_thread::sleep_for(100ms);
        server.command({"REPLICAOF", "NO", "ONE"});
    });
    run();
    promote.join();
    auto const n = next;
    CHECK(results[n - 2].value().root().integer() == 3);
    CHECK(results[n - 1].value().root().is(redis::ReplyType::nil));
}

/// Says to each who comes what it is told to, once it has heard something.
class Impostor {
public:
    explicit Impostor(std::string answer)
    {
        std::string pattern = (std::filesystem::temp_directory_path() / "interlock-impostor-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        directory_ = pattern;
        acceptor_.emplace(context_, asio::local::stream_protocol::endpoint(directory_ + "/socket"));
        asio::co_spawn(context_, accept(std::move(answer)), asio::detached);
        thread_ = std::thread([this] { context_.run(); });
    }
    Impostor(Impostor const&) = delete;
    Impostor& operator=(Impostor const&) = delete;
    ~Impostor()
    {
        context_.stop();
        thread_.join();
        std::filesystem::remove_all(directory_);
    }
    redis::Options options() const
    {
        redis::Options options;
        options.unix_path = directory_ + "/socket";
        options.client_name.clear();
        return options;
    }
    std::atomic<int> visitors{0};

private:
    asio::awaitable<void> accept(std::string answer)
    {
        for (;;) {
            auto socket = co_await acceptor_->async_accept(asio::use_awaitable);
            ++visitors;
            if (answer.empty())
                continue;
            asio::co_spawn(context_, talk(std::move(socket), answer), asio::detached);
        }
    }
    static asio::awaitable<void> talk(asio::local::stream_protocol::socket socket, std::string answer)
    {
        std::array<char, 1024> heard{};
        for (;;) {
            auto const size = co_await socket.async_read_some(asio::buffer(heard), asio::use_awaitable);
            if (size == 0)
                co_return;
            if (answer != "silence")
                co_await asio::async_write(socket, asio::buffer(answer), asio::use_awaitable);
        }
    }

    std::string directory_;
    asio::io_context context_;
    std::optional<asio::local::stream_protocol::acceptor> acceptor_;
    std::thread thread_;
};

TEST_CASE("redis connection: a reply that nobody asked for ends the connection", "[redis][connection]")
{
    Loop loop;
    {
        Impostor const two{"+A\r\n+B\r\n"};
        Connection const connection{loop.context, two.options()};
        for (int i = 0; i < 3; ++i)
            CHECK(call(connection, Command{"PING"}, Access::read).value().root().text() == "A");
        CHECK(connection.statistics().reconnects == 2);
    }
    {
        Impostor const half{"+A\r\n$5"};
        Connection const connection{loop.context, half.options()};
        for (int i = 0; i < 3; ++i)
            CHECK(call(connection, Command{"PING"}, Access::read).value().root().text() == "A");
    }
    {
        Impostor const noise{"HTTP/1.1 400 Bad Request\r\n\r\n"};
        Connection const connection{loop.context, noise.options()};
        CHECK(call(connection, Command{"PING"}, Access::read).errc() == Errc::corrupt_state);
        auto const written = call(connection, Command{"INCR", "a"}, Access::write);
        CHECK(written.errc() == Errc::outcome_unknown);
        CHECK(written.cause() == Errc::corrupt_state);
    }
}

TEST_CASE(
    "redis connection: a silent server is given up, and a server that hangs up is not stormed",
    "[redis][connection]")
{
    Loop loop;
    {
        Impostor const silent{"silence"};
        auto options = silent.options();
        options.reply_timeout = 50ms;
        Connection const connection{loop.context, options};
        auto const read = call(connection, Command{"PING"}, Access::read);
        CHECK(read.errc() == Errc::unavailable);
        CHECK(read.detail().find("stopped answering") != std::string::npos);
        CHECK(call(connection, Command{"INCR", "a"}).errc() == Errc::outcome_unknown);
        options.password = "x";
        options.connect_timeout = 50ms;
        auto const mute = call(Connection{loop.context, options}, Command{"PING"}, Access::read, 300ms);
        CHECK(mute.errc() == Errc::unavailable);
        CHECK(mute.detail().find("timed out") != std::string::npos);
    }
    Impostor const rude{""};
    auto options = rude.options();
    options.reconnect = {.initial = 20ms, .cap = 100ms, .immediate = 1};
    Connection const connection{loop.context, options};
    auto const end = std::chrono::steady_clock::now() + 500ms;
    while (std::chrono::steady_clock::now() < end)
        static_cast<void>(call(connection, Command{"PING"}, Access::read, 100ms));
    CHECK(rude.visitors > 2);
    CHECK(rude.visitors < 100);
}

TEST_CASE(
    "redis connection: a forked child is misconfigured, and the parent's connection goes on",
    "[redis][connection]")
{
    asio::io_context io;
    Connection const connection{io, redis_server().operator_options()};
    Results results;
    connection.async_execute(Command{"PING"}, Access::read, results.next(0));
    io.run();
    REQUIRE(results[0]);
    auto const child = ::fork();
    if (child == 0) {
        asio::io_context own;
        std::optional<Connection> copy{connection};
        int code = 1;
        copy->async_execute(
            Command{"PING"}, Access::read, asio::bind_executor(own.get_executor(), [&](Result result) {
                code = result.errc() == Errc::misconfigured ? 0 : 2;
            }));
        own.run();
        ::_exit(code);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    connection.async_execute(Command{"PING"}, Access::read, results.next(1));
    io.restart();
    io.run();
    CHECK(results[1]);
    CHECK(connection.statistics().reconnects == 0);
}

}  // namespace redis_connection_test
