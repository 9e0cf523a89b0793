// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_STORE_MEMBERS_HPP
#define INTERLOCK_CORE_KIT_STORE_MEMBERS_HPP

/// @file
/// For authors of a store: the members that users call, made from the verbs that the store carries out. A
/// store writes verbs and derives from `StoreMembers`, or from `CommittingMembers` when `Commit` is all it
/// has:
///
///     template <class T>
///     class StateRepository : public CommittingMembers<StateRepository<T>, T, std::string> {
///         using Members = CommittingMembers<StateRepository<T>, T, std::string>;
///     public:
///         using Members::carry_out;
///         Outcome<Versioned<T>> carry_out(verb::Load<T> const& load, Deadline deadline) const;
///         Outcome<CommitResult> carry_out(verb::Commit<T> const& commit, Deadline deadline) const;
///     };
///     // stock.load("sku-1"), stock.insert({"sku-1", 400}), stock.async_load("sku-1", token) are there now
///
/// Why a base and not free functions: `stock.load("sku-1")` is what a user looks for, and a verb is
/// declared in one place however many members name it.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/detail/member_requests.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/safe_argument.hpp>
#include <interlock/core/kit/verb_operation.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/core/versioned.hpp>

#include <boost/asio/async_result.hpp>  // completion_token_for

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// Several keys, or states that have one, in a vector, an array or a span: what knows its size and can be
/// gone through. A text is one key, never several.
template <class Keys, class T, class K>
concept KeysOrStates = requires(Keys const& keys) {
    std::size(keys);
    std::begin(keys) != std::end(keys);
    requires KeyOrState<std::remove_cvref_t<decltype(*std::begin(keys))>, T, K>;
} && !std::convertible_to<Keys const&, std::string_view> && !KeyOrState<Keys, T, K>;

/// The members of a repository for direct use: `Derived` carries out verbs, this base names them. A member is
/// there if `Derived` carries out its verb. Where a key is asked for, an encoded `Key`, a key, or a state
/// that has one will do.
///
/// **Outcomes, thread safety, cost.** Those of the verb, see `contracts/requests.hpp`; a bad key is
/// `invalid_argument`. `message()` of a failure names the store and says what went wrong there; the text
/// is made for failures only. **Asynchronous twins.** `async_load` and so on take any completion token and
/// complete with the same `Outcome`, on the handler's associated executor, exactly once, never from within
/// the call. Arguments are copied, so that they need not outlive the call. A store that starts calls
/// occupies no thread meanwhile, a store that answers in place answers at once; for others the call runs
/// on a thread of the runtime's pool for blocking calls, and waiting for that thread counts.
/// **Cancellation.** Before the call has begun: `cancelled`, and nothing was sent. Afterwards a call that
/// reads may be given up and is `cancelled`; a call that writes ends with the store's outcome, at the
/// latest by its deadline.
template <class Derived, class T, class K>
class StoreMembers {
public:
    /// The value and its version, or `not_found`. Reads what is committed; nothing is locked, so the
    /// version may be another one when it is used. One trip.
    template <KeyOrState<T, K> A>
    Outcome<Versioned<T>> load(A const& key, Deadline deadline = {}) const
    {
        return ask(verb::Load<T>{detail::encoded<T, K>(key)}, deadline);
    }
    /// Several at once, in the order of `keys`; nothing for a key without a value. One trip where the store
    /// can; the values need not be of one moment. The first failure is that of the whole call.
    template <KeysOrStates<T, K> Keys>
    Outcome<std::vector<std::optional<Versioned<T>>>> load(Keys const& keys, Deadline deadline = {}) const
    {
        auto outcome = detail::load_all(self(), detail::encoded_keys<T, K>(keys), deadline);
        if (!outcome)
            explain(outcome, self());
        return outcome;
    }

    /// Stores a value that must not exist yet; its version, or `already_exists`. After an erase the
    /// version is higher than any that the key ever had (law P3). One trip.
    Outcome<Version> insert(T const& state, Deadline deadline = {}) const
        requires KeyedState<T>
    {
        return ask(verb::Insert<T>{make_key<T, K>(state), state, nullptr, true}, deadline);
    }
    template <KeyOrState<T, K> A>
    Outcome<Version> insert(A const& key, T const& value, Deadline deadline = {}) const
    {
        return ask(verb::Insert<T>{detail::encoded<T, K>(key), value}, deadline);
    }
    /// Stores a value under a key that the store makes, as a database with an identity column does; the value
    /// as it is stored, its key in it, and its version. The key that stands in `state` is not looked at where
    /// the store makes it. Without an operation id a lost reply is `outcome_unknown`, and to call again may
    /// make another one. With one, call again: the same value comes back, as it is then.
    template <class Self = Derived>
        requires CarriesOut<Self, verb::InsertNew<T>>
    Outcome<Versioned<T>> insert_new(T const& state, Deadline deadline = {}) const
    {
        return ask(verb::InsertNew<T>{state}, deadline);
    }
    template <class Self = Derived>
        requires CarriesOut<Self, verb::InsertNew<T>>
    Outcome<Versioned<T>> insert_new(OperationId const& id, T const& state, Deadline deadline = {}) const
    {
        return ask(verb::InsertNew<T>{state, &id}, deadline);
    }
    /// Replaces a value if its version is still `version`; the new version, or `version_conflict`,
    /// `not_found`. A failure that is `outcome_unknown` may have replaced the value; load it to find out. A
    /// version below 1 is `invalid_argument`. One trip.
    template <KeyOrState<T, K> A>
    Outcome<Version> compare_and_set(
        A const& key, Version version, T const& value, Deadline deadline = {}) const
    {
        return ask(verb::CompareAndSet<T>{detail::encoded<T, K>(key), version, value}, deadline);
    }
    /// Removes a value if its version is still `version`; the erased version, or `version_conflict`,
    /// `not_found`. A lock of the key and the records of its operations stay. One trip.
    template <KeyOrState<T, K> A>
    Outcome<Version> erase(A const& key, Version version, Deadline deadline = {}) const
    {
        return ask(verb::Erase{detail::encoded<T, K>(key), version}, deadline);
    }
    /// All of `changes`, and the operation's record if given, or nothing. The new versions stand in
    /// `changes` when it was applied. `operation` makes a repetition safe: a commit whose record is there
    /// already is not made again.
    template <class Self = Derived>
        requires CarriesOut<Self, verb::Commit<T>>
    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline = {}) const
    {
        return ask(verb::Commit<T>{changes, operation}, deadline);
    }

    /// The answer or tombstone of an operation id, or nothing. Nothing does not mean that no commit is on
    /// its way: `forbid_operation` settles that.
    template <class Self = Derived>
        requires CarriesOut<Self, verb::FindOperation>
    Outcome<std::optional<OperationRecord>> find_operation(
        Key const& key, OperationId const& id, Deadline deadline = {}) const
    {
        return ask(verb::FindOperation{key, id}, deadline);
    }
    /// If there is no answer yet, forbids all attempts up to `attempt`; the record as it then is. After
    /// that a commit of a forbidden attempt that was on its way is `superseded`, so that an unknown
    /// outcome is known.
    template <class Self = Derived>
        requires CarriesOut<Self, verb::ForbidOperation>
    Outcome<OperationRecord> forbid_operation(
        Key const& key, OperationId const& id, std::uint32_t attempt, Deadline deadline = {}) const
    {
        return ask(verb::ForbidOperation{key, id, attempt}, deadline);
    }

    /// Opens a transaction, locks `keys` in the order given and reads them. Whoever locks several keys gives
    /// them in one order everywhere, else two transactions may wait for each other.
    template <class Self = Derived>
        requires CarriesOut<Self, verb::LoadForUpdate<typename Self::transaction_type>>
    auto load_for_update(std::span<Key const* const> keys, Wait wait, Deadline deadline = {}) const
    {
        return ask(verb::LoadForUpdate<typename Self::transaction_type>{keys, wait}, deadline);
    }

    /// Takes the lock record if it is free or its lease is over; else `lock_busy` with the holder's remaining
    /// lease.
    template <class Self = Derived>
        requires CarriesOut<Self, verb::Create>
    Outcome<Grant> create(Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline = {}) const
    {
        return ask(verb::Create{key, owner, ttl}, deadline);
    }
    /// `create` and then `load` in one trip. A granted lock comes with the state as it was under that
    /// lock, or with nothing where the key has no value.
    template <class Self = Derived>
        requires CarriesOut<Self, verb::CreateAndLoad<T>>
    Outcome<GrantAndState<T>> create_and_load(
        Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline = {}) const
    {
        return ask(verb::CreateAndLoad<T>{key, owner, ttl}, deadline);
    }
    /// Prolongs the lease of `owner`; the granted time, or `lock_lost`. The time counts from before the
    /// request left, by the caller's clock (law P6).
    template <class Self = Derived>
        requires CarriesOut<Self, verb::Renew>
    Outcome<std::chrono::nanoseconds> renew(
        Key const& key, OwnerToken owner, Ttl ttl, Deadline deadline = {}) const
    {
        return ask(verb::Renew{key, owner, ttl}, deadline);
    }
    /// `renew` for each of them in fewer trips; what became of each stands in its `granted`. One that
    /// fails takes nothing from the others; a failure of the whole call stands in each.
    template <class Self = Derived>
        requires CarriesOut<Self, verb::RenewAll>
    void renew_all(std::span<Renewal> renewals, Ttl ttl, Deadline deadline = {}) const
    {
        settle_renewals(renewals, [&] { return ask(verb::RenewAll{renewals, ttl}, deadline); });
    }
    /// Removes the lock record if it names `owner`, and never another one (law P8). It may be called again
    /// after an unknown outcome.
    template <class Self = Derived>
        requires CarriesOut<Self, verb::Remove>
    Outcome<Removal> remove(Key const& key, OwnerToken owner, Deadline deadline = {}) const
    {
        return ask(verb::Remove{key, owner}, deadline);
    }
    /// Who holds the lock of `key`, since when and for how long; nothing where nobody does. It may be over
    /// when the answer is there: for people, not for decisions.
    template <KeyOrState<T, K> A, class Self = Derived>
        requires CarriesOut<Self, verb::Inspect>
    Outcome<std::optional<LockInfo>> inspect(A const& key, Deadline deadline = {}) const
    {
        return ask(verb::Inspect{detail::encoded<T, K>(key)}, deadline);
    }
    /// Ends the acquisition that `inspect` has seen, whoever holds it: its guarded writes are `fenced_out`
    /// from then on, and its next renewal finds the lock lost. `removed`; `gone`: nobody holds the lock any
    /// more; `taken`: somebody else has it by now, and keeps it. A holder hears of it a third of its lease
    /// later, and what it does without a fence meanwhile is done.
    template <KeyOrState<T, K> A, class Self = Derived>
        requires CarriesOut<Self, verb::BreakLock>
    Outcome<Removal> break_lock(A const& key, LockInfo const& seen, Deadline deadline = {}) const
    {
        return ask(verb::BreakLock{detail::encoded<T, K>(key), seen.token}, deadline);
    }
    /// Whether the fences of the store can be relied on; `misconfigured` if not.
    template <class Self = Derived>
        requires CarriesOut<Self, verb::VerifyFencing>
    Outcome<void> verify_fencing(Deadline deadline = {}) const
    {
        return ask(verb::VerifyFencing{}, deadline);
    }

    // ---- asynchronous twins: `void(Outcome<...>)` ----------------------------------------------- Each
    // twin takes a deadline, or none, in front of its token. An argument that g++ 12 would destroy twice
    // is refused by the compiler; see `kit/safe_argument.hpp`.

    /// As `load`.
    template <class A, boost::asio::completion_token_for<void(Outcome<Versioned<T>>)> Token>
        requires KeyOrState<A, T, K>
    auto async_load(A&& key, Deadline deadline, Token&& token) const
    {
        static_assert(detail::safe_argument<A>, INTERLOCK_NAME_IT_FIRST);
        return detail::async_carry_out(self(), detail::LoadRequest<T>{make_key<T, K>(key)}, deadline, token);
    }
    template <class A, boost::asio::completion_token_for<void(Outcome<Versioned<T>>)> Token>
        requires KeyOrState<A, T, K>
    auto async_load(A&& key, Token&& token) const
    {
        return async_load(std::forward<A>(key), Deadline{}, std::forward<Token>(token));
    }
    /// As `load` of several keys.
    template <
        KeysOrStates<T, K> Keys,
        boost::asio::completion_token_for<void(Outcome<std::vector<std::optional<Versioned<T>>>>)> Token>
    auto async_load(Keys const& keys, Deadline deadline, Token&& token) const
    {
        return detail::async_carry_out(
            self(), detail::LoadAllRequest<T>{detail::encoded_keys<T, K>(keys)}, deadline, token);
    }
    template <
        KeysOrStates<T, K> Keys,
        boost::asio::completion_token_for<void(Outcome<std::vector<std::optional<Versioned<T>>>>)> Token>
    auto async_load(Keys const& keys, Token&& token) const
    {
        return async_load(keys, Deadline{}, std::forward<Token>(token));
    }
    /// As `insert`.
    template <class A, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
        requires KeyedState<T> && std::same_as<std::remove_cvref_t<A>, T>
    auto async_insert(A&& state, Deadline deadline, Token&& token) const
    {
        static_assert(detail::safe_argument<A>, INTERLOCK_NAME_IT_FIRST);
        return detail::async_carry_out(
            self(), detail::InsertRequest<T>{make_key<T, K>(state), state, true}, deadline, token);
    }
    template <class A, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
        requires KeyedState<T> && std::same_as<std::remove_cvref_t<A>, T>
    auto async_insert(A&& state, Token&& token) const
    {
        return async_insert(std::forward<A>(state), Deadline{}, std::forward<Token>(token));
    }
    template <class A, class V, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
        requires KeyOrState<A, T, K> && std::same_as<std::remove_cvref_t<V>, T>
    auto async_insert(A&& key, V&& value, Deadline deadline, Token&& token) const
    {
        static_assert(detail::safe_argument<A> && detail::safe_argument<V>, INTERLOCK_NAME_IT_FIRST);
        return detail::async_carry_out(
            self(), detail::InsertRequest<T>{make_key<T, K>(key), value}, deadline, token);
    }
    template <class A, class V, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
        requires KeyOrState<A, T, K> && std::same_as<std::remove_cvref_t<V>, T>
    auto async_insert(A&& key, V&& value, Token&& token) const
    {
        return async_insert(
            std::forward<A>(key), std::forward<V>(value), Deadline{}, std::forward<Token>(token));
    }
    /// As `insert_new`.
    template <
        class A, boost::asio::completion_token_for<void(Outcome<Versioned<T>>)> Token, class Self = Derived>
        requires CarriesOut<Self, verb::InsertNew<T>> && std::same_as<std::remove_cvref_t<A>, T>
    auto async_insert_new(A&& state, Deadline deadline, Token&& token) const
    {
        static_assert(detail::safe_argument<A>, INTERLOCK_NAME_IT_FIRST);
        return detail::async_carry_out(
            self(), detail::InsertNewRequest<T>{state, std::nullopt}, deadline, token);
    }
    template <
        class A, boost::asio::completion_token_for<void(Outcome<Versioned<T>>)> Token, class Self = Derived>
        requires CarriesOut<Self, verb::InsertNew<T>> && std::same_as<std::remove_cvref_t<A>, T>
    auto async_insert_new(A&& state, Token&& token) const
    {
        return async_insert_new(std::forward<A>(state), Deadline{}, std::forward<Token>(token));
    }
    template <
        class A, boost::asio::completion_token_for<void(Outcome<Versioned<T>>)> Token, class Self = Derived>
        requires CarriesOut<Self, verb::InsertNew<T>> && std::same_as<std::remove_cvref_t<A>, T>
    auto async_insert_new(OperationId const& id, A&& state, Deadline deadline, Token&& token) const
    {
        static_assert(detail::safe_argument<A>, INTERLOCK_NAME_IT_FIRST);
        return detail::async_carry_out(self(), detail::InsertNewRequest<T>{state, id}, deadline, token);
    }
    template <
        class A, boost::asio::completion_token_for<void(Outcome<Versioned<T>>)> Token, class Self = Derived>
        requires CarriesOut<Self, verb::InsertNew<T>> && std::same_as<std::remove_cvref_t<A>, T>
    auto async_insert_new(OperationId const& id, A&& state, Token&& token) const
    {
        return async_insert_new(id, std::forward<A>(state), Deadline{}, std::forward<Token>(token));
    }
    /// As `compare_and_set`.
    template <class A, class V, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
        requires KeyOrState<A, T, K> && std::same_as<std::remove_cvref_t<V>, T>
    auto async_compare_and_set(A&& key, Version version, V&& value, Deadline deadline, Token&& token) const
    {
        static_assert(detail::safe_argument<A> && detail::safe_argument<V>, INTERLOCK_NAME_IT_FIRST);
        return detail::async_carry_out(
            self(), detail::CompareAndSetRequest<T>{make_key<T, K>(key), version, value}, deadline, token);
    }
    template <class A, class V, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
        requires KeyOrState<A, T, K> && std::same_as<std::remove_cvref_t<V>, T>
    auto async_compare_and_set(A&& key, Version version, V&& value, Token&& token) const
    {
        return async_compare_and_set(
            std::forward<A>(key), version, std::forward<V>(value), Deadline{}, std::forward<Token>(token));
    }
    /// As `erase`.
    template <class A, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
        requires KeyOrState<A, T, K>
    auto async_erase(A&& key, Version version, Deadline deadline, Token&& token) const
    {
        static_assert(detail::safe_argument<A>, INTERLOCK_NAME_IT_FIRST);
        return detail::async_carry_out(
            self(), detail::EraseRequest{make_key<T, K>(key), version}, deadline, token);
    }
    template <class A, boost::asio::completion_token_for<void(Outcome<Version>)> Token>
        requires KeyOrState<A, T, K>
    auto async_erase(A&& key, Version version, Token&& token) const
    {
        return async_erase(std::forward<A>(key), version, Deadline{}, std::forward<Token>(token));
    }
    /// As `inspect`.
    template <
        class A, boost::asio::completion_token_for<void(Outcome<std::optional<LockInfo>>)> Token,
        class Self = Derived>
        requires KeyOrState<A, T, K> && CarriesOut<Self, verb::Inspect>
    auto async_inspect(A&& key, Deadline deadline, Token&& token) const
    {
        static_assert(detail::safe_argument<A>, INTERLOCK_NAME_IT_FIRST);
        return detail::async_carry_out(self(), detail::InspectRequest{make_key<T, K>(key)}, deadline, token);
    }
    template <
        class A, boost::asio::completion_token_for<void(Outcome<std::optional<LockInfo>>)> Token,
        class Self = Derived>
        requires KeyOrState<A, T, K> && CarriesOut<Self, verb::Inspect>
    auto async_inspect(A&& key, Token&& token) const
    {
        return async_inspect(std::forward<A>(key), Deadline{}, std::forward<Token>(token));
    }
    /// As `break_lock`.
    template <class A, boost::asio::completion_token_for<void(Outcome<Removal>)> Token, class Self = Derived>
        requires KeyOrState<A, T, K> && CarriesOut<Self, verb::BreakLock>
    auto async_break_lock(A&& key, LockInfo const& seen, Deadline deadline, Token&& token) const
    {
        static_assert(detail::safe_argument<A>, INTERLOCK_NAME_IT_FIRST);
        return detail::async_carry_out(
            self(), detail::BreakLockRequest{make_key<T, K>(key), seen.token}, deadline, token);
    }
    template <class A, boost::asio::completion_token_for<void(Outcome<Removal>)> Token, class Self = Derived>
        requires KeyOrState<A, T, K> && CarriesOut<Self, verb::BreakLock>
    auto async_break_lock(A&& key, LockInfo const& seen, Token&& token) const
    {
        return async_break_lock(std::forward<A>(key), seen, Deadline{}, std::forward<Token>(token));
    }

protected:
    // A base for stores only.
    StoreMembers() = default;

private:
    /// Carries `verb` out. A failure without words of its own gets some: which store, and what the code
    /// means.
    template <class Verb>
    auto ask(Verb const& verb, Deadline deadline) const
    {
        return carry_out_explained(self(), verb, deadline);
    }
    Derived const& self() const noexcept { return static_cast<Derived const&>(*this); }
};

/// `Insert`, `CompareAndSet` and `Erase` for whatever carries out `Commit`: each is a commit of one change
/// without an operation. Where one change has a shorter way, the store's own `change(Change<T>&, Deadline)`
/// takes the place of the one here. Whoever derives from this says `using CommittingVerbs<...>::carry_out;`.
/// **Outcomes, thread safety, cost.** Those of `Commit`; a version below 1 is `invalid_argument` and asks
/// nobody.
template <class Derived, class T>
class CommittingVerbs {
public:
    Outcome<Version> carry_out(verb::Insert<T> const& insert, Deadline deadline) const
    {
        return self().change(
            {.key = &insert.key,
             .kind = ChangeKind::write,
             .version = no_version,
             .value = &insert.value,
             .stored = insert.stored},
            deadline);
    }
    Outcome<Version> carry_out(verb::CompareAndSet<T> const& write, Deadline deadline) const
    {
        if (write.version <= no_version)
            return Failure{Errc::invalid_argument, "versions start at 1"};
        return self().change(
            {.key = &write.key,
             .kind = ChangeKind::write,
             .version = write.version,
             .value = &write.value,
             .before = write.before,
             .stored = write.stored},
            deadline);
    }
    Outcome<Version> carry_out(verb::Erase const& erase, Deadline deadline) const
    {
        if (erase.version <= no_version)
            return Failure{Errc::invalid_argument, "versions start at 1"};
        return self().change(
            {.key = &erase.key, .kind = ChangeKind::erase, .version = erase.version}, deadline);
    }

protected:
    CommittingVerbs() = default;

private:
    Derived const& self() const noexcept { return static_cast<Derived const&>(*this); }

    Outcome<Version> change(Change<T> change, Deadline deadline) const
    {
        auto done = self().carry_out(verb::Commit<T>{std::span<Change<T>>{&change, 1}, nullptr}, deadline);
        if (!done)
            return std::move(done).failure();
        return change.version;
    }
};

/// The named members of a store that carries out `Commit`, and the verbs that are commits of one change. A
/// store that derives from this says `using CommittingMembers<...>::carry_out;`.
template <class Derived, class T, class K>
class CommittingMembers : public StoreMembers<Derived, T, K>, public CommittingVerbs<Derived, T> {
    friend Derived;
    CommittingMembers() = default;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_STORE_MEMBERS_HPP
