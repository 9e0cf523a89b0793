// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_STARTED_REPOSITORY_HPP
#define INTERLOCK_TESTS_SUPPORT_STARTED_REPOSITORY_HPP

/// @file
/// Any repository as one that starts calls: the test double of the non-blocking half of the engine, which
/// else would meet a real server only. A call that is started reaches the store at once; its reply is given
/// later, on the runtime's executor, or when a test says so.

#include <interlock/core/contracts/store.hpp>

#include <boost/asio/post.hpp>

#include "support/blocking_repository.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock_test {

template <class R>
class StartedRepository
    : public interlock::StoreMembers<StartedRepository<R>, typename R::value_type, typename R::key_type>,
      public EventsOf<R> {
    using Inner = BlockingRepository<R>;

public:
    using value_type = typename R::value_type;
    using key_type = typename R::key_type;
    using runtime_type = typename R::runtime_type;
    using transaction_type = typename Inner::transaction_type;
    static constexpr std::string_view name = "started";

    explicit StartedRepository(R inner) : inner_(std::move(inner)), replies_(std::make_shared<Replies>()) {}

    R const& inner() const noexcept { return inner_.inner(); }
    runtime_type runtime() const { return inner_.runtime(); }
    void const* identity() const noexcept { return inner_.identity(); }
    interlock::Capabilities capabilities() const noexcept { return {.owns_threads = true}; }

    template <class Verb>
        requires interlock::CarriesOut<Inner, Verb>
    interlock::Outcome<typename Verb::answer> carry_out(Verb const& verb, interlock::Deadline deadline) const
    {
        return inner_.carry_out(verb, deadline);
    }
    template <class Verb>
        requires interlock::CarriesOut<R, Verb>
    interlock::StartedCall<typename Verb::answer> start(
        Verb const& verb, interlock::Deadline deadline, interlock::Waiter& waiter) const
    {
        auto outcome = inner_.carry_out(verb, deadline);
        interlock::detail::note_new_version(outcome, verb);
        auto call = std::make_unique<Call<typename Verb::answer>>(std::move(outcome), waiter);
        auto reply = [state = call->state()] { state->give(); };
        std::lock_guard const lock(replies_->mutex);
        ++replies_->started;
        if (replies_->held)
            replies_->waiting.emplace_back(std::move(reply));
        else
            boost::asio::post(runtime().executor(), std::move(reply));
        return call;
    }

    /// From now on replies are kept until `give_replies`.
    void hold_replies() const
    {
        std::lock_guard const lock(replies_->mutex);
        replies_->held = true;
    }
    /// Gives the replies that were kept, in order, and keeps no more.
    void give_replies() const
    {
        std::vector<std::function<void()>> waiting;
        {
            std::lock_guard const lock(replies_->mutex);
            replies_->held = false;
            waiting.swap(replies_->waiting);
        }
        for (auto& reply : waiting)
            reply();
    }
    /// Calls that were started so far.
    std::size_t started() const
    {
        std::lock_guard const lock(replies_->mutex);
        return replies_->started;
    }

private:
    struct Replies {
        std::mutex mutex;
        bool held{false};
        std::vector<std::function<void()>> waiting;
        std::size_t started{0};
    };

    template <class X>
    struct State {
        State(interlock::Outcome<X> o, interlock::Waiter& w) : outcome(std::move(o)), waiter(&w) {}
        void give() noexcept
        {
            std::lock_guard const lock(mutex);
            given = true;
            if (waiter != nullptr)
                waiter->wake();
        }
        std::mutex mutex;
        interlock::Outcome<X> outcome;
        interlock::Waiter* waiter;  // null: the call was given up
        bool given{false};
    };

    template <class X>
    class Call final : public interlock::StoreCall<X> {
    public:
        Call(interlock::Outcome<X> outcome, interlock::Waiter& waiter)
            : state_(std::make_shared<State<X>>(std::move(outcome), waiter))
        {}
        ~Call() override
        {
            std::lock_guard const lock(state_->mutex);
            state_->waiter = nullptr;
        }
        std::shared_ptr<State<X>> const& state() const noexcept { return state_; }
        std::optional<interlock::Outcome<X>> poll() override
        {
            std::lock_guard const lock(state_->mutex);
            if (!state_->given)
                return std::nullopt;
            return std::move(state_->outcome);
        }

    private:
        std::shared_ptr<State<X>> state_;
    };

    Inner inner_;
    std::shared_ptr<Replies> replies_;
};

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_STARTED_REPOSITORY_HPP
