// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_ASYNC_OPERATION_IPP
#define INTERLOCK_CORE_KIT_IMPL_ASYNC_OPERATION_IPP

#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/outcome.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/post.hpp>

#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

namespace detail {

template <class Handler, class R>
void AsyncOperation<Handler, R>::start()
{
    running_ = true;  // whatever wakes it while it joins is answered by the first step
    join();
    std::lock_guard lock(mutex_);
    running_ = again_ = false;
    queued_ = true;
    post();
}

template <class Handler, class R>
void AsyncOperation<Handler, R>::start_here()
{
    Ref<AsyncOperation> const alive{this};
    running_ = true;
    join();
    bool const finished = guarded_step();
    std::lock_guard lock(mutex_);
    running_ = false;
    stepped_ = finished;
    if (!finished_ && (finished || again_)) {
        queued_ = true;
        post();
    }
}

template <class Handler, class R>
void AsyncOperation<Handler, R>::join()
{
    list_ = PendingOperations::list_of(context());
    {
        std::lock_guard lock(list_->mutex);
        list_->members.push_back(*this);
    }
    auto slot = boost::asio::get_associated_cancellation_slot(handler_);
    if (slot.is_connected())
        slot.assign([this](boost::asio::cancellation_type) { request_cancellation(); });
    if (stop_)
        stop_->callback.emplace(stop_->token, Cancel{this});
}

template <class Handler, class R>
void AsyncOperation<Handler, R>::wake_at(TimePoint at)
{
    if (at == TimePoint::max() || (alarm_armed_ && alarm_at_ == at && runtime_.now() < at))
        return;
    disarm();
    add_reference();
    alarm_armed_ = true;
    alarm_at_ = at;
    runtime_.arm(*this, at);
}

template <class Handler, class R>
bool AsyncOperation<Handler, R>::offload_done() const
{
    if (!offload_done_.load(std::memory_order_acquire))
        return false;
    if (offload_->exception)
        std::rethrow_exception(offload_->exception);
    return true;
}

template <class Handler, class R>
bool AsyncOperation<Handler, R>::take_back() noexcept
{
    std::lock_guard lock(offload_->mutex);
    if (offload_->running == offload_->turn || offload_done_.load(std::memory_order_relaxed))
        return false;
    ++offload_->turn;
    return true;
}

template <class Handler, class R>
void AsyncOperation<Handler, R>::request_cancellation() noexcept
{
    cancel_requested_.store(true, std::memory_order_relaxed);
    schedule();
}

template <class Handler, class R>
template <class F>
auto AsyncOperation<Handler, R>::offloaded(F call)
{
    if (!offload_)
        offload_ = std::make_shared<Offload>();
    offload_->exception = nullptr;
    offload_done_.store(false, std::memory_order_relaxed);
    // No reference: an operation must not outlive its context, and the thread knows nothing of that
    // context.
    return [this, shared = offload_, turn = turn_of_next_call(), call = std::move(call)]() mutable {
        {
            std::lock_guard lock(shared->mutex);
            if (shared->gone || shared->turn != turn)
                return;
            shared->running = turn;
        }
        try {
            call();
        } catch (...) {
            shared->exception = std::current_exception();
        }
        {
            // Together: whoever sees that it is done may destroy the operation.
            std::lock_guard lock(mutex_);
            offload_done_.store(true, std::memory_order_release);
            schedule_locked();
        }
        {
            std::lock_guard lock(shared->mutex);
            if (shared->running == turn)
                shared->running = 0;
        }
        shared->returned.notify_all();
    };
}

template <class Handler, class R>
std::uint64_t AsyncOperation<Handler, R>::turn_of_next_call() noexcept
{
    std::lock_guard lock(offload_->mutex);
    return ++offload_->turn;
}

template <class Handler, class R>
void AsyncOperation<Handler, R>::schedule_locked() noexcept
{
    if (finished_)
        return;
    if (queued_ || running_) {
        again_ = again_ || running_;
        return;
    }
    queued_ = true;
    post();
}

template <class Handler, class R>
void AsyncOperation<Handler, R>::post() noexcept
{
    // This one's mutex is held, which `abandon` waits for: the context does not go away meanwhile.
    if (!list_->gone)
        boost::asio::post(executor_, [self = Ref<AsyncOperation>(this)]() mutable {
            auto* const op = self.operator->();
            op->run(std::move(self));
        });
}

template <class Handler, class R>
bool AsyncOperation<Handler, R>::guarded_step() noexcept
{
    try {
        return step();
    } catch (...) {
        failed(std::current_exception());
        return true;
    }
}

template <class Handler, class R>
void AsyncOperation<Handler, R>::run(Ref<AsyncOperation> self)
{
    {
        std::lock_guard lock(mutex_);
        if (finished_)
            return;
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
            post();
        }
        return;
    }
    {
        std::lock_guard lock(mutex_);
        finished_ = true;
    }
    disarm();
    stop_.reset();  // waits for a callback that runs
    boost::asio::get_associated_cancellation_slot(handler_).clear();
    {
        std::lock_guard lock(list_->mutex);
        if (!list_->gone)
            list_->members.erase(list_->members.iterator_to(*this));
    }
    drop_reference();  // the operation's own
    complete(std::move(self));
}

template <class Handler, class R>
void AsyncOperation<Handler, R>::abandon() noexcept
{
    {
        std::lock_guard lock(mutex_);
        finished_ = true;
    }
    if (offload_) {  // a call that has not begun is dropped, one that runs is waited for
        std::unique_lock lock(offload_->mutex);
        offload_->gone = true;
        offload_->returned.wait(lock, [&] { return offload_->running == 0; });
    }
    leave();
    disarm();
    stop_.reset();  // waits for a callback that runs
    boost::asio::get_associated_cancellation_slot(handler_).clear();
    drop_reference();
}

template <class Op, class Handler, class... A>
void start_operation(Handler handler, A&&... arguments)
{
    using Allocator = typename std::allocator_traits<
        boost::asio::associated_allocator_t<Handler>>::template rebind_alloc<Op>;
    Allocator allocator(boost::asio::get_associated_allocator(handler));
    auto* const memory = std::allocator_traits<Allocator>::allocate(allocator, 1);
    Op* op = nullptr;
    try {
        op = ::new (static_cast<void*>(memory)) Op(std::move(handler), std::forward<A>(arguments)...);
    } catch (...) {
        std::allocator_traits<Allocator>::deallocate(allocator, memory, 1);
        throw;
    }
    op->start();
}

template <class Op, class A>
void destroy_operation(Op* op, A handler_allocator) noexcept
{
    using Allocator = typename std::allocator_traits<A>::template rebind_alloc<Op>;
    Allocator allocator(handler_allocator);
    op->~Op();
    std::allocator_traits<Allocator>::deallocate(allocator, op, 1);
}

template <class Handler, class R, class Where, class F>
class CallOperation final : public AsyncOperation<Handler, R> {
    using Base = AsyncOperation<Handler, R>;
    using Result = std::invoke_result_t<F&>;

public:
    CallOperation(Handler handler, R runtime, Where where, TimePoint until, F call)
        : Base(std::move(handler), std::move(runtime)), call_(std::move(call)), where_(std::move(where)),
          until_(until)
    {}

private:
    bool step() override
    {
        if constexpr (std::is_same_v<Where, CallHere>) {
            result_.emplace(call_());
            return true;
        } else {
            if (!std::exchange(offloaded_, true)) {
                this->wake_at(until_);
                auto call = [this] { result_.emplace(call_()); };
                if constexpr (std::is_same_v<Where, CallAlone>)
                    this->offload_alone(call);
                else
                    this->offload(call, where_);
                return false;
            }
            if (this->offload_done())
                return true;
            if (this->runtime().now() < until_ || !this->take_back())
                return false;
            set_result(Errc::deadline_exceeded);
            return true;
        }
    }

    void failed(std::exception_ptr) noexcept override { set_result(Errc::outcome_unknown); }

    void set_result(Errc code)
    {
        if constexpr (std::is_same_v<Result, error_code>)
            result_.emplace(make_error_code(code));
        else if (code == Errc::outcome_unknown)
            result_.emplace(Failure::unknown(Errc::overloaded));
        else
            result_.emplace(code);
    }

    void complete(Ref<Base> self) override
    {
        auto handler = std::move(this->handler());
        auto result = *std::move(result_);
        {
            Ref<Base> const last = std::move(self);
        }
        if constexpr (requires { F::complete(std::move(handler), std::move(result)); })
            F::complete(std::move(handler), std::move(result));
        else
            std::move(handler)(std::move(result));
    }

    void leave() noexcept override {}
    void destroy() noexcept override { destroy_operation(this, this->allocator()); }

    F call_;
    std::optional<Result> result_;
    Where where_;
    TimePoint until_;
    bool offloaded_{false};
};

template <class R, class Where, class Handler, class F>
void async_call(Where where, TimePoint until, R const& runtime, Handler handler, F call)
{
    start_operation<CallOperation<Handler, R, Where, F>>(
        std::move(handler), runtime, std::move(where), until, std::move(call));
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_ASYNC_OPERATION_IPP
