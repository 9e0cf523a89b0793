// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_COMBINING_SHARING_REASON_HPP
#define INTERLOCK_CORE_DETAIL_COMBINING_SHARING_REASON_HPP

// What operations that share commits tell each other about what the store has said.

#include <interlock/core/detail/transaction/transaction_machine.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>

#include <new>
#include <optional>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What `failure`, to which one operation came, says to the others that wait for the same state; `ok`:
/// nothing. That one's deadline and cancellation are no reason for the others, but what it waited for is.
inline Failure said_to_others(Failure const& failure)
{
    auto const code = failure.errc();
    bool const own = code == Errc::deadline_exceeded || code == Errc::outcome_unknown;
    auto const reason = own ? failure.cause() : code;
    if (reason == Errc::ok || reason == Errc::cancelled)
        return Errc::ok;
    return own ? Failure::because(reason, Failure{failure}) : failure;
}

/// Keeps in `place` what `failure` says to others. False: nothing.
inline bool keep_said(std::optional<Failure>& place, Failure const& failure) noexcept
{
    try {
        auto said = said_to_others(failure);
        if (said.errc() == Errc::ok)
            return false;
        place = std::move(said);
        return true;
    } catch (std::bad_alloc const&) {  // the others hear less
        return false;
    }
}
/// What one says that waited in line until its deadline, where nothing else is known. `place`: of the store.
inline std::string waits_behind(std::string const& place)
{
    return (place.empty() ? "" : place + ": ") +
           "another call of this service, which works on the same state, came first and has not ended";
}
/// What one hears whose run was dropped: a conflict, because of `reason`.
inline Failure dropped_for(std::optional<Failure> const& reason) noexcept
{
    if (!reason || reason->errc() == Errc::version_conflict)
        return Errc::version_conflict;
    try {
        return Failure::because(Errc::version_conflict, Failure{*reason});
    } catch (std::bad_alloc const&) {  // without its text
        return Failure::because(Errc::version_conflict, reason->errc());
    }
}

/// Whether somebody else changed the value, so that any attempt on it would have failed.
inline bool value_has_changed(Errc code) noexcept
{
    return is_conflict(code) || code == Errc::not_found || code == Errc::already_exists;
}
/// Whether the store has refused what was to be written: perhaps what another one made of it. A trigger
/// can do so, or a row-level policy.
inline bool refuses_the_write(Errc code) noexcept
{
    return code == Errc::invalid_argument || code == Errc::constraint_violated ||
           code == Errc::corrupt_state || code == Errc::misconfigured;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_COMBINING_SHARING_REASON_HPP
