// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_IMPL_LOG_IPP
#define INTERLOCK_OBSERVABILITY_IMPL_LOG_IPP

#include <interlock/observability/log.hpp>

namespace interlock {
inline namespace v0 {

inline void LogObserver::on_transaction(TransactionEvent const& event) noexcept
{
    auto const level = event.result == Errc::outcome_unknown ? LogLevel::error
                       : event.result == Errc::ok            ? LogLevel::debug
                                                             : LogLevel::warning;
    write(level, "transaction", event.call, [&](auto& line) {
        line.text("result", event.user_exception ? "user_exception" : name_of(event.result));
        line.number("attempts", event.attempts);
        if (event.replayed)
            line.flag("replayed", true);
        duration(line, "duration_us", event.duration);
    });
}

inline void LogObserver::on_acquire(AcquireEvent const& event) noexcept
{
    auto const level =
        event.result == Errc::ok || event.result == Errc::lock_busy ? LogLevel::debug : LogLevel::warning;
    write(level, "acquire", event.lock, [&](auto& line) {
        line.text("result", name_of(event.result));
        token(line, event.token);
        line.flag("handed_on", event.handed_on);
        duration(line, "local_queue_us", event.local_queue);
        duration(line, "store_us", event.store);
        duration(line, "wake_up_us", event.wake_up);
    });
}

inline void LogObserver::on_release(ReleaseEvent const& event) noexcept
{
    auto const level = event.result == Errc::ok ? LogLevel::debug : LogLevel::warning;
    write(level, "release", event.lock, [&](auto& line) {
        line.text("result", name_of(event.result));
        token(line, event.token);
        line.flag("handed_on", event.handed_on);
        duration(line, "held_us", event.held);
    });
}

inline void LogObserver::on_lock(LockEvent const& event) noexcept
{
    switch (event.kind) {
    case LockEvent::Kind::renewal:
        return write(
            event.result == Errc::ok ? LogLevel::debug : LogLevel::warning, "renewal", event.lock,
            [&](auto& line) {
                line.text("result", name_of(event.result));
                duration(line, "lag_us", event.lag);
            });
    case LockEvent::Kind::in_doubt:
        return write(
            LogLevel::warning, "lock_in_doubt", event.lock, [&](auto& line) { token(line, event.token); });
    case LockEvent::Kind::lost:
        return write(LogLevel::error, "lock_lost", event.lock, [&](auto& line) {
            token(line, event.token);
            line.text("reason", detail::word_of(event.reason));
        });
    case LockEvent::Kind::fenced_out:
        return write(
            LogLevel::error, "fenced_out", event.lock, [&](auto& line) { token(line, event.token); });
    }
}

inline void LogObserver::on_unknown(UnknownEvent const& event) noexcept
{
    write(
        event.resolved == Effect::unknown ? LogLevel::error : LogLevel::info, "unknown", event.call,
        [&](auto& line) {
            line.text("cause", name_of(event.cause));
            line.text("resolved", detail::word_of(event.resolved));
        });
}

inline void LogObserver::on_idempotency(IdempotencyEvent event) noexcept
{
    auto const level = event == IdempotencyEvent::executed     ? LogLevel::debug
                       : event == IdempotencyEvent::lease_lost ? LogLevel::warning
                                                               : LogLevel::info;
    write(level, "idempotency", current_call(), [&](auto& line) {
        line.text("result", detail::word_of(event));
    });
}

inline void LogObserver::on_unsafe_store(std::string_view why) noexcept
{
    write(LogLevel::warning, "unsafe_store", nullptr, [&](auto& line) { line.text("why", why); });
}

inline void LogObserver::on_store_call(StoreCallEvent const& event) noexcept
{
    write(LogLevel::debug, "store_call", event.call, [&](auto& line) {
        if (event.call == nullptr)
            store(line, event.store);
        line.text("verb", event.verb);
        line.text("result", name_of(event.result));
        if (event.cause != Errc::ok)
            line.text("cause", name_of(event.cause));
        line.text_if_any("store_code", event.store_code);
        duration(line, "duration_us", event.duration);
    });
}

inline void LogObserver::on_connection(ConnectionEvent const& event) noexcept
{
    auto const level = event.kind == ConnectionEvent::Kind::opened ? LogLevel::info : LogLevel::warning;
    write(level, "connection", nullptr, [&](auto& line) {
        store(line, event.store);
        line.text("change", detail::word_of(event.kind));
        if (event.result != Errc::ok)
            line.text("result", name_of(event.result));
    });
}

inline void LogObserver::on_pool_wait(PoolWaitEvent const& event) noexcept
{
    auto const level = event.result != Errc::ok ? LogLevel::warning : LogLevel::debug;
    write(level, "pool_wait", nullptr, [&](auto& line) {
        store(line, event.store);
        line.text("result", name_of(event.result));
        duration(line, "waited_us", event.waited);
        line.number("connections", static_cast<std::int64_t>(event.connections));
        line.number("waiting", static_cast<std::int64_t>(event.waiting));
    });
}

inline void LogObserver::duration(Line& line, std::string_view name, std::chrono::nanoseconds value)
{
    line.number(name, std::chrono::duration_cast<std::chrono::microseconds>(value).count());
}

inline void LogObserver::token(Line& line, FencingToken token)
{
    if (token)
        line.number("token", static_cast<std::int64_t>(token.value()));
}

inline void LogObserver::store(Line& line, StoreInfo const& store)
{
    line.text("store", store.kind);
    line.text_if_any("place", store.place);
}

inline void LogObserver::cause(Line& line, Cause const& cause)
{
    line.text_if_any("trace", cause.traceparent);
    line.text_if_any("correlation", cause.correlation);
    line.text_if_any("cause_id", cause.cause);
}

inline void LogObserver::attempt(std::string_view what, RetryEvent const& event) noexcept
{
    write(LogLevel::info, what, event.call, [&](auto& line) {
        line.text("reason", name_of(event.reason));
        line.number("attempt", event.attempt);
        line.flag("repeats", event.repeats);
        duration(line, "delay_us", event.delay);
    });
}

template <class Fill>
void LogObserver::write(LogLevel level, std::string_view what, CallInfo const* call, Fill fill) noexcept
{
    write_line(level, what, [&](auto& line) {
        if (call != nullptr) {
            line.text("policy", call->policy);
            store(line, call->store);
            line.text_if_any("operation", call->operation);
            for (std::size_t i = 0; i < call->keys.size(); ++i)
                line.text(i == 0 ? "key" : "key_" + std::to_string(i + 1), call->keys[i].bytes());
        }
        fill(line);
        if (call != nullptr && call->cause != nullptr)
            cause(line, *call->cause);
    });
}

template <class Fill>
void LogObserver::write(LogLevel level, std::string_view what, ObservedLock const& lock, Fill fill) noexcept
{
    write_line(level, what, [&](auto& line) {
        store(line, lock.store);
        if (lock.call != nullptr)
            line.text_if_any("operation", lock.call->operation);
        if (lock.key != nullptr)
            line.text("key", lock.key->bytes());
        fill(line);
        if (lock.call != nullptr && lock.call->cause != nullptr)
            cause(line, *lock.call->cause);
    });
}

template <class Fill>
void LogObserver::write_line(LogLevel level, std::string_view what, Fill fill) noexcept
{
    if (level < options_.least)
        return;
    interlock::detail::WithoutCancellation const whole;  // most sinks write to a file
    try {
        Line line{options_.json};
        line.text("event", what);
        fill(line);
        sink_(level, line.finish());
    } catch (...) {  // no memory, or the sink's own
    }
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_OBSERVABILITY_IMPL_LOG_IPP
