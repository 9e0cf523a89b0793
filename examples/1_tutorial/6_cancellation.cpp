// SPDX-License-Identifier: BSL-1.0

// Shows how an asynchronous call ends early: by its deadline while it waits, or by being cancelled while its
// operation runs; in both cases nothing was applied, and the call says so.
// Needs: nothing.
// Run with: 6_cancellation

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe.hpp>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <string>

namespace asio = boost::asio;
namespace il = interlock;
using namespace std::chrono_literals;

struct Seat {
    std::string number;
    std::string guest;
};
BOOST_DESCRIBE_STRUCT(Seat, (), (number, guest))

using Seats = il::memory::StateRepository<Seat>;
using Service = il::TransactionService<Seat, il::PessimisticRowLock, Seats>;

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

asio::awaitable<void> wait_for(std::chrono::milliseconds time)
{
    asio::steady_timer timer(co_await asio::this_coro::executor, time);
    co_await timer.async_wait(asio::use_awaitable);
}

/// Holds the seat while the guest thinks about it.
asio::awaitable<void> slow_guest(Service service)
{
    auto think = [](Seat& seat) -> asio::awaitable<void> {
        seat.guest = "ann";
        co_await wait_for(10s);
    };
    try {
        co_await service.async_do_in_transaction("12a", think, asio::use_awaitable);
        check(false);
    } catch (il::Error const& error) {
        fmt::print("ann: {}\n", error.what());
        check(error.errc() == il::Errc::cancelled && error.effect() == il::Effect::not_applied);
    }
}

/// Wants the same seat, but not for longer than 50 ms.
asio::awaitable<void> hasty_guest(Service service, asio::cancellation_signal& cancel_the_other)
{
    co_await wait_for(5ms);
    auto take = [](Seat& seat) { seat.guest = "bob"; };
    auto const early =
        co_await service.async_try_do_in_transaction("12a", take, {.deadline = 50ms}, asio::use_awaitable);
    check(early.errc() == il::Errc::deadline_exceeded);

    // The other call ends when its operation has ended, and the seat is free again.
    cancel_the_other.emit(asio::cancellation_type::terminal);
    auto const late = co_await service.async_try_do_in_transaction("12a", take, asio::use_awaitable);
    check(late.has_value());
}

int main()
{
    Seats seats;
    seats.insert({"12a", ""}).value();
    Service const service{il::PessimisticRowLock{}, seats};

    asio::io_context context;
    asio::cancellation_signal cancel;
    auto const rethrow = [](std::exception_ptr error) {
        if (error)
            std::rethrow_exception(error);
    };
    asio::co_spawn(context, slow_guest(service), asio::bind_cancellation_slot(cancel.slot(), rethrow));
    asio::co_spawn(context, hasty_guest(service, cancel), rethrow);
    auto const start = std::chrono::steady_clock::now();
    context.run();

    check(std::chrono::steady_clock::now() - start < 5s);
    auto const seat = seats.load("12a").value().value;
    fmt::print("{} is taken by {}\n", seat.number, seat.guest);
    check(seat.guest == "bob");
}
