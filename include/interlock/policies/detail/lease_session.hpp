// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_LEASE_SESSION_HPP
#define INTERLOCK_POLICIES_DETAIL_LEASE_SESSION_HPP

/// @file
/// What `SetNxLock` keeps for a repository: its own configuration, and the service that gives out the locks.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/kit/lock_access.hpp>
#include <interlock/core/kit/recorded_events.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/lease_transaction.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

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
            return with_recorder<
                R, std::array{
                       Form::states, Form::states_context, Form::locks, Form::locks_context,
                       Form::states_locks}>();
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
    using Transaction = LeaseTransaction<LeaseSession, N, Shape>;

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
