// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_LOCK_INFO_HPP
#define INTERLOCK_CORE_CONTRACTS_LOCK_INFO_HPP

/// @file
/// Who holds a lock, since when and for how long: what a lock record says to people. It is for operators,
/// status pages and messages; nothing in the library decides by it.
///
///     interlock::LockStateService locks{jobs, {.holder = "nightly@host7"}};  // left out: host:pid:program
///     if (auto const held = jobs.inspect("report").value()) {
///         fmt::print("{} holds it for {} more\n", held->holder, held->remaining);
///         jobs.break_lock("report", *held).value();  // that acquisition, and no later one
///     }

#include <interlock/core/fencing_token.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// What a holder of locks calls itself, for `LockOptions::holder`. It has room of its own and is trivially
/// copied, so that nothing dangles. A text of more than `max_size` bytes is not `valid`.
class HolderName {
public:
    /// In bytes.
    static constexpr std::size_t max_size = 112;

    /// The name that the runtime gives: `host:pid:program` in the real world, none in a simulator.
    constexpr HolderName() noexcept = default;
    /// This text. Empty: holders say nothing, and no byte of it is stored.
    template <class Text>
        requires std::convertible_to<Text const&, std::string_view>
    constexpr HolderName(Text const& text) noexcept  // NOLINT: a text is one
        : given_(true)
    {
        std::string_view const from = text;
        valid_ = from.size() <= max_size;
        size_ = detail::beginning_of(from, max_size).size();
        std::copy_n(from.begin(), size_, text_.begin());
    }

    /// The text, or what of it had room.
    constexpr std::string_view text() const noexcept { return {text_.data(), size_}; }
    /// False: the runtime is to say it.
    constexpr bool given() const noexcept { return given_; }
    /// Whether the text had room.
    constexpr bool valid() const noexcept { return valid_; }

private:
    std::array<char, max_size> text_{};
    std::size_t size_{0};
    bool given_{false};
    bool valid_{true};
};

/// What a store knows of a lock that is held, as of one moment. All times are by the store's clock.
struct LockInfo {
    /// What the holder calls itself. Empty: it does not say, or it is of a release that did not know how.
    std::string holder{};
    /// The first token of the acquisition, which names it: no other one of the key has it. Holders to whom
    /// the lock was handed on within one service have tokens above it, of the same acquisition.
    FencingToken token{};
    /// When the store granted the acquisition. Handing the lock on within one service does not change it.
    /// Nothing: the store has no calendar, as memory; or the record does not say.
    std::optional<std::chrono::sys_time<std::chrono::microseconds>> since{};
    /// How long ago that was. Nothing: the record does not say.
    std::optional<std::chrono::nanoseconds> held_for{};
    /// How long the lease still is, if nobody renews it.
    std::chrono::nanoseconds remaining{0};
    /// How many wait at the store, as far as the store knows: those who wait in the line of another service
    /// are not counted, and a store that only knows that somebody has asked in vain says 1.
    std::size_t waiters{0};
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_LOCK_INFO_HPP
