// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_STORE_HPP
#define INTERLOCK_CORE_CONTRACTS_STORE_HPP

/// @file
/// The plug shapes of stores: which verbs a store must carry out so that a policy can keep its promise.
///
/// A backend models as many of these concepts as its store can honestly keep; a policy names the ones it
/// needs, and a combination that does not fit does not compile. An author writes one function per verb of
/// `requests.hpp`,
///
///     Outcome<Versioned<T>> carry_out(verb::Load<T> const& load, Deadline deadline) const;
///
/// An author also derives from `StoreMembers`, which makes the members that users call, as
/// `stock.load("sku-1")`.
/// `carry_out` may block. A store that can also start a call and report later overloads `start`, see
/// `NonblockingRepository`. What else sets a store apart stands in its `Capabilities`.
///
/// Common laws, tested by `tests/contract/`:
/// 1. Copies of a repository are handles to one store; `identity()` is equal for them and only for them.
/// 2. Every member is safe to call from several threads at once, on one handle or on copies.
/// 3. No member throws for anything a store can do; a store's answer is an `Outcome`. A failure other than
///    `outcome_unknown` means that nothing was changed.
/// 4. A relative `Deadline` counts from the call. No member returns later than its deadline plus one
///    scheduling quantum.

#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/fencing_token.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/versioned.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

namespace interlock {
inline namespace v0 {

// clang-format off

/// A store that carries out `Verb` by blocking its caller until the answer is there, or the deadline has
/// passed.
template <class R, class Verb>
concept CarriesOut = requires(R const& r, Verb const& verb, Deadline deadline) {
    { r.carry_out(verb, deadline) } -> std::same_as<Outcome<typename Verb::answer>>;
};

/// A store that starts `Verb` without blocking; `waiter` is woken when it is time to look.
template <class R, class Verb>
concept Starts = requires(R const& r, Verb const& verb, Deadline deadline, Waiter& waiter) {
    { r.start(verb, deadline, waiter) } -> std::same_as<StartedCall<typename Verb::answer>>;
};

// ---- what a store can do besides ----------------------------------------------------------------

/// What sets one handle of a store apart from others. A store says it by `r.capabilities()`, as a static
/// constexpr function where all handles of the type are alike; a store that says nothing has
/// `Capabilities{}`.
struct Capabilities {
    /// No member but `load_for_update` waits for I/O, so asynchronous calls run it in place instead of on a
    /// thread.
    bool answers_in_place{false};
    /// Whether the type's `start`, where there is one, may be used on this handle.
    bool starts_calls{true};
    /// Whether calls that were started end although nobody runs an executor, so that somebody may block until
    /// they do.
    bool owns_threads{false};
    /// Whether the type's `subscribe`, where there is one, wakes those who wait; else they look again now and
    /// then.
    bool wakes_waiters{true};
    /// Whether a key names one state. False: every transaction on a key gets another one of many, so that
    /// operations on one key are not in each other's way and do not share a commit.
    bool one_state_per_key{true};
    /// How many blocking calls make sense at once, as where each needs a connection; asynchronous callers get
    /// as many threads. 0: as many as the runtime's default.
    std::size_t blocking_calls{0};
    /// How long a transaction may last whose call names no deadline, with the time that its operation takes.
    /// 0: as long as `Deadline{}` says.
    std::chrono::nanoseconds call_deadline{0};
};

/// The capabilities of `r`, or the default ones where its type says nothing.
template <class R>
constexpr Capabilities capabilities_of(R const& r) noexcept
{
    if constexpr (requires { { r.capabilities() } -> std::convertible_to<Capabilities>; })
        return r.capabilities();
    else
        return {};
}

/// Whether all handles of the type answer in place, known when the program is compiled.
template <class R>
concept AlwaysInPlace = requires { requires std::bool_constant<R::capabilities().answers_in_place>::value; };

/// A store that wakes those who wait for a lock.
///
/// | expression | meaning |
/// |---|---|
/// | `r.subscribe(key, owner, waiter)` | wakes `waiter` when `create` may succeed for `owner`, until `unsubscribe` has returned |
/// | `r.unsubscribe(key, waiter)` | afterwards `waiter` is not woken any more |
/// | `r.wanted(key, owner)` | tells the holder `owner` whether somebody elsewhere waits |
///
/// Such a store may keep a line of those who asked in vain after having subscribed; `remove` leaves the line,
/// too.
template <class R>
concept SubscribableRepository = requires(R r, Key const& key, OwnerToken owner, Waiter& waiter) {
    r.subscribe(key, owner, waiter);
    r.unsubscribe(key, waiter);
    { r.wanted(key, owner) } -> std::convertible_to<bool>;
};

// ---- repositories -------------------------------------------------------------------------------

/// A shared handle to a store of states. See the common laws above.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `R::value_type`, `R::key_type`, `R::runtime_type` | types | state, key, clock and so on |
/// | `r.runtime()` | `R::runtime_type` | what all clocks and waits of services on `r` come from |
/// | `r.identity()` | `void const*` | equal for handles of one store |
/// | `r.capabilities()` | `Capabilities` | optional |
/// | `r.life()` | `std::uint64_t` | optional: another number when versions that were read before may be those of other values by now, as after a failover |
template <class R>
concept Repository = std::copyable<R> && requires(R const& r) {
    typename R::value_type;
    typename R::key_type;
    typename R::runtime_type;
    { r.runtime() } -> std::convertible_to<typename R::runtime_type>;
    { r.identity() } -> std::convertible_to<void const*>;
};

/// A store that knows the version of every value: it carries out `Load`, `Insert`, `CompareAndSet` and
/// `Erase`.
///
/// Laws: 1. Of several writers that name one version, exactly one succeeds. 2. A version is never reused: a
/// key that is inserted again gets a version that it never had before. 3. A refused write changes nothing.
/// 4. A value larger than the store's limit is `invalid_argument` on write. 5. A write to a key that is row
/// locked by a transaction waits or is refused with `lock_busy`; it never slips in.
template <class R>
concept VersionedRepository = Repository<R> &&
    requires(R const& r, verb::Load<typename R::value_type> const& load, verb::Insert<typename R::value_type> const& insert,
             verb::CompareAndSet<typename R::value_type> const& compare_and_set, verb::Erase const& erase, Deadline deadline) {
    { r.carry_out(load, deadline) } -> std::same_as<Outcome<Versioned<typename R::value_type>>>;
    { r.carry_out(insert, deadline) } -> std::same_as<Outcome<Version>>;
    { r.carry_out(compare_and_set, deadline) } -> std::same_as<Outcome<Version>>;
    { r.carry_out(erase, deadline) } -> std::same_as<Outcome<Version>>;
};

/// A versioned store that changes several keys in one atomic step, guarded by fences where given: it carries
/// out `Commit`.
///
/// Laws: 1. All or nothing, for observers too. 2. The detail of a failure names every key that failed.
/// 3. A change with a fence is applied only while the lock record of its key names `fence.owner` and
/// `fence.token` is not below the mark; the mark then rises to it. No record: `fenced_out`. No clock is asked
/// (law P1). 4. With an operation: if its id has an answer, nothing is written and that answer is returned;
/// if a tombstone forbids the attempt, `superseded`; else the record is written in the same step.
template <class R>
concept AtomicRepository = VersionedRepository<R> &&
    requires(R const& r, verb::Commit<typename R::value_type> const& commit, Deadline deadline) {
    { r.carry_out(commit, deadline) } -> std::same_as<Outcome<CommitResult>>;
};

/// An atomic store that appends the events of a commit's changes to a log of events, in the same step: it has
/// an `events_type`, the event repository that its options may name.
///
/// Laws: 1. The events of a change are in the stream of its key if and only if the commit was applied, each
/// once; a commit that is found to be a duplicate appends none. 2. They follow one another in the order of
/// the change. 3. Events for a repository whose options name no event repository are `misconfigured`, and
/// nothing is written.
template <class R>
concept RecordingRepository = AtomicRepository<R> && requires { typename R::events_type; };

/// An atomic store that remembers operation ids: it carries out `FindOperation` and `ForbidOperation`.
///
/// Laws: 1. After `ForbidOperation` returned a tombstone, no attempt up to its number is ever applied. 2. An
/// answer is kept for the store's retention by the store's clock, and never evicted early: a full store
/// refuses new ones with `overloaded`. `r.for_each_operation(visit)`, where a store can, shows every answer
/// committed before the call, in no particular order.
template <class R>
concept OperationRepository = AtomicRepository<R> &&
    requires(R const& r, verb::FindOperation const& find_operation, verb::ForbidOperation const& forbid_operation,
             Deadline deadline) {
    { r.carry_out(find_operation, deadline) } -> std::same_as<Outcome<std::optional<OperationRecord>>>;
    { r.carry_out(forbid_operation, deadline) } -> std::same_as<Outcome<OperationRecord>>;
};

/// One open transaction of a row-locking store. Move-only; its destructor rolls back.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `tx.state(i)` | `std::optional<Versioned<T>>&` | the i-th locked row, as the locking read returned it |
/// | `tx.commit(changes, operation, deadline)` | `Outcome<CommitResult>` | as the verb `Commit`, and ends the transaction |
/// | `tx.rollback()` | | ends the transaction, `noexcept` |
template <class X, class T>
concept RowTransaction = std::movable<X> &&
    requires(X tx, std::size_t i, std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline) {
    { tx.state(i) } -> std::same_as<std::optional<Versioned<T>>&>;
    { tx.commit(changes, operation, deadline) } -> std::same_as<Outcome<CommitResult>>;
    { tx.rollback() } noexcept;
};

namespace detail {

/// Whether `T` stands where a state should, and is the store of states instead. Cheaper than the concepts,
/// since it is asked of each state's type.
template <class T>
inline constexpr bool looks_like_a_repository = requires {
    typename T::value_type;
    typename T::key_type;
    typename T::runtime_type;
};

struct NoTransaction {};
/// The transaction type of a store, or one that no store has: the message about a store without row locks
/// then names the verb that is missing.
template <class R>
struct TransactionOf {
    using type = NoTransaction;
};
template <class R>
    requires requires { typename R::transaction_type; }
struct TransactionOf<R> {
    using type = typename R::transaction_type;
};
template <class R>
using transaction_of = typename TransactionOf<R>::type;

}  // namespace detail

/// A store that locks rows for the length of a transaction: it has a `transaction_type` and carries out
/// `LoadForUpdate`.
///
/// Laws: 1. Until the transaction ends nobody else changes or locks these rows. 2. A key without a value is
/// locked as well, or two that create it cannot both succeed. 3. Waiters get the row in the order they came,
/// where the store can. `keys` come sorted by bytes, without duplicates.
template <class R>
concept RowLockingRepository =
    Repository<R> &&
    requires(R const& r, verb::LoadForUpdate<detail::transaction_of<R>> const& load_for_update, Deadline deadline) {
    { r.carry_out(load_for_update, deadline) } -> std::same_as<Outcome<typename R::transaction_type>>;
    requires RowTransaction<typename R::transaction_type, typename R::value_type>;
};

/// A store that keeps lock records with a lease: it carries out `Create`, `Renew` and `Remove`, which touch
/// lock records only, never values.
///
/// Laws: 1. At most one record per key; it names one owner. 2. `Renew` and `Remove` touch only their own
/// owner's record (law P8). 3. The tokens of a grant are greater than all earlier ones of the key, and the
/// mark of the record rises at grant: an earlier holder's write is refused from then on. 4. A lease ends no
/// earlier than its ttl after the grant, by the store's clock.
template <class R>
concept LeaseRepository = Repository<R> &&
    requires(R const& r, verb::Create const& create, verb::Renew const& renew, verb::Remove const& remove, Deadline deadline) {
    { r.carry_out(create, deadline) } -> std::same_as<Outcome<Grant>>;
    { r.carry_out(renew, deadline) } -> std::same_as<Outcome<std::chrono::nanoseconds>>;
    { r.carry_out(remove, deadline) } -> std::same_as<Outcome<Removal>>;
};

/// A lease store that says who holds a lock, and lets operators end it: it carries out `Inspect` and
/// `BreakLock`, and has `r.for_each_lock(visit, deadline)`, an `Outcome<void>`, which calls `visit(Key const&,
/// LockInfo const&)` for every lock that is held throughout the call, in no particular order.
///
/// Laws: 1. What `Inspect` says of holder and token is what the grant was made with, until the record is
/// removed; renewals and writes change neither, nor the time of the grant. 2. `BreakLock` touches no
/// acquisition but the one that was seen.
template <class R>
concept InspectableRepository = LeaseRepository<R> &&
    requires(R const& r, verb::Inspect const& inspect, verb::BreakLock const& break_lock, Deadline deadline) {
    { r.carry_out(inspect, deadline) } -> std::same_as<Outcome<std::optional<LockInfo>>>;
    { r.carry_out(break_lock, deadline) } -> std::same_as<Outcome<Removal>>;
};

/// A lease store whose fence counter is at least as durable as the data it guards, and which checks fences
/// inside its commits: it carries out `VerifyFencing`, too.
template <class R>
concept FencedRepository = LeaseRepository<R> && AtomicRepository<R> &&
    requires(R const& r, verb::VerifyFencing const& verify_fencing, Deadline deadline) {
    { r.carry_out(verify_fencing, deadline) } -> std::same_as<Outcome<void>>;
};

/// A fenced store that takes the lock and reads the state in one trip, `CreateAndLoad`. The way back, write +
/// fence check + release, is `Commit` with `Change::release`.
template <class R>
concept FusedRepository = FencedRepository<R> &&
    requires(R const& r, verb::CreateAndLoad<typename R::value_type> const& create_and_load, Deadline deadline) {
    { r.carry_out(create_and_load, deadline) } -> std::same_as<Outcome<GrantAndState<typename R::value_type>>>;
};

/// A store whose calls can be started without waiting for their ends, so that asynchronous callers need no
/// thread each: `r.start(verb, deadline, waiter)` for each verb below.
///
/// Laws: 1. `start` never blocks, and each call ends by its deadline, though nobody looks: its waiter is
/// woken for that, unless the call had ended when it was returned. An executor that the call needs must be
/// running. 2. The outcomes are those of `carry_out`; the new version of a commit's first change is in its
/// result. 3. Of two calls for one key, the second of which was started after the first was given up, the
/// store sees the first no later than the second, unless the connection was lost between them.
template <class R>
concept NonblockingRepository = FusedRepository<R> && OperationRepository<R> &&
    Starts<R, verb::Load<typename R::value_type>> &&
    Starts<R, verb::Commit<typename R::value_type>> &&
    Starts<R, verb::FindOperation> &&
    Starts<R, verb::ForbidOperation> &&
    Starts<R, verb::Create> &&
    Starts<R, verb::CreateAndLoad<typename R::value_type>> &&
    Starts<R, verb::Remove>;

// clang-format on

// ---- questions about a handle -------------------------------------------------------------------

/// Whether the members of `repository` that do not queue return without waiting for I/O.
template <class R>
constexpr bool runs_in_place(R const& repository) noexcept
{
    return capabilities_of(repository).answers_in_place;
}

/// Whether waiting for a lock of `repository` ends with a wake-up.
template <class R>
constexpr bool wakes_waiters(R const& repository) noexcept
{
    if constexpr (SubscribableRepository<R>)
        return capabilities_of(repository).wakes_waiters;
    else
        return false;
}

/// Whether `repository` starts calls.
template <class R>
constexpr bool starts_calls(R const& repository) noexcept
{
    if constexpr (NonblockingRepository<R>)
        return capabilities_of(repository).starts_calls;
    else
        return false;
}

/// Whether somebody may block until a call that was started, or posted to the runtime's pool, has ended.
template <class R>
constexpr bool ends_by_itself(R const& repository) noexcept
{
    return !starts_calls(repository) || capabilities_of(repository).owns_threads;
}

/// A number that changes when versions which were read before may be those of other values by now; 0: they
/// never are.
template <class R>
std::uint64_t life_of(R const& repository) noexcept
{
    if constexpr (requires { repository.life(); })
        return repository.life();
    else
        return 0;
}

namespace detail {

/// Models everything; only declared. Stands in for the repository where a policy needs nothing of it.
struct AnyRepositoryArchetype {
    struct transaction_type {
        std::optional<Versioned<int>>& state(std::size_t);
        Outcome<CommitResult> commit(std::span<Change<int>>, OperationCommit const*, Deadline);
        void rollback() noexcept;
    };
    struct runtime_type {};
    using value_type = int;
    using key_type = int;
    runtime_type runtime() const;
    void const* identity() const;
    template <class Verb>
    Outcome<typename Verb::answer> carry_out(Verb const&, Deadline) const;
};

template <bool Needed, class R>
using needed = std::conditional_t<Needed, R, AnyRepositoryArchetype>;

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_STORE_HPP
