// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_PAYMENTS_API_HPP
#define INTERLOCK_EXAMPLES_PAYMENTS_API_HPP

// What a request is answered with. openapi.json describes it; a test holds the two together.

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

#include "bank.hpp"
#include "metrics.hpp"
#include "options.hpp"

#include <string>
#include <string_view>

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

private:
    asio::awaitable<Response> route(Request const& request, std::string& pattern);
    asio::awaitable<Response> pay(Request const& request);
    asio::awaitable<Response> transfer(Request const& request);
    asio::awaitable<Response> account(std::string id);
    asio::awaitable<Response> health();
    Response unplug(Request const& request);
    il::Outcome<il::IdempotentRequest> request_of(Request const& request, std::string_view operation) const;
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
