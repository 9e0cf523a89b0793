// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_IMPL_OPENTELEMETRY_IPP
#define INTERLOCK_OBSERVABILITY_IMPL_OPENTELEMETRY_IPP

#include <interlock/observability/opentelemetry.hpp>

namespace interlock {
inline namespace v0 {

inline OpenTelemetryObserver::OpenTelemetryObserver(HearsKeys keys)
    : Observer(keys), tracer_(::opentelemetry::trace::Provider::GetTracerProvider()->GetTracer("interlock")),
      meter_(::opentelemetry::metrics::Provider::GetMeterProvider()->GetMeter("interlock")),
      durations_(meter_->CreateDoubleHistogram(
          "interlock.transaction.duration", "From the call of do_in_transaction to its end.", "s")),
      attempts_(meter_->CreateUInt64Histogram(
          "interlock.transaction.attempts", "Runs of the operation of one call.", "{attempt}")),
      retries_(meter_->CreateUInt64Counter("interlock.retries", "Attempts that failed.", "{retry}")),
      waits_(meter_->CreateDoubleHistogram(
          "interlock.lock.wait.duration", "Where the time of an acquire went.", "s")),
      holds_(meter_->CreateDoubleHistogram(
          "interlock.lock.hold.duration", "From the grant of a lock to its release.", "s")),
      held_(meter_->CreateInt64UpDownCounter("interlock.lock.held", "Locks that are held.", "{lock}")),
      waiting_(meter_->CreateInt64UpDownCounter(
          "interlock.lock.waiting", "Callers that wait for a lock.", "{waiter}")),
      lost_(meter_->CreateUInt64Counter("interlock.lock.lost", "Locks that were lost.", "{lock}")),
      fenced_out_(meter_->CreateUInt64Counter(
          "interlock.lock.fenced_out", "Writes of former holders that were refused.", "{write}")),
      lags_(meter_->CreateDoubleHistogram(
          "interlock.lock.renewal.lag", "How much later than planned a renewal was sent.", "s")),
      unknown_(meter_->CreateUInt64Counter(
          "interlock.outcome.unknown", "Calls that may have been applied, and what was found out.",
          "{call}")),
      requests_(
          meter_->CreateUInt64Counter("interlock.idempotency.requests", "Idempotent requests.", "{request}")),
      calls_(meter_->CreateDoubleHistogram(
          "db.client.operation.duration", "How long the store took for one call.", "s")),
      pool_waits_(meter_->CreateDoubleHistogram(
          "db.client.connection.wait_time", "How long callers waited for a connection.", "s")),
      pool_timeouts_(meter_->CreateUInt64Counter(
          "db.client.connection.timeouts", "Callers that got no connection.", "{timeout}"))
{}

inline void OpenTelemetryObserver::set_parent(Options& options, CallInfo const* call)
{
    namespace trace = ::opentelemetry::trace;
    if (call == nullptr)
        return;
    if (auto const* const outer = spans_of(call->outer); outer != nullptr && outer->call) {
        options.parent = outer->call->GetContext();
        return;
    }
    if (call->cause == nullptr)
        return;
    auto const remote = TraceContext::parse(call->cause->traceparent);
    if (!remote)
        return;
    options.parent = trace::SpanContext{
        trace::TraceId{::opentelemetry::nostd::span<std::uint8_t const, 16>{remote->trace_id.data(), 16}},
        trace::SpanId{::opentelemetry::nostd::span<std::uint8_t const, 8>{remote->span_id.data(), 8}},
        trace::TraceFlags{remote->flags}, true};
}

inline void OpenTelemetryObserver::on_begin(CallInfo& call) noexcept
{
    interlock::detail::WithoutCancellation const whole;
    try {
        Options options;
        set_parent(options, &call);
        std::string name = "do_in_transaction";
        if (!call.operation.empty())
            (name += ' ').append(call.operation);
        auto spans = std::make_unique<Spans>();
        spans->call = tracer_->StartSpan(
            name,
            {{"interlock.policy", view(call.policy)},
             {"interlock.backend", view(call.store.kind)},
             {"db.system.name", view(call.store.system)},
             {"db.namespace", view(call.store.place)}},
            options);
        if (call.operation_id != nullptr)
            spans->call->SetAttribute("interlock.operation_id", view(call.operation_id->value()));
        if (call.cause != nullptr && !call.cause->correlation.empty())
            spans->call->SetAttribute("interlock.correlation", view(call.cause->correlation));
        if (!call.keys.empty())
            spans->call->SetAttribute("interlock.key", view(call.keys.front().bytes()));
        call.tag = spans.release();
    } catch (...) {  // no memory: no span
    }
}

inline void OpenTelemetryObserver::on_transaction(TransactionEvent const& event) noexcept
{
    std::unique_ptr<Spans> const spans{spans_of(event.call)};
    interlock::detail::WithoutCancellation const whole;
    try {
        namespace trace = ::opentelemetry::trace;
        std::string_view const error = event.user_exception ? "user_exception" : name_of(event.result);
        if (spans != nullptr && spans->call) {
            auto& span = *spans->call;
            if (spans->acquire)
                spans->acquire->End();
            span.SetAttribute("interlock.attempts", event.attempts);
            span.SetAttribute(
                "interlock.effect",
                view(event.user_exception ? "not_applied" : detail::word_of(effect_of(event.result))));
            if (event.replayed)
                span.SetAttribute("interlock.replayed", true);
            if (event.user_exception || event.result != Errc::ok) {
                span.SetAttribute("error.type", view(error));
                span.SetStatus(trace::StatusCode::kError, view(error));
            }
            span.End();
        }
        auto const call = event.call != nullptr ? *event.call : CallInfo{};
        auto const context = ::opentelemetry::context::Context{};
        if (event.user_exception || event.result != Errc::ok)
            durations_->Record(
                seconds(event.duration),
                {{"interlock.policy", view(event.policy)},
                 {"interlock.backend", view(call.store.kind)},
                 {"interlock.operation", view(call.operation)},
                 {"error.type", view(error)}},
                context);
        else
            durations_->Record(
                seconds(event.duration),
                {{"interlock.policy", view(event.policy)},
                 {"interlock.backend", view(call.store.kind)},
                 {"interlock.operation", view(call.operation)}},
                context);
        attempts_->Record(
            static_cast<std::uint64_t>(event.attempts),
            {{"interlock.policy", view(event.policy)}, {"interlock.backend", view(call.store.kind)}},
            context);
    } catch (...) {
    }
}

inline void OpenTelemetryObserver::attempt(std::string_view what, RetryEvent const& event) noexcept
{
    interlock::detail::WithoutCancellation const whole;
    try {
        if (auto* const spans = spans_of(event.call); spans != nullptr && spans->call)
            spans->call->AddEvent(
                view(what),
                {{"interlock.reason", view(name_of(event.reason))},
                 {"interlock.attempt", event.attempt},
                 {"interlock.delay_ms", std::chrono::duration<double, std::milli>(event.delay).count()}});
        retries_->Add(
            1, {{"interlock.policy", view(event.policy)}, {"interlock.reason", view(name_of(event.reason))}});
    } catch (...) {
    }
}

inline void OpenTelemetryObserver::add(
    UpDown& counter, std::int64_t change, ObservedLock const& lock) noexcept
{
    interlock::detail::WithoutCancellation const whole;
    try {
        counter->Add(change, {{"interlock.backend", view(lock.store.kind)}});
    } catch (...) {
    }
}

inline void OpenTelemetryObserver::on_acquire_begin(ObservedLock const& lock) noexcept
{
    add(waiting_, 1, lock);
    interlock::detail::WithoutCancellation const whole;
    try {
        auto* const spans = spans_of(lock.call);
        if (spans == nullptr || !spans->call)
            return;
        Options options;
        options.parent = spans->call->GetContext();
        spans->acquire =
            tracer_->StartSpan("lock.acquire", {{"interlock.backend", view(lock.store.kind)}}, options);
    } catch (...) {
    }
}

inline void OpenTelemetryObserver::on_acquire(AcquireEvent const& event) noexcept
{
    add(waiting_, -1, event.lock);
    if (event.result == Errc::ok)
        add(held_, 1, event.lock);
    interlock::detail::WithoutCancellation const whole;
    try {
        std::pair<std::string_view, std::chrono::nanoseconds> const phases[] = {
            {"local_queue", event.local_queue}, {"store", event.store}, {"wake_up", event.wake_up}};
        bool const waited = event.store_attempts > 1 || event.result != Errc::ok;
        for (auto const& [phase, time] : phases)
            if (time.count() > 0 && (waited || phase != "wake_up"))
                waits_->Record(
                    seconds(time),
                    {{"interlock.phase", view(phase)}, {"interlock.result", view(name_of(event.result))}},
                    ::opentelemetry::context::Context{});
        auto* const spans = spans_of(event.lock.call);
        if (spans == nullptr || !spans->acquire)
            return;
        auto const span = std::exchange(spans->acquire, Span{});
        for (auto const& [phase, time] : phases)
            span->SetAttribute(view("interlock." + std::string(phase) + "_s"), seconds(time));
        span->SetAttribute("interlock.handed_on", event.handed_on);
        span->SetAttribute("interlock.store_attempts", event.store_attempts);
        if (event.token)
            span->SetAttribute("interlock.token", static_cast<std::int64_t>(event.token.value()));
        if (event.result != Errc::ok) {
            span->SetAttribute("error.type", view(name_of(event.result)));
            span->SetStatus(::opentelemetry::trace::StatusCode::kError, name_of(event.result));
        }
        span->End();
    } catch (...) {
    }
}

inline void OpenTelemetryObserver::on_release(ReleaseEvent const& event) noexcept
{
    if (!event.token)
        return;
    add(held_, -1, event.lock);
    interlock::detail::WithoutCancellation const whole;
    try {
        holds_->Record(
            seconds(event.held), {{"interlock.handed_on", event.handed_on}},
            ::opentelemetry::context::Context{});
    } catch (...) {
    }
}

inline void OpenTelemetryObserver::on_lock(LockEvent const& event) noexcept
{
    interlock::detail::WithoutCancellation const whole;
    try {
        std::string_view what;
        switch (event.kind) {
        case LockEvent::Kind::renewal:
            return lags_->Record(seconds(event.lag), ::opentelemetry::context::Context{});
        case LockEvent::Kind::in_doubt: what = "lock in doubt"; break;
        case LockEvent::Kind::lost:
            lost_->Add(1, {{"interlock.reason", view(detail::word_of(event.reason))}});
            what = "lock lost";
            break;
        case LockEvent::Kind::fenced_out:
            fenced_out_->Add(1);
            what = "fenced out";
            break;
        }
        if (auto* const spans = spans_of(event.lock.call); spans != nullptr && spans->call)
            spans->call->AddEvent(view(what));
    } catch (...) {
    }
}

inline void OpenTelemetryObserver::on_unknown(UnknownEvent const& event) noexcept
{
    interlock::detail::WithoutCancellation const whole;
    try {
        unknown_->Add(
            1, {{"interlock.cause", view(name_of(event.cause))},
                {"interlock.resolved", view(detail::word_of(event.resolved))}});
    } catch (...) {
    }
}

inline void OpenTelemetryObserver::on_idempotency(IdempotencyEvent event) noexcept
{
    interlock::detail::WithoutCancellation const whole;
    try {
        requests_->Add(1, {{"interlock.result", view(detail::word_of(event))}});
        if (auto* const spans = spans_of(current_call()); spans != nullptr && spans->call)
            spans->call->SetAttribute("interlock.idempotency", view(detail::word_of(event)));
    } catch (...) {
    }
}

inline void OpenTelemetryObserver::on_store_call_begin(StoreCallInfo& info) noexcept
{
    interlock::detail::WithoutCancellation const whole;
    try {
        Options options;
        options.kind = ::opentelemetry::trace::SpanKind::kClient;
        if (auto* const spans = spans_of(info.call); spans != nullptr && spans->call)
            options.parent = spans->call->GetContext();
        auto span = std::make_unique<Span>(tracer_->StartSpan(
            view(info.verb),
            {{"db.system.name", view(info.store.system)},
             {"db.namespace", view(info.store.place)},
             {"db.operation.name", view(info.verb)}},
            options));
        info.tag = span.release();
    } catch (...) {
    }
}

inline void OpenTelemetryObserver::on_store_call(StoreCallEvent const& event) noexcept
{
    std::unique_ptr<Span> const span{static_cast<Span*>(event.tag)};
    interlock::detail::WithoutCancellation const whole;
    try {
        auto const error = view(name_of(event.result));
        if (span != nullptr && *span) {
            if (event.result != Errc::ok) {
                (*span)->SetAttribute("error.type", error);
                if (!event.store_code.empty())
                    (*span)->SetAttribute("db.response.status_code", view(event.store_code));
                (*span)->SetStatus(::opentelemetry::trace::StatusCode::kError, error);
            }
            (*span)->End();
        }
        ::opentelemetry::context::Context const context;
        if (event.result == Errc::ok)
            calls_->Record(
                seconds(event.duration),
                {{"db.system.name", view(event.store.system)}, {"db.operation.name", view(event.verb)}},
                context);
        else
            calls_->Record(
                seconds(event.duration),
                {{"db.system.name", view(event.store.system)},
                 {"db.operation.name", view(event.verb)},
                 {"error.type", error}},
                context);
    } catch (...) {
    }
}

inline void OpenTelemetryObserver::on_pool_wait(PoolWaitEvent const& event) noexcept
{
    interlock::detail::WithoutCancellation const whole;
    try {
        if (event.result == Errc::ok)
            pool_waits_->Record(
                seconds(event.waited), {{"db.system.name", view(event.store.system)}},
                ::opentelemetry::context::Context{});
        else
            pool_timeouts_->Add(1, {{"db.system.name", view(event.store.system)}});
    } catch (...) {
    }
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_OBSERVABILITY_IMPL_OPENTELEMETRY_IPP
