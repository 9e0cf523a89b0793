// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_BLOCKING_REPOSITORY_HPP
#define INTERLOCK_TESTS_SUPPORT_BLOCKING_REPOSITORY_HPP

/// @file
/// Any repository as one that may block: it offers the members that the concepts state and none of the optional ones
/// (`immediate`, `poll`, `subscribe`), as a store behind a network would. Asynchronous calls then run on the
/// blocking executor, and lock waiters poll.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/lock_state_service.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace interlock_test {

template <class R>
class BlockingRepository {
    using Changes = std::span<interlock::Change<typename R::value_type>>;

public:
    using value_type = typename R::value_type;
    using key_type = typename R::key_type;
    using runtime_type = typename R::runtime_type;
    static constexpr std::string_view name = "blocking";

    class transaction_type {
    public:
        explicit transaction_type(typename R::transaction_type inner) : inner_(std::move(inner)) {}
        std::optional<interlock::Versioned<value_type>>& state(std::size_t i) { return inner_.state(i); }
        interlock::Outcome<interlock::CommitResult> commit(
            Changes changes, interlock::OperationCommit const* operation, interlock::Deadline deadline)
        {
            return inner_.commit(changes, operation, deadline);
        }
        void rollback() noexcept { inner_.rollback(); }

    private:
        typename R::transaction_type inner_;
    };

    explicit BlockingRepository(R inner) : inner_(std::move(inner)), hook_(std::make_shared<Hook>()) {}

    R const& inner() const noexcept { return inner_; }
    /// Called with the member's name before each call of the store, on the thread that makes it.
    void before_calls(std::function<void(std::string_view)> hook) const
    {
        std::lock_guard const lock(hook_->mutex);
        hook_->call = std::move(hook);
    }

    runtime_type runtime() const { return inner_.runtime(); }
    void const* identity() const noexcept { return inner_.identity(); }

    auto load(interlock::Key const& key, interlock::Deadline deadline) const
    {
        call("load");
        return inner_.load(key, deadline);
    }
    interlock::Outcome<interlock::Version> insert(
        interlock::Key const& key, value_type const& value, interlock::Deadline deadline) const
    {
        call("insert");
        return inner_.insert(key, value, deadline);
    }
    interlock::Outcome<interlock::Version> compare_and_set(
        interlock::Key const& key, interlock::Version version, value_type const& value,
        interlock::Deadline deadline) const
    {
        call("compare_and_set");
        return inner_.compare_and_set(key, version, value, deadline);
    }
    interlock::Outcome<interlock::Version> erase(
        interlock::Key const& key, interlock::Version version, interlock::Deadline deadline) const
    {
        call("erase");
        return inner_.erase(key, version, deadline);
    }
    interlock::Outcome<interlock::CommitResult> commit(
        Changes changes, interlock::OperationCommit const* operation, interlock::Deadline deadline) const
    {
        call("commit");
        return inner_.commit(changes, operation, deadline);
    }
    auto find_operation(
        interlock::Key const& key, interlock::OperationId const& id, interlock::Deadline deadline) const
    {
        call("find_operation");
        return inner_.find_operation(key, id, deadline);
    }
    auto forbid_operation(
        interlock::Key const& key, interlock::OperationId const& id, std::uint32_t attempt,
        interlock::Deadline deadline) const
    {
        call("forbid_operation");
        return inner_.forbid_operation(key, id, attempt, deadline);
    }
    interlock::Outcome<transaction_type> load_for_update(
        std::span<interlock::Key const* const> keys, interlock::Wait wait, interlock::Deadline deadline) const
    {
        call("load_for_update");
        auto opened = inner_.load_for_update(keys, wait, deadline);
        if (!opened)
            return std::move(opened).failure();
        return transaction_type{*std::move(opened)};
    }
    auto create(
        interlock::Key const& key, interlock::OwnerToken owner, interlock::Ttl ttl, interlock::Deadline deadline) const
    {
        call("create");
        return inner_.create(key, owner, ttl, deadline);
    }
    auto create_and_load(
        interlock::Key const& key, interlock::OwnerToken owner, interlock::Ttl ttl, interlock::Deadline deadline) const
    {
        call("create_and_load");
        return inner_.create_and_load(key, owner, ttl, deadline);
    }
    auto renew(
        interlock::Key const& key, interlock::OwnerToken owner, interlock::Ttl ttl, interlock::Deadline deadline) const
    {
        call("renew");
        return inner_.renew(key, owner, ttl, deadline);
    }
    auto remove(interlock::Key const& key, interlock::OwnerToken owner, interlock::Deadline deadline) const
    {
        call("remove");
        return inner_.remove(key, owner, deadline);
    }
    auto verify_fencing(interlock::Deadline deadline) const
    {
        call("verify_fencing");
        return inner_.verify_fencing(deadline);
    }

private:
    struct Hook {
        std::mutex mutex;
        std::function<void(std::string_view)> call;
    };

    void call(std::string_view member) const
    {
        std::function<void(std::string_view)> hook;
        {
            std::lock_guard const lock(hook_->mutex);
            hook = hook_->call;
        }
        if (hook)
            hook(member);
    }

    R inner_;
    std::shared_ptr<Hook> hook_;
};

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_BLOCKING_REPOSITORY_HPP
