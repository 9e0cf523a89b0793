// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_OBSERVERS_HPP
#define INTERLOCK_OBSERVABILITY_OBSERVERS_HPP

/// @file
/// A service has one observer. `Observers` is one that hands everything on to several:
///
///     interlock::Observers both{{&metrics, &log}};
///     interlock::TransactionService const service{policy, repository, {.observer = &both}};

#include <interlock/core/observer.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// Hands each event on to each of its observers, in their order.
///
/// **Guarantee.** Each has a `CallInfo::tag` of its own, and sees keys only if it asked for them.
/// **Lifetimes.** Those handed to it must outlive it. **Thread safety.** As `Observer`. **Cost.** One small
/// allocation per call of `do_in_transaction`, and of a store. Where there is no memory for it, the tags of
/// that call are null.
class Observers final : public Observer {
public:
    /// Those to hand on to, in this order; none is null.
    explicit Observers(std::vector<Observer*> all)
        : Observer(
              std::any_of(all.begin(), all.end(), [](auto const* one) { return one->hears_keys(); })
                  ? HearsKeys::yes
                  : HearsKeys::no),
          all_(std::move(all))
    {}

    void on_begin(CallInfo& call) noexcept override
    {
        auto* const tags = new (std::nothrow) void* [all_.size()] {};
        auto const outer = call.outer != nullptr ? tags_of(*call.outer) : nullptr;
        for (std::size_t i = 0; i < all_.size(); ++i) {
            CallInfo outer_seen;
            auto seen = as_seen(call, i, nullptr);
            if (outer != nullptr) {
                outer_seen = as_seen(*call.outer, i, outer[i]);
                seen.outer = &outer_seen;
            } else {
                seen.outer = nullptr;
            }
            all_[i]->on_begin(seen);
            if (tags != nullptr)
                tags[i] = seen.tag;
        }
        call.tag = tags;
    }
    void on_transaction(TransactionEvent const& event) noexcept override
    {
        hand_on(event, &Observer::on_transaction);
        if (event.call != nullptr)
            delete[] tags_of(*event.call);
    }
    void on_conflict(RetryEvent const& event) noexcept override { hand_on(event, &Observer::on_conflict); }
    void on_retry(RetryEvent const& event) noexcept override { hand_on(event, &Observer::on_retry); }
    void on_unknown(UnknownEvent const& event) noexcept override { hand_on(event, &Observer::on_unknown); }
    void on_store_call_begin(StoreCallInfo& info) noexcept override
    {
        auto* const tags = new (std::nothrow) void* [all_.size()] {};
        for (std::size_t i = 0; i < all_.size(); ++i) {
            Seen const seen{*this, info.call, i};
            StoreCallInfo its{info.store, info.verb, seen.call()};
            all_[i]->on_store_call_begin(its);
            if (tags != nullptr)
                tags[i] = its.tag;
        }
        info.tag = tags;
    }
    void on_store_call(StoreCallEvent const& event) noexcept override
    {
        auto* const tags = static_cast<void**>(event.tag);
        for (std::size_t i = 0; i < all_.size(); ++i) {
            Seen const seen{*this, event.call, i};
            auto its = event;
            its.call = seen.call();
            its.tag = tags != nullptr ? tags[i] : nullptr;
            all_[i]->on_store_call(its);
        }
        delete[] tags;
    }
    void on_acquire_begin(ObservedLock const& lock) noexcept override
    {
        for (std::size_t i = 0; i < all_.size(); ++i) {
            Seen const seen{*this, lock.call, i};
            all_[i]->on_acquire_begin(seen.lock(lock));
        }
    }
    void on_acquire(AcquireEvent const& event) noexcept override
    {
        hand_on_lock(event, &Observer::on_acquire);
    }
    void on_release(ReleaseEvent const& event) noexcept override
    {
        hand_on_lock(event, &Observer::on_release);
    }
    void on_lock(LockEvent const& event) noexcept override { hand_on_lock(event, &Observer::on_lock); }
    void on_idempotency(IdempotencyEvent event) noexcept override
    {
        for (std::size_t i = 0; i < all_.size(); ++i) {
            Seen const seen{*this, current_call(), i};
            detail::ObservedScope const scope{seen.call()};
            all_[i]->on_idempotency(event);
        }
    }
    void on_unsafe_store(std::string_view why) noexcept override
    {
        for (auto* const one : all_)
            one->on_unsafe_store(why);
    }
    void on_connection(ConnectionEvent const& event) noexcept override
    {
        for (auto* const one : all_)
            one->on_connection(event);
    }
    void on_pool_wait(PoolWaitEvent const& event) noexcept override
    {
        for (auto* const one : all_)
            one->on_pool_wait(event);
    }

private:
    static void** tags_of(CallInfo const& call) noexcept { return static_cast<void**>(call.tag); }

    CallInfo as_seen(CallInfo const& call, std::size_t i, void* tag) const noexcept
    {
        auto seen = call;
        seen.observer = all_[i];
        seen.tag = tag;
        if (!all_[i]->hears_keys())
            seen.keys = {};
        return seen;
    }

    /// A call as the `i`th observer sees it.
    class Seen {
    public:
        Seen(Observers const& all, CallInfo const* call, std::size_t i) noexcept
            : hears_keys_(all.all_[i]->hears_keys()), is_(call != nullptr)
        {
            if (is_)
                seen_ = all.as_seen(*call, i, call->tag != nullptr ? tags_of(*call)[i] : nullptr);
        }
        CallInfo const* call() const noexcept { return is_ ? &seen_ : nullptr; }
        ObservedLock lock(ObservedLock const& lock) const noexcept
        {
            return {lock.store, hears_keys_ ? lock.key : nullptr, call()};
        }

    private:
        CallInfo seen_;
        bool hears_keys_;
        bool is_;
    };

    template <class Event>
    void hand_on(Event const& event, void (Observer::*member)(Event const&) noexcept) const noexcept
    {
        for (std::size_t i = 0; i < all_.size(); ++i) {
            Seen const seen{*this, event.call, i};
            auto its = event;
            its.call = seen.call();
            (all_[i]->*member)(its);
        }
    }
    template <class Event>
    void hand_on_lock(Event const& event, void (Observer::*member)(Event const&) noexcept) const noexcept
    {
        for (std::size_t i = 0; i < all_.size(); ++i) {
            Seen const seen{*this, event.lock.call, i};
            auto its = event;
            its.lock = seen.lock(event.lock);
            (all_[i]->*member)(its);
        }
    }

    std::vector<Observer*> const all_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_OBSERVABILITY_OBSERVERS_HPP
