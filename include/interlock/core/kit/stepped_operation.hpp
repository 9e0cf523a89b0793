// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_STEPPED_OPERATION_HPP
#define INTERLOCK_CORE_KIT_STEPPED_OPERATION_HPP

/// @file
/// What `AsyncOperation` does that depends neither on its handler nor on its runtime: steps that never
/// overlap, wake-ups, cancellation, calls on other threads, and the end of the execution context. Derive
/// from `AsyncOperation`; this base exists so that it is compiled once and not for each handler.
///
///     operation.start();     // the first step, from the executor
///     operation.wake();      // from any thread: one more step
///     operation.schedule();  // likewise, without a reason that `take_wake` would tell

#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/kit/pending_operations.hpp>
#include <interlock/core/kit/ref.hpp>
#include <interlock/core/runtime/alarm.hpp>
#include <interlock/separate_compilation.hpp>

#include <boost/asio/cancellation_type.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// An operation that runs in steps. What is guaranteed stands at `AsyncOperation`.
class SteppedOperation : public Waiter, private PendingOperations::Member, public Alarm {
public:
    SteppedOperation(SteppedOperation const&) = delete;
    SteppedOperation& operator=(SteppedOperation const&) = delete;

    /// Something that the operation waits for may have come: asks for a step.
    void wake() noexcept override;
    /// The time has come for which `wake_at` asked: asks for a step.
    void ring() noexcept override;

    /// For `Ref`.
    void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void drop_reference() noexcept
    {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            destroy();
    }

    /// Joins the context's list and takes the first step, from the executor.
    void start();

    /// As `start`, but the first step is taken at once, on the calling thread: for those that run nothing of
    /// the user's.
    void start_here();

protected:
    /// What a thread for blocking calls knows of an operation.
    struct Offload {
        /// Whether the call with the number `turn` is to be made. From now on it runs.
        bool begin(std::uint64_t turn);
        /// It is over.
        void end(std::uint64_t turn);

        std::mutex mutex;
        std::condition_variable returned;  // the call that was running is over
        std::uint64_t turn{0};             // of the call that is to be made
        std::exception_ptr exception;      // what the call threw; null: nothing
        // Of the call that is being made; 0: none. The thread of one that is done may say so only when the
        // next one runs already, so that a mere flag would then say of that one that it does not.
        std::uint64_t running{0};
        bool gone{false};  // the operation is; a call that has not begun is dropped
    };

    /// What the handler's cancellation slot calls. It lies in the signal, which the end of a context may find
    /// gone, or may leave behind: whichever of the two goes first, signal or operation, tells the other one.
    class SlotListener {
    public:
        explicit SlotListener(SteppedOperation& operation) noexcept : operation_(&operation)
        {
            operation.slot_listener_ = this;
        }
        SlotListener(SlotListener const&) = delete;
        SlotListener& operator=(SlotListener const&) = delete;
        ~SlotListener()
        {
            if (operation_ != nullptr)
                operation_->slot_listener_ = nullptr;
        }
        void operator()(boost::asio::cancellation_type) const noexcept
        {
            if (operation_ != nullptr)
                operation_->request_cancellation();
        }
        /// The operation goes.
        void leave() noexcept { std::exchange(operation_, nullptr)->slot_listener_ = nullptr; }

    private:
        SteppedOperation* operation_;  // null: it is gone
    };

    explicit SteppedOperation(std::stop_token stop);
    ~SteppedOperation();

    /// Goes as far as it can. True: finished; `complete` is next. Runs on the executor, one at a time.
    virtual bool step() = 0;
    /// A step threw `exception`: it will be the last one, and `complete` is to report it.
    virtual void failed(std::exception_ptr exception) noexcept = 0;
    /// Leaves all queues. No queue may wake this any more once the call has returned.
    virtual void leave() noexcept = 0;
    /// Frees the operation, by `destroy_operation`.
    virtual void destroy() noexcept = 0;

    /// Enters the list of the execution context by `enter`, and listens to the handler's cancellation slot.
    virtual void join() = 0;
    /// Queues a call of `take_step` on the executor.
    virtual void post() noexcept = 0;
    /// Takes the alarm back, and waits for it where it rings.
    virtual void end_alarm() noexcept = 0;
    /// Whether the handler's cancellation slot still calls this operation.
    bool in_slot() const noexcept { return slot_listener_ != nullptr; }

    /// Joins `list`; from here on the operation may be woken, cancelled and abandoned.
    void enter(std::shared_ptr<PendingOperations::List> list);
    /// Takes a step on the executor. True: it was the last one, the operation has left everything, and its
    /// own reference is dropped.
    bool take_step();

    /// Whether a queue woke this since the last time it was asked. Not the same as a step: one step may stand
    /// for several causes, and a call on the pool overlaps with what it waits for.
    bool take_wake() noexcept { return woken_.exchange(false, std::memory_order_acquire); }
    /// Whether the handler's cancellation slot or the stop token has asked for the end. What that means is
    /// the operation's business: what was sent may still have to be waited for.
    bool cancel_requested() const noexcept { return cancel_requested_.load(std::memory_order_relaxed); }
    void request_cancellation() noexcept;

    /// For the next call on another thread, whose number is then `Offload::turn`.
    std::shared_ptr<Offload> next_offload();
    /// That call has returned: `offload_done` says so from now on, in the step that follows.
    void offload_returned() noexcept;
    /// Whether the call of `offload` has returned. Throws what the call threw.
    bool offload_done() const;
    /// Whether a call that waits for its thread is not made any more. False: it has begun.
    bool take_back() noexcept;

    /// Asks for a step. Does nothing while one is queued; while one runs, another one follows it.
    void schedule() noexcept;

private:
    /// What a stop token calls.
    struct Cancel {
        void operator()() const noexcept { operation->request_cancellation(); }
        SteppedOperation* operation;
    };
    /// The stop token of the call, where it has one.
    struct Stop {
        explicit Stop(std::stop_token t) noexcept : token(std::move(t)) {}
        std::stop_token token;
        std::optional<std::stop_callback<Cancel>> callback;
    };

    /// `schedule`, for a caller that holds the mutex.
    void schedule_locked() noexcept;
    /// `post`, unless the execution context goes away. The caller holds the mutex, for which `abandon`
    /// waits: the context does not go away meanwhile.
    void post_locked() noexcept;

    /// Nothing but what a handler throws leaves by the executor: what a step throws ends the operation.
    bool guarded_step() noexcept;

    /// The execution context goes away.
    void abandon() noexcept override;

    // The alarm is the last base and the flags come first, since they find room behind what the alarm holds:
    // there may be very many operations, and each that waits keeps its memory.
    std::atomic<bool> cancel_requested_{false};
    std::atomic<bool> woken_{false};  // since `take_wake` was last called
    // Under the mutex:
    bool queued_{false};    // a step waits for the executor
    bool running_{false};   // a step runs
    bool again_{false};     // it was asked for a step while one ran
    bool stepped_{false};   // to its end, before it was on the executor
    bool finished_{false};  // completed or abandoned: no step follows

    std::shared_ptr<PendingOperations::List> list_;  // of the execution context
    std::unique_ptr<Stop> stop_;                     // null: nobody can stop the call by a token
    SlotListener* slot_listener_{nullptr};           // null: no slot calls this operation
    std::mutex mutex_;
    std::shared_ptr<Offload> offload_;       // null until the first call on another thread
    std::atomic<int> references_{1};         // its own, until it has completed
    std::atomic<bool> offload_done_{false};  // the call on another thread has returned
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/impl/stepped_operation.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_STEPPED_OPERATION_HPP
