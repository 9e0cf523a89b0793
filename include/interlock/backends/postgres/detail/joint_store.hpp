// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_JOINT_STORE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_JOINT_STORE_HPP

/// @file
/// Commits and row locks of several `postgres::StateRepository`s of one pool: one transaction.

#include <interlock/backends/postgres/async_transaction.hpp>
#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/detail/row_refusals.hpp>
#include <interlock/backends/postgres/detail/row_transaction_tables.hpp>
#include <interlock/backends/postgres/detail/state_table.hpp>
#include <interlock/backends/postgres/detail/table_core.hpp>
#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/versioned.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <numeric>
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

/// The tables of several repositories `Q`.
template <class R, class... Q>
class JointTables {
    using Table = std::shared_ptr<TableCore<R>>;

public:
    static constexpr std::size_t size = sizeof...(Q);

    explicit JointTables(
        std::shared_ptr<StateTable<typename Q::value_type, typename Q::key_type, R>>... tables)
        : tables_{std::move(tables)...}
    {}

    Table const& operator[](std::size_t i) const noexcept { return tables_[i]; }
    PoolState<R>& pool() const noexcept { return *tables_[0]->pool; }

    /// Which of them comes when. The first one by name comes first, in every program: so no two transactions
    /// wait for each other. The home of an operation is a key of that one.
    std::array<std::size_t, size> order() const
    {
        std::array<std::size_t, size> out;
        std::iota(out.begin(), out.end(), std::size_t{0});
        std::sort(out.begin(), out.end(), [this](std::size_t a, std::size_t b) {
            return *tables_[a]->identity < *tables_[b]->identity;
        });
        return out;
    }

    /// With its types.
    template <std::size_t I>
    auto const& typed() const noexcept
    {
        using Its = std::tuple_element_t<I, std::tuple<Q...>>;
        return static_cast<StateTable<typename Its::value_type, typename Its::key_type, R> const&>(
            *tables_[I]);
    }

private:
    std::array<Table, size> tables_;
};

/// An open transaction on tables of several repositories. What it promises of rows that it has locked is what
/// `postgres::RowTransaction` says.
template <class R, class... Q>
class JointTransaction : public RowTransactionCore<R> {
    using Core = RowTransactionCore<R>;
    using Tables = JointTables<R, Q...>;
    using Known = typename TableCore<R>::Known;
    using Indices = std::index_sequence_for<Q...>;
    using Rows = std::tuple<RowChanges<typename Q::value_type>...>;

public:
    using operation_type = BasicTransaction<R>;
    using async_operation_type = BasicAsyncTransaction<R>;

    JointTransaction(JointTransaction&&) noexcept = default;
    JointTransaction& operator=(JointTransaction&&) noexcept = default;
    ~JointTransaction() = default;

    explicit operator async_operation_type&() { return Core::asynchronous(); }
    bool writes_more() const noexcept { return Core::before_commit_.size() > 0; }
    std::optional<Failure> const& failure() const noexcept { return Core::failure_; }
    void rollback() noexcept { Core::roll_back(); }

    /// The j-th key of the I-th repository, as the locking read returned its row; nothing when there is none.
    template <std::size_t I>
    auto& state_of(std::size_t j)
    {
        return std::get<I>(states_)[j];
    }
    Outcome<CommitResult> commit_parts(JointCommit<Q...> const& commit, Deadline deadline)
    {
        return commit_parts(commit, deadline, Indices{});
    }

private:
    template <class>
    friend class JointStore;

    JointTransaction(
        Tables tables, std::array<Known, sizeof...(Q)> known, typename PoolState<R>::Session session,
        TimePoint until)
        : Core(tables[0], known[0], std::move(session), until), tables_(std::move(tables)),
          known_tables_(std::move(known))
    {}

    /// Calls `attempt(transaction)`, and once more where that may help.
    template <class Attempt>
    static auto begin(Tables const& tables, Deadline deadline, Attempt attempt)
        -> decltype(attempt(std::declval<JointTransaction&>()))
    {
        auto const until = deadline.at(tables.pool().runtime().now());
        for (bool again = true;; again = false) {
            std::array<Known, sizeof...(Q)> known;
            for (std::size_t i = 0; i < known.size(); ++i) {
                auto its = tables[i]->know(Deadline{until});
                if (!its)
                    return std::move(its).failure();
                known[i] = *std::move(its);
            }
            bool fresh = false;
            auto session = tables.pool().take(until, fresh);
            if (!session)
                return std::move(session).failure();
            JointTransaction tx{tables, std::move(known), *std::move(session), until};
            auto result = attempt(tx);
            // It had died in the pool, or its plans were too old; nothing was changed.
            if (!result && again &&
                (tx.healed_ || (tx.only_read_ && result.errc() == Errc::unavailable && !fresh)))
                continue;
            return result;
        }
    }

    // BEGIN and the locking reads. `keys`: of each repository.
    Outcome<void> lock(std::array<std::vector<Key>, sizeof...(Q)> const& keys, Wait wait)
    {
        only_read_ = true;
        for (auto const i : tables_.order())
            if (!keys[i].empty()) {
                locked_.push_back(i);
                locks_.push_back({tables_[i], known_tables_[i], {}});
                for (auto const& key : keys[i])
                    locks_.back().keys.push_back(&key);
            }
        auto locked = Core::lock_tables(locks_, wait);
        for (std::size_t at = 0; locked && at < locks_.size(); ++at)
            locked = read_states(at, Indices{});
        for (auto& table : locks_)
            table.keys.clear();  // the caller's, which this transaction outlives
        return locked;
    }
    template <std::size_t... I>
    Outcome<void> read_states(std::size_t at, std::index_sequence<I...>)
    {
        Outcome<void> read = success();
        (void)((locked_[at] == I && (read = this->template read_states_of<I>(at), true)) || ...);
        return read;
    }
    template <std::size_t I>
    Outcome<void> read_states_of(std::size_t at)
    {
        auto& states = std::get<I>(states_);
        auto& rows = locks_[at].rows;
        std::vector<std::string> seen;
        states.resize(rows.size());
        for (std::size_t j = 0; j < rows.size(); ++j) {
            auto const row = std::exchange(rows[j].row, Reply{});
            if (!row)
                continue;
            auto state = tables_.template typed<I>().read(row, 0, locks_[at].keys[j]);
            if (!state)
                return std::move(state).failure();
            if (rows.size() > 1 && !tables_.template typed<I>().is_new(*known_tables_[I], state->value, seen))
                return tables_[I]->one_row_twice();
            states[j].emplace(*std::move(state));
        }
        return success();
    }

    template <std::size_t... I>
    Outcome<CommitResult> commit_parts(
        JointCommit<Q...> const& commit, Deadline deadline, std::index_sequence<I...>)
    {
        auto const until = deadline.at(Core::pool_->runtime().now());
        Rows rows{RowChanges<typename Q::value_type>{std::get<I>(commit.parts).changes}...};
        std::array<std::span<RowChange>, sizeof...(Q)> const changes{std::get<I>(rows).rows()...};
        std::optional<Failure> twice;
        (void)((this->template names_one_row_twice<I>(commit) &&
                (twice = tables_[I]->one_row_twice(), true)) ||
               ...);
        if (twice)
            return *std::move(twice);
        std::vector<JointRows<R>> parts;
        for (auto const i : tables_.order())
            if (!changes[i].empty() || (commit.operation != nullptr && commit.home == i))
                parts.push_back({tables_[i], known_tables_[i], changes[i], place_of(i)});
        auto result = Core::commit_tables(parts, commit.operation, until);
        (std::get<I>(rows).hand_over(tables_.template typed<I>()), ...);
        if (commit.operation != nullptr && result)
            tables_[commit.home]->count_record(Deadline{until});
        return result;
    }
    /// Two keys may be spellings of one.
    template <std::size_t I>
    bool names_one_row_twice(JointCommit<Q...> const& commit) const
    {
        auto const& changes = std::get<I>(commit.parts).changes;
        std::vector<std::string> seen;
        for (auto const& change : changes)
            if (changes.size() > 1 && change.kind == ChangeKind::write &&
                !tables_.template typed<I>().is_new(*known_tables_[I], *change.value, seen))
                return true;
        return false;
    }
    /// Which table the name of the i-th one meant when rows of it were locked, if any were.
    std::string place_of(std::size_t i) const
    {
        auto const at = std::find(locked_.begin(), locked_.end(), i);
        return at == locked_.end() ? std::string{}
                                   : locks_[static_cast<std::size_t>(at - locked_.begin())].place;
    }

    Tables tables_;
    std::array<Known, sizeof...(Q)> known_tables_;
    std::vector<typename Core::TableLocks> locks_;
    std::vector<std::size_t> locked_;  // which of the tables each of them is
    std::tuple<std::vector<std::optional<Versioned<typename Q::value_type>>>...> states_;
    bool only_read_{false};
};

/// The `joint_store` of all repositories of one runtime; see `JoinableRepository`. `R`: the runtime.
template <class R>
class JointStore {
public:
    static constexpr bool records_events = true;
    template <class... Q>
    using Rows = JointTransaction<R, Q...>;

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
        auto const tables = std::apply(
            [](auto const&... part) { return JointTables<R, Q...>{part.repository->store_...}; },
            commit.parts);
        return Rows<Q...>::begin(
            tables, deadline, [&](Rows<Q...>& tx) { return tx.commit_parts(commit, deadline); });
    }
    template <class... Q>
    static Outcome<Rows<Q...>> lock(
        std::tuple<Q...> const& repositories, std::array<std::vector<Key>, sizeof...(Q)> const& keys,
        Wait wait, Deadline deadline)
    {
        if (!deadline.valid())
            return Failure{Errc::invalid_argument, "the deadline is not a number"};
        auto const tables = std::apply(
            [](auto const&... part) { return JointTables<R, Q...>{part.store_...}; }, repositories);
        return Rows<Q...>::begin(tables, deadline, [&](Rows<Q...>& tx) -> Outcome<Rows<Q...>> {
            if (auto locked = tx.lock(keys, wait); !locked)
                return std::move(locked).failure();
            return std::move(tx);
        });
    }
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_JOINT_STORE_HPP
