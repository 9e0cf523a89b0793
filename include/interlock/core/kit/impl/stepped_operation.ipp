// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_STEPPED_OPERATION_IPP
#define INTERLOCK_CORE_KIT_IMPL_STEPPED_OPERATION_IPP

#include <interlock/core/kit/stepped_operation.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <stop_token>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

INTERLOCK_DECL SteppedOperation::SteppedOperation(std::stop_token stop)
    : stop_(stop.stop_possible() ? std::make_unique<Stop>(std::move(stop)) : nullptr)
{}

INTERLOCK_DECL SteppedOperation::~SteppedOperation() = default;

INTERLOCK_DECL void SteppedOperation::wake() noexcept
{
    woken_.store(true, std::memory_order_release);
    schedule();
}

INTERLOCK_DECL void SteppedOperation::ring() noexcept
{
    schedule();
    drop_reference();  // the alarm's
}

INTERLOCK_DECL void SteppedOperation::start()
{
    running_ = true;  // whatever wakes it while it joins is answered by the first step
    join();
    std::lock_guard lock(mutex_);
    running_ = again_ = false;
    queued_ = true;
    post_locked();
}

INTERLOCK_DECL void SteppedOperation::start_here()
{
    Ref<SteppedOperation> const alive{this};
    running_ = true;
    join();
    bool const finished = guarded_step();
    std::lock_guard lock(mutex_);
    running_ = false;
    stepped_ = finished;
    if (!finished_ && (finished || again_)) {
        queued_ = true;
        post_locked();
    }
}

INTERLOCK_DECL void SteppedOperation::enter(std::shared_ptr<PendingOperations::List> list)
{
    list_ = std::move(list);
    {
        std::lock_guard lock(list_->mutex);
        list_->members.push_back(*this);
    }
    if (stop_)
        stop_->callback.emplace(stop_->token, Cancel{this});
}

INTERLOCK_DECL bool SteppedOperation::take_step()
{
    {
        std::lock_guard lock(mutex_);
        if (finished_)
            return false;
        queued_ = false;
        running_ = true;
        again_ = false;
    }
    bool const finished = stepped_ || guarded_step();
    if (!finished) {
        std::lock_guard lock(mutex_);
        running_ = false;
        if (again_) {
            queued_ = true;
            post_locked();
        }
        return false;
    }
    {
        std::lock_guard lock(mutex_);
        finished_ = true;
    }
    end_alarm();
    stop_.reset();  // waits for a callback that runs
    {
        std::lock_guard lock(list_->mutex);
        if (!list_->gone)
            list_->members.erase(list_->members.iterator_to(*this));
    }
    drop_reference();  // the operation's own
    return true;
}

INTERLOCK_DECL void SteppedOperation::request_cancellation() noexcept
{
    cancel_requested_.store(true, std::memory_order_relaxed);
    schedule();
}

INTERLOCK_DECL bool SteppedOperation::Offload::begin(std::uint64_t number)
{
    std::lock_guard lock(mutex);
    if (gone || turn != number)
        return false;
    running = number;
    return true;
}

INTERLOCK_DECL void SteppedOperation::Offload::end(std::uint64_t number)
{
    {
        std::lock_guard lock(mutex);
        if (running == number)
            running = 0;
    }
    returned.notify_all();
}

INTERLOCK_DECL std::shared_ptr<SteppedOperation::Offload> SteppedOperation::next_offload()
{
    if (!offload_)
        offload_ = std::make_shared<Offload>();
    offload_->exception = nullptr;
    offload_done_.store(false, std::memory_order_relaxed);
    std::lock_guard lock(offload_->mutex);
    ++offload_->turn;
    return offload_;
}

INTERLOCK_DECL void SteppedOperation::offload_returned() noexcept
{
    // Together: whoever sees that it is done may destroy the operation.
    std::lock_guard lock(mutex_);
    offload_done_.store(true, std::memory_order_release);
    schedule_locked();
}

INTERLOCK_DECL bool SteppedOperation::offload_done() const
{
    if (!offload_done_.load(std::memory_order_acquire))
        return false;
    if (offload_->exception)
        std::rethrow_exception(offload_->exception);
    return true;
}

INTERLOCK_DECL bool SteppedOperation::take_back() noexcept
{
    std::lock_guard lock(offload_->mutex);
    if (offload_->running == offload_->turn || offload_done_.load(std::memory_order_relaxed))
        return false;
    ++offload_->turn;
    return true;
}

INTERLOCK_DECL void SteppedOperation::schedule() noexcept
{
    std::lock_guard lock(mutex_);
    schedule_locked();
}

INTERLOCK_DECL void SteppedOperation::schedule_locked() noexcept
{
    if (finished_)
        return;
    if (queued_ || running_) {
        again_ = again_ || running_;
        return;
    }
    queued_ = true;
    post_locked();
}

INTERLOCK_DECL void SteppedOperation::post_locked() noexcept
{
    if (!list_->gone)
        post();
}

INTERLOCK_DECL bool SteppedOperation::guarded_step() noexcept
{
    try {
        return step();
    } catch (...) {
        failed(std::current_exception());
        return true;
    }
}

INTERLOCK_DECL void SteppedOperation::abandon() noexcept
{
    {
        std::lock_guard lock(mutex_);
        finished_ = true;
    }
    if (offload_) {  // a call that has not begun is dropped, one that runs is waited for
        WithoutCancellation const whole;
        std::unique_lock lock(offload_->mutex);
        offload_->gone = true;
        offload_->returned.wait(lock, [&] { return offload_->running == 0; });
    }
    leave();
    if (slot_listener_ != nullptr)
        slot_listener_->leave();  // and not the slot, whose signal may be gone
    end_alarm();
    stop_.reset();  // waits for a callback that runs
    drop_reference();
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_STEPPED_OPERATION_IPP
