// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_JOINT_JOINT_OPERATION_HPP
#define INTERLOCK_CORE_DETAIL_JOINT_JOINT_OPERATION_HPP

/// @file
/// A user's callable that takes states of several types, as an operation on `JointState`s.

#include <interlock/core/detail/joint/joint_state.hpp>
#include <interlock/core/detail/transaction/operation_call.hpp>

#include <concepts>
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

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_JOINT_JOINT_OPERATION_HPP
