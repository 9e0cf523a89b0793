// SPDX-License-Identifier: BSL-1.0

#include "server.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "say.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace payments {

namespace beast = boost::beast;
using namespace std::chrono_literals;

namespace {

void tell(std::exception_ptr failed)
{
    try {
        if (failed)
            std::rethrow_exception(failed);
    } catch (std::exception const& error) {
        say("payments: {}", error.what());
    }
}

/// Now, as the field Date writes it.
std::string http_date()
{
    auto const now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    return fmt::format("{:%a, %d %b %Y %H:%M:%S GMT}", fmt::gmtime(now));
}

bool expects_continue(Request const& head)
{
    return head.version() >= 11 && beast::iequals(head[http::field::expect], "100-continue");
}

constexpr std::uint64_t most_bytes = 16 * 1024;

Response malformed(std::string const& detail)
{
    return refusal(400, "malformed_request", detail);
}

/// The answer to a request that could not be read; nothing: whoever sent it is gone.
std::optional<Response> answer_about(beast::error_code const& error)
{
    if (error == http::error::body_limit)
        return refusal(413, "too_large", "The body has more than 16 KiB.");
    if (error == http::error::header_limit)
        return refusal(431, "header_too_large", "The header has more than 8 KiB.");
    if (error == http::error::bad_version)
        return refusal(505, "version_not_supported", "HTTP/1.1 and HTTP/1.0 are spoken here.");
    if (error == http::error::end_of_stream || error == http::error::partial_message ||
        error.category() != make_error_code(http::error::bad_version).category())
        return std::nullopt;
    return malformed("This is no HTTP request: " + error.message() + ".");
}

/// The refusal of a request of which two readers would not agree where it ends or whom it is for (RFC 9112,
/// 3.2 and 6.3), or that expects what is not known here.
std::optional<Response> misframed(http::request_parser<http::string_body> const& parser)
{
    auto const& head = parser.get();
    bool const is_old = head.version() < 11;
    auto const length = head[http::field::content_length];
    if (head.count(http::field::content_length) > 1 || length.find(',') != length.npos)
        return malformed("Content-Length is there more than once.");
    if (head.count(http::field::transfer_encoding) > 0) {
        if (is_old)
            return malformed("HTTP/1.0 has no Transfer-Encoding.");
        if (!beast::iequals(head[http::field::transfer_encoding], "chunked"))
            return refusal(
                501, "not_implemented", "The only Transfer-Encoding that is known here is chunked.");
    }
    auto const hosts = head.count(http::field::host);
    if (hosts > 1 || (hosts == 0 && !is_old))
        return malformed("A request has one Host.");
    if (!is_old && head.count(http::field::expect) > 0 && !expects_continue(head))
        return refusal(417, "expectation_failed", "The only expectation that is known here is 100-continue.");
    return std::nullopt;
}

}  // namespace

Server::Server(asio::io_context& io, int listener, Api& api)
    : io_(io), acceptor_(io, asio::ip::tcp::v4(), listener), api_(api)
{
    asio::co_spawn(io_, accept(), tell);
}

void Server::stop()
{
    stopping_ = true;
    acceptor_.close();
    for (auto* const stream : idle_)
        stream->cancel();
}

asio::awaitable<void> Server::accept()
{
    asio::steady_timer pause{io_};
    while (!stopping_) {
        beast::error_code error;
        auto socket = co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, error));
        if (!error) {
            asio::co_spawn(io_, serve(Stream{std::move(socket)}), tell);
        } else if (!stopping_) {  // no more descriptors, for one
            pause.expires_after(100ms);
            co_await pause.async_wait(asio::use_awaitable);
        }
    }
}

asio::awaitable<void> Server::serve(Stream stream)
{
    beast::flat_buffer buffer;
    while (!stopping_) {
        auto const here = idle_.insert(idle_.end(), &stream);
        auto taken = co_await take(stream, buffer);
        idle_.erase(here);
        if (taken.request)
            taken.answer = co_await api_.answer(*taken.request);
        if (!taken.answer)
            break;  // nobody is there any more
        Response& answer = *taken.answer;
        bool const goes_on = taken.request && taken.request->keep_alive() && !stopping_;
        answer.set(http::field::date, http_date());
        answer.keep_alive(goes_on);
        answer.prepare_payload();
        if (taken.is_head)
            answer.body().clear();  // its length stays; a body would be read as the next answer
        beast::error_code error;
        stream.expires_after(10s);
        co_await http::async_write(stream, answer, asio::redirect_error(asio::use_awaitable, error));
        if (error || !goes_on)
            break;
    }
    co_await hang_up(stream);
}

asio::awaitable<Server::Taken> Server::take(Stream& stream, beast::flat_buffer& buffer)
{
    Taken taken;
    beast::error_code error;
    auto const token = [&error] { return asio::redirect_error(asio::use_awaitable, error); };
    if (buffer.size() == 0) {
        stream.expires_after(60s);
        buffer.commit(co_await stream.async_read_some(buffer.prepare(4096), token()));
        if (error || stopping_)
            co_return taken;
    }
    // Whoever has begun a request goes on with it: a client that sends a byte now and then holds nothing.
    stream.expires_after(15s);
    http::request_parser<http::string_body> parser;
    parser.body_limit(most_bytes);
    co_await http::async_read_header(stream, buffer, parser, token());
    auto const head = parser.get().base();
    taken.is_head = !error && head.method() == http::verb::head;
    if (!error)
        taken.answer = misframed(parser);
    if (!error && !taken.answer && expects_continue(parser.get())) {
        // A client that asks first is told at once what is wrong, and keeps its body.
        taken.answer = api_.refuse_head(parser.get());
        if (!taken.answer) {
            http::response<http::empty_body> const go_on{http::status::continue_, 11};
            co_await http::async_write(stream, go_on, token());
        }
    }
    if (!error && !taken.answer)
        co_await http::async_read(stream, buffer, parser, token());
    if (error)
        taken.answer = answer_about(error);
    if (error || taken.answer)
        co_return taken;
    taken.request = parser.release();
    // What comes behind a body in pieces is no part of the head: a key that stands there would be one that
    // whoever looks at heads has not seen.
    static_cast<http::request_header<>&>(*taken.request) = head;
    co_return taken;
}

/// A client that is still sending would lose the last answer if the connection were closed under it.
asio::awaitable<void> Server::hang_up(Stream& stream)
{
    beast::error_code error;
    stream.socket().shutdown(asio::ip::tcp::socket::shutdown_send, error);
    auto const here = idle_.insert(idle_.end(), &stream);
    std::array<char, 16 * 1024> unread{};
    stream.expires_after(2s);
    while (!error && !stopping_)
        co_await stream.async_read_some(
            asio::buffer(unread), asio::redirect_error(asio::use_awaitable, error));
    idle_.erase(here);
}

}  // namespace payments
