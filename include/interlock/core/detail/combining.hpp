// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_COMBINING_HPP
#define INTERLOCK_CORE_DETAIL_COMBINING_HPP

// Combining: operations of one service that wait for the same state run back to back, each on its own caller's thread or
// executor, on one loaded value, and are committed by one write.
//
// Per state there is at most one leader. It begins as the policy does (loads, or takes the lock or the row). Whoever comes
// meanwhile queues. When the leader's operation has returned, the value goes round: one of the queue after the other gets
// it, runs, and passes it on. Then the leader commits, and all that ran share the outcome: applied, or run again, or
// unknown. An operation that throws puts the value back as it got it, and its exception is believed when what it saw was
// committed.
//
// The value belongs to whoever has it; everything else is guarded by the shard's mutex.

#include <interlock/core/concepts.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/state_slot.hpp>
#include <interlock/core/transaction_context.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The queues of one service.
template <class T>
class Combiner {
public:
    struct Batch;

    /// One operation, while it has to do with others.
    struct Member {
        Waiter* waiter{nullptr};
        TimePoint deadline{};
        typename std::list<Member*>::iterator place{};
        std::shared_ptr<Batch> batch;  // that it is to run in, or has run in
        std::optional<Outcome<CommitResult>> outcome;
        bool promoted{false};  // leads from now on
    };

    struct Batch {
        T value;
        Member* leader;  // null: its context went away
        Member* running{nullptr};  // has the value
        bool picked{false};        // and knows it
        TimePoint passed_at{};
        int count{1};
        std::vector<Member*> ran;
        std::vector<Wakeup> wakeups;
    };

    struct Shard {
        std::mutex mutex;
        std::unordered_map<Key, std::list<Member*>> groups;  // one for each state that has a leader
    };

    /// How long the value may lie with somebody who does not take it up: a thread that waits for this very batch, say.
    static constexpr std::chrono::milliseconds patience{10};

    /// `most` in a batch, `turns` waiting.
    Combiner(int most, std::size_t turns) : most_(most), turns_(turns) {}
    bool off() const noexcept { return most_ <= 1 || turns_ == 0; }
    Shard& shard_of(Key const& key) noexcept { return shards_[(key.hash() ^ key.hash() >> 13) % shards_.size()]; }

    /// Nobody's turn comes before `member`'s, of those who are there. False: too many wait. The mutex is held.
    bool queue(std::list<Member*>& queue, Member& member)
    {
        if (waiting_.load(std::memory_order_relaxed) >= turns_)
            return false;
        member.place = queue.insert(queue.end(), &member);
        waiting_.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    void unqueue(std::list<Member*>& queue, typename std::list<Member*>::iterator place) noexcept
    {
        queue.erase(place);
        waiting_.fetch_sub(1, std::memory_order_relaxed);
    }
    /// Back to the front: it did not take up the value.
    void requeue(std::list<Member*>& queue, Member& member)
    {
        member.place = queue.insert(queue.begin(), &member);
        waiting_.fetch_add(1, std::memory_order_relaxed);
    }

    /// The value goes to the next who may have it, else back to the leader. The mutex is held.
    [[nodiscard]] Wakeup pass_on(Shard& shard, Key const& key, std::shared_ptr<Batch> const& batch, TimePoint now) noexcept
    {
        batch->running = nullptr;
        if (batch->leader == nullptr)
            return {};
        auto& queue = shard.groups.find(key)->second;
        if (batch->count < most_) {
            for (auto it = queue.begin(); it != queue.end(); ++it) {
                auto* const next = *it;
                if (next->deadline < batch->leader->deadline)
                    continue;  // would have to wait for a commit that may come too late for it
                unqueue(queue, it);
                next->batch = batch;
                batch->running = next;
                batch->picked = false;
                batch->passed_at = now;
                ++batch->count;
                return next->waiter->wake_later();
            }
        }
        return batch->leader->waiter->wake_later();
    }

    /// The leader is gone: the next of the queue leads, or nobody is left. The mutex is held.
    [[nodiscard]] Wakeup left(Shard& shard, Key const& key) noexcept
    {
        auto const group = shard.groups.find(key);
        auto& queue = group->second;
        if (queue.empty()) {
            shard.groups.erase(group);
            return {};
        }
        auto* const next = queue.front();
        unqueue(queue, queue.begin());
        next->promoted = true;
        return next->waiter->wake_later();
    }

    /// What became of a batch, for all that ran in it. The mutex is held; afterwards its wake-ups are to be fired.
    static void tell(Batch& batch, Outcome<CommitResult> const& outcome) noexcept
    {
        for (auto* const member : batch.ran) {
            if (outcome)
                member->outcome.emplace(std::in_place);
            else if (outcome.error() == Errc::outcome_unknown)
                member->outcome.emplace(Failure::unknown(outcome.cause(), {}));
            else  // not applied, whatever it was: what it saw is not so
                member->outcome.emplace(Errc::version_conflict);
            batch.wakeups.push_back(member->waiter->wake_later());  // there is room
        }
        batch.ran.clear();
    }

private:
    int most_;
    std::size_t turns_;
    std::atomic<std::size_t> waiting_{0};
    std::array<Shard, 16> shards_;
};

/// A policy's transaction on one state, of an operation that touches nothing else.
template <class Session>
class CombiningTransaction {
    using T = typename Session::value_type;
    using K = typename Session::repository_type::key_type;
    using Inner = typename Session::Inner::template Transaction<1, Form::states>;
    using Table = Combiner<T>;

public:
    CombiningTransaction(
        Session const& session, std::span<Key const, 1> keys, std::span<std::size_t const, 1> order,
        std::span<std::optional<T> const, 1> named, TransactionContext& context)
        : session_(session), key_(keys[0]), context_(context), inner_(session, keys, order, named, context)
    {
        if (session.combiner().off())
            alone();
    }
    CombiningTransaction(CombiningTransaction const&) = delete;
    CombiningTransaction& operator=(CombiningTransaction const&) = delete;
    ~CombiningTransaction() { leave(); }

    /// This operation has more to it than the state: nothing is shared.
    void alone() noexcept { phase_ = Phase::alone; }

    Step<Begun> begin(Waiter& waiter)
    {
        if (phase_ == Phase::out && !enter(waiter))
            return Failure{Errc::overloaded, "waiters for their turn: the limit is reached"};
        if (phase_ == Phase::queued) {
            std::lock_guard lock(shard().mutex);
            if (self_.promoted) {
                phase_ = Phase::leading;
            } else if (self_.batch) {
                self_.batch->picked = true;
                phase_ = Phase::running;
            } else {
                return Step<Begun>::pending();
            }
        }
        if (phase_ == Phase::running) {
            before_.emplace(self_.batch->value);
            return Step<Begun>{std::in_place, std::in_place};
        }
        auto step = inner_.begin(waiter);
        if (phase_ == Phase::leading && step.done() && !step.outcome())
            leave();
        return step;
    }

    std::optional<Failure> refusal() const
    {
        if (phase_ != Phase::running)
            return inner_.refusal();
        if (!belongs_to<T, K>(self_.batch->value, key_))
            return changed_key_failure();
        return std::nullopt;
    }

    Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
    {
        if (phase_ == Phase::running || phase_ == Phase::ran)
            return wait_for_batch(waiter);
        if (phase_ == Phase::leading)
            gather(waiter);
        if (phase_ == Phase::gathering) {
            if (auto const until = gathered())
                return Step<CommitResult>::pending(*until);
            if (now() >= context_.deadline())  // others took their time
                return finish(Errc::deadline_exceeded);
        }
        auto step = commit_step(inner_, operation, waiter);
        if (!step.done() || phase_ == Phase::alone)
            return step;
        return finish(std::move(step.outcome()));
    }

    /// An exception is believed when what the operation saw was committed.
    Step<CommitResult> verify(Waiter& waiter)
    {
        if (phase_ == Phase::running || phase_ == Phase::ran) {
            if (phase_ == Phase::running)
                put_back();
            auto step = wait_for_batch(waiter);
            if (step.done() && !step.outcome())  // it has no effect of its own: to run it again is always right
                return Errc::version_conflict;
            return step;
        }
        if constexpr (can_verify<Inner>)
            return verify_step(inner_, waiter);
        else
            return Step<CommitResult>{std::in_place, std::in_place};
    }

    void rollback(bool unresolved) noexcept
    {
        inner_.rollback(unresolved);
        leave();
    }
    void abandon() noexcept
    {
        inner_.abandon();
        if (phase_ == Phase::queued)
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
    T& state(std::size_t) noexcept { return phase_ == Phase::running ? self_.batch->value : inner_.state(0); }

private:
    enum class Phase : unsigned char {
        alone,      ///< has nothing to do with others
        out,        ///< nor has this, now
        queued,     ///< waits for its turn, or to lead
        leading,    ///< begins and runs as the policy does
        gathering,  ///< its operation has run; others have the value
        committing, ///< for all that ran
        running,    ///< has the value of another's batch
        ran,        ///< waits for what becomes of it
    };

    typename Table::Shard& shard() const noexcept { return session_.combiner().shard_of(key_); }
    TimePoint now() const { return session_.repository().runtime().now(); }

    bool enter(Waiter& waiter)
    {
        self_.waiter = &waiter;
        self_.deadline = context_.deadline();
        self_.batch.reset();
        self_.outcome.reset();
        self_.promoted = false;
        std::lock_guard lock(shard().mutex);
        auto const [group, first] = shard().groups.try_emplace(key_);
        if (first)
            phase_ = Phase::leading;
        else if (session_.combiner().queue(group->second, self_))
            phase_ = Phase::queued;
        return phase_ != Phase::out;
    }

    /// The leader's operation has returned: does somebody wait?
    void gather(Waiter& waiter)
    {
        Wakeup wakeup;
        std::lock_guard lock(shard().mutex);
        if (shard().groups.find(key_)->second.empty()) {
            phase_ = Phase::committing;
            return;
        }
        self_.waiter = &waiter;
        self_.batch = std::make_shared<typename Table::Batch>(
            typename Table::Batch{std::move(inner_.state(0)), &self_, nullptr, false, {}, 1, {}, {}});
        phase_ = Phase::gathering;
        wakeup = session_.combiner().pass_on(shard(), key_, self_.batch, now());
    }

    /// Nothing: the value is back. Else when to look again.
    std::optional<TimePoint> gathered()
    {
        auto& batch = *self_.batch;
        {
            std::lock_guard lock(shard().mutex);
            if (auto* const holder = batch.running) {
                if (batch.picked)
                    return TimePoint::max();
                auto const until = add(batch.passed_at, Table::patience);
                if (now() < until)
                    return until;
                // Not taken up: perhaps by a thread that waits for us. It stays first in line.
                session_.combiner().requeue(shard().groups.find(key_)->second, *holder);
                holder->batch.reset();
                batch.running = nullptr;
            }
        }
        inner_.state(0) = std::move(batch.value);
        phase_ = Phase::committing;
        return std::nullopt;
    }

    Step<CommitResult> finish(Outcome<CommitResult> outcome)
    {
        std::vector<Wakeup> wakeups;
        Wakeup wakeup;
        {
            std::lock_guard lock(shard().mutex);
            if (auto const batch = std::exchange(self_.batch, nullptr)) {
                Table::tell(*batch, outcome);
                wakeups.swap(batch->wakeups);
            }
            phase_ = outcome ? Phase::out : Phase::leading;  // which may begin again
            if (outcome)
                wakeup = session_.combiner().left(shard(), key_);
        }
        return outcome;
    }

    /// Its turn is over.
    Step<CommitResult> wait_for_batch(Waiter& waiter)
    {
        Wakeup wakeup;
        std::lock_guard lock(shard().mutex);
        if (phase_ == Phase::running) {
            auto& batch = *self_.batch;
            batch.wakeups.reserve(batch.ran.size() + 1);
            batch.ran.push_back(&self_);
            self_.waiter = &waiter;
            phase_ = Phase::ran;
            if (batch.leader == nullptr)
                self_.outcome.emplace(Errc::version_conflict);
            wakeup = session_.combiner().pass_on(shard(), key_, self_.batch, now());
        }
        if (!self_.outcome)
            return Step<CommitResult>::under_way();
        phase_ = Phase::out;
        self_.batch.reset();
        return *std::exchange(self_.outcome, std::nullopt);
    }

    void put_back() noexcept { self_.batch->value = std::move(*before_); }

    /// Out of whatever this is in.
    void leave() noexcept
    {
        if (phase_ == Phase::alone || phase_ == Phase::out)
            return;
        std::vector<Wakeup> wakeups;
        Wakeup wakeup;
        std::lock_guard lock(shard().mutex);
        auto& combiner = session_.combiner();
        auto const before = std::exchange(phase_, Phase::out);
        switch (before) {
        case Phase::queued:
            if (self_.promoted)
                wakeup = combiner.left(shard(), key_);
            else if (self_.batch)  // has the value and did not look at it
                wakeup = combiner.pass_on(shard(), key_, self_.batch, self_.batch->passed_at);
            else
                combiner.unqueue(shard().groups.find(key_)->second, self_.place);
            break;
        case Phase::running:
            if (before_)
                put_back();
            wakeup = combiner.pass_on(shard(), key_, self_.batch, self_.batch->passed_at);
            break;
        case Phase::ran: std::erase(self_.batch->ran, &self_); break;
        case Phase::leading:
        case Phase::gathering:
        case Phase::committing:
            if (self_.batch) {
                // Its context went away. What was sent may still be applied.
                bool const sent = before == Phase::committing;
                Table::tell(*self_.batch, sent ? Failure::unknown(Errc::cancelled, {}) : Failure{Errc::cancelled});
                wakeups.swap(self_.batch->wakeups);
                self_.batch->leader = nullptr;
            }
            wakeup = combiner.left(shard(), key_);
            break;
        default: break;
        }
        self_.batch.reset();
    }

    Session const& session_;
    Key const& key_;
    TransactionContext& context_;
    typename Table::Member self_;
    std::optional<T> before_;
    Phase phase_{Phase::out};
    Inner inner_;
};

/// Whether a session says of itself, not of what is derived from it, that its operations may be combined. `turns()`: how
/// many of them may wait for the state that another one works on; 0: none would.
template <class Session>
concept CombinableSession = requires { typename Session::combines; } &&
    std::same_as<typename Session::combines, Session> && std::copy_constructible<typename Session::value_type> &&
    requires(Session const& session) { session.turns(); };

template <class Session, class Outer, std::size_t N, Form Shape>
struct choose_transaction {
    using type = typename Session::template Transaction<N, Shape>;
};
template <class Session, class Outer>
struct choose_transaction<Session, Outer, 1, Form::states> {
    using type = CombiningTransaction<Outer>;
};

/// A policy's session whose operations on one state share commits.
template <CombinableSession Session>
class CombiningSession : public Session {
public:
    using Inner = Session;
    using value_type = typename Session::value_type;

    template <class Policy, class Where>
    CombiningSession(Policy policy, Where where, Observer* observer, int most)
        : Session(std::move(policy), std::move(where), observer),
          combiner_(runs_in_place(this->repository()) ? 1 : most, this->turns())
    {}
    Combiner<value_type>& combiner() const noexcept { return combiner_; }

    template <std::size_t N, Form Shape>
    using Transaction = typename choose_transaction<Session, CombiningSession, N, Shape>::type;

private:
    mutable Combiner<value_type> combiner_;
};

/// What a service keeps: a store that answers in place gains nothing by sharing commits, and operations that are to have
/// a state each must not share one.
template <class Session, class R>
struct service_session {
    using type = Session;
};
template <CombinableSession Session, class R>
    requires(!requires { requires R::immediate; } && !requires { requires !R::one_state_per_key; })
struct service_session<Session, R> {
    using type = CombiningSession<Session>;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_COMBINING_HPP
