// SPDX-License-Identifier: BSL-1.0

// Shows: a page of seats that many people look at and some of them take, over HTTP. What a person has seen
// is the version of the state, which goes out as ETag and comes back as If-Match: a seat that somebody else
// took meanwhile is not taken again, and the loser is told who has it. README.md tells it step by step.
// Needs: nothing.
// Run with: seats            (two people want one seat; both sides of the wire are in this program)
//           seats 8080       (a server; README.md has the lines for curl)

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <fmt/format.h>

#include "people.hpp"
#include "server.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>

namespace asio = boost::asio;

namespace {

asio::awaitable<void> serve(asio::ip::tcp::acceptor& acceptor, seats::Page const& page)
{
    asio::steady_timer pause{acceptor.get_executor()};
    for (;;) {
        boost::system::error_code error;
        auto socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
        if (!error) {
            asio::co_spawn(acceptor.get_executor(), seats::serve(std::move(socket), page), asio::detached);
        } else {  // no more descriptors, for one: there are some again when a connection ends
            pause.expires_after(std::chrono::milliseconds{100});
            co_await pause.async_wait(asio::use_awaitable);
        }
    }
}

}  // namespace

int main(int argc, char** argv)
{
    auto const port = static_cast<unsigned short>(argc > 1 ? std::atoi(argv[1]) : 0);
    try {
        asio::io_context io{1};  // one thread: nothing here blocks it, whatever the store
        asio::ip::tcp::acceptor acceptor{io, {asio::ip::make_address("127.0.0.1"), port}};
        auto const page = seats::Page::with_sixty_seats();
        asio::co_spawn(io, serve(acceptor, page), asio::detached);
        if (port != 0) {
            fmt::print("http://127.0.0.1:{}/seats\n", port);
            std::fflush(stdout);
            io.run();
            return 0;
        }
        bool right = false;
        asio::co_spawn(
            io, seats::two_want_one(acceptor.local_endpoint()), [&](std::exception_ptr error, bool result) {
                if (error)
                    std::rethrow_exception(error);
                right = result;
                io.stop();
            });
        io.run();
        return right ? 0 : 1;
    } catch (std::exception const& error) {
        std::fprintf(stderr, "seats: %s\n", error.what());  // fmt::print may throw
        return 1;
    }
}
