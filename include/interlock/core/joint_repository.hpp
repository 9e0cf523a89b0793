// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_JOINT_REPOSITORY_HPP
#define INTERLOCK_CORE_JOINT_REPOSITORY_HPP

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
#include <interlock/core/detail/joint/joint_changes.hpp>
#include <interlock/core/detail/joint/joint_operation.hpp>
#include <interlock/core/detail/joint/joint_state.hpp>
#include <interlock/core/detail/transaction/call_arguments.hpp>
#include <interlock/core/detail/transaction/named_keys.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/fwd.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
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

namespace detail {

/// Asks for the `joint_store` of each repository where a compiler says which one has none.
template <class...>
struct JointStores {};

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

}  // namespace detail

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
/// **Does not guarantee.** Anything between repositories of different stores: what those would need is in
/// `patterns/relay.hpp`. A store without a commit of several repositories does not compile here; the note
/// names the missing `joint_store`.
/// **Outcomes.** Those of the policy and of the store. `misconfigured`, by every call, and nothing is
/// written: the repositories can not be committed together (two servers, two clients), one of them is there
/// twice, or a call names a state in a repository that is none of these. A key of more than 509 bytes is
/// `invalid_argument`. Keys in messages, and in `TransactionContext::keys()`, have a mark of their repository
/// in front, as in `2b:sku-1`.
/// **Lifetimes.** A shared handle, which keeps handles of its repositories. **Thread safety.** Everything:
/// safe. **Cost.** One round trip for each state that is loaded, one after the other, and one for the commit.
/// Asynchronous calls occupy a thread of the runtime's pool for each of these where the store does not answer
/// in place.
template <class... R>
class JointRepository : public detail::JointEvents<
                            detail::joint_records<std::tuple_element_t<0, std::tuple<R...>>, R...>,
                            std::tuple_element_t<0, std::tuple<R...>>> {
    static_assert(sizeof...(R) <= detail::JointMark::most, "a JointRepository has nine repositories at most");
    using First = std::tuple_element_t<0, std::tuple<R...>>;
    template <std::size_t I>
    using Part = std::tuple_element_t<I, std::tuple<R...>>;
    using Indices = std::index_sequence_for<R...>;

public:
    using value_type = detail::JointState<R...>;
    using key_type = detail::JointKey;
    using runtime_type = typename First::runtime_type;

    /// Joins the repositories without asking their store anything. Whether they can be committed together is
    /// told by the first call, since only a call has an outcome.
    explicit JointRepository(R... repositories)
        requires requires { typename detail::JointStores<typename R::joint_store...>; } &&
                 (JoinableWith<R, First> && ...)
        : shared_(std::make_shared<Shared const>(std::move(repositories)...))
    {}

    /// That of the first repository: all have the same type of runtime, and one store.
    decltype(auto) runtime() const noexcept { return first().runtime(); }
    /// Equal for copies of this handle.
    void const* identity() const noexcept { return shared_.get(); }
    /// What messages call it: the places of its repositories.
    std::string place() const { return shared_->place(); }
    /// As the repositories say it of their store.
    std::string_view store_name() const noexcept { return kind_of(first()); }
    std::string_view system_name() const noexcept { return system_of(first()); }
    std::uint64_t life() const noexcept { return life_of(first()); }

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
        auto known = capabilities_of(first());
        known.answers_in_place = false;
        known.starts_calls = false;
        return known;
    }

    // ---- verbs: what a policy asks, each of the repository that its key belongs to ----------------------------------------------------------------------------------

    Outcome<Versioned<value_type>> carry_out(verb::Load<value_type> const& load, Deadline deadline) const
    {
        return in_part<Versioned<value_type>>(load.key, [&](auto place, Key const& key) {
            return this->template load_from<place>(key, deadline);
        });
    }
    Outcome<Version> carry_out(verb::Insert<value_type> const& insert, Deadline deadline) const
    {
        return change(
            {.key = &insert.key,
             .kind = ChangeKind::write,
             .version = no_version,
             .value = &insert.value,
             .stored = insert.stored},
            deadline);
    }
    Outcome<Version> carry_out(verb::CompareAndSet<value_type> const& write, Deadline deadline) const
    {
        return change(
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
        return in_part<Version>(erase.key, [&](auto place, Key const& key) {
            return this->template part<place>().carry_out(verb::Erase{key, erase.version}, deadline);
        });
    }
    /// All of the changes in one step. Those of one repository alone are that repository's own commit.
    Outcome<CommitResult> carry_out(verb::Commit<value_type> const& commit, Deadline deadline) const
    {
        if (shared_->refusal)
            return *shared_->refusal;
        detail::JointChanges<R...> changes{commit.changes.size()};
        for (auto const& change : commit.changes)
            if (!changes.add(change))
                return foreign_key();
        return changes.commit(shared_->repositories, commit, deadline);
    }
    /// A record stands in the repository of its home, as one of a call on that repository alone would.
    Outcome<std::optional<OperationRecord>> carry_out(
        verb::FindOperation const& find, Deadline deadline) const
    {
        return in_part<std::optional<OperationRecord>>(find.key, [&](auto place, Key const& key) {
            return this->template part<place>().carry_out(verb::FindOperation{key, find.id}, deadline);
        });
    }
    Outcome<OperationRecord> carry_out(verb::ForbidOperation const& forbid, Deadline deadline) const
    {
        return in_part<OperationRecord>(forbid.key, [&](auto place, Key const& key) {
            return this->template part<place>().carry_out(
                verb::ForbidOperation{key, forbid.id, forbid.attempt}, deadline);
        });
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

private:
    /// What all copies of this handle have.
    struct Shared {
        explicit Shared(R... all) : repositories(std::move(all)...)
        {
            std::array<std::string, sizeof...(R)> names;
            each([&](auto index, auto const& part) {
                names[index] = First::joint_store::place_in_order(part);
            });
            for (std::size_t i = 0; i < names.size(); ++i)
                for (std::size_t j = 0; j < names.size(); ++j) {
                    places[i] += names[j] < names[i] ? 1 : 0;
                    if (i < j && names[i] == names[j])
                        refusal = Failure{
                            Errc::misconfigured,
                            "one of the repositories of a JointRepository is there twice"};
                }
            if (!refusal)
                refusal = std::apply(
                    [](auto const&... part) { return First::joint_store::refusal(part...); }, repositories);
        }
        template <class Visit>
        void each(Visit visit) const
        {
            [&]<std::size_t... I>(std::index_sequence<I...>) {
                (visit(std::integral_constant<std::size_t, I>{}, std::get<I>(repositories)), ...);
            }(Indices{});
        }
        std::string place() const
        {
            std::string out;
            each([&](auto, auto const& part) {
                auto const its = place_of(part);
                if (out.find(its) == std::string::npos)
                    out += (out.empty() ? "" : " and ") + its;
            });
            return out;
        }

        std::tuple<R...> repositories;
        std::array<std::size_t, sizeof...(R)> places{};  // see `JointMark`
        std::optional<Failure> refusal;                  // of every call
    };

    First const& first() const noexcept { return std::get<0>(shared_->repositories); }
    template <std::size_t I>
    auto const& part() const noexcept
    {
        return std::get<I>(shared_->repositories);
    }

    static Failure foreign_key()
    {
        return Failure{
            Errc::misconfigured,
            "the call names a state in a repository that its JointRepository has not joined"};
    }

    /// Calls `visit` with the place of the part that `key` belongs to and the key that it has there.
    template <class X, class Visit>
    Outcome<X> in_part(Key const& key, Visit visit) const
    {
        if (shared_->refusal)
            return *shared_->refusal;
        std::optional<Outcome<X>> out;
        auto const mark = detail::JointMark::of(key.bytes());
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            Key const own{detail::JointMark::behind(key.bytes())};
            (void)((mark.index == I &&
                    (out.emplace(visit(std::integral_constant<std::size_t, I>{}, own)), true)) ||
                   ...);
        }(Indices{});
        return out ? *std::move(out) : Outcome<X>{foreign_key()};
    }
    template <std::size_t I>
    Outcome<Versioned<value_type>> load_from(Key const& key, Deadline deadline) const
    {
        auto loaded = part<I>().carry_out(verb::Load<typename Part<I>::value_type>{key}, deadline);
        if (loaded)
            return Versioned<value_type>{
                value_type{std::in_place_index<I>, mark_of(I), std::move(loaded->value)}, loaded->version};
        if (loaded.errc() == Errc::not_found && loaded.failure().detail().empty())
            return Failure{Errc::not_found, printable_key(key.bytes()) + ": not_found"}.placed(
                place_of(part<I>()));
        return std::move(loaded).failure();
    }
    Outcome<Version> change(Change<value_type> change, Deadline deadline) const
    {
        auto done =
            carry_out(verb::Commit<value_type>{std::span<Change<value_type>>{&change, 1}, nullptr}, deadline);
        if (!done)
            return std::move(done).failure();
        return change.version;
    }

    detail::JointMark mark_of(std::size_t index) const noexcept { return {shared_->places[index], index}; }

    /// The mark of the keys in the repository that `named` names; nowhere, where that is none of these.
    template <class Q>
    detail::JointMark mark_of(KeyIn<Q> const& named) const noexcept
    {
        detail::JointMark mark;
        shared_->each([&](auto index, auto const& part) {
            if constexpr (std::same_as<std::remove_cvref_t<decltype(part)>, Q>)
                if (part.identity() == named.store())
                    mark = mark_of(index);
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
        return detail::CallTarget<value_type, sizeof...(Q), true>{{key_of(named)...}, {state_of(named)...}};
    }

    std::shared_ptr<Shared const> shared_;
};

template <class... R>
explicit JointRepository(R...) -> JointRepository<R...>;

namespace detail {

/// The repository `Q` is one of `R`.
template <class Q, class... R>
inline constexpr bool is_joined = (std::same_as<Q, R> || ...);

// A call on joint repositories names its states by `in`, and by nothing else.
template <class A, class... R>
struct named_states<A, JointState<R...>, JointKey> {
    static constexpr bool valid = false;
    static constexpr std::size_t count = 1;
};
template <class Q, class... R>
struct named_states<KeyIn<Q>, JointState<R...>, JointKey> {
    static constexpr bool valid = is_joined<Q, R...>;
    static constexpr std::size_t count = 1;
};
template <class... A, class... R>
struct named_states<Keys<A...>, JointState<R...>, JointKey> {
    static constexpr bool valid = (named_states<A, JointState<R...>, JointKey>::valid && ...);
    static constexpr std::size_t count = sizeof...(A);
};
template <class A, class... R>
struct named_states<KeyRange<A>, JointState<R...>, JointKey> {
    static constexpr bool valid = false;
    static constexpr std::size_t count = 1;
};

template <class Q, class... R, class F>
struct operation_on<KeyIn<Q>, JointState<R...>, F> {
    using type = JointOperation<JointState<R...>, F, typename Q::value_type>;
};
template <class... Q, class... R, class F>
struct operation_on<Keys<KeyIn<Q>...>, JointState<R...>, F> {
    using type = JointOperation<JointState<R...>, F, typename Q::value_type...>;
};

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_JOINT_REPOSITORY_HPP
