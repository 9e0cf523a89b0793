// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_FENCING_TOKEN_HPP
#define INTERLOCK_CORE_FENCING_TOKEN_HPP

/// @file
/// The two names of an acquisition: a public number that orders it, and a secret that proves it.
///
///     auto lock = locks.acquire("report-7");
///     // A system that compares the number refuses a writer that was paused and came back too late.
///     storage.put("report-7.pdf", bytes, lock.fencing_token().value());

#include <interlock/fwd.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace interlock {
inline namespace v0 {

/// Orders the acquisitions of one key: of two grants the later has the greater token. Tokens of different
/// keys may be equal.
///
/// The token is public: hand it to other systems, so that they can refuse a late write. It has 64 bits and
/// stays below 2^53, so that scripts and JSON keep it exact. 0 means "no token". Neither is the token derived
/// from the owner token nor the owner token from it.
class FencingToken {
public:
    constexpr FencingToken() noexcept = default;
    constexpr explicit FencingToken(std::uint64_t value) noexcept : value_(value) {}
    constexpr std::uint64_t value() const noexcept { return value_; }
    constexpr explicit operator bool() const noexcept { return value_ != 0; }
    friend constexpr auto operator<=>(FencingToken, FencingToken) noexcept = default;

private:
    std::uint64_t value_{0};
};

/// Proves an acquisition: 128 random bits from the operating system, new for each acquisition.
///
/// The owner token is secret: only who has it may renew the lock, release it, or write under it (law P8). A
/// log shows at most its first four bytes.
class OwnerToken {
public:
    constexpr OwnerToken() noexcept = default;
    constexpr explicit OwnerToken(std::array<std::uint64_t, 2> bits) noexcept : bits_(bits) {}
    constexpr explicit operator bool() const noexcept { return (bits_[0] | bits_[1]) != 0; }
    friend constexpr bool operator==(OwnerToken, OwnerToken) noexcept = default;

    /// The 16 bytes that are sent to the store.
    std::array<char, 16> bytes() const noexcept
    {
        std::array<char, 16> out{};
        std::memcpy(out.data(), bits_.data(), out.size());
        return out;
    }

private:
    std::array<std::uint64_t, 2> bits_{};
};

/// What a guarded write carries: the acquisition that it belongs to, and the place of that acquisition in
/// the order. The store applies the write only while the lock record names `owner` and `token` is not below
/// the mark in that record, and it decides so in the same step as the write (law P1).
struct Fence {
    OwnerToken owner;
    FencingToken token;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_FENCING_TOKEN_HPP
