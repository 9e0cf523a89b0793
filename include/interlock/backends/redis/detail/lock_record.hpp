// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_LOCK_RECORD_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_LOCK_RECORD_HPP

// What a lock record says to people, and the scripts that read it and end it for them. `scripts.hpp` says how
// a record is made up.

#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/detail/stored.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/contracts/lock_info.hpp>
#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/immortal.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// The card of a holder as it is sent: three texts, all empty where it has no name. Refers to the name, which
/// has at most `HolderName::max_size` bytes.
class HolderCard {
public:
    explicit HolderCard(std::string_view name) noexcept : name_(name)
    {
        constexpr std::string_view digits = "0123456789abcdef";
        head_.fill('0');
        head_[0] = 'h';
        head_[1] = digits[name.size() / 16 % 16];
        head_[2] = digits[name.size() % 16];
    }

    std::string_view head() const noexcept
    {
        return {head_.data(), name_.empty() ? std::size_t{0} : head_.size()};
    }
    std::string_view name() const noexcept { return name_; }
    std::string_view blanks() const noexcept
    {
        return std::string_view{"               "}.substr(0, (16 - name_.size() % 16) % 16);
    }

private:
    std::array<char, 16> head_;
    std::string_view name_;
};

/// KEYS: locks. Returns for each nothing where there is no record, the record without its owner and the rest
/// of its lease in ms in an array, or the error that asking for it was; and at the end the time.
inline Script const& inspect_script()
{
    static auto const& script = interlock::detail::immortal<Script>(R"lua(
local replies = {}
for i, key in ipairs(KEYS) do
  local record = redis.pcall('GET', key)
  if type(record) == 'string' then record = {string.sub(record, 17), redis.call('PTTL', key)} end
  replies[i] = record
end
replies[#KEYS + 1] = redis.call('TIME')
return replies
)lua");
    return script;
}

/// KEYS: counter, lock. ARGV: the first token of the acquisition. Returns as `remove_script`.
inline Script const& break_script()
{
    static auto const& script = interlock::detail::immortal<Script>(
        locals_lua, need_lua, card_lua, reserve_lua, draw_lua, reserved_lua, pass_on_lua, R"lua(
local record = call('GET', KEYS[2])
if not record then return 0 end
if sub(record, 17, 32) ~= ARGV[1] then return -1 end
pass_on(KEYS[2], record)
return 1
)lua");
    return script;
}

/// The time that the first token of a grant is made of, where it is (law 4 of the scripts).
inline std::chrono::microseconds time_of_token(std::int64_t first) noexcept
{
    constexpr std::int64_t per_second = 4'194'304;
    constexpr std::int64_t beginning = 1'735'689'600;
    auto const last = first + token_block - 1;
    return std::chrono::microseconds{
        (beginning + last / per_second) * 1'000'000 + last % per_second * 1'000'000 / per_second};
}

/// Everything behind the owner, taken apart. Nothing: it is none of ours.
struct LockRecord {
    std::int64_t first{0};
    std::string_view holder{};
    std::optional<std::chrono::microseconds> granted{};
    std::size_t waiters{0};
};
[[gnu::cold]] inline std::optional<LockRecord> lock_record(std::string_view text) noexcept
{
    constexpr std::size_t block = 16;
    if (text.size() < 2 * block || text.size() % block != 0)
        return std::nullopt;
    auto const first = number_of(text.substr(0, block));
    if (!first || !number_of(text.substr(block, block)))
        return std::nullopt;
    LockRecord record{*first, {}, {}, 0};
    auto rest = text.substr(2 * block);
    if (rest.starts_with('h')) {
        std::size_t size = 0;
        auto const* const digits = rest.data() + 1;
        auto const read = std::from_chars(digits, digits + 2, size, 16);
        auto const granted = number_of(rest.substr(3, 13));
        auto const card = block + (size + block - 1) / block * block;
        if (read.ptr != digits + 2 || !granted || rest.size() < card)
            return std::nullopt;
        record.holder = rest.substr(block, size);
        record.granted = *granted == 0 ? time_of_token(*first)
                                       : std::chrono::microseconds{std::chrono::milliseconds{*granted}};
        rest.remove_prefix(card);
    }
    if (rest.size() > block && number_of(rest.substr(0, block)))
        record.waiters = rest.size() / block - 1;
    return record;
}

/// What `inspect_script` says of one lock: `found`, at the time `now`.
[[gnu::cold]] inline Outcome<std::optional<LockInfo>> lock_info(ReplyView found, ReplyView now)
{
    std::optional<LockInfo> info;
    if (found.is(ReplyType::nil))
        return info;
    auto const record = lock_record(found[0].text());
    auto const left = found[1].integer();
    auto const seconds = number_of(now[0].text());
    auto const microseconds = number_of(now[1].text());
    if (!record || left == -1 || !seconds || !microseconds)
        return damaged("the lock record is not one of ours; see force_release");
    if (left < 0)  // it has expired while the script ran
        return info;
    info.emplace();
    info->holder = record->holder;
    info->token = FencingToken{static_cast<std::uint64_t>(record->first)};
    info->remaining = std::chrono::milliseconds{left};
    info->waiters = record->waiters;
    if (record->granted) {
        std::chrono::microseconds const at{*seconds * 1'000'000 + *microseconds};
        info->since.emplace(*record->granted);
        info->held_for = std::max(at - *record->granted, std::chrono::microseconds{0});
    }
    return info;
}

/// What a script that removes a lock record says.
inline constexpr auto read_removal = [](ReplyView reply) -> Outcome<Removal> {
    switch (reply.integer()) {
    case 1: return Removal::removed;
    case 0: return Removal::gone;
    default: return Removal::taken;
    }
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_LOCK_RECORD_HPP
