// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_PAYMENTS_API_HPP
#define INTERLOCK_EXAMPLES_PAYMENTS_API_HPP

// What a request is answered with. openapi.json describes it; a test holds the two together.

#include <interlock/observability/trace_context.hpp>

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

#include "bank.hpp"
#include "metrics.hpp"
#include "options.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace payments {

namespace http = boost::beast::http;
using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

class Api {
public:
    /// All three must outlive it.
    Api(Bank& bank, Metrics& metrics, Options const& options)
        : bank_(bank), metrics_(metrics), options_(options)
    {}

    /// Never fails: what goes wrong is an answer, too.
    asio::awaitable<Response> answer(Request const& request);
    /// What is wrong with a request of which nothing but the head is there yet; nothing: its body is wanted.
    std::optional<Response> refuse_head(Request const& request);

private:
    /// One request, from its beginning to its answer.
    struct Asked {
        explicit Asked(Request const& request);

        Request const& request;
        il::TraceContext trace;
        std::chrono::steady_clock::time_point begin{std::chrono::steady_clock::now()};
        std::optional<std::vector<std::string>> path;  // its segments; nothing: it is no path
        std::string pattern;                           // the path as openapi.json has it
    };
    Response finish(Asked const& asked, Response answer);
    std::optional<Response> refuse(Asked const& asked) const;
    asio::awaitable<Response> route(Asked const& asked);
    asio::awaitable<Response> pay(Request const& request);
    asio::awaitable<Response> transfer(Request const& request);
    asio::awaitable<Response> account(std::string id);
    asio::awaitable<Response> health();
    Response unplug(Request const& request);
    il::Outcome<il::IdempotentRequest> request_of(Request const& request, std::string_view path) const;
    Response reply_with(Answered const& answered);

    Bank& bank_;
    Metrics& metrics_;
    Options const& options_;
    bool dies_after_commit_{false};
};

/// An answer about something that is wrong with the request, as RFC 9457 has it.
Response refusal(int status, std::string const& code, std::string const& detail);

}  // namespace payments

#endif  // INTERLOCK_EXAMPLES_PAYMENTS_API_HPP
