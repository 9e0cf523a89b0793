// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_ASYNC_OPERATION_HPP
#define INTERLOCK_CORE_KIT_ASYNC_OPERATION_HPP

// What every asynchronous operation of this library has in common: it runs in steps on its handler's
// executor, is woken by queues, alarms and cancellation, completes exactly once, and is destroyed, not
// completed, when its execution context goes away.
//
// Order of mutexes: a store's or service's, then the operation's, then its context's list.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/ref.hpp>
#include <interlock/core/kit/store_executor.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/thread.hpp>

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
#include <boost/intrusive/list.hpp>
#include <boost/intrusive/list_hook.hpp>

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

/// The operations pending on one execution context. When it is destroyed they are, too (Asio's rule): their
/// handlers are destroyed and never called.
class PendingOperations final : public boost::asio::execution_context::service {
public:
    class Member : public boost::intrusive::list_base_hook<
                       boost::intrusive::link_mode<boost::intrusive::normal_link>> {
    public:
        /// The context goes away.
        virtual void abandon() noexcept = 0;

    protected:
        ~Member() = default;
    };

    using Members = boost::intrusive::list<Member, boost::intrusive::constant_time_size<false>>;
    struct List {
        std::mutex mutex;
        std::atomic<bool> gone{false};  // changed under the mutex
        Members members;
    };

    using key_type = PendingOperations;
    inline static boost::asio::execution_context::id id;

    explicit PendingOperations(boost::asio::execution_context& context) : service(context) {}

    /// That of `context`. Every operation asks, so each thread remembers what it asked for last; a context
    /// that has the address of one before it is another one: the list of that one is gone.
    static std::shared_ptr<List> list_of(boost::asio::execution_context& context)
    {
        thread_local Last last;
        if (Last::ended)  // the thread is on its way out
            return boost::asio::use_service<PendingOperations>(context).list_;
        if (last.context != &context || last.list->gone) {
            last.list = boost::asio::use_service<PendingOperations>(context).list_;
            last.context = &context;
        }
        return last.list;
    }

private:
    struct Last {
        Last() = default;
        Last(Last const&) = delete;
        Last& operator=(Last const&) = delete;
        ~Last() { ended = true; }
        boost::asio::execution_context const* context{nullptr};
        std::shared_ptr<List> list;
        static inline constinit thread_local bool ended = false;
    };

    void shutdown() noexcept override
    {
        Members members;
        {
            std::lock_guard lock(list_->mutex);
            list_->gone = true;
            members.swap(list_->members);
        }
        while (!members.empty()) {
            auto& member = members.front();
            members.pop_front();
            member.abandon();
        }
    }

    std::shared_ptr<List> list_{std::make_shared<List>()};
};

template <class Handler, class R>
class AsyncOperation : public Waiter, public Alarm, private PendingOperations::Member {
public:
    /// The handler's, with outstanding work.
    using executor_type = std::decay_t<decltype(boost::asio::prefer(
        std::declval<boost::asio::associated_executor_t<
            Handler, std::decay_t<decltype(std::declval<R const&>().executor())>>>(),
        boost::asio::execution::outstanding_work.tracked))>;

    void wake() noexcept override
    {
        woken_.store(true, std::memory_order_release);
        schedule();
    }
    void ring() noexcept override
    {
        schedule();
        drop_reference();  // the alarm's
    }

    void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void drop_reference() noexcept
    {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            destroy();
    }

    /// Joins the context's list and takes the first step, from the executor.
    void start()
    {
        running_ = true;  // whatever wakes it while it joins is answered by the first step
        join();
        std::lock_guard lock(mutex_);
        running_ = again_ = false;
        queued_ = true;
        post();
    }

    /// As `start`, but the first step is taken at once, on the calling thread: for those that run nothing of
    /// the user's.
    void start_here()
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

protected:
    /// A stop that is requested through `stop` is a cancellation.
    AsyncOperation(Handler handler, R runtime, std::stop_token stop = {})
        : handler_(std::move(handler)), allocator_(boost::asio::get_associated_allocator(handler_)),
          runtime_(std::move(runtime)),
          executor_(boost::asio::prefer(
              boost::asio::get_associated_executor(handler_, runtime_.executor()),
              boost::asio::execution::outstanding_work.tracked)),
          stop_(stop.stop_possible() ? std::make_unique<Stop>(std::move(stop)) : nullptr)
    {}
    AsyncOperation(AsyncOperation const&) = delete;
    AsyncOperation& operator=(AsyncOperation const&) = delete;
    ~AsyncOperation() = default;

    /// Joins the context's list; from here on it may be woken, cancelled and abandoned.
    void join()
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

    /// Goes as far as it can. True: finished; `complete` is next. Runs on the executor, one at a time.
    virtual bool step() = 0;
    /// A step threw `exception`: it will be the last one, and `complete` is to report it.
    virtual void failed(std::exception_ptr exception) noexcept = 0;
    /// Calls the handler. `self` is the last reference: let it go first, so that memory is free before the
    /// handler runs.
    virtual void complete(Ref<AsyncOperation> self) = 0;
    /// Leaves all queues.
    virtual void leave() noexcept = 0;
    virtual void destroy() noexcept = 0;

    /// Whether a queue woke this since the last time it was asked. Not the same as a step: one step may stand
    /// for several causes, and a call on the pool overlaps with what it waits for.
    bool take_wake() noexcept { return woken_.exchange(false, std::memory_order_acquire); }
    bool cancel_requested() const noexcept { return cancel_requested_.load(std::memory_order_relaxed); }
    R const& runtime() const noexcept { return runtime_; }
    executor_type const& executor() const noexcept { return executor_; }
    Handler& handler() noexcept { return handler_; }
    auto const& allocator() const noexcept { return allocator_; }

    /// Wakes this operation at `at`, unless `at` is never.
    void wake_at(TimePoint at)
    {
        if (at == TimePoint::max() || (alarm_armed_ && alarm_at_ == at && runtime_.now() < at))
            return;
        disarm();
        add_reference();
        alarm_armed_ = true;
        alarm_at_ = at;
        runtime_.arm(*this, at);
    }

    /// Takes the alarm back.
    void disarm() noexcept
    {
        // Not taken back: it is ringing, and drops its reference itself.
        if (std::exchange(alarm_armed_, false) && runtime_.disarm(*this))
            drop_reference();
    }

    /// Runs `call` on a thread of `executor`, which may be blocked, and then takes the next step;
    /// `offload_done` says so.
    template <class F, class Executor>
    void offload(F call, Executor const& executor)
    {
        boost::asio::post(executor, offloaded(std::move(call)));
    }
    /// The same on a thread that waits for no other call's thread.
    template <class F>
    void offload_alone(F call)
    {
        CallThreads::unbounded()->run(offloaded(std::move(call)));
    }
    /// Throws what the call threw.
    bool offload_done() const
    {
        if (!offload_done_.load(std::memory_order_acquire))
            return false;
        if (offload_->exception)
            std::rethrow_exception(offload_->exception);
        return true;
    }
    /// Whether a call that waits for its thread is not made any more. False: it has begun.
    bool take_back() noexcept
    {
        std::lock_guard lock(offload_->mutex);
        if (offload_->running == offload_->turn || offload_done_.load(std::memory_order_relaxed))
            return false;
        ++offload_->turn;
        return true;
    }

    void schedule() noexcept
    {
        std::lock_guard lock(mutex_);
        schedule_locked();
    }

private:
    struct Cancel {
        void operator()() const noexcept { operation->request_cancellation(); }
        AsyncOperation* operation;
    };
    /// The stop token of the call, where it has one.
    struct Stop {
        explicit Stop(std::stop_token t) noexcept : token(std::move(t)) {}
        std::stop_token token;
        std::optional<std::stop_callback<Cancel>> callback;
    };

    void request_cancellation() noexcept
    {
        cancel_requested_.store(true, std::memory_order_relaxed);
        schedule();
    }

    /// What a thread for blocking calls knows of an operation.
    struct Offload {
        std::mutex mutex;
        std::condition_variable returned;
        std::uint64_t turn{0};  // of the call that is to be made
        std::exception_ptr exception;
        // Of the call that is being made; 0: none. The thread of one that is done may say so only when the
        // next one runs already, so that a mere flag would then say of that one that it does not.
        std::uint64_t running{0};
        bool gone{false};
    };

    template <class F>
    auto offloaded(F call)
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

    std::uint64_t turn_of_next_call() noexcept
    {
        std::lock_guard lock(offload_->mutex);
        return ++offload_->turn;
    }

    void schedule_locked() noexcept
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

    boost::asio::execution_context& context()
    {
        return boost::asio::query(executor_, boost::asio::execution::context);
    }

    void post() noexcept
    {
        // This one's mutex is held, which `abandon` waits for: the context does not go away meanwhile.
        if (!list_->gone)
            boost::asio::post(executor_, [self = Ref<AsyncOperation>(this)]() mutable {
                auto* const op = self.operator->();
                op->run(std::move(self));
            });
    }

    /// Nothing but what a handler throws leaves by the executor: what a step throws ends the operation.
    bool guarded_step() noexcept
    {
        try {
            return step();
        } catch (...) {
            failed(std::current_exception());
            return true;
        }
    }

    void run(Ref<AsyncOperation> self)
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

    void abandon() noexcept override
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

    Handler handler_;
    // Outlives the handler, which is moved out to be called.
    boost::asio::associated_allocator_t<Handler> allocator_;
    R runtime_;
    executor_type executor_;
    std::shared_ptr<PendingOperations::List> list_;
    std::unique_ptr<Stop> stop_;  // null: nobody can stop the call by a token
    std::mutex mutex_;
    std::shared_ptr<Offload> offload_;
    std::atomic<bool> offload_done_{false};
    std::atomic<int> references_{1};
    std::atomic<bool> cancel_requested_{false};
    std::atomic<bool> woken_{false};
    bool queued_{false};
    bool running_{false};
    bool again_{false};
    bool stepped_{false};  // to its end, before it was on the executor
    bool finished_{false};
    bool alarm_armed_{false};
    TimePoint alarm_at_{};
};

/// Allocates an operation with its handler's allocator and starts it.
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

/// The other end of `start_operation`.
template <class Op, class A>
void destroy_operation(Op* op, A handler_allocator) noexcept
{
    using Allocator = typename std::allocator_traits<A>::template rebind_alloc<Op>;
    Allocator allocator(handler_allocator);
    op->~Op();
    std::allocator_traits<Allocator>::deallocate(allocator, op, 1);
}

/// Where a call is made that needs no thread for it.
struct CallHere {};
/// That of a call that may wait for what only other such calls end, so that no bound on their number is safe.
struct CallAlone {};

/// Completes `handler` with `call()`, or as `F::complete(handler, call())` does. `Where`: `CallHere`,
/// `CallAlone`, or the executor on whose threads the call may block; one that has no thread for it until
/// `until` is not made, and ends as `deadline_exceeded`.
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

#endif  // INTERLOCK_CORE_KIT_ASYNC_OPERATION_HPP
