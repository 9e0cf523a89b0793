// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_VERB_OPERATION_IPP
#define INTERLOCK_CORE_KIT_IMPL_VERB_OPERATION_IPP

#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/store_executor.hpp>
#include <interlock/core/kit/verb_operation.hpp>

#include <boost/asio/async_result.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

// Completes its handler with the outcome of a request.
template <class Handler, class R, class Request>
class VerbOperation final : public AsyncOperation<Handler, typename R::runtime_type> {
    using Base = AsyncOperation<Handler, typename R::runtime_type>;
    using Verb = decltype(std::declval<Request const&>().verb());
    using X = typename Verb::answer;

public:
    VerbOperation(Handler handler, R repository, std::unique_ptr<Request> request, Deadline deadline)
        : Base(std::move(handler), repository.runtime()), repository_(std::move(repository)),
          request_(std::move(request)), deadline_(deadline),
          until_(deadline.valid() ? deadline.at(this->runtime().now()) : TimePoint::max())
    {}

    void start() { this->start_here(); }

private:
    bool step() override
    {
        if constexpr (Starts<R, Verb>)
            if (call_)
                return look();
        if (offloaded_)
            return look_for_thread();
        if (this->cancel_requested())
            return end(Errc::cancelled);
        if (!deadline_.valid())
            return end(Failure{Errc::invalid_argument, "the deadline is not a number"});
        if (runs_in_place(repository_))
            return end(ask_store(repository_, *request_, Deadline{until_}));
        if constexpr (Starts<R, Verb>)
            if (capabilities_of(repository_).starts_calls) {
                begun_ = true;
                call_ = repository_.start(request_->verb(), Deadline{until_}, *this);
                if (call_)
                    return look();
                begun_ = false;  // an erased store starts no calls
            }
        offloaded_ = true;
        this->wake_at(until_);  // waiting for a thread counts
        this->offload(
            [this] {
                begun_ = true;
                result_.emplace(ask_store(repository_, *request_, Deadline{until_}));
            },
            store_executor(this->runtime(), BlockingCalls::ending, repository_));
        return false;
    }

    bool look()
    {
        if (auto outcome = call_->poll()) {
            call_.reset();
            return end(*std::move(outcome));
        }
        if (!Verb::reads || !this->cancel_requested())
            return false;
        call_.reset();
        return end(Errc::cancelled);
    }

    bool look_for_thread()
    {
        if (this->offload_done())
            return name_store();
        bool const late = this->runtime().now() >= until_;
        if (!(late || this->cancel_requested()) || !this->take_back())
            return false;
        return end(late ? Errc::deadline_exceeded : Errc::cancelled);
    }

    template <class Result>
    bool end(Result&& result)
    {
        result_.emplace(std::forward<Result>(result));
        return name_store();
    }

    /// As the blocking members do: a failure without words of its own says which store it came from.
    bool name_store()
    {
        if (!*result_)
            explain(*result_, repository_);
        return true;
    }

    void failed(std::exception_ptr) noexcept override  // no memory
    {
        call_.reset();
        if (Verb::reads || !begun_)
            result_.emplace(Errc::overloaded);
        else
            result_.emplace(Failure::unknown(Errc::overloaded));
    }

    void complete(Ref<Base> self) override
    {
        auto handler = std::move(this->handler());
        auto result = *std::move(result_);
        {
            Ref<Base> const last = std::move(self);
        }
        std::move(handler)(std::move(result));
    }

    void leave() noexcept override { call_.reset(); }
    void destroy() noexcept override { destroy_operation(this, this->allocator()); }

    R repository_;
    std::unique_ptr<Request> request_;
    Deadline deadline_;
    TimePoint until_;        // `deadline_`, counted from the call
    StartedCall<X> call_;    // under way, where the store starts calls
    bool offloaded_{false};  // given to a thread of the pool
    bool begun_{false};      // the store may have been asked
    std::optional<Outcome<X>> result_;
};

template <class R, class Request, class Token>
auto async_carry_out(R const& repository, Request request, Deadline deadline, Token& token)
{
    using X = typename decltype(request.verb())::answer;
    // Behind a pointer: Asio's use_awaitable keeps what it is given for as long as the call lasts.
    return boost::asio::async_initiate<Token, void(Outcome<X>)>(
        [](auto handler, R where, std::unique_ptr<Request> what, Deadline until) {
            start_operation<VerbOperation<decltype(handler), R, Request>>(
                std::move(handler), std::move(where), std::move(what), until);
        },
        token, repository, std::make_unique<Request>(std::move(request)), deadline);
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_VERB_OPERATION_IPP
