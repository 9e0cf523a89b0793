// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_ASYNC_OPERATION_IPP
#define INTERLOCK_CORE_KIT_IMPL_ASYNC_OPERATION_IPP

#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

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
void AsyncOperation<Handler, R>::join()
{
    enter(PendingOperations::list_of(context()));
    auto slot = boost::asio::get_associated_cancellation_slot(handler_);
    if (slot.is_connected())
        slot.template emplace<SlotListener>(static_cast<SteppedOperation&>(*this));
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
template <class F>
auto AsyncOperation<Handler, R>::offloaded(F call)
{
    auto shared = next_offload();
    auto const turn = shared->turn;
    return [this, shared = std::move(shared), turn, call = std::move(call)]() mutable {
        if (!shared->begin(turn))
            return;
        try {
            call();
        } catch (...) {
            shared->exception = std::current_exception();
        }
        offload_returned();
        shared->end(turn);
    };
}

template <class Handler, class R>
void AsyncOperation<Handler, R>::post() noexcept
{
    WithoutCancellation const whole;  // Asio writes to a descriptor where it wakes a thread
    boost::asio::post(executor_, [self = Ref<AsyncOperation>(this)]() mutable {
        auto* const op = self.operator->();
        op->run(std::move(self));
    });
}

template <class Handler, class R>
void AsyncOperation<Handler, R>::end_alarm() noexcept
{
    disarm();
    // Ringing takes the operation's mutex alone, which nobody holds here, and asks for a step. So the wait is
    // short, and only those have it whose alarm has rung.
    if (alarm_rang_)
        runtime_.cancel(*this);
}

template <class Handler, class R>
void AsyncOperation<Handler, R>::run(Ref<AsyncOperation> self)
{
    if (!take_step())
        return;
    if (in_slot())
        boost::asio::get_associated_cancellation_slot(handler_).clear();
    complete(std::move(self));
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
