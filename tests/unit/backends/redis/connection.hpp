// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_UNIT_BACKENDS_REDIS_CONNECTION_HPP
#define INTERLOCK_TESTS_UNIT_BACKENDS_REDIS_CONNECTION_HPP

/// @file
/// What the tests of an asynchronous connection begin with. `Results` notes the outcomes in the order in
/// which they complete. `Loop` is an io_context with threads of its own; a case that runs its context by
/// `run_until` knows that no other thread takes part.

#include <interlock/backends/redis/connection.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

namespace redis_connection_test {

using namespace interlock;
using namespace std::chrono_literals;
namespace asio = boost::asio;
using redis::Access;
using redis::Command;
using redis::Connection;
using redis::Reply;
using Result = Outcome<Reply>;

/// One command, alone.
inline Result call(
    Connection const& connection, Command command, Access access = Access::write,
    Deadline deadline = Deadline{10s})
{
    return connection.async_execute(std::move(command), access, deadline, asio::use_future).get();
}

/// What is known of commands that were started, in the order in which they completed.
struct Results {
    auto next(std::size_t i)
    {
        return [this, i](Result result) { done.emplace_back(i, std::move(result)); };
    }
    Result const& operator[](std::size_t i) const
    {
        for (auto const& entry : done)
            if (entry.first == i)
                return entry.second;
        static Result const none{Errc::ok};
        return none;
    }
    std::deque<std::pair<std::size_t, Result>> done;
};

/// An io_context and the thread that runs it.
class Loop {
public:
    explicit Loop(std::size_t threads = 1) : context(static_cast<int>(threads)), work_(context.get_executor())
    {
        for (std::size_t i = 0; i < threads; ++i)
            threads_.emplace_back([this] { context.run(); });
    }
    Loop(Loop const&) = delete;
    Loop& operator=(Loop const&) = delete;
    ~Loop()
    {
        work_.reset();
        context.stop();
        for (auto& thread : threads_)
            thread.join();
    }
    asio::io_context context;

private:
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    std::vector<std::thread> threads_;
};

/// Runs until `condition` holds.
template <class F>
bool run_until(asio::io_context& io, F condition)
{
    auto const end = std::chrono::steady_clock::now() + 20s;
    while (!condition() && std::chrono::steady_clock::now() < end) {
        io.restart();
        io.run_for(2ms);
    }
    return condition();
}

}  // namespace redis_connection_test

#endif  // INTERLOCK_TESTS_UNIT_BACKENDS_REDIS_CONNECTION_HPP
