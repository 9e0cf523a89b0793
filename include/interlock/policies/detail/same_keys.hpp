// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_SAME_KEYS_HPP
#define INTERLOCK_POLICIES_DETAIL_SAME_KEYS_HPP

/// @file
/// Two keys of one call that the store takes for one, as two spellings of a uuid.

#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/per_key.hpp>
#include <interlock/core/state_traits.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Whether `ticket`, of which `step` is the latest, waits for a lock that is held, or did not get it for
/// that.
template <class Step, class Ticket>
bool meets_busy(Step& step, Ticket& ticket)
{
    if (step.done())
        return !step.outcome() && step.outcome().errc() == Errc::lock_busy;
    return !step.calling() && ticket.reason().errc() == Errc::lock_busy;
}

/// Finds such a pair when there is a sign of one: a lock that is busy, a commit that conflicts with itself,
/// two states with one key. The store is asked once at most, since its answer stays the same, and never by
/// a call that shows no sign.
template <class R, std::size_t N>
class SameKeys {
    using T = typename R::value_type;
    using K = typename R::key_type;

public:
    /// There is a sign: the failure of a call that names a key twice; nothing if it does not.
    std::optional<Failure> named_twice(R const& store, std::span<Key const, N> keys, Deadline deadline)
    {
        if (std::exchange(asked_, true))
            return std::nullopt;
        auto const same = store.carry_out(verb::FindSameKeys{keys}, deadline);
        if (!same || !*same)
            return std::nullopt;
        return key_named_twice((*same)->first, (*same)->second, keys.size());
    }

    /// Puts that failure in the place of a commit's that was in its own way.
    template <class X>
    void judge(Outcome<X>& result, R const& store, std::span<Key const, N> keys, Deadline deadline)
    {
        if (result)
            return;
        auto const code = result.errc();
        if (code == Errc::version_conflict || code == Errc::serialization_failure ||
            code == Errc::not_found || code == Errc::already_exists || code == Errc::constraint_violated)
            if (auto twice = named_twice(store, keys, deadline))
                result = *std::move(twice);
    }

    /// The same of states that are loaded; `state(i)` is a pointer to the i-th, null where there is none.
    template <class State>
    std::optional<Failure> judge_states(
        State state, R const& store, std::span<Key const, N> keys, Deadline deadline)
    {
        if constexpr (KeyedState<T>)
            if constexpr (std::is_same_v<typename StateTraits<T>::key_type, K>) {
                if (asked_)
                    return std::nullopt;
                std::vector<std::string> own;
                own.reserve(keys.size());
                for (std::size_t i = 0; i < keys.size(); ++i)
                    if (T const* const loaded = state(i)) {
                        auto const said = StateTraits<T>::key(*loaded);
                        if constexpr (requires { said.whole; })
                            if (!said.whole)  // of a joint repository: the state does not say its key
                                continue;
                        own.push_back(KeyTraits<K>::encode(said));
                    }
                std::sort(own.begin(), own.end());
                if (std::adjacent_find(own.begin(), own.end()) != own.end())
                    return named_twice(store, keys, deadline);
            }
        return std::nullopt;
    }

private:
    bool asked_{false};
};

/// Of one key, or in a store to which keys are their bytes, there is nothing to find.
template <class R, std::size_t N>
    requires(N == 1 || !CarriesOut<R, verb::FindSameKeys>)
class SameKeys<R, N> {
public:
    template <class... A>
    static std::optional<Failure> named_twice(A const&...) noexcept
    {
        return std::nullopt;
    }
    template <class... A>
    static void judge(A const&...) noexcept
    {}
    template <class... A>
    static std::optional<Failure> judge_states(A const&...) noexcept
    {
        return std::nullopt;
    }
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_SAME_KEYS_HPP
