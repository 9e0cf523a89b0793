// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_JOINT_JOINT_CHANGES_HPP
#define INTERLOCK_CORE_DETAIL_JOINT_JOINT_CHANGES_HPP

/// @file
/// The changes of one commit, sorted by the repository that each belongs to.

#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/joint/joint_state.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Those of one repository, in the order of the commit.
template <class Q>
struct PartChanges {
    using T = typename Q::value_type;

    /// `most` of them at most, so that what a change points to stays where it is.
    explicit PartChanges(std::size_t most)
    {
        keys.reserve(most);
        changes.reserve(most);
        places.reserve(most);
        stored.reserve(most);
    }
    std::vector<Key> keys;
    std::vector<Change<T>> changes;
    std::vector<std::size_t> places;  // in the commit
    std::vector<Stored<T>> stored;
};

template <class... R>
class JointChanges {
    using State = JointState<R...>;
    using First = std::tuple_element_t<0, std::tuple<R...>>;
    using Indices = std::index_sequence_for<R...>;

public:
    explicit JointChanges(std::size_t most) : parts_(PartChanges<R>{most}...) {}

    /// False: its key belongs to none of the repositories.
    bool add(Change<State> const& change)
    {
        auto const mark = JointMark::of(change.key->bytes());
        auto const place = added_++;
        return [&]<std::size_t... I>(std::index_sequence<I...>) {
            return ((mark.index == I && (this->template add_to<I>(change, place), true)) || ...);
        }(Indices{});
    }

    /// Commits what was added of `commit`, and tells `commit` what came of it. Of one repository alone it is
    /// that repository's own commit.
    Outcome<CommitResult> commit(
        std::tuple<R...> const& repositories, verb::Commit<State> const& commit, Deadline deadline)
    {
        return commit_by(repositories, commit, [&](JointCommit<R...> const& joint) {
            if (auto done = commit_in_one(joint, deadline, Indices{}))
                return *std::move(done);
            return First::joint_store::commit(joint, deadline);
        });
    }

    /// The same by `send(JointCommit<R...> const&)`.
    template <class Send>
    Outcome<CommitResult> commit_by(
        std::tuple<R...> const& repositories, verb::Commit<State> const& commit, Send send)
    {
        Key home;
        OperationCommit operation{};
        std::size_t home_part = 0;
        if (commit.operation != nullptr) {
            home = Key{JointMark::behind(commit.operation->home->bytes())};
            home_part = JointMark::of(commit.operation->home->bytes()).index;
            operation = *commit.operation;
            operation.home = &home;
        }
        Outcome<CommitResult> done = send(joint_commit(
            repositories, commit.operation != nullptr ? &operation : nullptr, home_part, Indices{}));
        if (done && !done->duplicate) {
            settle(commit.changes, Indices{});
            done->version = commit.changes.empty() ? no_version : commit.changes[0].version;
        }
        return done;
    }

private:
    template <std::size_t I>
    void add_to(Change<State> const& change, std::size_t place)
    {
        auto& part = std::get<I>(parts_);
        auto const value_in = [](State const* state) {
            return state == nullptr ? nullptr : std::get_if<I>(&state->variant());
        };
        part.keys.emplace_back(JointMark::behind(change.key->bytes()));
        part.places.push_back(place);
        part.changes.push_back(
            {.key = &part.keys.back(),
             .kind = change.kind,
             .version = change.version,
             .value = value_in(change.value),
             .fence = change.fence,
             .release = change.release,
             .before = value_in(change.before),
             .stored = change.stored == nullptr ? nullptr : &part.stored.emplace_back(),
             .events = change.events});
    }

    template <std::size_t... I>
    JointCommit<R...> joint_commit(
        std::tuple<R...> const& repositories, OperationCommit const* operation, std::size_t home,
        std::index_sequence<I...>)
    {
        return {{JointPart<R>{&std::get<I>(repositories), std::get<I>(parts_).changes}...}, operation, home};
    }

    /// Nothing, if more than one repository has a part in it.
    template <std::size_t... I>
    static std::optional<Outcome<CommitResult>> commit_in_one(
        JointCommit<R...> const& commit, Deadline deadline, std::index_sequence<I...>)
    {
        std::optional<Outcome<CommitResult>> done;
        auto const in_one = [&]<class Q>(JointPart<Q> const& part, std::size_t index) {
            bool const alone = ((I == index || std::get<I>(commit.parts).changes.empty()) && ...) &&
                               (commit.operation == nullptr || commit.home == index);
            if (alone)
                done.emplace(part.repository->carry_out(
                    verb::Commit<typename Q::value_type>{part.changes, commit.operation}, deadline));
            return alone;
        };
        (void)(in_one(std::get<I>(commit.parts), I) || ...);
        return done;
    }

    template <std::size_t... I>
    void settle(std::span<Change<State>> changes, std::index_sequence<I...>)
    {
        (settle_part<I>(changes), ...);
    }
    template <std::size_t I>
    void settle_part(std::span<Change<State>> changes)
    {
        auto& part = std::get<I>(parts_);
        for (std::size_t i = 0; i < part.changes.size(); ++i) {
            auto& change = changes[part.places[i]];
            change.version = part.changes[i].version;
            if (change.stored == nullptr)
                continue;
            change.stored->as_sent = part.changes[i].stored->as_sent;
            if (auto& value = part.changes[i].stored->value)
                change.stored->value.emplace(
                    std::in_place_index<I>, JointMark::of(change.key->bytes()), *std::move(value));
        }
    }

    std::tuple<PartChanges<R>...> parts_;
    std::size_t added_{0};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_JOINT_JOINT_CHANGES_HPP
