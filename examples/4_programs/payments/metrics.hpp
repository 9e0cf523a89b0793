// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_PAYMENTS_METRICS_HPP
#define INTERLOCK_EXAMPLES_PAYMENTS_METRICS_HPP

// What GET /metrics says, as Prometheus reads it.

#include <interlock/core/observer.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>

namespace payments {

namespace il = interlock;

/// The library tells it from any thread; the server from its own.
class Metrics final : public il::Observer {
public:
    void on_idempotency(il::IdempotencyEvent event) noexcept override
    {
        ++idempotency_[static_cast<std::size_t>(event) % idempotency_.size()];
    }
    void on_retry(il::RetryEvent const&) noexcept override { ++retries_; }
    void on_unknown(il::UnknownEvent const& event) noexcept override
    {
        ++(event.resolved == il::Effect::unknown ? unknown_ : found_out_);
    }

    /// A request was answered. `route` is a pattern, so that there are few of them: `/accounts/{id}`.
    void answered(
        std::string const& method, std::string const& route, int status, std::chrono::nanoseconds time);
    /// Requests that are being answered.
    std::int64_t under_way{0};

    std::string text() const;

private:
    static constexpr std::array<double, 10> bounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5};

    std::array<std::atomic<std::uint64_t>, 7> idempotency_{};
    std::atomic<std::uint64_t> retries_{0};
    std::atomic<std::uint64_t> unknown_{0};
    std::atomic<std::uint64_t> found_out_{0};
    std::map<std::tuple<std::string, std::string, int>, std::uint64_t> requests_;
    std::array<std::uint64_t, bounds.size() + 1> durations_{};
    double duration_sum_{0};
};

}  // namespace payments

#endif  // INTERLOCK_EXAMPLES_PAYMENTS_METRICS_HPP
