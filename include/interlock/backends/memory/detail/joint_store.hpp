// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_DETAIL_JOINT_STORE_HPP
#define INTERLOCK_BACKENDS_MEMORY_DETAIL_JOINT_STORE_HPP

/// @file
/// Commits and row locks of several `memory::StateRepository`s. All of this process's memory is one store for
/// them.

#include <interlock/backends/memory/detail/event_sink.hpp>
#include <interlock/backends/memory/detail/locked_rows.hpp>
#include <interlock/backends/memory/detail/pending_commit.hpp>
#include <interlock/backends/memory/detail/store.hpp>
#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace memory {
namespace detail {

template <class R>
class JointStore;

/// The rows of several repositories that one transaction has locked, or waits for, one repository after the
/// other. What it promises is what `memory::Transaction` says.
template <class R, class... Q>
class JointLockedRows {
    static constexpr std::size_t size = sizeof...(Q);
    using Indices = std::index_sequence_for<Q...>;
    using Stores = std::tuple<std::shared_ptr<Store<typename Q::value_type, R>>...>;

public:
    Step<void> poll(Wait wait, Waiter& waiter)
    {
        for (auto const part : order_)
            if (auto done = poll(part, wait, waiter, Indices{}); !done.done() || !done.outcome())
                return done;
        return success();
    }
    void abandon() noexcept
    {
        each([](auto& rows) { rows.abandon(); });
    }
    void rollback() noexcept
    {
        each([](auto& rows) { rows.rollback(); });
    }
    /// The j-th row of the I-th repository.
    template <std::size_t I>
    auto& state_of(std::size_t j)
    {
        return std::get<I>(rows_)->state(j);
    }
    Outcome<CommitResult> commit_parts(JointCommit<Q...> const& commit, Deadline)
    {
        auto result = JointStore<R>::commit_locked(commit, ids(Indices{}));
        rollback();  // unlocks the rows, whatever became of the changes
        return result;
    }

private:
    friend JointStore<R>;

    JointLockedRows(
        Stores const& stores, std::array<std::vector<Key>, size> keys, std::array<std::size_t, size> order)
        : keys_(std::move(keys)), order_(order)
    {
        set_rows(stores, Indices{});
    }
    template <std::size_t... I>
    void set_rows(Stores const& stores, std::index_sequence<I...>)
    {
        (this->template set_rows_of<I>(std::get<I>(stores)), ...);
    }
    template <std::size_t I, class S>
    void set_rows_of(std::shared_ptr<S> const& store)
    {
        if (keys_[I].empty())
            return;
        std::vector<Key const*> keys;
        for (auto const& key : keys_[I])
            keys.push_back(&key);
        std::get<I>(rows_).emplace(store.get(), std::span<Key const* const>{keys}).keep(store);
    }

    template <class Visit>
    void each(Visit visit) noexcept
    {
        std::apply([&](auto&... rows) { ((rows ? visit(*rows) : void()), ...); }, rows_);
    }
    template <std::size_t... I>
    Step<void> poll(std::size_t part, Wait wait, Waiter& waiter, std::index_sequence<I...>)
    {
        std::optional<Step<void>> out;
        (void)((part == I && std::get<I>(rows_) &&
                (out.emplace(std::get<I>(rows_)->poll(wait, waiter)), true)) ||
               ...);
        return out ? *std::move(out) : Step<void>{success()};
    }
    template <std::size_t... I>
    std::array<TransactionId, size> ids(std::index_sequence<I...>) const noexcept
    {
        return {(std::get<I>(rows_) ? std::get<I>(rows_)->id() : TransactionId{0})...};
    }

    std::array<std::vector<Key>, size> keys_;  // `rows_` point to them until they are locked
    std::array<std::size_t, size> order_;      // in which the repositories are locked
    std::tuple<std::optional<LockedRows<typename Q::value_type, R>>...> rows_;
};

/// The `joint_store` of all repositories of one runtime; see `JoinableRepository`. `R`: the runtime.
template <class R>
class JointStore {
public:
    static constexpr bool records_events = true;
    template <class... Q>
    using Rows = JointLockedRows<R, Q...>;

    /// Nobody outside of this process is to agree, so that the address will do.
    template <class Q>
    static std::string place_in_order(Q const& repository)
    {
        return interlock::KeyTraits<std::uint64_t>::encode(
            reinterpret_cast<std::uintptr_t>(repository.identity()));
    }
    /// Any stores in memory may be committed together, but for their events, which go to one log.
    template <class... Q>
    static std::optional<Failure> refusal(Q const&... repository)
    {
        EventSink const* log = nullptr;
        bool several = false;
        auto const look = [&](EventSink const* its) {
            several = several || (log != nullptr && its != nullptr && its != log);
            log = its != nullptr ? its : log;
        };
        (look(repository.store_->options().events.get()), ...);
        if (several)
            return Failure{
                Errc::misconfigured,
                "the repositories name several event repositories, and the events of one commit go to one: "
                "give all of them the same"};
        return std::nullopt;
    }
    template <class... Q>
    static Outcome<CommitResult> commit(JointCommit<Q...> const& commit, Deadline)
    {
        return commit_locked(commit, {});
    }
    template <class... Q>
    static Rows<Q...> open(
        std::tuple<Q...> const& repositories, std::array<std::vector<Key>, sizeof...(Q)> keys,
        std::array<std::size_t, sizeof...(Q)> order)
    {
        return std::apply(
            [&](auto const&... part) { return Rows<Q...>{{part.store_...}, std::move(keys), order}; },
            repositories);
    }
    /// The commit of transactions that have locked rows, one of each store, or of none: 0.
    template <class... Q>
    static Outcome<CommitResult> commit_locked(
        JointCommit<Q...> const& commit, std::array<TransactionId, sizeof...(Q)> const& transactions)
    {
        constexpr auto indices = std::index_sequence_for<Q...>{};
        if (auto checked = check_values(commit, indices); !checked)
            return std::move(checked).failure();
        auto result = try_commit(commit, transactions, indices);
        if (result.errc() == Errc::overloaded && make_room(commit, indices)) [[unlikely]]
            return try_commit(commit, transactions, indices);
        return result;
    }

private:
    template <class Q>
    using StoreOf = Store<typename Q::value_type, R>;

    /// Takes the mutexes of each store, those of the lowest address first: in the same order in all commits,
    /// so that no two of them wait for each other.
    template <class... Q>
    class AllLocks {
    public:
        AllLocks(std::pair<StoreOf<Q>*, std::uint64_t>... stores) : stores_(stores...)
        {
            std::array<std::pair<void const*, std::size_t>, sizeof...(Q)> order;
            std::size_t at = 0;
            ((order[at] = {stores.first, at}, ++at), ...);
            std::sort(order.begin(), order.end(), [](auto const& a, auto const& b) {
                return std::less<>{}(a.first, b.first);
            });
            for (auto const& [store, index] : order)
                take(index, std::index_sequence_for<Q...>{});
        }

    private:
        template <std::size_t... I>
        void take(std::size_t index, std::index_sequence<I...>)
        {
            (void)((I == index &&
                    (std::get<I>(locks_).emplace(*std::get<I>(stores_).first, std::get<I>(stores_).second),
                     true)) ||
                   ...);
        }
        std::tuple<std::pair<StoreOf<Q>*, std::uint64_t>...> stores_;
        std::tuple<std::optional<typename StoreOf<Q>::Locks>...> locks_;
    };

    template <class Q>
    static StoreOf<Q>& store_of(JointPart<Q> const& part)
    {
        return *part.repository->store_;
    }

    template <class... Q, std::size_t... I>
    static Outcome<void> check_values(JointCommit<Q...> const& commit, std::index_sequence<I...>)
    {
        Outcome<void> checked = success();
        auto const check = [&](auto const& part) {
            for (auto const& change : part.changes)
                if (checked && change.kind == ChangeKind::write)
                    checked = store_of(part).check_value(*change.value);
        };
        (check(std::get<I>(commit.parts)), ...);
        return checked;
    }

    template <class... Q, std::size_t... I>
    static Outcome<CommitResult> try_commit(
        JointCommit<Q...> const& commit, std::array<TransactionId, sizeof...(Q)> const& transactions,
        std::index_sequence<I...>)
    {
        Wakeup wakeup;
        auto const operation_of = [&](std::size_t part) {
            return commit.operation != nullptr && commit.home == part ? commit.operation : nullptr;
        };
        auto const& parts = commit.parts;
        AllLocks<Q...> const locks{std::pair{
            &store_of(std::get<I>(parts)),
            StoreOf<Q>::shards_of(std::get<I>(parts).changes, operation_of(I))}...};
        std::tuple<std::optional<PendingCommit<typename Q::value_type, R>>...> staged;
        (std::get<I>(staged).emplace(
             store_of(std::get<I>(parts)), std::get<I>(parts).changes, operation_of(I), transactions[I]),
         ...);

        std::optional<Outcome<CommitResult>> decided;
        (void)((decided = std::get<I>(staged)->decided_by_record(), decided.has_value()) || ...);
        if (decided)
            return *std::move(decided);
        CommitRefusal refusal{(std::get<I>(parts).changes.size() + ...)};
        (std::get<I>(staged)->check(refusal), ...);
        if (refusal)
            return std::move(refusal).failure();
        // Of several stores, the record is one of the things that may be refused: it comes last.
        PendingAppend append;
        Outcome<void> prepared = success();
        auto const prepare = [&](auto& stage) {
            prepared = stage->prepare(append);
            return static_cast<bool>(prepared);
        };
        (void)((I == commit.home || prepare(std::get<I>(staged))) && ...);
        if (prepared)
            (void)((I != commit.home || prepare(std::get<I>(staged))) && ...);
        if (!prepared)
            return std::move(prepared).failure();
        (std::get<I>(staged)->apply(wakeup), ...);
        append.keep();
        return CommitResult{};
    }
    template <class... Q, std::size_t... I>
    static bool make_room(JointCommit<Q...> const& commit, std::index_sequence<I...>)
    {
        return (static_cast<int>(store_of(std::get<I>(commit.parts)).make_room()) + ...) > 0;
    }
};

}  // namespace detail
}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_DETAIL_JOINT_STORE_HPP
