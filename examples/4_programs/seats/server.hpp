// SPDX-License-Identifier: BSL-1.0

#ifndef SEATS_SERVER_HPP
#define SEATS_SERVER_HPP

// The server's side: states, and what HTTP makes of them.

#include <interlock/backends/memory/state_repository.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/describe/class.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace seats {

namespace http = boost::beast::http;
using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

struct Seat {
    std::string id;
    std::string taken_by;  // nobody: empty
};
BOOST_DESCRIBE_STRUCT(Seat, (), (id, taken_by))

/// Any repository will do in place of this one: it is named here only.
using Seats = interlock::memory::StateRepository<Seat>;

class Page {
public:
    static Page with_sixty_seats();

    /// GET /seats, GET /seats/A1, PUT /seats/A1.
    boost::asio::awaitable<Response> answer(Request const& request) const;

private:
    explicit Page(std::vector<std::string> ids) : ids_(std::move(ids)) {}
    boost::asio::awaitable<Response> all() const;
    boost::asio::awaitable<Response> one(std::string id, std::string_view if_none_match) const;
    boost::asio::awaitable<Response> take(std::string id, Request const& request) const;

    Seats seats_;
    std::vector<std::string> ids_;
};

/// Answers the requests of one connection.
boost::asio::awaitable<void> serve(boost::asio::ip::tcp::socket socket, Page const& page);

}  // namespace seats

#endif  // SEATS_SERVER_HPP
