// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_VERSIONING_SESSION_HPP
#define INTERLOCK_POLICIES_DETAIL_VERSIONING_SESSION_HPP

/// @file
/// What `OptimisticVersioning` keeps for a repository, and one call under it: load, run, compare-and-set,
/// again.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/kit/pending_call.hpp>
#include <interlock/core/kit/per_key.hpp>
#include <interlock/core/kit/recorded_events.hpp>
#include <interlock/core/kit/state_cache.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/policies/detail/same_keys.hpp>

#include <array>
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
class VersioningSession : public PolicySession<Policy, R> {
public:
    using supports_combining = VersioningSession;
    using value_type = typename R::value_type;
    static constexpr auto forms = with_recorder<R, std::array{Form::states, Form::states_context}>();

    VersioningSession(Policy policy, R repository, Observer* observer)
        : PolicySession<Policy, R>(std::move(policy), std::move(repository), observer),
          cache_(
              this->policy().max_attempts > 1 && !runs_in_place(this->repository()) ? this->policy().remember
                                                                                    : 0)
    {}
    StateCache<value_type>& cache() const noexcept { return cache_; }

    static constexpr bool holds_in_begin() noexcept { return false; }
    bool in_place() const noexcept
    {
        return runs_in_place(this->repository()) || starts_calls(this->repository());
    }

    template <std::size_t N, Form Shape>
    class Transaction {
        using T = value_type;
        /// A store that always answers in place has nothing that is worth to be remembered.
        static constexpr bool may_remember = !AlwaysInPlace<R>;
        using Slot = StateSlot<T, typename R::key_type>;
        static constexpr bool at_once = N == std::dynamic_extent && CarriesOut<R, verb::LoadAll<T>>;
        using LoadVerb = std::conditional_t<at_once, verb::LoadAll<T>, verb::Load<T>>;

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
            if (N == 1 && !session_.cache().off() && std::exchange(remembers_, false) && tries_again()) {
                if (auto known = session_.cache().find(keys_[0])) {
                    remembered_ = true;
                    slots_[0].load(loaded_[0].emplace(*std::move(known)));
                    return Step<Begun>{std::in_place, std::in_place};
                }
            }
            if constexpr (at_once)
                return load_at_once(waiter, deadline);
            else
                return load_each(waiter, deadline);
        }

        std::optional<Failure> refusal() const { return changed_key(slots_, keys_); }

        Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
        {
            if constexpr (N == 1) {
                if (!committing_.under_way()) {
                    changed_ = slots_[0].changed();
                    if (!changed_ && !has_recorded<Shape>(context_)) {
                        if (remembered_)
                            return doubtful();
                        if (operation == nullptr)
                            return Step<CommitResult>{std::in_place, std::in_place};
                    }
                }
                auto step = write(operation, waiter);
                if constexpr (may_remember)
                    if (step.done() && !session_.cache().off())
                        remember(step.outcome());
                return step;
            } else {
                return write(operation, waiter);
            }
        }

        /// Before what the operation threw is believed: whether the state is the stored one, or the states
        /// still are, and so were, one moment's.
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
                    for (std::size_t i = 0; i < keys_.size(); ++i)
                        if (!slots_[i].fresh())
                            changes[count++] = {
                                .key = &keys_[i], .kind = ChangeKind::verify, .version = slots_[i].version()};
                    return count;
                });
            }
        }

        void rollback(bool) noexcept {}
        Failure reason() { return loading_.reason(); }
        void abandon() noexcept
        {
            loading_.give_up();
            ready_ = 0;
        }
        T& state(std::size_t i) noexcept { return slots_[i].value(); }

    private:
        /// What begins with a remembered state may have to run once more.
        bool tries_again() const noexcept
        {
            return ContextAccess::wait(context_, Wait::until_deadline) == Wait::until_deadline;
        }

        /// Loads the states one after the other.
        Step<Begun> load_each(Waiter& waiter, Deadline deadline)
        {
            for (; ready_ < keys_.size(); ++ready_) {
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
                if (auto made = missing(i, std::move(loaded).failure()); !made) {
                    ready_ = 0;
                    return std::move(made).failure();
                }
            }
            ready_ = 0;  // to run again, all is read again
            return begun(deadline);
        }

        /// The same in one trip.
        Step<Begun> load_at_once(Waiter& waiter, Deadline deadline)
        {
            auto asked = loading_.ask(session_.store(), waiter, verb::LoadAll<T>{keys_}, deadline);
            if (!asked)
                return Step<Begun>::under_way();
            auto& loaded = *asked;
            if (!loaded)
                return std::move(loaded).failure();
            for (std::size_t i = 0; i < keys_.size(); ++i)
                if (auto& state = (*loaded)[i])
                    slots_[i].load(loaded_[i].emplace(*std::move(state)));
                else if (auto made = missing(i, Failure{Errc::not_found}); !made)
                    return std::move(made).failure();
            return begun(deadline);
        }
        Step<Begun> begun(Deadline deadline)
        {
            auto const loaded = [&](std::size_t i) { return loaded_[i] ? &loaded_[i]->value : nullptr; };
            if (auto twice = same_keys_.judge_states(loaded, session_.store(), keys_, deadline))
                return *std::move(twice);
            return Step<Begun>{std::in_place, std::in_place};
        }
        /// The store did not give the i-th state: makes one, where the policy says so.
        Outcome<void> missing(std::size_t i, Failure failure)
        {
            if (failure.errc() == Errc::not_found && session_.policy().missing == Missing::create)
                return slots_[i].create(keys_[i], named_[i]);
            return missing_state(std::move(failure), session_, keys_, i);
        }

        /// To be run again, on what the store has.
        Failure doubtful()
        {
            remembered_ = false;
            session_.cache().drop(keys_[0]);
            return Errc::version_conflict;
        }

        void remember(Outcome<CommitResult> const& result) noexcept
        {
            bool const wrote = result && !result->duplicate && result->version != no_version;
            if (wrote && stored_.as_sent)
                session_.cache().put(keys_[0], slots_[0].value(), result->version, life_);
            else if (wrote && stored_.value)
                session_.cache().put(keys_[0], *stored_.value, result->version, life_);
            else if (!result || changed_)
                session_.cache().drop(keys_[0]);
            remembered_ = false;
        }

        /// Where the store says what it made of the state; only whoever remembers it asks.
        Stored<T>* asks_what_is_stored() noexcept
        {
            if constexpr (may_remember)
                if (!session_.cache().off()) {
                    stored_ = Stored<T>{};
                    return &stored_;
                }
            return nullptr;
        }

        Step<CommitResult> write(OperationCommit const* operation, Waiter& waiter)
        {
            if constexpr (N == 1) {
                auto& repository = session_.store();
                if (operation == nullptr && !has_recorded<Shape>(context_) &&
                    (waiter.may_block() || !starts_calls(repository))) {
                    auto& slot = slots_[0];
                    Deadline const deadline{context_.deadline()};
                    auto* const stored = asks_what_is_stored();
                    auto written =
                        slot.fresh()
                            ? repository.carry_out(verb::Insert<T>{keys_[0], slot.value(), stored}, deadline)
                            : repository.carry_out(
                                  verb::CompareAndSet<T>{
                                      keys_[0], slot.version(), slot.value(), slot.before(), stored},
                                  deadline);
                    if (!written)
                        return std::move(written).failure();
                    Step<CommitResult> done{std::in_place, std::in_place};
                    done.outcome()->version = *written;
                    return done;
                }
            }
            if constexpr (AtomicRepository<R>)
                return ask(waiter, operation, [&](auto& changes) {
                    RecordedEvents<Shape> const recorded{context_, session_.store().runtime()};
                    for (std::size_t i = 0; i < keys_.size(); ++i) {
                        changes[i] = slots_[i].change(keys_[i]);
                        changes[i].events = recorded.of(i);
                    }
                    if constexpr (N == 1)
                        changes[0].stored = asks_what_is_stored();
                    return keys_.size();
                });
            else
                return Errc::misconfigured;  // refused at compile time by the service
        }

        template <class Fill>
        Step<CommitResult> ask(Waiter& waiter, OperationCommit const* operation, Fill fill)
        {
            PerKey<Change<T>, N> changes{keys_.size()};
            std::size_t const count = committing_.under_way() ? 0 : fill(changes);
            Deadline const deadline{context_.deadline()};
            auto const all = std::span{changes}.first(count);
            auto asked = committing_.ask(session_.store(), waiter, verb::Commit<T>{all, operation}, deadline);
            if (!asked)
                return Step<CommitResult>::under_way();
            same_keys_.judge(*asked, session_.store(), keys_, deadline);
            return std::move(*asked);
        }

        VersioningSession const& session_;
        std::span<Key const, N> keys_;
        std::span<std::optional<T> const, N> named_;
        TransactionContext& context_;
        PerKey<std::optional<Versioned<T>>, N> loaded_{keys_.size()};
        PerKey<Slot, N> slots_{keys_.size()};
        std::size_t ready_{0};
        std::uint64_t life_{0};   // of the store, when it was asked
        bool remembers_{true};    // may begin with what is remembered: once
        bool remembered_{false};  // has
        bool changed_{false};     // the operation has changed the state, where there is one
        struct Nothing {};
        // Of the last write, see `asks_what_is_stored`.
        [[no_unique_address]] std::conditional_t<may_remember, Stored<T>, Nothing> stored_;
        [[no_unique_address]] SameKeys<R, N> same_keys_;
        [[no_unique_address]] PendingCall<R, LoadVerb> loading_;
        [[no_unique_address]] PendingCall<R, verb::Commit<T>> committing_;
    };

private:
    mutable StateCache<value_type> cache_;
};

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_VERSIONING_SESSION_HPP
