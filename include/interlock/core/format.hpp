// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_FORMAT_HPP
#define INTERLOCK_CORE_FORMAT_HPP

/// @file
/// fmt formatters for the public types, and their names as text. Comes with `interlock.hpp` where fmt is
/// installed.
///
/// Secrets stay out: an owner token shows its first four bytes, and values are never shown. Of keys, only the
/// text of a failure names some: which one of several it was, their first 64 bytes (`printable_key`).
///
/// | type | shown as | specification in the braces |
/// |---|---|---|
/// | `Errc`, `Effect`, `LockStatus`, `LostReason` | the name, as `name_of` gives it | as of a text: `{:>12}` |
/// | `Failure`, `Error` | code, cause and text, as their `message()` gives them | as of a text |
/// | `FencingToken` | the number | as of a number: `{:08x}` |
/// | `EventType` | `stock.sold v1` | as of a text |
/// | `Event` | type, version, number, place and id; neither its stream nor what it says | as of a text |
/// | `OwnerToken` | eight hexadecimal digits and three dots | as of a text |
///
/// A width or precision that is an argument of its own, `{:{}}`, is refused where the format string is
/// checked. An `Outcome` has no formatter, since a log line about a success and one about a failure are
/// different lines.
///
///     fmt::print("token {}\n", lock.fencing_token());                      // token 17
///     fmt::print("{:>12}|\n", lock.status());                              //         held|
///     if (auto outcome = service.try_do_in_transaction("sku-1", take_one); !outcome)
///         fmt::print("{}\n", outcome.failure());                          // lock_busy: redis name space ...

#include <interlock/core/errc.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/fencing_token.hpp>
#include <interlock/core/lock.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/outcome.hpp>

// Not <fmt/format.h>: interlock.hpp brings this header to everybody, whether they format or not.
#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// A stable lower-case name, for logs, metrics and tests. A value that is no enumerator counts as `unknown`.
constexpr std::string_view name_of(Effect effect) noexcept
{
    switch (effect) {
    case Effect::not_applied: return "not_applied";
    case Effect::applied: return "applied";
    case Effect::unknown: break;
    }
    return "unknown";
}

/// A stable lower-case name, for logs, metrics and tests. A value that is no enumerator counts as `lost`: who
/// cannot tell must not go on as a holder.
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

namespace detail {

/// Formats what it is given as a `Shown`, a text or a number, by whatever specification stands in the braces.
/// Of numbers, `Shown` is a type that fmt/core.h of every version formats: `unsigned long` is none of these
/// in fmt 10.
template <class Shown>
class FormatterAs {
public:
    constexpr auto parse(fmt::format_parse_context& context) -> fmt::format_parse_context::iterator
    {
        auto const begin = context.begin();
        fmt::formatter<Shown> checks{};
        auto const end = checks.parse(context);
        for (auto at = begin; at != end; ++at) {
            if (*at == '{' || size_ + 3 >= sizeof specification_)
                throw std::runtime_error("interlock's types take no width or precision from an argument");
            specification_[size_++] = *at;
        }
        specification_[size_] = '}';
        return end;
    }

protected:
    template <class Context>
    auto write(Shown shown, Context& context) const
    {
        // Of all that formats, this alone is compiled into fmt's library for every compiler.
        auto const text =
            fmt::vformat(fmt::string_view{specification_, size_ + 1}, fmt::make_format_args(shown));
        return std::copy(text.begin(), text.end(), context.out());
    }

private:
    char specification_[32]{'{', ':'};
    std::size_t size_{2};
};

inline fmt::string_view shown(std::string_view text) noexcept
{
    return {text.data(), text.size()};
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

// Each formatter takes any output and any kind of context, fmt's own and a user's. None of them allocates
// beyond the text that it writes, and none throws but for a specification that fmt refuses.

/// The code's name, as `name_of` gives it: `version_conflict`.
template <>
struct fmt::formatter<interlock::Errc> : interlock::detail::FormatterAs<fmt::string_view> {
    template <class Context>
    auto format(interlock::Errc value, Context& context) const
    {
        return this->write(interlock::detail::shown(interlock::name_of(value)), context);
    }
};

/// The effect's name: `applied`, `not_applied` or `unknown`.
template <>
struct fmt::formatter<interlock::Effect> : interlock::detail::FormatterAs<fmt::string_view> {
    template <class Context>
    auto format(interlock::Effect value, Context& context) const
    {
        return this->write(interlock::detail::shown(interlock::name_of(value)), context);
    }
};

/// The status's name: `held`, `in_doubt` or `lost`.
template <>
struct fmt::formatter<interlock::LockStatus> : interlock::detail::FormatterAs<fmt::string_view> {
    template <class Context>
    auto format(interlock::LockStatus value, Context& context) const
    {
        return this->write(interlock::detail::shown(interlock::name_of(value)), context);
    }
};

/// The reason's name: `expired`, `taken`, `removed`, `released`, or `none` of a lock that is not lost.
template <>
struct fmt::formatter<interlock::LostReason> : interlock::detail::FormatterAs<fmt::string_view> {
    template <class Context>
    auto format(interlock::LostReason value, Context& context) const
    {
        return this->write(interlock::detail::shown(interlock::name_of(value)), context);
    }
};

/// The token's number: tokens of one key can be compared by eye, and are no secret.
template <>
struct fmt::formatter<interlock::FencingToken> : interlock::detail::FormatterAs<unsigned long long> {
    template <class Context>
    auto format(interlock::FencingToken value, Context& context) const
    {
        return this->write(value.value(), context);
    }
};

/// The first four bytes of the token as eight hexadecimal digits: enough to tell two acquisitions apart in a
/// log, and not enough to release a lock.
template <>
struct fmt::formatter<interlock::OwnerToken> : interlock::detail::FormatterAs<fmt::string_view> {
    template <class Context>
    auto format(interlock::OwnerToken value, Context& context) const
    {
        auto const bytes = value.bytes();
        std::uint32_t head = 0;
        std::memcpy(&head, bytes.data(), sizeof head);
        std::string text;
        for (int bit = 28; bit >= 0; bit -= 4)
            text += "0123456789abcdef"[head >> bit & 15U];
        text += "...";
        return this->write(interlock::detail::shown(text), context);
    }
};

/// Name and version: `stock.sold v1`.
template <>
struct fmt::formatter<interlock::EventType> : interlock::detail::FormatterAs<fmt::string_view> {
    template <class Context>
    auto format(interlock::EventType const& value, Context& context) const
    {
        auto const text = std::string(value.name) + " v" + std::to_string(value.version);
        return this->write(interlock::detail::shown(text), context);
    }
};

/// What happened and where it stands, without whose it is and what it says, which may be personal:
/// `stock.sold v1, number 3, at 0:17, id 5f2c...`; partition and position are before and behind the colon.
template <>
struct fmt::formatter<interlock::Event> : interlock::detail::FormatterAs<fmt::string_view> {
    template <class Context>
    auto format(interlock::Event const& value, Context& context) const
    {
        auto const text = value.type + " v" + std::to_string(value.version) + ", number " +
                          std::to_string(value.number) + ", at " + std::to_string(value.partition) + ":" +
                          std::to_string(value.position) + ", id " + value.id;
        return this->write(interlock::detail::shown(text), context);
    }
};

/// The code, the cause and the detail, as far as there are any: `outcome_unknown because of lock_lost:
/// detail`.
template <>
struct fmt::formatter<interlock::Failure> : interlock::detail::FormatterAs<fmt::string_view> {
    template <class Context>
    auto format(interlock::Failure const& value, Context& context) const
    {
        auto const text = value.message();
        return this->write(interlock::detail::shown(text), context);
    }
};

/// As a `Failure`, which it is thrown for.
template <>
struct fmt::formatter<interlock::Error> : interlock::detail::FormatterAs<fmt::string_view> {
    template <class Context>
    auto format(interlock::Error const& value, Context& context) const
    {
        return this->write(fmt::string_view{value.what()}, context);
    }
};

#endif  // INTERLOCK_CORE_FORMAT_HPP
