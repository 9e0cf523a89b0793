// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_JOINT_STORE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_JOINT_STORE_HPP

/// @file
/// Commits of several `postgres::StateRepository`s of one pool: one transaction.

#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/detail/row_refusals.hpp>
#include <interlock/backends/postgres/detail/state_table.hpp>
#include <interlock/backends/postgres/detail/table_core.hpp>
#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// One such transaction.
template <class R>
class JointTransaction final : public RowTransactionCore<R> {
    using Core = RowTransactionCore<R>;

public:
    JointTransaction(JointRows<R> const& first, typename PoolState<R>::Session session, TimePoint until)
        : Core(first.store, first.known, std::move(session), until)
    {}
    using Core::commit_tables;
    /// Whether to do it again may help.
    bool healed() const noexcept { return Core::healed_; }
};

/// The `joint_store` of all repositories of one runtime; see `JoinableRepository`. `R`: the runtime.
template <class R>
class JointStore {
public:
    static constexpr bool records_events = true;

    /// Server, database, name space and table.
    template <class Q>
    static std::string place_in_order(Q const& repository)
    {
        return *repository.store_->identity;
    }
    template <class First, class... Q>
    static std::optional<Failure> refusal(First const& first, Q const&... repository)
    {
        if (((repository.store_->pool == first.store_->pool) && ...))
            return std::nullopt;
        return Failure{
            Errc::misconfigured,
            "postgres: the repositories of a JointRepository have different pools, and one "
            "transaction is one connection of one pool: make all of them from the same postgres::Pool"};
    }
    template <class... Q>
    static Outcome<CommitResult> commit(JointCommit<Q...> const& commit, Deadline deadline)
    {
        if (!deadline.valid())
            return Failure{Errc::invalid_argument, "the deadline is not a number"};
        return commit_parts(commit, deadline, std::index_sequence_for<Q...>{});
    }

private:
    template <class Q>
    using TableOf = StateTable<typename Q::value_type, typename Q::key_type, R>;

    template <class... Q, std::size_t... I>
    static Outcome<CommitResult> commit_parts(
        JointCommit<Q...> const& commit, Deadline deadline, std::index_sequence<I...>)
    {
        std::tuple<RowChanges<typename Q::value_type>...> rows{
            RowChanges<typename Q::value_type>{std::get<I>(commit.parts).changes}...};
        std::array<std::shared_ptr<TableCore<R>>, sizeof...(Q)> const tables{
            std::get<I>(commit.parts).repository->store_...};
        std::array<std::span<RowChange>, sizeof...(Q)> const changes{std::get<I>(rows).rows()...};
        // The first one by name comes first, in every program: so no two wait for each other. The home of an
        // operation is a key of that one.
        std::array<std::size_t, sizeof...(Q)> order{I...};
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            return *tables[a]->identity < *tables[b]->identity;
        });
        std::vector<std::size_t> used;
        for (auto const i : order)
            if (!changes[i].empty() || (commit.operation != nullptr && commit.home == i))
                used.push_back(i);
        auto const until = deadline.at(tables[0]->pool->runtime().now());
        for (bool again = true;; again = false) {
            std::vector<JointRows<R>> parts;
            for (auto const i : used) {
                auto known = tables[i]->know(Deadline{until});
                if (!known)
                    return std::move(known).failure();
                parts.push_back({tables[i], *std::move(known), changes[i]});
            }
            if (auto const twice = names_one_row_twice(commit, parts, used, std::index_sequence<I...>{}))
                return *twice;
            auto session = tables[0]->pool->take(until);
            if (!session)
                return std::move(session).failure();
            JointTransaction<R> transaction{parts[0], *std::move(session), until};
            auto result = transaction.commit_tables(parts, commit.operation, until);
            if (!result && transaction.healed() && again)
                continue;
            (std::get<I>(rows).hand_over(static_cast<TableOf<Q> const&>(*tables[I])), ...);
            if (commit.operation != nullptr && result)
                parts[0].store->count_record(Deadline{until});
            return result;
        }
    }

    /// Two keys may be spellings of one.
    template <class... Q, std::size_t... I>
    static std::optional<Failure> names_one_row_twice(
        JointCommit<Q...> const& commit, std::vector<JointRows<R>> const& parts,
        std::vector<std::size_t> const& used, std::index_sequence<I...>)
    {
        std::optional<Failure> twice;
        auto const look = [&]<class P>(JointPart<P> const& part, std::size_t index) {
            for (std::size_t at = 0; at < used.size(); ++at) {
                std::vector<std::string> seen;
                for (auto const& change : part.changes)
                    if (used[at] == index && part.changes.size() > 1 && change.kind == ChangeKind::write &&
                        !static_cast<TableOf<P> const&>(*parts[at].store)
                             .is_new(*parts[at].known, *change.value, seen))
                        twice = parts[at].store->one_row_twice();
            }
        };
        (look(std::get<I>(commit.parts), I), ...);
        return twice;
    }
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_JOINT_STORE_HPP
