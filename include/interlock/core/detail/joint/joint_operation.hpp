// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_JOINT_JOINT_OPERATION_HPP
#define INTERLOCK_CORE_DETAIL_JOINT_JOINT_OPERATION_HPP

/// @file
/// A user's callable that takes states of several types, as an operation on `JointState`s.

#include <interlock/core/detail/joint/joint_state.hpp>
#include <interlock/core/detail/transaction/named_keys.hpp>
#include <interlock/core/detail/transaction/operation_call.hpp>
#include <interlock/core/key.hpp>
#include <interlock/fwd.hpp>

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

template <class J, class>
struct joint_state_for {
    using type = J;
};

/// `F`, which takes a `T&` for each state, and what the policy adds; `J` is the `JointState`.
template <class J, class F, class... T>
class JointOperation {
public:
    static constexpr bool takes_copies = (takes_copy<std::remove_cvref_t<F>, T>() || ...);

    JointOperation(F function) : function_(std::forward<F>(function)) {}  // NOLINT: as `F` itself

    template <class... Added>
        requires std::invocable<std::remove_reference_t<F>&, T&..., Added&...>
    decltype(auto) operator()(typename joint_state_for<J, T>::type&... states, Added&... added)
    {
        return function_(states.template as<T>()..., added...);
    }

private:
    F function_;
};

/// The repository `Q` is one of `R`.
template <class Q, class... R>
inline constexpr bool is_joined = (std::same_as<Q, R> || ...);

// A call on joint repositories names its states by `in`, and by nothing else.
template <class A, class... R>
struct named_states<A, JointState<R...>, JointKey> {
    static constexpr bool valid = false;
    static constexpr std::size_t count = 1;
};
template <class Q, class... R>
struct named_states<KeyIn<Q>, JointState<R...>, JointKey> {
    static constexpr bool valid = is_joined<Q, R...>;
    static constexpr std::size_t count = 1;
};
template <class... A, class... R>
struct named_states<Keys<A...>, JointState<R...>, JointKey> {
    static constexpr bool valid = (named_states<A, JointState<R...>, JointKey>::valid && ...);
    static constexpr std::size_t count = sizeof...(A);
};
template <class A, class... R>
struct named_states<KeyRange<A>, JointState<R...>, JointKey> {
    static constexpr bool valid = false;
    static constexpr std::size_t count = 1;
};

template <class Q, class... R, class F>
struct operation_on<KeyIn<Q>, JointState<R...>, F> {
    using type = JointOperation<JointState<R...>, F, typename Q::value_type>;
};
template <class... Q, class... R, class F>
struct operation_on<Keys<KeyIn<Q>...>, JointState<R...>, F> {
    using type = JointOperation<JointState<R...>, F, typename Q::value_type...>;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_JOINT_JOINT_OPERATION_HPP
