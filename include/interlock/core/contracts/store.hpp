// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_STORE_HPP
#define INTERLOCK_CORE_CONTRACTS_STORE_HPP

/// @file
/// The plug shapes: what a store must offer so that a policy can keep its promise. The whole design on one page.
///
/// A backend models as many of these as its store can honestly keep; a policy names the ones it needs, and a
/// combination that does not fit does not compile. Members are stated in their blocking form. A repository
/// whose blocking members never wait for I/O says `static constexpr bool immediate = true`; asynchronous calls
/// then run them in place, otherwise on the executors of `runtime()` for blocking calls.
///
/// Common laws, tested by `tests/contract/`:
/// 1. Copies of a repository are handles to one store; `identity()` is equal for them and only for them.
/// 2. Every member is safe to call from several threads at once, on one handle or on copies.
/// 3. No member throws for anything a store can do; a store's answer is an `Outcome`. A failure other than
///    `outcome_unknown` means that nothing was changed.
/// 4. A relative `Deadline` counts from the call. No member returns later than its deadline plus one
///    scheduling quantum.

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
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

// ---- what crosses the boundary -----------------------------------------------------------------------------

/// What a lock-taking call does when somebody else is there.
enum class Wait : unsigned char {
    no,              ///< `lock_busy` at once
    until_deadline,  ///< queue, first come first served where the store can
};

/// Waiters of one service, unless it is told otherwise (law P10).
inline constexpr std::size_t default_max_waiters = std::size_t{1} << 20;

/// What a policy does about a key without a value.
enum class Missing : unsigned char {
    fail,    ///< `not_found`
    create,  ///< the operation gets a fresh state (the one named in the call, or `StateTraits<T>::from_key`), inserted at commit
};

/// What a commit does to one key.
enum class ChangeKind : unsigned char {
    write,   ///< store `value`, if the version is still `version` (`no_version`: if there is no value)
    erase,   ///< remove the value, if the version is still `version`
    verify,  ///< change nothing, but fail like `write` if the version moved
    guard,   ///< look at the fence only
};

/// One key of an atomic commit. Points into its caller's storage.
template <class T>
struct Change {
    Key const* key{nullptr};
    ChangeKind kind{ChangeKind::write};
    Version version{no_version};   ///< in: expected; out: the new version, when the commit was applied
    T const* value{nullptr};       ///< for `write`
    Fence const* fence{nullptr};   ///< law P1; null: unguarded
    bool release{false};           ///< remove the lock record that `fence` names, in the same step
};

struct CommitResult {
    CommitResult() noexcept {}  // not an aggregate: made in place without being zeroed first
    CommitResult(bool was_duplicate, std::string its_answer) : duplicate(was_duplicate), answer(std::move(its_answer)) {}

    bool duplicate{false};  ///< nothing was written: an earlier execution of the same operation id was applied
    std::string answer;     ///< its stored answer, when `duplicate`
    Version version{no_version};  ///< of a started commit: the new version of its first change, where that is a write
};

/// A granted lock record. A store grant reserves `count` consecutive tokens from `first`: whoever holds the
/// record may hand it on locally, each time under the next of them.
struct Grant {
    FencingToken first;
    std::uint32_t count{1};
    std::chrono::nanoseconds ttl{0};  ///< what the store really granted; validity is computed from this
};

/// One lease of several that are prolonged together. Points into its caller's storage.
struct Renewal {
    Key const* key{nullptr};
    OwnerToken owner{};
    Outcome<std::chrono::nanoseconds> granted{Errc::outcome_unknown};  ///< out, as `renew` says it
};

template <class T>
struct GrantAndState {
    Grant grant;
    std::optional<Versioned<T>> state;
};

/// What `remove` found.
enum class Removal : unsigned char {
    removed,  ///< our record; gone now
    gone,     ///< no record
    taken,    ///< another acquisition's record; untouched
};

class Waiter;

/// A wake-up that is still to be given: `fire`, or the destructor, gives it. It keeps alive what it needs. Declared
/// before a lock it fires when the lock is free: whoever is woken under a lock only runs into it.
class Wakeup {
public:
    Wakeup() = default;
    explicit Wakeup(std::shared_ptr<Waiter> waiter) noexcept : waiter_(std::move(waiter)) {}
    Wakeup(Wakeup&&) noexcept = default;
    Wakeup& operator=(Wakeup&& other) noexcept
    {
        fire();
        waiter_ = std::move(other.waiter_);
        return *this;
    }
    ~Wakeup() { fire(); }
    void fire() noexcept
    {
        if (waiter_)
            fire_now();
    }

private:
    void fire_now() noexcept;
    std::shared_ptr<Waiter> waiter_;
};

/// Something that waits in a queue of a store. `wake` is a hint: the waiter looks again, and may find nothing.
/// It may be called under the queue's lock, so it must neither block nor call back.
class Waiter {
public:
    virtual void wake() noexcept = 0;
    /// For queues that wake when their lock is free. Called under the lock, while the waiter is known to live.
    virtual Wakeup wake_later() noexcept
    {
        wake();
        return {};
    }
    /// False for one whose thread must go on: a store that can, starts its calls for it and does not wait.
    virtual bool may_block() const noexcept { return true; }

protected:
    Waiter() = default;
    Waiter(Waiter const&) = default;
    Waiter& operator=(Waiter const&) = default;
    ~Waiter() = default;
};

inline void Wakeup::fire_now() noexcept
{
    auto const waiter = std::move(waiter_);
    waiter->wake();
}

/// A call of a store that is under way while nobody blocks. Its waiter is woken, perhaps more than once, when it is time
/// to look. Destroying it gives it up: what was not sent is not sent any more, what was may still happen, and the waiter
/// is not woken any more once the destructor has returned. One thread at a time.
template <class X>
class StoreCall {
public:
    StoreCall() = default;
    StoreCall(StoreCall const&) = delete;
    StoreCall& operator=(StoreCall const&) = delete;
    virtual ~StoreCall() = default;
    /// The outcome, once; nothing while there is none.
    virtual std::optional<Outcome<X>> poll() = 0;
};
template <class X>
using StartedCall = std::unique_ptr<StoreCall<X>>;

// ---- repositories --------------------------------------------------------------------------------------------

/// Whether the members of `repository` that do not queue return without waiting for I/O: what the type says by
/// `immediate`, or, where that is known at run time only, the handle by `in_place()`; otherwise no.
template <class R>
constexpr bool runs_in_place(R const& repository) noexcept
{
    if constexpr (requires { R::immediate; })
        return R::immediate;
    else if constexpr (requires { repository.in_place(); })
        return repository.in_place();
    else
        return false;
}

/// A store that wakes those who wait for a lock, see `LeaseRepository`.
template <class R>
concept SubscribableRepository = requires(R r, Key const& key, OwnerToken owner, Waiter& waiter) {
    r.subscribe(key, owner, waiter);
    r.unsubscribe(key, waiter);
    { r.wanted(key, owner) } -> std::convertible_to<bool>;
};

/// Whether waiting for a lock of `repository` ends with a wake-up: what the type says, or, where that is known at run
/// time only, the handle by `wakes()`.
template <class R>
constexpr bool wakes_waiters(R const& repository) noexcept
{
    if constexpr (requires { repository.wakes(); })
        return repository.wakes();
    else
        return SubscribableRepository<R>;
}

/// A store that prolongs many leases in one trip, see `LeaseRepository`.
template <class R>
concept BatchRenewing = requires(R r, std::span<Renewal> renewals, Ttl ttl, Deadline deadline) {
    r.renew_all(renewals, ttl, deadline);
};

/// A store that can remove a lock record with less when it is told what it granted: `first` is the first token of the grant.
template <class R>
concept GrantRemoving = requires(R r, Key const& key, OwnerToken owner, FencingToken first, Deadline deadline) {
    { r.remove_granted(key, owner, first, deadline) } -> std::same_as<Outcome<Removal>>;
};

// clang-format off

/// A shared handle to a store of states. See the common laws above.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `R::value_type`, `R::key_type`, `R::runtime_type` | types | state, key, clock and so on |
/// | `r.runtime()` | `R::runtime_type` | what all clocks and waits of services on `r` come from |
/// | `r.identity()` | `void const*` | equal for handles of one store |
///
/// One whose blocking calls need a connection each may say by `r.blocking_calls()` how many it has: asynchronous callers get as
/// many threads for them. One whose keys each name many states, of which every transaction gets another, says
/// `static constexpr bool one_state_per_key = false`.
template <class R>
concept Repository = std::copyable<R> && requires(R const& r) {
    typename R::value_type;
    typename R::key_type;
    typename R::runtime_type;
    { r.runtime() } -> std::convertible_to<typename R::runtime_type>;
    { r.identity() } -> std::convertible_to<void const*>;
};

/// A store that knows the version of every value.
///
/// | expression | result | meaning | may fail with |
/// |---|---|---|---|
/// | `r.load(key, deadline)` | `Outcome<Versioned<T>>` | value and version, as of one moment | `not_found`, `corrupt_state` |
/// | `r.insert(key, value, deadline)` | `Outcome<Version>` | if there is no value | `already_exists` |
/// | `r.compare_and_set(key, version, value, deadline)` | `Outcome<Version>` | if the version is still `version` | `version_conflict`, `not_found`, `lock_busy`, `version_exhausted` |
/// | `r.erase(key, version, deadline)` | `Outcome<Version>` | likewise; returns the erased version | `version_conflict`, `not_found`, `lock_busy` |
///
/// Laws: 1. Of several writers that name one version, exactly one succeeds. 2. A version is never reused: a
/// key that is inserted again gets a greater version than it ever had. 3. A refused write changes nothing.
/// 4. A value larger than the store's limit is `invalid_argument` on write. 5. A write to a key that is row
/// locked by a transaction waits or is refused with `lock_busy`; it never slips in.
/// Models in this library: `memory::StateRepository`, `StateRepository<T>`.
template <class R>
concept VersionedRepository = Repository<R> &&
    requires(R r, Key const& key, typename R::value_type const& value, Version version, Deadline deadline) {
    { r.load(key, deadline) } -> std::same_as<Outcome<Versioned<typename R::value_type>>>;
    { r.insert(key, value, deadline) } -> std::same_as<Outcome<Version>>;
    { r.compare_and_set(key, version, value, deadline) } -> std::same_as<Outcome<Version>>;
    { r.erase(key, version, deadline) } -> std::same_as<Outcome<Version>>;
};

/// A versioned store that changes several keys in one atomic step, guarded by fences where given.
///
/// | expression | result | meaning | may fail with |
/// |---|---|---|---|
/// | `r.commit(changes, operation, deadline)` | `Outcome<CommitResult>` | all of `changes`, and the operation's record if given, or nothing | as `compare_and_set`, `fenced_out`, `superseded`, `overloaded` |
///
/// Laws: 1. All or nothing, for observers too. 2. The detail of a failure names every key that failed.
/// 3. A change with a fence is applied only while the lock record of its key names `fence.owner` and
/// `fence.token` is not below the mark; the mark then rises to it. No record: `fenced_out`. No clock is asked
/// (law P1). 4. With an operation: if its id has an answer, nothing is written and that answer is returned;
/// if a tombstone forbids the attempt, `superseded`; else the record is written in the same step.
template <class R>
concept AtomicRepository = VersionedRepository<R> &&
    requires(R r, std::span<Change<typename R::value_type>> changes, OperationCommit const* operation, Deadline deadline) {
    { r.commit(changes, operation, deadline) } -> std::same_as<Outcome<CommitResult>>;
};

/// An atomic store that remembers operation ids.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `r.find_operation(key, id, deadline)` | `Outcome<std::optional<OperationRecord>>` | answer, tombstone or nothing |
/// | `r.forbid_operation(key, id, attempt, deadline)` | `Outcome<OperationRecord>` | if there is no answer yet, forbid all attempts up to `attempt`; returns the record as it then is |
///
/// Laws: 1. After `forbid_operation` returned a tombstone, no attempt up to it is ever applied. 2. An answer is
/// kept for the store's retention by the store's clock, and never evicted early: a full store refuses new ones
/// with `overloaded`. `r.for_each_operation(visit)`, where a store can, shows every answer committed before
/// the call, in no particular order.
template <class R>
concept OperationRepository = AtomicRepository<R> &&
    requires(R r, Key const& key, OperationId const& id, std::uint32_t attempt, Deadline deadline) {
    { r.find_operation(key, id, deadline) } -> std::same_as<Outcome<std::optional<OperationRecord>>>;
    { r.forbid_operation(key, id, attempt, deadline) } -> std::same_as<Outcome<OperationRecord>>;
};

/// One open transaction of a row-locking store. Move-only; its destructor rolls back.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `tx.state(i)` | `std::optional<Versioned<T>>&` | the i-th locked row, as the locking read returned it |
/// | `tx.commit(changes, operation, deadline)` | `Outcome<CommitResult>` | as `AtomicRepository::commit`, and ends the transaction |
/// | `tx.rollback()` | | ends the transaction, `noexcept` |
template <class X, class T>
concept RowTransaction = std::movable<X> &&
    requires(X tx, std::size_t i, std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline) {
    { tx.state(i) } -> std::same_as<std::optional<Versioned<T>>&>;
    { tx.commit(changes, operation, deadline) } -> std::same_as<Outcome<CommitResult>>;
    { tx.rollback() } noexcept;
};

/// A store that locks rows for the length of a transaction.
///
/// | expression | result | meaning | may fail with |
/// |---|---|---|---|
/// | `r.load_for_update(keys, wait, deadline)` | `Outcome<R::transaction_type>` | open a transaction, lock `keys` in the order given, read them | `lock_busy`, `deadlock`, `deadline_exceeded`, `overloaded` |
///
/// Laws: 1. Until the transaction ends nobody else changes or locks these rows. 2. A key without a value is
/// locked as well, or two that create it cannot both succeed. 3. Waiters get the row in the order they came,
/// where the store can. `keys` come sorted by bytes, without duplicates.
template <class R>
concept RowLockingRepository = Repository<R> &&
    requires(R r, std::span<Key const* const> keys, Wait wait, Deadline deadline) {
    r.load_for_update(keys, wait, deadline);  // first, so that a compiler names it when it is missing
    typename R::transaction_type;
    { r.load_for_update(keys, wait, deadline) } -> std::same_as<Outcome<typename R::transaction_type>>;
    requires RowTransaction<typename R::transaction_type, typename R::value_type>;
};

/// A store that keeps lock records with a lease. Touches lock records only, never values.
///
/// | expression | result | meaning | may fail with |
/// |---|---|---|---|
/// | `r.create(key, owner, ttl, deadline)` | `Outcome<Grant>` | take the record if it is free or its lease is over; idempotent for its own `owner` | `lock_busy` with `retry_after` |
/// | `r.renew(key, owner, ttl, deadline)` | `Outcome<std::chrono::nanoseconds>` | prolong; returns the granted time | `lock_lost` |
/// | `r.remove(key, owner, deadline)` | `Outcome<Removal>` | remove the record if it names `owner` | |
///
/// Laws: 1. At most one record per key; it names one owner. 2. `renew` and `remove` touch only their own
/// owner's record (law P8). 3. The tokens of a grant are greater than all earlier ones of the key, and the mark
/// of the record rises at grant: an earlier holder's write is refused from then on. 4. A lease ends no earlier
/// than its ttl after the grant, by the store's clock.
/// Where a store can: `r.subscribe(key, owner, waiter)` wakes `waiter` when `create` may succeed for `owner`,
/// until `r.unsubscribe(key, waiter)` has returned; `r.wanted(key, owner)` tells a holder that somebody elsewhere waits.
/// Such a store may keep a line of those who asked in vain after having subscribed; `remove` leaves it, too.
/// `r.renew_all(renewals, ttl, deadline)` is `renew` for each of them in fewer trips.
template <class R>
concept LeaseRepository = Repository<R> &&
    requires(R r, Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline) {
    { r.create(key, owner, ttl, deadline) } -> std::same_as<Outcome<Grant>>;
    { r.renew(key, owner, ttl, deadline) } -> std::same_as<Outcome<std::chrono::nanoseconds>>;
    { r.remove(key, owner, deadline) } -> std::same_as<Outcome<Removal>>;
};

/// A lease store whose fence counter is at least as durable as the data it guards, and which checks fences
/// inside its commits.
///
/// | expression | result | meaning | may fail with |
/// |---|---|---|---|
/// | `r.verify_fencing(deadline)` | `Outcome<void>` | asked once per service before the first grant | `misconfigured` |
template <class R>
concept FencedRepository = LeaseRepository<R> && AtomicRepository<R> && requires(R r, Deadline deadline) {
    { r.verify_fencing(deadline) } -> std::same_as<Outcome<void>>;
};

/// A fenced store that takes the lock and reads the state in one trip. The way back, write + fence check +
/// release, is `commit` with `Change::release`.
template <class R>
concept FusedRepository = FencedRepository<R> &&
    requires(R r, Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline) {
    { r.create_and_load(key, owner, ttl, deadline) } -> std::same_as<Outcome<GrantAndState<typename R::value_type>>>;
};

/// A store whose calls can be started without waiting for their ends, so that asynchronous callers need no thread each.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `r.start_load(key, deadline, waiter)` | `StartedCall<Versioned<T>>` | as the member without `start_`, likewise below |
/// | `r.start_commit(changes, operation, deadline, waiter)` | `StartedCall<CommitResult>` | `changes` and `operation` are read during this call only; the new version is in the result |
/// | `r.start_find_operation(key, id, deadline, waiter)` | `StartedCall<std::optional<OperationRecord>>` | |
/// | `r.start_forbid_operation(key, id, attempt, deadline, waiter)` | `StartedCall<OperationRecord>` | |
/// | `r.start_create(key, owner, ttl, deadline, waiter)` | `StartedCall<Grant>` | |
/// | `r.start_create_and_load(key, owner, ttl, deadline, waiter)` | `StartedCall<GrantAndState<T>>` | |
/// | `r.start_remove(key, owner, deadline, waiter)` | `StartedCall<Removal>` | |
///
/// Laws: 1. None of these blocks, and each ends by its deadline, though nobody looks: its waiter is woken for that,
/// unless the call had ended when it was returned. An executor that the call needs must be running. 2. The outcomes are
/// those of the blocking members. 3. Of two calls for one key, the second of which was started after the first was
/// given up, the store sees the first no later than the second, unless the connection was lost between them.
/// Where that is known at run time only, `r.starts_calls()` says whether these may be used. `r.has_own_threads()`, where there
/// is such a member, says that started calls end although nobody runs an executor.
template <class R>
concept NonblockingRepository = FusedRepository<R> && OperationRepository<R> &&
    requires(
        R r, Key const& key, OwnerToken owner, Ttl ttl, std::span<Change<typename R::value_type>> changes,
        OperationCommit const* operation, OperationId const& id, std::uint32_t attempt, Deadline deadline, Waiter& waiter) {
    { r.start_load(key, deadline, waiter) } -> std::same_as<StartedCall<Versioned<typename R::value_type>>>;
    { r.start_commit(changes, operation, deadline, waiter) } -> std::same_as<StartedCall<CommitResult>>;
    { r.start_find_operation(key, id, deadline, waiter) } -> std::same_as<StartedCall<std::optional<OperationRecord>>>;
    { r.start_forbid_operation(key, id, attempt, deadline, waiter) } -> std::same_as<StartedCall<OperationRecord>>;
    { r.start_create(key, owner, ttl, deadline, waiter) } -> std::same_as<StartedCall<Grant>>;
    { r.start_create_and_load(key, owner, ttl, deadline, waiter) }
        -> std::same_as<StartedCall<GrantAndState<typename R::value_type>>>;
    { r.start_remove(key, owner, deadline, waiter) } -> std::same_as<StartedCall<Removal>>;
};

/// Whether `repository` starts calls: what the type says, or, where that is known at run time only, the handle.
template <class R>
constexpr bool starts_calls(R const& repository) noexcept
{
    if constexpr (!NonblockingRepository<R>)
        return false;
    else if constexpr (requires { repository.starts_calls(); })
        return repository.starts_calls();
    else
        return true;
}

// clang-format on

/// Whether somebody may block until a call that was started, or posted to the runtime's pool, has ended.
template <class R>
constexpr bool ends_by_itself(R const& repository) noexcept
{
    if (!starts_calls(repository))
        return true;
    if constexpr (requires { repository.has_own_threads(); })
        return repository.has_own_threads();
    else
        return false;
}

/// A number that changes when versions which were read before may be those of other values by now; 0: they never are.
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
    Outcome<Versioned<int>> load(Key const&, Deadline);
    Outcome<Version> insert(Key const&, int, Deadline);
    Outcome<Version> compare_and_set(Key const&, Version, int, Deadline);
    Outcome<Version> erase(Key const&, Version, Deadline);
    Outcome<CommitResult> commit(std::span<Change<int>>, OperationCommit const*, Deadline);
    Outcome<std::optional<OperationRecord>> find_operation(Key const&, OperationId const&, Deadline);
    Outcome<OperationRecord> forbid_operation(Key const&, OperationId const&, std::uint32_t, Deadline);
    Outcome<transaction_type> load_for_update(std::span<Key const* const>, Wait, Deadline);
    Outcome<Grant> create(Key const&, OwnerToken, Ttl, Deadline);
    Outcome<std::chrono::nanoseconds> renew(Key const&, OwnerToken, Ttl, Deadline);
    Outcome<Removal> remove(Key const&, OwnerToken, Deadline);
    Outcome<void> verify_fencing(Deadline);
};

template <bool Needed, class R>
using needed = std::conditional_t<Needed, R, AnyRepositoryArchetype>;

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_STORE_HPP
