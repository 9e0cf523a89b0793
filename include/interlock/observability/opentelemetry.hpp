// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_OPENTELEMETRY_HPP
#define INTERLOCK_OBSERVABILITY_OPENTELEMETRY_HPP

/// @file
/// Spans and metrics for OpenTelemetry, by its API alone: which SDK and which exporter there are is the
/// program's to say, and without one nothing is recorded.
///
///     interlock::OpenTelemetryObserver telemetry;
///     interlock::ObservedRepository const orders{repository, telemetry};  // for spans of its calls
///     interlock::TransactionService const service{policy, orders, {.observer = &telemetry}};
///     service.do_in_transaction("sku-1", take_one, {.cause = &cause, .name = "sell"});
///
/// The span of the call is a child of `Cause::traceparent`, where the call has one, and else of the span that
/// is active on the thread. See `observability/README.md` for names and attributes.

#include <interlock/core/errc.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>
#include <interlock/observability/detail/event_text.hpp>
#include <interlock/observability/trace_context.hpp>

#include <opentelemetry/context/context.h>
#include <opentelemetry/metrics/meter.h>
#include <opentelemetry/metrics/provider.h>
#include <opentelemetry/metrics/sync_instruments.h>
#include <opentelemetry/nostd/shared_ptr.h>
#include <opentelemetry/nostd/span.h>
#include <opentelemetry/nostd/string_view.h>
#include <opentelemetry/nostd/unique_ptr.h>
#include <opentelemetry/trace/provider.h>
#include <opentelemetry/trace/scope.h>
#include <opentelemetry/trace/span.h>
#include <opentelemetry/trace/span_context.h>
#include <opentelemetry/trace/span_startoptions.h>
#include <opentelemetry/trace/tracer.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Tells OpenTelemetry what it is told. It takes tracer and meter from the global providers when it is made,
/// so the program sets its providers before.
///
/// **Spans.** `do_in_transaction <operation>` (INTERNAL) for each call, with an event for each conflict and
/// retry; in it `lock.acquire` (INTERNAL) for each lock that its policy takes, and one CLIENT span per verb
/// of an `ObservedRepository`, called as the verb. Locks of a `LockStateService` outside of a call have no
/// span. **Guarantee.** Each span that is begun is ended. **Lifetimes.** It must outlive the services that
/// have its pointer. **Thread safety.** Everything: safe. **Cost.** What the SDK costs, and one allocation
/// per call.
class OpenTelemetryObserver final : public Observer {
public:
    /// `keys`: whether the span of a call names its keys (`interlock.key`).
    explicit OpenTelemetryObserver(HearsKeys keys = HearsKeys::no);

    void on_begin(CallInfo& call) noexcept override;
    void on_transaction(TransactionEvent const& event) noexcept override;
    void on_conflict(RetryEvent const& event) noexcept override { attempt("conflict", event); }
    void on_retry(RetryEvent const& event) noexcept override { attempt("retry", event); }
    void on_acquire_begin(ObservedLock const& lock) noexcept override;
    void on_acquire(AcquireEvent const& event) noexcept override;
    void on_release(ReleaseEvent const& event) noexcept override;
    void on_lock(LockEvent const& event) noexcept override;
    void on_unknown(UnknownEvent const& event) noexcept override;
    void on_idempotency(IdempotencyEvent event) noexcept override;
    void on_store_call_begin(StoreCallInfo& info) noexcept override;
    void on_store_call(StoreCallEvent const& event) noexcept override;
    void on_pool_wait(PoolWaitEvent const& event) noexcept override;

private:
    using Span = ::opentelemetry::nostd::shared_ptr<::opentelemetry::trace::Span>;
    using Seconds = ::opentelemetry::nostd::unique_ptr<::opentelemetry::metrics::Histogram<double>>;
    using Numbers = ::opentelemetry::nostd::unique_ptr<::opentelemetry::metrics::Histogram<std::uint64_t>>;
    using Counter = ::opentelemetry::nostd::unique_ptr<::opentelemetry::metrics::Counter<std::uint64_t>>;
    using UpDown = ::opentelemetry::nostd::unique_ptr<::opentelemetry::metrics::UpDownCounter<std::int64_t>>;
    using Options = ::opentelemetry::trace::StartSpanOptions;

    /// The tag of a call. Its locks are taken one after the other.
    struct Spans {
        Span call;
        Span acquire;
    };

    static Spans* spans_of(CallInfo const* call) noexcept
    {
        return call != nullptr ? static_cast<Spans*>(call->tag) : nullptr;
    }
    static ::opentelemetry::nostd::string_view view(std::string_view text) noexcept
    {
        return {text.data(), text.size()};
    }
    static double seconds(std::chrono::nanoseconds duration) noexcept
    {
        return std::chrono::duration<double>(duration).count();
    }
    static void set_parent(Options& options, CallInfo const* call);
    void attempt(std::string_view what, RetryEvent const& event) noexcept;
    void add(UpDown& counter, std::int64_t change, ObservedLock const& lock) noexcept;

    ::opentelemetry::nostd::shared_ptr<::opentelemetry::trace::Tracer> tracer_;
    ::opentelemetry::nostd::shared_ptr<::opentelemetry::metrics::Meter> meter_;
    Seconds durations_;
    Numbers attempts_;
    Counter retries_;
    Seconds waits_;
    Seconds holds_;
    UpDown held_;
    UpDown waiting_;
    Counter lost_;
    Counter fenced_out_;
    Seconds lags_;
    Counter unknown_;
    Counter requests_;
    Seconds calls_;
    Seconds pool_waits_;
    Counter pool_timeouts_;
};

}  // namespace v0
}  // namespace interlock

#include <interlock/observability/impl/opentelemetry.ipp>

#endif  // INTERLOCK_OBSERVABILITY_OPENTELEMETRY_HPP
