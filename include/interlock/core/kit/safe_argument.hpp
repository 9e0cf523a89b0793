// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_SAFE_ARGUMENT_HPP
#define INTERLOCK_CORE_KIT_SAFE_ARGUMENT_HPP

/// @file
/// For authors of asynchronous calls: which arguments a caller may write inside of a `co_await` expression.
///
///     template <class A, class Token>
///     auto async_insert(A&& state, Token&& token) const
///     {
///         static_assert(detail::safe_argument<A>, INTERLOCK_NAME_IT_FIRST);
///
/// A user of g++ 12 who writes `co_await store.async_insert(Stock{"sku-1", 2}, use_awaitable)` is told to
/// name the state first, instead of losing its text to a destructor that runs twice.

#include <type_traits>

namespace interlock {
inline namespace v0 {
namespace detail {

// g++ 12 destroys some temporaries of a co_await expression twice: closures and aggregates whose destructor
// does something. It handles named objects and classes with constructors correctly. So asynchronous calls
// refuse the former there; on other compilers everything is safe.
#if defined(__GNUC__) && __GNUC__ == 12 && !defined(__clang__)
template <class F>
inline constexpr bool safe_operation =
    std::is_lvalue_reference_v<F> || std::is_trivially_destructible_v<std::remove_cvref_t<F>>;
template <class A>
inline constexpr bool safe_argument =
    std::is_lvalue_reference_v<A> || std::is_trivially_destructible_v<std::remove_cvref_t<A>> ||
    !std::is_aggregate_v<std::remove_cvref_t<A>>;
#else
template <class F>
inline constexpr bool safe_operation = true;
template <class A>
inline constexpr bool safe_argument = true;
#endif

/// What a call that was given an unsafe temporary says at compile time.
#define INTERLOCK_NAME_IT_FIRST                                                                \
    "name it first: g++ 12 destroys an aggregate written inside a co_await expression twice. " \
    "Pass a named state, or its key."

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_SAFE_ARGUMENT_HPP
