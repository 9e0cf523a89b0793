// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_REQUESTS_HPP
#define INTERLOCK_CORE_CONTRACTS_REQUESTS_HPP

/// @file
/// What can be asked of a store, as values: one small struct per verb, with the type of its answer. An author
/// of a store writes one function per verb that the store can keep, and `kit/store_members.hpp` makes the
/// members of them that users call (`stock.load("sku-1")`). Whatever stands between a caller and a store (a
/// fault script, metrics, a circuit breaker) is one function template over all verbs:
///
///     template <class Verb>
///         requires CarriesOut<Store, Verb>
///     Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline deadline) const
///     {
///         count(Verb::name);
///         return store_.carry_out(verb, deadline);
///     }
///
/// A verb refers to its caller's storage. It is read during the call only, also by a call that is started.
///
/// Each comment below names the failures that belong to the verb. Besides those every verb may fail with
/// `invalid_argument` (a key, an id or a time out of range; refused before any I/O), `deadline_exceeded`,
/// `unavailable`, `overloaded` and `misconfigured`. A verb whose reply was lost is `outcome_unknown`, unless
/// it only reads; the comment then says whether it may be sent again.

#include <interlock/core/contracts/lock_info.hpp>
#include <interlock/core/counter.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/fencing_token.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/versioned.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

// ---- what verbs carry ---------------------------------------------------------------------------

/// What a lock-taking call does when somebody else is there.
enum class Wait : unsigned char {
    no,              ///< `lock_busy` at once
    until_deadline,  ///< queue, first come first served where the store can
};

/// What a commit does to one key.
enum class ChangeKind : unsigned char {
    write,   ///< store `value`, if the version is still `version` (`no_version`: if there is no value)
    erase,   ///< remove the value, if the version is still `version`
    verify,  ///< change nothing, but fail like `write` if the version moved
    guard,   ///< look at the fence only
};

/// What a store has made of a value that it was given. A database may store another value than it was sent: a
/// trigger changes the row, a column rounds a number, a default takes the place of nothing.
template <class T>
struct Stored {
    bool as_sent{true};        ///< the stored value is the one that was sent
    std::optional<T> value{};  ///< the stored value, if it is another one; nothing: it must be loaded
};

/// One key of an atomic commit. Points into its caller's storage, which must live until the commit has
/// returned. The keys of one commit are different.
template <class T>
struct Change {
    Key const* key{nullptr};
    ChangeKind kind{ChangeKind::write};
    /// in: expected; out, of a call that blocked: the new version, when the commit was applied.
    Version version{no_version};
    T const* value{nullptr};      ///< for `write`
    Fence const* fence{nullptr};  ///< law P1; null: unguarded
    bool release{false};          ///< remove the lock record that `fence` names, in the same step
    /// The value as it was loaded at `version`, where the caller has it. A store whose values have parts, as
    /// a row has columns, may then write only the parts that differ.
    T const* before{nullptr};
    /// What is stored now: out, of a call that blocked, when the commit was applied. Whoever keeps the state
    /// asks for it; null: nobody does, which may be cheaper.
    Stored<T>* stored{nullptr};
    /// What happened: appended to the key's stream in the same step, by a `RecordingRepository`. They are as
    /// `validate` wants them, and each has an id: policies see to that.
    std::span<NewEvent const> events{};
};

/// What a commit came to that was applied, now or by an earlier execution of its operation id.
struct CommitResult {
    CommitResult() noexcept {}  // not an aggregate: made in place without being zeroed first
    CommitResult(bool was_duplicate, std::string its_answer)
        : duplicate(was_duplicate), answer(std::move(its_answer))
    {}

    /// Nothing was written: an earlier execution of the same operation id was applied.
    bool duplicate{false};
    std::string answer;  ///< its stored answer, when `duplicate`
    /// Of a started commit: the new version of its first change, where that is a write.
    Version version{no_version};
};

/// A granted lock record. A store grant reserves `count` consecutive tokens from `first`: whoever holds the
/// record may hand it on locally, each time under the next of them, without asking the store. When they are
/// used up the holder must ask again.
struct Grant {
    FencingToken first;
    std::uint32_t count{1};
    std::chrono::nanoseconds ttl{0};  ///< what the store really granted; validity is computed from this
};

/// A grant, and the state as it was right after it: earlier holders can write no more, so that only a writer
/// without the lock can have changed it since.
template <class T>
struct GrantAndState {
    Grant grant;
    std::optional<Versioned<T>> state;  ///< nothing: the key has no value
};

/// One lease of several that are prolonged together. Points into its caller's storage.
struct Renewal {
    Key const* key{nullptr};
    OwnerToken owner{};
    Outcome<std::chrono::nanoseconds> granted{Errc::outcome_unknown};  ///< out, as `verb::Renew` says it
};

/// What became of `renewals`, which `ask()` is to prolong: a failure of that call is what became of each of
/// which it has said nothing.
template <class Ask>
void settle_renewals(std::span<Renewal> renewals, Ask ask)
{
    for (auto& renewal : renewals)
        renewal.granted = Errc::outcome_unknown;
    Outcome<void> const asked = ask();
    if (asked)
        return;
    for (auto& renewal : renewals)
        if (renewal.granted.errc() == Errc::outcome_unknown && renewal.granted.failure().detail().empty())
            renewal.granted = asked.failure();
}

/// What removing a lock record found.
enum class Removal : unsigned char {
    removed,  ///< our record; gone now
    gone,     ///< no record
    taken,    ///< another acquisition's record; untouched
};

/// The verbs. Each has `answer`, the type that its outcome holds; `name`, that of the member which users
/// call; `feature`, what a store lacks that does not carry it out, in words that follow "has no"; and
/// `reads`, true where nothing can have been changed by a call whose reply was lost.
namespace verb {

/// Value and version of a key, as of one moment. May fail with `not_found`, `corrupt_state`. One trip. Asked
/// again, it answers as of then.
template <class T>
struct Load {
    using answer = Versioned<T>;
    static constexpr std::string_view name = "load";
    static constexpr std::string_view feature = "values";
    static constexpr bool reads = true;
    Key const& key;
};

/// `Load` for several keys in one trip: an entry for each, in order; nothing for a key without a value. The
/// values need not be of one moment. Optional: where a store does not carry it out, the keys are loaded one
/// after the other.
template <class T>
struct LoadAll {
    using answer = std::vector<std::optional<Versioned<T>>>;
    static constexpr std::string_view name = "load";
    static constexpr std::string_view feature = "way to load several keys at once";
    static constexpr bool reads = true;
    std::span<Key const> keys;
};

/// The places of the first two of `keys` that the store takes for one key, though their bytes differ: a uuid
/// in capitals and in small letters. Nothing: there are no such two. Optional: a store to which keys are
/// their bytes does not carry it out. One trip.
///
/// A call with several keys asks when there is a sign that it is in its own way: it waits for a lock that
/// it may hold itself, or its commit conflicts. The answer of the store stays the same as long as the type
/// of the keys does, so nobody asks twice. A failure means that nothing is known, and the call goes on
/// without.
struct FindSameKeys {
    using answer = std::optional<std::pair<std::size_t, std::size_t>>;
    static constexpr std::string_view name = "find_same_keys";
    static constexpr std::string_view feature = "keys of several spellings";
    static constexpr bool reads = true;
    std::span<Key const> keys;
};

/// Whether one commit can take all of `keys`; if not, `invalid_argument`, which says what sets them apart.
/// Optional: a store to which any keys are fit does not carry it out. No trip, and no wait.
///
/// A call with several keys asks before its operation runs, where it is to commit them together.
struct FitOneCommit {
    using answer = void;
    static constexpr std::string_view name = "fit_one_commit";
    static constexpr std::string_view feature = "keys that do not fit one commit";
    static constexpr bool reads = true;
    std::span<Key const> keys;
};

/// Stores a value if the key has none; its version. May fail with `already_exists`. Not to be sent again
/// after a lost reply: an `already_exists` would not tell whose value it is. Load, and compare.
template <class T>
struct Insert {
    using answer = Version;
    static constexpr std::string_view name = "insert";
    static constexpr std::string_view feature = "values";
    static constexpr bool reads = false;
    Key const& key;
    T const& value;
    Stored<T>* stored{nullptr};  ///< as in `Change`
    /// Nobody has asked for this key: it is what the value says. A store that makes keys by itself may take
    /// the key that nobody has set for none.
    bool key_of_value{false};
};

/// Stores a value under a key that the store makes; the value as it is stored, its key in it, and its
/// version. With an operation id it may be sent again, also after a lost reply: the id's one value comes back
/// as it is then, or `not_found` if it was erased since. Without one a lost reply leaves the outcome unknown.
template <class T>
struct InsertNew {
    using answer = Versioned<T>;
    static constexpr std::string_view name = "insert_new";
    static constexpr std::string_view feature = "keys of its own making";
    static constexpr bool reads = false;
    T const& value;
    OperationId const* id{nullptr};
};

/// Replaces a value if its version is still `version`; the new version. May fail with `version_conflict`,
/// `not_found`, `lock_busy`, `version_exhausted`. Sent again after a lost reply it changes nothing twice,
/// since the first change has moved the version; but a `version_conflict` then does not tell who moved it.
template <class T>
struct CompareAndSet {
    using answer = Version;
    static constexpr std::string_view name = "compare_and_set";
    static constexpr std::string_view feature = "values";
    static constexpr bool reads = false;
    Key const& key;
    Version version;
    T const& value;
    T const* before{nullptr};    ///< as in `Change`
    Stored<T>* stored{nullptr};  ///< as in `Change`
};

/// Removes a value if its version is still `version`; the erased version. May fail with `version_conflict`,
/// `not_found`, `lock_busy`. Of a lost reply the same is true as of `CompareAndSet`. A value that is inserted
/// later has a greater version (law P3).
struct Erase {
    using answer = Version;
    static constexpr std::string_view name = "erase";
    static constexpr std::string_view feature = "values";
    static constexpr bool reads = false;
    Key const& key;
    Version version;
};

/// All of `changes`, and the record of `operation` if there is one, or nothing, in one step. May fail as
/// `CompareAndSet` does, and with `fenced_out`, `superseded`, `overloaded`. Without an operation a lost
/// reply leaves the outcome unknown. With one, `FindOperation` tells later whether it was applied, and the
/// same commit may be sent again: it is applied once, and answered by what is recorded.
template <class T>
struct Commit {
    using answer = CommitResult;
    static constexpr std::string_view name = "commit";
    static constexpr std::string_view feature = "atomic commits";
    static constexpr bool reads = false;
    std::span<Change<T>> changes;
    OperationCommit const* operation;
};

/// What is recorded of an operation id: an answer, a tombstone or nothing. Nothing does not mean that the
/// operation was not applied, as long as a commit of it may still be under way: `ForbidOperation` makes sure.
struct FindOperation {
    using answer = std::optional<OperationRecord>;
    static constexpr std::string_view name = "find_operation";
    static constexpr std::string_view feature = "operation records";
    static constexpr bool reads = true;
    Key const& key;
    OperationId const& id;
};

/// If there is no answer yet, forbids all attempts up to `attempt`; the record as it then is. From then on a
/// commit of such an attempt that arrives late is `superseded`, so that "not applied" is final. It may be
/// sent again.
struct ForbidOperation {
    using answer = OperationRecord;
    static constexpr std::string_view name = "forbid_operation";
    static constexpr std::string_view feature = "operation records";
    static constexpr bool reads = false;
    Key const& key;
    OperationId const& id;
    std::uint32_t attempt;
};

/// What a store of idempotency records wants done in the trip that opens a transaction, before a lock is
/// waited for: of a type that it shares with the repositories of its database. A repository that does it says
/// so by `static constexpr bool takes_before_locks = true`.
struct BeforeLocks {
protected:
    ~BeforeLocks() = default;
};

template <class R>
concept DoesBeforeLocks = requires { requires R::takes_before_locks; };

/// Opens a transaction, of type `Tx`, locks `keys` in the order given and reads them. May fail with
/// `lock_busy`, `deadlock`, `deadline_exceeded`, `overloaded`, and with what comes of `before`, if it is not
/// null. A failure leaves nothing locked. After a lost reply the store ends the transaction by itself.
template <class Tx>
struct LoadForUpdate {
    using answer = Tx;
    static constexpr std::string_view name = "load_for_update";
    static constexpr std::string_view feature = "row locks";
    static constexpr bool reads = true;
    std::span<Key const* const> keys;
    Wait wait;
    BeforeLocks* before{nullptr};
};

/// Takes the lock record if it is free or its lease is over; idempotent for its own `owner`. May fail with
/// `lock_busy`, which says how long the holder's lease still is. After a lost reply it is sent again with
/// the same `owner`: a record that is this owner's already is granted with the same tokens. An owner that
/// gives up instead sends `Remove`.
struct Create {
    using answer = Grant;
    static constexpr std::string_view name = "create";
    static constexpr std::string_view feature = "lock records";
    static constexpr bool reads = false;
    Key const& key;
    OwnerToken owner;
    Ttl ttl;
    /// What the holder calls itself, for `Inspect`; of `HolderName::max_size` bytes at most. Empty: the
    /// record says nothing of it.
    std::string_view holder{};
};

/// `Create`, and `Load` after it, in one trip. A failure of the load gives the lock back. One that may have
/// left the lock granted is `outcome_unknown` or `corrupt_state`; whoever does not ask again sends `Remove`
/// then. It may be sent again as `Create` may.
template <class T>
struct CreateAndLoad {
    using answer = GrantAndState<T>;
    static constexpr std::string_view name = "create_and_load";
    static constexpr std::string_view feature = "way to take a lock and load in one trip";
    static constexpr bool reads = false;
    Key const& key;
    OwnerToken owner;
    Ttl ttl;
    std::string_view holder{};  ///< as in `Create`
};

/// Prolongs the lease of `owner`; the granted time, counted from now. May fail with `lock_lost`, whose cause
/// is `not_found` (no record) or `lock_busy` (another owner's record). It may be sent again.
struct Renew {
    using answer = std::chrono::nanoseconds;
    static constexpr std::string_view name = "renew";
    static constexpr std::string_view feature = "lock records";
    static constexpr bool reads = false;
    Key const& key;
    OwnerToken owner;
    Ttl ttl;
};

/// `Renew` for each of them in fewer trips. What became of each stands in `Renewal::granted`. A failure of
/// the call itself is that of every renewal of which nothing else is known; whoever asks says so by
/// `settle_renewals`. Optional.
struct RenewAll {
    using answer = void;
    static constexpr std::string_view name = "renew_all";
    static constexpr std::string_view feature = "lock records";
    static constexpr bool reads = false;
    std::span<Renewal> renewals;
    Ttl ttl;
};

/// Removes the lock record if it names `owner`, and tells what it found. It may be sent again: the second
/// time finds the record gone, or taken by somebody else.
struct Remove {
    using answer = Removal;
    static constexpr std::string_view name = "remove";
    static constexpr std::string_view feature = "lock records";
    static constexpr bool reads = false;
    Key const& key;
    OwnerToken owner;
    /// The first token that `owner` was granted, where the caller knows it. A store may remove the record
    /// with less work if it knows what the record says. No token: the caller does not know.
    FencingToken granted{};
    std::string_view holder{};  ///< what `Create` said, where the caller knows `granted`
};

/// Who holds the lock, as of one moment; nothing where nobody does, or the lease is over. May fail with
/// `corrupt_state`: the record is none of ours. One trip. Asked again, it answers as of then.
struct Inspect {
    using answer = std::optional<LockInfo>;
    static constexpr std::string_view name = "inspect";
    static constexpr std::string_view feature = "way to look at lock records";
    static constexpr bool reads = true;
    Key const& key;
};

/// Removes the lock record if it still is that of the acquisition whose first token is `seen`, whoever owns
/// it, and tells what it found: `taken` where the record is another acquisition's by now. The former holder's
/// guarded writes are `fenced_out` from then on (law P1), and its next renewal finds the lock lost. It may be
/// sent again, as `Remove` may. One trip.
struct BreakLock {
    using answer = Removal;
    static constexpr std::string_view name = "break_lock";
    static constexpr std::string_view feature = "way to break a lock";
    static constexpr bool reads = false;
    Key const& key;
    FencingToken seen;
};

/// Whether the fences of the store can be relied on. Asked once per service before the first grant. May fail
/// with `misconfigured`.
struct VerifyFencing {
    using answer = void;
    static constexpr std::string_view name = "verify_fencing";
    static constexpr std::string_view feature = "fence that is as durable as its data";
    static constexpr bool reads = true;
};

/// Adds to a counter, at most once per operation id. May fail with `idempotency_mismatch` (the id was used
/// for another change) and `invalid_argument`. It may be sent again: the id's first answer comes back.
struct ChangeCounter {
    using answer = CounterAnswer;
    static constexpr std::string_view name = "atomic_once";
    static constexpr std::string_view feature = "counters";
    static constexpr bool reads = false;
    OperationId const& id;
    Key const& key;
    CounterChange const& change;
};

/// The counter now; 0 if it was never changed.
struct LoadCounter {
    using answer = std::int64_t;
    static constexpr std::string_view name = "load";
    static constexpr std::string_view feature = "counters";
    static constexpr bool reads = true;
    Key const& key;
};

// ---- lists of verbs -----------------------------------------------------------------------------
// A new verb of this page is a struct above and a word here, a concept in `store.hpp` that asks for it, and a
// member in `kit/store_members.hpp`; what carries verbs on (erasure, decorators) is written over the lists.

/// Verbs, as the list of those that an interface has.
template <class... Verb>
struct List {};

/// What a repository that is chosen at run time is asked for. Row transactions are opened apart from that,
/// since their type is the store's.
template <class T>
using RepositoryVerbs = List<
    Load<T>, LoadAll<T>, Insert<T>, InsertNew<T>, CompareAndSet<T>, Erase, Commit<T>, FindOperation,
    ForbidOperation, Create, CreateAndLoad<T>, Renew, RenewAll, Remove, Inspect, BreakLock, VerifyFencing,
    FindSameKeys, FitOneCommit>;
/// Those of them that are started where the store can.
template <class T>
using StartedVerbs = List<
    Load<T>, LoadAll<T>, Insert<T>, CompareAndSet<T>, Erase, Commit<T>, FindOperation, ForbidOperation,
    Create, CreateAndLoad<T>, Remove, Inspect, BreakLock>;

/// What a lock that was granted is in need of.
using LockVerbs = List<Renew, RenewAll, Remove, VerifyFencing>;
using StartedLockVerbs = List<Remove>;

}  // namespace verb

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_REQUESTS_HPP
