// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_OBSERVER_HPP
#define INTERLOCK_CORE_OBSERVER_HPP

/// @file
/// What a metric, a trace, a log or a timeline needs to know, told as it happens. Ready-made listeners stand
/// in `interlock/observability/`.
///
///     struct Conflicts final : interlock::Observer {
///         std::atomic<int> seen{0};
///         void on_conflict(interlock::RetryEvent const&) noexcept override { ++seen; }
///     } conflicts;
///     interlock::TransactionService service{policy, repository, {.observer = &conflicts}};

#include <interlock/core/errc.hpp>
#include <interlock/core/fencing_token.hpp>
#include <interlock/core/key.hpp>
#include <interlock/fwd.hpp>

#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// Why a lock is not held any more.
enum class LostReason : unsigned char {
    none,      ///< the lock is not lost
    expired,   ///< by this process's own clock the lease ran out before a renewal was confirmed
    taken,     ///< the store's record names another acquisition
    removed,   ///< the store has no record: forced release, eviction, or a restart without persistence
    released,  ///< its holder released it
};

/// Where the states of a service live.
struct StoreInfo {
    /// What the repository calls itself: "memory", "redis", "postgres"; "?" when it says nothing.
    std::string_view kind{"?"};
    /// What the repository says of its place: its name space, or its table. Empty when it says nothing. It
    /// never contains a key, a value, a user name or a password.
    std::string_view place{};
    /// What the semantic conventions for databases call it (`db.system.name`): "postgresql". Where the
    /// repository says nothing else, as `kind`.
    std::string_view system{"?"};
};

/// One call of `do_in_transaction`, or of one of its twins, from its begin to its end: what every event of
/// the call can refer to.
///
/// **Lifetimes.** Valid from `on_begin` until `on_transaction` has returned; what it refers to likewise. An
/// observer that keeps something for longer copies it.
struct CallInfo {
    /// Who is told.
    Observer const* observer{nullptr};
    /// The `name` of the policy.
    std::string_view policy{};
    StoreInfo store{};
    /// `CallOptions::name`; empty when the call has none.
    std::string_view operation{};
    /// The keys of the call, in its order. Empty for an observer that did not ask for keys.
    std::span<Key const> keys{};
    /// Why the call is made, with the trace that it belongs to: what its `CallOptions` say, or those of an
    /// operation around it; null when nobody said so.
    Cause const* cause{nullptr};
    /// Null when the call has none. Of an idempotent request, the id that its policy made of it.
    OperationId const* operation_id{nullptr};
    /// In `on_begin`: the call whose operation makes this one, if the same observer is told of it. Else, and
    /// afterwards, null: an asynchronous call may outlast it.
    CallInfo const* outer{nullptr};
    /// The observer's own: what it sets in `on_begin` is here in all later events of the call.
    void* tag{nullptr};
};

/// One call of `do_in_transaction` has ended, in whatever way.
struct TransactionEvent {
    /// The `name` of the policy.
    std::string_view policy;
    int attempts;         ///< runs of the operation, the first one included
    Errc result;          ///< `ok` when the change was applied
    bool user_exception;  ///< the operation threw an exception and was rolled back
    bool replayed;        ///< the answer came from an operation record, so that the operation was not needed
    /// From the call to its end.
    std::chrono::nanoseconds duration;
    /// The call that has ended. Never null in an event of the library.
    CallInfo const* call{nullptr};
};

/// Which lock an event is about.
struct ObservedLock {
    StoreInfo store{};
    /// Null for an observer that did not ask for keys, and where nobody knows it any more.
    Key const* key{nullptr};
    /// The call of `do_in_transaction` that is under way on this thread; null when there is none, as for a
    /// `LockStateService` of its own, or for a renewal.
    CallInfo const* call{nullptr};
};

/// One call of `acquire` has ended. The three durations name where the time went.
struct AcquireEvent {
    Errc result;         ///< `ok` when the lock was granted
    FencingToken token;  ///< the token of the grant
    bool handed_on;      ///< a local holder handed the lock on, without a trip to the store
    int store_attempts;  ///< how often the store was asked for the lock
    /// Time in the queue behind other callers of this process.
    std::chrono::nanoseconds local_queue;
    /// Time in calls to the store.
    std::chrono::nanoseconds store;
    /// Time in which the call waited for a holder in another process.
    std::chrono::nanoseconds wake_up;
    ObservedLock lock{};
};

/// A held lock was given up by its holder.
struct ReleaseEvent {
    /// What came of the removal in the store. After a failure the record stays until its lease ends.
    Errc result;
    FencingToken token;
    bool handed_on;  ///< the lock went to the next local waiter
    /// From the grant to the release.
    std::chrono::nanoseconds held;
    ObservedLock lock{};
};

/// What has happened to a held lock before its holder gave it up.
struct LockEvent {
    /// What it was.
    enum class Kind : unsigned char {
        renewal,     ///< a renewal was answered
        in_doubt,    ///< a renewal was due and is not confirmed yet: the lock may be lost
        lost,        ///< the lock was lost before its holder gave it up
        fenced_out,  ///< the store refused a guarded write: its record no longer names the writer
    };
    Kind kind;
    FencingToken token{};                 ///< the empty one for a renewal
    Errc result{Errc::ok};                ///< of a renewal
    std::chrono::nanoseconds lag{0};      ///< of a renewal: how much later than planned it was sent
    LostReason reason{LostReason::none};  ///< of a lost lock
    ObservedLock lock{};
};

/// An attempt failed. The operation is run again, or, after a conflict, the call may also end.
struct RetryEvent {
    std::string_view policy;
    /// Why the attempt failed.
    Errc reason;
    int attempt;  ///< the attempt that failed, counted from 1
    /// The wait before the next attempt; zero when there is no wait, or no next attempt.
    std::chrono::nanoseconds delay;
    bool repeats{true};  ///< another attempt follows
    CallInfo const* call{nullptr};
};

/// A call had an attempt that may have been applied (see *doubt* in the glossary), and has now ended.
struct UnknownEvent {
    /// Why the outcome was unknown.
    Errc cause;
    Effect resolved;  ///< `applied` or `not_applied` when it was found out; else `unknown`
    CallInfo const* call{nullptr};
};

/// A store is asked for something: told by an `ObservedRepository`, once per verb, and of a row transaction
/// for what opens it ("load_for_update") and what ends it ("commit", "rollback").
struct StoreCallInfo {
    StoreInfo store;
    std::string_view verb;  ///< the name of the repository's member: "load", "commit", "create"
    /// The call of `do_in_transaction` for which the store is asked; null when it is asked for nobody's.
    CallInfo const* call{nullptr};
    /// The observer's own: what it sets in `on_store_call_begin` is here in `on_store_call`.
    void* tag{nullptr};
};

/// A store has answered, or whoever asked has given up (`cancelled`).
struct StoreCallEvent {
    StoreInfo store;
    std::string_view verb;  ///< as in `StoreCallInfo`
    Errc result;
    Errc cause;  ///< why the outcome is unknown; else `ok`
    /// From the call to its answer.
    std::chrono::nanoseconds duration;
    /// As in `StoreCallInfo`; null as well when another thread takes the answer.
    CallInfo const* call{nullptr};
    void* tag{nullptr};
    /// What the store itself calls the error: see `Failure::store_code`. Empty when there is none.
    std::string_view store_code{};
};

/// What has become of a connection to a store.
struct ConnectionEvent {
    /// What it was.
    enum class Kind : unsigned char {
        opened,  ///< a connection is there, and its greeting is over
        failed,  ///< a connection was tried and could not be made
        lost,    ///< a connection that was there is given up: it broke, or leads to a server that is gone
    };
    Kind kind;
    StoreInfo store;
    Errc result{Errc::ok};  ///< why it failed
};

/// A caller has taken a connection from a pool, or has given up. Whose connection could not be opened is not
/// told here: that is a `ConnectionEvent`.
struct PoolWaitEvent {
    StoreInfo store;
    Errc result;  ///< `deadline_exceeded`, `overloaded`: it got none
    /// How long the caller waited; zero when a connection was idle or one more could be opened.
    std::chrono::nanoseconds waited;
    std::size_t connections;  ///< how many there are now, borrowed or idle
    std::size_t waiting;      ///< how many callers wait now
};

/// What happened to an idempotent request.
enum class IdempotencyEvent : unsigned char {
    executed,     ///< the request is ours, and its operation is run
    replayed,     ///< the stored answer of an earlier execution was given
    in_progress,  ///< somebody else executes the request
    mismatch,     ///< the key came with another fingerprint
    taken_over,   ///< the former owner's lease was over, and the claim is ours now
    given_back,   ///< the claim ended without an answer, so that the next one with the key runs the operation
    lease_lost    ///< another owner had the claim before ours was ended in the store
};

/// Whether an observer is told keys. They name a program's customers, and there are many: they belong into
/// logs, traces and timelines that somebody asked for, and never into the labels of metrics.
enum class HearsKeys : bool { no, yes };

/// Receives events. Derive from it, override the members of interest, and pass a pointer in the options of a
/// service.
///
/// **Contract.** A member is called on the thread on which the event happens, possibly from several threads
/// at once, and never while the library holds a mutex. Members are `noexcept`. The observer must outlive
/// every handle that has its pointer. What an event refers to is valid during the call of the member.
/// **Guarantee.** Each `on_begin` is followed by exactly one `on_transaction`, also when the executor of an
/// asynchronous call goes away. Each `on_acquire_begin` is followed by exactly one `on_acquire`.
/// **Cost.** Without an observer an event costs one comparison with null. With an observer an event that has
/// a duration costs two more readings of the clock. No event carries a value; keys are told only to an
/// observer that was made with `HearsKeys::yes`.
class Observer {
public:
    /// A call of `do_in_transaction` or one of its twins begins: nothing has been sent, and nothing has been
    /// waited for. `call.tag` is the observer's to set.
    virtual void on_begin(CallInfo& /*call*/) noexcept {}
    /// A call of `do_in_transaction` or one of its twins has ended.
    virtual void on_transaction(TransactionEvent const&) noexcept {}
    /// Another writer was first. The operation is run again (`repeats`), or the caller gets
    /// `version_conflict`. A conflict is one event: an observer that overrides this member is not told of it
    /// by `on_retry` besides. Until it is overridden, conflicts that are repeated are told by `on_retry`.
    virtual void on_conflict(RetryEvent const& event) noexcept
    {
        if (event.repeats)
            on_retry(event);
    }
    /// An attempt failed and is repeated, for whatever reason but a conflict: see `on_conflict`.
    virtual void on_retry(RetryEvent const&) noexcept {}
    /// A call of `acquire` begins, or a policy with locks takes one.
    virtual void on_acquire_begin(ObservedLock const&) noexcept {}
    /// A call of `acquire` has ended, with a lock or without one.
    virtual void on_acquire(AcquireEvent const&) noexcept {}
    /// A holder gave its lock up. A failure of the removal is told only here when nobody waits for the
    /// release.
    virtual void on_release(ReleaseEvent const&) noexcept {}
    /// Something has happened to a held lock. Until it is overridden, each kind is told by one of the four
    /// members below, which say less.
    virtual void on_lock(LockEvent const& event) noexcept
    {
        switch (event.kind) {
        case LockEvent::Kind::renewal: return on_renewal(event.result, event.lag);
        case LockEvent::Kind::in_doubt: return on_in_doubt(event.token);
        case LockEvent::Kind::lost: return on_lost(event.token, event.reason);
        case LockEvent::Kind::fenced_out: return on_fenced_out(event.token);
        }
    }
    /// A renewal was answered. `lag`: how much later than planned the renewal was sent.
    virtual void on_renewal(Errc, std::chrono::nanoseconds /*lag*/) noexcept {}
    /// A renewal was due and is not confirmed yet: the lock may be lost.
    virtual void on_in_doubt(FencingToken) noexcept {}
    /// A lock was lost before its holder gave it up.
    virtual void on_lost(FencingToken, LostReason) noexcept {}
    /// The store refused a guarded write, since its record no longer names the writer's acquisition.
    virtual void on_fenced_out(FencingToken) noexcept {}
    /// An unknown outcome was found out, or stays unknown.
    virtual void on_unknown(UnknownEvent const&) noexcept {}
    /// A policy with idempotency keys decided about a request; `current_call()` is the call that brought it.
    virtual void on_idempotency(IdempotencyEvent) noexcept {}
    /// The store grants efficiency locks although it would refuse fenced ones as `misconfigured`; `why` gives
    /// the reason. Told once per service.
    virtual void on_unsafe_store(std::string_view /*why*/) noexcept {}
    /// A store is asked: see `ObservedRepository`. `info.tag` is the observer's to set.
    virtual void on_store_call_begin(StoreCallInfo& /*info*/) noexcept {}
    /// A store has answered, or nobody waits for its answer any more; exactly once after each begin.
    virtual void on_store_call(StoreCallEvent const&) noexcept {}
    /// A connection was opened, could not be opened, or was lost: told by the clients of stores, to the
    /// observer of their own options.
    virtual void on_connection(ConnectionEvent const&) noexcept {}
    /// A caller has taken a connection from a pool, or has given up: likewise.
    virtual void on_pool_wait(PoolWaitEvent const&) noexcept {}

    /// Whether events have keys.
    bool hears_keys() const noexcept { return keys_ == HearsKeys::yes; }
    /// The innermost call of `do_in_transaction` that is under way on this thread and of which this observer
    /// is told; null when there is none. An operation that awaits goes on without one.
    CallInfo const* current_call() const noexcept;

    Observer() = default;
    /// One that asks for keys, or does not.
    explicit Observer(HearsKeys keys) noexcept : keys_(keys) {}
    Observer(Observer const&) = default;
    Observer& operator=(Observer const&) = default;
    virtual ~Observer() = default;

private:
    HearsKeys keys_{HearsKeys::no};
};

namespace detail {

/// The call that is under way on this thread, for what its store and its locks have to tell.
inline constinit thread_local CallInfo const* observed_call = nullptr;

/// Makes `call` that of this thread for a scope. Null: nobody listens, and nothing is done.
class ObservedScope {
public:
    explicit ObservedScope(CallInfo const* call) noexcept : call_(call)
    {
        if (call != nullptr) [[unlikely]] {
            before_ = observed_call;
            observed_call = call;
        }
    }
    ObservedScope(ObservedScope const&) = delete;
    ObservedScope& operator=(ObservedScope const&) = delete;
    ~ObservedScope()
    {
        if (call_ != nullptr) [[unlikely]]
            observed_call = before_;
    }

private:
    CallInfo const* call_;
    CallInfo const* before_;  // set where `call_` is
};

}  // namespace detail

inline CallInfo const* Observer::current_call() const noexcept
{
    auto const* const call = detail::observed_call;
    return call != nullptr && call->observer == this ? call : nullptr;
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_OBSERVER_HPP
