// SPDX-License-Identifier: BSL-1.0

// Shows many coroutines on one Redis connection: locks and transactions of all of them leave in few writes,
// on the executor that the client was given. Needs: a Redis server, 7.0 or later, whose URL is the argument;
// without one it says so and does nothing.
// Run with: redis_coroutines redis://localhost

#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe.hpp>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>

namespace asio = boost::asio;
namespace il = interlock;
using namespace std::chrono_literals;

struct Seat {
    std::string id;
    std::string taken_by;
};
BOOST_DESCRIBE_STRUCT(Seat, (), (id, taken_by))

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("redis_coroutines: name a server, like redis://localhost\n");
        return 77;
    }
    asio::io_context io;
    // #region redis_coroutines
    il::redis::Client const client{io, argv[1]};  // asynchronous calls run on `io`, over one connection
    il::redis::StateRepository<Seat> const seats{client, {.name_space = "examples.seats"}};
    // #endregion redis_coroutines
    il::TransactionService const service{
        il::SetNxLock{.lock = {.ttl = 10s}, .missing = il::Missing::create}, seats};
    auto const round = fmt::format("{:016x}", il::SystemRuntime::random_bits());

    // Three hundred people want one of a hundred seats.
    int got = 0;
    for (int person = 0; person < 300; ++person)
        asio::co_spawn(
            io,
            [&, person]() -> asio::awaitable<void> {
                auto const seat = fmt::format("{}-{}", round, person % 100);
                auto const take = [person](Seat& s) {
                    if (!s.taken_by.empty())
                        return false;
                    s.taken_by = fmt::format("person {}", person);
                    return true;
                };
                got += co_await service.async_do_in_transaction(seat, take, asio::use_awaitable);
            },
            [](std::exception_ptr failed) {
                if (failed)
                    std::rethrow_exception(failed);
            });
    io.run();
    auto const wire = client.statistics();
    fmt::print("{} seats taken; {} commands in {} writes\n", got, wire.commands, wire.writes);
    check(got == 100);
}
