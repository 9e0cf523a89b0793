// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_NAMED_KEYS_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_NAMED_KEYS_HPP

/// @file
/// What the argument of a call that names its states is: one key or state, `keys(a, b)`, or a range.

#include <interlock/core/detail/transaction/call_arguments.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/state_traits.hpp>

#include <cstddef>
#include <iterator>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// A range that stands for `keys(range)`: it is no key itself.
template <class A, class T, class K>
concept PlainRangeOfKeys = !KeyOrState<A, T, K> && RangeOfParts<A const> &&
                           requires { requires KeyOrState<range_part<A const>, T, K>; };

/// How many states `A` names, where `T` are the states and `K` the keys: `std::dynamic_extent` where that is
/// known at run time. `valid`: whether each part of it names one.
template <class A, class T, class K>
struct named_states {
    static constexpr bool range = PlainRangeOfKeys<A, T, K>;
    static constexpr bool valid = range || KeyOrState<A, T, K>;
    static constexpr std::size_t count = range ? std::dynamic_extent : 1;
};
template <class... A, class T, class K>
struct named_states<Keys<A...>, T, K> {
    static constexpr bool valid = (KeyOrState<A, T, K> && ...);
    static constexpr std::size_t count = sizeof...(A);
};
template <class A, class T, class K>
struct named_states<KeyRange<A>, T, K> {
    static constexpr bool valid = KeyOrState<A, T, K>;
    static constexpr std::size_t count = std::dynamic_extent;
};

/// The state that `argument` is; nothing where it is a key.
template <class T, class A>
std::optional<T> state_given(A const& argument)
{
    if constexpr (std::is_same_v<A, T> && KeyedState<T>)
        return argument;
    else
        return std::nullopt;
}

template <class T, class K, class... A>
auto target_of(A const&... part)
{
    if constexpr (((std::is_same_v<A, T> && KeyedState<T>) || ...))
        return CallTarget<T, sizeof...(A), true>{{make_key<T, K>(part)...}, {state_given<T>(part)...}};
    else
        return CallTarget<T, sizeof...(A), false>{{make_key<T, K>(part)...}};
}

template <class T, class K, class Range>
auto target_of_range(Range const& range)
{
    using A = range_part<Range const>;
    constexpr bool states = std::is_same_v<A, T> && KeyedState<T>;
    CallTarget<T, std::dynamic_extent, states> target;
    auto const end = std::end(range);
    for (auto at = std::begin(range); at != end && target.keys.add_next(); ++at) {
        decltype(auto) part = *at;
        target.keys.add(make_key<T, K>(part));
        if constexpr (states)
            target.states.emplace_back(part);
    }
    target.keys.close();
    if constexpr (!states)
        target.states = std::vector<std::optional<T>>(target.keys.size());
    else if (target.states.empty())
        target.states.emplace_back();
    return target;
}

/// The states that the first argument of a call names, as the call keeps them.
template <class T, class K, class A>
auto named_target(A const& argument)
{
    if constexpr (requires { argument.parts(); } && named_states<A, T, K>::count == std::dynamic_extent)
        return target_of_range<T, K>(argument.parts());
    else if constexpr (named_states<A, T, K>::count == std::dynamic_extent)
        return target_of_range<T, K>(argument);
    else if constexpr (named_states<A, T, K>::count == 1)
        return target_of<T, K>(argument);
    else
        return std::apply([](auto const&... part) { return target_of<T, K>(part...); }, argument.parts());
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_NAMED_KEYS_HPP
