// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_CALL_CORE_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_CALL_CORE_HPP

/// @file
/// What a call of do_in_transaction is, whatever its state, its store, its policy and its operation are: the
/// context that the operation sees, the machine that decides, what the step before came to, and what the
/// observer is told. Compiled once, so that an operation adds to a program only what depends on it.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/detail/transaction/call_arguments.hpp>
#include <interlock/core/detail/transaction/transaction_machine.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/separate_compilation.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Whether an exception is Asio's way to say that what was awaited was cancelled.
bool is_cancellation(std::exception_ptr const& exception) noexcept;

/// A failure, or none: as an optional, without the room for its flag.
class LastFailure {
public:
    explicit operator bool() const noexcept { return failure_.errc() != Errc::ok; }
    Failure const* operator->() const noexcept { return &failure_; }
    Failure const& operator*() const& noexcept { return failure_; }
    Failure&& operator*() && noexcept { return std::move(failure_); }
    template <class... A>
    void emplace(A&&... a)
    {
        failure_ = Failure(std::forward<A>(a)...);
    }
    void reset() noexcept { failure_ = Failure{Errc::ok}; }

private:
    Failure failure_{Errc::ok};
};

/// The part of a call that depends on nothing of it. Not thread-safe: its driver calls one member at a time.
class CallCore {
public:
    CallCore(CallCore const&) = delete;
    CallCore& operator=(CallCore const&) = delete;

    /// Instead of a start that would send something.
    void cancel_before_start()
    {
        if (!failure_)
            refuse(Errc::cancelled, "cancelled before anything was sent");
    }

    /// Room for what the listener hears of a call. Few calls have one, so that the driver has the room, and
    /// not each call that waits.
    union Told {
        Told() noexcept {}
        CallInfo info;
    };
    static_assert(std::is_trivially_destructible_v<CallInfo>);

    /// The first action. `told` must outlive the call; null: the call has no listener.
    Action start(Told* told) noexcept
    {
        if (listener_ != nullptr) [[unlikely]]
            observe_begin(*told);
        refused_ = static_cast<bool>(failure_);
        return refused_ ? Action::finish : machine_.start(started_);
    }

    /// As if the store had answered `action`, which was not begun, with `code`.
    void not_made(Action action, Errc code);

    void set_exception(std::exception_ptr exception) noexcept { exception_ = std::move(exception); }

    /// When to look again at a step that was "not yet", if nobody wakes the driver before.
    TimePoint wake_at() const noexcept { return wake_at_; }
    TransactionMachine& machine() noexcept { return machine_; }
    TimePoint deadline() const noexcept { return context_.deadline(); }

    /// For whom it is told on which thread the call goes on; null: nobody.
    CallInfo const* observed() const noexcept { return info_; }

    /// Whether the call ends by the exception of its operation.
    bool threw() const noexcept { return !refused_ && machine_.threw(); }
    /// That exception; null when there is none.
    std::exception_ptr exception() const noexcept { return threw() ? exception_ : std::exception_ptr{}; }

protected:
    CallCore(
        void const* store, std::span<Key const> keys, CallTerms const& terms, RetryLimits const& limits,
        HasId has_id, bool guarded, bool concludes)
        : context_(store, keys, terms.deadline.end_of_call(terms.now)),
          machine_(limits_of(terms, limits), context_.deadline(), has_id, guarded, concludes),
          listener_(terms.listener), name_(terms.name), started_(terms.now)
    {
        if (terms.deadline.tries_once())
            ContextAccess::set_tries_once(context_);
        ContextAccess::set_operation_id(context_, terms.id);
        ContextAccess::set_request(context_, terms.request);
        ContextAccess::set_outer(context_, terms.outer);
        ContextAccess::set_cause(context_, terms.cause);
    }
    ~CallCore()
    {
        if (info_) [[unlikely]]
            observe_vanished();
    }

    /// Everything that can be known to be wrong before any I/O. `order`: of the keys, by their bytes.
    /// `generation`: of this process.
    void check(CallTerms const& terms, std::span<std::size_t const> order, std::uint64_t generation);
    /// Before that, whether a range names neither no key nor too many.
    bool right_number(RangeKeys const& keys);
    template <class Array>
    static constexpr bool right_number(Array const&) noexcept
    {
        return true;
    }
    void refuse(Errc code, char const* text) { failure_.emplace(code, text); }

    // ---- What a step came to ----

    /// Before a step tells: nothing yet.
    void clear() noexcept
    {
        code_ = Errc::ok;
        answered_ = false;
    }
    void record_failure(Failure failure)
    {
        if (failure.errc() == Errc::deadline_exceeded && was_retried())
            failure = after_deadline(std::move(failure));
        code_ = failure.errc();
        cause_ = failure.cause();
        failure_.emplace(std::move(failure));
    }
    /// The commit of a batch that this call shared has failed, and the call runs again: what that commit came
    /// to is the reason if the deadline comes first.
    void note_dropped()
    {
        if (!failure_ || failure_->errc() != Errc::version_conflict || failure_->cause() == Errc::ok)
            return;
        machine_.note_error(failure_->cause());
        keep_retried(Failure{failure_->cause(), failure_->detail()});
    }
    /// The wait of `begin` ends with `code`. `reason`: what it waited for; `ok`: nobody knows.
    void expired(Errc code, Failure reason)
    {
        code_ = code;
        if (reason.errc() != Errc::ok)
            failure_.emplace(Failure::because(code, std::move(reason)));
        else
            failure_.reset();
    }
    /// The operation has returned after the deadline. What the call waited for before is the `reason`, where
    /// there is one.
    [[gnu::cold]] void note_late(Failure reason)
    {
        if (reason.errc() != Errc::ok)
            failure_.emplace(Failure::because(Errc::deadline_exceeded, std::move(reason)));
    }
    /// The exception that is being handled came out of a step of the policy: as if the store had said so. A
    /// store does not throw, but a `T`, what it is compared, copied or named with, and the memory for all of
    /// it may.
    void record_exception(Action action);
    /// The operation need not run: somebody stored what it comes to. Of a rejection, the exception.
    void record_answered(bool rejected, std::string const& text)
    {
        answered_ = true;
        if (rejected)
            exception_ = std::make_exception_ptr(FinalRejection(text));
    }
    bool wait_until(TimePoint at) noexcept
    {
        wake_at_ = at;
        return false;
    }
    bool wait_for_store() noexcept { return wait_until(TimePoint::max()); }

    // ---- The events of the machine ----

    /// An answer was found where the policy began or rejected.
    Action replay() noexcept
    {
        return exception_ ? machine_.ran(Ran::threw, TimePoint{})
                          : machine_.looked_up(true, Errc::ok, TimePoint{}, 0);
    }

    /// The next action after one that needs neither the policy's transaction nor the operation's result.
    template <class R>
    Action feed_store(Action action, R const& runtime)
    {
        switch (action) {
        case Action::look_up:
            if (code_ == Errc::ok)
                return machine_.looked_up(answered_, Errc::ok, TimePoint{}, 0);
            return failed(action, runtime);
        case Action::resolve: return failed(action, runtime);
        case Action::rollback: return machine_.rolled_back();
        case Action::reject:
            // Not kept means not final: whoever comes next runs the operation.
            return answered_ ? replay() : machine_.refused(code_);
        case Action::conclude: return machine_.concluded(answered_, code_, cause_);
        case Action::sleep: return machine_.slept(runtime.now());
        default: return Action::finish;
        }
    }

    /// The next action after a step that failed, or that looked into a failure. May be an attempt more.
    template <class R>
    Action failed(Action action, R const& runtime)
    {
        auto const retries = machine_.retries();
        auto const attempt = machine_.attempts();
        auto const next = feed_failure(action, runtime.now(), runtime.random_bits());
        if (machine_.retries() != retries)
            note_retry();
        if (info_ && machine_.retries() != retries)
            observe_retry(
                {info_->policy, code_, attempt,
                 next == Action::sleep ? machine_.wake_at() - runtime.now() : std::chrono::nanoseconds{0},
                 next == Action::sleep || next == Action::begin || next == Action::look_up, info_});
        return next;
    }

    // ---- The end ----

    /// How the policy is told of the end.
    CallEnd end() const noexcept
    {
        if (machine_.result() == Errc::outcome_unknown)
            return CallEnd::unknown;
        if (machine_.result() != Errc::ok || machine_.threw())
            return CallEnd::not_applied;
        return machine_.replayed() ? CallEnd::found : CallEnd::applied;
    }
    /// Whether the call failed after attempts that failed otherwise, so that only their number explains it.
    bool ends_after_attempts() const noexcept
    {
        auto const code = machine_.result();
        return !refused_ && code != Errc::outcome_unknown && !(failure_ && failure_->errc() == code) &&
               machine_.last_error() != Errc::ok;
    }
    /// Whether more is known of a call that its deadline ended than how long its operation took.
    bool explains_deadline() const noexcept
    {
        return was_retried() || (failure_ && failure_->errc() == Errc::deadline_exceeded);
    }
    bool was_retried() const noexcept { return machine_.last_error() != Errc::ok; }
    /// Keeps why the attempt failed that is made once more.
    void note_retry();
    /// Without memory it is not known, which costs a line of the last message.
    void keep_retried(Failure failure) noexcept;
    /// `failure`, which ended a call of several attempts, with what ended the attempt before. `place`: stands
    /// before the text.
    [[gnu::cold]] Failure after_attempts(Failure const& failure, std::string place) const;
    /// `failure`, which the deadline made of an attempt that was not the first one, with what the store said
    /// to that before.
    [[gnu::cold]] Failure after_deadline(Failure failure) const;
    /// `failure` of a call that has used up its attempts says how many they were.
    [[gnu::cold]] Failure with_attempts(Failure failure) const;
    /// Of a call that comes to no result. `place`: of the store, where `ends_after_attempts()`.
    Failure failure_at_end(std::string place);

    void observe_unknown(Effect resolved) const noexcept
    {
        if (info_)
            listener_->observer->on_unknown({cause_, resolved, info_});
    }
    template <class R, class X>
    void observe_end(Outcome<X> const& end, R const& runtime)
    {
        if (info_) [[unlikely]]
            observe_end(
                end.errc(), threw() && exception_ != nullptr, end.replayed(), runtime.now() - started_);
    }

    TransactionContext context_;
    TransactionMachine machine_;
    Listener const* listener_;  // null: nobody
    char const* name_;          // what the call's options say of it
    TimePoint started_;
    TimePoint wake_at_{TimePoint::max()};
    LastFailure failure_;               // what the call was refused for, or the last failure that was told
    std::unique_ptr<Failure> retried_;  // what ended the attempt that was made once more, if that was told
    std::exception_ptr exception_;      // of the operation, or the rejection that was stored instead
    CallInfo* info_{nullptr};           // for the listener, from the begin to the end
    Errc code_{Errc::ok};               // what the step before came to
    Errc cause_{Errc::ok};              // why that is unknown
    Resolved resolved_{Resolved::unknown};
    bool answered_{false};  // the step before found the answer of an earlier execution
    bool fit_{false};       // the session was asked whether it is fit, which may take a trip to the store
    bool refused_{false};   // before the start

private:
    /// `a` and `b`: the places of one key.
    [[gnu::cold]] void refuse_twice(std::span<Key const> keys, std::size_t a, std::size_t b);
    /// A call that tries once has one attempt; limits out of range stay what they are.
    static RetryLimits limits_of(CallTerms const& terms, RetryLimits limits) noexcept
    {
        if (terms.deadline.tries_once() && limits.max_attempts > 1) {
            limits.max_attempts = 1;
            limits.waits_when_busy = false;
        }
        return limits;
    }
    /// Whether what the store says of `action` may be what the call comes to.
    static bool reports(Action action) noexcept
    {
        return action != Action::resolve && action != Action::rollback && action != Action::conclude;
    }
    Action feed_failure(Action action, TimePoint now, std::uint64_t random);
    void observe_retry(RetryEvent const& event) const noexcept;
    [[gnu::cold]] void observe_begin(Told& told) noexcept;
    [[gnu::cold]] void observe_end(
        Errc result, bool user_exception, bool replayed, std::chrono::nanoseconds duration) noexcept;
    /// The call went away without an end, with the executor that it waited for. Nobody knows how far it was.
    [[gnu::cold]] void observe_vanished() noexcept;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/transaction/impl/call_core.ipp>
#endif

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_CALL_CORE_HPP
