// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_LOCK_STATE_SERVICE_HPP
#define INTERLOCK_CORE_LOCK_STATE_SERVICE_HPP

/// @file
/// Acquires and releases locks on states: queues locally, tries the store, waits, renews, hands on. Use it
/// for work that is not a transaction on the state itself, such as a job that must not run twice at a time.
///
///     interlock::redis::StateRepository<Job> jobs{client};
///     interlock::LockStateService locks{jobs, {.ttl = 30s}};
///     auto lock = locks.acquire("nightly-report", {.deadline = 1min});  // renewed until it is released
///     run_report(lock.fencing_token(), lock.stop_token());
///
/// To change a state under a lock use a `TransactionService` with the policy `SetNxLock`, which reads and
/// writes in the same trips that take and release the lock.

#include <interlock/core/detail/locks/lock_calls.hpp>
#include <interlock/core/detail/locks/lock_operations.hpp>
#include <interlock/core/detail/locks/store_of_locks.hpp>
#include <interlock/core/kit/lock_access.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/safe_argument.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/state_traits.hpp>

#include <boost/asio/async_result.hpp>

#include <concepts>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// The article's `LockStateService`: gives out `Lock<T>` (or, asked for by `Assurance::efficiency`,
/// `EfficiencyLock<T>`) on states of a repository.
///
/// **Guarantee.** Per key, callers of one service get the lock in the order in which they came; of all
/// services on a store at most one holds it, see `Lock`. A held lock is renewed until it is released. A
/// grant that arrives after its caller gave up is given back. Nothing is renewed after its release has
/// completed. Who was granted the lock, or is next in line, and does not come for it within a second, since
/// its executor stands still, keeps it from nobody: that lease is not renewed, that turn passes to the
/// next. **Does not guarantee.** Order between services beyond what the store keeps; that a lock outlives a
/// loss of the store. **Needs.** `FencedRepository` for `Lock<T>`; `LeaseRepository` for
/// `EfficiencyLock<T>`. **Lifetimes.** A shared handle: copies share one queue; locks and pending
/// operations keep it alive. The last service to go waits, for a second at most, for locks that are being
/// released on the library's threads; an observer must outlive it and the locks it gave out. Made before a
/// fork it is `misconfigured` in the child, where its locks release nothing. **Thread safety.** Everything:
/// safe. A lock may be released on another thread than it was acquired on. **Cost.** Uncontended: one trip
/// to acquire and one to release. Handed on locally: none.
template <class T, class Repository, Assurance Level>
class LockStateService {
    using Table = detail::LockTableOf<Repository, Level>;

    static_assert(
        !detail::looks_like_a_repository<T>,
        "name the state first: LockStateService<T, Repository>, LockStateServiceFor<Repository>, or "
        "LockStateService<T>, whose repository is chosen at run time");

public:
    using value_type = T;
    using repository_type = Repository;
    using key_type = typename Repository::key_type;
    using lock_type = std::conditional_t<Level == Assurance::fenced, Lock<T>, EfficiencyLock<T>>;

    /// Asks the store nothing yet. Options out of range are `invalid_argument` at the first call.
    explicit LockStateService(Repository repository, LockOptions options = {})
        requires LeaseRepository<Repository> &&
                 FencedRepository<detail::needed<Level == Assurance::fenced, Repository>>
        : handle_(std::make_shared<Handle>(std::make_shared<Table>(std::move(repository), options)))
    {}

    /// A mistake, told at its line.
    template <class R>
        requires std::same_as<R, Repository>
    INTERLOCK_WRITE_INSTEAD(
        "pass the repository itself instead of a pointer: it is a handle, and its copies share one store")
    explicit LockStateService(R* repository, LockOptions options = {});
    /// A mistake, told at its line.
    template <class P>
        requires TransactionPolicy<P>
    INTERLOCK_WRITE_INSTEAD(
        "pass the repository, and LockOptions: LockStateService locks{repository, {.ttl = 10s}}; a policy "
        "goes to a TransactionService, together with these locks")
    LockStateService(P policy, Repository repository, LockOptions options = {});

    /// The store that keeps the lock records.
    Repository const& repository() const noexcept { return table()->repository(); }
    /// The options that the service was made with.
    LockOptions const& options() const noexcept { return table()->options(); }
    /// Callers of this service, blocking and asynchronous, that wait for a lock at this moment. For a
    /// gauge.
    std::size_t waiter_count() const { return table()->waiter_count(); }

    /// Waits for the lock on `state` (a `T`, or its key) until the deadline.
    ///
    /// **Outcome.** The lock, or throws `Error`: `deadline_exceeded`, `lock_busy` (attempts used up),
    /// `would_deadlock` (an operation of this thread works on the same key), `overloaded`, `unavailable`,
    /// `misconfigured`, `invalid_argument`. In each case nothing is held: what may have been granted all
    /// the same, since an answer was lost, is given back without the caller, as often as it takes until its
    /// lease is over. **Cost.** One trip to the store when nobody else is there.
    template <KeyOrState<T, key_type> A>
    lock_type acquire(A const& state, AcquireOptions options = {}) const
    {
        return acquire_outcome(state, Wait::until_deadline, options).value();
    }

    /// The lock if it is free, nothing if somebody holds it. Throws `Error` as `acquire` does for the rest.
    ///
    /// Waits for no holder. It may wait for the end of a release in this process whose record is just being
    /// removed, by the default deadline: such a lock is nobody's. **Cost.** One trip at most.
    template <KeyOrState<T, key_type> A>
    std::optional<lock_type> try_acquire(A const& state) const
    {
        auto hold = detail::acquire_blocking(table(), make_key<T, key_type>(state), Wait::no, {});
        if (hold)
            return lock_type{state_of(state), *std::move(hold)};
        if (hold.errc() == Errc::lock_busy)
            return std::nullopt;
        explained(std::move(hold).failure(), repository()).raise();
    }

    /// A mistake, told at its line.
    template <KeyOrState<T, key_type> A, std::convertible_to<Deadline> D>
    INTERLOCK_WRITE_INSTEAD("name the deadline, in braces: acquire(key, {.deadline = 5s})")
    lock_type acquire(A const& state, D deadline) const;
    /// A mistake, told at its line.
    template <KeyOrState<T, key_type> A, std::convertible_to<Deadline> D>
    INTERLOCK_WRITE_INSTEAD(
        "call acquire(key, {.deadline = 5s}), which waits for that long, or acquire_outcome, which does not "
        "throw when the time is over: try_acquire waits for no holder")
    std::optional<lock_type> try_acquire(A const& state, D deadline) const;

    /// As `lock.release()`: the article's word for it. The lock need not be one of this service.
    Outcome<void> release(lock_type& lock) const { return lock.release(); }
    Outcome<void> release(lock_type&& lock) const { return lock.release(); }

    /// Writes a value under the lock's fence: applied only while the store still names this acquisition.
    ///
    ///     auto seen = nights.load(date).value();   // under the lock: what its last holder left
    ///     ++seen.value.done;
    ///     seen.version = locks.write(lock, seen.version, seen.value).value();
    ///
    /// **Outcome.** The new version; `fenced_out` or `lock_lost` when somebody else may hold the lock, and
    /// `fenced_out` for a value whose key is not the lock's; `version_conflict` when the value is not at
    /// `version` any more, `already_exists` when there is one (`no_version`), `not_found` when there is none.
    /// After `outcome_unknown` the lock is not handed on locally: the next holder asks the store, which
    /// fences the write out. **Cost.** One trip, which does not give the lock back. **Deadline.** 5 s, or
    /// the end of the lease if that is earlier.
    Outcome<Version> write(lock_type const& lock, Version version, T const& value) const
        requires(Level == Assurance::fenced)
    {
        auto const key = make_key<T, key_type>(value);
        auto written = detail::guarded_write(repository(), lock, key, version, value);
        if (written.errc() == Errc::fenced_out)
            table()->observe_fenced_out(key, lock.fencing_token());
        if (!written)
            explain(written, repository());
        return written;
    }

    /// As `acquire`, without blocking.
    ///
    /// **Completion.** `void(error_code, lock_type)`, on the handler's associated executor, exactly once,
    /// never from within this call. An empty lock when there is an error. An `error_code` has no words: why
    /// there is no lock, `async_acquire_outcome` says. **Cancellation.** All types: leaves the queue, or
    /// gives back what was granted meanwhile; `cancelled`.
    template <
        KeyOrState<T, key_type> A,
        boost::asio::completion_token_for<void(error_code, lock_type)> CompletionToken>
    auto async_acquire(A&& state, AcquireOptions options, CompletionToken&& token) const
    {
        static_assert(
            detail::safe_argument<A>,
            "name it first: g++ 12 destroys an aggregate written inside a co_await expression twice. "
            "Pass a named state, or its key.");
        return initiate<void(error_code, lock_type), detail::AcquireForm::code>(
            state, Wait::until_deadline, options, token);
    }
    template <
        KeyOrState<T, key_type> A,
        boost::asio::completion_token_for<void(error_code, lock_type)> CompletionToken>
    auto async_acquire(A&& state, CompletionToken&& token) const
    {
        return async_acquire(std::forward<A>(state), AcquireOptions{}, std::forward<CompletionToken>(token));
    }

    /// As `try_acquire`, without blocking.
    ///
    /// **Completion.** `void(error_code, std::optional<lock_type>)`, as that of `async_acquire`. That
    /// somebody holds the lock is no error: there is no `error_code`, and nothing in the `std::optional`.
    template <
        KeyOrState<T, key_type> A,
        boost::asio::completion_token_for<void(error_code, std::optional<lock_type>)> CompletionToken>
    auto async_try_acquire(A&& state, CompletionToken&& token) const
    {
        static_assert(
            detail::safe_argument<A>,
            "name it first: g++ 12 destroys an aggregate written inside a co_await expression twice. "
            "Pass a named state, or its key.");
        return initiate<void(error_code, std::optional<lock_type>), detail::AcquireForm::optional>(
            state, Wait::no, AcquireOptions{}, token);
    }

    /// As `acquire_outcome`, without blocking: the failure comes with its cause, its text and its time.
    ///
    ///     auto const wait = Wait::until_deadline;
    ///     AcquireOptions const soon{.deadline = 1s};
    ///     auto lock = co_await locks.async_acquire_outcome("nightly", wait, soon, use_awaitable);
    ///     if (!lock)
    ///         log(lock.message());  // deadline_exceeded because of lock_busy: jobs: somebody else holds ...
    ///
    /// A call that its deadline ends says what was in the way last: a holder (`lock_busy`, with the time that
    /// its lease still has), or a store that could not be reached (`unavailable`), also where the store said
    /// so to another caller of this service that came first.
    ///
    /// **Completion.** `void(Outcome<lock_type>)`; everything else is as with `async_acquire`.
    template <
        KeyOrState<T, key_type> A,
        boost::asio::completion_token_for<void(Outcome<lock_type>)> CompletionToken>
    auto async_acquire_outcome(A&& state, Wait wait, AcquireOptions options, CompletionToken&& token) const
    {
        static_assert(
            detail::safe_argument<A>,
            "name it first: g++ 12 destroys an aggregate written inside a co_await expression twice. "
            "Pass a named state, or its key.");
        return initiate<void(Outcome<lock_type>), detail::AcquireForm::outcome>(state, wait, options, token);
    }

    /// As `lock.release()`, by the same deadline, without blocking. The handle that was passed is empty
    /// from then on.
    ///
    /// **Completion.** `void(error_code)`, as that of `async_acquire`. **Cancellation.** None: the lock is
    /// released either way.
    template <boost::asio::completion_token_for<void(error_code)> CompletionToken>
    auto async_release(lock_type&& lock, CompletionToken&& token) const
    {
        return boost::asio::async_initiate<CompletionToken, void(error_code)>(
            [self = *this](auto handler, std::shared_ptr<detail::Hold> hold) {
                detail::start_release(self, std::move(handler), std::move(hold));
            },
            token, LockAccess::detach(lock));
    }

    /// As `acquire` (`Wait::until_deadline`) and `try_acquire` (`Wait::no`), without throwing for what a
    /// store or another holder does: the failure is in the outcome, `lock_busy` when somebody holds the
    /// lock and the call does not wait. Its text says which store it was.
    template <KeyOrState<T, key_type> A>
    Outcome<lock_type> acquire_outcome(A const& state, Wait wait, AcquireOptions options) const
    {
        auto hold = detail::acquire_blocking(table(), make_key<T, key_type>(state), wait, options);
        if (!hold)
            return explained(std::move(hold).failure(), repository());
        return lock_type{state_of(state), *std::move(hold)};
    }

private:
    friend class LockAccess;

    std::shared_ptr<Table> const& table() const noexcept { return handle_->table; }

    /// The state a lock shows: the one given, or a fresh one with the key given.
    template <class A>
    static T state_of(A const& argument)
    {
        return detail::shown_state<T, key_type>(argument);
    }

    template <class Signature, detail::AcquireForm Form, class A, class CompletionToken>
    auto initiate(A const& state, Wait wait, AcquireOptions options, CompletionToken& token) const
    {
        // Behind a pointer: Asio's use_awaitable keeps what it is given for as long as the call lasts.
        using Request = detail::AcquireRequest<LockStateService>;
        return boost::asio::async_initiate<CompletionToken, Signature>(
            [](auto handler, std::unique_ptr<Request> request) {
                detail::start_acquire<Form>(std::move(handler), std::move(request));
            },
            token,
            std::unique_ptr<Request>(new Request{
                *this, make_key<T, key_type>(state), state_of(state), wait, options.deadline,
                options.max_attempts, options.stop.token()}));
    }

    struct Handle {
        explicit Handle(std::shared_ptr<Table> of) : table(std::move(of)) {}
        Handle(Handle const&) = delete;
        Handle& operator=(Handle const&) = delete;
        ~Handle() { table->close(); }
        std::shared_ptr<Table> table;
    };
    std::shared_ptr<Handle> handle_;
};

/// The service of a repository, as the type of a data member: `LockStateServiceFor<decltype(orders_)>
/// locks_{orders_};`
template <class Repository, Assurance Level = Assurance::fenced>
using LockStateServiceFor = LockStateService<typename Repository::value_type, Repository, Level>;

template <class R>
LockStateService(R*, LockOptions = {}) -> LockStateService<typename R::value_type, R, Assurance::fenced>;
template <TransactionPolicy P, class R>
LockStateService(P, R, LockOptions = {}) -> LockStateService<typename R::value_type, R, Assurance::fenced>;
template <class R>
LockStateService(R) -> LockStateService<typename R::value_type, R, Assurance::fenced>;
template <class R>
LockStateService(R, LockOptions) -> LockStateService<typename R::value_type, R, Assurance::fenced>;

/// A lock service for efficiency locks: `EfficiencyLockStateService<Job, Repository> locks{repository};`
template <class T, class Repository>
using EfficiencyLockStateService = LockStateService<T, Repository, Assurance::efficiency>;

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_LOCK_STATE_SERVICE_HPP
