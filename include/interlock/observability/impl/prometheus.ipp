// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_IMPL_PROMETHEUS_IPP
#define INTERLOCK_OBSERVABILITY_IMPL_PROMETHEUS_IPP

#include <interlock/core/codec/json.hpp>
#include <interlock/core/format.hpp>
#include <interlock/observability/detail/event_text.hpp>
#include <interlock/observability/prometheus.hpp>

#include <limits>

namespace interlock {
inline namespace v0 {
namespace detail {

using PrometheusLabels = std::vector<::prometheus::ClientMetric::Label>;

/// One family while it is being made. It is added to the others when it has a series.
class PrometheusFamily {
public:
    PrometheusFamily(
        std::vector<::prometheus::MetricFamily>& families, char const* name, char const* help,
        ::prometheus::MetricType type)
        : families_(families)
    {
        family_.name = name;
        family_.help = help;
        family_.type = type;
    }
    PrometheusFamily(PrometheusFamily const&) = delete;
    PrometheusFamily& operator=(PrometheusFamily const&) = delete;
    ~PrometheusFamily()
    {
        if (!family_.metric.empty())
            families_.push_back(std::move(family_));
    }

    /// `from_zero`: there is a series before the counter was used, so that a rate sees its first step.
    void counter(PrometheusLabels labels, Gauge const& cell, bool from_zero = true)
    {
        if (from_zero || cell.value() != 0)
            add(std::move(labels)).counter.value = static_cast<double>(cell.value());
    }
    void gauge(PrometheusLabels labels, Gauge const& cell)
    {
        add(std::move(labels)).gauge.value = static_cast<double>(cell.value());
    }
    /// `unit`: how many of the cell's units are one of the metric's. Without an observation no series.
    template <class Bounds>
    void histogram(PrometheusLabels labels, HistogramCell<Bounds> const& cell, double unit)
    {
        ::prometheus::ClientMetric::Histogram made;
        for (std::size_t i = 0; i <= cell.size; ++i) {
            made.sample_count += cell.count(i);
            made.bucket.push_back(
                {made.sample_count, i < cell.size ? static_cast<double>(cell.bound(i)) / unit
                                                  : std::numeric_limits<double>::infinity()});
        }
        made.sample_sum = static_cast<double>(cell.sum()) / unit;
        if (made.sample_count != 0)
            add(std::move(labels)).histogram = std::move(made);
    }
    /// A histogram of durations for each result.
    void durations(PrometheusLabels const& labels, ByResult<DurationCell> const& cells, bool result_is_label)
    {
        for (std::size_t slot = 0; slot < cells.size; ++slot)
            if (auto const* const cell = cells.find(slot)) {
                auto all = labels;
                std::string const name =
                    slot == result_slots ? "user_exception" : name_of(static_cast<Errc>(slot));
                if (result_is_label)
                    all.push_back({"result", name});
                else if (slot != 0)
                    all.push_back({"error_type", name});
                histogram(std::move(all), *cell, 1e9);
            }
    }

private:
    ::prometheus::ClientMetric& add(PrometheusLabels labels)
    {
        auto& metric = family_.metric.emplace_back();
        std::erase_if(labels, [](auto const& label) { return label.value.empty(); });
        for (auto& label : labels)
            if (!is_utf8(label.value)) {  // Prometheus would refuse all that the process says
                std::string escaped;
                append_escaped(escaped, label.value);
                label.value = std::move(escaped);
            }
        metric.label = std::move(labels);
        return metric;
    }

    std::vector<::prometheus::MetricFamily>& families_;
    ::prometheus::MetricFamily family_;
};

}  // namespace detail

inline auto PrometheusObserver::Collect() const -> Families
{
    Families families;
    collect_transactions(families);
    collect_locks(families);
    collect_outcomes(families);
    collect_clients(families);
    return families;
}

inline void PrometheusObserver::collect_transactions(Families& families) const
{
    using Type = ::prometheus::MetricType;
    {
        detail::PrometheusFamily family{
            families, "interlock_transaction_duration_seconds",
            "From the call of do_in_transaction to its end.", Type::Histogram};
        transactions_.for_each([&](auto const& of) {
            family.durations(
                {{"policy", of.first}, {"backend", of.second}, {"operation", of.third}}, of.series.duration,
                false);
        });
    }
    {
        // Operations are added up, since the number of attempts depends on what they share.
        std::map<std::pair<std::string, std::string>, std::unique_ptr<detail::AttemptsCell>> sums;
        transactions_.for_each([&](auto const& of) {
            auto& sum = sums[{of.first, of.second}];
            if (sum == nullptr)
                sum = std::make_unique<detail::AttemptsCell>();
            sum->add(of.series.attempts);
        });
        detail::PrometheusFamily family{
            families, "interlock_transaction_attempts", "Runs of the operation of one call.",
            Type::Histogram};
        for (auto const& [labels, sum] : sums)
            family.histogram({{"policy", labels.first}, {"backend", labels.second}}, *sum, 1);
    }
    detail::PrometheusFamily family{
        families, "interlock_retries_total", "Attempts that failed, by why, the last of a call included.",
        Type::Counter};
    retries_.for_each(
        [&](auto const& of) { family.counter({{"policy", of.first}, {"reason", of.second}}, of.series); });
}

inline void PrometheusObserver::collect_locks(Families& families) const
{
    using Type = ::prometheus::MetricType;
    {
        detail::PrometheusFamily family{
            families, "interlock_lock_wait_seconds", "Where the time of an acquire went.", Type::Histogram};
        char const* const phases[] = {"local_queue", "store", "wake_up"};
        for (std::size_t i = 0; i < waits_.size(); ++i)
            family.durations({{"phase", phases[i]}}, waits_[i], true);
    }
    {
        detail::PrometheusFamily family{
            families, "interlock_lock_hold_seconds", "From the grant of a lock to its release.",
            Type::Histogram};
        family.histogram({{"handed_on", "false"}}, holds_[0], 1e9);
        family.histogram({{"handed_on", "true"}}, holds_[1], 1e9);
    }
    {
        detail::PrometheusFamily held{
            families, "interlock_lock_held", "Locks that this process holds.", Type::Gauge};
        locks_.for_each([&](auto const& of) { held.gauge({{"backend", of.first}}, of.series.held); });
    }
    {
        detail::PrometheusFamily waiting{
            families, "interlock_lock_waiting", "Callers of this process that wait for a lock.", Type::Gauge};
        locks_.for_each([&](auto const& of) { waiting.gauge({{"backend", of.first}}, of.series.waiting); });
    }
    {
        detail::PrometheusFamily family{
            families, "interlock_lock_lost_total", "Locks that were lost before their holder gave them up.",
            Type::Counter};
        for (std::size_t i = 1; i < lost_.size(); ++i)  // `none` is no reason
            family.counter({{"reason", std::string(name_of(static_cast<LostReason>(i)))}}, lost_[i]);
    }
    detail::PrometheusFamily{
        families, "interlock_lock_fenced_out_total",
        "Writes that the store refused, since somebody else has the lock.", Type::Counter}
        .counter({}, fenced_out_);
    detail::PrometheusFamily{
        families, "interlock_lock_in_doubt_total", "Renewals that were due and not confirmed in time.",
        Type::Counter}
        .counter({}, in_doubt_);
    detail::PrometheusFamily{
        families, "interlock_lock_renewal_lag_seconds", "How much later than planned a renewal was sent.",
        Type::Histogram}
        .histogram({}, lags_, 1e9);
}

inline void PrometheusObserver::collect_outcomes(Families& families) const
{
    using Type = ::prometheus::MetricType;
    {
        detail::PrometheusFamily family{
            families, "interlock_outcome_unknown_total",
            "Calls with an attempt that may have been applied, and what was found out.", Type::Counter};
        for (std::size_t slot = 0; slot < unknown_.size(); ++slot)
            for (std::size_t i = 0; i < unknown_[slot].size(); ++i)
                family.counter(
                    {{"cause", name_of(static_cast<Errc>(slot))},
                     {"resolved", std::string(name_of(static_cast<Effect>(i)))}},
                    unknown_[slot][i], false);
    }
    detail::PrometheusFamily family{
        families, "interlock_idempotency_requests_total", "Idempotent requests, by what came of them.",
        Type::Counter};
    char const* const results[] = {"executed",   "replayed",   "in_progress", "mismatch",
                                   "taken_over", "given_back", "lease_lost"};
    for (std::size_t i = 0; i < requests_.size(); ++i)
        family.counter({{"result", results[i]}}, requests_[i]);
}

inline void PrometheusObserver::collect_clients(Families& families) const
{
    using Type = ::prometheus::MetricType;
    {
        detail::PrometheusFamily family{
            families, "db_client_operation_duration_seconds", "How long the store took for one call.",
            Type::Histogram};
        calls_.for_each([&](auto const& of) {
            family.durations(
                {{"db_system_name", of.first}, {"db_operation_name", of.second}}, of.series.duration, false);
        });
    }
    auto const for_each_client = [&](char const* name, char const* help, Type type, auto add) {
        detail::PrometheusFamily family{families, name, help, type};
        clients_.for_each([&](auto const& of) {
            add(family, detail::PrometheusLabels{{"db_system_name", of.first}}, of.series);
        });
    };
    for_each_client(
        "db_client_connections", "Connections, borrowed or idle, when one was last taken.", Type::Gauge,
        [](auto& family, auto labels, auto const& of) { family.gauge(std::move(labels), of.connections); });
    for_each_client(
        "db_client_connection_pending_requests", "Callers that waited when one was last served.", Type::Gauge,
        [](auto& family, auto labels, auto const& of) { family.gauge(std::move(labels), of.pending); });
    for_each_client(
        "db_client_connection_timeouts_total", "Callers that got no connection.", Type::Counter,
        [](auto& family, auto labels, auto const& of) { family.counter(std::move(labels), of.timeouts); });
    for_each_client(
        "db_client_connection_wait_time_seconds", "How long callers waited for a connection.",
        Type::Histogram, [](auto& family, auto labels, auto const& of) {
            family.histogram(std::move(labels), of.waited, 1e9);
        });
    for_each_client(
        "interlock_connection_changes_total", "Connections that were opened, could not be, or were lost.",
        Type::Counter, [](auto& family, auto const& labels, auto const& of) {
            char const* const changes[] = {"opened", "failed", "lost"};
            for (std::size_t i = 0; i < of.changes.size(); ++i) {
                auto all = labels;
                all.push_back({"change", changes[i]});
                family.counter(std::move(all), of.changes[i]);
            }
        });
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_OBSERVABILITY_IMPL_PROMETHEUS_IPP
