// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_LEASE_TRANSACTION_HPP
#define INTERLOCK_POLICIES_DETAIL_LEASE_TRANSACTION_HPP

/// @file
/// One call under `SetNxLock`: take the locks, run, write under their fences and release in the same step.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/kit/kept_state.hpp>
#include <interlock/core/kit/lock_access.hpp>
#include <interlock/core/kit/pending_call.hpp>
#include <interlock/core/kit/per_key.hpp>
#include <interlock/core/kit/recorded_events.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/rows_of_leases.hpp>
#include <interlock/policies/detail/same_keys.hpp>
#include <interlock/policies/detail/stages.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Stops when one of several locks is lost.
class AnyLoss {
public:
    template <class Holds>
    explicit AnyLoss(Holds const& holds)
    {
        for (auto const& hold : holds)
            if (hold)
                links_.push_back(
                    std::make_unique<std::stop_callback<Stop>>(hold->stop_token(), Stop{source_}));
    }
    std::stop_token token() const { return source_.get_token(); }

private:
    struct Stop {
        std::stop_source source;
        void operator()() noexcept { source.request_stop(); }
    };
    std::stop_source source_;
    std::vector<std::unique_ptr<std::stop_callback<Stop>>> links_;
};

/// Where there is nothing to keep.
struct Nothing {
    void reset() noexcept {}
};

/// A `PerKey`, where it is needed.
template <bool Needed, class X, std::size_t N>
struct Wanted {
    explicit Wanted(std::size_t) noexcept {}
};
template <class X, std::size_t N>
struct Wanted<true, X, N> : PerKey<X, N> {
    using PerKey<X, N>::PerKey;
};

/// What an operation works with, once all locks are there: its states, and what it sees of the locks. While a
/// call waits for its locks, the same memory serves its way to the next one.
template <class Slots, class Handles, class Fences, class Written>
struct WorkUnderLeases {
    template <class Holds>
    WorkUnderLeases(std::size_t size, Holds const& holds) : slots(size), handles(size), fences(size)
    {
        for (std::size_t i = 0; i < size; ++i)
            fences[i] = holds[i]->fence();
    }
    [[no_unique_address]] Slots slots;
    [[no_unique_address]] Handles handles;
    Fences fences;                            // of the holds
    [[no_unique_address]] Written written{};  // what the commit made of the state
    std::size_t ready{0};                     // how many states are loaded, while `begin` loads them
};

/// What is committed under the locks on `N` keys. Locks without fences guard nothing, so that all there is to
/// store is the record of an operation id. It belongs to one key, and the one change names that key: so the
/// other keys may be where the store commits nothing together with it, as in another shard of Redis.
template <class T, std::size_t N, bool Fenced>
using ChangesUnderLocks = PerKey<Change<T>, Fenced ? N : 1>;

/// The locks on `N` keys, and what an operation of this form does under them.
template <class Session, std::size_t N, Form Shape>
class LeaseTransaction final : public LossSource {
    using R = typename Session::repository_type;
    using T = typename Session::value_type;
    using Locks = typename Session::Locks;
    using Lock = typename Session::lock_type;
    using Rows = RowsOfLeases<R, N>;
    static constexpr bool fenced = Session::fenced;
    static constexpr bool values = uses_values(Shape);
    static constexpr bool shows_locks = takes_locks(Shape);
    using Ticket = typename std::conditional_t<
        values && fenced, std::type_identity<LockAccess::StateTicket<Locks>>,
        std::type_identity<LockAccess::Ticket<Locks>>>::type;

public:
    LeaseTransaction(
        Session const& session, std::span<Key const, N> keys, std::span<std::size_t const, N> order,
        std::span<std::optional<T> const, N> named, TransactionContext& context)
        : session_(session), keys_(keys), order_(order), named_(named), context_(context)
    {
        ContextAccess::set_loss_source(context_, this);
    }
    LeaseTransaction(LeaseTransaction const&) = delete;
    LeaseTransaction& operator=(LeaseTransaction const&) = delete;
    ~LeaseTransaction()
    {
        ContextAccess::set_loss_source(context_, nullptr);
        release_all(false);
    }

    // ---- before the operation -------------------------------------------------------------------

    Step<Begun> begin(Waiter& waiter)
    {
        while (locked_ < keys_.size()) {
            auto* ticket = stages_.waiting();
            if (ticket == nullptr)
                ticket = &queue_for(order_[locked_]);
            auto step = ticket->poll(waiter, context_.deadline());
            if (locked_ > 0 && meets_busy(step, *ticket))  // perhaps a lock of this call's own
                if (auto twice = same_keys_.named_twice(session_.repository(), keys_, deadline()))
                    return fail(*std::move(twice));
            if (!step.done())
                return step.calling() ? Step<Begun>::under_way() : Step<Begun>::pending(step.wake_at());
            if (!step.outcome())
                return fail(std::move(step.outcome()).failure());
            take(order_[locked_], *std::move(step.outcome()));
        }
        if (!stages_.works())
            ContextAccess::set_fences(context_, stages_.work(keys_.size(), holds_).fences);
        if constexpr (Rows::possible)
            if (rows_.wanted()) {
                auto step = rows_.lock(session_.repository(), keys_, order_, deadline(), waiter);
                if (!step.done())
                    return Step<Begun>::pending(step.wake_at());
                if (!step.outcome())
                    return fail(std::move(step.outcome()).failure());
            }
        if constexpr (values) {
            for (auto& ready = stages_.working().ready; ready < keys_.size(); ++ready) {
                auto loaded = load(ready, waiter);
                if (!loaded.done())
                    return Step<Begun>::under_way();
                if (!loaded.outcome())
                    return fail(missing_state(std::move(loaded.outcome()).failure(), session_, keys_, ready));
            }
            stages_.working().ready = 0;  // to run again, all is read again
        }
        if constexpr (shows_locks)
            show_locks();
        return Step<Begun>{std::in_place, std::in_place};
    }

    /// What `begin` waits for, see `reason_of`.
    Failure reason()
    {
        if (auto* const ticket = stages_.waiting())
            return ticket->reason();
        if (locked_ < keys_.size())  // it waits for its turn to lock
            return table().reason(keys_[order_[locked_]]);
        return rows_.wanted() ? Failure{Errc::lock_busy} : loading_.reason();
    }

    void abandon() noexcept
    {
        loading_.give_up();
        rows_.abandon();
        if (auto* const ticket = stages_.waiting())
            ticket->abandon();
    }

    T& state(std::size_t i) noexcept { return slot(i).value(); }
    Lock& lock(std::size_t i) noexcept { return stages_.working().handles[i]; }

    // ---- while it runs --------------------------------------------------------------------------

    /// Whether one of the locks is lost, by the clock.
    bool lost() const noexcept
    {
        for (auto const& hold : holds_)
            if (hold && hold->status() == LockStatus::lost && hold->lost_reason() != LostReason::released)
                return true;  // one that the operation released itself is not lost
        return false;
    }

    /// Wakes `waiter` when a lock is lost.
    void listen(Waiter* waiter) noexcept
    {
        listener_ = waiter;
        for (auto const& hold : holds_)
            if (hold)
                hold->listen(waiter);
    }

    std::stop_token stop_token() override
    {
        if constexpr (N == 1) {
            return holds_[0] ? holds_[0]->stop_token() : std::stop_token{};
        } else {
            if (!any_loss_)
                any_loss_ = std::make_unique<AnyLoss>(holds_);
            return any_loss_->token();
        }
    }

    // ---- after the operation --------------------------------------------------------------------

    std::optional<Failure> refusal() const
    {
        if constexpr (values)
            return changed_key(stages_.working().slots, keys_);
        else
            return std::nullopt;
    }

    /// Writes what changed under the fences, and lets the locks go when that is done.
    Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
    {
        ChangesUnderLocks<T, N, fenced> changes{keys_.size()};
        if (!committing_.under_way()) {
            // Law P6: once more before anything is sent. What this cannot see, the fence decides.
            if (lost())
                return Errc::lock_lost;
            releasing_ = false;
            if (!gather(changes, operation)) {
                release_all(false);
                return Step<CommitResult>{std::in_place, std::in_place};
            }
        }
        if constexpr (Rows::possible)
            if (rows_.locked())
                return committed(rows_.commit(std::span<Change<T>>{changes}, operation, deadline()));
        if constexpr (fenced || OperationRepository<R>) {
            auto asked = committing_.ask(
                session_.repository(), waiter, verb::Commit<T>{changes, operation}, deadline());
            if (!asked)
                return Step<CommitResult>::under_way();
            want_rows_if_busy((*asked).errc());
            return committed(std::move(*asked));
        }
        return Errc::misconfigured;  // without fences there is nothing to write, see `gather`
    }

    /// After a throw: whether the state that it was about is the stored one.
    Step<CommitResult> verify(Waiter& waiter)
        requires(fenced && N == 1 && values)
    {
        if (!cached_)
            return Step<CommitResult>{std::in_place, std::in_place};
        Change<T> change{
            .key = &keys_[0], .kind = ChangeKind::verify, .version = slot(0).version(), .fence = &fence(0)};
        auto asked = committing_.ask(
            session_.repository(), waiter, verb::Commit<T>{std::span<Change<T>>{&change, 1}, nullptr},
            deadline());
        if (!asked)
            return Step<CommitResult>::under_way();
        want_rows_if_busy((*asked).errc());
        if ((*asked).errc() == Errc::not_found)
            return Errc::version_conflict;  // erased meanwhile: run again
        return std::move(*asked);
    }

    void rollback(bool unresolved) noexcept { release_all(unresolved); }

private:
    Deadline deadline() const noexcept { return Deadline{context_.deadline()}; }
    auto& table() const noexcept { return *LockAccess::table(session_.locks()); }
    auto& slot(std::size_t i) noexcept { return stages_.working().slots[i]; }
    Fence const& fence(std::size_t i) noexcept { return stages_.working().fences[i]; }

    // ---- locks ----------------------------------------------------------------------------------

    Ticket& queue_for(std::size_t i)
    {
        auto const& table = LockAccess::table(session_.locks());
        auto const wait = ContextAccess::wait(context_, session_.policy().wait);
        auto const attempts = std::numeric_limits<int>::max();
        if constexpr (values && fenced)
            return stages_.wait(table, keys_[i], wait, attempts, loaded_[i]);
        else
            return stages_.wait(table, keys_[i], wait, attempts);
    }

    /// The ticket has come to a lock, on the i-th key.
    void take(std::size_t i, std::shared_ptr<Hold> hold)
    {
        holds_[i] = std::move(hold);
        holds_[i]->take();
        if (listener_ != nullptr)
            holds_[i]->listen(listener_);
        if constexpr (values && fenced) {
            // The holder before left us the state that it has just written, so that it need not be loaded.
            // Somebody may have written without the lock since then: so that state counts only once a commit
            // that names its version has succeeded, or `verify` has compared it with the stored one.
            auto const source = stages_.waiting()->state_source();
            cached_ = N == 1 && source == StateSource::holder && session_.policy().max_attempts > 1;
            known_[i] = source == StateSource::store || cached_;
        }
        stages_.end_wait();
        ++locked_;
    }

    void show_locks()
    {
        auto& handles = stages_.working().handles;
        for (std::size_t i = 0; i < keys_.size(); ++i) {
            // Of the run before; the lock stays ours.
            static_cast<void>(LockAccess::detach(handles[i]));
            handles[i] = Lock{shown(i), holds_[i]};
        }
    }
    T shown(std::size_t i)
    {
        if constexpr (values) {
            return slot(i).peek();
        } else {
            if (named_[i])
                return *named_[i];
            return LockAccess::state_of(session_.locks(), keys_[i]);
        }
    }

    Failure fail(Failure failure) noexcept
    {
        release_all(false);
        return failure;
    }

    void drop(std::size_t i) noexcept
    {
        if (holds_[i])
            holds_[i]->listen(nullptr);
        if constexpr (shows_locks)
            if (stages_.works())
                static_cast<void>(LockAccess::detach(lock(i)));
        holds_[i].reset();
    }

    void release_all(bool unresolved) noexcept
    {
        loading_.give_up();
        rows_.give_up();
        ContextAccess::set_fences(context_, {});
        stages_.end_wait();
        for (std::size_t j = keys_.size(); j-- > 0;) {
            auto const i = order_[j];
            if (!holds_[i])
                continue;
            auto const hold = holds_[i];
            drop(i);
            hold->release(unresolved);
        }
        locked_ = 0;
        any_loss_.reset();
    }

    // ---- states ---------------------------------------------------------------------------------

    Step<void> load(std::size_t i, Waiter& waiter)
    {
        // A fresh grant brought the state along; a local hand-on, or a second run, has to look.
        if (loading_.under_way() || !std::exchange(known_[i], false)) {
            cached_ = false;
            auto asked = loading_.ask(session_.repository(), waiter, verb::Load<T>{keys_[i]}, deadline());
            if (!asked)
                return Step<void>::under_way();
            auto& loaded = *asked;
            loaded_[i].reset();
            if (loaded)
                loaded_[i].emplace(*std::move(loaded));
            else if (loaded.errc() != Errc::not_found)
                return std::move(loaded).failure();
        }
        if (loaded_[i]) {
            slot(i).load(*loaded_[i]);
            return success();
        }
        if (session_.policy().missing != Missing::create)
            return Errc::not_found;
        return slot(i).create(keys_[i], named_[i]);
    }

    /// What is to be written, and whether the locks go with it. False: there is nothing to write.
    bool gather(ChangesUnderLocks<T, N, fenced>& changes, OperationCommit const* operation)
    {
        // One state that was only read is what it was; several must be shown to be one moment's.
        bool nothing = operation == nullptr && !cached_ && (N == 1 || !values);
        if (!fenced && (nothing || !OperationRepository<R>))
            return false;
        RecordedEvents<Shape> const recorded{context_, session_.repository().runtime()};
        for (std::size_t i = 0; i < changes.size(); ++i) {
            if constexpr (values)
                changes[i] = slot(i).change(keys_[i], &fence(i));
            else if constexpr (fenced)
                changes[i] = {.key = &keys_[i], .kind = ChangeKind::guard, .fence = &fence(i)};
            else
                changes[i] = {.key = operation->home, .kind = ChangeKind::guard};
            changes[i].events = recorded.of(i);
            nothing = nothing && changes[i].kind != ChangeKind::write;
        }
        if (nothing && !has_recorded<Shape>(context_))
            return false;
        // Fused: nobody waits here, so the record goes in the same step as the write.
        releasing_ = fenced && N == 1 && !table().contended(*holds_[0]);
        changes[0].release = releasing_;
        if constexpr (N == 1 && values)
            if (!releasing_)  // the state is left to the next holder
                changes[0].stored = &(stages_.working().written = Stored<T>{});
        return true;
    }

    /// Somebody who knows nothing of leases has a row: the next `begin` waits for it.
    void want_rows_if_busy([[maybe_unused]] Errc code) noexcept
    {
        if constexpr (Rows::possible)
            if (code == Errc::lock_busy && session_.waits_for_rows())
                rows_.want();
    }

    /// The store has answered the commit: lets the locks go.
    Step<CommitResult> committed(Outcome<CommitResult> result)
    {
        if (!result) {
            if (result.errc() == Errc::fenced_out)
                table().observe_fenced_out(keys_[0], fence(0).token);
            // The record went with the write, or did not, so that from here on nobody holds the lock: what
            // became of the write, it is compared and deleted, never handed on. If the write was not applied,
            // and the operation runs again, it queues for the lock again. No record lets a write through that
            // is still on its way.
            if (result.errc() == Errc::outcome_unknown && releasing_)
                release_all(true);
            return result;
        }
        if (releasing_ && !result->duplicate) {
            table().released_by_commit(*holds_[0]);
            drop(0);
        }
        if constexpr (N == 1 && values)
            if (!result->duplicate && !releasing_)
                leave_state(result->version);
        release_all(false);
        return result;
    }

    /// Whoever is next here need not load what is stored now.
    void leave_state(Version written)
    {
        auto& stored = stages_.working().written;
        if (!stored.as_sent && !stored.value)
            return;  // the store cannot say what it has made of the state
        auto const version = written != no_version ? written : slot(0).version();
        auto& value = stored.as_sent ? slot(0).value() : *stored.value;
        if (keep_state(loaded_[0], [&] { return Versioned<T>{std::move(value), version}; }))
            table().leave_state(*holds_[0], &*loaded_[0]);
    }

    using Work = WorkUnderLeases<
        Wanted<values, StateSlot<T, typename R::key_type>, N>, Wanted<shows_locks, Lock, N>, PerKey<Fence, N>,
        std::conditional_t<N == 1 && values, Stored<T>, Nothing>>;

    Session const& session_;
    std::span<Key const, N> keys_;
    std::span<std::size_t const, N> order_;  // in which the keys are locked
    std::span<std::optional<T> const, N> named_;
    TransactionContext& context_;
    Waiter* listener_{nullptr};    // whom the loss of a lock wakes
    Stages<Ticket, Work> stages_;  // the way to the next lock; with all of them, what runs under them
    PerKey<std::shared_ptr<Hold>, N> holds_{keys_.size()};
    // `loaded_` came with the lock, and no run has used it yet.
    PerKey<bool, N> known_{keys_.size(), std::in_place};
    bool cached_{false};       // and is what the holder before has written
    bool releasing_{false};    // with the commit that is on its way
    std::uint32_t locked_{0};  // how many keys, in that order
    [[no_unique_address]] PendingCall<R, verb::Load<T>> loading_;
    [[no_unique_address]] PendingCall<R, verb::Commit<T>> committing_;
    PerKey<std::optional<Versioned<T>>, N> loaded_{keys_.size()};  // nothing: the key has no value
    [[no_unique_address]] SameKeys<R, N> same_keys_;
    [[no_unique_address]] Rows rows_;
    // For an operation on several states that asks for a token.
    [[no_unique_address]] std::conditional_t<N == 1, Nothing, std::unique_ptr<AnyLoss>> any_loss_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_LEASE_TRANSACTION_HPP
