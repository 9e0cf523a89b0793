// SPDX-License-Identifier: BSL-1.0

#include "api.hpp"

#include <interlock/core/runtime/runtime.hpp>
#include <interlock/http/idempotency.hpp>
#include <interlock/observability/trace_context.hpp>

#include <boost/json.hpp>
#include <fmt/format.h>

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
        all.append(all.empty() ? "" : ", ").append(field->value().data(), field->value().size());
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

std::optional<json::object> object_in(std::string_view body)
{
    json::error_code error;
    auto value = json::parse({body.data(), body.size()}, error);
    if (error || !value.is_object())
        return std::nullopt;
    return std::move(value.as_object());
}

std::optional<std::string> name_in(json::object const& body, std::string_view member)
{
    auto const* const value = body.if_contains({member.data(), member.size()});
    if (value == nullptr || !value->is_string() || value->as_string().empty() ||
        value->as_string().size() > 64)
        return std::nullopt;
    return std::string(value->as_string());
}

std::optional<std::int64_t> amount_in(json::object const& body)
{
    auto const* const value = body.if_contains("amount");
    if (value == nullptr || !value->is_int64() || value->as_int64() < 1 || value->as_int64() > 100'000'000)
        return std::nullopt;
    return value->as_int64();
}

Response bad_body(std::string const& what)
{
    return refusal(400, "invalid_body", "The body must be " + what + ".");
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

asio::awaitable<Response> Api::answer(Request const& request)
{
    auto const trace = trace_of(request);
    auto const begin = std::chrono::steady_clock::now();
    std::string pattern = "other";
    ++metrics_.under_way;
    Response answer;
    try {
        answer = co_await route(request, pattern);
    } catch (il::Error const& error) {  // of a statement in an operation, which was rolled back
        answer = response(il::http::problem_of(error));
    } catch (std::exception const& error) {  // a fault of this program: it is not known how far it came
        say("payments: trace={} {}", trace.trace_id_text(), error.what());
        answer = response(il::http::problem_of(il::Errc::outcome_unknown));
    }
    --metrics_.under_way;
    answer.set("traceparent", trace.traceparent());
    auto const time = std::chrono::steady_clock::now() - begin;
    auto const method = std::string(http::to_string(request.method()));
    auto const status = static_cast<int>(answer.result_int());
    metrics_.answered(method, pattern, status, time);
    if (options_.log)
        say("method={} route={} status={} replayed={} seconds={:.4f} trace={}", method, pattern, status,
            answer.count(il::http::replayed_field), std::chrono::duration<double>(time).count(),
            trace.trace_id_text());
    co_return answer;
}

asio::awaitable<Response> Api::route(Request const& request, std::string& pattern)
{
    auto const target = std::string(request.target().substr(0, request.target().find('?')));
    constexpr std::string_view accounts = "/accounts/";
    bool const is_account = target.starts_with(accounts) && target.size() > accounts.size();
    constexpr std::string_view known[] = {"/",        "/payments",     "/transfers", "/health",
                                          "/metrics", "/openapi.json", "/unplug"};
    if (!is_account && std::find(std::begin(known), std::end(known), target) == std::end(known))
        co_return refusal(404, "not_found", "There is nothing under this name.");
    pattern = is_account ? "/accounts/{id}" : target;

    bool const is_post = target == "/payments" || target == "/transfers" || target == "/unplug";
    // To HEAD the server sends what it would send to GET, without the body.
    auto const method = request.method() == http::verb::head ? http::verb::get : request.method();
    if (method != (is_post ? http::verb::post : http::verb::get)) {
        auto answer = refusal(405, "method_not_allowed", "This is not what can be done here.");
        answer.set(http::field::allow, is_post ? "POST" : "GET, HEAD");
        co_return answer;
    }
    if (target == "/payments")
        co_return co_await pay(request);
    if (target == "/transfers")
        co_return co_await transfer(request);
    if (is_account)
        co_return co_await account(target.substr(accounts.size()));
    if (target == "/health")
        co_return co_await health();
    if (target == "/metrics")
        co_return response(200, "text/plain; version=0.0.4; charset=utf-8", metrics_.text());
    if (target == "/openapi.json")
        co_return response(200, "application/json", std::string(openapi_json));
    if (target == "/unplug")
        co_return unplug(request);
    co_return response(200, "text/html; charset=utf-8", std::string(page_html));
}

// #region pay
asio::awaitable<Response> Api::pay(Request const& request)
{
    auto const once = request_of(request, "POST /payments");
    if (!once)
        co_return response(il::http::problem_of(once.failure()));
    auto const body = object_in(request.body());
    auto const account = body ? name_in(*body, "account") : std::nullopt;
    auto const amount = body ? amount_in(*body) : std::nullopt;
    if (!account || !amount)
        co_return bad_body(R"({"account": NAME, "amount": CENTS})");
    Payment const payment{*account, *amount};
    auto const answered = co_await bank_.pay(*once, payment);
    co_return reply_with(answered);
}
// #endregion pay

asio::awaitable<Response> Api::transfer(Request const& request)
{
    auto const once = request_of(request, "POST /transfers");
    if (!once)
        co_return response(il::http::problem_of(once.failure()));
    auto const body = object_in(request.body());
    auto const from = body ? name_in(*body, "from") : std::nullopt;
    auto const to = body ? name_in(*body, "to") : std::nullopt;
    auto const amount = body ? amount_in(*body) : std::nullopt;
    if (!from || !to || *from == *to || !amount)
        co_return bad_body(R"({"from": NAME, "to": another NAME, "amount": CENTS})");
    Transfer const transfer{*from, *to, *amount};
    auto const answered = co_await bank_.transfer(*once, transfer);
    co_return reply_with(answered);
}

/// A real service knows its caller, and puts the caller's name into the scope: keys of two never meet.
il::Outcome<il::IdempotentRequest> Api::request_of(Request const& request, std::string_view operation) const
{
    auto const key = options_.careless ? std::to_string(il::SystemRuntime::random_bits())
                                       : field_of(request, il::http::idempotency_key_field);
    return il::http::request_of(key, il::Scope{operation}, request.body());
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
    auto const body = object_in(request.body());
    auto const when = body ? name_in(*body, "when") : std::nullopt;
    if (when == "now")
        ::kill(::getpid(), SIGKILL);
    if (when != "after commit")
        return bad_body(R"({"when": "now"} or {"when": "after commit"})");
    dies_after_commit_ = true;
    return response(202, {{"when", *when}});
}

}  // namespace payments
