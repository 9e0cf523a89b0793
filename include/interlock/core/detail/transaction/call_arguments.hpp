// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_CALL_ARGUMENTS_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_CALL_ARGUMENTS_HPP

/// @file
/// What the service hands to a call of do_in_transaction: the states that the call names, what makes it
/// happen at most once, and its terms. The driver keeps all of it for as long as the call lasts.

#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/transaction_context.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What makes a call happen at most once.
enum class Once : unsigned char { no, operation_id, idempotent };

/// The argument that makes a call happen at most once, kept as long as the call. A call without one keeps
/// nothing.
template <Once Mode>
struct OnceArguments {
    static OperationId const* id() noexcept { return nullptr; }
    static IdempotentRequest const* request() noexcept { return nullptr; }
};
template <>
struct OnceArguments<Once::operation_id> {
    OperationId const* id() const noexcept { return &operation_id; }
    static IdempotentRequest const* request() noexcept { return nullptr; }
    OperationId operation_id;
};
template <>
struct OnceArguments<Once::idempotent> {
    OperationId const* id() const noexcept { return &operation_id; }
    IdempotentRequest const* request() const noexcept { return &idempotent_request; }
    OperationId operation_id;  // made of the request by the session
    IdempotentRequest idempotent_request;
};

/// The states that a call works on.
template <class T, std::size_t N, bool Named>
struct CallTarget {
    static constexpr bool has_states = true;
    std::array<Key, N> keys;
    std::array<std::optional<T>, N> states;  // given instead of keys
    std::span<std::optional<T> const, N> named() const noexcept { return states; }
};
/// Only keys were given.
template <class T, std::size_t N>
struct CallTarget<T, N, false> {
    static constexpr bool has_states = false;
    std::array<Key, N> keys;
    static std::span<std::optional<T> const, N> named()
    {
        static auto const& none = immortal<std::array<std::optional<T>, N>>();
        return none;
    }
};

/// What else a call is told when it begins. The call refers to what the pointers name, which must live as
/// long as the call does.
struct CallTerms {
    OperationId const* id;
    IdempotentRequest const* request;
    Deadline deadline;
    TransactionContext const* outer;  // of the operation that makes this call
    Observer* observer;
    TimePoint now;             // when the call was made
    std::uint64_t generation;  // of the process that made the service: another one after a fork
    bool stopped;              // a stop was requested before the call was made
    Cause const* cause;        // what the call's options say of it
};

/// The result of a request's call, which says whether it was stored before.
template <class R>
Outcome<Answer<typename Outcome<R>::stored_type>> answer_of(Outcome<R> outcome)
{
    using A = Answer<typename Outcome<R>::stored_type>;
    return outcome ? Outcome<A>{A{*std::move(outcome), outcome.replayed()}}
                   : Outcome<A>{std::move(outcome).failure()};
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_CALL_ARGUMENTS_HPP
