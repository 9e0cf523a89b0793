// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_COMBINING_COMBINING_HPP
#define INTERLOCK_CORE_DETAIL_COMBINING_COMBINING_HPP

// Combining: operations of one service that wait for the same state run back to back, each on its own caller's thread or
// executor, on one loaded value, and are committed by one write.
//
// Per state there is at most one leader. It begins as the policy does (loads, or takes the lock or the row). Whoever comes
// meanwhile queues. When the leader's operation has returned, the value goes round: one of the queue after the other gets
// a copy of it, runs, and hands in what it made of it. Then the leader commits, and all that ran share the outcome:
// applied, or run again, or unknown. An operation that throws hands in nothing, and its exception is believed when what it
// saw was committed.
//
// Nobody waits for another caller's operation, thread or executor longer than the patience:
// 1. The batch itself keeps the last whole state. The leader waits for one operation as long as the patience says, then
//    commits what is whole. Whoever comes too late finds its copy refused and runs again, first in line.
// 2. A leader whose own operation takes longer than that, or whose deadline is near, shares with nobody. Waiting in vain is
//    paid for by the commits that sharing has saved, so that it never costs more than it brings.
// 3. A leader that makes no progress (its thread sleeps, its context was stopped) is replaced by the first of those who wait
//    for it. The former leader commits what it has made itself, alone. A leader that waits for a lock or a row of others is
//    to make progress from when it was woken on.
// What a batch came to without the others' doing (it was given up, its leader was late) counts as nobody's attempt.
//
// Everything is guarded by the shard's mutex, but the copies, which belong to whoever runs on them.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/detail/transaction/transaction_machine.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/transaction_context.hpp>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/list_hook.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
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
    using Time = std::chrono::nanoseconds;
    struct Batch;

    /// One operation, while it has to do with others.
    struct Member
        : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>> {
        Waiter* waiter{nullptr};
        TimePoint deadline{};
        std::shared_ptr<Batch> batch;  // that it leads, is to run in, or has run in
        std::optional<Outcome<CommitResult>> outcome;
        bool again{false};     // the outcome is not its own: it runs again, and that counts as no attempt
        bool promoted{false};  // leads from now on
        bool first{false};     // in line: it has had its turn
        bool late{false};      // gets no value any more: it leads when its turn comes
        bool single{false};    // shares with nobody when it leads
        std::atomic<TimePoint> since{};  // as a leader: from when on it has had something to do; written without the mutex, too

        /// It has something to do from `time` on, if not earlier.
        void due_from(TimePoint time) noexcept
        {
            auto before = since.load(std::memory_order_relaxed);
            while (time < before && !since.compare_exchange_weak(before, time, std::memory_order_relaxed)) {}
        }
    };

    struct Batch {
        std::shared_ptr<T const> whole;  // what those that have run made of the state
        Member* leader;
        Member* running{nullptr};  // may still hand in what it makes of the whole
        bool picked{false};        // and knows it
        bool open{true};           // until the leader takes the whole, or the batch is given up
        bool shared{false};        // the whole is not only the leader's
        TimePoint passed_at{};
        TimePoint until{};  // nobody gets the value later
        int count{1};
        std::vector<Member*> ran;
        std::vector<Wakeup> wakeups;
    };

    using Queue = boost::intrusive::list<Member, boost::intrusive::constant_time_size<false>>;

    /// Those that have to do with one state.
    struct Group {
        Queue queue;
        Member* leader{nullptr};
    };

    struct Shard {
        std::mutex mutex;
        std::unordered_map<Key, Group> groups;  // one for each state that has a leader
        Time commit_took{0};                    // the last one
        Time credit{0};                         // what sharing has saved, less what was waited for in vain
    };

    /// `most` in a batch, `turns` waiting.
    Combiner(int most, Time patience, std::size_t turns) : most_(most), patience_(patience), turns_(turns) {}
    bool off() const noexcept { return most_ <= 1 || turns_ == 0 || patience_.count() <= 0; }
    Shard& shard_of(Key const& key) noexcept { return shards_[(key.hash() ^ key.hash() >> 13) % shards_.size()]; }

    /// How long a leader waits for one member, and how long its own operation takes at most if it is to wait for any.
    Time patience() const noexcept { return patience_; }
    /// How long before its deadline a leader begins to commit.
    Time reserve(Shard const& shard) const noexcept { return patience_ + 2 * shard.commit_took; }
    /// After how long without progress a leader is replaced.
    Time limit(Shard const& shard) const noexcept { return 8 * patience_ + 4 * shard.commit_took; }

    /// False: too many wait. The mutex is held, as for all below.
    bool queue(Queue& queue, Member& member) noexcept
    {
        if (waiting_.load(std::memory_order_relaxed) >= turns_)
            return false;
        if (std::exchange(member.first, false))
            queue.push_front(member);
        else
            queue.push_back(member);
        waiting_.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    void unqueue(Queue& queue, Member& member) noexcept
    {
        queue.erase(queue.iterator_to(member));
        waiting_.fetch_sub(1, std::memory_order_relaxed);
    }

    /// Whether a leader may wait for others. What was lost by waiting in vain comes back a little with each commit that was
    /// not shared, so that it is tried again from time to time.
    bool may_wait(Shard& shard) const noexcept
    {
        if (shard.credit.count() >= 0)
            return true;
        shard.credit += patience_ / 32;
        return false;
    }
    void saved_commit(Shard& shard) const noexcept
    {
        shard.credit = std::min(shard.credit + shard.commit_took, 8 * patience_);
    }

    /// The value goes to the next who may have it, else back to the leader.
    [[nodiscard]] Wakeup pass_on(Shard& shard, Key const& key, std::shared_ptr<Batch> const& batch, TimePoint now) noexcept
    {
        batch->running = nullptr;
        if (!batch->open)
            return {};
        auto& group = shard.groups.find(key)->second;
        group.leader->since.store(now, std::memory_order_relaxed);
        if (batch->count < most_ && now < batch->until) {
            for (auto& next : group.queue) {
                // One whose deadline is earlier would have to wait for a commit that may come too late for it.
                if (next.late || next.deadline < batch->leader->deadline)
                    continue;
                unqueue(group.queue, next);
                next.batch = batch;
                batch->running = &next;
                batch->picked = false;
                batch->passed_at = now;
                ++batch->count;
                return next.waiter->wake_later();
            }
        }
        return batch->leader->waiter->wake_later();
    }

    /// Whoever has the value may not hand in anything any more.
    void expel(Group& group, Batch& batch) noexcept
    {
        auto* const holder = std::exchange(batch.running, nullptr);
        if (holder == nullptr || batch.picked)  // it finds out when it is done
            return;
        holder->batch.reset();
        holder->late = true;
        group.queue.push_front(*holder);
        waiting_.fetch_add(1, std::memory_order_relaxed);
    }

    /// The leader is gone: the next of the queue leads, or nobody is left.
    [[nodiscard]] Wakeup left(Shard& shard, Key const& key, TimePoint now) noexcept
    {
        auto const entry = shard.groups.find(key);
        auto& group = entry->second;
        if (group.queue.empty()) {
            shard.groups.erase(entry);
            return {};
        }
        auto& next = group.queue.front();
        unqueue(group.queue, next);
        next.promoted = true;
        group.leader = &next;
        next.since.store(now, std::memory_order_relaxed);
        return next.waiter->wake_later();
    }

    /// The leader makes no progress: what it gathers is given up, unless it is being committed. Afterwards `wakeups` are to
    /// be fired.
    void give_up(Group& group, std::vector<Wakeup>& wakeups) noexcept
    {
        auto const& batch = group.leader->batch;
        if (!batch || !batch->open)
            return;
        expel(group, *batch);
        batch->open = false;
        tell(*batch, Outcome<CommitResult>{Errc::cancelled});
        wakeups.swap(batch->wakeups);
    }

    /// Whether somebody else changed the value, so that any attempt on it would have failed.
    static bool is_conflict(Errc code) noexcept
    {
        return TransactionMachine::is_conflict(code) || code == Errc::not_found || code == Errc::already_exists;
    }
    /// Whether the store refused what was to be written: perhaps what another one made of it.
    static bool is_refusal(Errc code) noexcept
    {
        return code == Errc::invalid_argument || code == Errc::constraint_violated || code == Errc::corrupt_state ||
               code == Errc::misconfigured;  // as what a trigger raises, or a row-level policy
    }

    /// What became of a batch, for all that ran in it. Afterwards its wake-ups are to be fired.
    static void tell(Batch& batch, Outcome<CommitResult> const& outcome) noexcept
    {
        for (auto* const member : batch.ran) {
            if (outcome) {
                member->outcome.emplace(std::in_place);
            } else if (outcome.error() == Errc::outcome_unknown) {
                member->outcome.emplace(Failure::unknown(outcome.cause(), {}));
            } else {  // not applied, whatever it was: what it saw is not so
                member->outcome.emplace(Errc::version_conflict);
                member->again = !is_conflict(outcome.error());
                if (is_refusal(outcome.error()))  // each is to hear what is said of its own
                    member->late = member->single = true;
            }
            batch.wakeups.push_back(member->waiter->wake_later());  // there is room
        }
        batch.ran.clear();
    }

    /// Longer than this no store is expected to take.
    static constexpr std::chrono::milliseconds longest_commit{100};

private:
    int most_;
    Time patience_;
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
        if (phase_ == Phase::queued)
            if (auto const later = turn())
                return Step<Begun>::pending(*later);
        if (phase_ == Phase::running) {
            mine_.emplace(*std::exchange(seen_, nullptr));
            return Step<Begun>{std::in_place, std::in_place};
        }
        if (phase_ != Phase::leading)
            return inner_.begin(waiter);
        // Whoever took the place of a leader that waits for others' locks would only wait for the same. Once it is woken, its
        // executor is to run it.
        if (begin_waits())
            self_.since.store(context_.deadline(), std::memory_order_relaxed);
        if (begins_.wakes != &waiter)  // not written again while somebody may wake it
            begins_.wakes = &waiter;
        auto step = inner_.begin(begins_);
        if (!step.done()) {
            self_.due_from(step.wake_at());
        } else if (!step.outcome()) {
            leave();
        } else {
            began_at_ = now();
            self_.since.store(began_at_, std::memory_order_relaxed);
        }
        return step;
    }

    std::optional<Failure> refusal() const
    {
        if (phase_ != Phase::running)
            return inner_.refusal();
        if (!belongs_to<T, K>(*mine_, key_))
            return changed_key_failure();
        return std::nullopt;
    }

    Step<CommitResult> commit(OperationCommit const* operation, Waiter& waiter)
    {
        if (phase_ == Phase::running || phase_ == Phase::ran)
            return wait_for_batch(waiter, true);
        if (phase_ == Phase::leading)
            gather(waiter);
        if (phase_ == Phase::gathering) {
            if (auto const until = gathered())
                return Step<CommitResult>::pending(*until);
            if (now() >= context_.deadline())  // others took their time
                return phase_ == Phase::alone ? Step<CommitResult>{Errc::deadline_exceeded}
                                              : finish(Errc::deadline_exceeded);
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
            auto step = wait_for_batch(waiter, false);
            if (!step.done() || step.outcome())
                return step;
            // It has no effect of its own: to run it again is always right.
            again_ = again_ || step.outcome().error() == Errc::outcome_unknown;
            return Errc::version_conflict;
        }
        if constexpr (can_verify<Inner>)
            return verify_step(inner_, waiter);
        else
            return Step<CommitResult>{std::in_place, std::in_place};
    }

    /// Whether the failure that `commit` or `verify` came to is not this operation's: it runs again, and that counts as no
    /// attempt.
    bool runs_again() noexcept { return std::exchange(again_, false); }

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
    T& state(std::size_t) noexcept { return phase_ == Phase::running ? *mine_ : inner_.state(0); }

private:
    enum class Phase : unsigned char {
        alone,      ///< has nothing to do with others
        out,        ///< nor has this, now
        queued,     ///< waits for its turn, or to lead
        leading,    ///< begins and runs as the policy does
        gathering,  ///< its operation has run; others have the value
        committing, ///< for all that ran
        running,    ///< has a copy of the value of another's batch
        ran,        ///< waits for what becomes of it
    };
    using Time = typename Table::Time;
    using Group = typename Table::Group;

    /// What wakes a leader that begins, and notes when that was.
    class Begins final : public Waiter {
    public:
        explicit Begins(CombiningTransaction& call) noexcept : call_(call) {}
        void wake() noexcept override
        {
            note();
            wakes->wake();
        }
        Wakeup wake_later() noexcept override
        {
            note();
            return wakes->wake_later();
        }
        bool may_block() const noexcept override { return wakes->may_block(); }

        Waiter* wakes{nullptr};

    private:
        void note() noexcept { call_.self_.due_from(call_.now()); }

        CombiningTransaction& call_;
    };

    Table& table() const noexcept { return session_.combiner(); }
    typename Table::Shard& shard() const noexcept { return table().shard_of(key_); }
    TimePoint now() const noexcept { return session_.repository().runtime().now(); }

    /// Its group, if this one leads it. The mutex is held, as for all that takes a group.
    Group* led() const noexcept
    {
        auto const entry = shard().groups.find(key_);
        return entry != shard().groups.end() && entry->second.leader == &self_ ? &entry->second : nullptr;
    }

    bool begin_waits() const noexcept
    {
        if constexpr (requires { session_.begin_waits(); })
            return session_.begin_waits();
        else
            return false;
    }

    /// When somebody else takes the leader's place.
    TimePoint due_of(Group const& group) const noexcept
    {
        return add(group.leader->since.load(std::memory_order_relaxed), table().limit(shard()));
    }

    bool enter(Waiter& waiter)
    {
        self_.waiter = &waiter;
        self_.deadline = context_.deadline();
        auto const time = now();
        std::lock_guard lock(shard().mutex);
        return join(time);
    }

    bool join(TimePoint time)
    {
        self_.outcome.reset();
        self_.again = self_.promoted = false;
        auto const [entry, first] = shard().groups.try_emplace(key_);
        auto& group = entry->second;
        if (first) {
            lead(group, time);
        } else {
            if (!table().queue(group.queue, self_))
                return false;
            phase_ = Phase::queued;
            patience_ = table().limit(shard());
        }
        return true;
    }

    void lead(Group& group, TimePoint time) noexcept
    {
        group.leader = &self_;
        self_.since.store(time, std::memory_order_relaxed);
        phase_ = Phase::leading;
    }

    /// Nothing: its turn has come. Else when to look again.
    std::optional<TimePoint> turn()
    {
        auto const time = now();
        std::vector<Wakeup> wakeups;
        Wakeup wakeup;
        std::lock_guard lock(shard().mutex);
        if (std::exchange(self_.promoted, false)) {
            if (auto* const group = led())
                lead(*group, time);
            else if (!join(time))  // somebody has taken its place before it looked
                alone();
            if (phase_ != Phase::queued)
                return std::nullopt;
        }
        if (self_.batch) {
            self_.batch->picked = true;
            seen_ = self_.batch->whole;
            phase_ = Phase::running;
            return std::nullopt;
        }
        auto& group = shard().groups.find(key_)->second;
        auto const due = due_of(group);
        if (time >= due) {
            table().give_up(group, wakeups);
            // Whoever looked, the first in line leads: those who have waited longest look least often.
            if (&group.queue.front() != &self_) {
                wakeup = table().left(shard(), key_, time);
                return due_of(group);
            }
            table().unqueue(group.queue, self_);
            lead(group, time);
            return std::nullopt;
        }
        // Those who wait for long look less often: many of them wait.
        auto const longest = 16 * table().limit(shard());
        return std::max(due, add(time, std::exchange(patience_, std::min(2 * patience_, longest))));
    }

    /// The leader's operation has returned: does somebody wait?
    void gather(Waiter& waiter)
    {
        auto const time = commit_began_ = now();
        {
            std::lock_guard lock(shard().mutex);
            auto* const group = led();
            if (group == nullptr)
                return alone();
            phase_ = Phase::committing;
            self_.since.store(time, std::memory_order_relaxed);
            if (self_.single || group->queue.empty() || time - began_at_ > table().patience() ||
                add(time, table().reserve(shard())) >= context_.deadline() || !table().may_wait(shard()))
                return;
        }
        auto batch = std::make_shared<typename Table::Batch>();
        batch->whole = std::make_shared<T const>(inner_.state(0));
        batch->leader = &self_;
        Wakeup wakeup;
        std::lock_guard lock(shard().mutex);
        if (led() == nullptr)
            return alone();
        batch->until = std::min(add(time, 16 * table().patience()), context_.deadline() - table().reserve(shard()));
        self_.waiter = &waiter;
        self_.batch = std::move(batch);
        phase_ = Phase::gathering;
        wakeup = table().pass_on(shard(), key_, self_.batch, time);
    }

    /// Nothing: the value is whole. Else when to look again.
    std::optional<TimePoint> gathered()
    {
        std::shared_ptr<T const> whole;
        std::shared_ptr<typename Table::Batch> given_up;
        {
            auto const time = now();
            std::lock_guard lock(shard().mutex);
            auto& batch = *self_.batch;
            if (batch.open) {
                if (batch.running != nullptr) {
                    auto const until = add(batch.passed_at, table().patience());
                    if (time < until)
                        return until;
                    shard().credit -= table().patience();
                    table().expel(*led(), batch);
                }
                batch.open = false;
                if (batch.shared)
                    whole = batch.whole;
                self_.since.store(time, std::memory_order_relaxed);
                commit_began_ = time;
                phase_ = Phase::committing;
            } else {  // somebody has taken its place: what is its own is still there
                given_up = std::move(self_.batch);
                alone();
            }
        }
        if (whole)
            inner_.state(0) = *whole;
        return std::nullopt;
    }

    Step<CommitResult> finish(Outcome<CommitResult> outcome)
    {
        std::vector<Wakeup> wakeups;
        Wakeup wakeup;
        std::shared_ptr<typename Table::Batch> batch;
        auto const time = now();
        std::lock_guard lock(shard().mutex);
        batch.swap(self_.batch);
        if (outcome)
            shard().commit_took = std::min<Time>(time - commit_began_, Table::longest_commit);
        if (batch) {
            // What the store refused may be another one's: first without the others.
            if (!outcome && batch->shared && Table::is_refusal(outcome.error()))
                again_ = self_.single = true;
            Table::tell(*batch, outcome);
            wakeups.swap(batch->wakeups);
        }
        auto* const group = led();
        if (outcome) {
            phase_ = Phase::out;
            if (group != nullptr)
                wakeup = table().left(shard(), key_, time);
        } else if (group != nullptr) {  // it may begin again
            phase_ = Phase::leading;
            self_.since.store(time, std::memory_order_relaxed);
        } else {
            alone();
        }
        return outcome;
    }

    /// Its operation has run. `changes`: what it made of the value is handed in.
    Step<CommitResult> wait_for_batch(Waiter& waiter, bool changes)
    {
        std::shared_ptr<T const> whole;
        if (changes && phase_ == Phase::running)
            whole = std::make_shared<T const>(std::move(*mine_));
        auto const time = now();
        std::vector<Wakeup> wakeups;
        Wakeup wakeup;
        auto const keep = self_.batch;
        auto& batch = *keep;
        std::lock_guard lock(shard().mutex);
        if (phase_ == Phase::running) {
            if (batch.running != &self_) {  // too late
                self_.first = self_.late = true;
                return once_more(Phase::out);
            }
            batch.wakeups.reserve(batch.ran.size() + 1);
            batch.ran.push_back(&self_);
            self_.waiter = &waiter;
            phase_ = Phase::ran;
            if (changes) {
                batch.whole.swap(whole);
                batch.shared = true;
                table().saved_commit(shard());
            }
            wakeup = table().pass_on(shard(), key_, keep, time);
        }
        if (self_.outcome) {
            phase_ = Phase::out;
            again_ = self_.first = self_.again;
            self_.batch.reset();
            return *std::exchange(self_.outcome, std::nullopt);
        }
        if (batch.open) {  // whoever is to commit it makes no progress
            auto& group = shard().groups.find(key_)->second;
            auto const due = due_of(group);
            if (time < due)
                return Step<CommitResult>::pending(due);
            table().give_up(group, wakeups);
            lead(group, time);
            return once_more(Phase::leading);
        }
        // It is being committed. The leader's deadline, which is not later, bounds that, but not how long the leader's
        // executor takes to say what it came to.
        auto const due = add(self_.deadline, table().limit(shard()));
        if (time < due)
            return Step<CommitResult>::pending(due);
        std::erase(batch.ran, &self_);
        phase_ = Phase::out;
        self_.batch.reset();
        return Failure::unknown(Errc::deadline_exceeded, "the operation that commits for this one does not go on");
    }

    Step<CommitResult> once_more(Phase next) noexcept
    {
        phase_ = next;
        again_ = true;
        self_.again = false;
        self_.outcome.reset();
        self_.batch.reset();
        return Errc::version_conflict;
    }

    /// Out of whatever this is in.
    void leave() noexcept
    {
        if (phase_ == Phase::alone || phase_ == Phase::out)
            return;
        std::vector<Wakeup> wakeups;
        Wakeup wakeup;
        std::shared_ptr<typename Table::Batch> batch;
        auto const time = now();
        std::lock_guard lock(shard().mutex);
        auto const before = std::exchange(phase_, Phase::out);
        batch.swap(self_.batch);
        switch (before) {
        case Phase::queued:
            if (self_.promoted) {
                if (led() != nullptr)
                    wakeup = table().left(shard(), key_, time);
            } else if (batch) {  // has the value and did not look at it
                wakeup = table().pass_on(shard(), key_, batch, time);
            } else {
                table().unqueue(shard().groups.find(key_)->second.queue, self_);
            }
            break;
        case Phase::running:
            if (batch->running == &self_)
                wakeup = table().pass_on(shard(), key_, batch, time);
            break;
        case Phase::ran: std::erase(batch->ran, &self_); break;
        case Phase::leading:
        case Phase::gathering:
        case Phase::committing: {
            auto* const group = led();
            if (batch) {
                // Its context went away. What was sent may still be applied.
                bool const sent = before == Phase::committing;
                if (std::exchange(batch->open, false) && group != nullptr)
                    table().expel(*group, *batch);
                Table::tell(*batch, sent ? Failure::unknown(Errc::cancelled, {}) : Failure{Errc::cancelled});
                wakeups.swap(batch->wakeups);
            }
            if (group != nullptr)
                wakeup = table().left(shard(), key_, time);
            break;
        }
        default: break;
        }
    }

    Session const& session_;
    Key const& key_;
    TransactionContext& context_;
    typename Table::Member self_;
    std::shared_ptr<T const> seen_;  // what it gets a copy of
    std::optional<T> mine_;          // that copy
    TimePoint began_at_{};           // its operation, as a leader
    TimePoint commit_began_{};
    Time patience_{0};  // until it looks whether its leader makes progress
    Phase phase_{Phase::out};
    bool again_{false};
    Begins begins_{*this};
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
    CombiningSession(Policy policy, Where where, Observer* observer, int most, std::chrono::nanoseconds patience)
        : Session(std::move(policy), std::move(where), observer),
          combiner_(may_share() ? most : 1, patience, this->turns())
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
