// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_KEPT_STATE_HPP
#define INTERLOCK_CORE_KIT_KEPT_STATE_HPP

/// @file
/// For what the library keeps of a state to spare somebody a trip, and may as well not keep:
///
///     if (keep_state(place, [&] { return Versioned<T>{std::move(value), version}; }))
///         leave(place);  // else whoever wants the state loads it

#include <interlock/core/runtime/without_cancellation.hpp>

#include <optional>
#include <type_traits>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Puts what `make` returns into `place`; `make` does nothing but move a state from elsewhere. False: a move
/// threw, whatever it was, and `place` is empty. Moving a state is code of a user's, so that a thread may be
/// cancelled in it (`pthread_cancel`): it goes on until the state is kept.
template <class State, class Make>
bool keep_state(std::optional<State>& place, Make make) noexcept
{
    if constexpr (std::is_nothrow_move_constructible_v<State>) {
        place.emplace(make());
        return true;
    } else {
        WithoutCancellation const whole;
        place.reset();
        try {
            place.emplace(make());
            return true;
        } catch (...) {
            return false;
        }
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_KEPT_STATE_HPP
