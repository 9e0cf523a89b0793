// SPDX-License-Identifier: BSL-1.0

#include "metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

namespace payments {

namespace {

void describe(std::string& text, std::string_view name, std::string_view type, std::string_view help)
{
    fmt::format_to(std::back_inserter(text), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

}  // namespace

void Metrics::answered(
    std::string const& method, std::string const& route, int status, std::chrono::nanoseconds time)
{
    ++requests_[{method, route, status}];
    double const seconds = std::chrono::duration<double>(time).count();
    auto const bucket = std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin();
    ++durations_[static_cast<std::size_t>(bucket)];
    duration_sum_ += seconds;
}

std::string Metrics::text() const
{
    std::string text;
    auto const out = std::back_inserter(text);
    describe(text, "payments_http_requests_total", "counter", "Requests that were answered.");
    for (auto const& [labels, count] : requests_)
        fmt::format_to(
            out, "payments_http_requests_total{{method=\"{}\",route=\"{}\",status=\"{}\"}} {}\n",
            std::get<0>(labels), std::get<1>(labels), std::get<2>(labels), count);

    describe(text, "payments_http_request_duration_seconds", "histogram", "From request to answer.");
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < bounds.size(); ++i)
        fmt::format_to(
            out, "payments_http_request_duration_seconds_bucket{{le=\"{}\"}} {}\n", bounds[i],
            total += durations_[i]);
    total += durations_.back();
    fmt::format_to(
        out,
        "payments_http_request_duration_seconds_bucket{{le=\"+Inf\"}} {}\n"
        "payments_http_request_duration_seconds_sum {}\n"
        "payments_http_request_duration_seconds_count {}\n",
        total, duration_sum_, total);

    describe(text, "payments_http_requests_under_way", "gauge", "Requests that are being answered.");
    fmt::format_to(out, "payments_http_requests_under_way {}\n", under_way);

    constexpr std::array<std::string_view, 7> results{"executed",   "replayed",   "in_progress", "mismatch",
                                                      "taken_over", "given_back", "lease_lost"};
    describe(text, "payments_idempotency_total", "counter", "What became of requests with a key.");
    for (std::size_t i = 0; i < results.size(); ++i)
        fmt::format_to(
            out, "payments_idempotency_total{{result=\"{}\"}} {}\n", results[i], idempotency_[i].load());

    describe(text, "payments_retries_total", "counter", "Attempts that failed and were made again.");
    fmt::format_to(out, "payments_retries_total {}\n", retries_.load());

    describe(
        text, "payments_unknown_total", "counter", "Commits whose answer was lost, by what is known now.");
    fmt::format_to(
        out,
        "payments_unknown_total{{found_out=\"yes\"}} {}\npayments_unknown_total{{found_out=\"no\"}} {}\n",
        found_out_.load(), unknown_.load());
    return text;
}

}  // namespace payments
