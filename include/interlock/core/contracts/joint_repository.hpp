// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_JOINT_REPOSITORY_HPP
#define INTERLOCK_CORE_CONTRACTS_JOINT_REPOSITORY_HPP

/// @file
/// States of several types in one transaction, as an order and the stock that it takes from: both change, or
/// neither does, also on a store that has no transactions of its own, such as Redis.
///
///     interlock::TransactionService const shop{
///         interlock::OptimisticVersioning{}, interlock::JointRepository{orders, stock}};
///     shop.do_in_transaction(
///         interlock::keys(interlock::in(orders, "o-1"), interlock::in(stock, "sku-1")),
///         [](Order& order, Stock& s) { order.state = "taken"; s.quantity -= order.quantity; });

#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/joint/joint_operation.hpp>
#include <interlock/core/detail/joint/joint_state.hpp>
#include <interlock/core/detail/joint/joint_verbs.hpp>
#include <interlock/core/detail/transaction/named_keys.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace interlock {
inline namespace v0 {

/// A state of one of the repositories of a `JointRepository`, as `in(repository, key)` names it.
template <class R>
class KeyIn {
public:
    /// As `in` does.
    KeyIn(R const& repository, Key key, std::optional<typename R::value_type> state)
        : store_(repository.identity()), key_(std::move(key)), state_(std::move(state))
    {}
    /// The `identity()` of the repository.
    void const* store() const noexcept { return store_; }
    Key const& key() const noexcept { return key_; }
    /// The state that was given instead of a key.
    std::optional<typename R::value_type> const& state() const noexcept { return state_; }

private:
    void const* store_;
    Key key_;
    std::optional<typename R::value_type> state_;
};

/// Names a state in `repository` by its key, or by a state that has one. A call on a `JointRepository` takes
/// one, or several in `keys(...)`. It says nothing about whether there is such a state.
///
///     shop.do_in_transaction(interlock::in(orders, "o-1"), [](Order& order) {...});
///     shop.do_in_transaction(
///         interlock::keys(interlock::in(stock, "sku-1"), interlock::in(stock, "sku-2")),
///         [](Stock& from, Stock& to) {...});
///
/// **Failures.** A bad key, and one that is named twice, are refused by the call, with `invalid_argument`.
/// **Lifetimes.** The key is copied; the repository is not kept.
template <Repository R, KeyOrState<typename R::value_type, typename R::key_type> A>
KeyIn<R> in(R const& repository, A const& key)
{
    using T = typename R::value_type;
    return {repository, make_key<T, typename R::key_type>(key), detail::state_given<T>(key)};
}

/// Several repositories of one store as one, so that a transaction changes states of all of them together.
///
/// A service on it takes `in(repository, key)` where others take a key, and calls the operation with a
/// reference to a state for each, in the order of the call, and of the type that its repository has; what the
/// policy adds follows, as behind a `T&`. Two states may be of one type. Whoever changes states of one
/// repository alone needs no joint one: services on the parts, and on other joint repositories with the same
/// parts, see each other's changes and conflicts as ever.
///
/// **Guarantee.** All changes of a transaction are made in one step or not at all, and no update is lost in
/// any of them (laws P3 and P5). An operation id has one record for all of them (P4). It belongs to the
/// smallest key of the repository that comes first by name (of the table, the name space), whatever order
/// this program names them in.
/// What the operation records is appended in that same step, as often as the changes are made, to the stream
/// of the state that it is about, in the log that the options of that state's repository name.
/// **Does not guarantee.** Anything between repositories of different stores: what those would need is in
/// `patterns/relay.hpp`. A store without a commit of several repositories does not compile here; the note
/// names the missing `joint_store`.
/// **Outcomes.** Those of the policy and of the store. `misconfigured`, by every call, and nothing is
/// written: the repositories can not be committed together (two servers, two clients), one of them is there
/// twice (or two have one table or name space), a call names a state in a repository that is none of these,
/// or an operation records an event of a state whose repository names no log. A key of more than 509 bytes is
/// `invalid_argument`. Keys in messages, and in `TransactionContext::keys()`, have a sign of their repository
/// in front, as in `2b:sku-1`.
/// **Locks.** `PessimisticRowLock`, where the store has row locks, and `SetNxLock` take for each state the
/// lock that its own repository has for it, in an order that is the same in every program, so that whoever
/// locks one of the states through its own repository excludes this call as well. Leases guard the commit by
/// the fences of all of them: one that was lost, and nothing is written (`fenced_out`, law P1). An operation
/// that makes a call on one of its states, through the repository itself or another joint one, gets
/// `would_deadlock` at once, under every policy; so does one on the repository that names the state by a
/// joint one.
/// **Lifetimes.** A shared handle, which keeps handles of its repositories. **Thread safety.** Everything:
/// safe. **Cost.** One round trip for each state that is loaded, one after the other, and one for the commit.
/// Under `SetNxLock` a lock comes with its state in that trip, and goes in one more. On PostgreSQL one trip
/// for each table that is locked, one for each that is changed, and one for COMMIT.
/// Asynchronous calls occupy a thread of the runtime's pool for each of these where the store does not answer
/// in place.
template <class... R>
class JointRepository : public detail::JointVerbs<R...>,
                        public detail::JointTransactions<detail::joint_locks<R...>, R...>,
                        public detail::JointEvents<
                            detail::joint_records<std::tuple_element_t<0, std::tuple<R...>>, R...>,
                            std::tuple_element_t<0, std::tuple<R...>>> {
    static_assert(sizeof...(R) <= detail::JointMark::most, "a JointRepository has nine repositories at most");
    using First = std::tuple_element_t<0, std::tuple<R...>>;

public:
    using value_type = detail::JointState<R...>;
    using key_type = detail::JointKey;
    using runtime_type = typename First::runtime_type;

    /// Joins the repositories without asking their store anything. Whether they can be committed together is
    /// told by the first call, since only a call has an outcome.
    explicit JointRepository(R... repositories)
        requires requires { typename detail::JointStores<typename R::joint_store...>; } &&
                 (JoinableWith<R, First> && ...)
        : detail::JointVerbs<R...>(std::move(repositories)...)
    {}

    /// That of the first repository: all have the same type of runtime, and one store.
    decltype(auto) runtime() const noexcept { return this->first().runtime(); }
    /// Equal for copies of this handle.
    void const* identity() const noexcept { return this->shared_.get(); }
    /// Which repository a key with its sign belongs to. Lives as long as any copy of this handle.
    KeyPlaces const* key_places() const noexcept { return this->shared_.get(); }
    /// Whose threads make the blocking calls of asynchronous callers: those of the first repository, however
    /// many joint ones there are.
    void const* threads_owner() const noexcept
    {
        if constexpr (requires { this->first().threads_owner(); })
            return this->first().threads_owner();
        else
            return this->first().identity();
    }
    /// What messages call it: the places of its repositories.
    std::string place() const { return this->shared_->place(); }
    /// What the text of a failure calls a key of a call: the place of its repository, and the key there.
    std::string named(Key const& key) const { return this->shared_->named(key); }
    /// As the repositories say it of their store.
    std::string_view store_name() const noexcept { return kind_of(this->first()); }
    std::string_view system_name() const noexcept { return system_of(this->first()); }
    std::uint64_t life() const noexcept { return life_of(this->first()); }

    /// Those of its repositories, but that no call is started: a commit of several blocks a thread, unless
    /// the store answers in place.
    static constexpr Capabilities capabilities() noexcept
        requires(AlwaysInPlace<R> && ...)
    {
        return {.answers_in_place = true, .owns_threads = true};
    }
    Capabilities capabilities() const noexcept
        requires(!(AlwaysInPlace<R> && ...))
    {
        auto known = capabilities_of(this->first());
        known.answers_in_place = false;
        known.starts_calls = false;
        return known;
    }
};

template <class... R>
explicit JointRepository(R...) -> JointRepository<R...>;

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_JOINT_REPOSITORY_HPP
