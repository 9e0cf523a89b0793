// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_OPERATION_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_OPERATION_HPP

/// @file
/// The driver of an asynchronous call of do_in_transaction: the call goes on in steps on an executor.

#include <interlock/core/detail/transaction/call_arguments.hpp>
#include <interlock/core/detail/transaction/transaction_call.hpp>
#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/kit/store_executor.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Keeps the arguments of its call, whose operation may run long after the caller has gone on. `Try`: an
/// `Outcome` for everything but what the operation throws.
template <class Handler, class Session, std::size_t N, bool Named, class F, Once Mode, bool Try>
class TransactionOperation final
    : public AsyncOperation<Handler, typename Session::repository_type::runtime_type> {
    using Base = AsyncOperation<Handler, typename Session::repository_type::runtime_type>;
    using Call = TransactionCall<InAsyncCall<Session>, N, F, Mode>;
    using R = typename Call::result_type;

public:
    TransactionOperation(
        Handler handler, std::shared_ptr<Session const> session,
        CallTarget<typename Session::value_type, N, Named> target, F operation, OnceArguments<Mode> once,
        CallTerms const& terms, std::stop_token const& stop)
        : Base(std::move(handler), session->repository().runtime(), stop), session_(std::move(session)),
          target_(std::move(target)), operation_(std::move(operation)), once_(std::move(once)),
          told_(terms.listener != nullptr ? std::make_unique<CallCore::Told>() : nullptr),
          call_(*session_, target_.keys, target_.named(), operation_, here(terms, stop))
    {}

private:
    /// `terms`, for the arguments that are kept here, as of now.
    CallTerms here(CallTerms terms, std::stop_token const& stop) const
    {
        terms.id = once_.id();
        terms.request = once_.request();
        terms.stopped = stop.stop_requested();
        terms.now = this->runtime().now();
        return terms;
    }

    bool step() override
    {
        if (!std::exchange(started_, true)) {
            if (this->cancel_requested())
                call_.cancel_before_start();
            action_ = call_.start(told_.get());
        }
        ObservedScope const observed{call_.observed()};
        if (this->cancel_requested())
            call_.machine().cancel();
        for (;;) {
            switch (action_) {
            case Action::finish: return true;
            case Action::sleep:
                if (this->runtime().now() < call_.machine().wake_at() &&
                    !(this->cancel_requested() && call_.machine().may_wake_early())) {
                    this->wake_at(call_.machine().wake_at());
                    return false;
                }
                break;
            case Action::run:
                if constexpr (Call::awaits) {
                    if (!await_operation())
                        return false;
                } else {
                    call_.run();
                    if (this->cancel_requested())  // meanwhile
                        call_.machine().cancel();
                }
                break;
            default:
                switch (perform()) {
                case Performed::yes: break;
                case Performed::pending: return false;
                case Performed::expired: continue;
                }
            }
            action_ = call_.feed(action_);
        }
    }

    bool in_place() const noexcept
    {
        if constexpr (requires { session_->in_place(); })
            return session_->in_place();
        else
            return runs_in_place(session_->repository());
    }

    enum class Performed : unsigned char { yes, pending, expired };

    Performed perform()
    {
        bool ready = false;
        if (offloading_) {
            if (!this->offload_done())
                return waits_for_thread();
            offloading_ = false;
            ready = offload_ready_;
            if (!ready && this->take_wake()) {  // perhaps by what the call found in use
                polled_ = true;
                return perform();
            }
        } else {
            if (polled_ && action_ == Action::begin) {  // what was sent is waited for
                bool const late = this->runtime().now() >= call_.deadline();
                if (late || this->cancel_requested()) {
                    polled_ = false;
                    action_ =
                        call_.expire(this->cancel_requested() ? Errc::cancelled : Errc::deadline_exceeded);
                    return Performed::expired;
                }
            }
            if (in_place()) {
                blockable_ = false;
                ready = call_.perform(action_, *this);
            } else {
                offloading_ = blockable_ = true;
                this->take_wake();
                this->wake_at(call_.deadline());
                this->offload(
                    [this] {
                        ObservedScope const observed{call_.observed()};
                        offload_ready_ = call_.perform(action_, *this);
                    },
                    store_executor(
                        this->runtime(), kind_of_call(), session_->repository(), owner_of_threads()));
                return Performed::pending;
            }
        }
        polled_ = !ready;
        if (ready)
            return Performed::yes;
        if (action_ != Action::begin) {  // what has run is not given up
            this->wake_at(call_.wake_at());
            return Performed::pending;
        }
        if (this->cancel_requested())
            return perform();
        this->wake_at(std::min(call_.wake_at(), call_.deadline()));
        return Performed::pending;
    }

    /// The store; where a call asks two stores, the service, so that one that hangs takes no thread of the
    /// other's.
    void const* owner_of_threads() const noexcept
    {
        if constexpr (Mode == Once::idempotent && requires { requires Session::two_stores; })
            return session_.get();
        else
            return session_->repository().identity();
    }

    /// Others may wait for whatever ends a transaction that holds something, and for nothing else.
    BlockingCalls kind_of_call() const noexcept
    {
        bool const ends =
            action_ == Action::rollback ||
            (holds_in_begin(*session_) && (action_ == Action::commit || action_ == Action::verify));
        return ends ? BlockingCalls::ending : BlockingCalls::waiting;
    }

    /// A call of the store that has not begun waits for a thread no longer than this call may last. One that
    /// runs on a thread has a deadline of its own.
    ///
    /// A rollback and the policy's conclusion are made in any case, and what has begun is gone on with: a
    /// commit that others make for this one as well is asked what it came to, never taken for one that was
    /// not made. At the deadline that needs no thread any more, since after it nothing is sent, and so
    /// nothing blocks.
    Performed waits_for_thread()
    {
        bool const goes_on = action_ == Action::rollback || action_ == Action::conclude ||
                             (polled_ && action_ != Action::begin);
        bool const late = this->runtime().now() >= call_.deadline();
        bool const cancelled = this->cancel_requested() && action_ != Action::resolve && !goes_on;
        if (!(late || cancelled) || !this->take_back())
            return Performed::pending;
        offloading_ = false;
        if (goes_on) {
            blockable_ = false;
            polled_ = !call_.perform(action_, *this);
            if (!polled_)
                return Performed::yes;
            this->wake_at(call_.wake_at());
            return Performed::pending;
        }
        auto const code = late ? Errc::deadline_exceeded : Errc::cancelled;
        if (action_ == Action::begin) {
            action_ = call_.expire(code);
            return Performed::expired;
        }
        call_.not_made(action_, code);
        return Performed::yes;
    }

    bool may_block() const noexcept override { return blockable_; }

    /// Starts the user's coroutine, then waits for its end. Losing a lock, or being cancelled, cancels it;
    /// the call goes on only when it has ended.
    bool await_operation()
    {
        if (!std::exchange(run_.running, true)) {
            run_.done.store(false, std::memory_order_relaxed);
            run_.stopping = false;
            run_.now = std::make_shared<Run>();
            call_.listen(this);
            spawn();
        }
        if (run_.done.load(std::memory_order_acquire)) {
            run_.running = false;
            call_.listen(nullptr);
            return true;
        }
        if (!run_.stopping && (this->cancel_requested() || call_.lost())) {
            run_.stopping = true;
            stop_running();
        }
        return false;
    }

    void spawn()
    {
        using Executor = typename awaited<raw_result<F, InAsyncCall<Session>, N>>::executor_type;
        auto done = [self = Ref<Base>(this), this, run = run_.now](std::exception_ptr exception) {
            run->stage.store(Stage::ended, std::memory_order_release);
            if (exception)
                call_.set_exception(std::move(exception));
            run_.done.store(true, std::memory_order_release);
            this->schedule();
        };
        // A strand, so that the cancellation never runs beside the coroutine, whatever executor this is.
        run_.strand.emplace(boost::asio::make_strand(this->executor()));
        if constexpr (std::is_constructible_v<Executor, decltype(*run_.strand)>)
            boost::asio::co_spawn(
                Executor(*run_.strand), body<Executor>(this, run_.now),
                boost::asio::bind_cancellation_slot(run_.now->signal.slot(), std::move(done)));
        else
            boost::asio::co_spawn(
                Executor(this->executor()), body<Executor>(this, run_.now),
                boost::asio::bind_cancellation_slot(run_.now->signal.slot(), std::move(done)));
    }

    // A signal belongs to one run: co_spawn keeps a pointer into its slot, by which a cancellation that is
    // still on its way would reach the next run. A run that has not begun is refused instead of cancelled:
    // what co_spawn itself awaits before and after it would throw into the executor.
    enum class Stage : unsigned char { waiting, refused, begun, ended };
    struct Run {
        std::atomic<Stage> stage{Stage::waiting};
        boost::asio::cancellation_signal signal;
    };

    void stop_running()
    {
        WithoutCancellation const whole;
        boost::asio::post(*run_.strand, [self = Ref<Base>(this), strand = *run_.strand, run = run_.now] {
            auto waiting = Stage::waiting;
            if (run->stage.compare_exchange_strong(waiting, Stage::refused) || waiting != Stage::begun)
                return;
            run->signal.emit(boost::asio::cancellation_type::terminal);
            // On an executor that never runs in place co_spawn passes the emission on by a post, and looks at
            // the signal then: it stays until that has run.
            boost::asio::post(strand, [keep = run] {});
        });
    }

    template <class Executor>
    static boost::asio::awaitable<void, Executor> body(TransactionOperation* self, std::shared_ptr<Run> run)
    {
        auto waiting = Stage::waiting;
        if (!run->stage.compare_exchange_strong(waiting, Stage::begun))
            throw boost::system::system_error(boost::asio::error::operation_aborted);
        auto running = self->call_.awaitable();
        if constexpr (std::is_void_v<R>) {
            co_await std::move(running);
            self->call_.set_result({});
        } else {
            R result = co_await std::move(running);
            self->call_.set_result(std::move(result));
        }
    }

    void complete(Ref<Base> self) override
    {
        auto handler = std::move(this->handler());
        auto exception = failed_ ? std::exception_ptr{} : call_.exception();
        Outcome<R> outcome = failed_ ? Outcome<R>{Failure::unknown(Errc::overloaded, {})} : call_.outcome();
        {
            Ref<Base> const last = std::move(self);
        }
        if constexpr (Mode == Once::idempotent) {
            finish(std::move(handler), std::move(exception), answer_of(std::move(outcome)));
        } else {
            finish(std::move(handler), std::move(exception), std::move(outcome));
        }
    }

    template <class Result>
    static void finish(Handler handler, std::exception_ptr exception, Outcome<Result> outcome)
    {
        if constexpr (Try) {
            std::move(handler)(std::move(exception), std::move(outcome));
        } else {
            if (!exception && !outcome)
                exception = std::make_exception_ptr(outcome.failure().exception());
            if constexpr (std::is_void_v<Result>)
                std::move(handler)(std::move(exception));
            else
                std::move(handler)(std::move(exception), outcome ? *std::move(outcome) : Result{});
        }
    }

    /// The library itself ran out of memory. Nobody knows how far the call had come; what it holds goes with
    /// it.
    void failed(std::exception_ptr) noexcept override { failed_ = true; }

    void leave() noexcept override { call_.abandon(); }
    void destroy() noexcept override { destroy_operation(this, this->allocator()); }

    std::shared_ptr<Session const> session_;
    CallTarget<typename Session::value_type, N, Named> target_;
    F operation_;
    [[no_unique_address]] OnceArguments<Mode> once_;
    std::unique_ptr<CallCore::Told> told_;  // null: the call has no listener
    [[no_unique_address]] Call call_;       // what follows has room in its padding
    Action action_{Action::finish};
    bool started_{false};
    bool polled_{false};      // the action was begun and is not done: the store answers, or others go first
    bool offloading_{false};  // the action is with another thread
    bool offload_ready_{false};  // what `perform` said there
    bool failed_{false};
    bool blockable_{false};  // the thread that performs is one of the pool
    // Of a callable that awaits; the others have no use for it.
    struct Running {
        std::atomic<bool> done{false};
        bool running{false};
        bool stopping{false};
        std::optional<boost::asio::strand<typename Base::executor_type>> strand;
        std::shared_ptr<Run> now;
    };
    struct Nothing {};
    [[no_unique_address]] std::conditional_t<Call::awaits, Running, Nothing> run_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_OPERATION_HPP
