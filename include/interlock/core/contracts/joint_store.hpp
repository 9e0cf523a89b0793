// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_JOINT_STORE_HPP
#define INTERLOCK_CORE_CONTRACTS_JOINT_STORE_HPP

/// @file
/// What a store must have so that states of several types change together: a commit of several repositories.
/// For authors of stores; whoever only uses one names a `JointRepository`:
///
///     template <class T>
///     class StateRepository : public CommittingMembers<StateRepository<T>, T, std::string> {
///     public:
///         using joint_store = JointStore;  // the same class for every T
///     };
///
/// A store has this only if it can make all changes in one step: two commits, one behind the other, are none.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <tuple>

namespace interlock {
inline namespace v0 {

/// What a commit of several repositories changes in one of them. Points into its caller's storage.
template <class R>
struct JointPart {
    R const* repository{nullptr};
    /// As in `verb::Commit`; there may be none.
    std::span<Change<typename R::value_type>> changes;
};

/// The changes of several repositories of one store, which are made in one step or not at all.
template <class... R>
struct JointCommit {
    std::tuple<JointPart<R>...> parts;
    OperationCommit const* operation{nullptr};  ///< its home is a key of the part `home`
    std::size_t home{0};
};

// clang-format off

/// A repository whose store commits changes of several repositories in one step. Its `joint_store` is a class
/// `J` of static functions, and the same one for all repositories that may be committed together:
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `J::place_in_order(r)` | `std::string` | where `r` stands among several: equal for handles of one store of states, different for others, in every process that must agree with this one |
/// | `J::refusal(r...)` | `std::optional<Failure>` | why these handles can not be committed together: `misconfigured`. Asks nobody |
/// | `J::records_events` | `bool` | optional: true where `commit` appends the events of changes, too, as a `RecordingRepository` does |
/// | `J::commit(joint_commit, deadline)` | `Outcome<CommitResult>` | all parts and the record of the operation, or nothing, in one step: as `verb::Commit` |
/// | `J::Rows<R...>` | a type | optional: an open transaction that has locked rows of all of them. It has `rollback()`, and what operations get of it, as a `RowTransaction` has; `state_of<I>(j)`, of the j-th row of the I-th repository; `commit_parts(joint_commit, deadline)` |
/// | `J::lock(repositories, keys, wait, deadline)` | `Outcome<Rows<R...>>` | where there are `Rows`: as `verb::LoadForUpdate`. `repositories` is a tuple, `keys` an array of the keys of each, sorted. Repositories are locked in the order of `place_in_order` |
/// | `J::open(repositories, keys, order)` | `Rows<R...>` | in place of `lock`, where rows can be waited for without blocking: nothing is locked yet, and the transaction has `poll` and `abandon`. `order`: which of the repositories comes when |
///
/// `place_in_order` decides which key is the home of an operation, so that two programs that name the same
/// states in different orders look for its record in one place.
///
/// The laws are those of `AtomicRepository` and `OperationRepository`, over all parts, and of
/// `RowLockingRepository`, where there are `Rows`. The record stands where
/// a commit of the repository of its home alone would have it.
template <class R>
concept JoinableRepository = OperationRepository<R> && requires(R const& r) {
    typename R::joint_store;
    { R::joint_store::place_in_order(r) } -> std::convertible_to<std::string>;
    { R::joint_store::refusal(r, r) } -> std::same_as<std::optional<Failure>>;
};

/// Two repositories of one kind of store.
template <class R, class First>
concept JoinableWith = JoinableRepository<R> && JoinableRepository<First> &&
    std::same_as<typename R::joint_store, typename First::joint_store> &&
    std::same_as<typename R::runtime_type, typename First::runtime_type>;

// clang-format on

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_JOINT_STORE_HPP
