// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_COUNTER_MEMBERS_HPP
#define INTERLOCK_CORE_KIT_COUNTER_MEMBERS_HPP

/// @file
/// For authors of counters: the members that users call, made from `verb::ChangeCounter` and
/// `verb::LoadCounter`. A store writes the two verbs and inherits the rest:
///
///     class Counters : public CounterMembers<Counters> {
///     public:
///         Outcome<CounterAnswer> carry_out(verb::ChangeCounter const& change, Deadline deadline) const;
///         Outcome<std::int64_t> carry_out(verb::LoadCounter const& load, Deadline deadline) const;
///     };
///     // counters.atomic_once(id, key, change), counters.load(key) and their twins are there now

#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/counter.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/safe_argument.hpp>
#include <interlock/core/kit/verb_operation.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>

#include <boost/asio/async_result.hpp>

#include <cstdint>
#include <utility>

namespace interlock {
inline namespace v0 {

namespace detail {

// What an asynchronous twin keeps until its call has ended. Aggregates of the library's own: no user
// writes one into a co_await expression.

struct ChangeCounterRequest {
    OperationId id;
    Key key;
    CounterChange change;
    verb::ChangeCounter verb() const { return {id, key, change}; }
};
struct LoadCounterRequest {
    Key key;
    verb::LoadCounter verb() const { return {key}; }
};

}  // namespace detail

/// The members of counters: `Derived` carries out the verbs, and has `runtime_type`, `runtime()` and
/// `identity()` as a repository has.
///
/// **Outcomes.** Those of the verbs. `message()` of a failure says what went wrong, and in which store
/// where the counters have a `place()`.
/// **Asynchronous twins.** As those of repositories, see `StoreMembers`.
template <class Derived>
class CounterMembers {
public:
    /// Changes a counter (one that was never changed is 0), or says that a bound was in the way. At most once
    /// per `id`, however often it is called: later calls get the first one's answer.
    ///
    /// **Outcome.** An answer is given for a bound that was in the way, too: that is no failure. A doubt
    /// is asked after until the deadline; only then it is `outcome_unknown`, and the same `id` may be used
    /// again.
    /// **Cost.** One trip.
    Outcome<CounterAnswer> atomic_once(
        OperationId const& id, Key const& key, CounterChange const& change, Deadline deadline = {}) const
    {
        return carry_out_explained(self(), verb::ChangeCounter{id, key, change}, deadline);
    }
    /// The counter now; 0 if it was never changed. Nothing is locked: it may have moved when it is used.
    Outcome<std::int64_t> load(Key const& key, Deadline deadline = {}) const
    {
        return carry_out_explained(self(), verb::LoadCounter{key}, deadline);
    }

    /// As `atomic_once`. **Completion.** `void(Outcome<CounterAnswer>)`.
    template <boost::asio::completion_token_for<void(Outcome<CounterAnswer>)> Token>
    auto async_atomic_once(
        OperationId const& id, Key const& key, CounterChange const& change, Deadline deadline,
        Token&& token) const
    {
        return detail::async_carry_out(
            self(), detail::ChangeCounterRequest{id, key, change}, deadline, token);
    }
    template <boost::asio::completion_token_for<void(Outcome<CounterAnswer>)> Token>
    auto async_atomic_once(
        OperationId const& id, Key const& key, CounterChange const& change, Token&& token) const
    {
        return async_atomic_once(id, key, change, Deadline{}, std::forward<Token>(token));
    }
    /// As `load`. **Completion.** `void(Outcome<std::int64_t>)`.
    template <boost::asio::completion_token_for<void(Outcome<std::int64_t>)> Token>
    auto async_load(Key const& key, Deadline deadline, Token&& token) const
    {
        return detail::async_carry_out(self(), detail::LoadCounterRequest{key}, deadline, token);
    }
    template <boost::asio::completion_token_for<void(Outcome<std::int64_t>)> Token>
    auto async_load(Key const& key, Token&& token) const
    {
        return async_load(key, Deadline{}, std::forward<Token>(token));
    }

protected:
    CounterMembers() = default;

private:
    Derived const& self() const noexcept { return static_cast<Derived const&>(*this); }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_COUNTER_MEMBERS_HPP
