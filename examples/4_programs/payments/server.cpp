// SPDX-License-Identifier: BSL-1.0

#include "server.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "say.hpp"

#include <chrono>
#include <exception>
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
    bool goes_on = !stopping_;
    while (goes_on) {
        http::request_parser<http::string_body> parser;
        parser.body_limit(16 * 1024);
        beast::error_code error;
        stream.expires_after(60s);
        auto const here = idle_.insert(idle_.end(), &stream);
        co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
        idle_.erase(here);

        Response answer;
        if (!error) {
            answer = co_await api_.answer(parser.get());
        } else if (error == http::error::body_limit) {
            answer = refusal(413, "too_large", "The body has more than 16 KiB.");
        } else {
            break;  // nobody is there any more, or what they send is no HTTP
        }
        goes_on = !error && parser.get().keep_alive() && !stopping_;
        answer.set(http::field::date, http_date());
        answer.keep_alive(goes_on);
        answer.prepare_payload();
        if (!error && parser.get().method() == http::verb::head)
            answer.body().clear();  // its length stays; a body would be read as the next answer
        stream.expires_after(10s);
        co_await http::async_write(stream, answer, asio::redirect_error(asio::use_awaitable, error));
        goes_on = goes_on && !error;
    }
    beast::error_code ignored;
    stream.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
}

}  // namespace payments
