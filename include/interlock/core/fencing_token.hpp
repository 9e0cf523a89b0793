// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_FENCING_TOKEN_HPP
#define INTERLOCK_CORE_FENCING_TOKEN_HPP

/// @file
/// The two names of an acquisition: a public number that orders it, and a secret that proves it.

#include <interlock/fwd.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace interlock {
inline namespace v0 {

/// Orders acquisitions: of two grants for one key the later has the greater token; those of different keys may be equal.
/// Public; hand it to other systems so that they can refuse a late write. 64 bits, below 2^53 so that scripts and JSON
/// keep it exact. 0 is no token. Never derived from the owner token, nor the owner token from it.
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

/// Proves an acquisition: 128 random bits from the operating system, new for each. Secret: only it
/// authorises renewal, release and guarded writes (law P8). Printed, if at all, as its first four bytes.
class OwnerToken {
public:
    constexpr OwnerToken() noexcept = default;
    constexpr explicit OwnerToken(std::array<std::uint64_t, 2> bits) noexcept : bits_(bits) {}
    constexpr explicit operator bool() const noexcept { return (bits_[0] | bits_[1]) != 0; }
    friend constexpr bool operator==(OwnerToken, OwnerToken) noexcept = default;

    /// The 16 bytes as they cross the wire.
    std::array<char, 16> bytes() const noexcept
    {
        std::array<char, 16> out{};
        std::memcpy(out.data(), bits_.data(), out.size());
        return out;
    }

private:
    std::array<std::uint64_t, 2> bits_{};
};

/// What a guarded write carries: which acquisition it belongs to, and its place in the order. The store
/// applies the write only while the lock record names `owner` and `token` is not below the mark in that
/// record, decided atomically with the write (law P1).
struct Fence {
    OwnerToken owner;
    FencingToken token;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_FENCING_TOKEN_HPP
