// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_POLICY_HPP
#define INTERLOCK_CORE_CONTRACTS_POLICY_HPP

/// @file
/// What a policy is: the members that a type must have so that `TransactionService` can run operations under
/// it. For authors of policies; whoever only uses one names it (`OptimisticVersioning`, ...) and needs
/// nothing from here.

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/transaction_context.hpp>

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Waiters of one service, unless it is told otherwise (law P10).
inline constexpr std::size_t default_max_waiters = std::size_t{1} << 20;

/// What a policy does about a key without a value.
enum class Missing : unsigned char {
    fail,  ///< `not_found`
    /// The operation gets a fresh state (the one named in the call, or `StateTraits<T>::from_key`), inserted
    /// at commit.
    create,
};

/// What a step of a policy came to: an outcome, or "not yet". After "not yet" the driver calls the same step
/// again once the waiter it passed was woken, or at `wake_at()`, whichever is first.
template <class R>
class [[nodiscard]] Step {
public:
    Step(Outcome<R> outcome) : outcome_(std::move(outcome)), state_(State::done) {}        // NOLINT
    Step(Failure failure) noexcept : outcome_(std::move(failure)), state_(State::done) {}  // NOLINT
    Step(Errc code) noexcept : outcome_(code), state_(State::done) {}                      // NOLINT
    /// An outcome made in place.
    template <class... A>
    explicit Step(std::in_place_t, A&&... arguments)
        : outcome_(std::forward<A>(arguments)...), state_(State::done)
    {}
    static Step pending(TimePoint wake_at = TimePoint::max()) { return Step{State::waiting, wake_at}; }
    /// Not yet, because a call of the store is under way: nobody is waited for.
    static Step under_way() { return Step{State::calling, TimePoint::max()}; }

    /// True: there is an outcome. False: "not yet".
    bool done() const noexcept { return state_ == State::done; }
    /// Of "not yet": whether a call of the store is under way, so that nobody else is waited for.
    bool calling() const noexcept { return state_ == State::calling; }
    /// Of "not yet": when to call the step again, if the waiter was not woken before.
    TimePoint wake_at() const noexcept { return at_; }
    /// The outcome, where `done()`.
    Outcome<R>& outcome() & { return outcome_; }
    Outcome<R>&& outcome() && { return std::move(outcome_); }

private:
    enum class State : unsigned char { done, waiting, calling };
    Step(State state, TimePoint at) noexcept : at_(at), state_(state) {}

    Outcome<R> outcome_;              // unknown, where the step is not done
    TimePoint at_{TimePoint::max()};  // see `wake_at`
    State state_;
};

namespace detail {

/// The one of the two forms of `commit` and `verify` that a transaction has.
template <class X>
Step<CommitResult> commit_step(X& transaction, OperationCommit const* operation, Waiter& waiter)
{
    if constexpr (requires { transaction.commit(operation, waiter); })
        return transaction.commit(operation, waiter);
    else
        return transaction.commit(operation);
}
/// Whether another operation was in the way, so that running again may succeed.
constexpr bool is_conflict(Errc code) noexcept
{
    return code == Errc::version_conflict || code == Errc::serialization_failure || code == Errc::deadlock ||
           code == Errc::lock_busy;
}
template <class X>
inline constexpr bool can_verify =
    requires(X& t, Waiter& waiter) { t.verify(waiter); } || requires(X& t) { t.verify(); };
template <class X>
Step<CommitResult> verify_step(X& transaction, Waiter& waiter)
{
    if constexpr (requires { transaction.verify(waiter); })
        return transaction.verify(waiter);
    else
        return transaction.verify();
}
/// What a transaction that began waits for, where it can tell; `ok`: it cannot.
template <class X>
Failure reason_of([[maybe_unused]] X& transaction)
{
    if constexpr (requires { transaction.reason(); })
        return transaction.reason();
    else
        return Errc::ok;
}

}  // namespace detail

/// What an operation may ask for, tried in this order; the first that its callable accepts wins and later
/// ones are never instantiated. With several keys each part stands once per key, in the order of the call. Of
/// a range the states come in one argument, and so do the locks: see `keys(range)`.
enum class Form : unsigned char {
    states,              ///< `T&`
    states_transaction,  ///< `T&, Repository::transaction_type&`
    states_context,      ///< `T&, TransactionContext&`
    locks,               ///< `Lock<T>&`: runs under the lock, reads and writes no value
    locks_context,       ///< `Lock<T>&, TransactionContext&`
    states_locks,        ///< `T&, Lock<T>&`
    // Only where the store is a `RecordingRepository`:
    states_recorder,              ///< `T&, Recorder&`
    states_transaction_recorder,  ///< `T&, Repository::transaction_type&, Recorder&`
    states_context_recorder,      ///< `T&, TransactionContext&, Recorder&`
};

/// Whether the operation sees its locks.
constexpr bool takes_locks(Form form) noexcept
{
    return form == Form::locks || form == Form::locks_context || form == Form::states_locks;
}

/// Whether what the operation records is committed with its states.
constexpr bool has_recorder(Form form) noexcept
{
    return form >= Form::states_recorder;
}
/// The form without its `Recorder`.
constexpr Form without_recorder(Form form) noexcept
{
    switch (form) {
    case Form::states_recorder: return Form::states;
    case Form::states_transaction_recorder: return Form::states_transaction;
    case Form::states_context_recorder: return Form::states_context;
    default: return form;
    }
}
/// The form with a `Recorder` behind what it has; one that has no such form stays.
constexpr Form with_recorder(Form form) noexcept
{
    switch (form) {
    case Form::states: return Form::states_recorder;
    case Form::states_transaction: return Form::states_transaction_recorder;
    case Form::states_context: return Form::states_context_recorder;
    default: return form;
    }
}

/// Whether the value is loaded before and committed after the operation.
constexpr bool uses_values(Form form) noexcept
{
    return form != Form::locks && form != Form::locks_context;
}

/// What a policy's begin came to: ready to run, or answered by an earlier execution.
struct Begun {
    Begun() noexcept {}  // not an aggregate: made in place without being zeroed first
    Begun(bool was_replayed, bool was_rejected, std::string its_answer)
        : replayed(was_replayed), rejected(was_rejected), answer(std::move(its_answer))
    {}

    bool replayed{false};
    bool rejected{false};  ///< the answer is the text of a `FinalRejection`
    std::string answer{};
};

/// What a call came to, as `conclude` is told it.
enum class CallEnd : unsigned char {
    applied,
    found,        ///< applied, by this call or by another one: its answer was found in the operation's record
    not_applied,  ///< the operation threw, too
    unknown,      ///< it may have been applied
};

/// Limits of a policy's retry loop.
struct RetryLimits {
    /// In total, including the first. At least 1.
    int max_attempts{1};
    Backoff backoff{};
    /// After a commit that came to `lock_busy` the policy's begin waits for whoever was in its way: that is
    /// no attempt.
    bool waits_when_busy{false};
};

/// What a policy needs of a repository; see `PolicyFor`.
struct Needs {
    bool versions{false};    ///< `VersionedRepository`
    bool row_locks{false};   ///< `RowLockingRepository`
    bool leases{false};      ///< `LeaseRepository`
    bool fences{false};      ///< `FencedRepository`
    bool operations{false};  ///< `OperationRepository`
};

/// Says that a type means to be a policy; syntax alone cannot tell.
struct transaction_policy_tag {};

/// Whether a transaction of `session` holds something, from its `begin` on, that others wait for in theirs: a
/// lock, a row. Only the end of such a transaction lets others go on, so its threads are never those that
/// others wait on. A session that does not say so by `holds_in_begin()` is taken to hold something, which is
/// the careful answer.
template <class Session>
constexpr bool holds_in_begin(Session const& session) noexcept
{
    if constexpr (requires { session.holds_in_begin(); })
        return session.holds_in_begin();
    else
        return true;
}

/// How conflicts are handled: a value with its configuration, plugged into `TransactionService`.
///
/// | member | meaning |
/// |---|---|
/// | `P::policy_concept` | `transaction_policy_tag` |
/// | `P::name` | for metrics |
/// | `P::needs` | a `Needs` |
/// | `P::Session<R>` | what a service keeps per repository, made from `(P, R, Observer*)`; see below |
///
/// A session `S` has `name`, `repository()`, `retry_limits()`, `unfit(keys, deadline)` (nothing, or why not
/// now), optionally `policy_name()` (what events call the policy, where it is not `name`), `in_place()`
/// (whether none of its steps blocks when the waiter says that it must not) and `holds_in_begin()` (see the
/// function of that name), the constants `forms` (an array of `Form`, in the
/// order in which they are tried) and `guarded(form)` (whether the effect is a write made through the store),
/// and `S::Transaction<N, form>`, one call on N keys. For a range N is `std::dynamic_extent`, and there are
/// as many keys as the transaction is given when it is made; `kit/per_key.hpp` serves both:
///
/// | member of a transaction | result | meaning |
/// |---|---|---|
/// | `t.begin(waiter)` | `Step<Begun>` | make the states ready; called again after "not yet", and to run again after a conflict |
/// | `t.refusal()` | `std::optional<Failure>` | after the operation: why its result must not be committed |
/// | `t.commit(operation)`, or `t.commit(operation, waiter)` | `Outcome<CommitResult>`, or `Step<CommitResult>` | apply, and end the transaction when applied; with a waiter: called again after "not yet" |
/// | `t.rollback(unresolved)` | | undo and end; `unresolved`: a commit may still arrive |
/// | `t.abandon()` | | stop waiting in `begin`; afterwards no waiter is woken |
/// | `t.lost()`, `t.listen(waiter)` | | optional: whether a lock is lost; whom to wake then |
/// | `t.verify()`, or `t.verify(waiter)` | likewise | optional: after a throw: were the states those of one moment? A conflict: no, run again. Any other failure: nobody knows, so that the exception is no result |
/// | `t.reject(text)`, or `t.reject(text, waiter)` | likewise, of `Begun` | optional: the operation threw `FinalRejection`; called after `rollback`. What the request came to: this rejection, or what somebody else stored meanwhile; a failure: nothing is stored |
/// | `t.attempt()` | `std::uint32_t` | optional: the attempt that `commit` makes, where the policy knows it better than the call |
/// | `t.resolved(applied)` | | optional: what became of a commit that was unknown. Applied: now is the time for all that a commit which is applied at once does; `rollback` follows. Not applied: its attempt is forbidden, `begin` follows |
/// | `t.conclude(end, answer, waiter)` | `Step<Begun>` | optional: the last step of every call, after `rollback`. Replayed: the same operation was applied elsewhere, and that is the answer |
/// | `t.state(i)`, `t.lock(i)`, `t.store_transaction()` | | what the operation gets, as `form` needs it |
///
/// Extend a policy by deriving from it, its session and its transaction, as `examples/custom_policy.cpp`
/// does.
// clang-format off
template <class P>
concept TransactionPolicy = std::copyable<P> && requires {
    requires std::same_as<typename P::policy_concept, transaction_policy_tag>;
    { P::name } -> std::convertible_to<std::string_view>;
    { P::needs } -> std::convertible_to<Needs>;
};

/// A policy and a repository that fit. A flat conjunction without "or", so that compilers go down to the
/// missing member without extra flags.
template <class P, class R>
concept PolicyFor = TransactionPolicy<P> && Repository<R> &&
    VersionedRepository<detail::needed<P::needs.versions, R>> &&
    RowLockingRepository<detail::needed<P::needs.row_locks, R>> &&
    LeaseRepository<detail::needed<P::needs.leases, R>> &&
    FencedRepository<detail::needed<P::needs.fences, R>> &&
    OperationRepository<detail::needed<P::needs.operations, R>>;
// clang-format on

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_POLICY_HPP
