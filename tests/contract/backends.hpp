// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONTRACT_BACKENDS_HPP
#define INTERLOCK_TESTS_CONTRACT_BACKENDS_HPP

/// @file
/// The stores that keep the laws. The same suite is compiled once for each folder contract/<store>: a store
/// joins with the file backends.hpp there, which defines the list `contract::Backends` of its fixtures.
///
/// A fixture is default-constructible and fresh: each has a store of its own, with at least one minute of
/// retention. `repository()` gives a handle for `Stock`, `other()` a handle that was made separately from the
/// same store, where the store can (another client), and `idempotency_store()` an empty store of idempotency
/// records. `row_locks` says whether the store has row locks; INTERLOCK_TESTS_CONTRACT_ROW_LOCKS is defined
/// where any fixture has, since Catch2 refuses empty lists.

#include <chrono>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#ifndef INTERLOCK_TESTS_CONTRACT_BACKENDS
#define INTERLOCK_TESTS_CONTRACT_BACKENDS "contract/memory/backends.hpp"
#endif
#include INTERLOCK_TESTS_CONTRACT_BACKENDS

namespace contract {

inline interlock::Key key(std::string name)
{
    return interlock::Key{std::move(name)};
}
inline interlock::OwnerToken owner(std::uint64_t n)
{
    return interlock::OwnerToken{{n, ~n}};
}
inline constexpr interlock::Deadline soon{std::chrono::seconds{10}};

template <class... B>
auto with_row_locks(std::tuple<B...>) -> decltype(std::tuple_cat(
    std::declval<std::conditional_t<B::row_locks, std::tuple<B>, std::tuple<>>>()...));
using RowLockingBackends = decltype(with_row_locks(std::declval<Backends>()));

}  // namespace contract

#endif  // INTERLOCK_TESTS_CONTRACT_BACKENDS_HPP
