// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_WAIT_FOR_CHANGE_HPP
#define INTERLOCK_PATTERNS_DETAIL_WAIT_FOR_CHANGE_HPP

/// @file
/// Waiting at a hub without blocking a thread, and a hub that hears of what comes into a log.

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/async_operation.hpp>
#include <interlock/patterns/detail/subscription_hub.hpp>

#include <boost/asio/async_result.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Hears, for as long as it lives, of what comes into any partition of a log.
template <class Events>
class LogWaiter final : public Waiter {
public:
    LogWaiter(Events const& events, SubscriptionHub& hub) : events_(events), hub_(hub)
    {
        if constexpr (SubscribableEvents<Events>)
            for (unsigned partition = 0; partition < events_.partitions(); ++partition)
                events_.subscribe(partition, *this);
    }
    LogWaiter(LogWaiter const&) = delete;
    LogWaiter& operator=(LogWaiter const&) = delete;
    ~LogWaiter()
    {
        if constexpr (SubscribableEvents<Events>)
            for (unsigned partition = 0; partition < events_.partitions(); ++partition)
                events_.unsubscribe(partition, *this);
    }
    void wake() noexcept override { hub_.change(); }

private:
    Events events_;
    SubscriptionHub& hub_;
};

/// Ends when something has changed at a hub, at a time, or when it is cancelled.
template <class Handler, class R>
class WaitForChange final : public AsyncOperation<Handler, R> {
    using Base = AsyncOperation<Handler, R>;

public:
    WaitForChange(
        Handler handler, R runtime, std::shared_ptr<SubscriptionHub> hub, std::uint64_t count,
        TimePoint until)
        : Base(std::move(handler), std::move(runtime)), hub_(std::move(hub)), count_(count), until_(until)
    {}

private:
    bool step() override
    {
        hub_->wakes(this);
        if (hub_->count() != count_ || this->runtime().now() >= until_ || this->cancel_requested()) {
            leave();
            return true;
        }
        this->wake_at(until_);
        return false;
    }
    void failed(std::exception_ptr) noexcept override { leave(); }
    void complete(Ref<Base> self) override
    {
        auto handler = std::move(this->handler());
        {
            Ref<Base> const last = std::move(self);
        }
        std::move(handler)();
    }
    void leave() noexcept override { hub_->wakes(nullptr); }
    void destroy() noexcept override { destroy_operation(this, this->allocator()); }

    std::shared_ptr<SubscriptionHub> hub_;
    std::uint64_t count_;
    TimePoint until_;
};

/// Waits until something has changed since `count` was read, or `until`. **Completion.** `void()`.
template <class R, class Token>
auto async_wait_for_change(
    R const& runtime, std::shared_ptr<SubscriptionHub> hub, std::uint64_t count, TimePoint until,
    Token&& token)
{
    return boost::asio::async_initiate<Token, void()>(
        [](auto handler, R of, std::shared_ptr<SubscriptionHub> at, std::uint64_t seen, TimePoint end) {
            start_operation<WaitForChange<decltype(handler), R>>(
                std::move(handler), std::move(of), std::move(at), seen, end);
        },
        token, runtime, std::move(hub), count, until);
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_WAIT_FOR_CHANGE_HPP
