// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_COMBINING_COMBINING_TRANSACTION_HPP
#define INTERLOCK_CORE_DETAIL_COMBINING_COMBINING_TRANSACTION_HPP

// One operation that may share a commit: a policy's transaction with a `SharingLine` in front of it. The line
// decides; this holds the mutex, copies the value, wakes, and lets the policy's transaction begin and commit
// where it leads.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/combining/combiner.hpp>
#include <interlock/core/detail/combining/leader_begins.hpp>
#include <interlock/core/detail/combining/sharing_line.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/transaction_context.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// A policy's transaction on one state, of an operation that touches nothing else, but may record. `Shape`:
/// its form, with a recorder or without.
template <class Session, Form Shape>
class CombiningTransaction {
    using T = typename Session::value_type;
    using K = typename Session::repository_type::key_type;
    using Inner = typename Session::Inner::template Transaction<1, Shape>;
    using Batch = typename Combiner<T>::Batch;
    using Line = typename Combiner<T>::Line;
    using Phase = SharingPhase;

public:
    CombiningTransaction(
        Session const& session, std::span<Key const, 1> keys, std::span<std::size_t const, 1> order,
        std::span<std::optional<T> const, 1> named, TransactionContext& context)
        : session_(session), key_(keys[0]), context_(context), inner_(session, keys, order, named, context)
    {
        self_.records = has_recorder(Shape);
        if (session.combiner().off())
            opt_out_of_sharing();
    }
    CombiningTransaction(CombiningTransaction const&) = delete;
    CombiningTransaction& operator=(CombiningTransaction const&) = delete;
    ~CombiningTransaction() { leave(); }

    /// This operation has more to it than the state: nothing is shared.
    void opt_out_of_sharing() noexcept { self_.phase = Phase::alone; }

    Step<Begun> begin(Waiter& waiter)
    {
        if (self_.phase == Phase::out && !enter(waiter))
            return Failure{Errc::overloaded, "waiters for their turn: the limit is reached"};
        if (self_.phase == Phase::queued)
            if (auto const later = look())
                return Step<Begun>::pending(*later);
        if (self_.phase == Phase::running) {
            auto const seen = std::exchange(seen_, nullptr);
            stored_key_.learn(*seen, key_);
            mine_.emplace(*seen);
            return Step<Begun>{std::in_place, std::in_place};
        }
        bool const leads = self_.phase == Phase::leading;
        if (leads)
            begin_to_lead(waiter);
        let_ask(false);
        auto step = inner_.begin(leads ? begins_ : waiter);
        if (leads)
            note_begun(step);
        else if (step.done() && !step.outcome())
            return refused_begin(std::move(step.outcome()).failure());
        return step;
    }

    std::optional<Failure> refusal() const
    {
        if (self_.phase != Phase::running)
            return inner_.refusal();
        if (!stored_key_.kept(*mine_, key_))
            return changed_key_failure();
        return std::nullopt;
    }

    Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
    {
        if (self_.phase == Phase::running || self_.phase == Phase::ran)
            return wait_for_batch(waiter, true);
        if (self_.phase == Phase::leading)
            gather(waiter);
        if (self_.phase == Phase::gathering) {
            if (auto const until = gathered())
                return Step<CommitResult>::pending(*until);
            if (now() >= context_.deadline())  // others took their time
                return finished(Errc::deadline_exceeded);
        }
        if constexpr (requires { inner_.commit(operation, waiter); })
            return finished(inner_.commit(operation, waiter));
        else
            return finished(inner_.commit(operation));
    }

    /// An exception is believed when what the operation saw was committed.
    Step<CommitResult> verify(Waiter& waiter)
    {
        if (self_.phase == Phase::running || self_.phase == Phase::ran) {
            auto step = wait_for_batch(waiter, false);
            if (!step.done() || step.outcome())
                return step;
            // It has no effect of its own: to run it again is always right.
            if (step.outcome().errc() != Errc::outcome_unknown)
                return step;
            self_.runs_again = true;
            return Errc::version_conflict;
        }
        if constexpr (can_verify<Inner>)
            return verify_step(inner_, waiter);
        else
            return Step<CommitResult>{std::in_place, std::in_place};
    }

    /// Whether the failure that `commit` or `verify` came to is not this operation's: it runs again, and that
    /// counts as no attempt.
    bool runs_again() noexcept { return std::exchange(self_.runs_again, false); }

    void rollback(bool unresolved) noexcept
    {
        let_ask(false);
        inner_.rollback(unresolved);
        leave();
    }
    Failure reason()
    {
        bool const asked = self_.asked;
        let_ask(false);
        auto mine = pending_reason();
        let_ask(asked);
        if (self_.phase != Phase::queued && mine.errc() != Errc::ok)
            return mine;
        auto others = reason_in_line();
        return others.errc() != Errc::ok ? std::move(others) : std::move(mine);
    }
    /// What the store has refused to those that led while this waited, or leads itself, or what the one that
    /// leads now waits for; `ok`: nothing.
    Failure reason_in_line() noexcept
    {
        try {
            auto said = in_line(now(), [](Line& line, auto&) {
                return line.refused() ? Failure{*line.refused()} : line.waited_for();
            });
            if (said.errc() != Errc::ok || self_.phase != Phase::queued)
                return said;
            return Failure{Errc::deadline_exceeded, waits_behind(place_of(session_.repository()))};
        } catch (std::bad_alloc const&) {  // no memory for the text
            return Errc::ok;
        }
    }
    /// What its own begin waits for, see `PendingReason`.
    Failure pending_reason() noexcept
    {
        try {
            return reason_of(inner_);
        } catch (std::bad_alloc const&) {
            return Errc::ok;
        }
    }
    void abandon() noexcept
    {
        let_ask(false);
        if (self_.phase == Phase::leading)
            tell_of_begin(pending_reason());
        inner_.abandon();
        if (self_.phase == Phase::queued)
            leave();
    }
    bool lost() const noexcept
        requires requires(Inner const& t) { t.lost(); }
    {
        return inner_.lost();
    }
    void listen(Waiter* waiter) noexcept
        requires requires(Inner& t, Waiter* w) { t.listen(w); }
    {
        inner_.listen(waiter);
    }
    T& state(std::size_t) noexcept { return self_.phase == Phase::running ? *mine_ : inner_.state(0); }

private:
    template <class>
    friend class LeaderBegins;

    /// Whether others may ask what the begin of this leader waits for. They may only while it waits, and is
    /// not at work on it itself: what is waited for belongs to one thread at a time.
    void let_ask(bool may) noexcept
    {
        if (std::exchange(self_.asked, may) == may)
            return;
        in_line(now(), [&](Line& line, auto&) {
            may ? line.may_ask(self_, pending_reason_of(*this)) : line.may_not_ask(self_, this);
        });
    }

    /// What this operation has recorded.
    std::vector<NewEvent>& recorded() const noexcept
    {
        return ContextAccess::events(*ContextAccess::recorder(context_));
    }

    /// It has something to do.
    void is_due() noexcept { self_.due_from(now()); }
    TimePoint now() const noexcept { return session_.repository().runtime().now(); }

    /// See `Combiner::in_line`.
    template <bool Make = false, class F>
    decltype(auto) in_line(TimePoint time, F step)
    {
        return session_.combiner().template in_line<Make>(key_, time, std::move(step));
    }

    bool enter(Waiter& waiter)
    {
        self_.waiter = &waiter;
        self_.deadline = context_.deadline();
        return in_line<true>(now(), [&](Line& line, auto&) { return line.enter(self_); });
    }

    /// Nothing: its turn has come, or it has no part in this any more. Else when to look again.
    std::optional<TimePoint> look()
    {
        return in_line<true>(now(), [&](Line& line, auto& wakings) -> std::optional<TimePoint> {
            auto const found = line.look(self_);
            wakings.add_told(found.given_up.get());
            wakings.add(found.wake);
            if (self_.phase == Phase::running)
                seen_ = static_cast<Batch&>(*self_.batch).value;
            return self_.phase == Phase::queued ? std::optional{found.again} : std::nullopt;
        });
    }

    void begin_to_lead(Waiter& waiter)
    {
        // Whoever took the place of a leader that waits for others' locks would only wait for the same. Once
        // it is woken, its executor is to run it.
        if (holds_in_begin(session_))
            self_.progress(context_.deadline());
        if (begins_.wakes != &waiter)  // not written again while somebody may wake it
            begins_.wakes = &waiter;
    }
    /// What the leader's begin came to, so far.
    void note_begun(Step<Begun>& step) noexcept
    {
        if (!step.done()) {
            self_.due_from(step.wake_at());
            let_ask(true);
        } else if (step.outcome()) {
            self_.began_at = now();
            self_.progress(self_.began_at);
            if (std::exchange(self_.doubted, false))
                in_line(self_.began_at, [](Line& line, auto&) { line.begun(); });
        } else {
            step = refused_begin(std::move(step.outcome()).failure());
            leave();
        }
    }

    /// A begin came to `failure`: what the caller is told.
    Failure refused_begin(Failure failure) noexcept
    {
        tell_of_begin(failure);
        return explained(std::move(failure));
    }
    /// Whoever waits behind a leader whose begin came to `failure` waits for just that.
    void tell_of_begin(Failure const& failure) noexcept
    {
        try {
            if (auto said = said_to_others(failure); said.errc() != Errc::ok)
                in_line(now(), [&](Line& line, auto&) { line.refuse_begin(std::move(said)); });
        } catch (std::bad_alloc const&) {  // the others hear less
        }
    }
    /// `failure`, with what the store has refused to others if this came too late to ask it.
    Failure explained(Failure failure) noexcept
    {
        if (failure.errc() != Errc::deadline_exceeded || failure.cause() != Errc::ok)
            return failure;
        auto others = reason_in_line();
        return others.errc() != Errc::ok ? Failure::because(Errc::deadline_exceeded, std::move(others))
                                         : std::move(failure);
    }

    /// The leader's operation has returned: does somebody wait?
    void gather(Waiter& waiter)
    {
        auto const time = now();
        auto const action = in_line(time, [&](Line& line, auto&) { return line.gather(self_); });
        if (action != Line::Gather::share)
            return;
        auto batch = std::make_shared<Batch>();
        batch->value = std::make_shared<T const>(inner_.state(0));
        if constexpr (has_recorder(Shape))
            batch->events = recorded();
        in_line(time, [&](Line& line, auto& wakings) {
            self_.waiter = &waiter;
            wakings.add(line.share(self_, std::move(batch)));
        });
    }

    /// Nothing: what this is to commit is whole. Else when to look again.
    std::optional<TimePoint> gathered()
    {
        std::shared_ptr<T const> whole;
        std::vector<NewEvent> events;
        std::shared_ptr<SharingBatch> given_up;
        auto const until = in_line(now(), [&](Line& line, auto&) -> std::optional<TimePoint> {
            auto const action = line.gathered(self_);
            if (action == Line::Gathered::wait)
                return line.patience_over(*self_.batch);
            if (action == Line::Gathered::alone)
                given_up = std::move(self_.batch);
            else if (self_.batch->shared) {
                whole = static_cast<Batch&>(*self_.batch).value;
                events.swap(static_cast<Batch&>(*self_.batch).events);
            }
            return std::nullopt;
        });
        if (whole) {
            inner_.state(0) = *whole;
            if constexpr (has_recorder(Shape))
                recorded().swap(events);
        }
        return until;
    }

    /// What the commit came to, so far.
    Step<CommitResult> finished(Step<CommitResult> step)
    {
        if (!step.done())
            return step;
        if (self_.phase != Phase::alone)
            return finish(std::move(step.outcome()));
        if (!step.outcome()) {
            auto failure = explained(std::move(step.outcome()).failure());
            in_line(now(), [&](Line& line, auto&) { line.refuse_commit(failure); });
            return failure;
        }
        return step;
    }
    Step<CommitResult> finish(Outcome<CommitResult> outcome)
    {
        if (!outcome)
            outcome = explained(std::move(outcome).failure());
        std::shared_ptr<SharingBatch> batch;
        in_line(now(), [&](Line& line, auto& wakings) {
            batch.swap(self_.batch);
            auto* const next = line.finish(self_, outcome, batch.get());
            wakings.add_told(batch.get());
            wakings.add(next);
        });
        return outcome;
    }

    /// Its operation has run. `changes`: what it made of the value is handed in.
    Step<CommitResult> wait_for_batch(Waiter& waiter, bool changes)
    {
        std::shared_ptr<T const> value;
        if (changes && self_.phase == Phase::running)
            value = std::make_shared<T const>(std::move(*mine_));
        auto const batch = self_.batch;  // lives until the mutex is free
        return in_line(now(), [&](Line& line, auto& wakings) -> Step<CommitResult> {
            if (self_.phase == Phase::running) {
                auto& own = static_cast<Batch&>(*batch);
                own.make_room();
                if constexpr (has_recorder(Shape))
                    if (changes && !own.make_room_for(recorded().size()))
                        wakings.add(line.pass_by(self_));
                if (!line.hand_in(self_, changes)) {
                    self_.batch.reset();
                    return line.dropped();
                }
                self_.waiter = &waiter;
                if (changes)
                    own.value.swap(value);
                if constexpr (has_recorder(Shape))
                    if (changes)
                        own.add_events(recorded());
                wakings.add(line.pass_on(own));
            }
            auto const waited = line.wait(self_);
            if (waited.what == Line::Wait::wait)
                return Step<CommitResult>::pending(waited.again);
            wakings.add_told(waited.given_up.get());
            self_.batch.reset();
            switch (waited.what) {
            case Line::Wait::told: return *std::exchange(self_.outcome, std::nullopt);
            case Line::Wait::leads: return line.dropped();
            default:
                return Failure::unknown(
                    Errc::deadline_exceeded, "the operation that commits for this one does not go on");
            }
        });
    }

    /// Out of whatever this is in.
    void leave() noexcept
    {
        if (!self_.present)
            return;
        std::shared_ptr<SharingBatch> batch;
        in_line(now(), [&](Line& line, auto& wakings) {
            batch.swap(self_.batch);
            auto* const next = line.leave(self_, batch);
            wakings.add_told(batch.get());
            wakings.add(next);
        });
    }

    Session const& session_;
    Key const& key_;
    TransactionContext& context_;
    SharingMember self_;
    std::shared_ptr<T const> seen_;  // what it gets a copy of
    std::optional<T> mine_;          // that copy
    StoredKey<T, K> stored_key_;     // of that copy, before the operation had it
    LeaderBegins<CombiningTransaction> begins_{*this};
    Inner inner_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_COMBINING_COMBINING_TRANSACTION_HPP
