// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_MACHINE_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_MACHINE_HPP

/// @file
/// The brain of `do_in_transaction`, whatever the policy: which step is next, when to try again, and what the
/// end means. The machine has no I/O, no clock and no thread: events and the time go in, actions come out.
/// The blocking and the asynchronous driver only carry the actions out, so both keep the same promises, and a
/// test can walk through every order of events.

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/separate_compilation.hpp>

#include <cstdint>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What the driver does next. The driver answers each action by the event of the same name: `begin` by
/// `began`, and so on.
enum class Action : unsigned char {
    look_up,   ///< ask the store whether the operation id has an answer
    begin,     ///< the policy's begin
    run,       ///< the user's callable
    verify,    ///< the policy's verify: were the states on which the callable threw the states of one moment?
    commit,    ///< the policy's commit
    rollback,  ///< the policy's rollback
    reject,    ///< the policy's reject: the callable threw what is to be kept like an answer
    conclude,  ///< the policy's conclude, for a policy that has one: before every end
    resolve,   ///< find out what became of a commit: look the operation id up, else forbid this attempt
    sleep,     ///< until `wake_at()`
    finish,    ///< `result()` is final
};

/// How the user's callable ended.
enum class Ran : unsigned char {
    returned,
    threw,      ///< the exception goes to the caller
    lock_lost,  ///< the lock was lost while it ran, or it was cancelled for that
};

/// What became of a commit whose outcome was unknown.
enum class Resolved : unsigned char {
    applied,
    not_applied,  ///< and it can no longer be applied
    unknown,      ///< the store did not answer
};

/// Whether the call has an operation id, and who asks for its answer.
enum class HasId : unsigned char { no, yes, looked_up_by_begin };

/// One call, from its entry to its result. Not thread-safe: its driver calls one member at a time.
/// What a call goes through that nothing disturbs is inline; what follows a failure is compiled once.
class TransactionMachine {
public:
    /// `guarded`: the effect of the operation is a write made through the store, so that nothing has happened
    /// until it is committed. Not so for an operation under a lock alone, which has its effect while it runs.
    /// `concludes`: the policy has something to do at the end of every call.
    TransactionMachine(
        RetryLimits const& limits, TimePoint deadline, HasId has_id, bool guarded = true,
        bool concludes = false) noexcept
        : initial_(limits.backoff.initial), cap_(limits.backoff.cap), deadline_(deadline),
          immediate_(limits.backoff.immediate), max_attempts_(limits.max_attempts), has_id_(has_id),
          waits_when_busy_(limits.waits_when_busy), guarded_(guarded), concludes_(concludes)
    {}

    /// The call begins.
    Action start(TimePoint now) noexcept
    {
        if (now >= deadline_)
            return finish(Errc::deadline_exceeded);
        if (has_id_ == HasId::yes)
            return Action::look_up;
        return next_attempt();
    }

    /// `answered`: the operation id has an answer. `code`: not `ok` when the store could not tell.
    Action looked_up(bool answered, Errc code, TimePoint now, std::uint64_t random) noexcept;

    /// The policy's begin came to `code`.
    Action began(Errc code, TimePoint now, std::uint64_t random) noexcept
    {
        if (code != Errc::ok) {
            if (worth_beginning_again(code))
                return retry(code, Action::begin, now, random);
            return finish(code);
        }
        begun_ = true;
        if (cancelled_)
            return roll_back(Errc::cancelled);
        return Action::run;
    }

    /// The user's callable has ended.
    Action ran(Ran how, TimePoint now) noexcept
    {
        if (how == Ran::threw) {
            threw_ = true;
            return roll_back(Errc::ok);
        }
        if (how == Ran::lock_lost) {
            // An operation whose effect is a guarded write has sent nothing yet, so nothing was applied.
            // Without a guarded write the operation itself was the effect, and it was interrupted somewhere.
            return guarded_ ? roll_back(Errc::lock_lost) : roll_back(Errc::outcome_unknown, Errc::lock_lost);
        }
        if (guarded_) {
            // This is the last moment at which stopping is safe: once the commit is sent, the store may apply
            // the write.
            if (cancelled_)
                return roll_back(Errc::cancelled);
            if (now >= deadline_)
                return roll_back(Errc::deadline_exceeded);
        }
        return Action::commit;
    }

    /// The operation threw, but the states that it saw were not the states of one moment, or the store could
    /// not say that they were: it runs again, or the call ends with `code`.
    Action not_verified(Errc code, TimePoint now, std::uint64_t random) noexcept;

    /// The operation threw what is to be kept like an answer. What was begun is rolled back first, as a step
    /// of its own: others may wait for what it holds, on all the threads that keeping the answer may need.
    Action rejects() noexcept
    {
        rejects_ = begun_;
        return begun_ ? Action::rollback : Action::reject;
    }

    /// The operation shared a batch, and what it made was dropped together with what others made. It runs
    /// again, and the run that was dropped counts as no attempt.
    Action again(TimePoint now) noexcept;

    /// The operation returned, but what it made must not be committed.
    Action refused(Errc code) noexcept
    {
        return guarded_ ? roll_back(code) : roll_back(Errc::outcome_unknown, code);
    }

    /// The policy's commit came to `code`. `duplicate`: an earlier execution of the same operation id was
    /// applied instead. `cause`: why the outcome is unknown.
    Action committed(Errc code, bool duplicate, Errc cause, TimePoint now, std::uint64_t random) noexcept
    {
        if (code != Errc::ok)
            return commit_failed(code, cause, now, random);
        begun_ = false;
        return duplicate ? finish_replayed() : finish(Errc::ok);
    }

    /// An unknown commit was looked into.
    Action resolved(Resolved how, TimePoint now, std::uint64_t random) noexcept;

    /// The driver has slept until `wake_at()`, or was woken early.
    Action slept(TimePoint now) noexcept;

    /// The policy's rollback is done.
    Action rolled_back() noexcept
    {
        begun_ = false;
        if (std::exchange(rejects_, false))
            return Action::reject;
        return end();
    }

    /// The policy's conclude is done. `answered`: it turned out that the same operation was applied by
    /// another call. That is then the answer, whatever this call came to. `code`: not `ok` when the answer
    /// that was found turned out not to be the answer to this call.
    Action concluded(bool answered, Errc code = Errc::ok, Errc cause = Errc::ok) noexcept;

    /// Whether a cancellation may cut the sleep short. It must not while the driver waits to find out what
    /// became of a commit that was sent.
    bool may_wake_early() const noexcept { return after_sleep_ != Action::resolve; }

    /// Takes effect at the next event at which the call may still stop. Once the commit was sent, it is
    /// ignored.
    void cancel() noexcept { cancelled_ = true; }
    bool cancelled() const noexcept { return cancelled_; }
    /// What a run that counts as no attempt came to, see `last_error`.
    void note_error(Errc code) noexcept { last_error_ = code; }

    RetryLimits limits() const noexcept
    {
        return {max_attempts_, {.initial = initial_, .cap = cap_, .immediate = immediate_}, waits_when_busy_};
    }
    /// The code with which the call ends; `ok` also when the operation threw.
    Errc result() const noexcept { return result_; }
    /// Why the outcome is unknown.
    Errc cause() const noexcept { return cause_; }
    /// The error of the attempt before, when the deadline or the number of attempts ended the call.
    Errc last_error() const noexcept { return last_error_; }
    /// The operation threw, and its exception is the result.
    bool threw() const noexcept { return threw_; }
    /// The result is the stored answer of an earlier execution.
    bool replayed() const noexcept { return replayed_; }
    /// Runs of the operation that count as attempts.
    int attempts() const noexcept { return attempts_; }
    /// Failures after which another attempt made sense.
    int retries() const noexcept { return retries_; }
    TimePoint wake_at() const noexcept { return wake_at_; }
    TimePoint deadline() const noexcept { return deadline_; }

private:
    // After these failures of a begin or a look-up, asking again may succeed.
    static constexpr bool worth_beginning_again(Errc code) noexcept
    {
        return code == Errc::serialization_failure || code == Errc::deadlock || code == Errc::unavailable;
    }
    static constexpr bool worth_running_again(Errc code) noexcept
    {
        return is_conflict(code) || code == Errc::superseded || code == Errc::unavailable ||
               // The state was created or erased since the operation saw it.
               code == Errc::already_exists || code == Errc::not_found;
    }

    // See `committed`.
    Action commit_failed(Errc code, Errc cause, TimePoint now, std::uint64_t random) noexcept;

    // An attempt begins, and is counted.
    Action next_attempt() noexcept
    {
        ++attempts_;
        return Action::begin;
    }

    // Something failed with `code` that may succeed when it is tried again: `again` follows, perhaps after a
    // sleep, unless attempts or time are used up.
    Action retry(Errc code, Action again, TimePoint now, std::uint64_t random) noexcept;

    // The call ends with `result`. What was begun is rolled back first.
    Action roll_back(Errc result, Errc cause = Errc::ok) noexcept
    {
        result_ = result;
        cause_ = cause;
        return begun_ ? Action::rollback : end();
    }

    Action finish(Errc result) noexcept
    {
        result_ = result;
        return end();
    }

    Action end() const noexcept { return concludes_ ? Action::conclude : Action::finish; }

    Action finish_replayed() noexcept
    {
        replayed_ = true;
        return roll_back(Errc::ok);
    }

    // The limits, without their padding: very many calls may wait at a time.
    std::chrono::nanoseconds initial_;
    std::chrono::nanoseconds cap_;
    TimePoint deadline_;
    TimePoint wake_at_{};  // of `sleep`
    int immediate_;
    int max_attempts_;
    int attempts_{0};
    int retries_{0};      // bounds the attempts, and sets the length of the waits
    int resolutions_{0};  // how often a `resolve` remained without an answer
    Errc result_{Errc::ok};
    Errc cause_{Errc::ok};
    Errc unknown_cause_{Errc::ok};  // of the commit that is being looked into
    Errc last_error_{Errc::ok};
    Action after_sleep_{Action::begin};  // what follows `sleep`
    HasId has_id_;
    bool waits_when_busy_;
    bool guarded_;
    bool concludes_;
    bool begun_{false};  // the policy has begun and not ended, so that an end must roll back
    bool cancelled_{false};
    bool threw_{false};
    bool replayed_{false};
    bool rejects_{false};  // a rollback is under way, and `reject` follows
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/transaction/impl/transaction_machine.ipp>
#endif

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_MACHINE_HPP
