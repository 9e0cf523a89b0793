// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_LOCK_OPERATIONS_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_LOCK_OPERATIONS_HPP

// `async_acquire`, `async_try_acquire` and `async_release` of a `LockStateService`: a `Ticket`, or a
// `Releasing`, polled by an asynchronous operation.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/detail/locks/wrong_options.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/kit/lock_access.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/store_executor.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/transaction_context.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What is asked of `LockStateService::async_acquire` or `async_try_acquire`.
template <class Service>
struct AcquireRequest {
    Service service;
    Key key;
    typename Service::value_type state;
    Wait wait;
    Deadline deadline;
    int max_attempts;
    std::stop_token stop;
};

/// What a call that acquires completes with.
enum class AcquireForm : unsigned char {
    code,      ///< `void(error_code, lock)`: `async_acquire`
    optional,  ///< `void(error_code, std::optional<lock>)`: `async_try_acquire`
    outcome,   ///< `void(Outcome<lock>)`: `async_acquire_outcome`
};

/// `async_acquire` and its siblings. A step polls the ticket in place where that never
/// blocks. Otherwise a thread for calls that may wait polls it, and the operation looks again when that has
/// returned, or when the deadline or a cancellation comes first and the thread has not begun.
template <AcquireForm Form, class Service, class Handler>
class AcquireOperation final
    : public AsyncOperation<Handler, typename Service::repository_type::runtime_type> {
    using Base = AsyncOperation<Handler, typename Service::repository_type::runtime_type>;
    using Repository = typename Service::repository_type;

public:
    AcquireOperation(Handler handler, std::unique_ptr<AcquireRequest<Service>> request)
        : Base(std::move(handler), request->service.repository().runtime(), request->stop),
          request_(std::move(request)), deadline_(request_->deadline.end_of_call(this->runtime().now())),
          ticket_(
              LockAccess::table(request_->service), request_->key, tries_once() ? Wait::no : request_->wait,
              tries_once() ? 1 : request_->max_attempts)
    {}

    void start() { this->start_here(); }

private:
    bool step() override
    {
        if (offloaded_) {
            if (!this->offload_done()) {
                bool const late = this->runtime().now() >= deadline_;
                if (!(late || this->cancel_requested()) || !this->take_back())
                    return false;
                return late ? fail_late() : fail(Errc::cancelled);
            }
            offloaded_ = false;
            if (!answer_->done() && this->take_wake())  // perhaps by what the call found in use
                return step();
        } else {
            if (auto const* const wrong = wrong_option(request_->deadline, request_->max_attempts))
                return fail(Failure{Errc::invalid_argument, wrong});
            if (this->cancel_requested())
                return fail(Errc::cancelled);
            if (polled_ && this->runtime().now() >= deadline_)
                return fail_late();
            blockable_ = !LockAccess::in_place(request_->service);
            if (!blockable_) {
                poll();
            } else {
                offloaded_ = true;
                this->take_wake();
                this->wake_at(deadline_);  // waiting for a thread counts
                auto const& repository = request_->service.repository();
                this->offload(
                    [this] { poll(); }, store_executor(this->runtime(), BlockingCalls::waiting, repository));
                return false;
            }
        }
        if (!answer_->done()) {
            if (this->cancel_requested())
                return fail(Errc::cancelled);
            this->wake_at(std::min(answer_->wake_at(), deadline_));
            return false;
        }
        if (!answer_->outcome())
            return fail(std::move(answer_->outcome()).failure());
        hold_ = *std::move(answer_->outcome());
        return true;
    }

    void failed(std::exception_ptr) noexcept override { fail(Errc::overloaded); }
    bool tries_once() const noexcept { return request_->deadline.tries_once(); }

    void poll()
    {
        if (!polled_) {
            polled_ = true;
            if (auto failure = LockAccess::unfit(request_->service, request_->key, Deadline{deadline_})) {
                answer_.emplace(std::move(*failure));
                return;
            }
        }
        answer_.emplace(ticket_.poll(*this, deadline_));
    }

    bool may_block() const noexcept override { return blockable_; }

    bool fail(Failure failure) noexcept
    {
        ticket_.abandon();
        if constexpr (Form == AcquireForm::outcome)
            failure_ = std::move(failure);
        else
            failure_ = failure.errc();
        return true;
    }

    bool fail_late()
    {
        if constexpr (Form == AcquireForm::outcome)
            return fail(Failure::because(Errc::deadline_exceeded, ticket_.reason()));
        else
            return fail(Errc::deadline_exceeded);
    }

    void complete(Ref<Base> self) override
    {
        using Lock = typename Service::lock_type;
        auto handler = std::move(this->handler());
        if (hold_ && this->cancel_requested()) {  // on its way here
            hold_.reset();
            failure_ = Errc::cancelled;
        }
        if (hold_)
            hold_->take();
        auto failure = Failure{std::move(failure_)};
        if constexpr (Form == AcquireForm::outcome)
            if (!hold_)
                failure = explained(std::move(failure), request_->service.repository());
        Lock lock = hold_ ? Lock{std::move(request_->state), std::move(hold_)} : Lock{};
        {
            Ref<Base> const last = std::move(self);
        }
        auto const code = failure.errc();
        if constexpr (Form == AcquireForm::outcome) {
            std::move(handler)(lock ? Outcome<Lock>{std::move(lock)} : Outcome<Lock>{std::move(failure)});
        } else if constexpr (Form == AcquireForm::optional) {
            std::optional<Lock> maybe;
            if (lock)
                maybe.emplace(std::move(lock));
            std::move(handler)(
                code == Errc::ok || code == Errc::lock_busy ? error_code{} : make_error_code(code),
                std::move(maybe));
        } else {
            std::move(handler)(code == Errc::ok ? error_code{} : make_error_code(code), std::move(lock));
        }
    }

    void leave() noexcept override { ticket_.abandon(); }
    void destroy() noexcept override { destroy_operation(this, this->allocator()); }

    std::unique_ptr<AcquireRequest<Service>> request_;
    TimePoint deadline_;
    bool polled_{false};
    bool offloaded_{false};
    bool blockable_{false};  // the thread that polls is one of the pool
    // What it completes with.
    std::conditional_t<Form == AcquireForm::outcome, Failure, Errc> failure_{Errc::ok};
    std::optional<Step<std::shared_ptr<Hold>>> answer_;
    std::shared_ptr<Hold> hold_;
    LockAccess::Ticket<Service> ticket_;
};

/// `LockStateService::async_release` where it cannot be done in place.
template <class Service, class Handler>
class ReleaseOperation final
    : public AsyncOperation<Handler, typename Service::repository_type::runtime_type> {
    using Base = AsyncOperation<Handler, typename Service::repository_type::runtime_type>;

public:
    ReleaseOperation(Handler handler, Service const& service, std::shared_ptr<Hold> hold)
        : Base(std::move(handler), service.repository().runtime()),
          releasing_(LockAccess::table(service), std::move(hold))
    {}

    void start() { this->start_here(); }

private:
    bool step() override
    {
        auto step = releasing_.poll(*this);
        if (!step.done()) {
            this->wake_at(step.wake_at());
            return false;
        }
        code_ = step.outcome().errc();
        return true;
    }

    void failed(std::exception_ptr) noexcept override
    {
        releasing_.abandon();
        code_ = Errc::outcome_unknown;
    }

    void complete(Ref<Base> self) override
    {
        auto handler = std::move(this->handler());
        auto const code = code_;
        {
            Ref<Base> const last = std::move(self);
        }
        std::move(handler)(code == Errc::ok ? error_code{} : make_error_code(code));
    }

    bool may_block() const noexcept override { return false; }
    void leave() noexcept override { releasing_.abandon(); }
    void destroy() noexcept override { destroy_operation(this, this->allocator()); }

    LockAccess::Releasing<Service> releasing_;
    Errc code_{Errc::ok};
};

template <class Service, class Handler>
void start_release(Service const& service, Handler handler, std::shared_ptr<Hold> hold)
{
    if (runs_in_place(service.repository())) {
        auto release = [hold = std::move(hold)] {
            auto const outcome = hold ? hold->release_and_report() : success();
            return outcome ? error_code{} : make_error_code(outcome.errc());
        };
        return async_call(
            CallHere{}, TimePoint::max(), service.repository().runtime(), std::move(handler),
            std::move(release));
    }
    start_operation<ReleaseOperation<Service, Handler>>(std::move(handler), service, std::move(hold));
}

template <AcquireForm Form, class Service, class Handler>
void start_acquire(Handler handler, std::unique_ptr<AcquireRequest<Service>> request)
{
    start_operation<AcquireOperation<Form, Service, Handler>>(std::move(handler), std::move(request));
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_LOCK_OPERATIONS_HPP
