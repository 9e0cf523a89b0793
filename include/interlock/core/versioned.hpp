// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_VERSIONED_HPP
#define INTERLOCK_CORE_VERSIONED_HPP

/// @file
/// A value together with the version at which it was read.
///
///     auto const seen = repository.load("alice").value();       // Versioned<Account>
///     Account next = seen.value;
///     next.balance -= 5;
///     auto const version = repository.compare_and_set("alice", seen.version, next);

#include <interlock/fwd.hpp>

#include <cstdint>
#include <limits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Counts the changes of one key. A version is at least 1 and grows with each accepted write; 0 means "no
/// value". A version is never used twice: a key that was erased and inserted again continues above its old
/// versions (law P3), so that a late writer cannot mistake the new value for the one it read.
///
/// One store has an exception: in a user's own table of PostgreSQL a row that nobody has changed yet may have
/// 0 or NULL in the column of its version. Such a row has the version `last_version - 1`, and its first
/// change makes it 1. So compare versions for equality, never for order, and send them as texts where the
/// reader may keep numbers as `double`, as JavaScript does.
using Version = std::int64_t;

/// The version of a key without a value.
inline constexpr Version no_version = 0;
/// A value with this version can no longer be changed: the write fails with `version_exhausted`. The version
/// never wraps to 0.
inline constexpr Version last_version = std::numeric_limits<Version>::max();

/// A value and the version at which it was read.
template <class T>
struct Versioned {
    using value_type = T;
    T value;  // has no initialiser, since clang 14 would then need a default constructor of every T
    Version version{no_version};

    friend bool operator==(Versioned const&, Versioned const&) = default;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_VERSIONED_HPP
