// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_ERASURE_HPP
#define INTERLOCK_CORE_DETAIL_ERASURE_HPP

/// @file
/// A store behind virtual functions: one per verb, out of a list of verbs. What the store does not carry out
/// is refused in words when it is asked for.

#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/erased_verbs.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/doubt.hpp>
#include <interlock/core/kit/known_call.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/outcome.hpp>

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

// ---- repositories -------------------------------------------------------------------------------

/// What a store calls itself.
template <class R>
constexpr std::string_view repository_name() noexcept
{
    if constexpr (requires { R::name; })
        return R::name;
    else
        return "?";
}

template <class T>
class AnyRowTransaction {
public:
    virtual ~AnyRowTransaction() = default;
    virtual std::optional<Versioned<T>>& state(std::size_t i) = 0;
    virtual Outcome<CommitResult> commit(std::span<Change<T>>, OperationCommit const*, Deadline) = 0;
    virtual void rollback() noexcept = 0;
    virtual Step<void> poll(Wait, Waiter&) = 0;
    virtual void abandon() noexcept = 0;
};

/// What an erased repository can do besides its verbs.
template <class T>
class AnyRepositoryBase {
public:
    using Visit = std::function<void(Key const&, OperationId const&, OperationRecord const&)>;
    using VisitLock = std::function<void(Key const&, LockInfo const&)>;
    virtual ~AnyRepositoryBase() = default;
    virtual void const* identity() const noexcept = 0;
    virtual Capabilities capabilities() const noexcept = 0;
    virtual std::string_view name() const noexcept = 0;
    virtual std::string_view system_name() const noexcept = 0;
    virtual std::string place() const = 0;
    virtual std::uint64_t life() const noexcept = 0;
    virtual Outcome<void> for_each_operation(Visit const&) const = 0;
    virtual Outcome<void> for_each_lock(VisitLock const&, Deadline) const = 0;
    virtual std::unique_ptr<AnyRowTransaction<T>> open_transaction(
        std::span<Key const* const>, Deadline) const = 0;
    virtual void subscribe(Key const&, OwnerToken, Waiter&) const = 0;
    virtual void unsubscribe(Key const&, Waiter&) const noexcept = 0;
    virtual bool wanted(Key const&, OwnerToken) const = 0;
};
template <class T>
using AnyRepository =
    Starting<Carrying<AnyRepositoryBase<T>, verb::RepositoryVerbs<T>>, verb::StartedVerbs<T>>;

/// Why the commit of `changes` is refused: they bring events, and `R` keeps none. Nothing: it is not.
template <class R, class T>
std::optional<Failure> lacks_events([[maybe_unused]] std::span<Change<T>> changes, std::string_view name)
{
    if constexpr (!RecordingRepository<R>)
        for (auto const& change : changes)
            if (!change.events.empty())
                return lacks(name, "events that are stored with a commit");
    return std::nullopt;
}

/// A row transaction of R: R's own, or, where R cannot wait without blocking, opened by its blocking call.
template <class R>
class RowTransactionModel final : public AnyRowTransaction<typename R::value_type> {
    using T = typename R::value_type;
    using RowTx = typename R::transaction_type;

public:
    RowTransactionModel(R repository, std::span<Key const* const> keys, Deadline deadline)
        : repository_(std::move(repository)), keys_(keys), deadline_(deadline)
    {}
    std::optional<Versioned<T>>& state(std::size_t i) override { return tx_->state(i); }
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline) override
    {
        if (auto failure = lacks_events<R>(changes, repository_name<R>()))
            return std::move(*failure);
        return tx_->commit(changes, operation, deadline);
    }
    void rollback() noexcept override { tx_.reset(); }
    Step<void> poll(Wait wait, Waiter& waiter) override
    {
        if constexpr (polls) {
            if (!tx_)
                tx_.emplace(repository_.open_transaction(keys_));
            return tx_->poll(wait, waiter);
        } else {
            auto opened = repository_.carry_out(verb::LoadForUpdate<RowTx>{keys_, wait}, deadline_);
            if (!opened)
                return std::move(opened).failure();
            tx_.emplace(*std::move(opened));
            return success();
        }
    }
    void abandon() noexcept override
    {
        if constexpr (polls)
            if (tx_)
                tx_->abandon();
    }

private:
    static constexpr bool polls = polls_rows<R>;
    R repository_;
    std::span<Key const* const> keys_;
    Deadline deadline_;
    std::optional<RowTx> tx_;  // none until the rows are asked for, and after a rollback
};

/// What a store without row locks opens.
template <class T>
class NoRowTransaction final : public AnyRowTransaction<T> {
public:
    explicit NoRowTransaction(std::string_view name) : name_(name) {}
    std::optional<Versioned<T>>& state(std::size_t) override { return none_; }
    Outcome<CommitResult> commit(std::span<Change<T>>, OperationCommit const*, Deadline) override
    {
        return lacks(name_, "row locks");
    }
    void rollback() noexcept override {}
    Step<void> poll(Wait, Waiter&) override { return lacks(name_, "row locks"); }
    void abandon() noexcept override {}

private:
    std::string_view name_;
    std::optional<Versioned<T>> none_;
};

template <class R>
class RepositoryModel;
template <class R, class T = typename R::value_type>
using RepositoryModelBase = StartingModel<
    RepositoryModel<R>, CarryingModel<RepositoryModel<R>, AnyRepository<T>, verb::RepositoryVerbs<T>>,
    verb::StartedVerbs<T>>;

template <class R>
class RepositoryModel final : public RepositoryModelBase<R> {
    using T = typename R::value_type;
    using typename AnyRepositoryBase<T>::Visit;
    using typename AnyRepositoryBase<T>::VisitLock;

public:
    explicit RepositoryModel(R repository) : r_(std::move(repository)) {}

    void const* identity() const noexcept override { return r_.identity(); }
    Capabilities capabilities() const noexcept override
    {
        auto known = capabilities_of(r_);
        known.starts_calls = starts_calls(r_);
        known.wakes_waiters = wakes_waiters(r_);
        return known;
    }
    std::string_view name() const noexcept override { return repository_name<R>(); }
    std::string_view system_name() const noexcept override { return system_of(r_); }
    std::string place() const override { return place_of(r_); }
    std::uint64_t life() const noexcept override { return life_of(r_); }

    Outcome<void> for_each_operation(Visit const& visit) const override
    {
        if constexpr (requires { r_.for_each_operation(visit); }) {
            if constexpr (std::is_void_v<decltype(r_.for_each_operation(visit))>) {
                r_.for_each_operation(visit);
                return success();
            } else {
                return r_.for_each_operation(visit);
            }
        } else {
            return lacks(name(), "list of operation records");
        }
    }
    Outcome<void> for_each_lock(
        [[maybe_unused]] VisitLock const& visit, [[maybe_unused]] Deadline deadline) const override
    {
        if constexpr (requires { r_.for_each_lock(visit, deadline); })
            return r_.for_each_lock(visit, deadline);
        else
            return lacks(name(), "list of lock records");
    }
    std::unique_ptr<AnyRowTransaction<T>> open_transaction(
        std::span<Key const* const> keys, Deadline deadline) const override
    {
        if constexpr (RowLockingRepository<R>)
            return std::make_unique<RowTransactionModel<R>>(r_, keys, deadline);
        else
            return std::make_unique<NoRowTransaction<T>>(name());
    }
    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const override
    {
        if constexpr (SubscribableRepository<R>)
            r_.subscribe(key, owner, waiter);
    }
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept override
    {
        if constexpr (SubscribableRepository<R>)
            r_.unsubscribe(key, waiter);
    }
    bool wanted(Key const& key, OwnerToken owner) const override
    {
        if constexpr (SubscribableRepository<R>)
            return r_.wanted(key, owner);
        else
            return false;
    }

    /// What the store does not carry out is made of what it does, where that is possible, or refused.
    template <class Verb>
    Outcome<typename Verb::answer> carry_out_or_refuse(Verb const& verb, Deadline deadline) const
    {
        if constexpr (std::is_same_v<Verb, verb::Commit<T>>)
            if (auto failure = lacks_events<R>(verb.changes, name()))
                return std::move(*failure);
        if constexpr (CarriesOut<R, Verb>)
            return r_.carry_out(verb, deadline);
        else if constexpr (std::is_same_v<Verb, verb::LoadAll<T>>)
            return load_each(r_, verb.keys, deadline);
        else if constexpr (std::is_same_v<Verb, verb::FindSameKeys>)
            return verb::FindSameKeys::answer{};
        else if constexpr (std::is_same_v<Verb, verb::FitOneCommit>)
            return success();
        else if constexpr (std::is_same_v<Verb, verb::RenewAll>)
            return renew_each(verb, deadline);
        else if constexpr (std::is_same_v<Verb, verb::CreateAndLoad<T>>)
            return create_then_load(verb, deadline);
        else
            return lacks(name(), Verb::feature);
    }

    template <class Verb>
    StartedCall<typename Verb::answer> start_or_null(
        [[maybe_unused]] Verb const& verb, [[maybe_unused]] Deadline deadline,
        [[maybe_unused]] Waiter& waiter) const
    {
        if constexpr (NonblockingRepository<R>) {
            if constexpr (std::is_same_v<Verb, verb::Commit<T>>)
                if (auto failure = lacks_events<R>(verb.changes, name()))
                    return std::make_unique<KnownCall<typename Verb::answer>>(std::move(*failure));
            if constexpr (Starts<R, Verb>)
                return r_.start(verb, deadline, waiter);
        }
        return nullptr;
    }

private:
    Outcome<void> renew_each(verb::RenewAll const& all, Deadline deadline) const
    {
        for (auto& renewal : all.renewals)
            renewal.granted =
                carry_out_or_refuse(verb::Renew{*renewal.key, renewal.owner, all.ttl}, deadline);
        return success();
    }

    Outcome<GrantAndState<T>> create_then_load(verb::CreateAndLoad<T> const& both, Deadline deadline) const
    {
        auto grant = carry_out_or_refuse(verb::Create{both.key, both.owner, both.ttl, both.holder}, deadline);
        if (!grant)
            return std::move(grant).failure();
        auto state = r_.carry_out(verb::Load<T>{both.key}, deadline);
        if (state)
            return GrantAndState<T>{*grant, *std::move(state)};
        if (state.errc() == Errc::not_found)
            return GrantAndState<T>{*grant, std::nullopt};
        return after_undoing(
            std::move(state).failure(), carry_out_or_refuse(verb::Remove{both.key, both.owner}, deadline));
    }

    R r_;
};

// ---- idempotency stores -------------------------------------------------------------------------

class AnyIdempotencyStoreBase {
public:
    virtual ~AnyIdempotencyStoreBase() = default;
    virtual std::chrono::nanoseconds retention() const noexcept = 0;
    virtual std::string place() const = 0;
    virtual Capabilities capabilities() const noexcept = 0;
    virtual void subscribe(IdempotentRequest const&, Waiter&) const = 0;
    virtual void unsubscribe(IdempotentRequest const&, Waiter&) const noexcept = 0;
};
using ErasedIdempotencyStore = Carrying<AnyIdempotencyStoreBase, verb::IdempotencyVerbs>;

template <class S>
class IdempotencyStoreModel final
    : public CarryingModel<IdempotencyStoreModel<S>, ErasedIdempotencyStore, verb::IdempotencyVerbs> {
public:
    explicit IdempotencyStoreModel(S store) : store_(std::move(store)) {}

    std::chrono::nanoseconds retention() const noexcept override { return retention_of(store_); }
    std::string place() const override { return place_of(store_); }
    Capabilities capabilities() const noexcept override
    {
        auto known = capabilities_of(store_);
        known.wakes_waiters = SubscribableIdempotencyStore<S> && known.wakes_waiters;
        return known;
    }
    void subscribe(IdempotentRequest const& request, Waiter& waiter) const override
    {
        if constexpr (SubscribableIdempotencyStore<S>)
            store_.subscribe(request, waiter);
    }
    void unsubscribe(IdempotentRequest const& request, Waiter& waiter) const noexcept override
    {
        if constexpr (SubscribableIdempotencyStore<S>)
            store_.unsubscribe(request, waiter);
    }

    template <class Verb>
    Outcome<typename Verb::answer> carry_out_or_refuse(Verb const& verb, Deadline deadline) const
    {
        return store_.carry_out(verb, deadline);
    }

private:
    S store_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_ERASURE_HPP
