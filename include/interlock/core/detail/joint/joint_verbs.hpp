// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_JOINT_JOINT_VERBS_HPP
#define INTERLOCK_CORE_DETAIL_JOINT_JOINT_VERBS_HPP

/// @file
/// What a `JointRepository` carries out: each verb in the repository that its key belongs to, and a commit in
/// all of them.

#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/detail/joint/joint_changes.hpp>
#include <interlock/core/detail/joint/joint_parts.hpp>
#include <interlock/core/detail/joint/joint_rows.hpp>
#include <interlock/core/detail/joint/joint_state.hpp>
#include <interlock/core/detail/transaction/call_arguments.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/fwd.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Asks for the `joint_store` of each repository where a compiler says which one has none.
template <class...>
struct JointStores {};

/// The row transaction of a joint repository, if it has any.
template <bool Locks, class... R>
struct JointTransactions {};
template <class... R>
struct JointTransactions<true, R...> {
    using transaction_type = JointRowTransaction<R...>;
};

/// Where the store of a joint repository keeps what its operations record, if it does.
template <bool Records, class First>
struct JointEvents {};
template <class First>
struct JointEvents<true, First> {
    using events_type = typename First::events_type;
};
template <class First, class... R>
inline constexpr bool joint_records =
    (RecordingRepository<R> && ...) && requires { requires First::joint_store::records_events; };

/// The same call for another key. An overload for each verb of records that has one.
inline verb::FindOperation at_key(verb::FindOperation const& find, Key const& key)
{
    return {key, find.id};
}
inline verb::ForbidOperation at_key(verb::ForbidOperation const& forbid, Key const& key)
{
    return {key, forbid.id, forbid.attempt};
}
inline verb::Create at_key(verb::Create const& create, Key const& key)
{
    return {key, create.owner, create.ttl, create.holder};
}
inline verb::Renew at_key(verb::Renew const& renew, Key const& key)
{
    return {key, renew.owner, renew.ttl};
}
inline verb::Remove at_key(verb::Remove const& remove, Key const& key)
{
    return {key, remove.owner, remove.granted, remove.holder};
}
inline verb::Inspect at_key(verb::Inspect const&, Key const& key)
{
    return {key};
}
inline verb::BreakLock at_key(verb::BreakLock const& broken, Key const& key)
{
    return {key, broken.seen};
}

/// Several keys without their marks, and which repository each belongs to.
class OwnKeys {
public:
    /// `most` of them at most, so that what points to one stays right.
    explicit OwnKeys(std::size_t most) { keys_.reserve(most); }
    void add(Key const& key)
    {
        keys_.emplace_back(
            JointMark::of(key.bytes()).index, Key{std::string(JointMark::behind(key.bytes()))});
    }
    /// Calls `visit` with the place and the key of each that belongs to the repository at `index`.
    template <class Visit>
    void each_of(std::size_t index, Visit visit) const
    {
        for (std::size_t i = 0; i < keys_.size(); ++i)
            if (keys_[i].first == index)
                visit(i, keys_[i].second);
    }

private:
    std::vector<std::pair<std::size_t, Key>> keys_;
};

/// A shared handle of the repositories `R`.
template <class... R>
class JointVerbs : public CommittingVerbs<JointVerbs<R...>, JointState<R...>> {
    using First = std::tuple_element_t<0, std::tuple<R...>>;
    template <std::size_t I>
    using Part = std::tuple_element_t<I, std::tuple<R...>>;
    using Indices = std::index_sequence_for<R...>;

public:
    using value_type = JointState<R...>;

    // ---- verbs, each asked of the repository that its key belongs to -----------------------------
    using CommittingVerbs<JointVerbs, JointState<R...>>::carry_out;

    Outcome<Versioned<value_type>> carry_out(verb::Load<value_type> const& load, Deadline deadline) const
    {
        return in_part<Versioned<value_type>>(load.key, [&](auto place, Key const& key) {
            return this->template load_from<place>(key, deadline);
        });
    }
    /// All of the changes in one step. Those of one repository alone are that repository's own commit.
    Outcome<CommitResult> carry_out(verb::Commit<value_type> const& commit, Deadline deadline) const
    {
        if (shared_->refusal)
            return *shared_->refusal;
        JointChanges<R...> changes{commit.changes.size()};
        for (auto const& change : commit.changes) {
            if (!changes.add(change))
                return JointParts<R...>::foreign_key();
            if (!joint_records<First, R...> && !change.events.empty())
                return Failure{
                    Errc::misconfigured, "the store keeps no events of a commit of several repositories"};
        }
        return changes.commit(shared_->repositories, commit, deadline);
    }
    /// Of operation records (`FindOperation`, `ForbidOperation`), which stand in the repository of their home
    /// as those of a call on that repository alone would, and of lock records (`Create`, `Renew`, `Remove`,
    /// `Inspect`, `BreakLock`).
    template <class V>
        requires requires(V const& verb, Key const& key) { at_key(verb, key); } && (CarriesOut<R, V> && ...)
    Outcome<typename V::answer> carry_out(V const& verb, Deadline deadline) const
    {
        return in_part<typename V::answer>(verb.key, [&](auto place, Key const& key) {
            return this->template part<place>().carry_out(at_key(verb, key), deadline);
        });
    }

    /// Renews the leases of each repository in as few trips as that can.
    Outcome<void> carry_out(verb::RenewAll const& all, Deadline deadline) const
        requires(CarriesOut<R, verb::RenewAll> && ...)
    {
        OwnKeys own{all.renewals.size()};
        for (auto& renewal : all.renewals) {
            own.add(*renewal.key);
            renewal.granted = JointParts<R...>::foreign_key();
        }
        shared_->each([&](auto index, auto const& part) {
            std::vector<Renewal> renewals;
            own.each_of(index, [&](std::size_t i, Key const& key) {
                renewals.push_back({&key, all.renewals[i].owner});
            });
            if (renewals.empty())
                return;
            settle_renewals(
                renewals, [&] { return part.carry_out(verb::RenewAll{renewals, all.ttl}, deadline); });
            std::size_t at = 0;
            own.each_of(index, [&](std::size_t i, Key const&) {
                all.renewals[i].granted = std::move(renewals[at++].granted);
            });
        });
        return success();
    }
    /// Asks those repositories that have two of the keys or more.
    Outcome<verb::FindSameKeys::answer> carry_out(verb::FindSameKeys const& find, Deadline deadline) const
        requires(CarriesOut<R, verb::FindSameKeys> && ...)
    {
        Outcome<verb::FindSameKeys::answer> found{std::in_place};
        each_with_several(find.keys, [&](auto const& part, std::span<Key const> keys, auto const& places) {
            if (!found || *found)
                return;
            found = part.carry_out(verb::FindSameKeys{keys}, deadline);
            if (found && *found)
                *found = std::pair{places[(*found)->first], places[(*found)->second]};
        });
        return found;
    }
    /// The keys of each repository by themselves.
    Outcome<void> carry_out(verb::FitOneCommit const& fit, Deadline deadline) const
        requires(CarriesOut<R, verb::FitOneCommit> && ...)
    {
        Outcome<void> out = success();
        each_with_several(fit.keys, [&](auto const& part, std::span<Key const> keys, auto const&) {
            if (out)
                out = part.carry_out(verb::FitOneCommit{keys}, deadline);
        });
        return out;
    }

    // ---- row locks: RowLockingRepository, where all of them and their store have it --------------
    template <class Tx>
        requires joint_locks<R...> && std::same_as<Tx, JointRowTransaction<R...>>
    Outcome<Tx> carry_out(verb::LoadForUpdate<Tx> const& rows, Deadline deadline) const
    {
        if constexpr (Tx::polled)
            return wait_for_rows(
                static_cast<JointRepository<R...> const&>(*this), rows.keys, rows.wait, deadline);
        else
            return Tx::lock(shared_, rows.keys, rows.wait, deadline);
    }
    /// As `open_transaction` of the repositories.
    JointRowTransaction<R...> open_transaction(std::span<Key const* const> keys) const
        requires joint_polls<joint_locks<R...>, R...>
    {
        return {shared_, keys};
    }

    // ---- locks: FusedRepository, where all of them are ------------------------------------------
    Outcome<GrantAndState<value_type>> carry_out(
        verb::CreateAndLoad<value_type> const& create, Deadline deadline) const
        requires(FusedRepository<R> && ...)
    {
        return in_part<GrantAndState<value_type>>(create.key, [&](auto place, Key const& key) {
            return this->template create_and_load_from<place>(create, key, deadline);
        });
    }
    /// Fences of several repositories are checked in one commit, and must hold in all of them.
    Outcome<void> carry_out(verb::VerifyFencing const& verify, Deadline deadline) const
        requires(FencedRepository<R> && ...)
    {
        if (shared_->refusal)
            return *shared_->refusal;
        Outcome<void> out = success();
        shared_->each([&](auto, auto const& part) {
            if (out)
                out = part.carry_out(verify, deadline);
        });
        return out;
    }

    // ---- wake-ups: SubscribableRepository -------------------------------------------------------

    void subscribe(Key const& key, OwnerToken owner, Waiter& waiter) const
        requires(SubscribableRepository<R> && ...)
    {
        at_part(key, [&](auto const& part) {
            auto const& own = shared_->waiting.add(waiter, JointMark::behind(key.bytes()));
            part.subscribe(own, owner, waiter);
        });
    }
    void unsubscribe(Key const& key, Waiter& waiter) const noexcept
        requires(SubscribableRepository<R> && ...)
    {
        at_part(key, [&](auto const& part) {
            if (auto const left = shared_->waiting.take(waiter))
                part.unsubscribe(left.mapped(), waiter);
        });
    }
    bool wanted(Key const& key, OwnerToken owner) const
        requires(SubscribableRepository<R> && ...)
    {
        bool out = false;
        at_part(
            key, [&](auto const& part) { out = part.wanted(Key{JointMark::behind(key.bytes())}, owner); });
        return out;
    }

    // ---- for services ---------------------------------------------------------------------------

    /// The states that the first argument of a call names.
    template <class Q>
    auto call_target(KeyIn<Q> const& named) const
    {
        return target_of(named);
    }
    template <class... Q>
    auto call_target(Keys<KeyIn<Q>...> const& named) const
    {
        return std::apply([this](auto const&... part) { return this->target_of(part...); }, named.parts());
    }

protected:
    explicit JointVerbs(R... repositories)
        : shared_(std::make_shared<JointParts<R...> const>(std::move(repositories)...))
    {}

    First const& first() const noexcept { return std::get<0>(shared_->repositories); }
    template <std::size_t I>
    auto const& part() const noexcept
    {
        return std::get<I>(shared_->repositories);
    }

    /// Calls `visit` with the place of the part that `key` belongs to and the key that it has there.
    template <class X, class Visit>
    Outcome<X> in_part(Key const& key, Visit visit) const
    {
        if (shared_->refusal)
            return *shared_->refusal;
        std::optional<Outcome<X>> out;
        auto const mark = JointMark::of(key.bytes());
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            Key const own{JointMark::behind(key.bytes())};
            (void)((mark.index == I &&
                    (out.emplace(visit(std::integral_constant<std::size_t, I>{}, own)), true)) ||
                   ...);
        }(Indices{});
        return out ? *std::move(out) : Outcome<X>{JointParts<R...>::foreign_key()};
    }
    /// Calls `visit` with each repository that has two of `keys` or more, with those as the repository knows
    /// them, and with their places in `keys`.
    template <class Visit>
    void each_with_several(std::span<Key const> keys, Visit visit) const
    {
        OwnKeys own{keys.size()};
        for (auto const& key : keys)
            own.add(key);
        shared_->each([&](auto index, auto const& part) {
            std::vector<Key> of_part;
            std::vector<std::size_t> places;
            own.each_of(index, [&](std::size_t i, Key const& key) {
                of_part.push_back(key);
                places.push_back(i);
            });
            if (of_part.size() > 1)
                visit(part, std::span<Key const>{of_part}, places);
        });
    }
    /// Calls `visit` with the part that `key` belongs to, if it belongs to any.
    template <class Visit>
    void at_part(Key const& key, Visit visit) const
    {
        auto const mark = JointMark::of(key.bytes());
        shared_->each([&](auto index, auto const& part) {
            if (index == mark.index)
                visit(part);
        });
    }
    template <std::size_t I>
    Outcome<GrantAndState<value_type>> create_and_load_from(
        verb::CreateAndLoad<value_type> const& create, Key const& key, Deadline deadline) const
    {
        auto granted = part<I>().carry_out(
            verb::CreateAndLoad<typename Part<I>::value_type>{key, create.owner, create.ttl, create.holder},
            deadline);
        if (!granted)
            return std::move(granted).failure();
        GrantAndState<value_type> out{granted->grant, std::nullopt};
        if (granted->state)
            out.state.emplace(Versioned<value_type>{
                state_in<I>(std::move(granted->state->value)), granted->state->version});
        return out;
    }
    template <std::size_t I>
    value_type state_in(typename Part<I>::value_type&& state) const
    {
        return {std::in_place_index<I>, shared_->mark_of(I), std::move(state)};
    }
    template <std::size_t I>
    Outcome<Versioned<value_type>> load_from(Key const& key, Deadline deadline) const
    {
        auto loaded = part<I>().carry_out(verb::Load<typename Part<I>::value_type>{key}, deadline);
        if (loaded)
            return Versioned<value_type>{state_in<I>(std::move(loaded->value)), loaded->version};
        if (loaded.errc() == Errc::not_found && loaded.failure().detail().empty())
            return Failure{Errc::not_found, printable_key(key.bytes()) + ": not_found"}.placed(
                place_of(part<I>()));
        return std::move(loaded).failure();
    }
    /// The mark of the keys in the repository that `named` names; nowhere, where that is none of these.
    template <class Q>
    JointMark mark_of(KeyIn<Q> const& named) const noexcept
    {
        JointMark mark;
        shared_->each([&](auto index, auto const& part) {
            if constexpr (std::same_as<std::remove_cvref_t<decltype(part)>, Q>)
                if (part.identity() == named.store())
                    mark = shared_->mark_of(index);
        });
        return mark;
    }
    template <class Q>
    Key key_of(KeyIn<Q> const& named) const
    {
        if (named.key().bytes().empty())
            return Key{};  // refused by the call, as every empty key is
        return Key{mark_of(named).in_front_of(named.key().bytes())};
    }
    template <class Q>
    std::optional<value_type> state_of(KeyIn<Q> const& named) const
    {
        std::optional<value_type> out;
        auto const mark = mark_of(named);
        if (named.state())
            shared_->each([&](auto index, auto const& part) {
                if constexpr (std::same_as<std::remove_cvref_t<decltype(part)>, Q>)
                    if (index == mark.index)
                        out.emplace(std::in_place_index<index>, mark, *named.state());
            });
        return out;
    }
    template <class... Q>
    auto target_of(KeyIn<Q> const&... named) const
    {
        return CallTarget<value_type, sizeof...(Q), true>{{key_of(named)...}, {state_of(named)...}};
    }

    std::shared_ptr<JointParts<R...> const> shared_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_JOINT_JOINT_VERBS_HPP
