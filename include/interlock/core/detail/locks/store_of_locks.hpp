// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_STORE_OF_LOCKS_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_STORE_OF_LOCKS_HPP

// What is compiled per repository of the locks on its states: its calls. Nothing here decides anything.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/erased_verbs.hpp>
#include <interlock/core/detail/locks/acquisition.hpp>
#include <interlock/core/detail/locks/lock_store.hpp>
#include <interlock/core/detail/locks/lock_table.hpp>
#include <interlock/core/detail/locks/releasing.hpp>
#include <interlock/core/kit/kept_state.hpp>
#include <interlock/core/kit/pending_call.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/versioned.hpp>

#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

template <class R>
class StoreOfLocks;
template <class R>
using StoreOfLocksBase = StartingModel<
    StoreOfLocks<R>, CarryingModel<StoreOfLocks<R>, LockStore, verb::LockVerbs>, verb::StartedLockVerbs>;

/// The calls of `R` that a lock table makes.
template <class R>
class StoreOfLocks : public StoreOfLocksBase<R> {
public:
    explicit StoreOfLocks(R repository) : repository_(std::move(repository)) {}

    R const& repository() const noexcept { return repository_; }

    LockStoreTraits traits(Assurance level) const noexcept
    {
        auto can = capabilities_of(repository_);
        can.starts_calls = starts_calls(repository_);
        can.wakes_waiters = wakes_waiters(repository_);
        return {
            can, CarriesOut<R, verb::RenewAll>,
            level == Assurance::fenced ? FenceCheck::required
            : FencedRepository<R>      ? FenceCheck::reported
                                       : FenceCheck::none};
    }

    void const* identity() const noexcept final { return repository_.identity(); }
    std::string place() const final { return place_of(repository_); }
    std::string_view kind() const noexcept final { return interlock::kind_of(repository_); }
    std::string_view system() const noexcept final { return system_of(repository_); }
    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const final
    {
        if constexpr (SubscribableRepository<R>)
            repository_.subscribe(key, owner, waiter);
    }
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept final
    {
        if constexpr (SubscribableRepository<R>)
            repository_.unsubscribe(key, waiter);
    }
    bool wanted(Key const& key, OwnerToken owner) const final
    {
        if constexpr (SubscribableRepository<R>)
            return repository_.wanted(key, owner);
        else
            return false;
    }

    bool move_state(void* from, void* to) const noexcept final
    {
        using State = Versioned<typename R::value_type>;
        return keep_state(*static_cast<std::optional<State>*>(to), [&]() -> State&& {
            return std::move(*static_cast<State*>(from));
        });
    }

    template <class Verb>
    Outcome<typename Verb::answer> carry_out_or_refuse(Verb const& verb, Deadline deadline) const
    {
        if constexpr (CarriesOut<R, Verb>)
            return repository_.carry_out(verb, deadline);
        else
            return Failure{Errc::misconfigured, std::string("the store has no ").append(Verb::feature)};
    }
    template <class Verb>
    StartedCall<typename Verb::answer> start_or_null(
        [[maybe_unused]] Verb const& verb, [[maybe_unused]] Deadline deadline,
        [[maybe_unused]] Waiter& waiter) const
    {
        if constexpr (NonblockingRepository<R>)
            return repository_.start(verb, deadline, waiter);
        else
            return nullptr;
    }

private:
    R repository_;
};

// ---- the way to a lock --------------------------------------------------------------------------

/// One caller's way to a lock. Poll it until it is done; then take the hold. It must not be moved while it is
/// pending. `WantsState`: it has a slot, into which the state goes that comes with the lock: from the store
/// together with a fresh grant, where `R` can do both in one trip, or from the holder before.
template <class R, bool WantsState>
class Ticket final : private Acquisition<typename R::runtime_type> {
    using Base = Acquisition<typename R::runtime_type>;
    using Slot = std::optional<Versioned<typename R::value_type>>;
    static constexpr bool fused = WantsState && FusedRepository<R>;
    using Verb = std::conditional_t<fused, verb::CreateAndLoad<typename R::value_type>, verb::Create>;

public:
    /// `key` must live until this is done.
    template <class Table>
        requires(!WantsState)
    Ticket(std::shared_ptr<Table> const& table, Key const& key, Wait wait, int max_attempts)
        : Base(table, key, wait, max_attempts)
    {}
    /// `key` and `place` must live until this is done.
    template <class Table>
        requires WantsState
    Ticket(std::shared_ptr<Table> const& table, Key const& key, Wait wait, int max_attempts, Slot& place)
        : Base(table, key, wait, max_attempts, &place, fused)
    {}
    Ticket(Ticket const&) = delete;
    Ticket& operator=(Ticket const&) = delete;
    ~Ticket() { abandon(); }

    Step<std::shared_ptr<Hold>> poll(Waiter& waiter, TimePoint deadline)
    {
        this->wait_until(deadline);
        let_others_ask(false);
        for (;;) {
            if (auto step = this->next(waiter))
                return *std::move(step);
            if (auto failure = this->unverified(deadline)) [[unlikely]] {
                if (auto step = this->refused(waiter, *std::move(failure)))
                    return *std::move(step);
                continue;
            }
            auto asked = asking_.ask(
                static_cast<StoreOfLocks<R> const&>(this->store()).repository(), waiter,
                Verb{this->key(), this->owner(), this->ttl(), this->holder()}, Deadline{deadline});
            if (!asked) {
                let_others_ask(true);
                return this->under_way();
            }
            if (*asked)
                return this->granted(waiter, accept(**asked));
            if (auto step = this->refused(waiter, std::move(*asked).failure()))
                return *std::move(step);
        }
    }

    /// Stops waiting. What was granted meanwhile is given back. Afterwards the waiter is not woken any more.
    void abandon() noexcept
    {
        let_others_ask(false);
        if (asking_.under_way())
            leave_reason();
        asking_.give_up();  // what takes the grant back is to reach the store later
        Base::abandon();
    }

    /// See `Acquisition::reason`; what the store says of the attempt that is under way comes first.
    Failure reason()
    {
        bool const others_asked = this->others_ask_;
        let_others_ask(false);
        auto now = asking_.reason();
        let_others_ask(others_asked);
        return now.errc() != Errc::ok ? std::move(now) : Base::reason();
    }

    /// See `PendingReason`.
    Failure pending_reason() noexcept
    {
        try {
            return asking_.reason();
        } catch (std::bad_alloc const&) {  // no memory for the text
            return Errc::ok;
        }
    }

    using Base::state_source;

private:
    void let_others_ask(bool may) noexcept
    {
        if (std::exchange(this->others_ask_, may) != may)
            this->let_ask(may ? pending_reason_of(*this) : PendingReason{});
    }
    /// Whoever is next in line hears why this one got no answer.
    void leave_reason() noexcept
    {
        try {
            if (auto const now = asking_.reason(); now.errc() != Errc::ok)
                this->note_refusal(now);
        } catch (std::bad_alloc const&) {  // they hear less
        }
    }

    Grant const& accept(Grant const& grant) noexcept { return grant; }
    Grant const& accept(GrantAndState<typename R::value_type>& both)
    {
        this->template state_read<Slot>() = std::move(both.state);
        return both.grant;
    }

    [[no_unique_address]] PendingCall<R, Verb> asking_;
};

// ---- the table ----------------------------------------------------------------------------------

/// A lock table and its store in one object.
template <class R, Assurance Level>
class LockTableOf final : private StoreOfLocks<R>, public LockTable<typename R::runtime_type> {
    using Table = LockTable<typename R::runtime_type>;

public:
    using Ticket = detail::Ticket<R, false>;
    using StateTicket = detail::Ticket<R, true>;
    using Releasing = detail::Releasing<typename R::runtime_type>;

    LockTableOf(R store, LockOptions options)
        : StoreOfLocks<R>(std::move(store)),
          Table(*this, StoreOfLocks<R>::repository().runtime(), this->traits(Level), options)
    {}

    using StoreOfLocks<R>::repository;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_STORE_OF_LOCKS_HPP
