// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_PROMETHEUS_HPP
#define INTERLOCK_OBSERVABILITY_PROMETHEUS_HPP

/// @file
/// Metrics for Prometheus, by prometheus-cpp: how long transactions take and how they end, how long callers
/// wait for locks, what was lost, what stays unknown.
///
///     auto const metrics = std::make_shared<interlock::PrometheusObserver>();
///     interlock::TransactionService const service{policy, repository, {.observer = metrics.get()}};
///     prometheus::Exposer exposer{"127.0.0.1:9090"};
///     exposer.RegisterCollectable(metrics);  // or by hand: TextSerializer{}.Serialize(metrics->Collect())
///
/// The names, units and labels stand in `observability/README.md`. No label is a key or a user's text but the
/// names of operations (`CallOptions::name`), whose number is bounded.

#include <interlock/core/observer.hpp>
#include <interlock/observability/detail/metric_cells.hpp>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// The bounds of a `PrometheusObserver`.
struct PrometheusOptions {
    /// How many names of operations become labels; all further ones together are `_other`. Prometheus keeps a
    /// series for each.
    std::size_t max_operations{200};
};

/// Counts what it is told, and says it when Prometheus asks.
///
/// **Guarantee.** What was told before a `Collect` is in it. Series that were never used are not there.
/// **Lifetimes.** It must outlive the services that have its pointer. **Thread safety.** Everything: safe.
/// **Cost.** A transaction costs two lookups by the address of its names and four additions to atomics, and
/// no allocation after the first of its kind.
class PrometheusObserver final : public Observer, public ::prometheus::Collectable {
    using Families = std::vector<::prometheus::MetricFamily>;

public:
    /// Has counted nothing yet.
    explicit PrometheusObserver(PrometheusOptions options = {}) : options_(options) {}

    void on_transaction(TransactionEvent const& event) noexcept override
    {
        try {
            auto const kind = event.call != nullptr ? event.call->store.kind : std::string_view{"?"};
            auto const operation = event.call != nullptr ? event.call->operation : std::string_view{};
            auto& series = transactions_.at({event.policy, kind, operation}, options_.max_operations);
            series.duration.at(event.user_exception ? user_exception : slot_of(event.result))
                .observe(event.duration);
            series.attempts.observe(static_cast<std::uint64_t>(event.attempts));
        } catch (...) {  // no memory for a series
        }
    }
    void on_conflict(RetryEvent const& event) noexcept override { retry(event); }
    void on_retry(RetryEvent const& event) noexcept override { retry(event); }

    void on_acquire_begin(ObservedLock const& lock) noexcept override
    {
        count(locks_, lock.store.kind, [](auto& of) { of.waiting.add(1); });
    }
    void on_acquire(AcquireEvent const& event) noexcept override
    {
        count(locks_, event.lock.store.kind, [&](auto& of) {
            of.waiting.add(-1);
            if (event.result == Errc::ok)
                of.held.add(1);
        });
        try {
            auto const slot = slot_of(event.result);
            if (event.local_queue.count() > 0 || (event.store_attempts == 0 && event.wake_up.count() == 0))
                waits_[0].at(slot).observe(event.local_queue);
            if (event.store_attempts > 0)
                waits_[1].at(slot).observe(event.store);
            if (event.wake_up.count() > 0 && (event.store_attempts > 1 || event.result != Errc::ok))
                waits_[2].at(slot).observe(event.wake_up);
        } catch (...) {
        }
    }
    void on_release(ReleaseEvent const& event) noexcept override
    {
        if (!event.token)  // of a removal that was told before as a release
            return;
        count(locks_, event.lock.store.kind, [](auto& of) { of.held.add(-1); });
        holds_[event.handed_on ? 1 : 0].observe(event.held);
    }
    void on_lock(LockEvent const& event) noexcept override
    {
        switch (event.kind) {
        case LockEvent::Kind::renewal: lags_.observe(event.lag); break;
        case LockEvent::Kind::in_doubt: in_doubt_.add(1); break;
        case LockEvent::Kind::lost:
            lost_[std::min<std::size_t>(static_cast<std::size_t>(event.reason), lost_.size() - 1)].add(1);
            break;
        case LockEvent::Kind::fenced_out: fenced_out_.add(1); break;
        }
    }
    void on_unknown(UnknownEvent const& event) noexcept override
    {
        unknown_[slot_of(event.cause)][static_cast<std::size_t>(event.resolved) % 3].add(1);
    }
    void on_idempotency(IdempotencyEvent event) noexcept override
    {
        requests_[static_cast<std::size_t>(event) % requests_.size()].add(1);
    }
    void on_store_call(StoreCallEvent const& event) noexcept override
    {
        try {
            calls_.at({event.store.system, event.verb, {}}, SIZE_MAX)
                .duration.at(slot_of(event.result))
                .observe(event.duration);
        } catch (...) {
        }
    }
    void on_connection(ConnectionEvent const& event) noexcept override
    {
        count(clients_, event.store.system, [&](auto& of) {
            of.changes[static_cast<std::size_t>(event.kind) % of.changes.size()].add(1);
        });
    }
    void on_pool_wait(PoolWaitEvent const& event) noexcept override
    {
        count(clients_, event.store.system, [&](auto& of) {
            of.connections.set(static_cast<std::int64_t>(event.connections));
            of.pending.set(static_cast<std::int64_t>(event.waiting));
            if (event.result != Errc::ok)
                of.timeouts.add(1);
            else
                of.waited.observe(event.waited);
        });
    }

    /// What Prometheus is told: every family that has a series.
    Families Collect() const override;

private:
    static constexpr std::size_t user_exception = detail::result_slots;

    static std::size_t slot_of(Errc code) noexcept { return detail::slot_of(code); }

    struct TransactionSeries {
        detail::ByResult<detail::DurationCell> duration;
        detail::AttemptsCell attempts;
    };
    struct CallSeries {
        detail::ByResult<detail::DurationCell> duration;
    };
    struct LockSeries {
        detail::Gauge held;
        detail::Gauge waiting;
    };
    struct ClientSeries {
        std::array<detail::Gauge, 3> changes;
        detail::Gauge connections;
        detail::Gauge pending;
        detail::Gauge timeouts;
        detail::DurationCell waited;
    };

    template <class Table, class Change>
    static void count(Table& table, std::string_view kind, Change change) noexcept
    {
        try {
            change(table.at({kind, {}, {}}, SIZE_MAX));
        } catch (...) {
        }
    }
    void retry(RetryEvent const& event) noexcept
    {
        try {
            retries_.at({event.policy, name_of(event.reason), {}}, SIZE_MAX).add(1);
        } catch (...) {
        }
    }

    void collect_transactions(Families& families) const;
    void collect_locks(Families& families) const;
    void collect_outcomes(Families& families) const;
    void collect_clients(Families& families) const;

    PrometheusOptions options_;
    detail::SeriesTable<TransactionSeries> transactions_;  // by policy, kind of store, operation
    detail::SeriesTable<detail::Gauge> retries_;           // by policy, reason
    detail::SeriesTable<LockSeries> locks_;                // by kind of store
    detail::SeriesTable<CallSeries> calls_;                // by system, verb
    detail::SeriesTable<ClientSeries> clients_;            // by system
    std::array<detail::ByResult<detail::DurationCell>, 3> waits_;
    std::array<detail::DurationCell, 2> holds_;
    detail::DurationCell lags_;
    detail::Gauge in_doubt_;
    detail::Gauge fenced_out_;
    std::array<detail::Gauge, 5> lost_;
    std::array<std::array<detail::Gauge, 3>, detail::result_slots> unknown_;
    std::array<detail::Gauge, 7> requests_;
};

}  // namespace v0
}  // namespace interlock

#include <interlock/observability/impl/prometheus.ipp>

#endif  // INTERLOCK_OBSERVABILITY_PROMETHEUS_HPP
