// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_COMMITTING_MEMBERS_HPP
#define INTERLOCK_CORE_KIT_COMMITTING_MEMBERS_HPP

/// @file
/// For authors of a repository: the members that write one value, from the one that commits changes.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/core/versioned.hpp>

#include <span>
#include <utility>

namespace interlock {
inline namespace v0 {

/// What `VersionedRepository` writes by, for a store that has `commit`: each member is a commit of one change without
/// an operation. Also the friendlier names of `RepositoryMembers`. `Derived` has `load` and `commit`; where one change
/// has a shorter way, its own `change` takes the place of the one here.
/// **Outcomes, thread safety, cost.** Those of `commit`; a version below 1 is `invalid_argument` and asks nobody.
template <class Derived, class T, class K>
class CommittingMembers : public RepositoryMembers<Derived, T, K> {
    using Members = RepositoryMembers<Derived, T, K>;

public:
    using Members::compare_and_set;
    using Members::erase;
    using Members::insert;

    /// Stores a value that must not exist yet; its version, or `already_exists`.
    Outcome<Version> insert(Key const& key, T const& value, Deadline deadline = {}) const
    {
        return self().change(
            {.key = &key, .kind = ChangeKind::write, .version = no_version, .value = &value}, deadline);
    }
    /// Replaces a value if its version is still `version`; the new version, or `version_conflict`, `not_found`.
    Outcome<Version> compare_and_set(Key const& key, Version version, T const& value, Deadline deadline = {}) const
    {
        if (version <= no_version)
            return Failure{Errc::invalid_argument, "versions start at 1"};
        return self().change({.key = &key, .kind = ChangeKind::write, .version = version, .value = &value}, deadline);
    }
    /// Likewise; returns the erased version.
    Outcome<Version> erase(Key const& key, Version version, Deadline deadline = {}) const
    {
        if (version <= no_version)
            return Failure{Errc::invalid_argument, "versions start at 1"};
        return self().change({.key = &key, .kind = ChangeKind::erase, .version = version}, deadline);
    }

private:
    friend Derived;
    CommittingMembers() = default;
    Derived const& self() const noexcept { return static_cast<Derived const&>(*this); }

    Outcome<Version> change(Change<T> change, Deadline deadline) const
    {
        auto done = self().commit(std::span<Change<T>>{&change, 1}, nullptr, deadline);
        if (!done)
            return std::move(done).failure();
        return change.version;
    }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_COMMITTING_MEMBERS_HPP
