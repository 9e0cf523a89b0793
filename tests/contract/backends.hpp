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
///
/// `contract::EventBackends` is the list of the fixtures that have events, too: `events()` gives the log into
/// which `repository()` records, as the writer "contract", `other_events()` a handle to it that was made
/// separately, `without_events()` a repository of the same store whose options name no log, and, of the
/// second one, which has several partitions, `states<T>()` a repository for states of another type. A fixture
/// whose store keeps the records of requests in the transaction of their effects has `transactional_store()`.
/// `contract::RecordingBackends` are those of them on which policies record each in a way of its own, the
/// plain one first. INTERLOCK_TESTS_CONTRACT_EVENTS is defined where there are such lists; where there are
/// none, the repository of the first fixture must not be able to record.

#include <interlock/core/contracts/store.hpp>

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

#ifndef INTERLOCK_TESTS_CONTRACT_EVENTS
static_assert(
    !interlock::RecordingRepository<
        std::remove_cvref_t<decltype(std::declval<std::tuple_element_t<0, Backends>>().repository())>>,
    "the first fixture's store can record: give it fixtures with events");
#endif

}  // namespace contract

#endif  // INTERLOCK_TESTS_CONTRACT_BACKENDS_HPP
