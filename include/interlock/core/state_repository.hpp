// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_STATE_REPOSITORY_HPP
#define INTERLOCK_CORE_STATE_REPOSITORY_HPP

/// @file
/// The article's `StateRepository<T>`: where states live, chosen at run time. Make one from any repository,
/// or from a URL by `open.hpp`:
///
///     interlock::StateRepository<Stock> stock = interlock::memory::StateRepository<Stock>{};
///     auto const version = stock.insert(Stock{"sku-1", 400}).value();
///     auto const loaded = stock.load("sku-1").value();  // loaded.value.quantity == 400

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/erasure.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/state_traits.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

namespace detail {

/// The key type of an erased repository. For states without a key of their own: a string.
template <class T>
using erased_key_t = std::conditional_t<KeyedState<T>, typename key_type_or<T, void>::type, std::string>;

}  // namespace detail

/// A repository chosen at run time: holds any other one, with the same meaning. What the store lacks (row
/// locks, say) is `misconfigured` when it is asked for, in words, instead of an error of the compiler.
///
/// Has no default: nobody gets "in memory" by accident. Make one from a repository, or by `open<T>(url,
/// backends...)`. Its members `load`, `insert`, `compare_and_set`, `erase`, `create` and so on are those of
/// `StoreMembers`, as they are on every store.
///
/// **Does not guarantee.** That a policy fits. `TransactionService<T>` asks for the store's
/// `capabilities()` when it is made, and a policy that needs what the store lacks is `misconfigured`
/// there.
/// **Lifetimes and thread safety.** Those of what it holds: a shared handle, safe.
/// **Cost.** One virtual call per member, and an allocation when it is made. Round trips are those of the
/// store.
template <class T>
class StateRepository : public StoreMembers<StateRepository<T>, T, detail::erased_key_t<T>> {
public:
    using value_type = T;
    /// For states without a key of their own: a string.
    using key_type = detail::erased_key_t<T>;
    using runtime_type = SystemRuntime;

    /// An open row transaction of whatever store this is. Its destructor rolls back what was not committed.
    class Transaction {
    public:
        /// The row of the `i`th key, or nothing where there is none. Valid until the transaction ends.
        std::optional<Versioned<T>>& state(std::size_t i) { return tx_->state(i); }
        /// Makes `changes`, writes the operation's record if there is one, and commits; or nothing of it.
        Outcome<CommitResult> commit(
            std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline = {})
        {
            return tx_->commit(changes, operation, deadline);
        }
        /// Undoes everything and lets the rows go.
        void rollback() noexcept { tx_->rollback(); }
        /// Locks and reads the rows, as far as that goes without blocking; called again after "not yet".
        Step<void> poll(Wait wait, Waiter& waiter) { return tx_->poll(wait, waiter); }
        /// Stops waiting in `poll`; no waiter is woken any more.
        void abandon() noexcept { tx_->abandon(); }

    private:
        friend StateRepository;
        explicit Transaction(std::unique_ptr<detail::AnyRowTransaction<T>> tx) : tx_(std::move(tx)) {}
        std::unique_ptr<detail::AnyRowTransaction<T>> tx_;
    };
    using transaction_type = Transaction;
    /// What the held repository's options name, if its store has events at all.
    using events_type = AnyEventRepository;

    /// Holds `repository`, a shared handle like this one. It is implicit, so that a function that takes a
    /// `StateRepository<T>` can be called with any store.
    template <class R>
        requires(!std::same_as<R, StateRepository>) && std::same_as<typename R::value_type, T> &&
                std::same_as<typename R::runtime_type, SystemRuntime> && VersionedRepository<R>
    StateRepository(R repository)  // NOLINT: any repository is one
        : held_(std::make_shared<detail::RepositoryModel<R>>(std::move(repository)))
    {}

    /// The only runtime that an erased store may have: what is chosen at run time runs in the real world.
    SystemRuntime const& runtime() const noexcept
    {
        static constexpr SystemRuntime system{};
        return system;
    }
    /// What stands for the store in this process: two handles of one store have the same.
    void const* identity() const noexcept { return held_->identity(); }
    /// Where messages say that something failed: the store, and the part of it that this repository uses.
    std::string place() const { return held_->place(); }
    /// What the held store can do; a policy asks before it relies on it.
    Capabilities capabilities() const noexcept { return held_->capabilities(); }
    /// Changes when the store was emptied or replaced, so that versions may begin anew; see `life_of`.
    std::uint64_t life() const noexcept { return held_->life(); }
    /// What the store calls itself: "memory". For logs and metrics; to tell what a store can do, ask
    /// `capabilities()`.
    std::string_view store_name() const noexcept { return held_->name(); }
    /// As `StoreInfo::system`.
    std::string_view system_name() const noexcept { return held_->system_name(); }

    /// Any verb of the store; `misconfigured`, in words, where the store does not carry it out.
    template <class Verb>
        requires requires(detail::AnyRepository<T> const& held, Verb const& verb, Deadline deadline) {
            held.carry_out(verb, deadline);
        }
    Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline deadline) const
    {
        return held_->carry_out(verb, deadline);
    }
    Outcome<transaction_type> carry_out(
        verb::LoadForUpdate<transaction_type> const& rows, Deadline deadline) const
    {
        return wait_for_rows(*this, rows.keys, rows.wait, deadline);
    }
    template <class Verb>
        requires requires(
            detail::AnyRepository<T> const& held, Verb const& verb, Deadline deadline, Waiter& waiter) {
            held.start(verb, deadline, waiter);
        }
    StartedCall<typename Verb::answer> start(Verb const& verb, Deadline deadline, Waiter& waiter) const
    {
        return held_->start(verb, deadline, waiter);
    }

    /// `visit(Key const&, OperationId const&, OperationRecord const&)` for every answer committed before the
    /// call.
    Outcome<void> for_each_operation(
        std::function<void(Key const&, OperationId const&, OperationRecord const&)> const& visit) const
    {
        return held_->for_each_operation(visit);
    }
    /// `visit(Key const&, LockInfo const&)` for every lock that is held throughout the call.
    Outcome<void> for_each_lock(
        std::function<void(Key const&, LockInfo const&)> const& visit,
        Deadline deadline = std::chrono::minutes{5}) const
    {
        return held_->for_each_lock(visit, deadline);
    }
    /// For `load_for_update` without blocking: `poll` the result until it is done. `keys` must live until
    /// then.
    transaction_type open_transaction(std::span<Key const* const> keys, Deadline deadline = {}) const
    {
        return transaction_type{held_->open_transaction(keys, deadline)};
    }
    /// Wakes `waiter` when the lock of `key` may be free, until `unsubscribe`. A store without wake-ups wakes
    /// nobody, so whoever waits looks now and then anyway.
    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const
    {
        held_->subscribe(key, owner, waiter);
    }
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept { held_->unsubscribe(key, waiter); }
    bool wanted(Key const& key, OwnerToken owner) const { return held_->wanted(key, owner); }

private:
    std::shared_ptr<detail::AnyRepository<T> const> held_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_STATE_REPOSITORY_HPP
