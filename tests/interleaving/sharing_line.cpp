// SPDX-License-Identifier: BSL-1.0

// Every order of what can happen to two and three operations that may share a commit: they come, look, run,
// hand in what they made, commit, are refused, are slow, or go away; time passes.
//
// How it works: a world is the line, its members and a model of what they have done. From each world that was
// not met before all events are tried, each on a copy, until so many worlds have been met; then walks of
// random events, always the same ones, go on to where a batch has been committed and its members run again. A
// world is known again by all that is known of it. Checked after each event: who leads, who has the value,
// who was woken, who is told what, and whose change was applied how often.

#include <interlock/core/detail/combining/sharing_line.hpp>

#include "support/catch.hpp"
#include "support/explorer.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {
namespace sharing_line {

using namespace std::chrono_literals;
using interlock::CommitResult;
using interlock::Errc;
using interlock::Failure;
using interlock::Outcome;
using interlock::TimePoint;
using interlock::detail::SharingBatch;
using interlock::detail::SharingGroup;
using interlock::detail::SharingLedger;
using interlock::detail::SharingLine;
using interlock::detail::SharingMember;
using interlock::detail::SharingPhase;
using interlock::detail::SharingTerms;

constexpr std::size_t most_members = 3;
constexpr TimePoint zero{1h};
constexpr SharingTerms terms{3, 1ms};

/// How many wait, without a bound but one.
struct Count {
    bool count_in() noexcept
    {
        if (waiting == 2)
            return false;
        ++waiting;
        return true;
    }
    void count_in_again() noexcept { ++waiting; }
    void count_out() noexcept { --waiting; }
    int waiting{0};
};

struct Batch : SharingBatch {
    std::set<int> value;  // who has changed it
    bool given_up{false};
    bool sent{false};     // the leader's commit has begun
    std::set<int> parts;  // of what was sent
};

/// What an operation does next, as its driver knows it.
struct Operation {
    SharingMember member;
    bool woken{false};     // since it looked last
    TimePoint looks_at{};  // unless it is woken
    int applied{0};        // its effect, this run's included
    int runs{0};
    bool over{false};
    bool heard{false};  // was there when the store refused one that led, and nothing was applied since
};

/// A group of operations, what is asked of each of its states (`check`), and what makes two of them the same
/// (`signature`).
class State {
public:
    explicit State(int members) : members_(members)
    {
        for (std::size_t i = 0; i < most_members; ++i)
            operations_[i].member.deadline = zero + (i == 1 ? 30ms : 60ms);
    }
    State(State const& other)
        : begin_refused(other.begin_refused), members_(other.members_), batches_(other.batches_.size()),
          order_(other.order_), ledger_(other.ledger_), count_(other.count_), now_(other.now_)
    {
        auto const mine = [&](SharingMember const* theirs) {
            auto const i = other.index(theirs);
            return i < 0 ? nullptr : &operations_[static_cast<std::size_t>(i)].member;
        };
        for (std::size_t i = 0; i < batches_.size(); ++i) {
            batches_[i] = std::make_shared<Batch>(*other.batches_[i]);
            auto& b = *batches_[i];
            b.leader = mine(b.leader);
            b.running = mine(b.running);
            b.ran.reserve(most_members);
            for (auto*& m : b.ran)
                m = mine(m);
        }
        for (std::size_t i = 0; i < most_members; ++i)
            copy(other, other.operations_[i], operations_[i]);
        group_.leader = mine(other.group_.leader);
        group_.present = other.group_.present;
        group_.refused = other.group_.refused;
        group_.begin_refused = other.group_.begin_refused;
        // Visits all of them.
        static_cast<void>(const_cast<State&>(other).group_.queue.find([&](SharingMember* m) {
            group_.queue.push_back(mine(m));
            return false;
        }));
    }
    State& operator=(State const&) = delete;

    /// Everything that may make a difference from here on.
    std::string signature() const
    {
        std::string s;
        auto const put = [&](auto x) { s += std::to_string(static_cast<long long>(x)) + ','; };
        for (auto const& o : operations_) {
            auto const& m = o.member;
            put(static_cast<int>(m.phase));
            put(m.outcome ? static_cast<int>(m.outcome->errc()) + 1 : 0);
            put(m.again), put(m.runs_again), put(m.promoted), put(m.first), put(m.late), put(m.single);
            put((m.since.load() - zero).count()), put((m.began_at - zero).count()), put(m.look_again.count());
            put(batch_number(m.batch.get()));
            put(m.doubted), put(m.present), put(o.heard);
            put(o.woken), put((o.looks_at - zero).count()), put(o.applied), put(o.over), put(o.runs);
        }
        for (auto const& b : batches_) {
            put(index(b->leader)), put(index(b->running)), put(b->picked), put(b->open), put(b->shared),
                put(b->count);
            put((b->passed_at - zero).count()), put(b->ran.size()), put(b->sent);
            for (int const i : b->value)
                put(i);
        }
        put(group_.refused ? static_cast<int>(group_.refused->errc()) : 0), put(group_.begin_refused);
        put(begin_refused), put(index(group_.leader)), put(ledger_.credit().count()),
            put((now_ - zero).count());
        for (int const i : order_)
            put(i);
        return s;
    }

    std::string problem;
    bool shared_commit{false};
    bool replaced{false};
    bool expelled{false};
    bool refused_together{false};
    bool begin_refused{false};  // which happens once
    bool ended{false};

protected:
    using Line = SharingLine<Count>;
    using Phase = SharingPhase;

    void expect(bool good, char const* what)
    {
        if (!good && problem.empty())
            problem = what;
    }

    void copy(State const& other, Operation const& from, Operation& to)
    {
        auto& m = to.member;
        auto const& o = from.member;
        m.phase = o.phase;
        m.deadline = o.deadline;
        if (auto const number = other.batch_number(o.batch.get()); number >= 0)
            m.batch = batches_[static_cast<std::size_t>(number)];
        m.outcome = o.outcome;
        m.again = o.again, m.runs_again = o.runs_again, m.promoted = o.promoted;
        m.first = o.first, m.late = o.late, m.single = o.single;
        m.doubted = o.doubted, m.present = o.present;
        m.began_at = o.began_at, m.commit_began = o.commit_began, m.look_again = o.look_again;
        m.since.store(o.since.load());
        to.woken = from.woken, to.looks_at = from.looks_at;
        to.applied = from.applied, to.runs = from.runs, to.over = from.over, to.heard = from.heard;
    }

    Line line() noexcept { return Line{group_, terms, ledger_, count_, now_}; }
    int index(SharingMember const* member) const noexcept
    {
        for (std::size_t i = 0; i < most_members; ++i)
            if (&operations_[i].member == member)
                return static_cast<int>(i);
        return -1;
    }
    int batch_number(SharingBatch const* batch) const noexcept
    {
        for (std::size_t i = 0; i < batches_.size(); ++i)
            if (batches_[i].get() == batch)
                return static_cast<int>(i);
        return -1;
    }
    Operation& operation(SharingMember const* member)
    {
        return operations_[static_cast<std::size_t>(index(member))];
    }

    void wake(SharingMember* member)
    {
        if (member != nullptr)
            operation(member).woken = true;
    }
    void wake_told(SharingBatch* batch)
    {
        if (batch == nullptr)
            return;
        for (auto* const member : batch->told)
            wake(member);
        batch->told.clear();
    }

    void check()
    {
        int leaders = 0;
        int queued = 0;
        int present = 0;
        for (int i = 0; i < members_; ++i) {
            auto& o = operations_[static_cast<std::size_t>(i)];
            auto& m = o.member;
            bool const waits = m.phase == Phase::queued && !m.promoted && !m.batch;
            queued += waits ? 1 : 0;
            leaders += group_.leader == &m ? 1 : 0;
            expect(!waits || group_.leader != nullptr, "somebody waits, and nobody leads");
            expect(
                !waits || o.woken || o.looks_at < TimePoint::max(), "somebody waits, and never looks again");
            bool const has_something = m.phase == Phase::queued && (m.promoted || m.batch);
            expect(!has_something || o.woken, "there is something for it, and it is not woken");
            expect(m.phase != Phase::ran || !m.outcome || o.woken, "it was told, and it is not woken");
            expect(o.applied <= 1, "an effect was applied twice");
            present += m.present ? 1 : 0;
            expect(m.present || m.phase == Phase::out, "one that has to do with the state is not counted");
            expect(!o.heard || !m.present || group_.refused, "what the store has said is forgotten");
            expect(
                group_.leader != &m || m.promoted || m.phase == Phase::leading ||
                    m.phase == Phase::gathering || m.phase == Phase::committing,
                "the leader does something else");
            ended = ended || o.over;
        }
        expect(leaders == (group_.leader == nullptr ? 0 : 1), "an unknown leader");
        expect(present == group_.present, "the number of those in the group is wrong");
        expect(queued == count_.waiting, "the number of those that wait is wrong");
        expect(ledger_.credit() <= 8 * terms.patience, "more credit than can be saved");
        check_batches();
        check_order();
    }

    /// The store has refused one that led, or has applied a commit.
    void all_hear(bool refused)
    {
        for (auto& o : operations_)
            o.heard = refused && o.member.present;
    }

    void check_batches()
    {
        for (auto const& b : batches_) {
            expect(b->running == nullptr || b->open, "somebody has the value of a batch that is closed");
            expect(
                b->running == nullptr || b->running->batch == b, "who has the value does not know its batch");
            expect(b->running == nullptr || !b->running->late, "one that was late gets the value again");
            expect(
                b->running == nullptr || b->running->deadline >= b->leader->deadline,
                "one with an earlier deadline waits for the leader's commit");
            expect(!b->open || group_.leader == b->leader, "a batch is open, and its leader does not lead");
            expect(b->count <= terms.most, "more in a batch than allowed");
            expect(!b->sent || b->value == b->parts, "the value has changed since it was sent");
        }
    }

    /// Who still waits does so in the order in which it came, those that have had their turn first.
    void check_order()
    {
        std::erase_if(order_, [&](int i) {
            auto const& m = operations_[static_cast<std::size_t>(i)].member;
            return m.phase != Phase::queued || m.promoted || m.batch;
        });
        for (int i = 0; i < members_; ++i) {
            auto const& m = operations_[static_cast<std::size_t>(i)].member;
            if (m.phase != Phase::queued || m.promoted || m.batch ||
                std::count(order_.begin(), order_.end(), i) > 0)
                continue;
            expect(m.late, "somebody that has not had the value is put first");
            order_.insert(order_.begin(), i);
        }
        if (!group_.queue.empty() && !order_.empty())
            expect(index(group_.queue.front()) == order_.front(), "not the one that came first is first");
        expect(group_.queue.empty() == order_.empty(), "somebody is forgotten in the queue, or out of it");
    }

    int members_;
    std::array<Operation, most_members> operations_{};
    std::vector<std::shared_ptr<Batch>> batches_;
    std::vector<int> order_;  // of those that wait, who came first
    SharingGroup group_;
    SharingLedger ledger_;
    Count count_;
    TimePoint now_{zero};
};

/// What may happen to a group.
class World : public State {
public:
    using State::State;

    /// The event with this number, of 0 to `events`. False: it cannot happen here.
    static constexpr int events = 16;
    bool happens(int who, int event)
    {
        possible_ = true;
        variant_ = event / 2;
        step(who, event % 2 == 1);
        if (variant_ != 0 || !possible_)
            return false;
        check();
        return true;
    }

private:
    /// One of `count` possibilities of this event.
    int choose(int count)
    {
        int const chosen = variant_ % count;
        variant_ /= count;
        return chosen;
    }
    void impossible() noexcept { possible_ = false; }

    // ---- the events -----------------------------------------------------------------------------

    void step(int who, bool goes)
    {
        if (who >= members_) {
            if (goes || now_ > zero + 40ms)
                return impossible();
            now_ += who == members_ ? 1ms : 9ms;
            return;
        }
        auto& o = operations_[static_cast<std::size_t>(who)];
        if (o.over || o.runs > 3)
            return impossible();
        if (goes)
            return leave(o);
        switch (o.member.phase) {
        case Phase::out: return enter(o);
        case Phase::queued: return look(o);
        case Phase::leading: return lead(o);
        case Phase::gathering: return gathered(o);
        case Phase::committing:
        case Phase::alone: return commit(o);
        case Phase::running: return hand_in(o);
        case Phase::ran: return wait(o);
        }
    }

    void leave(Operation& o)
    {
        if (o.member.phase == Phase::out)
            return impossible();
        o.over = true;
        std::shared_ptr<SharingBatch> batch;
        batch.swap(o.member.batch);
        if (batch && batch->leader == &o.member) {
            auto& own = static_cast<Batch&>(*batch);
            own.given_up = o.member.phase != Phase::committing;
            if (!own.given_up && choose(2) == 1)  // what was sent arrives all the same
                for (int const i : own.parts)
                    ++operations_[static_cast<std::size_t>(i)].applied;
        }
        auto* const next = line().leave(o.member, batch);
        wake_told(batch.get());
        wake(next);
    }

    void enter(Operation& o)
    {
        bool const led = group_.leader != nullptr;
        bool const first = o.member.first;
        if (!line().enter(o.member)) {
            expect(led && o.member.phase == Phase::out, "turned away although nobody leads");
            o.over = true;
            return;
        }
        expect((o.member.phase == Phase::leading) == !led, "who comes first does not lead, or another does");
        if (o.member.phase == Phase::queued) {
            order_.insert(first ? order_.begin() : order_.end(), index(&o.member));
            o.looks_at = now_;  // its driver looks at once
        }
    }

    void look(Operation& o)
    {
        if (!o.woken && now_ < o.looks_at)
            return impossible();
        o.woken = false;
        bool const was_leader = line().leads(o.member);
        bool const promoted = o.member.promoted;
        bool const first = o.member.first;
        auto* const leader = group_.leader;
        auto const due = leader != nullptr ? line().leader_due() : TimePoint{};
        auto const found = line().look(o.member);
        wake_told(found.given_up.get());
        wake(found.wake);
        if (found.given_up)
            static_cast<Batch&>(*found.given_up).given_up = true;
        if (promoted && !was_leader && o.member.phase == Phase::queued)
            order_.insert(first ? order_.begin() : order_.end(), index(&o.member));
        if (group_.leader != leader && !promoted) {
            replaced = true;
            expect(now_ >= due, "a leader is replaced before it is due");
        }
        if (o.member.phase == Phase::queued) {
            o.looks_at = found.again;
            expect(found.again > now_ && found.again < now_ + 1h, "looks never again, or without end");
        }
    }

    void lead(Operation& o)
    {
        int const how = choose(3);
        if (how == 2)
            return begin_refused ? impossible() : begin_fails(o);
        o.member.began_at = now_;
        o.member.progress(now_);
        if (std::exchange(o.member.doubted, false)) {
            line().begun();
            all_hear(false);
        }
        bool const long_ago = how == 1;  // its operation takes longer than the patience
        now_ += long_ago ? 2ms : 0ms;
        ++o.runs;
        auto const action = line().gather(o.member);
        if (action != Line::Gather::share)
            return expect(
                o.member.phase == (action == Line::Gather::alone ? Phase::alone : Phase::committing),
                "gathers and commits");
        expect(!o.member.single, "one that is to share with nobody shares");
        expect(!long_ago, "a slow leader shares");
        auto batch = std::make_shared<Batch>();
        batch->ran.reserve(most_members);
        batch->value.insert(index(&o.member));
        batches_.push_back(batch);
        wake(line().share(o.member, batch));
    }

    /// The store refuses what the leader begins with.
    void begin_fails(Operation& o)
    {
        begin_refused = true;
        line().refuse_begin(Errc::unavailable);
        all_hear(true);
        std::shared_ptr<SharingBatch> const none;
        wake(line().leave(o.member, none));
    }

    void gathered(Operation& o)
    {
        auto& batch = static_cast<Batch&>(*o.member.batch);
        auto* const had = batch.running;
        auto const over = batch.passed_at + terms.patience;
        if (!o.woken && now_ < over)
            return impossible();
        o.woken = false;
        bool const open = batch.open;
        auto const action = line().gathered(o.member);
        if (action == Line::Gathered::wait)
            return expect(now_ < over && had != nullptr, "waits longer than the patience");
        expect((action == Line::Gathered::alone) == !open, "commits a batch that was given up");
        if (action == Line::Gathered::alone) {
            o.member.batch.reset();
            return;
        }
        expelled = expelled || had != nullptr;
        expect(!batch.given_up, "commits a batch that was given up");
        batch.sent = true;
        batch.parts = batch.value;
        shared_commit = shared_commit || batch.shared;
    }

    void commit(Operation& o)
    {
        int const how = choose(5);
        constexpr std::array codes{
            Errc::ok, Errc::version_conflict, Errc::constraint_violated, Errc::outcome_unknown,
            Errc::unavailable};
        auto const code = codes[static_cast<std::size_t>(how)];
        auto* const batch = static_cast<Batch*>(o.member.batch.get());
        if (code == Errc::ok) {
            ++o.applied;
            if (batch != nullptr)
                for (int const i : batch->parts)
                    if (i != index(&o.member))
                        ++operations_[static_cast<std::size_t>(i)].applied;
        }
        if (o.member.phase == Phase::alone) {
            o.over = true;
            return;
        }
        std::shared_ptr<SharingBatch> kept;
        kept.swap(o.member.batch);
        Outcome<CommitResult> outcome{code};
        if (code == Errc::ok)
            outcome = Outcome<CommitResult>{CommitResult{}};
        if (code == Errc::outcome_unknown)
            outcome = Failure::unknown(Errc::unavailable);
        auto* const next = line().finish(o.member, outcome, kept.get());
        if (code != Errc::constraint_violated)
            all_hear(code != Errc::ok);
        bool const others = kept && kept->shared;
        wake_told(kept.get());
        wake(next);
        if (code == Errc::constraint_violated && others) {
            refused_together = true;
            expect(
                std::exchange(o.member.runs_again, false) && o.member.single,
                "what the store refused of a batch is believed of its leader");
        } else {
            o.over = code != Errc::version_conflict && code != Errc::unavailable;
        }
        if (o.over && o.member.phase != Phase::out) {  // rolled back
            std::shared_ptr<SharingBatch> none;
            wake(line().leave(o.member, none));
        }
    }

    void hand_in(Operation& o)
    {
        bool const changes = choose(2) == 0;
        auto& batch = static_cast<Batch&>(*o.member.batch);
        bool const mine = batch.running == &o.member;
        expect(!batch.sent || !mine, "the value that is committed may still change");
        ++o.runs;
        if (!line().hand_in(o.member, changes)) {
            expect(!mine && o.member.runs_again && o.member.first, "one that is in time is too late");
            o.member.runs_again = false;
            o.member.batch.reset();
            return;
        }
        expect(mine, "one that is too late hands in");
        if (changes)
            batch.value.insert(index(&o.member));
        wake(line().pass_on(batch));
        o.looks_at = now_;
    }

    void wait(Operation& o)
    {
        if (!o.woken && now_ < o.looks_at)
            return impossible();
        o.woken = false;
        auto const kept = o.member.batch;
        auto& batch = static_cast<Batch&>(*kept);
        auto const waited = line().wait(o.member);
        switch (waited.what) {
        case Line::Wait::wait:
            o.looks_at = waited.again;
            return expect(
                waited.again > now_ && waited.again < now_ + 1h, "looks never again, or without end");
        case Line::Wait::told: {
            auto const outcome = *std::exchange(o.member.outcome, std::nullopt);
            o.member.batch.reset();
            bool const part = batch.parts.contains(index(&o.member));
            expect(!outcome || o.applied == (part ? 1 : 0), "told applied, and it was not");
            expect(
                outcome || outcome.errc() == Errc::outcome_unknown || o.applied == 0,
                "applied, and told otherwise");
            o.member.runs_again = false;
            o.over = outcome || outcome.errc() == Errc::outcome_unknown;
            return;
        }
        case Line::Wait::leads:
            replaced = true;
            expect(!batch.sent && waited.given_up.get() == kept.get(), "replaces a leader that commits");
            batch.given_up = true;
            wake_told(waited.given_up.get());
            o.woken = false;
            o.member.runs_again = false;
            o.member.batch.reset();
            return;
        case Line::Wait::lost:
            expect(batch.sent || !batch.open, "gives up a commit that has not begun");
            o.member.batch.reset();
            o.over = true;
            return;
        }
    }

    int variant_{0};       // which of the possibilities of an event is next
    bool possible_{true};  // what is asked for can happen here
};

class Explorer : public interlock_test::Findings {
public:
    /// Breadth first, until that many worlds have been met.
    void explore(int members, std::size_t most_worlds)
    {
        World const first{members};
        worlds_.meet(first, first.signature());
        worlds_.explore(std::numeric_limits<int>::max(), most_worlds, [&](World const& world) {
            for (int who = 0; who < members + 2; ++who)
                for (int event = 0; event < World::events; ++event) {
                    World after{world};
                    if (!after.happens(who, event))
                        continue;
                    expect(after.problem.empty(), after.problem);
                    if (worlds_.meet(after, after.signature()))
                        note(after);
                }
        });
    }

    /// So many walks from the beginning, of so many events.
    void walk(int members, int walks, int length)
    {
        std::mt19937 random{1};
        for (; walks > 0; --walks) {
            auto world = std::make_unique<World>(members);
            for (int events = 0, tries = 0; events < length && tries < 20 * length; ++tries) {
                // Time passes less often than something happens in it.
                auto const all = static_cast<unsigned>(members);
                auto const who = static_cast<int>(random() % (random() % 8 == 0 ? all + 2U : all));
                auto after = std::make_unique<World>(*world);
                if (!after->happens(
                        who,
                        static_cast<int>(random() % 8 == 0 ? random() % World::events : random() % 8 * 2)))
                    continue;
                ++events;
                expect(after->problem.empty(), after->problem);
                note(*after);
                world = std::move(after);
            }
        }
    }

    std::size_t worlds() const noexcept { return worlds_.count(); }
    std::uint64_t shared{0};
    std::uint64_t replaced{0};
    std::uint64_t expelled{0};
    std::uint64_t refused{0};
    std::uint64_t begins_refused{0};

private:
    void note(World const& world)
    {
        shared += world.shared_commit ? 1U : 0U;
        replaced += world.replaced ? 1U : 0U;
        expelled += world.expelled ? 1U : 0U;
        refused += world.refused_together ? 1U : 0U;
        begins_refused += world.begin_refused ? 1U : 0U;
    }

    interlock_test::Worlds<World, std::string> worlds_;
};

void explore(int members)
{
    Explorer explorer;
    explorer.explore(members, 16'000);
    explorer.walk(members, 3'000, 40);
    INFO(explorer.first_problem);
    CHECK(explorer.problems == 0);
    CHECK(explorer.worlds() >= 16'000);
    CHECK(explorer.shared > 50);
    CHECK(explorer.replaced > 100);
    CHECK(explorer.expelled > 100);
    CHECK(explorer.refused > 10);
    CHECK(explorer.begins_refused > 1000);
}

}  // namespace sharing_line
}  // namespace

TEST_CASE(
    "Two operations that may share a commit are told what became of them, in every order of events",
    "[interleaving][sharing_line]")
{
    sharing_line::explore(2);
}

TEST_CASE("Three operations that may share a commit are told so, too", "[interleaving][sharing_line]")
{
    sharing_line::explore(3);
}
