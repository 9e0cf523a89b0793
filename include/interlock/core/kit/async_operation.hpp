// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_ASYNC_OPERATION_HPP
#define INTERLOCK_CORE_KIT_ASYNC_OPERATION_HPP

/// @file
/// What every asynchronous operation of this library has in common: it runs in steps on its handler's
/// executor, is woken by queues, alarms and cancellation, completes exactly once, and is destroyed, not
/// completed, when its execution context goes away. An operation derives from `AsyncOperation` and says
/// what one step is:
///
///     template <class Handler>
///     class Look final : public AsyncOperation<Handler, SystemRuntime> {
///         bool step() override { return queue_.has_come(*this); }  // false: again when woken
///         ...
///     };
///     start_operation<Look<Handler>>(std::move(handler), queue);   // allocates with the handler's allocator
///
/// **Why steps.** A queue, an alarm and a cancellation may all have something to say at the same moment, from
/// different threads. None of them does the work: each of them only asks for a step, and a step looks at
/// everything. Steps of one operation never overlap, so that what they touch needs no mutex.
///
/// **Order of mutexes.** A store's or service's, then the operation's, then its context's list.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/ref.hpp>
#include <interlock/core/kit/stepped_operation.hpp>
#include <interlock/core/kit/store_executor.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/thread.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <system_error>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The base of an operation that completes `Handler`, on the executor that is associated with it. `R` is the
/// runtime by whose clock the operation waits.
///
/// **Completion.** Exactly once, by `complete`, never from within the call that started the operation.
/// When the execution context goes away first, the operation is abandoned: `leave` is called, a call on
/// another thread is waited for, and the handler is destroyed without being called.
/// **Lifetime.** The operation counts its references: one of its own until it has completed, one for each
/// step that is queued, one for an alarm that is armed. The last one calls `destroy`. No alarm holds one any
/// more when the operation completes or is abandoned: an alarm that rings then is waited for, since its
/// thread would otherwise destroy the handler, and give up the work of the executor, behind the end of their
/// context.
/// **Thread safety.** `wake`, `ring`, `schedule` and the references may be used from any thread.
/// Everything else belongs to the operation's own steps.
template <class Handler, class R>
class AsyncOperation : public SteppedOperation {
public:
    /// The handler's, with outstanding work.
    using executor_type = std::decay_t<decltype(boost::asio::prefer(
        std::declval<boost::asio::associated_executor_t<
            Handler, std::decay_t<decltype(std::declval<R const&>().executor())>>>(),
        boost::asio::execution::outstanding_work.tracked))>;

protected:
    /// A stop that is requested through `stop` is a cancellation.
    AsyncOperation(Handler handler, R runtime, std::stop_token stop = {})
        : SteppedOperation(std::move(stop)), handler_(std::move(handler)),
          allocator_(boost::asio::get_associated_allocator(handler_)), runtime_(std::move(runtime)),
          executor_(boost::asio::prefer(
              boost::asio::get_associated_executor(handler_, runtime_.executor()),
              boost::asio::execution::outstanding_work.tracked))
    {}
    ~AsyncOperation() = default;

    void join() override;

    /// Calls the handler. `self` is the last reference: let it go first, so that memory is free before the
    /// handler runs.
    virtual void complete(Ref<AsyncOperation> self) = 0;
    R const& runtime() const noexcept { return runtime_; }
    executor_type const& executor() const noexcept { return executor_; }
    Handler& handler() noexcept { return handler_; }
    auto const& allocator() const noexcept { return allocator_; }

    /// Asks for a step at `at`, unless `at` is never. An alarm that was set before is taken back: there is
    /// one alarm at a time.
    void wake_at(TimePoint at);

    /// Takes the alarm back, unless it rings or has rung. It may still be ringing when this returns.
    void disarm() noexcept
    {
        if (!std::exchange(alarm_armed_, false))
            return;
        if (runtime_.disarm(*this))
            drop_reference();
        else
            alarm_rang_ = true;  // and drops its reference itself
    }

    /// Runs `call` on a thread of `executor`, which may be blocked, and then takes the next step, in which
    /// `offload_done` is true. One call at a time. Steps go on meanwhile, so that the deadline and a
    /// cancellation are seen while the call waits for its thread; `take_back` then keeps it from being
    /// made.
    template <class F, class Executor>
    void offload(F call, Executor const& executor)
    {
        WithoutCancellation const whole;
        boost::asio::post(executor, offloaded(std::move(call)));
    }
    /// The same on a thread that waits for no other call's thread.
    template <class F>
    void offload_alone(F call)
    {
        CallThreads::unbounded()->run(offloaded(std::move(call)));
    }

private:
    /// `call` as the thread makes it. The thread holds `Offload` and no reference to the operation, since an
    /// operation must not outlive its context, of which the thread knows nothing.
    template <class F>
    auto offloaded(F call);

    boost::asio::execution_context& context()
    {
        return boost::asio::query(executor_, boost::asio::execution::context);
    }

    void post() noexcept override;
    void end_alarm() noexcept override;

    /// What the executor calls: takes a step, and completes the operation when it was the last one.
    void run(Ref<AsyncOperation> self);

    bool alarm_armed_{false};  // of the steps alone, as `alarm_rang_` and `alarm_at_`; here it takes no room
    bool alarm_rang_{false};   // an alarm could not be taken back, and may be ringing even now
    Handler handler_;
    // Outlives the handler, which is moved out to be called.
    boost::asio::associated_allocator_t<Handler> allocator_;
    R runtime_;
    executor_type executor_;
    TimePoint alarm_at_{};
};

/// Allocates an operation with its handler's allocator and starts it. Throws what the allocator or the
/// operation's constructor throws; the handler is then destroyed and not called.
template <class Op, class Handler, class... A>
void start_operation(Handler handler, A&&... arguments);

/// The other end of `start_operation`: what `destroy` of an operation calls.
template <class Op, class A>
void destroy_operation(Op* op, A handler_allocator) noexcept;

/// Where a call is made that needs no thread for it.
struct CallHere {};
/// That of a call that may wait for what only other such calls end, so that no bound on their number is safe.
struct CallAlone {};

/// Completes `handler` with `call()`, or as `F::complete(handler, call())` does. `Where`: `CallHere`,
/// `CallAlone`, or the executor on whose threads the call may block; one that has no thread for it until
/// `until` is not made, and ends as `deadline_exceeded`.
template <class R, class Where, class Handler, class F>
void async_call(Where where, TimePoint until, R const& runtime, Handler handler, F call);

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#include <interlock/core/kit/impl/async_operation.ipp>

#endif  // INTERLOCK_CORE_KIT_ASYNC_OPERATION_HPP
