// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_FORMAT_HPP
#define INTERLOCK_CORE_FORMAT_HPP

/// @file
/// Formatters of the public types for the fmt library. Include this header by name where you need it: not
/// everybody uses fmt, so `interlock.hpp` does not include it.
///
///     auto const outcome = service.try_do_in_transaction("alice", pay);
///     if (!outcome)
///         fmt::print("payment failed: {}\n", outcome.failure());  // payment failed: lock_busy
///
/// Secrets stay out of logs: an owner token shows its first four bytes, and keys and values are never shown.

#include <interlock/core/errc.hpp>
#include <interlock/core/fencing_token.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/outcome.hpp>

#include <fmt/format.h>

#include <cstring>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// A stable lower-case name, for logs, metrics and tests.
constexpr std::string_view name_of(Effect effect) noexcept
{
    switch (effect) {
    case Effect::not_applied: return "not_applied";
    case Effect::applied: return "applied";
    case Effect::unknown: break;
    }
    return "unknown";
}

/// A stable lower-case name, for logs, metrics and tests.
constexpr std::string_view name_of(LockStatus status) noexcept
{
    switch (status) {
    case LockStatus::held: return "held";
    case LockStatus::in_doubt: return "in_doubt";
    case LockStatus::lost: break;
    }
    return "lost";
}

/// A stable lower-case name, for logs, metrics and tests.
constexpr std::string_view name_of(LostReason reason) noexcept
{
    switch (reason) {
    case LostReason::none: return "none";
    case LostReason::expired: return "expired";
    case LostReason::taken: return "taken";
    case LostReason::removed: return "removed";
    case LostReason::released: break;
    }
    return "released";
}

}  // namespace v0
}  // namespace interlock

/// The code's name, as `name_of` gives it.
template <>
struct fmt::formatter<interlock::Errc> : fmt::formatter<fmt::string_view> {
    template <class Context>
    auto format(interlock::Errc code, Context& context) const
    {
        return fmt::formatter<fmt::string_view>::format(interlock::name_of(code), context);
    }
};

/// The effect's name.
template <>
struct fmt::formatter<interlock::Effect> : fmt::formatter<fmt::string_view> {
    template <class Context>
    auto format(interlock::Effect effect, Context& context) const
    {
        auto const name = interlock::name_of(effect);
        return fmt::formatter<fmt::string_view>::format({name.data(), name.size()}, context);
    }
};

/// The status's name.
template <>
struct fmt::formatter<interlock::LockStatus> : fmt::formatter<fmt::string_view> {
    template <class Context>
    auto format(interlock::LockStatus status, Context& context) const
    {
        auto const name = interlock::name_of(status);
        return fmt::formatter<fmt::string_view>::format({name.data(), name.size()}, context);
    }
};

/// The reason's name.
template <>
struct fmt::formatter<interlock::LostReason> : fmt::formatter<fmt::string_view> {
    template <class Context>
    auto format(interlock::LostReason reason, Context& context) const
    {
        auto const name = interlock::name_of(reason);
        return fmt::formatter<fmt::string_view>::format({name.data(), name.size()}, context);
    }
};

/// The token's number.
template <>
struct fmt::formatter<interlock::FencingToken> : fmt::formatter<std::uint64_t> {
    template <class Context>
    auto format(interlock::FencingToken token, Context& context) const
    {
        return fmt::formatter<std::uint64_t>::format(token.value(), context);
    }
};

/// The first four bytes of the token as eight hexadecimal digits: enough to tell two acquisitions apart in a
/// log, and not enough to release a lock.
template <>
struct fmt::formatter<interlock::OwnerToken> : fmt::formatter<fmt::string_view> {
    template <class Context>
    auto format(interlock::OwnerToken token, Context& context) const
    {
        auto const bytes = token.bytes();
        std::uint32_t head = 0;
        std::memcpy(&head, bytes.data(), sizeof head);
        auto const text = fmt::format("{:08x}...", head);
        return fmt::formatter<fmt::string_view>::format({text.data(), text.size()}, context);
    }
};

/// The code, the cause and the detail, as far as there are any: `outcome_unknown because of lock_lost:
/// detail`.
template <>
struct fmt::formatter<interlock::Failure> : fmt::formatter<fmt::string_view> {
    template <class Context>
    auto format(interlock::Failure const& failure, Context& context) const
    {
        auto const text = failure.message();
        return fmt::formatter<fmt::string_view>::format({text.data(), text.size()}, context);
    }
};

#endif  // INTERLOCK_CORE_FORMAT_HPP
