// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_OPTIMISTIC_VERSIONING_HPP
#define INTERLOCK_POLICIES_OPTIMISTIC_VERSIONING_HPP

/// @file
/// Optimistic versioning: read a value with its version, compute, write only if the version has not moved.
///
/// Use it when conflicts are rare and the operation is pure: it may run several times. With many writers on one
/// key see `pessimistic_row_lock.hpp`.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/kit/pending_call.hpp>
#include <interlock/core/kit/state_cache.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/transaction_context.hpp>

#include <boost/asio/async_result.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

namespace detail {
template <class Policy, class R>
class VersioningSession;
}  // namespace detail

/// A policy that detects a concurrent writer at commit time and runs the operation again.
///
/// **Guarantee.** No update is lost: every accepted write consumed exactly the version it was computed from (law
/// P3). With several keys, all versions are checked in the commit: what the operation saw was one moment's state.
/// **Does not guarantee.** Fairness; progress under sustained contention; that the operation runs only once.
/// **Needs.** `VersionedRepository`; several keys: `AtomicRepository`; operation ids: `OperationRepository`.
/// **Cost.** Two round trips per attempt, none while waiting; one where `remember` knows the state. A result without a
/// change costs no write.
struct OptimisticVersioning {
    /// Attempts in total, including the first. At least 1. More raise the chance to win and the load on a hot key.
    int max_attempts{1000};
    /// Before each attempt but the first few.
    Backoff backoff{};
    /// What to do when there is no value.
    Missing missing{Missing::fail};
    /// So many states that this service saw last are kept, with their versions, and an operation on one of them begins
    /// with what is kept instead of a trip: the write goes first. If somebody else has written since, that write is
    /// refused and the operation runs again on what the store has; so it does before an exception or a result without
    /// a change is believed. After a failover that the store has noticed all are forgotten. Pays where most writes of a state go through this service. Needs `max_attempts` above 1.
    /// Stores that answer in place are asked anyhow.
    std::size_t remember{0};

    static constexpr std::string_view name = "optimistic_versioning";
    static constexpr Needs needs{.versions = true};
    using policy_concept = transaction_policy_tag;

    template <class R>
    using Session = detail::VersioningSession<OptimisticVersioning, R>;
};

namespace detail {

template <class Policy, class R>
class VersioningSession : public PolicySession<Policy, R> {
public:
    using supports_combining = VersioningSession;
    using value_type = typename R::value_type;
    static constexpr std::array forms{Form::states, Form::states_context};

    VersioningSession(Policy policy, R repository, Observer* observer)
        : PolicySession<Policy, R>(std::move(policy), std::move(repository), observer),
          cache_(
              this->policy().max_attempts > 1 && !runs_in_place(this->repository()) ? this->policy().remember : 0)
    {}
    StateCache<value_type>& cache() const noexcept { return cache_; }

    static constexpr bool begin_waits() noexcept { return false; }
    bool in_place() const noexcept { return runs_in_place(this->repository()) || starts_calls(this->repository()); }

    template <std::size_t N, Form Shape>
    class Transaction {
        using T = value_type;

    public:
        Transaction(
            VersioningSession const& session, std::span<Key const, N> keys, std::span<std::size_t const, N>,
            std::span<std::optional<T> const, N> named, TransactionContext& context)
            : session_(session), keys_(keys), named_(named), context_(context)
        {}

        Step<Begun> begin(Waiter& waiter)
        {
            Deadline const deadline{context_.deadline()};
            if (N == 1 && !session_.cache().off() && !loading_.under_way()) {
                life_ = life_of(session_.store());
                session_.cache().live(life_);
            }
            if (N == 1 && !session_.cache().off() && std::exchange(remembers_, false)) {
                if (auto known = session_.cache().find(keys_[0])) {
                    remembered_ = true;
                    slots_[0].load(loaded_[0].emplace(*std::move(known)));
                    return Step<Begun>{std::in_place, std::in_place};
                }
            }
            for (; ready_ < N; ++ready_) {
                auto const i = ready_;
                auto asked = loading_.ask(session_.store(), waiter, verb::Load<T>{keys_[i]}, deadline);
                if (!asked)
                    return Step<Begun>::under_way();
                auto& loaded = *asked;
                if (loaded) {
                    if (N == 1 && !session_.cache().off())
                        session_.cache().put(keys_[i], loaded->value, loaded->version, life_);
                    slots_[i].load(loaded_[i].emplace(*std::move(loaded)));
                    continue;
                }
                bool const create = loaded.error() == Errc::not_found && session_.policy().missing == Missing::create;
                auto made = create ? slots_[i].create(keys_[i], named_[i]) : Outcome<void>{std::move(loaded).failure()};
                if (!made) {
                    ready_ = 0;
                    return std::move(made).failure();
                }
            }
            ready_ = 0;  // to run again, all is read again
            return Step<Begun>{std::in_place, std::in_place};
        }

        std::optional<Failure> refusal() const { return changed_key(slots_, keys_); }

        Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
        {
            if constexpr (N == 1) {
                if (!committing_.under_way() && !slots_[0].changed()) {
                    if (remembered_)
                        return doubtful();
                    if (operation == nullptr)
                        return Step<CommitResult>{std::in_place, std::in_place};
                }
                auto step = write(operation, waiter);
                if (step.done() && !session_.cache().off())
                    remember(step.outcome());
                return step;
            } else {
                return write(operation, waiter);
            }
        }

        /// Before what the operation threw is believed: whether the state is the stored one, or the states still are, and so
        /// were, one moment's.
        Step<CommitResult> verify(Waiter& waiter)
            requires(N == 1 || AtomicRepository<R>)
        {
            if constexpr (N == 1) {
                if (remembered_)
                    return doubtful();
                return Step<CommitResult>{std::in_place, std::in_place};
            } else {
                return ask(waiter, nullptr, [&](auto& changes) {
                    std::size_t count = 0;
                    for (std::size_t i = 0; i < N; ++i)
                        if (!slots_[i].fresh())
                            changes[count++] = {
                                .key = &keys_[i], .kind = ChangeKind::verify, .version = slots_[i].version()};
                    return count;
                });
            }
        }

        void rollback(bool) noexcept {}
        void abandon() noexcept
        {
            loading_.give_up();
            ready_ = 0;
        }
        T& state(std::size_t i) noexcept { return slots_[i].value(); }

    private:
        /// To be run again, on what the store has.
        Failure doubtful()
        {
            remembered_ = false;
            session_.cache().drop(keys_[0]);
            return Errc::version_conflict;
        }

        void remember(Outcome<CommitResult> const& result) noexcept
        {
            if (result && !result->duplicate && result->version != no_version)
                session_.cache().put(keys_[0], slots_[0].value(), result->version, life_);
            else if (!result || slots_[0].changed())
                session_.cache().drop(keys_[0]);
            remembered_ = false;
        }

        Step<CommitResult> write(OperationCommit const* operation, Waiter& waiter)
        {
            if constexpr (N == 1) {
                auto& repository = session_.store();
                if (operation == nullptr && (waiter.may_block() || !starts_calls(repository))) {
                    auto& slot = slots_[0];
                    Deadline const deadline{context_.deadline()};
                    auto written = slot.fresh()
                                       ? repository.carry_out(verb::Insert<T>{keys_[0], slot.value()}, deadline)
                                       : repository.carry_out(
                                             verb::CompareAndSet<T>{keys_[0], slot.version(), slot.value()}, deadline);
                    if (!written)
                        return std::move(written).failure();
                    Step<CommitResult> done{std::in_place, std::in_place};
                    done.outcome()->version = *written;
                    return done;
                }
            }
            if constexpr (AtomicRepository<R>)
                return ask(waiter, operation, [&](auto& changes) {
                    for (std::size_t i = 0; i < N; ++i)
                        changes[i] = slots_[i].change(keys_[i]);
                    return N;
                });
            else
                return Errc::misconfigured;  // refused at compile time by the service
        }

        template <class Fill>
        Step<CommitResult> ask(Waiter& waiter, OperationCommit const* operation, Fill fill)
        {
            std::array<Change<T>, N> changes;
            std::size_t const count = committing_.under_way() ? 0 : fill(changes);
            Deadline const deadline{context_.deadline()};
            auto const all = std::span{changes}.first(count);
            auto asked = committing_.ask(session_.store(), waiter, verb::Commit<T>{all, operation}, deadline);
            if (!asked)
                return Step<CommitResult>::under_way();
            return std::move(*asked);
        }

        VersioningSession const& session_;
        std::span<Key const, N> keys_;
        std::span<std::optional<T> const, N> named_;
        TransactionContext& context_;
        std::array<std::optional<Versioned<T>>, N> loaded_;
        std::array<StateSlot<T, typename R::key_type>, N> slots_;
        std::size_t ready_{0};
        std::uint64_t life_{0};   // of the store, when it was asked
        bool remembers_{true};    // may begin with what is remembered: once
        bool remembered_{false};  // has
        [[no_unique_address]] PendingCall<R, verb::Load<T>> loading_;
        [[no_unique_address]] PendingCall<R, verb::Commit<T>> committing_;
    };

private:
    mutable StateCache<value_type> cache_;
};

}  // namespace detail

/// Writes `value` if the stored version is still `version`, and never tries again by itself: for edits whose
/// author has seen a version, a form on a screen for one. A conflict is for that author to solve.
///
/// **Outcome.** The new version; `version_conflict`, `not_found`, or what the store says.
template <VersionedRepository R>
Outcome<Version> save_if(R repository, Version version, typename R::value_type const& value, Deadline deadline = {})
    requires KeyedState<typename R::value_type>
{
    auto const key = make_key<typename R::value_type, typename R::key_type>(value);
    return repository.carry_out(verb::CompareAndSet<typename R::value_type>{key, version, value}, deadline);
}

/// As `save_if`, without blocking. **Completion.** `void(Outcome<Version>)`. **Cancellation.** As that of the asynchronous
/// members of repositories, see `StoreMembers`.
template <VersionedRepository R, class V, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
    requires KeyedState<typename R::value_type> && std::same_as<std::remove_cvref_t<V>, typename R::value_type>
auto async_save_if(R const& repository, Version version, V&& value, Deadline deadline, Token&& token)
{
    static_assert(detail::safe_argument<V>, INTERLOCK_NAME_IT_FIRST);
    using T = typename R::value_type;
    return detail::async_carry_out(
        repository, detail::CompareAndSetRequest<T>{make_key<T, typename R::key_type>(value), version, value}, deadline,
        token);
}
template <VersionedRepository R, class V, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
    requires KeyedState<typename R::value_type> && std::same_as<std::remove_cvref_t<V>, typename R::value_type>
auto async_save_if(R const& repository, Version version, V&& value, Token&& token)
{
    return async_save_if(repository, version, std::forward<V>(value), Deadline{}, std::forward<Token>(token));
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_OPTIMISTIC_VERSIONING_HPP
