// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_PAYMENTS_SERVER_HPP
#define INTERLOCK_EXAMPLES_PAYMENTS_SERVER_HPP

// HTTP: connections, and how they end.

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>

#include "api.hpp"

#include <list>
#include <optional>

namespace payments {

/// Serves on the thread that runs `io`. Nothing blocks that thread: the store's calls are awaited.
class Server {
public:
    /// Accepts on `listener`, a socket that is bound and listens. `api` must outlive `io`'s run.
    Server(asio::io_context& io, int listener, Api& api);

    /// Accepts nobody any more and hangs up where nothing is under way; what is under way is answered first.
    /// `io` then has nothing left to do, and its run ends.
    void stop();

private:
    using Stream = boost::beast::tcp_stream;

    asio::awaitable<void> accept();
    asio::awaitable<void> serve(Stream stream);
    /// What came next on a connection: a request, or the answer to something that is none.
    struct Taken {
        std::optional<Request> request;
        std::optional<Response> answer;  // neither of the two: nobody is there any more
        bool is_head{false};             // of the method HEAD
    };
    asio::awaitable<Taken> take(Stream& stream, boost::beast::flat_buffer& buffer);
    asio::awaitable<void> hang_up(Stream& stream);

    asio::io_context& io_;
    asio::ip::tcp::acceptor acceptor_;
    Api& api_;
    std::list<Stream*> idle_;  // those that wait for a request
    bool stopping_{false};
};

}  // namespace payments

#endif  // INTERLOCK_EXAMPLES_PAYMENTS_SERVER_HPP
