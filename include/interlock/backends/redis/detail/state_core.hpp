// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_STATE_CORE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_STATE_CORE_HPP

// What a `redis::StateRepository` does without knowing the type of its states: it names keys, makes commands
// and reads replies. States come to it as bytes, and leave it as bytes. So it is compiled once per runtime,
// and not once per state.

#include <interlock/backends/redis/detail/call.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/raw_changes.hpp>
#include <interlock/backends/redis/repository_options.hpp>
#include <interlock/core/codec/stored_shape.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/newer_states.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {

struct Options;

namespace detail {

/// A stored value, still encoded.
struct RawValue {
    Version version{no_version};
    std::string_view bytes;
};
/// What `stored` holds, or `corrupt_state`.
Outcome<RawValue> raw_value(std::string_view stored);
/// A stored value of this version is of no use to the type of the repository; `reading` says why.
[[gnu::cold]] Failure undecodable(Version version, interlock::detail::Reading const& reading);

/// A grant, and the stored value that came with it, if one did.
struct RawGrant {
    Grant grant;
    std::optional<std::string_view> stored;
};
/// What the reply to a `create` means.
template <class R>
struct ReadGrant {
    Outcome<RawGrant> operator()(ReplyView reply) const;

    std::shared_ptr<ClientState<R>> client;  // whose subscriber hears that others wait for the lock
    KeySpace::WakeName called;               // what others wait for
    OwnerToken owner;
    std::chrono::milliseconds granted;  // the lease that was asked for
};

/// Shows one operation record to a visitor. Refers to the visitor.
class VisitOperation {
public:
    template <class Visit>
    explicit VisitOperation(Visit& visit) noexcept
        : visit_([](void* object, Key const& key, OperationId const& id, OperationRecord const& record) {
              (*static_cast<Visit*>(object))(key, id, record);
          }),
          object_(const_cast<void*>(static_cast<void const*>(std::addressof(visit))))
    {}
    void operator()(Key const& key, OperationId const& id, OperationRecord const& record) const
    {
        visit_(object_, key, id, record);
    }

private:
    void (*visit_)(void*, Key const&, OperationId const&, OperationRecord const&);
    void* object_;
};

/// Likewise one lock.
class VisitLock {
public:
    template <class Visit>
    explicit VisitLock(Visit& visit) noexcept
        : visit_([](void* object, Key const& key, LockInfo const& info) {
              (*static_cast<Visit*>(object))(key, info);
          }),
          object_(const_cast<void*>(static_cast<void const*>(std::addressof(visit))))
    {}
    void operator()(Key const& key, LockInfo const& info) const { visit_(object_, key, info); }

private:
    void (*visit_)(void*, Key const&, LockInfo const&);
    void* object_;
};

template <class R>
class JointStore;

/// What all handles of one repository share. `R`: the runtime.
///
/// **Thread safety.** Everything: safe.
template <class R>
class StateCore {
public:
    /// Throws `Error` (`invalid_argument`) for options out of range.
    [[gnu::cold]] StateCore(std::shared_ptr<ClientState<R>> client, RepositoryOptions options);

    // ---- About the store
    R const& runtime() const noexcept;
    void const* identity() const noexcept { return identity_.get(); }
    [[gnu::cold]] std::string place() const;
    std::uint64_t life() const noexcept;
    bool owns_threads() const noexcept;
    ClientState<R>& client() const noexcept { return *client_; }
    /// The states with members that the repository's type does not have.
    interlock::detail::NewerStates& newer() const noexcept { return newer_; }

    // ---- Verbs that know nothing of the type of the state
    Outcome<std::optional<OperationRecord>> carry_out(verb::FindOperation const& find, Deadline) const;
    Outcome<OperationRecord> carry_out(verb::ForbidOperation const& forbid, Deadline) const;
    Outcome<Grant> carry_out(verb::Create const& create, Deadline) const;
    Outcome<std::chrono::nanoseconds> carry_out(verb::Renew const& renew, Deadline) const;
    [[gnu::cold]] Outcome<void> carry_out(verb::RenewAll const& all, Deadline) const;
    Outcome<Removal> carry_out(verb::Remove const& remove, Deadline) const;
    [[gnu::cold]] Outcome<std::optional<LockInfo>> carry_out(verb::Inspect const& inspect, Deadline) const;
    [[gnu::cold]] Outcome<Removal> carry_out(verb::BreakLock const& broken, Deadline) const;
    [[gnu::cold]] Outcome<void> carry_out(verb::VerifyFencing const&, Deadline) const;
    /// The keys of one shard do.
    Outcome<void> carry_out(verb::FitOneCommit const& fit, Deadline) const;

    StartedCall<std::optional<OperationRecord>> start(
        verb::FindOperation const& find, Deadline, Waiter& waiter) const;
    StartedCall<OperationRecord> start(verb::ForbidOperation const& forbid, Deadline, Waiter& waiter) const;
    StartedCall<Grant> start(verb::Create const& create, Deadline, Waiter& waiter) const;
    StartedCall<Removal> start(verb::Remove const& remove, Deadline, Waiter& waiter) const;
    [[gnu::cold]] StartedCall<std::optional<LockInfo>> start(
        verb::Inspect const& inspect, Deadline, Waiter& waiter) const;
    [[gnu::cold]] StartedCall<Removal> start(verb::BreakLock const& broken, Deadline, Waiter& waiter) const;

    // ---- Verbs whose states have been encoded
    /// The new versions stand in `changes` when they were applied.
    Outcome<CommitResult> commit(RawChanges& changes, OperationCommit const* operation, Deadline) const;
    StartedCall<CommitResult> start_commit(
        RawChanges& changes, OperationCommit const* operation, Deadline, Waiter& waiter) const;
    /// The commit of one change without an operation; its new version, or the erased one.
    StartedCall<Version> start_change(RawChanges& changes, Deadline, Waiter& waiter) const;

    // ---- Verbs whose states are decoded by whoever knows their type
    Request<Command> load(Key const& key) const;
    /// Precondition: there is a key.
    Request<Command> load(std::span<Key const> keys) const;
    /// The reply is given to `take`, as by `exchange`.
    std::optional<Failure> create_and_load(
        verb::Create const& create, Deadline deadline, TakeReply take) const
    {
        return this->create(create, true, deadline, take);
    }
    ReadGrant<R> read_grant(Key const& key, OwnerToken owner, Ttl ttl) const;
    /// A started `create`, of which `read` reads the reply; `loads`: the value is loaded, too.
    template <class X, class Read>
    StartedCall<X> start_create(
        verb::Create const& create, bool loads, Deadline deadline, Waiter& waiter, Read read) const
    {
        auto request = create_request(create, loads);
        set_time(*client_, request, deadline);
        if (options_.replicas != 0 && !request.refused)
            return begin<X, ReplicatedCommand<R>>(
                *client_, std::move(request), waiter, std::move(read), replication(create.key, create.owner));
        return begin<X, PipelinedCommand<R, ScriptCall>>(
            *client_, std::move(request), waiter, std::move(read));
    }

    // ---- For operators
    [[gnu::cold]] Outcome<Removal> force_release(Key const& key, Deadline) const;
    [[gnu::cold]] Outcome<void> for_each_operation(VisitOperation visit, Deadline) const;
    [[gnu::cold]] Outcome<void> for_each_lock(VisitLock visit, Deadline) const;

    // ---- Wake-ups
    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const;
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept;
    bool wanted(Key const& key, OwnerToken owner) const;

private:
    friend JointStore<R>;

    KeySpace::WakeName wake_name(Key const& key) const { return keys_.wake_name("lock", key.bytes()); }

    Request<Command> find_request(Key const& key, OperationId const& id) const;
    Request<Command> forbid_request(verb::ForbidOperation const& forbid) const;
    Request<Command> commit_request(RawChanges& changes, OperationCommit const* operation) const;
    /// A commit that may leave together with others. Nothing: this one may not; see `may_share_a_script`.
    std::optional<Request<ScriptCall>> shared_commit_request(RawChanges& changes) const;
    void add_operation(Command& command, OperationCommit const& operation) const;
    /// Why `changes` make no commit in the shard, if so. Adds their names to `command`.
    std::optional<Failure> add_keys(
        Command& command, RawChanges& changes, OperationCommit const* operation, std::size_t shard) const;
    /// Appends the encoded value of a write. Returns why it cannot be made, if so.
    std::optional<Failure> encode(RawChanges const& changes, RawChange const& change, std::string& out) const;
    /// Why a value cannot be stored, if so. Adds what is to become of each key to `words`.
    template <class W>  // a `Command` or a `ScriptCall`
    std::optional<Failure> add_changes(W& words, RawChanges& changes) const;
    /// What a commit brings events to: its readers in this process hear at once that it was applied.
    struct Told {
        std::shared_ptr<ClientState<R>> client{};  // null: there were no events
        std::uint64_t log{0};
        EventLogHandle place{};
        std::size_t shard{0};
        template <class Done>  // an `Outcome<CommitResult>`
        void operator()(ReplyView reply, Done const& done, std::size_t letter = 0) const
        {
            if (client && note_commit(*place.get(), shard, reply, letter, done))
                client->subscriber().wake(log);
        }
    };
    Told told(RawChanges const& changes) const;

    Request<ScriptCall> create_request(verb::Create const& create, bool loads) const;
    std::optional<Failure> create(verb::Create const& create, bool loads, Deadline, TakeReply take) const;
    Request<Command> inspect_request(Key const& key) const;
    Request<Command> break_request(verb::BreakLock const& broken) const;
    Replicas replicas() const noexcept;
    [[gnu::cold]] Replication replication(Key const& key, OwnerToken owner) const;

    /// `owner`: its bytes, or nothing: whoever it is.
    ScriptCall removal(Key const& key, std::string_view owner) const;
    Request<ScriptCall> remove_request(Key const& key, std::string_view owner) const;
    /// The first removal in a life of the server sends the text of its script, not its name. It may be what
    /// takes a grant back from a server that stands still: nobody would hear that the script is not there.
    std::optional<Request<Command>> first_removal(verb::Remove const& remove) const;
    /// The record that was granted, deleted by one command of the server's own, or removed by the script.
    Outcome<Removal> remove_granted(verb::Remove const& remove, Deadline) const;
    /// All in one shard.
    void renew_some(std::span<Renewal* const> renewals, Ttl ttl, Deadline) const;

    std::shared_ptr<ClientState<R>> client_;
    RepositoryOptions options_;
    KeySpace keys_;
    std::chrono::milliseconds retention_;  // of operation records that say nothing else
    std::shared_ptr<std::string const> identity_;
    std::size_t group_;  // of the subscriber's: the channels of this name space
    // The life of the server in which a removal was sent last; 0: none. See `first_removal`.
    mutable std::atomic<std::uint64_t> removal_sent_in_{0};
    mutable interlock::detail::NewerStates newer_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/detail/impl/state_core.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_STATE_CORE_HPP
