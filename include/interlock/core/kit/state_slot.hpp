// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_STATE_SLOT_HPP
#define INTERLOCK_CORE_KIT_STATE_SLOT_HPP

/// @file
/// For authors of policies: one state inside of a transaction. What was loaded, what the operation made of
/// it, and what is to be committed:
///
///     StateSlot<Stock, std::string> slot;
///     slot.load(loaded);                          // a Versioned<Stock> that stays where it is
///     operation(slot.value());
///     if (!slot.keeps(key))
///         return changed_key_failure();           // the operation renamed the state
///     Change<Stock> change = slot.change(key);    // a write, or a check that nobody else wrote
///
/// **Why a copy.** The operation works on a copy of the loaded value, so that a throw leaves the loaded
/// one as it was, and so that an operation that changes nothing costs no write. A type that cannot be
/// compared by what is stored of it (`StateTraits`, "Changes") is moved instead, and counts as changed.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/kit/per_key.hpp>
#include <interlock/core/state_traits.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

namespace detail {

/// Whether `state` is what `key` names.
template <class T, class K>
bool belongs_to(T const& state, Key const& key);

/// What a state says its key is, kept where it is another text than the key that the state was found under. A
/// store may take several texts for one key: `AB12` and `AB12  `. An operation has left the key as it was if
/// the state says the same afterwards.
template <class T, class K>
class StoredKey {
public:
    /// `state` was found under `key`.
    void learn(T const& state, Key const& key);
    /// Whether `state` still belongs to `key`.
    bool kept(T const& state, Key const& key) const
    {
        return belongs_to<T, K>(state, key) || (other_ && belongs_to<T, K>(state, *other_));
    }

private:
    std::optional<Key> other_;
};

inline Failure changed_key_failure()
{
    return Failure{Errc::invalid_argument, "the operation changed the key of its state"};
}
/// Of several states the one of `key`.
inline Failure changed_key_failure(Key const& key)
{
    return Failure{
        Errc::invalid_argument,
        "the operation changed the key of one of its states: " + printable_key(key.bytes())};
}

}  // namespace detail

/// For policies: a loaded state, the copy the operation works on, and the change that follows from the two.
///
/// **Lifetimes.** What `load` was given must stay until the slot is loaded again or gone. What `change`
/// gives refers to the slot and to its key. **Thread safety.** One thread at a time. **Cost.** One copy of
/// `T` for each load, and one comparison for each commit.
template <class T, class K>
class StateSlot {
public:
    StateSlot() noexcept {}  // not defaulted: a value-initialised array of slots need not be zeroed first

    /// The value as it is in the store. `loaded` must stay where it is: what changed is found by comparing
    /// with it.
    void load(Versioned<T>& loaded);

    /// There is no value: start from the state named in the call, or a fresh one.
    Outcome<void> create(Key const& key, std::optional<T> const& named);

    /// What the operation works on. Precondition: `load` or `create` came before.
    T& value() noexcept { return *value_; }
    T const& peek() const noexcept { return *value_; }

    /// False when it is sure that the operation left the state as it was.
    bool changed() const
    {
        if constexpr (detail::can_compare<T>())
            return fresh_ || !detail::surely_equal(*original_, *value_);
        else
            return true;
    }

    /// Whether the state still belongs to `key`: it has the key, or the one that it was loaded with.
    bool keeps(Key const& key) const
    {
        return detail::belongs_to<T, K>(*value_, key) || (!fresh_ && has_loaded_key());
    }

    /// Is the state made by the caller, so that the store has none?
    bool fresh() const noexcept { return fresh_; }
    /// The version that a commit expects, or `no_version` for a fresh state.
    Version version() const noexcept { return version_; }
    /// The value as it was loaded, where it was kept; else null.
    T const* before() const noexcept { return fresh_ ? nullptr : original_; }
    /// What a commit of this state is: a write where it changed, else a check that nobody else wrote.
    Change<T> change(Key const& key, Fence const* fence = nullptr);

private:
    bool has_loaded_key() const;

    std::optional<T> value_;       // the operation's copy
    T const* original_{nullptr};   // the loaded value, where values can be compared
    Version version_{no_version};  // the version that was loaded
    bool fresh_{false};            // the store has no value; the caller made one
    struct Nothing {};
    // Of the loaded value, where values cannot be compared.
    [[no_unique_address]] std::conditional_t<detail::can_compare<T>(), Nothing, std::optional<Key>>
        loaded_key_;
};

namespace detail {

/// A state whose key was changed would be written where it does not belong. The text names the one of
/// several.
template <class Slots, std::size_t N>
std::optional<Failure> changed_key(Slots const& slots, std::span<Key const, N> keys)
{
    for (std::size_t i = 0; i < keys.size(); ++i)
        if (!slots[i].keeps(keys[i]))
            return keys.size() == 1 ? changed_key_failure() : changed_key_failure(keys[i]);
    return std::nullopt;
}

/// What the sessions of policies have in common that bring no client of their own.
template <class Policy, class R>
class PolicySession {
public:
    using repository_type = R;
    using value_type = typename R::value_type;
    static constexpr std::string_view name = Policy::name;

    PolicySession(Policy policy, R repository, Observer*)
        : policy_(std::move(policy)), repository_(std::move(repository))
    {}

    R const& repository() const noexcept { return repository_; }
    /// A handle whose members may be called from any thread; no copy is made for a call.
    R& store() const noexcept { return repository_; }
    Policy const& policy() const noexcept { return policy_; }
    RetryLimits retry_limits() const noexcept { return {policy_.max_attempts, policy_.backoff}; }
    static constexpr bool guarded(Form) noexcept { return true; }
    /// How many operations on states others work on may wait for their turn.
    std::size_t max_waiting_operations() const noexcept
    {
        if constexpr (requires { policy_.wait; })
            if (policy_.wait == Wait::no)
                return 0;
        return default_max_waiters;
    }
    /// Whether a transaction holds what others wait for in `begin`.
    static constexpr bool holds_in_begin() noexcept { return true; }
    std::optional<Failure> unfit(std::span<Key const>, Deadline) const { return std::nullopt; }

private:
    Policy policy_;
    mutable R repository_;
};

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#include <interlock/core/kit/impl/state_slot.ipp>

#endif  // INTERLOCK_CORE_KIT_STATE_SLOT_HPP
