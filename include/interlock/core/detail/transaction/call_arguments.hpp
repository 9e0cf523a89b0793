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
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
    requires(N != std::dynamic_extent)
struct CallTarget<T, N, false> {
    static constexpr bool has_states = false;
    std::array<Key, N> keys;
    static std::span<std::optional<T> const, N> named()
    {
        static auto const& none = immortal<std::array<std::optional<T>, N>>();
        return none;
    }
};

/// The keys of a range, of which at least one is there: an empty range gets a key that is not valid. At most
/// one more than a range may have is kept.
class RangeKeys {
public:
    bool add_next() const noexcept { return keys_.size() <= max_keys_of_a_range; }
    void add(Key key) { keys_.push_back(std::move(key)); }
    /// When all are added.
    void close()
    {
        none_ = keys_.empty();
        if (none_)
            keys_.emplace_back();
    }
    bool none() const noexcept { return none_; }
    std::size_t size() const noexcept { return keys_.size(); }
    Key const& operator[](std::size_t i) const noexcept { return keys_[i]; }
    operator std::span<Key const>() const noexcept { return keys_; }  // NOLINT

private:
    std::vector<Key> keys_;
    bool none_{false};
};

/// The keys of a call.
template <std::size_t N>
struct call_keys {
    using type = std::array<Key, N>;
};
template <>
struct call_keys<std::dynamic_extent> {
    using type = RangeKeys;
};
template <std::size_t N>
using call_keys_t = typename call_keys<N>::type;

/// The states that a range names; where it names keys, there are as many without a value.
template <class T, bool Named>
struct CallTarget<T, std::dynamic_extent, Named> {
    static constexpr bool has_states = Named;
    RangeKeys keys;
    std::vector<std::optional<T>> states;
    std::span<std::optional<T> const> named() const noexcept { return states; }
};

/// Who hears of the calls of a service, and what is the same in all of them.
struct Listener {
    Observer* observer;
    std::string_view policy;
    std::string_view kind;  // of the store; these three make its `StoreInfo`
    std::string place;
    std::string_view system;
};

/// What else a call is told when it begins. The call refers to what the pointers name, which must live as
/// long as the call does.
struct CallTerms {
    OperationId const* id;
    IdempotentRequest const* request;
    Deadline deadline;
    TransactionContext const* outer;  // of the operation that makes this call
    Listener const* listener;         // null: nobody
    TimePoint now;                    // when the call was made
    std::uint64_t generation;         // of the process that made the service: another one after a fork
    bool stopped;                     // a stop was requested before the call was made
    Cause const* cause;               // what the call's options say of it
    char const* name;                 // likewise, for the listener
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
