// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_COMBINING_COMBINING_HPP
#define INTERLOCK_CORE_DETAIL_COMBINING_COMBINING_HPP

// Combining: operations of one service that wait for the same state run back to back, each on its own
// caller's thread or executor, on one loaded value, and are committed by one write.
//
// Per state there is at most one leader. It begins as the policy does: it loads the value, or takes the lock
// or the row. Whoever comes meanwhile waits in a queue. When the leader's operation has returned, the value
// goes round: one waiting operation after the other gets a copy of it, runs, and hands in what it made of it.
// Then the leader commits, and all that have run share the outcome: they were applied, or run again, or are
// unknown. An operation that throws hands in nothing; its exception is believed once what it has seen was
// committed.
//
// What operations record goes round with the value: the batch has the events of all that have handed in, in
// their order, and the leader commits them with the state. An operation that is dropped, or throws, hands in
// none. A leader that does not record itself shares with nobody who does: its commit brings no events.
//
// Nobody waits for another caller's operation, thread or executor longer than the patience:
// 1. The batch itself keeps the last whole value. The leader waits for one operation as long as the patience
//    says, then commits what is whole. An operation that comes too late finds its copy refused and runs
//    again, first in line.
// 2. A leader whose own operation takes longer than that, or whose deadline is near, shares with nobody.
//    Waiting in vain is paid for by the commits that sharing has saved, so that it never costs more than it
//    brings.
// 3. A leader that makes no progress (its thread sleeps, its context was stopped) is replaced by the first
//    operation that waits for it. The former leader commits what it has made itself, alone. A leader that
//    waits for others' locks or rows need not make progress before it was woken. When a batch was given up,
//    or its leader was late, none of the others has caused that: it counts as nobody's attempt.
//
// sharing_line.hpp decides, combiner.hpp holds what a service shares, combining_transaction.hpp is one
// operation, and this file says which sessions and services have it.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/combining/combiner.hpp>
#include <interlock/core/detail/combining/combining_transaction.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/transaction_context.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Whether the operations of a session may be combined. A session says so of itself, not of what is derived
/// from it. `max_waiting_operations()`: how many of them may wait while others work on the same state; 0:
/// none would wait.
template <class Session>
concept CombinableSession = requires { typename Session::supports_combining; } &&
                            std::same_as<typename Session::supports_combining, Session> &&
                            std::copy_constructible<typename Session::value_type> &&
                            requires(Session const& session) { session.max_waiting_operations(); };

template <class Session, class Outer, std::size_t N, Form Shape>
struct choose_transaction {
    using type = typename Session::template Transaction<N, Shape>;
};
template <class Session, class Outer>
struct choose_transaction<Session, Outer, 1, Form::states> {
    using type = CombiningTransaction<Outer, Form::states>;
};
template <class Session, class Outer>
struct choose_transaction<Session, Outer, 1, Form::states_recorder> {
    using type = CombiningTransaction<Outer, Form::states_recorder>;
};

/// A policy's session whose operations on one state share commits.
template <CombinableSession Session>
class CombiningSession : public Session {
public:
    using Inner = Session;
    using value_type = typename Session::value_type;

    template <class Policy, class Where>
    CombiningSession(
        Policy policy, Where where, Observer* observer, int most, std::chrono::nanoseconds patience)
        : Session(std::move(policy), std::move(where), observer),
          combiner_(may_share() ? most : 1, patience, this->max_waiting_operations())
    {}
    Combiner<value_type>& combiner() const noexcept { return combiner_; }

    template <std::size_t N, Form Shape>
    using Transaction = typename choose_transaction<Session, CombiningSession, N, Shape>::type;

private:
    /// A batch that is not applied makes its members run again: not for a policy whose operations run once.
    /// Nor for operations on one key that get a state each.
    bool may_share() const
    {
        auto const known = capabilities_of(this->repository());
        return !known.answers_in_place && known.one_state_per_key && this->retry_limits().max_attempts > 1;
    }

    mutable Combiner<value_type> combiner_;
};

/// What a service keeps: a store that always answers in place gains nothing by sharing commits.
template <class Session, class R>
struct service_session {
    using type = Session;
};
template <CombinableSession Session, class R>
    requires(!AlwaysInPlace<R>)
struct service_session<Session, R> {
    using type = CombiningSession<Session>;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_COMBINING_COMBINING_HPP
