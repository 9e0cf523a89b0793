// SPDX-License-Identifier: BSL-1.0

#include "api.hpp"

#include <interlock/core/runtime/runtime.hpp>
#include <interlock/http/idempotency.hpp>

#include <boost/json.hpp>
#include <fmt/format.h>

#include "body.hpp"
#include "payments_assets.hpp"  // page.html and openapi.json, made by CMake
#include "say.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iterator>
#include <optional>
#include <utility>

namespace payments {

namespace json = boost::json;

namespace {

Response response(int status, std::string_view type, std::string body)
{
    Response response;
    response.result(static_cast<unsigned>(status));
    response.set(http::field::content_type, type);
    response.set(http::field::cache_control, "no-store");
    response.body() = std::move(body);
    return response;
}

Response response(il::http::Problem const& problem)
{
    auto answer = response(problem.status, il::http::problem_type, problem.body());
    if (problem.retry_after)
        answer.set(http::field::retry_after, std::to_string(problem.retry_after->count()));
    return answer;
}

Response response(int status, json::object const& body)
{
    return response(status, "application/json", json::serialize(body));
}

/// All fields of this name as one, as RFC 9110 has it: so a key that is sent twice is noticed.
std::string field_of(Request const& request, std::string_view name)
{
    std::string all;
    auto const [first, last] = request.equal_range({name.data(), name.size()});
    for (auto field = first; field != last; ++field)
        all.append(field == first ? "" : ", ").append(field->value().data(), field->value().size());
    return all;
}

/// The caller's trace with a span of our own, or a new trace.
il::TraceContext trace_of(Request const& request)
{
    using il::SystemRuntime;
    auto const caller = il::TraceContext::parse(field_of(request, "traceparent"));
    return caller ? caller->child(SystemRuntime::random_bits())
                  : il::TraceContext::root(
                        SystemRuntime::random_bits(), SystemRuntime::random_bits(),
                        SystemRuntime::random_bits());
}

Response bad_body(Body const& body, std::string const& form)
{
    auto const& mistake = body.mistake();
    return refusal(400, "invalid_body", mistake.empty() ? "The body must be " + form + "." : mistake);
}

// ---- paths ---------------------------------------------------------------------------------------

int hex_digit(char c)
{
    constexpr std::string_view digits = "0123456789abcdef";
    auto const found = digits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c);
    return found == std::string_view::npos ? -1 : static_cast<int>(found);
}

/// `text` with what stands in it as %41; nothing: a per cent sign that two digits do not follow.
std::optional<std::string> decoded(std::string_view text)
{
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            plain += text[i];
            continue;
        }
        int const high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        int const low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0)
            return std::nullopt;
        plain += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return plain;
}

/// The segments of the path in `target`, which may be written as to a proxy: http://host/path?query.
std::optional<std::vector<std::string>> path_in(std::string_view target)
{
    target = target.substr(0, target.find('?'));
    if (auto const scheme = target.find("://"); scheme == 4 || scheme == 5) {
        auto const begin = target.find('/', scheme + 3);
        target = begin == std::string_view::npos ? "/" : target.substr(begin);
    }
    if (!target.starts_with('/'))
        return std::nullopt;
    std::vector<std::string> segments;
    while (!target.empty()) {
        target.remove_prefix(1);
        auto segment = decoded(target.substr(0, target.find('/')));
        if (!segment)
            return std::nullopt;
        segments.push_back(*std::move(segment));
        target.remove_prefix(std::min(target.find('/'), target.size()));
    }
    return segments;
}

/// The path as openapi.json has it, or "other".
std::string pattern_of(std::vector<std::string> const& path)
{
    constexpr std::string_view known[] = {"",        "payments",     "transfers", "health",
                                          "metrics", "openapi.json", "unplug"};
    if (path.size() == 1 && std::find(std::begin(known), std::end(known), path[0]) != std::end(known))
        return "/" + path[0];
    return path.size() == 2 && path[0] == "accounts" && !path[1].empty() ? "/accounts/{id}" : "other";
}

bool is_post(std::string_view pattern)
{
    return pattern == "/payments" || pattern == "/transfers" || pattern == "/unplug";
}

}  // namespace

Response refusal(int status, std::string const& code, std::string const& detail)
{
    il::http::Problem problem;
    problem.status = status;
    problem.title = http::obsolete_reason(static_cast<http::status>(status));
    problem.detail = detail;
    problem.code = code;
    return response(problem);
}

Api::Asked::Asked(Request const& given)
    : request(given), trace(trace_of(given)), path(path_in({given.target().data(), given.target().size()})),
      pattern(path ? pattern_of(*path) : "other")
{}

asio::awaitable<Response> Api::answer(Request const& request)
{
    Asked const asked{request};
    ++metrics_.under_way;
    Response answer;
    try {
        answer = co_await route(asked);
    } catch (il::Error const& error) {  // of a statement in an operation, which was rolled back
        answer = response(il::http::problem_of(error));
    } catch (std::exception const& error) {  // a fault of this program: it is not known how far it came
        say("payments: trace={} {}", asked.trace.trace_id_text(), error.what());
        answer = response(il::http::problem_of(il::Errc::outcome_unknown));
    }
    --metrics_.under_way;
    co_return finish(asked, std::move(answer));
}

std::optional<Response> Api::refuse_head(Request const& request)
{
    Asked const asked{request};
    auto refused = refuse(asked);
    if (refused)
        return finish(asked, *std::move(refused));
    return std::nullopt;
}

Response Api::finish(Asked const& asked, Response answer)
{
    answer.set("traceparent", asked.trace.traceparent());
    auto const time = std::chrono::steady_clock::now() - asked.begin;
    auto const method = std::string(http::to_string(asked.request.method()));
    auto const status = static_cast<int>(answer.result_int());
    metrics_.answered(method, asked.pattern, status, time);
    if (options_.log)
        say("method={} route={} status={} replayed={} seconds={:.4f} trace={}", method, asked.pattern, status,
            answer.count(il::http::replayed_field), std::chrono::duration<double>(time).count(),
            asked.trace.trace_id_text());
    return answer;
}

/// What the head alone says is wrong.
std::optional<Response> Api::refuse(Asked const& asked) const
{
    auto const method = asked.request.method();
    if (method == http::verb::unknown)
        return refusal(501, "not_implemented", "This method is not known here.");
    if (!asked.path)
        return refusal(400, "malformed_request", "The target of the request is no path.");
    if (asked.pattern == "other")
        return refusal(404, "not_found", "There is nothing under this name.");
    bool const posted = is_post(asked.pattern);
    // To HEAD the server sends what it would send to GET, without the body.
    if (posted ? method != http::verb::post : method != http::verb::get && method != http::verb::head) {
        auto answer = refusal(405, "method_not_allowed", "This is not what can be done here.");
        answer.set(http::field::allow, posted ? "POST" : "GET, HEAD");
        return answer;
    }
    if (posted && asked.pattern != "/unplug")
        if (auto const once = request_of(asked.request, asked.pattern); !once)
            return response(il::http::problem_of(once.failure()));
    return std::nullopt;
}

asio::awaitable<Response> Api::route(Asked const& asked)
{
    if (auto refused = refuse(asked))
        co_return *std::move(refused);
    auto const& pattern = asked.pattern;
    if (pattern == "/payments")
        co_return co_await pay(asked.request);
    if (pattern == "/transfers")
        co_return co_await transfer(asked.request);
    if (pattern == "/accounts/{id}")
        co_return co_await account(asked.path->back());
    if (pattern == "/health")
        co_return co_await health();
    if (pattern == "/metrics")
        co_return response(200, "text/plain; version=0.0.4; charset=utf-8", metrics_.text());
    if (pattern == "/openapi.json")
        co_return response(200, "application/json", std::string(openapi_json));
    if (pattern == "/unplug")
        co_return unplug(asked.request);
    co_return response(200, "text/html; charset=utf-8", std::string(page_html));
}

// #region pay
asio::awaitable<Response> Api::pay(Request const& request)
{
    auto const once = request_of(request, "/payments");
    if (!once)
        co_return response(il::http::problem_of(once.failure()));
    Body const body{request.body(), {"account", "amount"}};
    auto const account = body.name("account");
    auto const amount = body.amount("amount");
    if (!account || !amount)
        co_return bad_body(body, R"({"account": NAME, "amount": CENTS})");
    Payment const payment{*account, *amount};
    auto const answered = co_await bank_.pay(*once, payment);
    co_return reply_with(answered);
}
// #endregion pay

asio::awaitable<Response> Api::transfer(Request const& request)
{
    auto const once = request_of(request, "/transfers");
    if (!once)
        co_return response(il::http::problem_of(once.failure()));
    Body const body{request.body(), {"from", "to", "amount"}};
    auto const from = body.name("from");
    auto const to = body.name("to");
    auto const amount = body.amount("amount");
    if (!from || !to || *from == *to || !amount)
        co_return bad_body(body, R"({"from": NAME, "to": another NAME, "amount": CENTS})");
    Transfer const transfer{*from, *to, *amount};
    auto const answered = co_await bank_.transfer(*once, transfer);
    co_return reply_with(answered);
}

/// A real service knows its caller, and puts the caller's name into the scope: keys of two never meet.
il::Outcome<il::IdempotentRequest> Api::request_of(Request const& request, std::string_view path) const
{
    auto const key = options_.careless ? std::to_string(il::SystemRuntime::random_bits())
                                       : field_of(request, il::http::idempotency_key_field);
    return il::http::request_of(key, il::Scope{fmt::format("POST {}", path)}, request.body());
}

Response Api::reply_with(Answered const& answered)
{
    if (!answered)
        return response(il::http::problem_of(answered.failure()));
    if (dies_after_commit_)
        ::kill(::getpid(), SIGKILL);  // paid, and nobody was told
    Reply const& reply = answered->value();
    auto const* const type = reply.status == created ? "application/json" : il::http::problem_type;
    auto answer = response(reply.status, type, reply.body);
    if (answered->replayed())
        answer.set(il::http::replayed_field, "true");
    return answer;
}

asio::awaitable<Response> Api::account(std::string id)
{
    auto const loaded = co_await bank_.account(std::move(id));
    if (!loaded)
        co_return response(il::http::problem_of(loaded.failure()));
    co_return response(200, {{"id", loaded->id}, {"balance", loaded->balance}, {"entries", loaded->entries}});
}

asio::awaitable<Response> Api::health()
{
    auto const loaded = co_await bank_.account(first_accounts[0].id);
    if (!loaded)
        co_return response(il::http::problem_of(loaded.failure()));
    auto const store = options_.store.substr(0, options_.store.find(':'));
    co_return response(
        200, {{"status", "ok"}, {"store", store}, {"worker", ::getpid()}, {"plug", options_.plug}});
}

/// For the page: kills this worker, at once or when it has next committed and not yet answered.
Response Api::unplug(Request const& request)
{
    if (!options_.plug)
        return refusal(404, "not_found", "There is no plug: the server was started without --plug.");
    if (is_in_memory(options_.store))
        return refusal(409, "in_memory", "The accounts are in the worker's memory, and would go with it.");
    Body const body{request.body(), {"when"}};
    auto const when = body.name("when");
    if (when == "now")
        ::kill(::getpid(), SIGKILL);
    if (when != "after commit")
        return bad_body(body, R"({"when": "now"} or {"when": "after commit"})");
    dies_after_commit_ = true;
    return response(202, {{"when", *when}});
}

}  // namespace payments
