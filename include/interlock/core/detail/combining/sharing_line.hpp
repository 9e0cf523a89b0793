// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_COMBINING_SHARING_LINE_HPP
#define INTERLOCK_CORE_DETAIL_COMBINING_SHARING_LINE_HPP

// Which of the operations that wait for the same state leads, which of them gets the value next, how long
// anybody is waited for, and what became of each: the decision, without mutex, clock, store, memory or the
// value itself.
//
// One operation leads: it loads the state and runs. When it has returned it may gather a batch: the value
// goes to one waiting operation after the other, each of which runs on what the one before made of it, and
// then the leader commits for all. The words of the phases are in `SharingPhase`.
//
// The laws that `tests/interleaving/sharing_line.cpp` checks in every order of events:
// * At most one operation leads, and at most one has the value of a batch.
// * Whoever waits looks again at a time that is known, and is woken when there is something for it before
//   that.
// * Each operation is told one outcome, that of the commit which it was a part of; if there was none it runs
//   again.
// * A leader waits for one operation no longer than the patience, and a leader that makes no progress is
//   replaced.
// * What the store has refused to one that led is known to all that had to do with the state then, whoever
//   leads afterwards, until a commit is applied; and whoever waits may ask what the leader waits for.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/detail/combining/sharing_reason.hpp>
#include <interlock/core/detail/keyed_lines.hpp>
#include <interlock/core/detail/pending_reason.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/assertion.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Where an operation stands.
enum class SharingPhase : unsigned char {
    alone,       ///< has nothing to do with others, until its call ends
    out,         ///< has nothing to do with others right now
    queued,      ///< waits for the value, or to lead
    leading,     ///< begins and runs as the policy does, on what it loads itself
    gathering,   ///< has run as the leader; others get the value
    committing,  ///< commits, for itself or for its batch
    running,     ///< has a copy of the value of another's batch
    ran,         ///< has run on that copy, and waits for what becomes of the batch
};

struct SharingBatch;

/// One operation, while it may have to do with others.
struct SharingMember : QueueHook {
    using Time = std::chrono::nanoseconds;

    SharingPhase phase{SharingPhase::out};
    Waiter* waiter{nullptr};
    TimePoint deadline{};
    std::shared_ptr<SharingBatch> batch;           // that it leads, has the value of, or has run in
    std::optional<Outcome<CommitResult>> outcome;  // that it is told
    bool again{false};         // that outcome is not its own: it runs again, and that counts as no attempt
    bool runs_again{false};    // likewise of what its `commit` or `verify` has returned
    bool promoted{false};      // leads from now on, and does not know it yet
    bool first{false};         // goes to the front of the queue: it has had its turn
    bool late{false};          // gets no value any more: it leads when its turn comes
    bool single{false};        // shares with nobody when it leads
    bool records{false};       // what it commits may bring events, its own and those of others
    bool doubted{false};       // as a leader: others have heard something of a begin that has not succeeded
    bool asked{false};         // as a leader: others may ask what its begin waits for
    bool present{false};       // counted in its group, from when it comes until it is out
    TimePoint began_at{};      // as a leader: when its operation began ...
    TimePoint commit_began{};  // ... and its commit
    Time look_again{0};        // how long until it looks whether its leader makes progress
    /// As a leader: from when on it has had something to do. Written without the mutex, too.
    std::atomic<TimePoint> since{};

    /// It has something to do from `time` on, if not earlier.
    void due_from(TimePoint time) noexcept
    {
        auto before = since.load(std::memory_order_relaxed);
        while (time < before && !since.compare_exchange_weak(before, time, std::memory_order_relaxed)) {
        }
    }
    void progress(TimePoint time) noexcept { since.store(time, std::memory_order_relaxed); }
};

/// Operations that are committed together.
struct SharingBatch {
    SharingMember* leader{nullptr};
    SharingMember* running{nullptr};   // has the value, and may still hand in what it makes of it
    bool picked{false};                // and knows that it has
    bool open{true};                   // until the leader takes the value back, or the batch is given up
    bool shared{false};                // the value is not only what the leader made of it
    TimePoint passed_at{};             // to `running`
    TimePoint until{};                 // nobody gets the value later
    int count{1};                      // of those that got the value, with the leader
    std::vector<SharingMember*> ran;   // what they made of it is in the value
    std::vector<SharingMember*> told;  // of those, whom to wake since they were told an outcome
};

/// What a service was told about sharing.
struct SharingTerms {
    /// How many operations one batch has at most.
    int most;
    /// After this time the leader takes the value back from a member that was handed it and has handed in
    /// nothing. The member's thread may itself be blocked, waiting for this very batch; without the limit
    /// both would wait for ever.
    std::chrono::nanoseconds patience;
};

/// What sharing has brought so far, and what it has cost.
class SharingLedger {
public:
    using Time = std::chrono::nanoseconds;

    /// A leader may wait for others as long as that has cost less than the commits which sharing has saved.
    /// What was lost comes back a little with each commit that was not shared, so that it is tried again from
    /// time to time.
    bool may_wait(SharingTerms const& terms) noexcept
    {
        if (credit_.count() >= 0)
            return true;
        credit_ += terms.patience / 32;
        return false;
    }
    void saved_commit(SharingTerms const& terms) noexcept
    {
        credit_ = std::min(credit_ + commit_took_, 8 * terms.patience);
    }
    void waited_in_vain(SharingTerms const& terms) noexcept { credit_ -= terms.patience; }
    void committed_in(Time time) noexcept { commit_took_ = std::min<Time>(time, longest_commit); }

    /// How long before its deadline a leader begins to commit.
    Time reserve(SharingTerms const& terms) const noexcept { return terms.patience + 2 * commit_took_; }
    /// After how long without progress a leader is replaced.
    Time limit(SharingTerms const& terms) const noexcept { return 8 * terms.patience + 4 * commit_took_; }

    Time credit() const noexcept { return credit_; }

private:
    static constexpr std::chrono::milliseconds longest_commit{100};  // no store is expected to take longer

    Time commit_took_{0};  // the last one
    Time credit_{0};       // what sharing has saved, less what was waited for in vain
};

/// Those that have to do with one state: there is a leader as long as anybody waits.
struct SharingGroup {
    IntrusiveQueue<SharingMember> queue;
    SharingMember* leader{nullptr};
    PendingReason pending{};         // why the begin of the leader has not ended
    std::optional<Failure> waited;   // likewise, as it was known when the leader went to work on it again
    int present{0};                  // members, with those that were left behind
    std::optional<Failure> refused;  // what the store said last to one that led, if that was no success
    bool begin_refused{false};       // and it said so of a begin, not of a commit
};

/// One group at one moment: who is there, who leads, and what is known. `Count`: how many wait in all groups
/// of a service, as `KeyedLines` counts them.
template <class Count>
class SharingSteps {
public:
    using Member = SharingMember;
    using Batch = SharingBatch;
    using Phase = SharingPhase;

    SharingSteps(
        SharingGroup& group, SharingTerms const& terms, SharingLedger& ledger, Count& count,
        TimePoint now) noexcept
        : group_(group), terms_(terms), ledger_(ledger), count_(count), now_(now)
    {}

    bool forgotten() const noexcept { return group_.present == 0; }
    bool leads(Member const& member) const noexcept { return group_.leader == &member; }
    /// What the store has refused to one that led, or was replaced, unless it has applied a commit since.
    std::optional<Failure> const& refused() const noexcept { return group_.refused; }
    /// A begin of one that led, or was replaced, came to what says `said` to the others.
    void refuse_begin(Failure said) noexcept
    {
        group_.refused.emplace(std::move(said));
        group_.begin_refused = true;
    }
    /// Its commit came to `failure`. What the store finds wrong with one write says nothing of another's.
    void refuse_commit(Failure const& failure) noexcept
    {
        if (failure.errc() == Errc::invalid_argument || failure.errc() == Errc::constraint_violated)
            return;
        if (keep_said(group_.refused, failure))
            group_.begin_refused = false;
    }
    /// The leader has begun: what the store said of a begin before is over.
    void begun() noexcept
    {
        group_.waited.reset();
        if (std::exchange(group_.begin_refused, false))
            group_.refused.reset();
    }
    /// Others may ask from now on why the begin of `member` has not ended, if it leads.
    void may_ask(Member const& member, PendingReason begin) noexcept
    {
        if (!leads(member))
            return;
        group_.pending = begin;
        group_.waited.reset();
    }
    /// They may not any more. What is known now is what they hear until `begun`.
    void may_not_ask(Member& member, void const* whom) noexcept
    {
        if (group_.pending.whom != whom)
            return;
        member.doubted |= keep_said(group_.waited, group_.pending.reason());
        group_.pending = {};
    }
    /// What the leader's begin waits for, as it is said to others; `ok`: nothing is known.
    Failure waited_for() const
    {
        if (group_.pending)
            return said_to_others(group_.pending.reason());
        return group_.waited ? *group_.waited : Failure{Errc::ok};
    }
    /// When somebody else takes the leader's place.
    TimePoint leader_due() const noexcept
    {
        return add(group_.leader->since.load(std::memory_order_relaxed), ledger_.limit(terms_));
    }

protected:
    void arrive(Member& member) noexcept
    {
        if (!std::exchange(member.present, true))
            ++group_.present;
    }
    void depart(Member& member) noexcept
    {
        member.phase = Phase::out;
        if (leads(member))
            group_.pending = {};
        if (std::exchange(member.present, false))
            --group_.present;
    }

    void lead(Member& member) noexcept
    {
        group_.leader = &member;
        group_.pending = {};
        member.progress(now_);
        member.phase = Phase::leading;
        member.doubted = group_.begin_refused || group_.waited;
    }

    /// It has to run again, and that counts as no attempt.
    static void once_more(Member& member) noexcept
    {
        member.runs_again = true;
        member.again = false;
        member.outcome.reset();
    }

    void unqueue(Member& member) noexcept
    {
        group_.queue.remove(&member);
        count_.count_out();
    }

    /// The leader is gone: the first of the queue leads, or nobody is left.
    Member* promote_next() noexcept
    {
        group_.pending = {};
        if (group_.queue.empty()) {
            group_.leader = nullptr;
            return nullptr;
        }
        auto* const next = group_.queue.front();
        unqueue(*next);
        next->promoted = true;
        group_.leader = next;
        next->progress(now_);
        return next;
    }

    /// Whoever has the value may not hand in anything any more.
    void expel(Batch& batch) noexcept
    {
        auto* const holder = std::exchange(batch.running, nullptr);
        if (holder == nullptr || batch.picked)  // it finds out when it is done
            return;
        holder->batch.reset();
        holder->late = true;
        group_.queue.push_front(holder);
        count_.count_in_again();
    }

    /// The leader makes no progress: what it gathers is given up, unless it is being committed.
    std::shared_ptr<Batch> give_up() noexcept
    {
        auto batch = group_.leader->batch;
        if (!batch || !batch->open)
            return nullptr;
        expel(*batch);
        batch->open = false;
        tell(*batch, Errc::cancelled);
        return batch;
    }

    /// What became of a batch, for all that have run in it.
    void tell(Batch& batch, Outcome<CommitResult> const& outcome) noexcept
    {
        std::optional<Failure> said;
        if (!outcome)
            keep_said(said, outcome.failure());
        for (auto* const member : batch.ran) {
            if (outcome) {
                member->outcome.emplace(std::in_place);
            } else if (outcome.errc() == Errc::outcome_unknown) {
                member->outcome.emplace(Failure::unknown(outcome.cause(), {}));
            } else {  // not applied, whatever it was: so what it has seen is not so
                member->again = !value_has_changed(outcome.errc());
                member->outcome.emplace(dropped_for(said ? said : group_.refused));
                if (refuses_the_write(outcome.errc()))  // each is to hear what is said of its own
                    member->late = member->single = true;
            }
        }
        batch.told.swap(batch.ran);
    }

    SharingGroup& group_;
    SharingTerms const& terms_;
    SharingLedger& ledger_;
    Count& count_;
    TimePoint now_;
};

/// The steps of one group at one moment.
template <class Count>
class SharingLine : public SharingSteps<Count> {
public:
    using Steps = SharingSteps<Count>;
    using Steps::leader_due;
    using Steps::leads;
    using Steps::refuse_commit;
    using Steps::Steps;
    using Member = SharingMember;
    using Batch = SharingBatch;
    using Phase = SharingPhase;

    // ---- an operation that waits ----------------------------------------------------------------

    /// `member` comes: it leads, or it waits. False: too many wait.
    bool enter(Member& member) noexcept
    {
        member.outcome.reset();
        member.again = member.promoted = false;
        if (group_.leader == nullptr) {
            arrive(member);
            lead(member);
            return true;
        }
        if (!count_.count_in())
            return false;
        arrive(member);
        if (std::exchange(member.first, false))
            group_.queue.push_front(&member);
        else
            group_.queue.push_back(&member);
        member.phase = Phase::queued;
        member.look_again = ledger_.limit(terms_);
        return true;
    }

    /// What one that waits is to do.
    struct Look {
        TimePoint again{};                  // it goes on waiting, and looks then
        Member* wake{nullptr};              // who leads instead of a leader that makes no progress
        std::shared_ptr<Batch> given_up{};  // that leader's; those in `told` are to be woken
    };

    /// `member` looks whether its turn has come. Its phase says so: it leads, it runs, or it is still queued.
    Look look(Member& member) noexcept
    {
        if (std::exchange(member.promoted, false)) {
            if (leads(member))
                lead(member);
            else if (!enter(member))  // somebody has taken its place before it looked
                member.phase = Phase::alone;
            if (member.phase != Phase::queued)
                return {};
        }
        if (member.batch) {
            member.batch->picked = true;
            member.phase = Phase::running;
            return {};
        }
        auto const due = leader_due();
        if (now_ < due) {
            // One that waits for long looks less often: there may be many of them.
            auto const longest = 16 * ledger_.limit(terms_);
            auto const wait = std::exchange(member.look_again, std::min(2 * member.look_again, longest));
            return {.again = std::max(due, add(now_, wait))};
        }
        keep_waited_for();
        Look found{.given_up = give_up()};
        // Whoever has looked, the first in line leads: those that have waited longest look least often.
        if (group_.queue.front() == &member) {
            unqueue(member);
            lead(member);
        } else {
            found.wake = promote_next();
            found.again = leader_due();
        }
        return found;
    }

    // ---- a leader -------------------------------------------------------------------------------

    enum class Gather : unsigned char {
        alone,   ///< it was replaced: it commits what it has made itself
        commit,  ///< nobody is to share: it commits
        share,   ///< make a batch, and call `share`
    };

    /// The leader's operation has returned.
    Gather gather(Member& member) noexcept
    {
        member.commit_began = now_;
        if (!leads(member))
            return alone(member);
        member.phase = Phase::committing;
        member.progress(now_);
        if (member.single || group_.queue.empty() || now_ - member.began_at > terms_.patience ||
            add(now_, ledger_.reserve(terms_)) >= member.deadline || !ledger_.may_wait(terms_))
            return Gather::commit;
        return Gather::share;
    }

    /// After `Gather::share`, perhaps a little later: the value goes round in `batch`. Returns whom to wake.
    Member* share(Member& member, std::shared_ptr<Batch> batch) noexcept
    {
        if (!leads(member)) {
            alone(member);
            return nullptr;
        }
        batch->leader = &member;
        batch->until = std::min(add(now_, 16 * terms_.patience), member.deadline - ledger_.reserve(terms_));
        member.batch = std::move(batch);
        member.phase = Phase::gathering;
        return pass_on(*member.batch);
    }

    enum class Gathered : unsigned char {
        wait,    ///< for whoever has the value, until `patience_over`
        commit,  ///< what is whole; where the batch is `shared`, that is the batch's value
        alone,   ///< it was replaced: it commits what it has made itself
    };

    Gathered gathered(Member& member) noexcept
    {
        auto& batch = *member.batch;
        if (!batch.open) {
            alone(member);
            return Gathered::alone;
        }
        if (batch.running != nullptr) {
            if (now_ < patience_over(batch))
                return Gathered::wait;
            ledger_.waited_in_vain(terms_);
            expel(batch);
        }
        batch.open = false;
        member.progress(now_);
        member.commit_began = now_;
        member.phase = Phase::committing;
        return Gathered::commit;
    }
    TimePoint patience_over(Batch const& batch) const noexcept
    {
        return add(batch.passed_at, terms_.patience);
    }

    /// The leader's commit came to `outcome`. Returns who leads next, if that is somebody else; `batch`, if
    /// there was one, has whom to wake in `told`.
    Member* finish(Member& member, Outcome<CommitResult> const& outcome, Batch* batch) noexcept
    {
        if (outcome) {
            ledger_.committed_in(now_ - member.commit_began);
            group_.refused.reset();
        } else {
            refuse_commit(outcome.failure());
        }
        if (batch != nullptr) {
            // What the store has refused may be what another one made of it: the leader runs again, first
            // without the others.
            if (!outcome && batch->shared && refuses_the_write(outcome.errc()))
                member.runs_again = member.single = true;
            tell(*batch, outcome);
        }
        if (outcome) {
            depart(member);
            return leads(member) ? promote_next() : nullptr;
        }
        if (leads(member))  // it may begin again
            lead(member);
        else
            alone(member);
        return nullptr;
    }

    // ---- an operation that got the value --------------------------------------------------------

    /// `member` has run on its copy of the value. False: its time was over, and what it made is not wanted
    /// any more, see `dropped`. True: it waits; the caller puts what it made into the batch, if it `changes`
    /// anything, and then calls `pass_on`.
    bool hand_in(Member& member, bool changes) noexcept
    {
        auto& batch = *member.batch;
        if (batch.running != &member) {
            member.first = member.late = true;
            once_more(member);
            depart(member);
            return false;
        }
        INTERLOCK_ASSERT(batch.ran.size() < batch.ran.capacity(), "there is room before the mutex is taken");
        batch.ran.push_back(&member);
        member.phase = Phase::ran;
        if (changes) {
            batch.shared = true;
            ledger_.saved_commit(terms_);
        }
        return true;
    }

    /// `member` has run on its copy, and what it made of it is too much for this batch: the value goes on
    /// without that, and `hand_in` refuses it then. Returns whom to wake.
    Member* pass_by(Member& member) noexcept
    {
        auto& batch = *member.batch;
        return batch.running == &member ? pass_on(batch) : nullptr;
    }

    /// The value goes to the next who may have it, else back to the leader. Returns whom to wake; nobody, if
    /// the batch is not open any more.
    Member* pass_on(Batch& batch) noexcept
    {
        batch.running = nullptr;
        if (!batch.open)
            return nullptr;
        group_.leader->progress(now_);
        if (batch.count < terms_.most && now_ < batch.until) {
            // One whose deadline is earlier would have to wait for a commit that may come too late for it.
            // The events of one that records would not come along with a commit that brings none.
            auto* const next = group_.queue.find([&](Member* m) {
                return !m->late && m->deadline >= batch.leader->deadline &&
                       (batch.leader->records || !m->records);
            });
            if (next != nullptr) {
                unqueue(*next);
                next->batch = batch.leader->batch;
                batch.running = next;
                batch.picked = false;
                batch.passed_at = now_;
                ++batch.count;
                return next;
            }
        }
        return batch.leader;
    }

    /// What one hears whose run was dropped: a conflict, because of what the store has refused.
    Failure dropped() const noexcept { return dropped_for(group_.refused); }

    enum class Wait : unsigned char {
        told,   ///< its outcome is there
        wait,   ///< until `again`
        leads,  ///< whoever was to commit makes no progress: it leads instead, and runs again, see `dropped`
        lost,   ///< whoever commits does not go on at all: nobody knows what became of it
    };
    struct Waited {
        Wait what;
        TimePoint again{};
        std::shared_ptr<Batch> given_up{};
    };

    /// `member` waits for what becomes of its batch.
    Waited wait(Member& member) noexcept
    {
        if (member.outcome) {
            depart(member);
            member.runs_again = member.first = member.again;
            return {Wait::told};
        }
        auto& batch = *member.batch;
        if (batch.open) {
            auto const due = leader_due();
            if (now_ < due)
                return {Wait::wait, due};
            auto given_up = give_up();
            once_more(member);
            lead(member);
            return {Wait::leads, {}, std::move(given_up)};
        }
        // It is being committed. The leader's deadline, which is not later, bounds that, but not how long the
        // leader's executor takes to say what it came to.
        auto const due = add(member.deadline, ledger_.limit(terms_));
        if (now_ < due)
            return {Wait::wait, due};
        std::erase(batch.ran, &member);
        depart(member);
        return {Wait::lost};
    }

    // ---- whoever goes ---------------------------------------------------------------------------

    /// `member` has nothing to do with others any more, whatever it was doing. `batch`: its batch, which the
    /// caller has taken from it. Returns whom to wake; those in the batch's `told` are to be woken, too.
    Member* leave(Member& member, std::shared_ptr<Batch> const& batch) noexcept
    {
        auto const before = member.phase;
        depart(member);
        switch (before) {
        case Phase::queued:
            if (member.promoted)
                return leads(member) ? promote_next() : nullptr;
            if (batch)  // it got the value and has not looked at it
                return pass_on(*batch);
            unqueue(member);
            return nullptr;
        case Phase::running: return batch->running == &member ? pass_on(*batch) : nullptr;
        case Phase::ran: std::erase(batch->ran, &member); return nullptr;
        case Phase::leading:
        case Phase::gathering:
        case Phase::committing:
            if (batch) {
                // Its execution context went away. What was sent may still be applied.
                bool const sent = before == Phase::committing;
                if (std::exchange(batch->open, false) && leads(member))
                    expel(*batch);
                tell(*batch, sent ? Failure::unknown(Errc::cancelled, {}) : Failure{Errc::cancelled});
            }
            return leads(member) ? promote_next() : nullptr;
        default: return nullptr;
        }
    }

private:
    using Steps::arrive, Steps::depart, Steps::lead, Steps::once_more, Steps::unqueue, Steps::promote_next;
    using Steps::expel, Steps::give_up, Steps::tell;
    using Steps::group_, Steps::terms_, Steps::ledger_, Steps::count_, Steps::now_;

    /// The leader is about to be replaced: what its begin waits for is not forgotten.
    void keep_waited_for() noexcept
    {
        try {
            if (auto said = this->waited_for(); said.errc() != Errc::ok)
                this->refuse_begin(std::move(said));
        } catch (std::bad_alloc const&) {  // the others hear less
        }
    }

    Gather alone(Member& member) noexcept
    {
        member.phase = Phase::alone;
        return Gather::alone;
    }
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_COMBINING_SHARING_LINE_HPP
