// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_LEASE_SESSION_HPP
#define INTERLOCK_POLICIES_DETAIL_LEASE_SESSION_HPP

/// @file
/// What `SetNxLock` keeps for a repository, and one call under it: take the locks, run, write under their
/// fences and release in the same step.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/kit/lock_access.hpp>
#include <interlock/core/kit/pending_call.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_context.hpp>

#include <array>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The rows that a lease holder writes, where somebody who knows nothing of leases may have locked them: once
/// a write was refused for that, they are waited for and kept until the end.
template <class R, std::size_t N>
class RowsOfLeases {
public:
    static constexpr bool possible = false;
    static constexpr bool locked() noexcept { return false; }
    static constexpr bool wanted() noexcept { return false; }
    void give_up() noexcept {}
    void abandon() noexcept {}
};
template <RowLockingRepository R, std::size_t N>
class RowsOfLeases<R, N> {
    using RowTx = typename R::transaction_type;

public:
    static constexpr bool possible = true;
    bool locked() const noexcept { return locked_; }
    bool wanted() const noexcept { return wanted_; }
    void want() noexcept { wanted_ = true; }

    /// `keys` in the order of `order`.
    Step<void> lock(
        R& store, std::span<Key const, N> keys, std::span<std::size_t const, N> order, Deadline deadline,
        Waiter& waiter)
    {
        for (std::size_t j = 0; j < N; ++j)
            sorted_[j] = &keys[order[j]];
        auto step = poll(store, deadline, waiter);
        if (step.done()) {
            locked_ = static_cast<bool>(step.outcome());
            wanted_ = false;
            if (!locked_)
                rows_.reset();
        }
        return step;
    }
    template <class T>
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline)
    {
        auto result = rows_->commit(changes, operation, deadline);
        give_up();
        return result;
    }
    void abandon() noexcept
    {
        if constexpr (polls_rows<R>)
            if (rows_)
                rows_->abandon();
    }
    void give_up() noexcept
    {
        rows_.reset();
        locked_ = wanted_ = false;
    }

private:
    Step<void> poll(R& store, Deadline deadline, Waiter& waiter)
    {
        if constexpr (polls_rows<R>) {
            if (!rows_) {
                if constexpr (requires { store.open_transaction(sorted_, deadline); })
                    rows_.emplace(store.open_transaction(sorted_, deadline));
                else
                    rows_.emplace(store.open_transaction(sorted_));
            }
            return rows_->poll(Wait::until_deadline, waiter);
        } else {
            auto opened = store.load_for_update(sorted_, Wait::until_deadline, deadline);
            if (!opened)
                return std::move(opened).failure();
            rows_.emplace(*std::move(opened));
            return success();
        }
    }

    std::array<Key const*, N> sorted_{};
    std::optional<RowTx> rows_;
    bool wanted_{false};
    bool locked_{false};
};

template <class Policy, class R, Assurance Level>
class LeaseSession {
public:
    using supports_combining = LeaseSession;
    using repository_type = R;
    using value_type = typename R::value_type;
    using Locks = LockStateService<value_type, R, Level>;
    using lock_type = typename Locks::lock_type;
    static constexpr bool fenced = Level == Assurance::fenced;
    static constexpr std::string_view name = Policy::name;
    static constexpr auto forms = [] {
        if constexpr (fenced)
            return std::array{
                Form::states, Form::states_context, Form::locks, Form::locks_context, Form::states_locks};
        else
            return std::array{Form::locks, Form::locks_context};
    }();

    LeaseSession(Policy policy, R repository, Observer* observer)
        : policy_(with_observer(std::move(policy), observer)), locks_(std::move(repository), policy_.lock)
    {}
    LeaseSession(Policy policy, Locks locks, Observer*) : policy_(std::move(policy)), locks_(std::move(locks))
    {}

    R const& repository() const noexcept { return locks_.repository(); }
    Policy const& policy() const noexcept { return policy_; }
    Locks const& locks() const noexcept { return locks_; }
    RetryLimits retry_limits() const noexcept
    {
        return {policy_.max_attempts, policy_.backoff, waits_for_rows()};
    }
    bool waits_for_rows() const noexcept
    {
        return RowLockingRepository<R> && fenced && policy_.wait == Wait::until_deadline;
    }
    static constexpr bool guarded(Form form) noexcept { return uses_values(form); }
    bool in_place() const noexcept { return LockAccess::in_place(locks_); }
    static constexpr bool holds_in_begin() noexcept { return true; }
    std::size_t max_waiting_operations() const noexcept
    {
        return policy_.wait == Wait::no ? 0 : locks_.options().max_waiters;
    }

    std::optional<Failure> unfit(std::span<Key const> keys, Deadline deadline) const
    {
        for (auto const& key : keys)
            if (auto failure = LockAccess::unfit(locks_, key, deadline))
                return failure;
        return std::nullopt;
    }

    template <std::size_t N, Form Shape>
    class Transaction final : public LossSource {
        using T = value_type;

    public:
        Transaction(
            LeaseSession const& session, std::span<Key const, N> keys, std::span<std::size_t const, N> order,
            std::span<std::optional<T> const, N> named, TransactionContext& context)
            : session_(session), keys_(keys), order_(order), named_(named), context_(context)
        {
            ContextAccess::set_loss_source(context_, this);
        }
        Transaction(Transaction const&) = delete;
        Transaction& operator=(Transaction const&) = delete;
        ~Transaction()
        {
            ContextAccess::set_loss_source(context_, nullptr);
            release_all(false);
        }

        Step<Begun> begin(Waiter& waiter)
        {
            while (locked_ < N) {
                auto const i = order_[locked_];
                if (!ticket_)
                    ticket_.emplace(
                        LockAccess::table(session_.locks()), keys_[i], session_.policy().wait,
                        std::numeric_limits<int>::max(), uses_values(Shape));
                auto step = ticket_->poll(waiter, context_.deadline());
                if (!step.done())
                    return step.calling() ? Step<Begun>::under_way() : Step<Begun>::pending(step.wake_at());
                if (!step.outcome()) {
                    auto failure = std::move(step.outcome()).failure();
                    ticket_.reset();
                    release_all(false);
                    return failure;
                }
                holds_[i] = *std::move(step.outcome());
                holds_[i]->take();
                if (listener_ != nullptr)
                    holds_[i]->listen(listener_);
                // What the holder before left saves a trip. Believed by a commit that names its version, or
                // verified.
                cached_ = uses_values(Shape) && N == 1 && ticket_->state_cached() &&
                          session_.policy().max_attempts > 1;
                known_[i] = ticket_->state_known() && (cached_ || !ticket_->state_cached());
                if constexpr (uses_values(Shape) && fenced)
                    loaded_[i] = ticket_->take_state();
                ticket_.reset();
                fences_[i] = holds_[i]->fence();
                ++locked_;
            }
            ContextAccess::set_fences(context_, fences_);
            if constexpr (Rows::possible)
                if (rows_.wanted()) {
                    auto repository = session_.repository();
                    auto step = rows_.lock(repository, keys_, order_, Deadline{context_.deadline()}, waiter);
                    if (!step.done())
                        return Step<Begun>::pending(step.wake_at());
                    if (!step.outcome()) {
                        release_all(false);
                        return std::move(step.outcome()).failure();
                    }
                }
            if constexpr (uses_values(Shape)) {
                for (; ready_ < N; ++ready_) {
                    auto loaded = load(ready_, waiter);
                    if (!loaded.done())
                        return Step<Begun>::under_way();
                    if (!loaded.outcome()) {
                        release_all(false);
                        return std::move(loaded.outcome()).failure();
                    }
                }
                ready_ = 0;  // to run again, all is read again
            }
            if constexpr (Shape != Form::states && Shape != Form::states_context) {
                for (std::size_t i = 0; i < N; ++i) {
                    // Of the run before; the lock stays ours.
                    static_cast<void>(LockAccess::detach(handles_[i]));
                    handles_[i] = lock_type{shown(i), holds_[i]};
                }
            }
            return Outcome<Begun>{Begun{}};
        }

        std::optional<Failure> refusal() const
        {
            if constexpr (uses_values(Shape))
                return changed_key(slots_, keys_);
            else
                return std::nullopt;
        }

        Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
        {
            if (committing_.under_way())
                return ask(waiter, {}, nullptr);
            // Law P6: looked at once more before anything is sent. The fence decides what this check cannot
            // see.
            if (lost())
                return Errc::lock_lost;
            releasing_ = false;
            if constexpr (fenced) {
                std::array<Change<T>, N> changes;
                // One state that was only read is what it was; several must be shown to be one moment's.
                bool nothing = operation == nullptr && !cached_ && (N == 1 || !uses_values(Shape));
                for (std::size_t i = 0; i < N; ++i) {
                    if constexpr (uses_values(Shape))
                        changes[i] = slots_[i].change(keys_[i], &fences_[i]);
                    else
                        changes[i] = {.key = &keys_[i], .kind = ChangeKind::guard, .fence = &fences_[i]};
                    nothing = nothing && changes[i].kind != ChangeKind::write;
                }
                if (!nothing) {
                    // Fused: nobody waits here, so the record goes in the same step as the write.
                    if (N == 1 && !LockAccess::table(session_.locks())->contended(*holds_[0])) {
                        changes[0].release = true;
                        releasing_ = true;
                    }
                    return ask(waiter, changes, operation);
                }
            }
            release_all(false);
            return Step<CommitResult>{std::in_place, std::in_place};
        }

        /// After a throw: whether the state that it was about is the stored one.
        Step<CommitResult> verify(Waiter& waiter)
            requires(fenced && N == 1 && uses_values(Shape))
        {
            if (!cached_)
                return Step<CommitResult>{std::in_place, std::in_place};
            Change<T> change{
                .key = &keys_[0],
                .kind = ChangeKind::verify,
                .version = slots_[0].version(),
                .fence = &fences_[0]};
            auto same = send(waiter, std::span<Change<T>>{&change, 1}, nullptr);
            if (same.done() && !same.outcome() && same.outcome().errc() == Errc::not_found)
                return Errc::version_conflict;  // erased meanwhile: run again
            return same;
        }

        void rollback(bool unresolved) noexcept { release_all(unresolved); }

        void abandon() noexcept
        {
            loading_.give_up();
            rows_.abandon();
            if (ticket_)
                ticket_->abandon();
        }

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
                if (!any_) {
                    any_ = std::make_unique<Any>();
                    for (auto const& hold : holds_)
                        if (hold)
                            any_->links.push_back(std::make_unique<std::stop_callback<Stop>>(
                                hold->stop_token(), Stop{any_->source}));
                }
                return any_->source.get_token();
            }
        }

        T& state(std::size_t i) noexcept { return slots_[i].value(); }
        lock_type& lock(std::size_t i) noexcept { return handles_[i]; }

    private:
        struct Stop {
            std::stop_source source;
            void operator()() noexcept { source.request_stop(); }
        };
        struct Any {
            std::stop_source source;
            std::vector<std::unique_ptr<std::stop_callback<Stop>>> links;
        };

        Step<void> load(std::size_t i, Waiter& waiter)
        {
            // A fresh grant brought the state along; a local hand-on, or a second run, has to look.
            if (loading_.under_way() || !std::exchange(known_[i], false)) {
                cached_ = false;
                Deadline const deadline{context_.deadline()};
                auto repository = session_.repository();
                auto asked = loading_.ask(repository, waiter, verb::Load<T>{keys_[i]}, deadline);
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
                slots_[i].load(*loaded_[i]);
                return success();
            }
            if (session_.policy().missing != Missing::create)
                return Errc::not_found;
            return slots_[i].create(keys_[i], named_[i]);
        }

        Step<CommitResult> send(
            Waiter& waiter, std::span<Change<T>> changes, OperationCommit const* operation)
        {
            Deadline const deadline{context_.deadline()};
            if constexpr (Rows::possible)
                if (rows_.locked()) {
                    auto result = rows_.commit(changes, operation, deadline);
                    if (result)
                        result->version = changes[0].version;
                    return result;
                }
            auto repository = session_.repository();
            auto asked = committing_.ask(repository, waiter, verb::Commit<T>{changes, operation}, deadline);
            if (!asked)
                return Step<CommitResult>::under_way();
            if constexpr (Rows::possible)
                if ((*asked).errc() == Errc::lock_busy && session_.waits_for_rows())
                    rows_.want();
            return std::move(*asked);
        }

        /// Commits, and lets the locks go when that is done.
        Step<CommitResult> ask(Waiter& waiter, std::span<Change<T>> changes, OperationCommit const* operation)
        {
            auto step = send(waiter, changes, operation);
            if (!step.done())
                return step;
            auto& result = step.outcome();
            if (!result) {
                if (result.errc() == Errc::fenced_out)
                    if (auto* const observer = session_.locks().options().observer)
                        observer->on_fenced_out(fences_[0].token);
                // The record went with the write, or did not, so that from here on nobody holds the lock:
                // what became of the write, it is compared and deleted, never handed on. If the write was not
                // applied, and the operation runs again, it queues for the lock again. No record lets a write
                // through that is still on its way.
                if (result.errc() == Errc::outcome_unknown && releasing_)
                    release_all(true);
                return step;
            }
            if constexpr (N == 1 && uses_values(Shape))
                if (!result->duplicate && !releasing_)
                    LockAccess::table(session_.locks())
                        ->leave_state(
                            *holds_[0], Versioned<T>{std::move(slots_[0].value()), result->version});
            if (releasing_ && !result->duplicate) {
                LockAccess::table(session_.locks())->released_by_commit(*holds_[0]);
                drop(0);
            }
            release_all(false);
            return step;
        }

        T shown(std::size_t i) const
        {
            if constexpr (uses_values(Shape)) {
                return slots_[i].peek();
            } else {
                if (named_[i])
                    return *named_[i];
                return LockAccess::state_of(session_.locks(), keys_[i]);
            }
        }

        void drop(std::size_t i) noexcept
        {
            if (holds_[i])
                holds_[i]->listen(nullptr);
            static_cast<void>(LockAccess::detach(handles_[i]));
            holds_[i].reset();
        }

        void release_all(bool unresolved) noexcept
        {
            loading_.give_up();
            rows_.give_up();
            ready_ = 0;
            ticket_.reset();
            for (std::size_t j = N; j-- > 0;) {
                auto const i = order_[j];
                if (!holds_[i])
                    continue;
                auto const hold = holds_[i];
                drop(i);
                hold->release(unresolved);
            }
            locked_ = 0;
            any_.reset();
        }

        LeaseSession const& session_;
        std::span<Key const, N> keys_;
        std::span<std::size_t const, N> order_;
        std::span<std::optional<T> const, N> named_;
        TransactionContext& context_;
        std::size_t locked_{0};
        Waiter* listener_{nullptr};
        std::optional<LockAccess::Ticket<Locks>> ticket_;
        std::array<std::shared_ptr<Hold>, N> holds_;
        std::array<Fence, N> fences_{};
        std::array<lock_type, N> handles_;
        std::array<bool, N> known_{};
        bool cached_{false};
        bool releasing_{false};  // with the commit that is on its way
        std::size_t ready_{0};
        [[no_unique_address]] PendingCall<R, verb::Load<T>> loading_;
        [[no_unique_address]] PendingCall<R, verb::Commit<T>> committing_;
        std::array<std::optional<Versioned<T>>, N> loaded_;
        std::array<StateSlot<T, typename R::key_type>, N> slots_;
        using Rows = RowsOfLeases<R, N>;
        [[no_unique_address]] Rows rows_;
        std::unique_ptr<Any> any_;
    };

private:
    static Policy with_observer(Policy policy, Observer* observer)
    {
        if (policy.lock.observer == nullptr)
            policy.lock.observer = observer;
        return policy;
    }

    Policy policy_;
    Locks locks_;
};

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_LEASE_SESSION_HPP
