// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_STATE_REPOSITORY_HPP
#define INTERLOCK_CORE_STATE_REPOSITORY_HPP

/// @file
/// The article's `StateRepository<T>`: where states live, chosen at run time.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/state_traits.hpp>

#include <chrono>
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

inline Failure lacks(std::string_view name, char const* what)
{
    return Failure{Errc::misconfigured, "the store '" + std::string(name) + "' has no " + what};
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

template <class T>
class AnyRepository {
public:
    using Visit = std::function<void(Key const&, OperationId const&, OperationRecord const&)>;
    virtual ~AnyRepository() = default;
    virtual SystemRuntime const& runtime() const noexcept = 0;
    virtual void const* identity() const noexcept = 0;
    virtual std::string place() const = 0;
    virtual std::size_t blocking_calls() const noexcept = 0;
    virtual bool in_place() const noexcept = 0;
    virtual std::string_view name() const noexcept = 0;
    virtual Outcome<Versioned<T>> load(Key const&, Deadline) = 0;
    virtual Outcome<Version> insert(Key const&, T const&, Deadline) = 0;
    virtual Outcome<Version> compare_and_set(Key const&, Version, T const&, Deadline) = 0;
    virtual Outcome<Version> erase(Key const&, Version, Deadline) = 0;
    virtual Outcome<CommitResult> commit(std::span<Change<T>>, OperationCommit const*, Deadline) = 0;
    virtual Outcome<std::optional<OperationRecord>> find_operation(Key const&, OperationId const&, Deadline) = 0;
    virtual Outcome<OperationRecord> forbid_operation(Key const&, OperationId const&, std::uint32_t, Deadline) = 0;
    virtual Outcome<void> for_each_operation(Visit const&) = 0;
    virtual std::unique_ptr<AnyRowTransaction<T>> open_transaction(std::span<Key const* const>, Deadline) = 0;
    virtual Outcome<Grant> create(Key const&, OwnerToken, Ttl, Deadline) = 0;
    virtual Outcome<GrantAndState<T>> create_and_load(Key const&, OwnerToken, Ttl, Deadline) = 0;
    virtual Outcome<std::chrono::nanoseconds> renew(Key const&, OwnerToken, Ttl, Deadline) = 0;
    virtual void renew_all(std::span<Renewal>, Ttl, Deadline) = 0;
    virtual Outcome<Removal> remove(Key const&, OwnerToken, Deadline) = 0;
    virtual Outcome<void> verify_fencing(Deadline) = 0;
    virtual void subscribe(Key const&, OwnerToken, Waiter&) = 0;
    virtual void unsubscribe(Key const&, Waiter&) noexcept = 0;
    virtual bool wanted(Key const&, OwnerToken) = 0;
    virtual bool wakes() const noexcept = 0;
    // Where `starts_calls`; null elsewhere.
    virtual bool starts_calls() const noexcept = 0;
    virtual bool has_own_threads() const noexcept = 0;
    virtual std::uint64_t life() const noexcept = 0;
    virtual StartedCall<Versioned<T>> start_load(Key const&, Deadline, Waiter&) = 0;
    virtual StartedCall<CommitResult> start_commit(
        std::span<Change<T>>, OperationCommit const*, Deadline, Waiter&) = 0;
    virtual StartedCall<std::optional<OperationRecord>> start_find_operation(
        Key const&, OperationId const&, Deadline, Waiter&) = 0;
    virtual StartedCall<OperationRecord> start_forbid_operation(
        Key const&, OperationId const&, std::uint32_t, Deadline, Waiter&) = 0;
    virtual StartedCall<Grant> start_create(Key const&, OwnerToken, Ttl, Deadline, Waiter&) = 0;
    virtual StartedCall<GrantAndState<T>> start_create_and_load(Key const&, OwnerToken, Ttl, Deadline, Waiter&) = 0;
    virtual StartedCall<Removal> start_remove(Key const&, OwnerToken, Deadline, Waiter&) = 0;
};

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
            auto opened = repository_.load_for_update(keys_, wait, deadline_);
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
    std::optional<RowTx> tx_;
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
class RepositoryModel final : public AnyRepository<typename R::value_type> {
    using T = typename R::value_type;
    using typename AnyRepository<T>::Visit;

public:
    explicit RepositoryModel(R repository) : r_(std::move(repository)) {}
    SystemRuntime const& runtime() const noexcept override
    {
        static constexpr SystemRuntime system{};
        return system;
    }
    void const* identity() const noexcept override { return r_.identity(); }
    std::string place() const override { return place_of(r_); }
    std::size_t blocking_calls() const noexcept override { return interlock::blocking_calls(r_); }
    bool in_place() const noexcept override { return runs_in_place(r_); }
    std::string_view name() const noexcept override
    {
        if constexpr (requires { R::name; })
            return R::name;
        else
            return "?";
    }
    Outcome<Versioned<T>> load(Key const& key, Deadline deadline) override { return r_.load(key, deadline); }
    Outcome<Version> insert(Key const& key, T const& value, Deadline deadline) override
    {
        return r_.insert(key, value, deadline);
    }
    Outcome<Version> compare_and_set(Key const& key, Version version, T const& value, Deadline deadline) override
    {
        return r_.compare_and_set(key, version, value, deadline);
    }
    Outcome<Version> erase(Key const& key, Version version, Deadline deadline) override
    {
        return r_.erase(key, version, deadline);
    }
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline) override
    {
        if constexpr (AtomicRepository<R>)
            return r_.commit(changes, operation, deadline);
        else
            return lacks(name(), "atomic commits");
    }
    Outcome<std::optional<OperationRecord>> find_operation(
        Key const& key, OperationId const& id, Deadline deadline) override
    {
        if constexpr (OperationRepository<R>)
            return r_.find_operation(key, id, deadline);
        else
            return lacks(name(), "operation records");
    }
    Outcome<OperationRecord> forbid_operation(
        Key const& key, OperationId const& id, std::uint32_t attempt, Deadline deadline) override
    {
        if constexpr (OperationRepository<R>)
            return r_.forbid_operation(key, id, attempt, deadline);
        else
            return lacks(name(), "operation records");
    }
    Outcome<void> for_each_operation(Visit const& visit) override
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
    std::unique_ptr<AnyRowTransaction<T>> open_transaction(std::span<Key const* const> keys, Deadline deadline) override
    {
        if constexpr (RowLockingRepository<R>)
            return std::make_unique<RowTransactionModel<R>>(r_, keys, deadline);
        else
            return std::make_unique<NoRowTransaction<T>>(name());
    }
    Outcome<Grant> create(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline) override
    {
        if constexpr (LeaseRepository<R>)
            return r_.create(key, owner, ttl, deadline);
        else
            return lacks(name(), "lock records");
    }
    Outcome<GrantAndState<T>> create_and_load(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline) override
    {
        if constexpr (FusedRepository<R>) {
            return r_.create_and_load(key, owner, ttl, deadline);
        } else {
            auto grant = create(key, owner, ttl, deadline);
            if (!grant)
                return std::move(grant).failure();
            auto state = r_.load(key, deadline);
            if (state)
                return GrantAndState<T>{*grant, *std::move(state)};
            if (state.error() == Errc::not_found)
                return GrantAndState<T>{*grant, std::nullopt};
            static_cast<void>(remove(key, owner, deadline));
            return std::move(state).failure();
        }
    }
    Outcome<std::chrono::nanoseconds> renew(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline) override
    {
        if constexpr (LeaseRepository<R>)
            return r_.renew(key, owner, ttl, deadline);
        else
            return lacks(name(), "lock records");
    }
    void renew_all(std::span<Renewal> renewals, Ttl ttl, Deadline deadline) override
    {
        if constexpr (BatchRenewing<R>)
            r_.renew_all(renewals, ttl, deadline);
        else
            for (auto& renewal : renewals)
                renewal.granted = renew(*renewal.key, renewal.owner, ttl, deadline);
    }
    Outcome<Removal> remove(Key const& key, OwnerToken owner, Deadline deadline) override
    {
        if constexpr (LeaseRepository<R>)
            return r_.remove(key, owner, deadline);
        else
            return lacks(name(), "lock records");
    }
    Outcome<void> verify_fencing(Deadline deadline) override
    {
        if constexpr (FencedRepository<R>)
            return r_.verify_fencing(deadline);
        else
            return lacks(name(), "fence that is as durable as its data");
    }
    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) override
    {
        if constexpr (requires { r_.subscribe(key, owner, waiter); })
            r_.subscribe(key, owner, waiter);
    }
    void unsubscribe(Key const& key, Waiter& waiter) noexcept override
    {
        if constexpr (requires { r_.unsubscribe(key, waiter); })
            r_.unsubscribe(key, waiter);
    }
    bool wakes() const noexcept override { return wakes_waiters(r_); }
    bool starts_calls() const noexcept override { return interlock::starts_calls(r_); }
    bool has_own_threads() const noexcept override { return ends_by_itself(r_); }
    std::uint64_t life() const noexcept override { return interlock::life_of(r_); }
    StartedCall<Versioned<T>> start_load(Key const& key, Deadline deadline, Waiter& waiter) override
    {
        return start<Versioned<T>>([&](auto& r) { return r.start_load(key, deadline, waiter); });
    }
    StartedCall<CommitResult> start_commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline, Waiter& waiter) override
    {
        return start<CommitResult>([&](auto& r) { return r.start_commit(changes, operation, deadline, waiter); });
    }
    StartedCall<std::optional<OperationRecord>> start_find_operation(
        Key const& key, OperationId const& id, Deadline deadline, Waiter& waiter) override
    {
        return start<std::optional<OperationRecord>>(
            [&](auto& r) { return r.start_find_operation(key, id, deadline, waiter); });
    }
    StartedCall<OperationRecord> start_forbid_operation(
        Key const& key, OperationId const& id, std::uint32_t attempt, Deadline deadline, Waiter& waiter) override
    {
        return start<OperationRecord>(
            [&](auto& r) { return r.start_forbid_operation(key, id, attempt, deadline, waiter); });
    }
    StartedCall<Grant> start_create(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline, Waiter& waiter) override
    {
        return start<Grant>([&](auto& r) { return r.start_create(key, owner, ttl, deadline, waiter); });
    }
    StartedCall<GrantAndState<T>> start_create_and_load(
        Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline, Waiter& waiter) override
    {
        return start<GrantAndState<T>>(
            [&](auto& r) { return r.start_create_and_load(key, owner, ttl, deadline, waiter); });
    }
    StartedCall<Removal> start_remove(Key const& key, OwnerToken owner, Deadline deadline, Waiter& waiter) override
    {
        return start<Removal>([&](auto& r) { return r.start_remove(key, owner, deadline, waiter); });
    }
    bool wanted(Key const& key, OwnerToken owner) override
    {
        if constexpr (requires { r_.wanted(key, owner); })
            return r_.wanted(key, owner);
        else
            return false;
    }

private:
    template <class X, class F>
    StartedCall<X> start([[maybe_unused]] F f)
    {
        if constexpr (NonblockingRepository<R>)
            return f(r_);
        else
            return nullptr;
    }

    R r_;
};

}  // namespace detail

/// A repository chosen at run time: holds any other one, with the same meaning. What the store lacks (row locks, say)
/// is `misconfigured` when it is asked for, in words, instead of an error of the compiler.
///
/// Has no default: nobody gets "in memory" by accident. Make one from a repository, or by `open<T>(url, backends...)`.
/// **Lifetimes and thread safety.** Those of what it holds: a shared handle, safe.
/// **Cost.** One virtual call per member.
template <class T>
class StateRepository
    : public RepositoryMembers<
          StateRepository<T>, T,
          std::conditional_t<
              KeyedState<T>, typename detail::key_type_or<T, void>::type, std::string>> {
    using Members = RepositoryMembers<
        StateRepository<T>, T,
        std::conditional_t<KeyedState<T>, typename detail::key_type_or<T, void>::type, std::string>>;

public:
    using value_type = T;
    /// For states without a key of their own: a string.
    using key_type = std::conditional_t<KeyedState<T>, typename detail::key_type_or<T, void>::type, std::string>;
    using runtime_type = SystemRuntime;

    /// An open row transaction of whatever store this is.
    class Transaction {
    public:
        std::optional<Versioned<T>>& state(std::size_t i) { return tx_->state(i); }
        Outcome<CommitResult> commit(
            std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline = {})
        {
            return tx_->commit(changes, operation, deadline);
        }
        void rollback() noexcept { tx_->rollback(); }
        Step<void> poll(Wait wait, Waiter& waiter) { return tx_->poll(wait, waiter); }
        void abandon() noexcept { tx_->abandon(); }

    private:
        friend StateRepository;
        explicit Transaction(std::unique_ptr<detail::AnyRowTransaction<T>> tx) : tx_(std::move(tx)) {}
        std::unique_ptr<detail::AnyRowTransaction<T>> tx_;
    };
    using transaction_type = Transaction;

    template <class R>
        requires(!std::same_as<R, StateRepository>) && std::same_as<typename R::value_type, T> &&
                std::same_as<typename R::runtime_type, SystemRuntime> && VersionedRepository<R>
    StateRepository(R repository)  // NOLINT: any repository is one
        : held_(std::make_shared<detail::RepositoryModel<R>>(std::move(repository)))
    {}

    SystemRuntime const& runtime() const noexcept { return held_->runtime(); }
    void const* identity() const noexcept { return held_->identity(); }
    std::string place() const { return held_->place(); }
    std::size_t blocking_calls() const noexcept { return held_->blocking_calls(); }
    bool in_place() const noexcept { return held_->in_place(); }
    bool starts_calls() const noexcept { return held_->starts_calls(); }
    bool has_own_threads() const noexcept { return held_->has_own_threads(); }
    std::uint64_t life() const noexcept { return held_->life(); }
    /// What the store calls itself: "memory".
    std::string_view store_name() const noexcept { return held_->name(); }

    using Members::compare_and_set;
    using Members::erase;
    using Members::insert;
    using Members::load;
    Outcome<Versioned<T>> load(Key const& key, Deadline deadline = {}) const { return held_->load(key, deadline); }
    Outcome<Version> insert(Key const& key, T const& value, Deadline deadline = {}) const
    {
        return held_->insert(key, value, deadline);
    }
    Outcome<Version> compare_and_set(Key const& key, Version version, T const& value, Deadline deadline = {}) const
    {
        return held_->compare_and_set(key, version, value, deadline);
    }
    Outcome<Version> erase(Key const& key, Version version, Deadline deadline = {}) const
    {
        return held_->erase(key, version, deadline);
    }
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline = {}) const
    {
        return held_->commit(changes, operation, deadline);
    }
    Outcome<std::optional<OperationRecord>> find_operation(
        Key const& key, OperationId const& id, Deadline deadline = {}) const
    {
        return held_->find_operation(key, id, deadline);
    }
    Outcome<OperationRecord> forbid_operation(
        Key const& key, OperationId const& id, std::uint32_t attempt, Deadline deadline = {}) const
    {
        return held_->forbid_operation(key, id, attempt, deadline);
    }
    /// `visit(Key const&, OperationId const&, OperationRecord const&)` for every answer committed before the call.
    Outcome<void> for_each_operation(
        std::function<void(Key const&, OperationId const&, OperationRecord const&)> const& visit) const
    {
        return held_->for_each_operation(visit);
    }
    transaction_type open_transaction(std::span<Key const* const> keys, Deadline deadline = {}) const
    {
        return transaction_type{held_->open_transaction(keys, deadline)};
    }
    Outcome<transaction_type> load_for_update(
        std::span<Key const* const> keys, Wait wait, Deadline deadline = {}) const
    {
        return wait_for_rows(*this, keys, wait, deadline);
    }
    Outcome<Grant> create(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline = {}) const
    {
        return held_->create(key, owner, ttl, deadline);
    }
    Outcome<GrantAndState<T>> create_and_load(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline = {}) const
    {
        return held_->create_and_load(key, owner, ttl, deadline);
    }
    Outcome<std::chrono::nanoseconds> renew(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline = {}) const
    {
        return held_->renew(key, owner, ttl, deadline);
    }
    void renew_all(std::span<Renewal> renewals, Ttl ttl, Deadline deadline = {}) const
    {
        held_->renew_all(renewals, ttl, deadline);
    }
    Outcome<Removal> remove(Key const& key, OwnerToken owner, Deadline deadline = {}) const
    {
        return held_->remove(key, owner, deadline);
    }
    StartedCall<Versioned<T>> start_load(Key const& key, Deadline deadline, Waiter& waiter) const
    {
        return held_->start_load(key, deadline, waiter);
    }
    StartedCall<CommitResult> start_commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline, Waiter& waiter) const
    {
        return held_->start_commit(changes, operation, deadline, waiter);
    }
    StartedCall<std::optional<OperationRecord>> start_find_operation(
        Key const& key, OperationId const& id, Deadline deadline, Waiter& waiter) const
    {
        return held_->start_find_operation(key, id, deadline, waiter);
    }
    StartedCall<OperationRecord> start_forbid_operation(
        Key const& key, OperationId const& id, std::uint32_t attempt, Deadline deadline, Waiter& waiter) const
    {
        return held_->start_forbid_operation(key, id, attempt, deadline, waiter);
    }
    StartedCall<Grant> start_create(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline, Waiter& waiter) const
    {
        return held_->start_create(key, owner, ttl, deadline, waiter);
    }
    StartedCall<GrantAndState<T>> start_create_and_load(
        Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline, Waiter& waiter) const
    {
        return held_->start_create_and_load(key, owner, ttl, deadline, waiter);
    }
    StartedCall<Removal> start_remove(Key const& key, OwnerToken owner, Deadline deadline, Waiter& waiter) const
    {
        return held_->start_remove(key, owner, deadline, waiter);
    }
    Outcome<void> verify_fencing(Deadline deadline = {}) const { return held_->verify_fencing(deadline); }
    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const { held_->subscribe(key, owner, waiter); }
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept { held_->unsubscribe(key, waiter); }
    bool wanted(Key const& key, OwnerToken owner) const { return held_->wanted(key, owner); }
    /// Whether the store wakes those who wait for a lock; else they look again from time to time.
    bool wakes() const noexcept { return held_->wakes(); }

private:
    std::shared_ptr<detail::AnyRepository<T>> held_;
};

/// An idempotency store chosen at run time.
class AnyIdempotencyStore {
public:
    template <class S>
        requires(!std::same_as<S, AnyIdempotencyStore>) && IdempotencyStore<S>
    AnyIdempotencyStore(S store)  // NOLINT: any store is one
        : held_(std::make_shared<Model<S>>(std::move(store)))
    {}

    Outcome<Claim> claim(
        IdempotentRequest const& request, OwnerToken owner, Ttl lease, AfterLease after, Deadline deadline = {},
        NamedAttempt const& attempt = {}) const
    {
        return held_->claim(request, owner, lease, after, deadline, attempt);
    }
    Outcome<void> complete(
        IdempotentRequest const& request, OwnerToken owner, std::string_view answer, bool rejected,
        Deadline deadline = {}) const
    {
        return held_->complete(request, owner, answer, rejected, deadline);
    }
    Outcome<void> give_back(
        IdempotentRequest const& request, OwnerToken owner, Deadline deadline = {}, bool settled = false) const
    {
        return held_->give_back(request, owner, deadline, settled);
    }
    /// How long an answer is kept; zero: the store does not say.
    std::chrono::nanoseconds retention() const noexcept { return held_->retention(); }
    bool in_place() const noexcept { return held_->in_place(); }
    /// False: this store wakes nobody, so waiting for it means asking again now and then.
    bool wakes() const noexcept { return held_->wakes(); }
    void subscribe(IdempotentRequest const& request, Waiter& waiter) const { held_->subscribe(request, waiter); }
    void unsubscribe(IdempotentRequest const& request, Waiter& waiter) const noexcept
    {
        held_->unsubscribe(request, waiter);
    }

private:
    struct Interface {
        virtual ~Interface() = default;
        virtual Outcome<Claim> claim(
            IdempotentRequest const&, OwnerToken, Ttl, AfterLease, Deadline, NamedAttempt const&) = 0;
        virtual Outcome<void> complete(IdempotentRequest const&, OwnerToken, std::string_view, bool, Deadline) = 0;
        virtual Outcome<void> give_back(IdempotentRequest const&, OwnerToken, Deadline, bool) = 0;
        virtual std::chrono::nanoseconds retention() const noexcept = 0;
        virtual bool in_place() const noexcept = 0;
        virtual bool wakes() const noexcept = 0;
        virtual void subscribe(IdempotentRequest const&, Waiter&) = 0;
        virtual void unsubscribe(IdempotentRequest const&, Waiter&) noexcept = 0;
    };
    template <class S>
    struct Model final : Interface {
        explicit Model(S s) : store(std::move(s)) {}
        bool in_place() const noexcept override { return runs_in_place(store); }
        Outcome<Claim> claim(
            IdempotentRequest const& r, OwnerToken o, Ttl l, AfterLease a, Deadline d, NamedAttempt const& n) override
        {
            return store.claim(r, o, l, a, d, n);
        }
        Outcome<void> complete(
            IdempotentRequest const& r, OwnerToken o, std::string_view answer, bool rejected, Deadline d) override
        {
            return store.complete(r, o, answer, rejected, d);
        }
        Outcome<void> give_back(IdempotentRequest const& r, OwnerToken o, Deadline d, bool settled) override
        {
            return store.give_back(r, o, d, settled);
        }
        std::chrono::nanoseconds retention() const noexcept override { return retention_of(store); }
        static constexpr bool can_wake = requires(S s, IdempotentRequest const& r, Waiter& w) {
            s.subscribe(r, w);
            s.unsubscribe(r, w);
        };
        bool wakes() const noexcept override { return can_wake; }
        void subscribe(IdempotentRequest const& r, Waiter& w) override
        {
            if constexpr (can_wake)
                store.subscribe(r, w);
        }
        void unsubscribe(IdempotentRequest const& r, Waiter& w) noexcept override
        {
            if constexpr (can_wake)
                store.unsubscribe(r, w);
        }
        S store;
    };
    std::shared_ptr<Interface> held_;
};

namespace detail {
/// A backend that `open` can choose.
template <class B>
concept Backend = requires(B const& b, std::string_view url) {
    { b.scheme } -> std::convertible_to<std::string_view>;
    { b.open_idempotency_store(url) } -> std::same_as<AnyIdempotencyStore>;
};

/// Calls `use(backend)` for the one whose scheme `url` has.
template <class Result, class Use, Backend... B>
Result choose_backend(std::string_view url, Use use, B const&... backends)
{
    auto const colon = url.find(':');
    // What has no colon has no scheme, and may be all password.
    auto const scheme = colon == std::string_view::npos ? std::string_view{} : url.substr(0, colon);
    std::optional<Result> result;
    std::string known;
    auto const look = [&](auto const& backend) {
        known += known.empty() ? "" : ", ";
        known += std::string(backend.scheme) + ":";
        if (!result && backend.scheme == scheme)
            result.emplace(use(backend));
    };
    (look(backends), ...);
    if (!result)  // only the scheme is named: the rest may hold a password
        throw Error(
            Errc::invalid_argument,
            "no backend for '" + std::string(scheme.substr(0, 32)) + "'; this program knows " + known);
    return *std::move(result);
}
}  // namespace detail

/// A repository at `url`, from one of `backends`: `open<Stock>("memory:", memory::backend)`. Throws `Error`
/// (`invalid_argument`, naming the scheme and what is known) when none of them has its scheme.
template <class T, class... B>
StateRepository<T> open(std::string_view url, B const&... backends)
{
    return detail::choose_backend<StateRepository<T>>(
        url, [&](auto const& backend) { return backend.template open<T>(url); }, backends...);
}

/// An idempotency store at `url`, likewise.
template <class... B>
AnyIdempotencyStore open_idempotency_store(std::string_view url, B const&... backends)
{
    return detail::choose_backend<AnyIdempotencyStore>(
        url, [&](auto const& backend) { return backend.open_idempotency_store(url); }, backends...);
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_STATE_REPOSITORY_HPP
