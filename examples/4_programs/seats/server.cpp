// SPDX-License-Identifier: BSL-1.0

#include "server.hpp"

#include <interlock/http/idempotency.hpp>
#include <interlock/interlock.hpp>

#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <optional>
#include <system_error>
#include <utility>

namespace seats {

namespace il = interlock;
namespace asio = boost::asio;
namespace beast = boost::beast;
using namespace std::chrono_literals;

namespace {

std::string etag(il::Version version)
{
    return fmt::format("\"{}\"", version);
}

/// The version in an entity tag of ours; nothing: it is none. `"01"` is another tag than `"1"`.
std::optional<il::Version> version_of(std::string_view tag)
{
    auto const whole = tag;
    if (tag.size() < 3 || tag.front() != '"' || tag.back() != '"')
        return std::nullopt;
    tag = tag.substr(1, tag.size() - 2);
    il::Version version{};
    auto const end = std::from_chars(tag.data(), tag.data() + tag.size(), version);
    if (end.ec != std::errc{} || version <= il::no_version || etag(version) != whole)
        return std::nullopt;
    return version;
}

std::string json(Seat const& seat)
{
    return seat.taken_by.empty() ? fmt::format(R"({{"id":"{}"}})", seat.id)
                                 : fmt::format(R"({{"id":"{}","taken_by":"{}"}})", seat.id, seat.taken_by);
}

Response response(http::status status, std::string body)
{
    Response made{status, 11};
    made.set(http::field::content_type, "application/json");
    made.body() = std::move(body);
    return made;
}

Response seen(http::status status, il::Versioned<Seat> const& seat)
{
    auto made = response(status, json(seat.value));
    made.set(http::field::etag, etag(seat.version));
    return made;
}

Response problem(http::status status, std::string_view title)
{
    auto made = response(status, fmt::format(R"({{"title":"{}"}})", title));
    made.set(http::field::content_type, "application/problem+json");
    return made;
}

/// What the store could not do, or may have done.
Response failed(il::Failure const& failure)
{
    if (failure.errc() == il::Errc::not_found)
        return problem(http::status::not_found, "there is no such seat");
    auto const status = http::int_to_status(static_cast<unsigned>(il::http::status_of(failure)));
    auto made = problem(
        status, failure.errc() == il::Errc::outcome_unknown ? "you may have it or not: look at the seat again"
                                                            : il::name_of(failure.errc()));
    if (auto const seconds = il::http::retry_after(failure))
        made.set(http::field::retry_after, std::to_string(seconds->count()));
    return made;
}

/// Letters, digits and spaces, so that a name needs no escapes in JSON.
bool is_name(std::string_view name)
{
    constexpr std::string_view known = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ";
    return !name.empty() && name.size() <= 40 && name.find_first_not_of(known) == std::string_view::npos;
}

}  // namespace

Page Page::with_sixty_seats()
{
    std::vector<std::string> ids;
    for (char row = 'A'; row <= 'F'; ++row)
        for (int number = 1; number <= 10; ++number)
            ids.push_back(fmt::format("{}{}", row, number));
    Page page{std::move(ids)};
    for (auto const& id : page.ids_)
        page.seats_.insert({id, ""}).value();
    return page;
}

asio::awaitable<Response> Page::all() const
{
    auto const found = co_await seats_.async_load(ids_, asio::use_awaitable);
    if (!found)
        co_return failed(found.failure());
    std::string body;
    for (auto const& seat : *found)
        if (seat)
            body += (body.empty() ? "[" : ",\n ") + json(seat->value);
    co_return response(http::status::ok, body + "]\n");
}

asio::awaitable<Response> Page::one(std::string id, std::string_view if_none_match) const
{
    auto const found = co_await seats_.async_load(id, asio::use_awaitable);
    if (!found)
        co_return failed(found.failure());
    auto made = seen(http::status::ok, *found);
    if (if_none_match == etag(found->version)) {  // the caller has it already
        made.result(http::status::not_modified);
        made.body().clear();
    }
    co_return made;
}

asio::awaitable<Response> Page::take(std::string id, Request const& request) const
{
    auto const tag = request[http::field::if_match];
    if (tag.empty())
        co_return problem(
            http::status::precondition_required, "say in If-Match which version of the seat you have seen");
    auto const version = version_of({tag.data(), tag.size()});
    if (!version)
        co_return problem(http::status::bad_request, "If-Match is no entity tag of this server");
    if (!is_name(request.body()))
        co_return problem(http::status::bad_request, "the body is a name of letters, digits and spaces");

    // #region take
    Seat const taken{id, request.body()};
    auto const saved = co_await il::async_save_if(seats_, *version, taken, asio::use_awaitable);
    if (saved)
        co_return seen(http::status::ok, {taken, *saved});
    if (saved.errc() != il::Errc::version_conflict)
        co_return failed(saved.failure());
    // Somebody was first. A person decides, and so has to see what is there now.
    auto const now = co_await seats_.async_load(id, asio::use_awaitable);
    if (!now)
        co_return failed(now.failure());
    co_return seen(http::status::precondition_failed, *now);
    // #endregion take
}

asio::awaitable<Response> Page::answer(Request const& request) const
{
    constexpr std::string_view root = "/seats";
    std::string_view const target{request.target().data(), request.target().size()};
    // To HEAD goes what would go to GET, without the body: see serve().
    auto const method = request.method() == http::verb::head ? http::verb::get : request.method();
    if (target == root && method == http::verb::get)
        co_return co_await all();
    if (!target.starts_with("/seats/") || target == "/seats/")
        co_return problem(http::status::not_found, "there is only /seats");
    std::string const id{target.substr(root.size() + 1)};
    if (method == http::verb::get) {
        auto const tag = request[http::field::if_none_match];
        co_return co_await one(id, {tag.data(), tag.size()});
    }
    if (method == http::verb::put)
        co_return co_await take(id, request);
    co_return problem(http::status::method_not_allowed, "GET or PUT");
}

asio::awaitable<void> serve(asio::ip::tcp::socket socket, Page const& page)
{
    beast::tcp_stream stream{std::move(socket)};
    beast::flat_buffer buffer;
    try {
        for (;;) {
            Request request;
            stream.expires_after(30s);
            co_await http::async_read(stream, buffer, request, asio::use_awaitable);
            auto response = co_await page.answer(request);
            response.keep_alive(request.keep_alive());
            response.prepare_payload();
            if (request.method() == http::verb::head)
                response.body().clear();  // its length stays; a body would be read as the next answer
            co_await http::async_write(stream, response, asio::use_awaitable);
            if (!response.keep_alive())
                break;
        }
    } catch (boost::system::system_error const&) {  // the other side has gone
    }
}

}  // namespace seats
