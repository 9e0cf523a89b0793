// SPDX-License-Identifier: BSL-1.0

#include "people.hpp"

#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <fmt/format.h>

#include "server.hpp"

#include <string>
#include <utility>

namespace seats {

namespace asio = boost::asio;
namespace beast = boost::beast;

namespace {

/// A browser: one connection, one request after the other.
class Browser {
public:
    explicit Browser(asio::any_io_executor executor) : stream_(std::move(executor)) {}

    asio::awaitable<void> open(asio::ip::tcp::endpoint server)
    {
        co_await stream_.async_connect(server, asio::use_awaitable);
    }
    asio::awaitable<Response> get(std::string target, std::string if_none_match = {})
    {
        Request request{http::verb::get, target, 11};
        if (!if_none_match.empty())
            request.set(http::field::if_none_match, if_none_match);
        return send(std::move(request));
    }
    asio::awaitable<Response> put(std::string target, std::string if_match, std::string body)
    {
        Request request{http::verb::put, target, 11};
        if (!if_match.empty())
            request.set(http::field::if_match, if_match);
        request.body() = std::move(body);
        return send(std::move(request));
    }

private:
    asio::awaitable<Response> send(Request request)
    {
        request.set(http::field::host, "127.0.0.1");
        request.prepare_payload();
        co_await http::async_write(stream_, request, asio::use_awaitable);
        Response response;
        co_await http::async_read(stream_, buffer_, response, asio::use_awaitable);
        co_return response;
    }

    beast::tcp_stream stream_;
    beast::flat_buffer buffer_;
};

std::string tag_of(Response const& response)
{
    auto const tag = response[http::field::etag];
    return {tag.data(), tag.size()};
}

}  // namespace

asio::awaitable<bool> two_want_one(asio::ip::tcp::endpoint server)
{
    auto const executor = co_await asio::this_coro::executor;
    Browser ann{executor};
    Browser bob{executor};
    co_await ann.open(server);
    co_await bob.open(server);

    auto const seen_by_ann = co_await ann.get("/seats/C4");
    auto const seen_by_bob = co_await bob.get("/seats/C4");
    auto const first = co_await ann.put("/seats/C4", tag_of(seen_by_ann), "Ann");
    auto const second = co_await bob.put("/seats/C4", tag_of(seen_by_bob), "Bob");
    fmt::print(
        "Ann: {} {}\nBob: {} {}\n", first.result_int(), first.body(), second.result_int(), second.body());
    // Bob has seen now that it is Ann's, and takes another one. Nobody takes a seat without having looked.
    auto const other = co_await bob.get("/seats/C5");
    auto const third = co_await bob.put("/seats/C5", tag_of(other), "Bob");
    auto const blind = co_await bob.put("/seats/C6", "", "Bob");
    fmt::print(
        "Bob: {} {}\nBob: {} {}\n", third.result_int(), third.body(), blind.result_int(), blind.body());
    auto const same = co_await bob.get("/seats/C5", tag_of(third));
    auto const all = co_await bob.get("/seats");
    co_return first.result_int() == 200 && second.result_int() == 412 &&
        second.body() == R"({"id":"C4","taken_by":"Ann"})" && third.result_int() == 200 &&
        blind.result_int() == 428 && same.result_int() == 304 && same.body().empty() &&
        all.body().find(R"({"id":"C6"})") != std::string::npos;
}

}  // namespace seats
