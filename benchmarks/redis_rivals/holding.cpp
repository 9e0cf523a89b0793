// SPDX-License-Identifier: BSL-1.0

// Many locks that are held at once: what it costs to keep them, and what they cost other calls.

#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "contestants.hpp"

#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace interlock;
namespace asio = boost::asio;
using Store = redis::StateRepository<Stock>;
using Locks = LockStateService<Stock, Store, Assurance::fenced>;
using clock_type = std::chrono::steady_clock;

constexpr std::size_t at_once = 512;

void rethrow(std::exception_ptr failed)
{
    if (failed)
        std::rethrow_exception(failed);
}

asio::awaitable<void> take(Locks locks, std::size_t& next, std::size_t count, std::vector<Lock<Stock>>& held)
{
    AcquireOptions const options{.deadline = std::chrono::seconds{600}};
    while (next < count) {
        auto const key = "held-" + std::to_string(next++);
        held.push_back(co_await locks.async_acquire(key, options, asio::use_awaitable));
    }
}

std::vector<Lock<Stock>> take_many(asio::io_context& io, Locks const& locks, std::size_t count)
{
    std::vector<Lock<Stock>> held;
    std::size_t next = 0;
    for (std::size_t i = 0; i < at_once; ++i)
        asio::co_spawn(io, take(locks, next, count, held), rethrow);
    io.restart();
    io.run();
    return held;
}

double allocated()
{
    auto const info = ::mallinfo2();
    return static_cast<double>(info.uordblks + info.hblkhd);
}

double used_by_server(Plan const& plan)
{
    auto const text = interlock_test::RedisServer::command(plan.options("info"), {"INFO", "memory"});
    auto const at = text.find("used_memory:");
    return at == std::string::npos ? 0 : std::strtod(text.c_str() + at + 12, nullptr);
}

void say(char const* what, double figure)
{
    std::printf("%s %.6g\n", what, figure);
    std::fflush(stdout);
}

/// How many microseconds an acquire and a release take, by one thread.
double one_by_one(Plan const& plan, Locks const& locks)
{
    std::vector<std::string> keys;
    for (int i = 0; i < 256; ++i)
        keys.push_back("free-" + std::to_string(i));
    auto const begin = clock_type::now();
    auto const end = plan.end(begin);
    std::size_t count = 0;
    do {
        auto lock = locks.acquire(keys[count++ % keys.size()]);
        locks.release(lock).value();
    } while (clock_type::now() < end);
    return 1e6 / bench::per_second_since(begin, static_cast<long>(count));
}

asio::awaitable<void> again_and_again(Locks locks, std::string key, Meter& meter)
{
    AcquireOptions const options{.deadline = std::chrono::seconds{60}};
    do {
        auto lock = co_await locks.async_acquire(key, options, asio::use_awaitable);
        co_await locks.async_release(std::move(lock), asio::use_awaitable);
    } while (meter.ended(0));
}

/// The same by 512 coroutines, each on a key of its own.
double many_at_once(Plan const& plan, asio::io_context& io, Locks const& locks)
{
    Meter meter{1, plan.seconds};
    meter.start_now();
    auto const begin = clock_type::now();
    for (std::size_t i = 0; i < at_once; ++i)
        asio::co_spawn(io, again_and_again(locks, "free-" + std::to_string(i), meter), rethrow);
    io.restart();
    io.run();
    return 1e6 / bench::per_second_since(begin, meter.total());
}

/// How many bytes each of `count` handlers takes that wait for one held key.
double waiting(asio::io_context& io, Locks const& locks, std::size_t count, Plan const& plan, double& server)
{
    auto lock = locks.acquire("wanted");
    auto const before = allocated();
    auto const server_before = used_by_server(plan);
    AcquireOptions const options{.deadline = std::chrono::seconds{600}};
    std::string const key = "wanted";
    std::size_t granted = 0;
    for (std::size_t i = 0; i < count; ++i)
        locks.async_acquire(key, options, asio::bind_executor(io, [&](error_code failed, Lock<Stock> one) {
                                if (failed)
                                    throw std::runtime_error("a waiter was let down");
                                ++granted;
                                one = {};
                            }));
    io.restart();
    io.poll();
    auto const after = allocated();
    server = (used_by_server(plan) - server_before) / static_cast<double>(count);
    locks.release(lock).value();
    while (granted < count) {
        io.restart();
        io.run_for(std::chrono::milliseconds{10});
    }
    return (after - before) / static_cast<double>(count);
}

}  // namespace

void leases(Plan const& plan, Arguments const& arguments)
{
    auto const count = static_cast<std::size_t>(std::stoul(arguments.at(0)));
    LockOptions options;
    options.ttl = std::chrono::milliseconds{std::stol(arguments.at(1))};
    asio::io_context io{1};
    Locks const locks{Store{redis::Client{io, plan.options("leases")}}, options};
    locks.release(locks.acquire("first")).value();
    auto held = take_many(io, locks, count);
    Meter meter{1, plan.seconds};
    meter.start_when_told();
    asio::steady_timer timer{io, meter.end()};
    timer.async_wait([](error_code) {});
    io.restart();
    io.run();
    meter.print();
    std::size_t lost = 0;
    for (auto& lock : held)
        if (lock.status() != LockStatus::held || !locks.release(lock))
            ++lost;
    say("lost", static_cast<double>(lost));
}

/// After `ready` the process is told lines, and answers each by `figure`: `one SECONDS` and `many SECONDS`
/// (acquire and release other keys through the service that holds the locks), `fresh SECONDS` (through
/// another service), `waiters N`.
void growth(Plan const& plan, Arguments const& arguments)
{
    auto const count = static_cast<std::size_t>(std::stoul(arguments.at(0)));
    LockOptions options;
    options.ttl = std::chrono::hours{1};
    asio::io_context io{1};
    Locks const locks{Store{redis::Client{io, plan.options("growth")}}, options};
    Locks const fresh{Store{redis::Client{io, plan.options("growth")}}, options};
    for (auto const* service : {&locks, &fresh})
        static_cast<void>(one_by_one({plan.socket, 0.02, 0}, *service));
    static_cast<void>(many_at_once({plan.socket, 0.02, 0}, io, locks));
    auto const before = allocated();
    auto const server_before = used_by_server(plan);
    auto const held = take_many(io, locks, count);
    auto const each = 1 / static_cast<double>(count);
    say("process", (allocated() - before) * each);
    say("server", (used_by_server(plan) - server_before) * each);
    std::printf("ready\n");
    std::fflush(stdout);
    double number = 0;
    for (std::string word; std::cin >> word >> number;) {
        Plan const now{plan.socket, number, plan.run};
        if (word == "one")
            say("figure", one_by_one(now, locks));
        else if (word == "fresh")
            say("figure", one_by_one(now, fresh));
        else if (word == "many")
            say("figure", many_at_once(now, io, locks));
        else if (word == "waiters") {
            double server = 0;
            auto const bytes = waiting(io, locks, static_cast<std::size_t>(number), plan, server);
            say("server", server);
            say("figure", bytes);
        }
    }
    std::fflush(stdout);
    ::_exit(0);  // to give a million locks back is not what is measured, and the server ends, too
}
