// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_DETAIL_JOINT_STORE_HPP
#define INTERLOCK_BACKENDS_MEMORY_DETAIL_JOINT_STORE_HPP

/// @file
/// Commits of several `memory::StateRepository`s. All of this process's memory is one store for them.

#include <interlock/backends/memory/detail/event_sink.hpp>
#include <interlock/backends/memory/detail/pending_commit.hpp>
#include <interlock/backends/memory/detail/store.hpp>
#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace memory {
namespace detail {

/// The `joint_store` of all repositories of one runtime; see `JoinableRepository`. `R`: the runtime.
template <class R>
class JointStore {
public:
    static constexpr bool records_events = true;

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
        auto result = try_commit(commit, std::index_sequence_for<Q...>{});
        if (result.errc() == Errc::overloaded && make_room(commit, std::index_sequence_for<Q...>{}))
            [[unlikely]]
            return try_commit(commit, std::index_sequence_for<Q...>{});
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
    static Outcome<CommitResult> try_commit(JointCommit<Q...> const& commit, std::index_sequence<I...>)
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
             store_of(std::get<I>(parts)), std::get<I>(parts).changes, operation_of(I), TransactionId{0}),
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
