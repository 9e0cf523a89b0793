// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_SERVICE_CORE_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_SERVICE_CORE_HPP

/// @file
/// What a `TransactionService` keeps, and how a call is made of the arguments that its user passes.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/detail/combining/combining.hpp>
#include <interlock/core/detail/transaction/blocking_call.hpp>
#include <interlock/core/detail/transaction/call_arguments.hpp>
#include <interlock/core/detail/transaction/named_keys.hpp>
#include <interlock/core/detail/transaction/transaction_operation.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/safe_argument.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/transaction_context.hpp>

#include <boost/asio/async_result.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <variant>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Whether every call under a policy needs an `IdempotentRequest`.
template <class Policy>
inline constexpr bool is_idempotent = requires { requires Policy::idempotent; };
/// Whether a call may have one. A policy that is chosen at run time says so without being idempotent.
template <class Policy>
inline constexpr bool takes_requests = is_idempotent<Policy> || requires { requires Policy::takes_requests; };

template <class Policy, class Repository>
using session_of = typename service_session<typename Policy::template Session<Repository>, Repository>::type;

/// The session of requests, where a policy keeps another one for them, or the session itself.
template <class Session>
struct session_of_requests {
    using type = Session;
};
template <class Session>
    requires requires { typename Session::requests_type; }
struct session_of_requests<Session> {
    using type = typename Session::requests_type;
};

/// The completion signature of an asynchronous call.
template <class R, bool Try, bool Idempotent>
struct completion {
    using result =
        std::conditional_t<Idempotent, Answer<std::conditional_t<std::is_void_v<R>, std::monostate, R>>, R>;
    using type = void(std::exception_ptr, std::conditional_t<std::is_void_v<result>, std::monostate, result>);
};
template <bool Idempotent>
struct completion<void, false, Idempotent> {
    using type = void(std::exception_ptr);
};
template <class R, bool Idempotent>
struct completion<R, true, Idempotent> {
    using result =
        std::conditional_t<Idempotent, Answer<std::conditional_t<std::is_void_v<R>, std::monostate, R>>, R>;
    using type = void(std::exception_ptr, Outcome<result>);
};

/// A shared handle, like the service.
template <class T, class Policy, class Repository>
class ServiceCore {
    using K = typename Repository::key_type;

public:
    using Session = session_of<Policy, Repository>;
    using Requests = typename session_of_requests<Session>::type;

    /// `where`: a repository, or a `LockStateService`.
    template <class Where>
    ServiceCore(
        Policy policy, Where where, Observer* observer, int combine, std::chrono::nanoseconds patience)
        : ServiceCore(make_kept(std::move(policy), std::move(where), observer, combine, patience))
    {}

    Session const& session() const noexcept { return *session_; }
    Requests const& requests() const noexcept
    {
        if constexpr (std::same_as<Requests, Session>)
            return *session_;
        else
            return session_->requests();
    }

    /// Of a call that is made now. The driver adds what its options say.
    CallTerms terms(OperationId const* id = nullptr, IdempotentRequest const* request = nullptr) const
    {
        return {id, request, {}, nullptr, listener_, {}, generation_, false, nullptr, nullptr};
    }

    /// The states that the first argument of a call names.
    template <class A>
    auto target(A const& key) const
    {
        if constexpr (requires { this->session().repository().call_target(key); })
            return session().repository().call_target(key);
        else
            return named_target<T, K>(key);
    }

    /// `once` in the form in which a call keeps it.
    template <class O>
    auto kept(O once) const
    {
        if constexpr (std::same_as<O, OperationId>) {
            return OnceArguments<Once::operation_id>{std::move(once)};
        } else {
            auto id = requests().operation_id(once);
            return OnceArguments<Once::idempotent>{std::move(id), std::move(once)};
        }
    }

    /// Starts an asynchronous call.
    template <bool Try, std::size_t N, Once Mode, class A, class F, class CompletionToken>
    auto initiate(
        OnceArguments<Mode> once, A&& key, F&& operation, CallOptions const& options,
        CompletionToken& token) const
    {
        static_assert(
            safe_operation<F>,
            "name it first: g++ 12 destroys a capturing lambda written inside a co_await expression twice. "
            "auto operation = [...](...) {...}; co_await service.async_do_in_transaction(key, operation, "
            "token);");
        static_assert(
            safe_argument<A>,
            "name it first: g++ 12 destroys an aggregate written inside a co_await expression twice. "
            "Pass a named state, or its key.");
        using Function = operation_on_t<A, T, std::decay_t<F>>;
        using Caller = std::conditional_t<Mode == Once::idempotent, Requests, Session>;
        using R = operation_result<Function, InAsyncCall<Caller>, N>;
        using Signature = typename completion<R, Try, Mode == Once::idempotent>::type;
        using Target = decltype(this->target(key));
        // Behind a pointer: Asio's use_awaitable keeps what it is given for as long as the call lasts.
        struct Start {
            std::shared_ptr<Caller const> session;
            Target where;
            Function function;
            OnceArguments<Mode> once;
            CallTerms terms;
            std::stop_token stop;  // of its own: that of the options refers to the caller's
        };
        auto terms = this->terms();
        terms.deadline = options.deadline;
        terms.outer = options.within.get();
        terms.cause = options.cause;
        terms.name = options.name;
        std::shared_ptr<Caller const> session;
        if constexpr (std::same_as<Caller, Session>)
            session = session_;
        else
            session = std::shared_ptr<Caller const>(session_, &requests());
        return boost::asio::async_initiate<CompletionToken, Signature>(
            [](auto handler, std::unique_ptr<Start> start) {
                using Handler = decltype(handler);
                start_operation<
                    TransactionOperation<Handler, Caller, N, Target::has_states, Function, Mode, Try>>(
                    std::move(handler), std::move(start->session), std::move(start->where),
                    std::move(start->function), std::move(start->once), start->terms, start->stop);
            },
            token,
            std::unique_ptr<Start>(new Start{
                std::move(session), target(key), std::forward<F>(operation), std::move(once), terms,
                options.stop.token()}));
    }

private:
    /// What events call the policy.
    static std::string_view policy_of(Session const& session) noexcept
    {
        if constexpr (requires { session.policy_name(); })
            return session.policy_name();
        else
            return Session::name;
    }

    /// What pending operations share with the service, and what they need for as long as they last.
    struct Kept {
        template <class... A>
        explicit Kept(Observer* observer, A&&... a) : session(std::forward<A>(a)...)
        {
            if (observer != nullptr)
                listener = {
                    observer, policy_of(session), interlock::kind_of(session.repository()),
                    place_of(session.repository()), system_of(session.repository())};
        }
        Session const session;
        Listener listener{};
    };

    explicit ServiceCore(std::shared_ptr<Kept const> kept)
        : session_(kept, &kept->session),
          listener_(kept->listener.observer != nullptr ? &kept->listener : nullptr),
          generation_(session_->repository().runtime().generation())
    {}

    template <class Where>
    static std::shared_ptr<Kept const> make_kept(
        Policy policy, Where where, Observer* observer, [[maybe_unused]] int combine,
        [[maybe_unused]] std::chrono::nanoseconds patience)
    {
        if constexpr (std::same_as<Session, typename Policy::template Session<Repository>>)
            return std::make_shared<Kept const>(observer, std::move(policy), std::move(where), observer);
        else
            return std::make_shared<Kept const>(
                observer, std::move(policy), std::move(where), observer, combine, patience);
    }

    std::shared_ptr<Session const> session_;  // shared with pending operations, which stay small
    Listener const* listener_;                // beside the session; null: nobody
    std::uint64_t generation_;                // of the process that made the service
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_SERVICE_CORE_HPP
