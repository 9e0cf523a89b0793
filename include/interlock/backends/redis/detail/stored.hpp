// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_STORED_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_STORED_HPP

/// @file
/// What the scripts store and answer, as values: versions, records, outcomes of a commit.

#include <interlock/backends/redis/detail/commit_script.hpp>
#include <interlock/backends/redis/detail/number.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/commit_refusal.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// "00", "01", and so on to "99".
inline constexpr auto digit_pairs = [] {
    std::array<char, 200> pairs{};
    for (std::size_t i = 0; i < 100; ++i) {
        pairs[2 * i] = static_cast<char>('0' + i / 10);
        pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
    }
    return pairs;
}();

/// `number`, from 0 on, as `Width` digits, with zeros in front. All of them 9 when it has more, which equals
/// no stored number.
template <std::size_t Width>
class PaddedNumber {
    static_assert(Width % 2 == 0);

public:
    explicit PaddedNumber(std::uint64_t number) noexcept
    {
        for (auto at = Width; at > 0; number /= 100) {
            auto const pair = 2 * (number % 100);
            digits_[--at] = digit_pairs[pair + 1];
            digits_[--at] = digit_pairs[pair];
        }
        if (number != 0)
            digits_.fill('9');
    }
    operator std::string_view() const noexcept { return {digits_.data(), Width}; }

private:
    std::array<char, Width> digits_;
};

/// Nothing unless all of `text` is digits, and the number one that scripts count with. Nearly all are of 16
/// digits, which cannot overflow, so that this is a third of what `parse_number` costs.
inline std::optional<std::int64_t> number_of(std::string_view text) noexcept
{
    std::int64_t number = 0;
    if (text.empty() || text.size() > 16) {
        if (!parse_number<std::int64_t>(text, 0, greatest_number, number))
            return std::nullopt;
        return number;
    }
    for (char const c : text) {
        if (c < '0' || c > '9')
            return std::nullopt;
        number = number * 10 + (c - '0');
    }
    return number <= greatest_number ? std::optional{number} : std::nullopt;
}

[[gnu::cold]] inline Failure damaged(char const* what)
{
    return Failure{Errc::corrupt_state, std::string("redis: ") + what};
}

/// A log of events has no room for what was to be appended.
[[gnu::cold]] inline Failure full_log()
{
    return Failure{Errc::overloaded, "redis: the log of events is full; trim what every consumer has read"};
}

/// Nothing: the record is damaged.
inline std::optional<OperationRecord> operation_record(std::string_view stored)
{
    if (stored.size() < 27 || (stored[0] != 'a' && stored[0] != 't'))
        return std::nullopt;
    auto const attempt = number_of(stored.substr(1, 10));
    auto const sequence = number_of(stored.substr(11, 16));
    if (!attempt || !sequence)
        return std::nullopt;
    return OperationRecord{
        static_cast<std::uint64_t>(*sequence), static_cast<std::uint32_t>(*attempt), stored[0] == 'a',
        std::string(stored.substr(27))};
}

inline Errc code_of(ChangeResult result) noexcept
{
    switch (result) {
    case ChangeResult::ok: return Errc::ok;
    case ChangeResult::fenced_out: return Errc::fenced_out;
    case ChangeResult::already_exists: return Errc::already_exists;
    case ChangeResult::not_found: return Errc::not_found;
    case ChangeResult::version_conflict: return Errc::version_conflict;
    case ChangeResult::version_exhausted: return Errc::version_exhausted;
    case ChangeResult::corrupt_state: break;
    }
    return Errc::corrupt_state;
}

/// Of the i-th change that was applied.
inline Version version_of(ReplyView reply, std::size_t i) noexcept
{
    return number_of(reply.text().substr(16 * i, 16)).value_or(no_version);
}

/// Says the key of the i-th change. Refers to what it was made of.
class KeyOf {
public:
    template <class F>
    explicit KeyOf(F const& key_of) noexcept
        : call_([](void const* object, std::size_t i) -> std::string_view {
              return (*static_cast<F const*>(object))(i);
          }),
          object_(&key_of)
    {}
    std::string_view operator()(std::size_t i) const { return call_(object_, i); }

private:
    std::string_view (*call_)(void const*, std::size_t);
    void const* object_;
};

/// Why a commit of so many changes was refused, and whether it was.
template <class PlaceOf>
[[gnu::cold]] Outcome<CommitResult> not_committed(
    ReplyView reply, std::size_t changes, KeyOf key_of, PlaceOf place_of)
{
    auto const what = reply[0].text();
    if (what == "duplicate")
        return CommitResult{true, std::string(reply[1].text())};
    if (what == "superseded")
        return Errc::superseded;
    if (what == "corrupt")
        return damaged("an operation record is damaged");
    if (what == "full")
        return full_log();
    if (what != "refused" || reply.size() != changes + 1)
        return Failure::unknown(Errc::corrupt_state, "redis: the script answered strangely");
    CommitRefusal refusal{changes};
    for (std::size_t i = 0; i < changes; ++i)
        if (auto const code = code_of(static_cast<ChangeResult>(reply[i + 1].integer())); code != Errc::ok)
            refusal.add(place_of(i), key_of(i), code);
    return std::move(refusal).failure();
}

/// What the script has answered to a commit of so many changes, with events in so many logs at most.
/// `place_of`: where each of the changes was to be made, in a commit to several name spaces.
template <class PlaceOf>
Outcome<CommitResult> committed(
    ReplyView reply, std::size_t changes, KeyOf key_of, std::size_t logs, PlaceOf place_of)
{
    // Behind the versions a commit with events may say something of each log.
    auto const size = reply.is(ReplyType::string) ? reply.text().size() : 0;
    if (reply.is(ReplyType::string) && size / 16 == changes && size % 16 <= logs)
        return Outcome<CommitResult>{std::in_place};
    return not_committed(reply, changes, key_of, place_of);
}
inline Outcome<CommitResult> committed(ReplyView reply, std::size_t changes, KeyOf key_of)
{
    return committed(reply, changes, key_of, 1, [](std::size_t) { return std::string_view{}; });
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_STORED_HPP
