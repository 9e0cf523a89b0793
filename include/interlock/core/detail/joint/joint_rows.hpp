// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_JOINT_JOINT_ROWS_HPP
#define INTERLOCK_CORE_DETAIL_JOINT_JOINT_ROWS_HPP

/// @file
/// An open transaction that has locked rows of several repositories.

#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/joint/joint_changes.hpp>
#include <interlock/core/detail/joint/joint_parts.hpp>
#include <interlock/core/detail/joint/joint_state.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/versioned.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Whether rows of the repositories `R` can be locked in one transaction.
template <class First, class... R>
inline constexpr bool joint_locks = RowLockingRepository<First> && (RowLockingRepository<R> && ...) &&
                                    requires { typename First::joint_store::template Rows<First, R...>; };

/// The keys of one transaction, sorted by the repository that each belongs to.
template <std::size_t N>
struct JointRowKeys {
    struct Place {
        std::size_t part;
        std::size_t row;  // of that part
    };

    explicit JointRowKeys(std::span<Key const* const> all)
    {
        for (auto const* key : all) {
            auto const mark = JointMark::of(key->bytes());
            foreign = foreign || mark.index >= N;
            if (foreign)
                return;
            places.push_back({mark.index, keys[mark.index].size()});
            keys[mark.index].emplace_back(JointMark::behind(key->bytes()));
        }
    }

    std::array<std::vector<Key>, N> keys;
    std::vector<Place> places;
    bool foreign{false};  // a key belongs to none of the repositories
};

/// Models `RowTransaction` over `JointState<R...>`, by what the store has for several repositories.
template <class... R>
class JointRowTransaction
    : public std::tuple_element_t<0, std::tuple<R...>>::joint_store::template Rows<R...> {
    using First = std::tuple_element_t<0, std::tuple<R...>>;
    using Store = typename First::joint_store;
    using Rows = typename Store::template Rows<R...>;
    using State = JointState<R...>;
    using Parts = std::shared_ptr<JointParts<R...> const>;
    using RowKeys = JointRowKeys<sizeof...(R)>;

public:
    /// The store waits for rows without blocking: `poll`.
    static constexpr bool polled = requires(Rows rows, Waiter& waiter) { rows.poll(Wait::no, waiter); };

    /// Nothing is locked yet.
    JointRowTransaction(Parts parts, std::span<Key const* const> keys)
        requires polled
        : JointRowTransaction(parts, RowKeys{keys})
    {}
    static Outcome<JointRowTransaction> lock(
        Parts parts, std::span<Key const* const> all, Wait wait, Deadline deadline)
    {
        if (parts->refusal)
            return *parts->refusal;
        RowKeys keys{all};
        if (keys.foreign)
            return parts->foreign_key();
        auto rows = Store::lock(parts->repositories, keys.keys, wait, deadline);
        if (!rows)
            return std::move(rows).failure();
        return JointRowTransaction{*std::move(rows), std::move(parts), std::move(keys.places)};
    }

    Step<void> poll(Wait wait, Waiter& waiter)
        requires polled
    {
        if (parts_->refusal)
            return *parts_->refusal;
        if (foreign_)
            return parts_->foreign_key();
        return Rows::poll(wait, waiter);
    }

    /// The i-th key as it was when it was locked; nothing when it has no value.
    std::optional<Versioned<State>>& state(std::size_t i)
    {
        if (states_.empty())
            take_states(std::index_sequence_for<R...>{});
        return states_[i];
    }

    Outcome<CommitResult> commit(
        std::span<Change<State>> changes, OperationCommit const* operation, Deadline deadline)
    {
        JointChanges<R...> sorted{changes.size()};
        for (auto const& change : changes)
            if (!sorted.add(change))
                return parts_->foreign_key();
        return sorted.commit_by(
            parts_->repositories, verb::Commit<State>{changes, operation},
            [&](JointCommit<R...> const& commit) { return Rows::commit_parts(commit, deadline); });
    }

private:
    JointRowTransaction(Parts const& parts, RowKeys keys)
        : Rows(Store::open(parts->repositories, std::move(keys.keys), parts->order())), parts_(parts),
          places_(std::move(keys.places)), foreign_(keys.foreign)
    {}
    JointRowTransaction(Rows rows, Parts parts, std::vector<typename RowKeys::Place> places)
        : Rows(std::move(rows)), parts_(std::move(parts)), places_(std::move(places))
    {}

    template <std::size_t... I>
    void take_states(std::index_sequence<I...>)
    {
        states_.resize(places_.size());
        for (std::size_t i = 0; i < places_.size(); ++i)
            ((places_[i].part == I ? this->template take_state<I>(i) : void()), ...);
    }
    template <std::size_t I>
    void take_state(std::size_t i)
    {
        if (auto& own = Rows::template state_of<I>(places_[i].row))
            states_[i].emplace(Versioned<State>{
                State{std::in_place_index<I>, parts_->mark_of(I), std::move(own->value)}, own->version});
    }

    Parts parts_;
    std::vector<typename RowKeys::Place> places_;  // of the keys, in their order
    bool foreign_{false};
    std::vector<std::optional<Versioned<State>>> states_;
};

/// Whether such a transaction is waited for without blocking. `Locks`: there are such transactions.
template <bool Locks, class... R>
inline constexpr bool joint_polls = false;
template <class... R>
inline constexpr bool joint_polls<true, R...> = JointRowTransaction<R...>::polled;

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_JOINT_JOINT_ROWS_HPP
