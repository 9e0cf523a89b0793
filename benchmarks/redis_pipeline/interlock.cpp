// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/connection.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "contestants.hpp"

#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

using namespace interlock;
namespace asio = boost::asio;
using clock_type = std::chrono::steady_clock;

/// Locks and unlocks one key, again and again.
class Chain {
public:
    Chain(
        redis::Connection connection, redis::Script script, std::string key, clock_type::time_point end,
        long& count)
        : connection_(std::move(connection)), script_(std::move(script)), key_(std::move(key)), end_(end),
          count_(&count)
    {}
    void lock()
    {
        connection_.async_execute(
            redis::Command{"SET", key_, lock_owner, "NX", "PX", 10000}, redis::Access::write,
            [this](Outcome<redis::Reply> const& reply) {
                if (!reply || !reply->root().is(redis::ReplyType::status))
                    throw std::runtime_error("busy");
                unlock();
            });
    }

private:
    void unlock()
    {
        connection_.async_evaluate(
            redis::Evaluation{script_, 1, key_, lock_owner}, redis::Access::write,
            [this](Outcome<redis::Reply> const& reply) {
                if (!reply || reply->root().integer() != 1)
                    throw std::runtime_error("not held");
                ++*count_;
                if (clock_type::now() < end_)
                    lock();
            });
    }

    redis::Connection connection_;
    redis::Script script_;
    std::string key_;
    clock_type::time_point end_;
    long* count_;
};

}  // namespace

double interlock_coroutines(Plan const& plan)
{
    asio::io_context io{1};
    redis::Connection const connection{io, plan.options("pipeline")};
    redis::Script const script{release_script};
    auto const begin = clock_type::now();
    auto const end = plan.end(begin);
    long count = 0;
    auto one = [&](std::string key) -> asio::awaitable<void> {
        do {
            auto const locked = co_await connection.async_execute(
                redis::Command{"SET", key, lock_owner, "NX", "PX", 10000}, redis::Access::write,
                asio::use_awaitable);
            if (!locked || !locked->root().is(redis::ReplyType::status))
                throw std::runtime_error("busy");
            auto const unlocked = co_await connection.async_evaluate(
                redis::Evaluation{script, 1, key, lock_owner}, redis::Access::write, asio::use_awaitable);
            if (!unlocked || unlocked->root().integer() != 1)
                throw std::runtime_error("not held");
            ++count;
        } while (clock_type::now() < end);
    };
    for (auto const& key : keys(plan))
        asio::co_spawn(io, one(key), [](std::exception_ptr failed) {
            if (failed)
                std::rethrow_exception(failed);
        });
    io.run();
    return bench::per_second_since(begin, count);
}

double interlock_callbacks(Plan const& plan)
{
    asio::io_context io{1};
    redis::Connection const connection{io, plan.options("pipeline")};
    redis::Script const script{release_script};
    auto const begin = clock_type::now();
    long count = 0;
    std::vector<Chain> chains;
    for (auto const& key : keys(plan))
        chains.emplace_back(connection, script, key, plan.end(begin), count);
    for (auto& chain : chains)
        chain.lock();
    io.run();
    return bench::per_second_since(begin, count);
}
