// SPDX-License-Identifier: BSL-1.0

// The asynchronous connection, command by command: tokens, order, bounds, deadlines, cancellation and
// replies.
//
// How it works: the cases talk to a real server. What they begin with stands in connection.hpp.

#include "unit/backends/redis/connection.hpp"

#include <interlock/backends/redis/connection.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/redis_server.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace redis_connection_test {

using interlock_test::eventually;
using interlock_test::redis_server;
using interlock_test::RedisServer;
using interlock_test::run_threads;
using redis::Evaluation;

TEST_CASE("redis connection: every kind of completion token works", "[redis][connection]")
{
    asio::io_context io;
    Connection const connection{io, redis_server().operator_options()};
    std::string const key = "tokens";

    std::optional<Result> by_callback;
    connection.async_execute(
        Command{"SET", key, 42}, Access::write, [&](Result result) { by_callback = std::move(result); });
    CHECK_FALSE(by_callback);
    io.run();  // ends: a connection that waits for nothing is no work
    REQUIRE(by_callback);
    REQUIRE(*by_callback);
    CHECK((*by_callback)->root().is(redis::ReplyType::status));
    CHECK((*by_callback)->root().text() == "OK");

    auto future = connection.async_execute(Command{"GET", key}, Access::read, 5s, asio::use_future);
    io.restart();
    io.run();
    CHECK(future.get().value().root().text() == "42");

    bool finished = false;
    auto coroutine = [&]() -> asio::awaitable<void> {
        auto const got =
            co_await connection.async_execute(Command{"INCRBY", key, -2}, Access::write, asio::use_awaitable);
        CHECK(got.value().root().integer() == 40);
        auto later = connection.async_execute(Command{"GET", key}, Access::read, asio::deferred);
        auto const late = co_await std::move(later)(asio::use_awaitable);
        CHECK(late.value().root().text() == "40");
        auto const array = co_await connection.async_execute(
            Command{"MGET", key, "none"}, Access::read, asio::use_awaitable);
        CHECK(array.value().root().size() == 2);
        CHECK(array.value().root()[0].text() == "40");
        CHECK(array.value().root()[1].is(redis::ReplyType::nil));
        finished = true;
    };
    asio::co_spawn(io, coroutine, asio::detached);
    io.restart();
    io.run();
    CHECK(finished);
}

TEST_CASE("redis connection: any byte may be in an argument", "[redis][connection]")
{
    Loop loop;
    Connection const connection{loop.context, "unix://" + redis_server().socket()};
    std::string const odd("\0\r\n$-1\r\n\xff", 9);
    CHECK(call(connection, Command{"SET", odd, odd}));
    CHECK(call(connection, Command{"GET", odd}, Access::read).value().root().text() == odd);
    CHECK(call(connection, Command{"SET", "empty", std::string_view{}}));
    CHECK(
        call(connection, Command{"GET", "empty"}, Access::read).value().root().is(redis::ReplyType::string));
    std::string const large(3'000'000, 'x');
    CHECK(call(connection, Command{"SET", "large", large}));
    CHECK(call(connection, Command{"GET", "large"}, Access::read).value().root().text() == large);
}

std::string written_by_hiredis(std::vector<std::string> const& words)
{
    std::vector<char const*> data;
    std::vector<std::size_t> sizes;
    for (auto const& word : words) {
        data.push_back(word.data());
        sizes.push_back(word.size());
    }
    char* bytes = nullptr;
    auto const size =
        redisFormatCommandArgv(&bytes, static_cast<int>(words.size()), data.data(), sizes.data());
    std::string out(bytes, static_cast<std::size_t>(size));
    redisFreeCommand(bytes);
    return out;
}

TEST_CASE("redis connection: commands are what hiredis would write", "[redis][connection]")
{
    namespace detail = redis::detail;
    std::string const odd("a\0\r\n$", 5);
    std::string const large(100'000, 'x');
    auto const expected = written_by_hiredis({"SET", odd, "", "0", "-7", "18446744073709551615", large});
    CHECK(
        detail::Command("SET", odd, std::string_view{}, 0, -7, std::uint64_t{18446744073709551615U}, large)
            .bytes() == expected);
    CHECK(detail::Command{"SET", odd, {}, "0", "-7", "18446744073709551615", large}.bytes() == expected);
    redis::Script const script{"return 1"};
    detail::Command const named("EVALSHA", script.name(), 1, odd, "x");
    CHECK(
        detail::spell_out(named.bytes(), script.text()) ==
        detail::Command("EVAL", script.text(), 1, odd, "x").bytes());
}

TEST_CASE("redis connection: a server is reached by TCP and by name", "[redis][connection]")
{
    asio::io_context io;
    std::uint16_t port = 0;
    {
        asio::ip::tcp::acceptor const free{io, {asio::ip::address_v4::loopback(), 0}};
        port = free.local_endpoint().port();
    }
    RedisServer const server{{"--port", std::to_string(port)}};
    Connection const connection{io, "redis://127.0.0.1:" + std::to_string(port)};
    Results results;
    connection.async_execute(Command{"PING"}, Access::read, results.next(0));
    Connection const nowhere{io, "redis://nowhere.invalid"};
    nowhere.async_execute(Command{"PING"}, Access::read, 200ms, results.next(1));
    io.run();
    CHECK(results[0].value().root().text() == "PONG");
    CHECK((results[1].errc() == Errc::unavailable || results[1].errc() == Errc::deadline_exceeded));
}

TEST_CASE("redis connection: the handler runs on its own executor", "[redis][connection]")
{
    asio::io_context io;
    Loop other;
    Connection const connection{io, redis_server().operator_options()};
    std::atomic<bool> right{false};
    std::atomic<bool> called{false};
    connection.async_execute(
        Command{"PING"}, Access::read, asio::bind_executor(other.context.get_executor(), [&](Result result) {
            right = other.context.get_executor().running_in_this_thread() && result.has_value();
            called = true;
        }));
    io.run();
    CHECK(eventually([&] { return called.load(); }));
    CHECK(right);
}

TEST_CASE("redis connection: the commands of one turn leave in one write", "[redis][connection]")
{
    asio::io_context io;
    Connection const connection{io, redis_server().operator_options()};
    std::vector<std::int64_t> order;
    auto one = [&](int i) -> asio::awaitable<void> {
        auto const key = "turn" + std::to_string(i);
        auto const got =
            co_await connection.async_execute(Command{"SET", key, i}, Access::write, asio::use_awaitable);
        CHECK(got);
        auto const back =
            co_await connection.async_execute(Command{"INCR", key}, Access::write, asio::use_awaitable);
        order.push_back(back.value().root().integer());
    };
    for (int i = 0; i < 512; ++i)
        asio::co_spawn(io, one(i), asio::detached);
    io.run();
    REQUIRE(order.size() == 512);
    for (int i = 0; i < 512; ++i)
        CHECK(order[static_cast<std::size_t>(i)] == i + 1);
    auto const statistics = connection.statistics();
    CHECK(statistics.commands == 1024);
    CHECK(statistics.writes <= 32);  // 2, unless the system splits the replies
    CHECK(statistics.reconnects == 0);

    // The first turn in any case: nothing was under way.
    Connection const fresh{io, redis_server().operator_options()};
    int done = 0;
    for (int i = 0; i < 512; ++i)
        fresh.async_execute(
            Command{"PING"}, Access::read, [&](Result result) { done += result.has_value(); });
    io.restart();
    io.run();
    CHECK(done == 512);
    CHECK(fresh.statistics().writes == 1);
}

TEST_CASE("redis connection: many threads share one connection", "[redis][connection]")
{
    asio::thread_pool pool{3};
    Connection const connection{pool, redis_server().operator_options()};
    constexpr std::size_t threads = 4;
    constexpr int rounds = 300;
    std::atomic<int> wrong{0};
    call(connection, Command{"DEL", "threads"}).value();
    run_threads(threads, [&](std::size_t thread) {
        std::vector<std::future<Result>> replies;
        for (int i = 0; i < rounds; ++i) {
            replies.push_back(connection.async_execute(
                Command{"ECHO", std::to_string(thread) + ":" + std::to_string(i)}, Access::read,
                asio::use_future));
            if (i % 10 == 0)
                wrong += !call(connection, Command{"INCR", "threads"});
        }
        for (int i = 0; i < rounds; ++i) {
            auto const reply = replies[static_cast<std::size_t>(i)].get();
            wrong += !reply || reply->root().text() != std::to_string(thread) + ":" + std::to_string(i);
        }
    });
    CHECK(wrong == 0);
    CHECK(call(connection, Command{"GET", "threads"}, Access::read).value().root().text() == "120");
    CHECK(connection.statistics().commands == threads * (rounds + 30) + 2);
    pool.join();
}

TEST_CASE(
    "redis connection: a passed deadline leaves the others and the connection intact", "[redis][connection]")
{
    RedisServer server;
    asio::io_context io;
    Connection const connection{io, server.operator_options()};
    Results results;
    connection.async_execute(Command{"SET", "a", 1}, Access::write, results.next(0));
    io.run();
    server.pause();
    connection.async_execute(Command{"INCR", "a"}, Access::write, 10s, results.next(1));
    connection.async_execute(Command{"INCR", "a"}, Access::write, 30ms, results.next(2));
    connection.async_execute(Command{"GET", "a"}, Access::read, 60ms, results.next(3));
    connection.async_execute(Command{"ECHO", "x"}, Access::read, 10s, results.next(4));
    REQUIRE(run_until(io, [&] { return results.done.size() == 3; }));
    CHECK(results[2].errc() == Errc::outcome_unknown);
    CHECK(results[2].cause() == Errc::deadline_exceeded);
    CHECK(results[3].errc() == Errc::deadline_exceeded);
    server.resume();
    connection.async_execute(Command{"GET", "a"}, Access::read, 10s, results.next(5));
    io.restart();
    io.run();
    REQUIRE(results.done.size() == 6);
    CHECK(results[1].value().root().integer() == 2);
    CHECK(results[4].value().root().text() == "x");
    CHECK(results[5].value().root().text() == "3");
    CHECK(connection.statistics().reconnects == 0);

    connection.async_execute(Command{"PING"}, Access::read, -1s, results.next(6));
    connection.async_execute(
        Command{"PING"}, Access::read, std::chrono::duration<double>{0.0 / 0.0}, results.next(7));
    CHECK(results.done.size() == 6);
    io.restart();
    io.run();
    CHECK(results[6].errc() == Errc::deadline_exceeded);
    CHECK(results[7].errc() == Errc::invalid_argument);
}

TEST_CASE(
    "redis connection: a cancelled command is not applied before it was written, and unknown after",
    "[redis][connection]")
{
    RedisServer server;
    asio::io_context io;
    Connection const connection{io, server.operator_options()};
    Results results;
    std::array<asio::cancellation_signal, 4> signals;
    auto const start = [&](std::size_t i, Command command, Access access) {
        connection.async_execute(
            std::move(command), access, asio::bind_cancellation_slot(signals[i].slot(), results.next(i)));
    };
    start(0, Command{"SET", "gone", 1}, Access::write);
    signals[0].emit(asio::cancellation_type::terminal);
    CHECK(results.done.empty());
    io.run();
    CHECK(results[0].errc() == Errc::cancelled);
    CHECK(server.command({"EXISTS", "gone"}) == "0");

    server.command({"CLIENT", "PAUSE", "300", "ALL"});
    start(1, Command{"SET", "kept", 1}, Access::write);
    start(2, Command{"GET", "kept"}, Access::read);
    start(3, Command{"ECHO", "mine"}, Access::read);
    auto const before = connection.statistics().commands;
    REQUIRE(run_until(io, [&] { return connection.statistics().commands == before + 3; }));
    signals[1].emit(asio::cancellation_type::total);
    signals[2].emit(asio::cancellation_type::partial);
    io.restart();
    io.run();
    CHECK(results[1].errc() == Errc::outcome_unknown);
    CHECK(results[1].cause() == Errc::cancelled);
    CHECK(results[2].errc() == Errc::cancelled);
    CHECK(results[3].value().root().text() == "mine");
    CHECK(server.command({"GET", "kept"}) == "1");
    signals[3].emit(asio::cancellation_type::all);  // nobody is there any more
    CHECK(connection.statistics().reconnects == 0);
}

TEST_CASE("redis connection: a command beyond the bounds is overloaded", "[redis][connection]")
{
    asio::io_context io;
    auto options = redis_server().operator_options();
    options.max_pending = 8;
    options.max_in_flight = 3;
    options.max_pending_bytes = 1000;
    Connection const connection{io, options};
    Results results;
    for (std::size_t i = 0; i < 10; ++i)
        connection.async_execute(Command{"ECHO", i}, Access::read, results.next(i));
    io.run();
    for (std::size_t i = 0; i < 8; ++i)
        CHECK(results[i].value().root().text() == std::to_string(i));
    CHECK(results[8].errc() == Errc::overloaded);
    CHECK(results[9].errc() == Errc::overloaded);
    CHECK(connection.statistics().writes >= 3);

    connection.async_execute(Command{"SET", "k", std::string(2000, 'x')}, Access::write, results.next(20));
    connection.async_execute(Command{"PING"}, Access::read, results.next(21));
    io.restart();
    io.run();
    CHECK(results[20].errc() == Errc::overloaded);
    CHECK(results[21]);

    options.max_in_flight = 0;
    CHECK_THROWS_AS((Connection{io, options}), Error);
    CHECK_THROWS_AS((Connection{io, "redis://:@x"}), Error);
}

TEST_CASE(
    "redis connection: calls that ended while no server is there leave nothing behind", "[redis][connection]")
{
    asio::io_context io;
    auto options = redis::Options::parse("unix:///nonexistent/socket").value();
    options.max_pending_bytes = 100'000;  // room for 1,000 at once, and not for all of them
    Connection const connection{io, options};
    bool patient = false;  // at the head of the queue
    connection.async_execute(Command{"GET", "x"}, Access::read, 60s, [&](Result const&) { patient = true; });
    std::size_t ended = 0;
    auto const outage = [&](std::size_t calls) {
        for (auto const until = ended + calls; ended < until;) {
            auto const before = ended;
            for (int i = 0; i < 1000; ++i)
                connection.async_execute(Command{"GET", "x"}, Access::read, 1ms, [&](Result const& result) {
                    ended += result.errc() == Errc::deadline_exceeded || result.errc() == Errc::unavailable;
                });
            REQUIRE(eventually([&] { return io.run_for(1ms), ended == before + 1000; }));
        }
        return interlock_test::kept_memory();
    };
    auto const at_first = outage(2'000);
    auto const later = outage(50'000);
    CHECK_FALSE(patient);
    CHECK(later - at_first < 200'000);  // four bytes for each
}

TEST_CASE(
    "redis connection: a reply beyond the limit fails its own command and no other", "[redis][connection]")
{
    RedisServer server;
    Loop loop;
    auto options = server.operator_options();
    options.max_reply_bytes = std::size_t{64} << 10;
    Connection const connection{loop.context, options};
    CHECK(call(connection, Command{"SET", "large", std::string(100'000, 'x')}));
    CHECK(call(connection, Command{"GET", "large"}, Access::read).errc() == Errc::corrupt_state);
    auto const swapped = call(connection, Command{"GETSET", "large", 1}, Access::write);
    CHECK(swapped.errc() == Errc::outcome_unknown);
    CHECK(swapped.cause() == Errc::corrupt_state);
    CHECK(call(connection, Command{"GET", "large"}, Access::read).value().root().text() == "1");
    CHECK(connection.statistics().reconnects == 0);

    asio::io_context io;
    Connection const shared{io, options};
    Results results;
    CHECK(call(connection, Command{"SET", "large", std::string(100'000, 'x')}));
    for (std::size_t i = 0; i < 30; ++i)
        if (i % 3 == 1)
            shared.async_execute(Command{"GET", "large"}, Access::read, results.next(i));
        else
            shared.async_execute(Command{"INCR", "counted"}, Access::write, results.next(i));
    io.run();
    for (std::size_t i = 0; i < 30; ++i)
        CHECK(results[i].errc() == (i % 3 == 1 ? Errc::corrupt_state : Errc::ok));
    CHECK(shared.statistics().reconnects == 0);
}

TEST_CASE(
    "redis connection: a wrong password is misconfigured, and appears in no text", "[redis][connection]")
{
    RedisServer server{{"--requirepass", "open sesame"}};
    Loop loop;
    auto options = server.operator_options();
    options.password = "hunter2";
    Connection const wrong{loop.context, options};
    auto first = wrong.async_execute(Command{"PING"}, Access::read, 10s, asio::use_future);
    auto second = wrong.async_execute(Command{"SET", "a", 1}, Access::write, 10s, asio::use_future);
    for (auto const& refused : {first.get(), second.get(), call(wrong, Command{"PING"})}) {
        CHECK(refused.errc() == Errc::misconfigured);
        CHECK(refused.detail().find("hunter2") == std::string::npos);
    }
    options.password.clear();
    options.client_name.clear();
    Connection const none{loop.context, options};
    CHECK(call(none, Command{"PING"}).errc() == Errc::misconfigured);
    options.password = "open sesame";
    options.client_name = "one";
    options.database = 3;
    Connection const right{loop.context, options};
    CHECK(call(right, Command{"CLIENT", "GETNAME"}).value().root().text() == "one");
    CHECK(
        call(right, Command{"CLIENT", "INFO"}).value().root().text().find(" db=3 ") !=
        std::string_view::npos);
    auto const secured = call(Connection{loop.context, "rediss://127.0.0.1:1"}, Command{"PING"});
    CHECK(secured.errc() == Errc::misconfigured);  // no TLS without its header
    CHECK(secured.detail().find("TLS") != std::string::npos);
}

TEST_CASE("redis connection: each kind of reply has its outcome", "[redis][connection]")
{
    Loop loop;
    Connection const connection{loop.context, redis_server().operator_options()};
    CHECK(call(connection, Command{"RPUSH", "list", 1}));
    CHECK(call(connection, Command{"INCR", "list"}).errc() == Errc::corrupt_state);
    CHECK(call(connection, Command{"NONSENSE"}).errc() == Errc::misconfigured);
    CHECK(call(connection, Command{"GET"}, Access::read).errc() == Errc::misconfigured);
    for (auto const* word : {"SUBSCRIBE", "multi", "Monitor", "SELECT"})
        CHECK(call(connection, Command{word, "0"}).errc() == Errc::invalid_argument);
    CHECK(call(connection, Command{"client", "reply", "off"}).errc() == Errc::invalid_argument);
    CHECK(call(connection, Command{"PING"}));

    // What a script did before an error stays done.
    for (char const* const second :
         {"redis.call('INCR', 'list')", "return redis.pcall('INCR', 'list')", "redis.call('NONSENSE')",
          "error('by itself')", "return redis.error_reply('NOPERM in script')"}) {
        redis::Script const script{std::string("redis.call('INCR', 'before') ") + second};
        CAPTURE(second);
        std::promise<Outcome<Reply>> ended;
        connection.async_evaluate(redis::Evaluation{script, 0}, Access::write, 20s, [&](Outcome<Reply> end) {
            ended.set_value(std::move(end));
        });
        CHECK(ended.get_future().get().errc() == Errc::outcome_unknown);
    }
    CHECK(call(connection, Command{"GET", "before"}, Access::read).value().root().text() == "5");
}

TEST_CASE("redis connection: a script that the server forgot is sent in full once", "[redis][connection]")
{
    RedisServer server;
    Loop loop;
    Connection const connection{loop.context, server.operator_options()};
    redis::Script const script{"return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}"};
    for (int round = 1; round <= 3; ++round) {
        auto const got =
            connection
                .async_evaluate(Evaluation{script, 1, "counter", "x\r\ny"}, Access::write, asio::use_future)
                .get()
                .value();
        CHECK(got.root()[0].text() == "counter");
        CHECK(got.root()[1].text() == "x\r\ny");
        CHECK(got.root()[2].integer() == round);
        if (round == 2)
            server.command({"SCRIPT", "FLUSH"});
    }
    CHECK(connection.statistics().commands == 5);  // twice in vain
    redis::Script const bad{"redis.call('SET', KEYS[1], 1) return redis.call('NONSENSE')"};
    auto const half =
        connection.async_evaluate(Evaluation{bad, 1, "half"}, Access::write, 5s, asio::use_future).get();
    CHECK(half.errc() == Errc::outcome_unknown);
}

}  // namespace redis_connection_test
