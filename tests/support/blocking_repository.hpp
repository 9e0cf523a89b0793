// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_BLOCKING_REPOSITORY_HPP
#define INTERLOCK_TESTS_SUPPORT_BLOCKING_REPOSITORY_HPP

/// @file
/// Any repository as one that may block: it carries out the same verbs and has nothing that is optional (no
/// capabilities, `poll`, `subscribe`), as a store behind a network would. Asynchronous calls then run on the
/// blocking executor, and lock waiters poll.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/store_members.hpp>
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

/// The `events_type` of a store that records.
template <class R>
struct EventsOf {};
template <class R>
    requires interlock::RecordingRepository<R>
struct EventsOf<R> {
    using events_type = typename R::events_type;
};

template <class R>
class BlockingRepository
    : public interlock::StoreMembers<BlockingRepository<R>, typename R::value_type, typename R::key_type>,
      public EventsOf<R> {
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

    template <class Verb>
        requires interlock::CarriesOut<R, Verb>
    interlock::Outcome<typename Verb::answer> carry_out(Verb const& verb, interlock::Deadline deadline) const
    {
        call(Verb::name);
        return inner_.carry_out(verb, deadline);
    }
    interlock::Outcome<transaction_type> carry_out(
        interlock::verb::LoadForUpdate<transaction_type> const& rows, interlock::Deadline deadline) const
    {
        call("load_for_update");
        auto opened = inner_.load_for_update(rows.keys, rows.wait, deadline);
        if (!opened)
            return std::move(opened).failure();
        return transaction_type{*std::move(opened)};
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
