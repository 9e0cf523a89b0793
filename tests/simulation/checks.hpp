// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_CHECKS_HPP
#define INTERLOCK_TESTS_SIMULATION_CHECKS_HPP

// What must hold in every run: what the store really did, what callers were told, and which handles say that
// they are held, compared with each other.

#include "simulation/world.hpp"

#include <algorithm>
#include <cstdio>
#include <set>
#include <span>
#include <sstream>

namespace simulated {

/// One call of a service, as its caller sees it.
struct CallRecord {
    std::uint64_t task{0};
    std::int64_t number{0};  // of the call; the answer of an execution of its operation
    int print{0};            // of its request
    int completions{0};
    interlock::Errc result{interlock::Errc::ok};
    bool threw{false};                     // something else than a rejection
    bool undecodable{false};               // it was told nothing
    bool undisturbed{false};               // its process was neither paused nor short of threads meanwhile
    std::optional<std::int64_t> answer{};  // the number of the call whose execution answered
    std::optional<std::int64_t> rejected{};
};

/// Something that is to happen at most once, in however many calls.
struct Task {
    int applied{0};
    std::int64_t applied_by{0};  // the call whose execution that was
};

/// Everything that the checks of one run know. The workload says what it does, the store's scripts say what
/// happened.
class Checks {
public:
    explicit Checks(SimulationContext& context, Coverage& coverage) : context_(context), coverage_(coverage)
    {}
    Checks(Checks const&) = delete;
    Checks& operator=(Checks const&) = delete;

    std::string const& problem() const noexcept { return problem_; }
    void fail(std::string const& what)
    {
        for (auto const& one : ignored)
            if (what.find(one) != std::string::npos)
                return;
        if (problem_.empty())
            problem_ = what;
    }
    /// Prints what happens, with its time, where one seed is replayed.
    template <class... A>
    void tell(A const&... what) const
    {
        if (!verbose)
            return;
        std::ostringstream line;
        line << std::chrono::duration_cast<std::chrono::microseconds>(context_.now().time_since_epoch() - 1h)
                    .count();
        ((line << ' ' << what), ...);
        std::puts(line.str().c_str());
    }
    static inline bool verbose = false;

    /// Parts of the names of problems that are known, to look behind them.
    static inline std::vector<std::string> ignored;
    void require(bool good, char const* what)
    {
        if (!good)
            fail(what);
    }

    // ---- what is going to be done ----------------------------------------
    std::uint64_t new_task() { return ++last_task_; }
    std::int64_t new_call() { return ++last_call_; }
    CallRecord& record(std::uint64_t task, std::int64_t number)
    {
        auto& one = *calls_.emplace_back(std::make_unique<CallRecord>());
        one.task = task;
        one.number = number;
        by_number_[number] = &one;
        return one;
    }
    void expect_value(std::string const& key, std::int64_t value) { values_[key] = value; }

    // ---- what the store did ----------------------------------------
    void applied(std::span<interlock::Change<Account> const> changes, bool arrived_late);
    void granted(Key const& name, interlock::OwnerToken owner, interlock::Grant const& grant, bool confirmed);
    void renewed(
        Key const& name, interlock::OwnerToken owner, std::optional<std::chrono::nanoseconds> renewed,
        bool confirmed);
    void removed(Key const& name, interlock::OwnerToken owner);
    /// The store broke its promise about `key`; whoever believed in it until now may do so until its lease is
    /// over.
    void forced(std::string const& key) { forced_until_[key] = context_.now() + ttl; }

    // ---- handles ----------------------------------------

    /// From now on `lock` is compared with all other handles at every moment.
    void watch(std::string const& key, Lock const& lock)
    {
        handles_.emplace_back(key, &lock);
        compare_handles();
    }
    void forget(Lock const& lock) noexcept
    {
        std::erase_if(handles_, [&](auto const& one) { return one.second == &lock; });
    }

    /// Between any two steps.
    void compare_handles()
    {
        for (std::size_t i = 1; i < handles_.size(); ++i)
            for (std::size_t j = 0; j < i; ++j) {
                auto const& [key, one] = handles_[i];
                auto const& [other, another] = handles_[j];
                if (key == other && !is_forced(key) && one->status() == interlock::LockStatus::held &&
                    another->status() == interlock::LockStatus::held)
                    fail("P2: two handles of one lock say that they are held");
            }
    }
    void granted_token(std::string const& key, std::uint64_t token)
    {
        require(++tokens_[key][token] == 1, "two grants have one token");
    }
    /// A lock was surely held.
    void held(std::string const& key, std::uint64_t token, TimePoint from, TimePoint to)
    {
        auto const force = forced_until_.find(key);
        if (force == forced_until_.end() || force->second < from)
            intervals_.push_back({key, token, from, to});
    }

    // ---- counters ----------------------------------------
    void tallied(std::string const& id)
    {
        require(++tallies_[id].changes == 1, "P4: one change of a counter was applied twice");
    }
    void told_of_tally(std::string const& id, interlock::Outcome<interlock::CounterAnswer> const& outcome)
    {
        tallies_[id].told_applied |= outcome && outcome->changed;
        tallies_[id].told_not_applied |= !outcome && outcome.effect() == interlock::Effect::not_applied;
    }
    void compare_tallies()
    {
        for (auto const& [id, one] : tallies_) {
            require(!one.told_applied || one.changes == 1, "P5: a counter: ok, but not applied");
            require(
                !one.told_not_applied || one.changes == 0,
                "P5: a counter: not applied, but it is in the store");
        }
    }

    // ---- at the end ----------------------------------------
    void compare_calls(bool told_the_truth);
    void compare_intervals();
    /// The calls of the task that a comparison of calls found fault with.
    std::string story() const;
    std::map<std::string, std::int64_t> const& values() const noexcept { return values_; }
    Task const& task(std::uint64_t number) { return tasks_[number]; }

private:
    struct Interval {
        std::string key;
        std::uint64_t token;
        TimePoint from;
        TimePoint to;
    };
    struct Owner {
        TimePoint believed_until{};
        bool gone{false};      // from the store
        bool released{false};  // by its client, which knows
    };

    struct Tally {
        int changes{0};
        bool told_applied{false};
        bool told_not_applied{false};
    };

    bool is_forced(std::string const& key) const
    {
        auto const it = forced_until_.find(key);
        return it != forced_until_.end() && context_.now() <= it->second;
    }
    Owner& owner(Key const& name, interlock::OwnerToken token)
    {
        auto const bytes = token.bytes();
        return owners_[std::string{name.bytes()}][{bytes.begin(), bytes.end()}];
    }

    SimulationContext& context_;
    Coverage& coverage_;
    std::string problem_;
    std::uint64_t suspect_{0};
    std::uint64_t last_task_{0};
    std::int64_t last_call_{0};
    std::vector<std::unique_ptr<CallRecord>> calls_;
    std::map<std::int64_t, CallRecord*> by_number_;
    std::map<std::uint64_t, Task> tasks_;
    std::map<std::string, std::int64_t> values_;
    std::map<std::string, std::string> trails_;
    std::map<std::string, std::uint64_t> marks_;  // of guarded writes
    std::map<std::string, std::map<std::string, Owner>> owners_;
    std::map<std::string, TimePoint> forced_until_;
    std::map<std::string, std::map<std::uint64_t, int>> tokens_;
    std::vector<Interval> intervals_;
    std::map<std::string, Tally> tallies_;
    std::vector<std::pair<std::string, Lock const*>> handles_;
};

inline void Checks::applied(std::span<interlock::Change<Account> const> changes, bool arrived_late)
{
    std::map<std::uint64_t, std::int64_t> everybody;
    for (auto const& change : changes) {
        std::string const key{change.key->bytes()};
        if (change.fence != nullptr && change.kind != interlock::ChangeKind::verify) {
            auto& mark = marks_[key];
            require(
                change.fence->token.value() >= mark, "P1: a guarded write after one with a greater token");
            mark = std::max(mark, change.fence->token.value());
            auto& holder = owner(*change.key, change.fence->owner);
            require(
                arrived_late || context_.now() < holder.believed_until,
                "P6: a guarded write after the end of the lease");
            require(!holder.gone, "P1: a guarded write after its release");
            if (change.release)
                holder.gone = true;  // if the reply is lost, its client will not know
        }
        if (change.kind != interlock::ChangeKind::write)
            continue;
        // One write may hold several operations' changes.
        auto const before = std::exchange(values_[key], change.value->value);
        auto const seen = std::exchange(trails_[key], change.value->trail);
        require(change.value->trail.starts_with(seen), "P3: a lost update");
        std::int64_t sum = before;
        std::istringstream added{
            change.value->trail.substr(std::min(seen.size(), change.value->trail.size()))};
        std::set<std::uint64_t> here;
        std::uint64_t task = 0;
        std::int64_t amount = 0;
        std::int64_t call = 0;
        for (char end = 0; added >> task >> amount >> call >> end; sum += amount) {
            require(here.insert(task).second, "P4: one operation is twice in one write");
            everybody[task] = call;
        }
        require(change.value->value == sum, "P3: a lost update");
        if (here.size() > 1)
            coverage_.note("shared write");
    }
    for (auto const& [number, call] : everybody) {
        tell("  applied: task", number, "by call", call);
        auto& task = tasks_[number];
        require(++task.applied == 1, "P4: one operation was applied twice");
        task.applied_by = call;
    }
}

inline void Checks::granted(
    Key const& name, interlock::OwnerToken token, interlock::Grant const& grant, bool confirmed)
{
    std::string const key{name.bytes()};
    auto& mine = owner(name, token);
    if (!is_forced(key))
        for (auto const& [other, state] : owners_[key])
            if (&state != &mine && !state.gone)
                require(
                    state.believed_until <= context_.now(),
                    "P2: granted while another lease may be believed");
    mine.gone = false;
    if (confirmed) {
        auto const usable = grant.ttl * 99 / 100 - 5ms;
        mine.believed_until = std::max(mine.believed_until, context_.now() + usable);
    }
}

inline void Checks::renewed(
    Key const& name, interlock::OwnerToken token, std::optional<std::chrono::nanoseconds> renewed,
    bool confirmed)
{
    auto& mine = owner(name, token);
    require(!mine.released, "P9: a renewal after the release");
    coverage_.note("renewal");
    if (renewed && confirmed)
        mine.believed_until = std::max(mine.believed_until, context_.now() + *renewed * 99 / 100 - 5ms);
}

inline void Checks::removed(Key const& name, interlock::OwnerToken token)
{
    auto& mine = owner(name, token);
    mine.gone = mine.released = true;
}

/// What callers were told, against what was applied. `told_the_truth`: false for a planted mistake.
inline void Checks::compare_calls(bool told_the_truth)
{
    std::map<std::uint64_t, std::int64_t> rejections;
    for (auto const& one : calls_) {
        if (problem_.empty())
            suspect_ = one->task;
        require(one->completions == 1, "a call did not complete exactly once");
        auto const& task = tasks_[one->task];
        bool const applied_this = task.applied != 0 && task.applied_by == one->number;
        if (one->answer) {
            require(task.applied != 0, "P5: ok, but not applied");
            if (task.applied != 0)
                require(
                    *one->answer == task.applied_by,
                    "P4: the answer is not that of the execution that was applied");
            if (*one->answer != one->number)
                coverage_.note("replayed answer");
        }
        if (one->rejected) {
            require(task.applied == 0, "P4: one request was rejected for good and applied");
            auto const [first, fresh] = rejections.emplace(one->task, *one->rejected);
            require(fresh || first->second == *one->rejected, "P4: one request was rejected in two ways");
            if (*one->rejected != one->number)
                coverage_.note("replayed rejection");
        }
        // Whose execution it was that answered had asked for the same.
        for (auto const& by : {one->answer, one->rejected})
            if (by && by_number_.count(*by) != 0)
                require(
                    by_number_[*by]->print == one->print,
                    "P4: a request got the answer of another one under the same key");
        bool const not_applied = one->threw || (!one->undecodable && interlock::effect_of(one->result) ==
                                                                         interlock::Effect::not_applied);
        if (not_applied && told_the_truth)
            require(!applied_this, "P5: not applied, but it is in the store");
    }
}

inline std::string Checks::story() const
{
    std::ostringstream out;
    auto const task = tasks_.find(suspect_);
    if (task != tasks_.end() && task->second.applied != 0)
        out << "  task " << suspect_ << ": applied by call " << task->second.applied_by << '\n';
    for (auto const& one : calls_) {
        if (one->task != suspect_)
            continue;
        out << "  call " << one->number << ", body " << one->print << ": " << interlock::name_of(one->result);
        if (one->answer)
            out << ", answered by " << *one->answer;
        if (one->rejected)
            out << ", rejected by " << *one->rejected;
        out << (one->threw ? ", threw" : "") << (one->undecodable ? ", undecodable" : "") << '\n';
    }
    return out.str();
}

inline void Checks::compare_intervals()
{
    for (std::size_t i = 0; i < intervals_.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) {
            auto const& a = intervals_[i];
            auto const& b = intervals_[j];
            if (a.key != b.key)
                continue;
            require(a.to <= b.from || b.to <= a.from, "P2: two locks were held at once");
            if (a.to < b.from)
                require(a.token < b.token, "tokens are not in the order of the grants");
            if (b.to < a.from)
                require(b.token < a.token, "tokens are not in the order of the grants");
        }
}

}  // namespace simulated

#endif  // INTERLOCK_TESTS_SIMULATION_CHECKS_HPP
