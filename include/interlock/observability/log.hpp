// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_LOG_HPP
#define INTERLOCK_OBSERVABILITY_LOG_HPP

/// @file
/// Events as lines of a log, for whatever the program logs with:
///
///     interlock::LogObserver log{[](auto level, std::string_view line) { my_log(level, line); }};
///     interlock::TransactionService const service{policy, repository, {.observer = &log}};
///     // event=transaction policy=set_nx_lock store=redis operation=sell result=lock_lost attempts=1
///     //     duration_us=10231 trace=00-0af7... correlation=order-17
///
/// As `key=value`, or as JSON. A line has no time: the program's log knows the time.

#include <interlock/core/errc.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>
#include <interlock/observability/detail/event_text.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// How much somebody should care.
enum class LogLevel : unsigned char {
    debug,    ///< each call that went as it should, each lock, each call of a store
    info,     ///< a conflict or another attempt; a request that was asked before; a connection
    warning,  ///< a call that failed; a renewal that is late; nobody gives a connection back
    error,    ///< a lock was lost, a write was fenced out, an outcome stays unknown
};

/// A stable lower-case name.
constexpr std::string_view name_of(LogLevel level) noexcept
{
    switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warning: return "warning";
    case LogLevel::error: return "error";
    }
    return "?";
}

/// How lines look, and which there are.
struct LogOptions {
    /// One JSON object per line, in place of `key=value`.
    bool json{false};
    /// What is less is not written, and costs nothing.
    LogLevel least{LogLevel::info};
    /// Whether lines name the keys of states and locks.
    HearsKeys keys{HearsKeys::no};
};

/// Writes a line for each event, to a sink of the user's.
///
/// **The sink** gets a level and a line without an end of line, on the thread on which the event happens,
/// several at once; the line is valid during the call. What it throws is swallowed. It must not call the
/// service that it listens to and wait for it. **Guarantee.** A line has no control characters, whatever a
/// key contains, and a JSON line is JSON. **Lifetimes.** It must outlive the services that have its pointer.
/// **Thread safety.** As the sink. **Cost.** A string per line that is written; else a comparison.
class LogObserver final : public Observer {
public:
    /// What lines go to.
    using Sink = std::function<void(LogLevel, std::string_view)>;

    /// Writes to `sink`, which is not empty.
    explicit LogObserver(Sink sink, LogOptions options = {})
        : Observer(options.keys), sink_(std::move(sink)), options_(options)
    {}

    void on_transaction(TransactionEvent const& event) noexcept override;
    void on_conflict(RetryEvent const& event) noexcept override { attempt("conflict", event); }
    void on_retry(RetryEvent const& event) noexcept override { attempt("retry", event); }
    void on_acquire(AcquireEvent const& event) noexcept override;
    void on_release(ReleaseEvent const& event) noexcept override;
    void on_lock(LockEvent const& event) noexcept override;
    void on_unknown(UnknownEvent const& event) noexcept override;
    void on_idempotency(IdempotencyEvent event) noexcept override;
    void on_unsafe_store(std::string_view why) noexcept override;
    void on_store_call(StoreCallEvent const& event) noexcept override;
    void on_connection(ConnectionEvent const& event) noexcept override;
    void on_pool_wait(PoolWaitEvent const& event) noexcept override;

private:
    using Line = detail::FieldLine;

    static void duration(Line& line, std::string_view name, std::chrono::nanoseconds value);
    static void token(Line& line, FencingToken token);
    static void store(Line& line, StoreInfo const& store);
    static void cause(Line& line, Cause const& cause);

    void attempt(std::string_view what, RetryEvent const& event) noexcept;

    template <class Fill>
    void write(LogLevel level, std::string_view what, CallInfo const* call, Fill fill) noexcept;
    template <class Fill>
    void write(LogLevel level, std::string_view what, ObservedLock const& lock, Fill fill) noexcept;
    template <class Fill>
    void write_line(LogLevel level, std::string_view what, Fill fill) noexcept;

    Sink const sink_;
    LogOptions const options_;
};

}  // namespace v0
}  // namespace interlock

#include <interlock/observability/impl/log.ipp>

#endif  // INTERLOCK_OBSERVABILITY_LOG_HPP
