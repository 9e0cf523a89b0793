// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_VERSIONED_HPP
#define INTERLOCK_CORE_VERSIONED_HPP

/// @file
/// A value and the version it was read at.

#include <interlock/fwd.hpp>

#include <cstdint>
#include <limits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Counts the changes of one key. At least 1, grows with each accepted write, is never reused: a key that was erased and
/// inserted again continues above its old versions (law P3). 0 means "no value".
using Version = std::int64_t;

inline constexpr Version no_version = 0;
/// At this version a value can no longer change: `Errc::version_exhausted`, never a wrap to 0.
inline constexpr Version last_version = std::numeric_limits<Version>::max();

/// A value and the version it was read at.
template <class T>
struct Versioned {
    using value_type = T;
    T value;  // no initialiser: clang 14 would need a default constructor of every T
    Version version{no_version};

    friend bool operator==(Versioned const&, Versioned const&) = default;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_VERSIONED_HPP
